//! A subject's buckets under other rules than those that they were filled under.
//!
//! Rules match as [`Rule::continues_as`] says: by meter, name and kind, where there has been no policy without them in
//! between. What is owed is carried in tokens and rounded up; nothing is forgiven where the rule is found, and a rule that
//! has no counterpart starts fresh.

use super::{Moment, quota, rate};
use crate::policy::plan::{Follows, LevelPlan, Limit, MAX_RULES, Quota, Rule};

/// A bucket's debt is kept up to this many ticks: at 8 ticks a nanosecond, the most that a rate has, that is 18
/// years of supply.
const MOST_TICKS: u128 = 1 << 62;

/// The words of `to`'s rules for a subject whose words under `from` are `words`.
pub(crate) fn convert(
    from: &LevelPlan,
    to: &LevelPlan,
    words: &[u64; MAX_RULES],
    moment: &Moment<'_>,
) -> [u64; MAX_RULES] {
    let mut converted = [0; MAX_RULES];
    for (word, rule) in converted.iter_mut().zip(&to.rules) {
        let old = from.rules.iter().zip(words).find(|(old, _)| old.continues_as(rule));
        if let Some((old, held)) = old {
            *word = convert_word(old, rule, *held, moment);
        }
    }
    converted
}

/// The word of a bucket of `old`, whose calendars are now at these `places`, as one of `new`, which is the same rule; where there
/// is no such calendar any more, its use counts in the present window of the quota's own.
pub(crate) fn replaced(
    old: &Quota,
    new: &Quota,
    word: u64,
    places: &[Option<u8>],
    moment: &Moment<'_>,
) -> u64 {
    let Some(place) = quota::place(old, word) else { return 0 };
    match places.get(usize::from(place)).copied().flatten() {
        Some(place) => quota::carry_over(old, new, word, place),
        None => moment
            .window(new.calendar)
            .map_or(0, |(_, window)| quota::restate(new, quota::unpack(old, word).1, window)),
    }
}

/// The word of a quota's bucket in no later window than the present one. None was ever entered; one that is told of all the
/// same would never come.
pub(crate) fn no_later(quota: &Quota, word: u64, moment: &Moment<'_>) -> u64 {
    let place = quota::place(quota, word).unwrap_or(quota.calendar);
    match moment.window(place) {
        Some((_, window)) if quota::number(quota, word) > window.number => {
            quota::moved(quota, word, window.number, place)
        }
        _ => word,
    }
}

fn convert_word(from: &Rule, to: &Rule, word: u64, moment: &Moment<'_>) -> u64 {
    match (&from.limit, &to.limit) {
        _ if from.limit == to.limit => word,
        (Limit::Rate(old), Limit::Rate(new)) => {
            let owed = u128::from(word.saturating_sub(rate::supply(old, moment.now)));
            let ticks = (owed << new.shift).div_ceil(1 << old.shift).min(MOST_TICKS);
            // Full, it is not as good as new: whoever read the clock before would find it full then, too.
            let supply = rate::supply(new, moment.now);
            match (word, ticks) {
                (0, _) => 0,
                (_, 0) => supply,
                (_, ticks) => supply + new.slack + ticks as u64,
            }
        }
        (Limit::Quota(old), Limit::Quota(new)) => {
            // Fresh, it may come to be in the windows of any calendar.
            let place = match quota::place(old, word).filter(|_| word != 0 || new.calendars == 0) {
                Some(place) => place,
                None => return 0,
            };
            if old.period == new.period && (place == new.calendar || place < new.calendars) {
                return quota::carry_over(old, new, word, place);
            }
            let used = super::used(&from.limit, word, &moment.following(Follows::Bucket));
            moment.window(new.calendar).map_or(0, |(_, window)| quota::restate(new, used, window))
        }
        (Limit::Budget { .. }, Limit::Budget { .. }) | (Limit::InFlight { .. }, Limit::InFlight { .. }) => {
            word
        }
        _ => 0,
    }
}
