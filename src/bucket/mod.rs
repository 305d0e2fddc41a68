//! The pure step of each kind of rule: integers in, integers out. No atomics, no clock.
//!
//! A bucket is one word; 0 is a fresh one, and a word that decides like a fresh one is *idle*. A rate bucket keeps
//! a few words more, which only permits and leases read ([`refund`]). [`step`] is what look and commit both
//! run; [`refusal`] explains it afterwards, off the fast path.

mod convert;
pub(crate) mod lease;
mod moment;
pub(crate) mod quota;
pub(crate) mod rate;
pub(crate) mod refund;
#[cfg(test)]
mod tests;

pub(crate) use convert::{convert, no_later, replaced};
pub(crate) use moment::Moment;
pub(crate) use refund::{KEPT_WORDS, Kept};

use crate::{
    decision::{Level, Refusal, Wait},
    policy::{
        plan::{Limit, Rule, UNLIMITED},
        rate::Rate,
    },
};
use moment::Entered;

/// What a subject's costs are multiplied by, in sixteenths: at least 1 by tightening; an operator may grant less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Factor(u16);

impl Factor {
    pub(crate) const ONE: Factor = Factor(16);

    /// A factor of `sixteenths`/16, or of 1 where that would be less.
    pub(crate) fn from_sixteenths(sixteenths: u16) -> Factor {
        Factor(sixteenths.max(Factor::ONE.0))
    }

    /// A factor of `sixteenths`/16, which may be less than 1: what an operator grants.
    pub(crate) fn granted(sixteenths: u16) -> Factor {
        Factor(sixteenths.max(1))
    }

    pub(crate) fn sixteenths(self) -> u16 {
        self.0
    }

    /// `ticks` times the factor, rounded up. The policy keeps the product of a burst and the largest factor within
    /// 2^62.
    #[inline]
    fn times(self, ticks: u64) -> u64 {
        if self == Factor::ONE { ticks } else { self.times_wide(u128::from(ticks)).min(1 << 62) as u64 }
    }

    /// `amount` times the factor, rounded up.
    pub(crate) fn of(self, amount: u64) -> u64 {
        u64::try_from(self.times_wide(u128::from(amount))).unwrap_or(u64::MAX)
    }

    #[inline]
    fn times_wide(self, ticks: u128) -> u128 {
        (ticks * u128::from(self.0)).div_ceil(u128::from(Factor::ONE.0))
    }

    fn divide(self, ticks: u64) -> u64 {
        if self == Factor::ONE {
            ticks
        } else {
            u64::try_from(self.divide_wide(u128::from(ticks))).unwrap_or(u64::MAX)
        }
    }

    fn divide_wide(self, ticks: u128) -> u128 {
        ticks * u128::from(Factor::ONE.0) / u128::from(self.0)
    }
}

/// One bucket as it was found on a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) level: Level,
    pub(crate) rule: &'a Rule,
    /// The rule's, or what an exception has in its place.
    pub(crate) limit: &'a Limit,
    pub(crate) word: u64,
    pub(crate) factor: Factor,
    /// The instant at which the factor ends.
    pub(crate) until: u64,
    /// Tokens that this caller cannot have: kept for the light, or for when it is older.
    pub(crate) withheld: u64,
}

/// A bucket's answer to a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Admitted; the word to store.
    Admit(u64),
    Refuse,
    /// The bucket's quota window is later than the request's clock.
    Behind,
}

/// Whether what is charged is spent, or held by a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Spend,
    Hold,
}

/// What a request for `amount` asks of one bucket. An estimate is clamped to what a full one holds, so that one above a
/// small limit waits for a full bucket rather than for ever; what it really took is charged when it is settled. A budget
/// never fills again, so there is no waiting for it.
#[inline]
pub(crate) fn asked(limit: &Limit, amount: u64, mode: Mode) -> u64 {
    match (mode, clamp(limit)) {
        (Mode::Hold, Some(most)) => amount.min(most),
        _ => amount,
    }
}

/// The most that a reservation is charged to a bucket; `None` where it is charged as it is.
pub(crate) fn clamp(limit: &Limit) -> Option<u64> {
    match limit {
        // One of 0, as an operator may set it, is full as it is, and admits nothing.
        Limit::Rate(_) | Limit::Quota(_) | Limit::InFlight { .. } => {
            Some(limit.most()).filter(|most| *most > 0)
        }
        Limit::Budget { .. } => None,
    }
}

