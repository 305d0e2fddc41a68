//! Which limits to have, and which numbers.
//!
//! # What each kind is for
//!
//! | kind | holds | choose it by |
//! |---|---|---|
//! | rate | any stretch of time: never more than `burst` + `rate` x length | what a machine behind it can take in a second; the burst by how an honest client begins: a page with twelve requests needs twelve |
//! | quota | a calendar window, in the policy's zone, or in the tier's where that has one; an organization's and its accounts' in its own, of the policy's `zones` ([`Organization::in_zone`](crate::Organization::in_zone)) | what was sold, or what somebody can lose in a day; it may be spent at once, and twice at the edge of two windows |
//! | budget | for ever | what may be given away in all; it ends, and a person decides |
//! | in flight | what is open at once | memory and connections; a stream holds one for as long as it lasts |
//!
//! A rate with burst b and rate r keeps b + rW in any window W. Whoever wants at most 100 in any minute, and 20 at once, writes
//! a burst of 20 and a rate of 80 a minute:
//!
//! ```
//! use tollgate::{Cost, Limiter, ManualClock, Plan};
//!
//! let plan = Plan::from_toml(
//!     r#"
//!     version = 1
//!     meters = ["requests"]
//!     tiers.free = { total = "unlimited", account.requests = { rate = "80/min", burst = 20 } }
//!     "#,
//! )?;
//! let clock = ManualClock::new();
//! let limiter = Limiter::builder(plan).clock(clock.clone()).build()?;
//! let caller = limiter.identity(limiter.tier("free").unwrap(), 17);
//! let one = Cost::of(limiter.meter("requests").unwrap(), 1);
//! let mut admitted = 0;
//! for _ in 0..60_000 {
//!     admitted += u32::from(limiter.check(&caller, &one).is_ok());
//!     clock.advance_nanos(1_000_000);
//! }
//! // 20 at once, and one each 750 ms of the minute.
//! assert_eq!(admitted, 99);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Levels
//!
//! - **Account**: what one person or program does on its busiest day, and some. `tollgate suggest --trace T.csv.gz` takes a
//!   high percentile of what was offered with a margin, and writes beside each number where it comes from.
//! - **Organization**: less than its accounts together, more than its busiest ones. It bounds what one customer does with many
//!   keys.
//! - **Tier**: what you can lose to everyone in it before somebody looks. Without a total a tier's loss has no bound, so a
//!   policy must say `total = "unlimited"` where that is meant. `tollgate lint` prints the bound for a day and a month. As
//!   a rate it holds over any stretch, as a quota it gives twice at the edge.
//! - **New accounts**: `ramp` and `pool` bound what a hundred accounts made today can do, see [fleets](crate::fleets).
//!
//! # Meters and costs
//!
//! Count what costs you something. A limit on requests says nothing about answers of 10 or 100,000 tokens. A cost is charged
//! to every rule of its meters, or to none; a second and a third meter cost some 20 ns each.
//!
//! Where the cost is known at the end only, reserve an estimate that is seldom exceeded, and settle. Too high an estimate
//! keeps others out while it is held: of a rate, others' supply meanwhile is lost where the bucket is full again, which
//! [`Settlement::clipped`](crate::Settlement::clipped) tells. Too low a one is overage: quotas and budgets record all of it, a rate
//! goes `max_debt` below empty. An estimate above a full bucket is clamped to a full one.
//!
//! # Before it is in force
//!
//! 1. `tollgate lint P.toml`: what it means; what would do nothing is refused.
//! 2. `tollgate replay --policy P.toml --trace T.csv.gz`: whom it would have hurt last week.
//! 3. `shadow = true` on a rule: it is charged and counted, and refuses nobody ([`Limiter::shadows`](crate::Limiter::shadows)).
//! 4. [`Limiter::reload`](crate::Limiter::reload): in force, under traffic, with what was spent kept.
