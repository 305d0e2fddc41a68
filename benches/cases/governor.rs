//! governor, as a user who cares for speed sets it up: `String` keys in its sharded map, hashed by `ahash`.

use std::{hint::black_box, num::NonZeroU32};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter, clock::DefaultClock, middleware::NoOpMiddleware,
    state::keyed::DashMapStateStore,
};

use super::{
    Run,
    hot::{ACCOUNT, ORGANIZATION},
    kept, timed,
};

/// As much a second as no loop spends; a cell takes a nanosecond, governor's finest, and not none.
const PLENTY: u32 = 1_000_000_000;

pub fn plenty() -> Quota {
    Quota::per_second(NonZeroU32::new(PLENTY).expect("not zero"))
}

type Store<K> = DashMapStateStore<K, ahash::RandomState>;
pub type Keyed<K> =
    RateLimiter<K, Store<K>, DefaultClock, NoOpMiddleware<<DefaultClock as governor::clock::Clock>::Instant>>;

/// One keyed limiter for each level.
pub struct Levels<K: Clone + std::hash::Hash + Eq>(pub [Keyed<K>; 3]);

impl<K: Clone + std::hash::Hash + Eq> Levels<K> {
    pub fn new() -> Levels<K> {
        Levels(std::array::from_fn(|_| RateLimiter::dashmap_with_hasher(plenty(), ahash::RandomState::new())))
    }

    /// All three in sequence. What the earlier ones charged stays charged when a later one refuses.
    #[inline]
    pub fn admit(&self, keys: [&K; 3]) -> bool {
        self.0.iter().zip(keys).all(|(level, key)| level.check_key(key).is_ok())
    }
}

/// One level without a key.
pub fn direct() -> Run {
    let limiter = RateLimiter::direct(plenty());
    timed(move || limiter.check_n(black_box(NonZeroU32::MIN)).is_ok_and(|fits| fits.is_ok()))
}

/// The same, refusing.
pub fn direct_denied() -> Run {
    let limiter = spent();
    timed(move || limiter.check_n(black_box(NonZeroU32::MIN)).is_ok_and(|fits| fits.is_err()))
}

/// A limiter whose only cell is spent.
pub fn spent() -> DefaultDirectRateLimiter {
    let limiter = RateLimiter::direct(Quota::per_hour(NonZeroU32::MIN));
    limiter.check().expect("the only cell");
    limiter
}

pub fn hot_keys() -> [String; 3] {
    [ACCOUNT, ORGANIZATION, "business"].map(String::from)
}

/// One level, by key.
pub fn keyed() -> Run {
    let (levels, keys) = (Levels::<String>::new(), hot_keys());
    timed(move || levels.0[0].check_key(black_box(&keys[0])).is_ok())
}

/// Three levels, by key.
pub fn three() -> Run {
    let (levels, keys) = (kept(Levels::<String>::new()), kept(hot_keys()));
    timed(move || levels.admit(black_box(keys.each_ref())))
}

/// Three levels of three meters each, by key.
pub fn nine() -> Run {
    let keys = kept(hot_keys());
    let meters: &'static [Levels<String>; 3] = kept(std::array::from_fn(|_| Levels::new()));
    timed(move || meters.iter().all(|levels| levels.admit(black_box(keys.each_ref()))))
}