/// Charges `amount` to a bucket that holds `word`.
///
/// `amount` is at least 1: what is not spent is not asked for.
#[inline]
pub(crate) fn step(
    limit: &Limit,
    word: u64,
    amount: u64,
    factor: Factor,
    mode: Mode,
    moment: &Moment<'_>,
) -> Step {
    if let Limit::Rate(rate) = limit {
        return rate::charge(rate, word, amount, factor, moment.now).map_or(Step::Refuse, Step::Admit);
    }
    // By value, so that the caller's may stay in registers.
    step_counted(limit, word, amount, mode, *moment)
}

/// [`step`] of the rules that count: all but rates, whose step is worth having in place.
#[inline(never)]
fn step_counted(limit: &Limit, word: u64, amount: u64, mode: Mode, moment: Moment<'_>) -> Step {
    let admitted = match limit {
        Limit::Rate(_) => None,
        Limit::Quota(quota) => match moment.enter(quota, word) {
            Some(Entered { word, window, .. }) => return quota::charge(quota, word, amount, window),
            // A plan has every calendar that its quotas name.
            None => None,
        },
        Limit::Budget { limit: UNLIMITED } => Some(word.saturating_add(amount)),
        Limit::Budget { limit } => within(word, amount, *limit),
        Limit::InFlight { limit } => match mode {
            Mode::Hold => within(word, amount, *limit),
            // What is spent at once does not stay in flight, but finds no room where there is none.
            Mode::Spend => within(word, amount, *limit).map(|_| word),
        },
    };
    admitted.map_or(Step::Refuse, Step::Admit)
}

/// Whether `withheld` tokens are left of a bucket besides `amount`.
///
/// Asked of a bucket that admits it.
pub(crate) fn keeps(
    limit: &Limit,
    word: u64,
    amount: u64,
    factor: Factor,
    withheld: u64,
    moment: &Moment<'_>,
) -> bool {
    match limit {
        Limit::Rate(rate) => rate::keeps(rate, word, amount, factor, withheld, moment.now),
        Limit::Quota(quota) => {
            let used = used(limit, word, moment);
            used.saturating_add(amount) <= quota.limit.saturating_sub(withheld)
        }
        Limit::Budget { limit } | Limit::InFlight { limit } => {
            word.saturating_add(amount) <= limit.saturating_sub(withheld)
        }
    }
}

/// Whether a caller who cannot have `withheld` tokens is let through: as [`keeps`], but a cost beyond the rest of a rate or a
/// quota is let through by a bucket of which nothing is used, so that whoever is told to wait for that does not wait in vain.
pub(crate) fn spares(
    limit: &Limit,
    word: u64,
    amount: u64,
    factor: Factor,
    withheld: u64,
    moment: &Moment<'_>,
) -> bool {
    match limit {
        Limit::Rate(rate) => rate::spares(rate, word, amount, factor, withheld, moment.now),
        Limit::Quota(quota) => quota::spares(quota, used(limit, word, moment), amount, withheld),
        Limit::Budget { .. } | Limit::InFlight { .. } => keeps(limit, word, amount, factor, withheld, moment),
    }
}

/// The word of a bucket that is charged whatever it holds: a rate as for overage, a quota in its window alone.
pub(crate) fn force(
    limit: &Limit,
    word: u64,
    amount: u64,
    factor: Factor,
    mode: Mode,
    moment: &Moment<'_>,
) -> u64 {
    match limit {
        Limit::Rate(rate) => rate::overage(rate, word, amount, factor, moment.now).0,
        Limit::Quota(quota) => moment
            .enter(quota, word)
            .map_or(word, |Entered { word, window, .. }| quota::force(quota, word, amount, window)),
        Limit::InFlight { .. } if mode == Mode::Spend => word,
        Limit::Budget { .. } | Limit::InFlight { .. } => word.saturating_add(amount),
    }
}

#[inline]
fn within(used: u64, amount: u64, limit: u64) -> Option<u64> {
    used.checked_add(amount).filter(|sum| *sum <= limit)
}

/// Whether a charge that makes `next` of a quota's word has brought the bucket to another zone.
pub(crate) fn changes_zone(limit: &Limit, word: u64, next: u64) -> bool {
    matches!(limit, Limit::Quota(quota) if word != 0 && (word ^ next) & quota.place_mask() != 0)
}

