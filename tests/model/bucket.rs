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

use super::calendar::{Period, Window, window_at};

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
    Quota { window: u32 },
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

    /// What the bucket says to `amount` at `now`, if `withheld` tokens of it are kept from whoever asks, and when a refusal
    /// passes.
    pub fn judge(&self, amount: u64, now: u64, withheld: u64) -> (Answer, Wait) {
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
            Bucket::Quota(bucket) => bucket.judge(amount, now, withheld),
            Bucket::Budget { limit, used } => refuse_if(beyond(used, limit), Wait::Never),
            Bucket::InFlight { limit, held } => {
                refuse_if(beyond(held, limit), if amount > *limit { Wait::Never } else { Wait::OnRelease })
            }
        }
    }

    /// What it has counted by `now`: of a quota, in the window of then.
    pub fn used(&self, now: u64) -> u128 {
        match self {
            Bucket::Rate(_) => unreachable!("nobody asks what a rate has counted"),
            Bucket::Quota(bucket) => bucket.used(bucket.window(now).number),
            Bucket::Budget { used, .. } => *used,
            Bucket::InFlight { held, .. } => *held,
        }
    }

    /// Charges `amount`; an in-flight rule holds it only if there is a permit to release it.
    pub fn charge(&mut self, amount: u64, now: u64, permit: bool) -> Charge {
        match self {
            Bucket::Rate(bucket) => bucket.charge(amount, now),
            Bucket::Quota(bucket) => bucket.charge(amount, now),
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
    pub fn settle(&mut self, charge: &Charge, reserved: u64, actual: u64, now: u64) -> Settled {
        match (self, charge) {
            (Bucket::Rate(bucket), Charge::Rate { word, refunds_before, entry }) => {
                if actual <= reserved {
                    bucket.give_back((word, *refunds_before, *entry), reserved - actual, now)
                } else {
                    bucket.charge_overage(actual - reserved, now)
                }
            }
            (Bucket::Quota(bucket), Charge::Quota { window }) => {
                bucket.settle(*window, reserved, actual, now);
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

    pub fn standing(&self, now: u64) -> Standing {
        let plain = |limit: u64, used: u128| {
            let left = u128::from(limit).saturating_sub(used);
            Standing { limit, left: (left, left) }
        };
        match self {
            Bucket::Rate(bucket) => bucket.standing(now),
            Bucket::Quota(bucket) => plain(bucket.limit, bucket.used(bucket.window(now).number)),
            Bucket::Budget { limit, used } => plain(*limit, *used),
            Bucket::InFlight { limit, held } => plain(*limit, *held),
        }
    }
}

/// One admission and what was charged from then on: what is owed for it at a later instant is `charged` less
/// the supply since `since`.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    pub since: u64,
    /// Grains.
    pub charged: Span,
}

/// A token bucket by its list of admissions.
#[derive(Clone, Debug)]
pub struct RateBucket {
    pub rate: Rate,
    /// When each was admitted, and the least that it counts, in grains.
    log: Vec<(u64, i128)>,
    /// The same if what comes back is told from the order alone: it owes the most that any of these owes.
    backlogs: Vec<Backlog>,
    /// Grains that such a bucket gave back, one entry each time.
    refunds: Vec<Span>,
}

/// What is owed at `now` by the backlogs, in grains: how far the tokens taken run ahead of the supply.
fn owed(rate: &Rate, backlogs: &[Backlog], now: u64) -> Span {
    backlogs
        .iter()
        .map(|backlog| backlog.charged.minus(rate.supply(backlog.since, now)))
        .fold(Span::ZERO, Span::max)
}

impl RateBucket {
    fn new(rate: Rate) -> RateBucket {
        RateBucket { rate, log: Vec::new(), backlogs: Vec::new(), refunds: Vec::new() }
    }

    /// The least that was admitted from each instant on, `more` included.
    fn suffixes(&self, more: Option<(u64, i128)>) -> Vec<Backlog> {
        let mut log: Vec<(u64, i128)> = self.log.iter().copied().chain(more).collect();
        log.sort_unstable();
        let mut sum = 0;
        let suffix = |(since, grains): (u64, i128)| {
            sum += grains;
            Backlog { since, charged: Span::exactly(sum) }
        };
        log.into_iter().rev().map(suffix).collect()
    }

    /// What is owed at `now`: at least by the list, at most by the order.
    fn owed(&self, now: u64) -> Span {
        Span {
            low: owed(&self.rate, &self.suffixes(None), now).low,
            high: owed(&self.rate, &self.backlogs, now).high,
        }
    }

    /// The admissions so far, with one more of `amount` at `now`; `from` is what a full bucket then starts from.
    fn with(&self, grains: Span, from: Span, now: u64) -> Vec<Backlog> {
        let mut backlogs = self.backlogs.clone();
        backlogs.push(Backlog { since: now, charged: from });
        for backlog in &mut backlogs {
            backlog.charged = backlog.charged.plus(grains);
        }
        backlogs
    }

    fn judge(&self, amount: u64, now: u64, withheld: u64) -> (Answer, Wait) {
        if amount == 0 {
            return (Answer::Admit, Wait::After(Span::ZERO));
        }
        if amount > self.rate.burst {
            return (Answer::Refuse, Wait::Never);
        }
        // Who may have no more than a part gets what is larger from a full bucket.
        let room = self.rate.burst - withheld;
        let amount = self.rate.grains(amount.min(room));
        let after = self.with(Span::exactly(amount), Span::ZERO, now);
        let burst = self.rate.grains(room);
        let least = self.suffixes(Some((now, amount)));
        let wait = |backlogs: &[Backlog]| {
            backlogs.iter().map(|backlog| self.wait(backlog, burst, now)).fold(Span::exactly(1), Span::max)
        };
        let wait = Span { low: wait(&least).low, high: wait(&after).high };
        let owed = Span { low: owed(&self.rate, &least, now).low, high: owed(&self.rate, &after, now).high };
        if owed.high <= burst {
            (Answer::Admit, Wait::After(Span::ZERO))
        } else if owed.low > burst {
            (Answer::Refuse, Wait::After(wait))
        } else {
            (Answer::Either, Wait::After(wait))
        }
    }

    /// Nanoseconds from `now` until the backlog owes no more than `burst` grains.
    fn wait(&self, backlog: &Backlog, burst: i128, now: u64) -> Span {
        let over = backlog.charged.minus(Span::exactly(burst));
        let until = |grains: i128| {
            i128::from(backlog.since) + ceiling(grains, self.rate.grains_per_nano()) - i128::from(now)
        };
        // The limiter may have supplied up to a tick more than is exact, or up to two ticks less.
        Span {
            low: until(over.low - self.rate.tick() + 1),
            high: until(over.high + 2 * self.rate.tick() - 1),
        }
    }

    fn charge(&mut self, amount: u64, now: u64) -> Charge {
        let mut entry = None;
        if amount > 0 {
            self.backlogs = self.with(Span::exactly(self.rate.grains(amount)), self.rate.slack(), now);
            self.forget_paid(now);
            entry = Some(self.log.len());
            self.log.push((now, self.rate.grains(amount)));
        }
        Charge::Rate { word: self.backlogs.clone(), refunds_before: self.refunds.len(), entry }
    }

    /// Backlogs that surely owe less than the one of `now` never matter again.
    fn forget_paid(&mut self, now: u64) {
        let Some(newest) = self.backlogs.iter().rev().find(|backlog| backlog.since == now).copied() else {
            return;
        };
        self.backlogs.retain(|backlog| {
            backlog.since >= now
                || backlog.charged.minus(self.rate.supply(backlog.since, now)).high >= newest.charged.low
        });
    }

    /// Gives back `amount`: in the list, all of it; by the order, at most what the charge still keeps from others: what
    /// the bucket owed right after it, less what was supplied and given back since.
    fn give_back(
        &mut self,
        (word, refunds_before, entry): (&[Backlog], usize, Option<usize>),
        amount: u64,
        now: u64,
    ) -> Settled {
        let wanted = self.rate.grains(amount);
        let before = self.owed(now);
        if let Some(entry) = entry {
            self.log[entry].1 -= wanted;
        }
        let since = self.refunds[refunds_before..].iter().copied().fold(Span::ZERO, Span::plus);
        let most = owed_or_less(&self.rate, word, now).minus(since).max(Span::ZERO);
        let given = Span::exactly(wanted).min(most);
        for backlog in &mut self.backlogs {
            backlog.charged = backlog.charged.minus(given);
        }
        if amount > 0 {
            self.refunds.push(given);
        }
        // At the most, all that is owed came back but for what the list tells.
        let most = (before.high - self.owed(now).low).max(given.high).min(wanted);
        let given = Span { low: given.low, high: most };
        Settled { clipped: self.tokens(Span::exactly(wanted).minus(given)), ..Settled::default() }
    }

    /// Charges `amount` more, as far as the debt allows.
    fn charge_overage(&mut self, amount: u64, now: u64) -> Settled {
        // An amount beyond all range is charged up to the debt, and the rest is cut, whatever it is.
        let most = i128::from(self.rate.burst) + i128::from(self.rate.max_debt);
        let wanted = i128::from(amount).min(most + 1) * self.rate.token();
        let charged = |owed| {
            let room = Span::exactly(most * self.rate.token()).minus(owed).max(Span::ZERO);
            Span::exactly(wanted).min(room)
        };
        let by_order = charged(owed(&self.rate, &self.backlogs, now));
        let charged = charged(self.owed(now));
        self.backlogs = self.with(by_order, self.rate.slack(), now);
        self.log.push((now, charged.low));
        let (least, most) = self.tokens(Span::exactly(wanted).minus(charged));
        let beyond = u128::from(amount) - (wanted / self.rate.token()).unsigned_abs();
        Settled { cut: (least + beyond, most + beyond), ..Settled::default() }
    }

    /// Grains as whole tokens: rounded down, rounded up.
    fn tokens(&self, grains: Span) -> (u128, u128) {
        let low = grains.low.max(0).div_euclid(self.rate.token());
        (low.unsigned_abs(), ceiling(grains.high.max(0), self.rate.token()).unsigned_abs())
    }

    fn standing(&self, now: u64) -> Standing {
        let burst = self.rate.grains(self.rate.burst);
        let left = Span::exactly(burst).minus(self.owed(now)).max(Span::ZERO);
        let whole = |grains: i128| (grains / self.rate.token()).unsigned_abs();
        Standing { limit: self.rate.burst, left: (whole(left.low), whole(left.high)) }
    }
}

/// As [`owed`], without the floor at nothing: supplied meanwhile may be more than was owed.
fn owed_or_less(rate: &Rate, backlogs: &[Backlog], now: u64) -> Span {
    backlogs
        .iter()
        .map(|backlog| backlog.charged.minus(rate.supply(backlog.since, now)))
        .reduce(Span::max)
        .unwrap_or(Span::ZERO)
}

/// The quotient, rounded up.
fn ceiling(dividend: i128, divisor: i128) -> i128 {
    dividend.div_euclid(divisor) + i128::from(dividend.rem_euclid(divisor) != 0)
}

/// A quota by what each window admitted.
#[derive(Clone, Debug)]
pub struct QuotaBucket {
    limit: u64,
    period: Period,
    origin_unix: i64,
    /// What was charged in each window, the newest last. Time that goes back stays in the newest.
    windows: Vec<(Window, u128)>,
}

impl QuotaBucket {
    fn unix(&self, now: u64) -> i64 {
        self.origin_unix.saturating_add(i64::try_from(now).expect("limiter time ends at 2^60"))
    }

    /// The window that counts at `now`.
    fn window(&self, now: u64) -> Window {
        let window = window_at(self.period, self.unix(now));
        match self.windows.last() {
            Some((newest, _)) if newest.number > window.number => *newest,
            _ => window,
        }
    }

    /// The first instant at which a request is not behind the bucket.
    fn opened(&self) -> u64 {
        let start = self.windows.last().map_or(i64::MIN, |(newest, _)| newest.start);
        u64::try_from(start.saturating_sub(self.origin_unix)).unwrap_or(0)
    }

    /// What counts in window `number`: its own, and what the windows before it went over their limits, each
    /// window taking up to one limit of it.
    fn used(&self, number: u32) -> u128 {
        let (mut used, mut at) = (0u128, 0);
        for (window, charged) in &self.windows {
            used = used.saturating_sub(u128::from(self.limit) * u128::from(window.number - at)) + charged;
            at = window.number;
        }
        used.saturating_sub(u128::from(self.limit) * u128::from(number.saturating_sub(at)))
    }

    fn judge(&self, amount: u64, now: u64, withheld: u64) -> (Answer, Wait) {
        let mut window = self.window(now);
        let asked = u128::from(amount) + u128::from(withheld);
        let used = self.used(window.number);
        if amount == 0 || used + asked <= u128::from(self.limit) {
            return (Answer::Admit, Wait::After(Span::ZERO));
        }
        if amount > self.limit {
            return (Answer::Refuse, Wait::Never);
        }
        // Each window takes a limit of what is over. Beyond a thousand windows a retry is told the next refusal.
        let mut over = used + asked - u128::from(self.limit);
        for _ in 0..1_000 {
            window = window_at(self.period, window.end);
            if over <= u128::from(self.limit) {
                break;
            }
            over -= u128::from(self.limit);
        }
        let wait = i128::from(window.start) - i128::from(self.unix(now));
        (Answer::Refuse, Wait::After(Span::exactly(wait)))
    }

    fn add(&mut self, amount: u64, now: u64) -> Window {
        let window = self.window(now);
        if amount > 0 {
            match self.windows.last_mut() {
                Some((newest, charged)) if newest.number == window.number => *charged += u128::from(amount),
                _ => self.windows.push((window, u128::from(amount))),
            }
        }
        window
    }

    fn charge(&mut self, amount: u64, now: u64) -> Charge {
        Charge::Quota { window: self.add(amount, now).number }
    }

    fn settle(&mut self, charged: u32, reserved: u64, actual: u64, now: u64) {
        if actual > reserved {
            self.add(actual - reserved, now);
            return;
        }
        if let Some((newest, used)) = self.windows.last_mut()
            && newest.number == charged
        {
            *used -= u128::from(reserved - actual);
        }
    }
}
