//! From `governor`, side by side.
//!
//! Both are GCRA: the same quota admits the same requests. What is different is that one decision looks at several limits, on
//! accounts, organizations and tiers, and charges all or none.
//!
//! | governor | tollgate |
//! |---|---|
//! | `Quota::per_second(n).allow_burst(b)` | `{ rate = "n/s", burst = b }` in a policy; with the feature `governor`, a `Quota` is a rule |
//! | `RateLimiter::keyed(quota)` | `Limiter::builder(plan).build()`, once, for all limits |
//! | `check_key(&key)` | `check(&identity, &cost)`; the identity is made once, where the caller is authenticated |
//! | `check_key_n(&key, n)` | `Cost::of(meter, n)` |
//! | `RateLimiter::direct(quota)` | a rule in a tier's `total` |
//! | `NotUntil::wait_time_from` | [`Denial::retry_after`](crate::Denial::retry_after): after it, the request is admitted |
//! | `InsufficientCapacity` | [`Denial::is_never`](crate::Denial::is_never) |
//! | `until_key_ready(&key)` | [`Queue::until_admitted`](crate::wait::Queue::until_admitted), with a deadline and in turn |
//! | `retain_recent`, `shrink_to_fit` | nothing to call: memory is by the policy's `capacity`, and fixed |
//! | `FakeRelativeClock` | [`ManualClock`](crate::ManualClock) |
//!
//! ```
//! use std::num::NonZeroU32;
//! use governor::{Quota, RateLimiter};
//! use tollgate::{Cost, Limiter, Plan};
//!
//! let (rate, burst) = (NonZeroU32::new(1).unwrap(), NonZeroU32::new(5).unwrap());
//! let theirs = RateLimiter::keyed(Quota::per_minute(rate).allow_burst(burst));
//!
//! let plan = Plan::from_toml(
//!     r#"
//!     version = 1
//!     meters = ["requests"]
//!     tiers.all = { total = "unlimited", account.requests = { rate = "1/min", burst = 5 } }
//!     "#,
//! )?;
//! let ours = Limiter::builder(plan).build()?;
//! let all = ours.tier("all").unwrap();
//! let one = Cost::of(ours.meter("requests").unwrap(), 1);
//!
//! for user in ["ada", "grace"] {
//!     let identity = ours.identity(all, user);
//!     for request in 0..8 {
//!         assert_eq!(theirs.check_key(&user).is_ok(), request < 5);
//!         assert_eq!(ours.check(&identity, &one).is_ok(), request < 5);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What you lose: a limiter without a policy, `no_std`, keys of any type. One check of one limit by a key is slower than
//! governor's; three of them in sequence are slower than ours ([performance](crate::performance)).