/// Why [`step`] refused, or [`spares`] did for `withheld` tokens.
pub(crate) fn refusal(
    limit: &Limit,
    word: u64,
    amount: u64,
    factor: Factor,
    withheld: u64,
    moment: Moment<'_>,
) -> Refusal {
    match limit {
        Limit::Rate(rate) => rate::refusal(rate, word, amount, factor, withheld, moment.now),
        Limit::Quota(quota) => match moment.foresee(quota, word) {
            Some(Entered { word, calendar, window }) => {
                quota::refusal(quota, calendar, word, (amount, withheld), window, |unix| {
                    moment.limiter_time(unix)
                })
            }
            None => Refusal { wait: Wait::Never, left: 0 },
        },
        Limit::Budget { limit } => {
            Refusal { wait: Wait::Never, left: limit.saturating_sub(word).saturating_sub(withheld) }
        }
        Limit::InFlight { limit } => {
            let wait = if amount > *limit { Wait::Never } else { Wait::OnRelease };
            Refusal { wait, left: limit.saturating_sub(word) }
        }
    }
}

/// Whether a bucket decides like a fresh one from now on.
#[inline]
pub(crate) fn is_idle(limit: &Limit, word: u64, moment: &Moment<'_>) -> bool {
    match limit {
        Limit::Rate(rate) => word <= rate::supply(rate, moment.now),
        Limit::Quota(quota) => moment.is_over(quota, word),
        // What only counts decides nothing.
        Limit::Budget { limit: UNLIMITED } => true,
        Limit::Budget { .. } | Limit::InFlight { .. } => word == 0,
    }
}

/// What is used of a rule now: tokens owed, the window's use, spent, or held.
pub(crate) fn used(limit: &Limit, word: u64, moment: &Moment<'_>) -> u64 {
    match limit {
        Limit::Rate(rate) => rate::owed(rate, word, moment.now),
        Limit::Quota(quota) => moment
            .enter(quota, word)
            .map_or(0, |Entered { word, window, .. }| quota::used_in(quota, word, window.number.into())),
        Limit::Budget { .. } | Limit::InFlight { .. } => word,
    }
}

/// What is left of a rule now; `None` where it has no limit.
pub(crate) fn left(limit: &Limit, word: u64, factor: Factor, moment: &Moment<'_>) -> Option<u64> {
    match limit {
        Limit::Rate(rate) => Some(rate::left(rate, word, factor, moment.now)),
        Limit::Quota(quota) => Some(quota.limit.saturating_sub(used(limit, word, moment))),
        Limit::Budget { limit: UNLIMITED } => None,
        Limit::Budget { limit } | Limit::InFlight { limit } => Some(limit.saturating_sub(word)),
    }
}

/// When a rule is whole again, if only time passes.
pub(crate) fn full_at(limit: &Limit, word: u64, moment: &Moment<'_>) -> Wait {
    match limit {
        Limit::Quota(_) if used(limit, word, moment) == 0 => Wait::At(moment.now),
        // A request for all of it would be admitted then.
        Limit::Quota(quota) => refusal(limit, word, quota.limit, Factor::ONE, 0, *moment).wait,
        _ if is_idle(limit, word, moment) => Wait::At(moment.now),
        Limit::Rate(rate) => rate::full_at(rate, word),
        Limit::Budget { .. } => Wait::Never,
        Limit::InFlight { .. } => Wait::OnRelease,
    }
}

/// The word of a bucket that holds `word`, and gives nothing before `moment` that it does not give then: for one that was
/// forgotten, by a clock that shows this moment, since it was as good as fresh then.
pub(crate) fn not_before(limit: &Limit, word: u64, moment: &Moment<'_>) -> u64 {
    match limit {
        Limit::Rate(rate) => word.max(rate::supply(rate, moment.now)),
        Limit::Quota(quota) => moment
            .enter(quota, word)
            .map_or(word, |Entered { word, window, .. }| quota::not_before(quota, word, window)),
        Limit::Budget { .. } | Limit::InFlight { .. } => word,
    }
}

/// A word that owes as much as either of two.
pub(crate) fn greater(limit: &Limit, one: u64, other: u64) -> u64 {
    match limit {
        Limit::Quota(quota) => quota::greater(quota, one, other),
        // Words grow with what is owed.
        Limit::Rate(_) | Limit::Budget { .. } | Limit::InFlight { .. } => one.max(other),
    }
}

/// The word that a charge by an exception's limit makes of a bucket of `limit`: what is beyond the rule's own was allowed.
pub(crate) fn allowed(limit: &Limit, word: u64) -> u64 {
    match limit {
        Limit::Quota(quota) => quota::allowed(quota, word, quota.limit),
        Limit::Rate(_) | Limit::Budget { .. } | Limit::InFlight { .. } => word,
    }
}

