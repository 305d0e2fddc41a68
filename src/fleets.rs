//! Hold against a fleet: what binds, what tightens, and what neither can see.
//!
//! 16 million exchanges by 24,000 accounts are 667 an account, 22 a day: no limit per account sees them. Three things
//! do, in this order.
//!
//! # Bounds that hold with every detector blind
//!
//! - A tier's **total**: what all of its accounts may take together, printed by `tollgate lint`. A rate such as
//!   `{ rate = "230k/day", burst = 450_000 }` bounds every stretch of time, where a calendar window gives twice at its edge.
//! - The **pool** of new accounts: who is younger than `ramp.age` pays it too. An account whose age is not told is not new.
//! - The **ramp**: a new account has `start` of each of its own rates' bursts and quotas, and the whole with age *and* use,
//!   whichever has come less far, so that accounts that were kept in a drawer gain nothing. A refusal by the ramp is one by
//!   the account's own rule, whatever others do; [`Denial::withheld`](crate::Denial::withheld) tells it apart.
//! - The **light reserve**: the last part of total and pool is for accounts that have used less than a given part of their
//!   own day. Never over, since it only withholds; never starved by the many, since they cannot have it.
//!
//! # Evidence, which only shrinks them
//!
//! A server tells what it knows of a request ([`Caller::with`](crate::Caller::with)); the decision is observed in a ring
//! of the thread's, without a wait, and [`maintain`](crate::Limiter::maintain) makes evidence of it, in memory that is
//! fixed. Nothing has a threshold of its own: an account is odd by how few settled accounts of its tier do likewise. What
//! many share (a carrier's address, a framework's prompt) weighs nothing. Values count by how many of the *organizations*
//! that share them are odd in another way: a campus whose address thirty attackers forge has more honest people than that.
//!
//! - A **factor** multiplies costs on the subject's own rates, never on its quotas or budgets. It rises in steps, falls by
//!   itself, and has an end. The tightened limiter admits nothing that an untouched one, fed the same admitted requests,
//!   would refuse.
//! - A **cohort** forms of accounts that are odd in at least two independent kinds. They keep their own limits and are
//!   charged to the cohort's as well, bring along what they have spent, and keep a **floor** each that the others cannot take.
//! - **Signals** from outside ([`Limiter::signal`](crate::Limiter::signal)) count by kind, up to a cap; one source is heard
//!   64 times a day. All signals together are one kind, so that no source puts anybody into a cohort. An account need not
//!   have been observed. What is said of an organization or a tier makes a factor on rates of the organization's own, or of
//!   the tier's total: everybody there has less, at most by what the kind's cap asks for (12 bits, twice the price).
//! - `shadow = true` judges and tells, and changes nothing. [`explain`](crate::Limiter::explain) shows an operator which
//!   evidence, and what was reported of whom; a denial never does. [`pardon`](crate::Limiter::pardon) is for a granted appeal, and a denial names the
//!   tier that lifts it ([`step_up`](crate::Denial::step_up)).
//!
//! Memory is fixed by `capacity`: some 1,030 bytes for each account that the next power of two has room for, 256 KiB besides,
//! and a ring of 4,096 observations for each stripe of threads; `tollgate lint` prints the sum, and `memory` bounds it.
//!
//! # What each buys
//!
//! A week of some 7,000 honest accounts, an undisguised fleet of 1,000, a business turned to extraction from within, a quiet
//! fleet of 60; the policy by `tollgate suggest` from another week (`tollgate ablate --policy P.toml --trace T.csv.gz`).
//! Attacks: requests admitted. Honest: requests denied by anything but their account's and organization's own rules, and
//! accounts that lost over 1% that way.
//!
//! | limits | attack:hydra | attack:insider | attack:quiet | honest requests denied | honest accounts hurt |
//! |---|---|---|---|---|---|
//! | accounts' rates | 100.0% | 100.0% | 100.0% | 0.0% | 0.0% |
//! | + organizations' rates | 100.0% | 100.0% | 100.0% | 0.0% | 0.0% |
//! | + quotas, tier totals | 53.2% | 38.9% | 79.0% | 12.0% | 33.2% |
//! | + ramp, pool, light reserve | 19.7% | 38.9% | 51.1% | 1.8% | 5.5% |
//! | any one kind of evidence alone | 19.7% | 38.9% | 51.1% | 1.8% | 5.5% |
//! | all evidence | 3.3% | 38.9% | 11.9% | 0.0% | 0.0% |
//!
//! One kind alone ties nobody: a cohort takes two. What is not in the last columns: accounts' own limits, the ramp among
//! them, refuse 4 in 100 of the honest requests of that week, nearly all of a few who use many times what others do.
//!
//! # What it can't see
//!
//! - A fleet whose accounts are few, old, and differ from nobody in what they share, ask and take. Its tier's total holds it.
//! - An account on a tier's overflow line, and traffic that is not told about.
//! - What happens between two calls of `maintain`, and the first requests of an account: it takes two until it is
//!   looked at, and more until it is told apart.
//! - Kinds are taken as independent where a tier's habits are not: people who send much at night *and* from many prompts
//!   are rarer than either, and some honest ones are put into a cohort. Measure yours in shadow first.
//!
//! `tollgate replay` shows what a policy would have done, `tollgate ablate` what each of these buys, `tollgate suggest`
//! sizes a policy from your own traffic.
