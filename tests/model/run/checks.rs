//! What must hold of a denial, and of all that a rate admitted.

use tollgate::{Denial, Retry};

use super::super::{
    bucket::{Rate, Wait},
    world::{Refusal, longest},
};

/// In every interval, at most burst + rate x length, a length counted in begun nanoseconds.
pub(super) fn check_intervals(rate: &Rate, admissions: &[(u64, u64)]) {
    let begun = rate.grains_per_nano();
    for (first, &(start, _)) in admissions.iter().enumerate() {
        let mut sum = 0;
        for &(end, amount) in &admissions[first..] {
            sum += rate.grains(amount);
            let most = rate.grains(rate.burst) + i128::from(end - start) * rate.grains_per_nano() + begun;
            assert!(sum <= most, "{sum} of {most} from {start} to {end} under {rate:?}: {admissions:?}");
        }
    }
}

/// A denial names a bucket that refuses, and the longest wait of all that do.
pub(super) fn check_denial(denial: &Denial, refusals: &[Refusal], tier: &str) {
    let context = || format!("{denial:?} {:?} {refusals:#?}", denial.retry());
    assert_eq!(denial.tier().as_str(), tier, "{}", context());
    let named = refusals
        .iter()
        .find(|refusal| {
            refusal.level == denial.level().to_string()
                && refusal.meter == denial.meter().as_str()
                && refusal.rule == denial.rule().as_str()
        })
        .unwrap_or_else(|| panic!("no such refusal: {}", context()));
    assert!(!denial.withheld() || named.withheld > 0, "nothing is withheld: {}", context());
    let left = u128::from(denial.left());
    assert!(named.left.0 <= left && left <= named.left.1, "left: {}", context());
    let expected = longest(refusals);
    let timed = |refusal: &Refusal| refusal.certain && matches!(refusal.wait, Wait::After(_));
    match (denial.retry(), expected) {
        (Retry::Never, Wait::Never) => assert_eq!(named.wait, Wait::Never, "{}", context()),
        // Limiter time ends at 2^60: what passes later never does.
        (Retry::Never, Wait::After(span)) => {
            assert!(span.high + i128::from(denial.at()) > 1 << 60, "{}", context());
        }
        (Retry::OnRelease, Wait::OnRelease) => assert_eq!(named.wait, Wait::OnRelease, "{}", context()),
        (Retry::OnRelease, Wait::After(_)) => {
            assert!(named.wait == Wait::OnRelease && !refusals.iter().any(timed), "{}", context());
        }
        (Retry::After(wait), Wait::After(span)) => {
            let nanos = i128::try_from(wait.as_nanos()).expect("at most 2^64");
            assert!(nanos > 0 && span.holds(nanos), "{nanos} in {span:?}: {}", context());
            let own = matches!(named.wait, Wait::After(own) if own.holds(nanos));
            assert!(own, "not the one that passes last: {}", context());
        }
        _ => panic!("{expected:?}: {}", context()),
    }
}