/// The word of a bucket of `limit` for which an exception's comes now: what the rule had allowed until then is not held against
/// it.
pub(crate) fn excepted(limit: &Limit, exception: &Limit, word: u64) -> u64 {
    match (limit, exception) {
        (Limit::Quota(rule), Limit::Quota(exception)) if quota::unpack(rule, word).1 <= rule.limit => {
            quota::allowed(rule, word, exception.limit)
        }
        _ => word,
    }
}

/// The word of a bucket that is charged with `spent` tokens of before, as far as it has room.
pub(crate) fn carry_over(limit: &Limit, word: u64, spent: u64, moment: &Moment<'_>) -> u64 {
    let spent = left(limit, word, Factor::ONE, moment).map_or(spent, |left| spent.min(left));
    match (spent, step(limit, word, spent, Factor::ONE, Mode::Hold, moment)) {
        (1.., Step::Admit(word)) => word,
        _ => word,
    }
}

/// What a permit asked of a bucket, and on what terms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) amount: u64,
    pub(crate) factor: Factor,
    /// Charged whatever the bucket held.
    pub(crate) forced: bool,
}

/// What a permit notes of a bucket right after its charge, and what that keeps from then on.
#[inline]
pub(crate) fn open(limit: &Limit, words: Words, opened: Opened, now: u64) -> (u64, Kept) {
    let Words { word, kept } = words;
    match limit {
        Limit::Rate(rate) => refund::open(rate, word, kept, opened, now),
        Limit::Quota(quota) => (quota::mark(quota, word), kept),
        Limit::Budget { .. } | Limit::InFlight { .. } => (0, kept),
    }
}

/// A bucket with all that it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) word: u64,
    /// Of a rate.
    pub(crate) kept: Kept,
}

/// What settling did to one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) words: Words,
    /// Tokens that could not be given back.
    pub(crate) clipped: u64,
    /// Tokens that were used beyond the reservation and could not be charged.
    pub(crate) cut: u64,
}

/// Whether a bucket stays as it is when a charge of `reserved` is replaced by one of `actual`, but for what it keeps for
/// permits.
#[inline]
pub(crate) fn stays(limit: &Limit, (reserved, actual): (u64, u64)) -> bool {
    reserved == actual && !matches!(limit, Limit::InFlight { .. })
}

/// Replaces a charge of `reserved` by one of `actual`, and lets go what was in flight. `mark` is `None` where the
/// bucket may not be the one that was charged: nothing is then given back but what was in flight. `leased`: parts of the
/// bucket may be. `by`: the limit that it was charged by, where that was another number than the rule's.
pub(crate) fn settle(
    (limit, by): (&Limit, &Limit),
    words: Words,
    mark: Option<u64>,
    (reserved, actual): (u64, u64),
    (factor, leased): (Factor, bool),
    moment: &Moment<'_>,
) -> Settled {
    let Words { word, kept } = words;
    let plain = |word| Settled { words: Words { word, kept }, clipped: 0, cut: 0 };
    let back = reserved.saturating_sub(actual);
    let extra = actual.saturating_sub(reserved);
    match (limit, mark) {
        (Limit::InFlight { .. }, _) => plain(word.saturating_sub(reserved)),
        (Limit::Rate(rate), Some(mark)) => {
            let rates = (rate, rate_of(by, rate));
            refund::settle(rates, words, mark, (reserved, actual), (factor, leased), moment.now)
        }
        _ if reserved == actual => plain(word),
        (Limit::Rate(_), None) if back > 0 => Settled { words, clipped: back, cut: 0 },
        (Limit::Rate(rate), None) => {
            let (word, cut) = rate::overage(rate_of(by, rate), word, extra, factor, moment.now);
            Settled { words: Words { word, kept }, clipped: 0, cut }
        }
        (Limit::Quota(quota), _) if back > 0 => {
            let is_charged = mark == Some(quota::mark(quota, word));
            plain(if is_charged {
                quota::refund(quota, word, quota::unpack(quota, word).0, back)
            } else {
                word
            })
        }
        (Limit::Quota(quota), _) => plain(
            moment
                .enter(quota, word)
                .map_or(word, |Entered { word, window, .. }| quota::overage(quota, word, extra, window)),
        ),
        (Limit::Budget { .. }, Some(_)) => plain(word.saturating_sub(back).saturating_add(extra)),
        (Limit::Budget { .. }, None) => plain(word.saturating_add(extra)),
    }
}

/// The rate that a limit is, or else `rate`.
fn rate_of<'a>(limit: &'a Limit, rate: &'a Rate) -> &'a Rate {
    if let Limit::Rate(known) = limit { known } else { rate }
}
