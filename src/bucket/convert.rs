//! A subject's buckets under other rules than those that they were filled under.
//!
//! Rules match as [`Rule::continues_as`] says: by meter, name and kind, where there has been no policy without them in
//! between. What is owed is carried in tokens and rounded up; nothing is forgiven where the rule is found, and a rule that
//! has no counterpart starts fresh.

use super::{Moment, quota, rate};
use crate::policy::plan::{LevelPlan, Limit, MAX_RULES, Rule};

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
            let used = super::used(&from.limit, word, moment);
            match moment.window(new.calendar) {
                Some(_) if old.calendar == new.calendar => quota::carry_over(old, new, word),
                Some((_, window)) => quota::restate(new, used, window),
                None => 0,
            }
        }
        (Limit::Budget { .. }, Limit::Budget { .. }) | (Limit::InFlight { .. }, Limit::InFlight { .. }) => {
            word
        }
        _ => 0,
    }
}
