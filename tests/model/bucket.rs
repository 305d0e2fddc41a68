//! The buckets of the reference model: lists of admissions, looked through from the start at every question.
//!
//! Of what permits give back to a rate, the limiter knows less than a list of admissions tells, and more than the order of
//! charges does. The model has both: the list, each admission counted as reserved or as settled, is what the limiter may
//! never admit more than; the simpler rule, by the order alone, is what it may never admit less than. Between the two it
//! leaves the answer to the limiter.
//!
//! A rate is an exact fraction here. Amounts of a rate bucket are counted in *grains* of 1/period tick, so that
//! the supply of any number of nanoseconds is a whole number of grains and nothing is ever rounded. The limiter
//! counts in ticks and rounds its supply down, twice; so between two instants it supplies anything more than
//! the exact amount less two ticks, and less than the exact amount and one tick. That range, and nothing else, is
//! what a [`Span`] stands for, and where it decides, the model leaves the answer to the limiter.

#[path = "bucket/quota.rs"]
mod quota;
#[path = "bucket/rate.rs"]
mod rate;

use super::calendar::Period;

pub use quota::QuotaBucket;
pub use rate::{Backlog, RateBucket};

/// Everything between two bounds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub low: i128,
    pub high: i128,
}

impl Span {
    pub const ZERO: Span = Span::exactly(0);

    pub const fn exactly(value: i128) -> Span {
        Span { low: value, high: value }
    }

    pub fn plus(self, other: Span) -> Span {
        Span { low: self.low + other.low, high: self.high + other.high }
    }

    pub fn minus(self, other: Span) -> Span {
        Span { low: self.low - other.high, high: self.high - other.low }
    }

    pub fn max(self, other: Span) -> Span {
        Span { low: self.low.max(other.low), high: self.high.max(other.high) }
    }

    pub fn min(self, other: Span) -> Span {
        Span { low: self.low.min(other.low), high: self.high.min(other.high) }
    }

    pub fn holds(self, value: i128) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The limit of a budget that only counts.
pub const COUNTS: u64 = u64::MAX;

/// What the model says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Admit,
    /// The decision hangs on the two ticks of supply that the limiter may be short of.
    Either,
    Refuse,
}

/// When a refusal passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Nanoseconds.
    After(Span),
    OnRelease,
    Never,
}

/// A rule as the policy means it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Rate(Rate),
    Quota { limit: u64, period: Period },
    Budget { limit: u64 },
    InFlight { limit: u64 },
}

impl Limit {
    /// What it holds when full.
    pub fn most(&self) -> u64 {
        match self {
            Limit::Rate(rate) => rate.burst,
            Limit::Quota { limit, .. } | Limit::Budget { limit } | Limit::InFlight { limit } => *limit,
        }
    }
}

/// `tokens` every `period` nanoseconds, `burst` at once, and `max_debt` below empty at settling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub tokens: u64,
    pub period: u64,
    pub burst: u64,
    pub max_debt: u64,
    pub largest_factor: u64,
}

impl Rate {
    /// Ticks in a token: the largest power of two by which the supply stays within 8 ticks a nanosecond, and
    /// burst (times the largest factor) and debt within 2^62 ticks.
    pub fn ticks_per_token(&self) -> i128 {
        let held = i128::from(self.burst) * i128::from(self.largest_factor) + i128::from(self.max_debt);
        let mut ticks = 1;
        while 2 * ticks * i128::from(self.tokens) <= 8 * i128::from(self.period)
            && 2 * ticks * held <= 1 << 62
        {
            ticks *= 2;
        }
        ticks
    }

    /// Grains in a tick.
    pub fn tick(&self) -> i128 {
        i128::from(self.period)
    }

    /// Grains in a token.
    pub fn token(&self) -> i128 {
        self.ticks_per_token() * self.tick()
    }

    /// Grains in `tokens`.
    pub fn grains(&self, tokens: u64) -> i128 {
        i128::from(tokens) * self.token()
    }

    /// Grains that the exact rate gives in a nanosecond.
    pub fn grains_per_nano(&self) -> i128 {
        i128::from(self.tokens) * self.ticks_per_token()
    }

    /// Where a charge to a full bucket may start from: above nothing by two ticks at most, if a nanosecond gives less.
    pub fn slack(&self) -> Span {
        let coarse = self.grains_per_nano() < 2 * self.tick();
        Span { low: 0, high: if coarse { 2 * self.tick() } else { 0 } }
    }

    /// What the limiter may supply from one instant to another, in grains; negative if `to` is earlier.
    pub fn supply(&self, from: u64, to: u64) -> Span {
        if to < from {
            let back = self.supply(to, from);
            return Span { low: -back.high, high: -back.low };
        }
        if to == from {
            return Span::ZERO;
        }
        let exact = i128::from(to - from) * self.grains_per_nano();
        Span { low: (exact - 2 * self.tick() + 1).max(0), high: exact + self.tick() - 1 }
    }
}

/// The state of one rule for one subject.
#[derive(Clone, Debug)]
pub enum Bucket {
    Rate(RateBucket),
    Quota(QuotaBucket),
    Budget { limit: u64, used: u128 },
    InFlight { limit: u64, held: u128 },
}

/// What a bucket remembers of one charge, to give back from it.
#[derive(Clone, Debug)]
pub enum Charge {
    Rate { word: Vec<Backlog>, refunds_before: usize, entry: Option<usize> },
    Quota { window: u32, ahead: i64 },
    Budget,
    InFlight,
}

