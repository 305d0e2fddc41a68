//! What to watch, and what to do.
//!
//! # To be in place
//!
//! - [`Upkeep`](crate::Upkeep), every minute or more often. Metrics are written after each call.
//! - [`Metrics`](crate::telemetry::Metrics) as the layer's audit, and [`Events`](crate::telemetry::Events) beside it
//!   (`Arc::new((metrics, events))` is told as one).
//! - A [`store`](crate::Builder::store), if a restart shall not begin with empty quotas; [`Upkeep::shut_down`](crate::Upkeep::shut_down)
//!   at the end writes the last checkpoint, also where the process is asked to end by a signal.
//! - A route for operators, bound to loopback, behind a token: explain, usage, override, signal, reload. `examples/llm_api` has one.
//!
//! # What to alert on
//!
//! | alert | why | what to do |
//! |---|---|---|
//! | `time() - tollgate_maintained_seconds > 300` | evidence, calendars and reloads stand still; limits hold | see whether the process is starved, or `then` of the upkeep blocks |
//! | `rate(tollgate_denied_total{rule="stalled"}[5m]) > 0` | the same, in a tier with `on_stall = "deny"`: it is closed | the same, now |
//! | `rate(tollgate_denied_total{level="tier"}[5m]) > 0` | a total is spent: honest customers are refused with the others | see who: explain some accounts; raise it for a while with an override of the tier, or add a `light_reserve` |
//! | `rate(tollgate_denied_total{level="cohort"}[1h])` rises | a fleet, or people who look like one | explain some accounts of it; [`pardon`](crate::Limiter::pardon) those it wronged |
//! | `tollgate_denied_total{outcome="tightened"}` rises after a release | a client of yours has changed how it behaves | `shadow = true` in `[evidence]`, reload, and look |
//! | `tollgate_lines / tollgate_lines_most > 0.9` | soon newcomers share an overflow line | raise `capacity`; it takes a restart |
//! | `rate(tollgate_events_total{event="overflowed"}[5m]) > 0` | they do | the same, soon |
//! | `rate(tollgate_events_total{event="stale_settles"}[5m]) > 0` | permits outlive their accounts' lines: `forget` was called, or a fault | report it if nobody forgets accounts |
//! | `rate(tollgate_events_total{event="tier_flaps"}[5m])` | two parts of your server do not agree on an account's tier | make them agree: each flap carries debts over |
//! | `rate(tollgate_events_total{event="zone_moves"}[1d])` stays up | the same of an organization's zone | make them agree: it has the windows of either in turn, and never two |
//! | `tollgate_ring_filled / tollgate_ring_cells > 0.5` | soon more is observed between two calls of `maintain` than a ring holds | call it more often |
//! | `tollgate_evidence_total{event="dropped"}` grows | it is: evidence misses a part, limits hold | the same, now |
//! | `sum(tollgate_factors)` jumps | many accounts at once were tightened: a fleet, or a release of a client that many use | explain some; `shadow = true` while you look |
//! | `tollgate_overrides` only grows | what was granted for a day has become the policy | write it into the policy; give overrides shorter times |
//! | `tollgate_events_total{event="refused_wall_steps"}` grows | the host's clock is a day ahead or more | mend the clock, or [`trust_wall_clock`](crate::Limiter::trust_wall_clock) |
//! | `tollgate_checkpoint_age_seconds` above the store's interval | a kill would lose more than that | the upkeep is late, or the store slow or failing |
//! | `tollgate_checkpoint_failing == 1` | a restart would lose what was counted since | see the disk; [`checkpoint_status`](crate::Limiter::checkpoint_status) says what the store said |
//! | `tollgate_behind == 1` for an hour | lines are still under an earlier policy | `maintain` is called too seldom for the size of the tables |
//!
//! # When a customer complains
//!
//! [`explain`](crate::Limiter::explain) tells, for each of its rules, the limit, what is used and left, and when it is whole
//! again; what evidence there is, and what was made different. The answer that the customer got names its own rule, or
//! says that capacity is short or use unusual and no more: what others do, and what is known of whom, is for operators.
//!
//! - It is in the right, for today: [`set_override`](crate::Limiter::set_override), with a reason; it ends by itself.
//! - Evidence was wrong: [`pardon`](crate::Limiter::pardon).
//! - The policy is wrong: change it, `lint`, `replay`, [`reload`](crate::Limiter::reload). What was spent is kept.
//!
//! # When it is an attack
//!
//! 1. Nothing is to be done at once: the tier's total holds, whatever else fails. `lint` says how much that is.
//! 2. [`signal`](crate::Limiter::signal) the accounts that you know of. Their rates shrink; alone, signals put nobody into a cohort.
//! 3. Lower the total of the tier that it comes through, by an override or a reload; its `light_reserve` keeps a part for who
//!    has taken little.
//!
//! # When `maintain` stands still
//!
//! What becomes of a tier's requests is its `on_stall`. With `deny` they are denied after five minutes, by a rule `stalled` of
//! the tier's: for a tier that you would rather close than leave unwatched. By default they are decided as ever:
//!
//! Rates, quotas, budgets and what is in flight need it for nothing. Factors and overrides end by their own time, so that who
//! was tightened is let go and nobody new is tightened: a tier then loses its total and no more. Quotas do not follow
//! a step of the wall clock. After a reload, lines come under the new policy as they are used.
