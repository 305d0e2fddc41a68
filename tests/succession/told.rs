//! What explanations tell of use.

use tollgate::{Explanation, RuleState};

use super::{
    ledger::Key,
    policy::{LEVELS, METER_NAMES},
};

/// The use of one bucket.
pub fn used_of(explanation: &Explanation, key: &Key) -> Option<u64> {
    let state = explanation.rules.iter().find(|state| {
        state.level.to_string() == LEVELS[key.level]
            && state.meter.as_str() == METER_NAMES[key.meter]
            && state.rule.as_str() == key.rule
    });
    state.map(|state| state.used)
}

/// Of every rule that is there before and after, at one instant: as much is owed or used, and of a rate at most `more`.
pub fn not_forgiven(before: &[Option<Explanation>], after: &[Option<Explanation>], more: u64) {
    for (before, after) in before.iter().zip(after) {
        let (Some(before), Some(after)) = (before, after) else { continue };
        for was in before.rules.iter().filter(|was| was.kind == "rate") {
            let same = |is: &&RuleState| (is.level, is.meter, is.rule) == (was.level, was.meter, was.rule);
            if let Some(is) = after.rules.iter().find(same) {
                assert!(was.used <= is.used && is.used <= was.used + more, "{was:?} became {is:?}");
            }
        }
    }
}