/// What settling did to one bucket, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Asked to be given back, and was not: at least, at most.
    pub clipped: (u128, u128),
    /// Overage that was not charged: at least, at most.
    pub cut: (u128, u128),
}

/// What `explain` should say: the most and the least of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub limit: u64,
    pub left: (u128, u128),
}

impl Bucket {
    pub fn new(limit: &Limit, origin_unix: i64) -> Bucket {
        match *limit {
            Limit::Rate(rate) => Bucket::Rate(RateBucket::new(rate)),
            Limit::Quota { limit, period } => {
                Bucket::Quota(QuotaBucket { limit, period, origin_unix, windows: Vec::new() })
            }
            Limit::Budget { limit } => Bucket::Budget { limit, used: 0 },
            Limit::InFlight { limit } => Bucket::InFlight { limit, held: 0 },
        }
    }

    /// What a request for `amount` asks of it: an estimate, which `permit` tells, at most what it holds when full, but for
    /// budgets.
    pub fn asked(&self, amount: u64, permit: bool) -> u64 {
        let most = match self {
            Bucket::Rate(bucket) => bucket.rate.burst,
            Bucket::Quota(bucket) => bucket.limit,
            Bucket::InFlight { limit, .. } => *limit,
            Bucket::Budget { .. } => u64::MAX,
        };
        if permit { amount.min(most) } else { amount }
    }

    /// What the bucket says to `amount` at `now`, by a clock that is so far `ahead`, if `withheld` tokens of it are kept from whoever asks, and when a refusal
    /// passes.
    pub fn judge(&self, amount: u64, (now, ahead): (u64, i64), withheld: u64) -> (Answer, Wait) {
        let beyond = |used: &u128, limit: &u64| {
            used + u128::from(amount) + u128::from(withheld) > u128::from(*limit) && *limit != COUNTS
        };
        let refuse_if = |refused: bool, wait| {
            if refused && amount > 0 {
                (Answer::Refuse, wait)
            } else {
                (Answer::Admit, Wait::After(Span::ZERO))
            }
        };
        match self {
            Bucket::Rate(bucket) => bucket.judge(amount, now, withheld),
            Bucket::Quota(bucket) => bucket.judge(amount, now, withheld, ahead),
            Bucket::Budget { limit, used } => refuse_if(beyond(used, limit), Wait::Never),
            Bucket::InFlight { limit, held } => {
                refuse_if(beyond(held, limit), if amount > *limit { Wait::Never } else { Wait::OnRelease })
            }
        }
    }

    /// What it has counted by `now`: of a quota, in the window of then.
    pub fn used(&self, (now, ahead): (u64, i64)) -> u128 {
        match self {
            Bucket::Rate(_) => unreachable!("nobody asks what a rate has counted"),
            Bucket::Quota(bucket) => bucket.used(bucket.window(now, ahead)),
            Bucket::Budget { used, .. } => *used,
            Bucket::InFlight { held, .. } => *held,
        }
    }

    /// Charges `amount`; an in-flight rule holds it only if there is a permit to release it.
    pub fn charge(&mut self, amount: u64, (now, ahead): (u64, i64), permit: bool) -> Charge {
        match self {
            Bucket::Rate(bucket) => bucket.charge(amount, now),
            Bucket::Quota(bucket) => bucket.charge(amount, now, ahead),
            Bucket::Budget { used, .. } => {
                *used += u128::from(amount);
                Charge::Budget
            }
            Bucket::InFlight { held, .. } => {
                *held += if permit { u128::from(amount) } else { 0 };
                Charge::InFlight
            }
        }
    }

    /// Replaces `reserved` by `actual`, at `now`.
    pub fn settle(
        &mut self,
        charge: &Charge,
        reserved: u64,
        actual: u64,
        (now, ahead): (u64, i64),
    ) -> Settled {
        match (self, charge) {
            (Bucket::Rate(bucket), Charge::Rate { word, refunds_before, entry }) => {
                if actual <= reserved {
                    bucket.give_back((word, *refunds_before, *entry), reserved - actual, now)
                } else {
                    bucket.charge_overage(actual - reserved, now)
                }
            }
            (Bucket::Quota(bucket), Charge::Quota { window, ahead: of }) => {
                bucket.settle((*window, *of), reserved, actual, now, ahead);
                Settled::default()
            }
            (Bucket::Budget { used, .. }, _) => {
                *used = *used - u128::from(reserved) + u128::from(actual);
                Settled::default()
            }
            (Bucket::InFlight { held, .. }, _) => {
                *held -= u128::from(reserved);
                Settled::default()
            }
            (bucket, charge) => unreachable!("{bucket:?} never made {charge:?}"),
        }
    }

    /// The first instant at which a request is not behind the bucket: 0 but for quotas.
    pub fn opened(&self) -> u64 {
        match self {
            Bucket::Quota(bucket) => bucket.opened(),
            Bucket::Rate(_) | Bucket::Budget { .. } | Bucket::InFlight { .. } => 0,
        }
    }

    pub fn standing(&self, (now, ahead): (u64, i64)) -> Standing {
        let plain = |limit: u64, used: u128| {
            let left = u128::from(limit).saturating_sub(used);
            Standing { limit, left: (left, left) }
        };
        match self {
            Bucket::Rate(bucket) => bucket.standing(now),
            Bucket::Quota(bucket) => plain(bucket.limit, bucket.used(bucket.window(now, ahead))),
            Bucket::Budget { limit, used } => plain(*limit, *used),
            Bucket::InFlight { limit, held } => plain(*limit, *held),
        }
    }
}
