//! `governor::Quota` as a rule.

use super::{
    quantity::{Amount, QuantityError, TokenRate},
    spec::PolicyRule,
};

impl TryFrom<governor::Quota> for PolicyRule {
    type Error = QuantityError;

    /// The same limit: one token each replenishing interval, and the same burst; exact.
    ///
    /// # Errors
    ///
    /// If the interval is zero, or longer than 2^64 ns.
    fn try_from(quota: governor::Quota) -> Result<PolicyRule, QuantityError> {
        let interval = quota.replenish_interval();
        match u64::try_from(interval.as_nanos()) {
            Ok(nanos @ 1..) => Ok(PolicyRule {
                burst: Some(Amount(u64::from(quota.burst_size().get()))),
                // Governor has no settling; its cells are never in debt.
                max_debt: Some(Amount(0)),
                ..PolicyRule::rate(TokenRate { tokens: 1, nanos })
            }),
            _ => Err(QuantityError::of_interval(interval)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn interval_and_burst_are_kept() {
        let quota =
            governor::Quota::per_second(NonZeroU32::new(3).unwrap()).allow_burst(NonZeroU32::new(7).unwrap());
        let rule = PolicyRule::try_from(quota).unwrap();
        assert_eq!(rule.rate, Some(TokenRate { tokens: 1, nanos: 333_333_333 }));
        assert_eq!(rule.burst, Some(Amount(7)));
    }
}
