//! When a campaign was contained.
//!
//! The time from its first request until the first moment after which, for an hour in which it offers at least
//! [`LEAST_OFFERED`], under a tenth of what it offers is admitted, or no more than the policy allows a cohort. What happens in an hour changes only as
//! the hour's end takes in a request or its beginning lets one go; only these moments are looked at, in order,
//! so that one hour of counts is all that is kept. An hour that the trace does not cover is no evidence.

use std::collections::VecDeque;

const HOUR_MS: u64 = 3_600_000;

/// Fewer requests in an hour show nothing.
const LEAST_OFFERED: u64 = 20;

/// The requests of one millisecond.
#[derive(Clone, Copy, Debug)]
struct Tick {
    at_ms: u64,
    offered: u64,
    admitted: u64,
}

/// One campaign's last hour.
#[derive(Debug, Default)]
pub(crate) struct Containment {
    /// Requests that a cohort may make; 0 where there are none.
    allowance: u64,
    first_ms: Option<u64>,
    /// Ticks later than the beginning of the hour in view.
    hour: VecDeque<Tick>,
    offered: u64,
    admitted: u64,
    contained_ms: Option<u64>,
}

impl Containment {
    /// Of a campaign under a policy that allows a cohort so many requests.
    pub(crate) fn new(allowance: u64) -> Containment {
        Containment { allowance, ..Containment::default() }
    }

    /// A request of the campaign; times do not go back.
    pub(crate) fn record(&mut self, at_ms: u64, admitted: bool) {
        let first_ms = *self.first_ms.get_or_insert(at_ms);
        if self.contained_ms.is_some() {
            return;
        }
        if self.hour.back().is_none_or(|tick| tick.at_ms != at_ms) {
            // The last tick is complete: the hour that ends with it, if the campaign is as old as that.
            if let Some(last) = self.hour.back()
                && let Some(begin) = last.at_ms.checked_sub(HOUR_MS).filter(|begin| *begin >= first_ms)
            {
                self.look(begin);
            }
            self.advance(at_ms);
            self.hour.push_back(Tick { at_ms, offered: 0, admitted: 0 });
        }
        let admitted = u64::from(admitted);
        self.offered += 1;
        self.admitted += admitted;
        if let Some(tick) = self.hour.back_mut() {
            tick.offered += 1;
            tick.admitted += admitted;
        }
    }

    /// The hours that ended before or at `now_ms` and begin right after a tick.
    fn advance(&mut self, now_ms: u64) {
        while let Some(tick) = self.hour.front().copied().filter(|tick| tick.at_ms + HOUR_MS <= now_ms) {
            self.hour.pop_front();
            self.offered -= tick.offered;
            self.admitted -= tick.admitted;
            // An hour that ends right now lacks what this millisecond still brings; it is looked at as complete
            // when the millisecond is over.
            if tick.at_ms + HOUR_MS < now_ms {
                self.look(tick.at_ms);
            }
        }
    }

    fn look(&mut self, begin_ms: u64) {
        // Where all of it was admitted, nothing was contained.
        let within = self.admitted <= self.allowance && self.admitted < self.offered;
        let is_contained = within || self.admitted * 10 < self.offered;
        if self.contained_ms.is_none() && self.offered >= LEAST_OFFERED && is_contained {
            self.contained_ms = Some(begin_ms);
        }
    }

    /// Seconds from the first request to containment, for a trace whose last request was at `end_ms`.
    pub(crate) fn seconds(mut self, end_ms: u64) -> Option<f64> {
        if let (Some(last), Some(first_ms)) = (self.hour.back(), self.first_ms)
            && let Some(begin) = last.at_ms.checked_sub(HOUR_MS).filter(|begin| *begin >= first_ms)
        {
            self.look(begin);
        }
        self.advance(end_ms.saturating_add(1));
        let contained = self.contained_ms?.saturating_sub(self.first_ms?);
        Some(contained as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contained(requests: impl IntoIterator<Item = (u64, bool)>, end_ms: u64) -> Option<f64> {
        let mut containment = Containment::default();
        requests.into_iter().for_each(|(at_ms, admitted)| containment.record(at_ms, admitted));
        containment.seconds(end_ms)
    }

    #[test]
    fn denied_from_the_start_and_never_denied() {
        let every_minute = |admitted| (0..200).map(move |minute| (minute * 60_000, admitted));
        assert_eq!(contained(every_minute(false), 200 * 60_000), Some(0.0));
        assert_eq!(contained(every_minute(true), 200 * 60_000), None);
    }

    #[test]
    fn the_moment_is_the_last_admission() {
        let requests = (0..300).map(|minute| (1_000 + minute * 60_000, minute <= 90));
        // Of the 60 after minute 84, six are admitted, a tenth: not under it. After minute 85, five are.
        assert_eq!(contained(requests, 300 * 60_000), Some(85.0 * 60.0));
    }

    #[test]
    fn a_trickle_and_an_unfinished_hour_show_nothing() {
        assert_eq!(contained((0..50).map(|number| (number * 600_000, false)), 50 * 600_000), None);
        assert_eq!(contained((0..50).map(|number| (number * 60_000, false)), 50 * 60_000), None);
        assert_eq!(contained((0..50).map(|number| (number * 60_000, false)), 3_600_000), Some(0.0));
    }

    #[test]
    fn within_the_allowance_of_a_cohort() {
        let contained = |allowance| {
            let mut containment = Containment::new(allowance);
            (0..200).for_each(|minute| containment.record(minute * 60_000, minute % 5 == 0));
            containment.seconds(200 * 60_000)
        };
        // Eleven or twelve of sixty are admitted in an hour.
        assert_eq!((contained(12), contained(10)), (Some(0.0), None));
    }

    #[test]
    fn many_at_once_count_together() {
        let burst = |at_ms, admitted| std::iter::repeat_n((at_ms, admitted), 30);
        assert_eq!(contained(burst(0, true).chain(burst(10, false)), 3_600_010), Some(0.0));
        assert_eq!(contained(burst(0, false).chain(burst(3_600_000, true)), 3_600_000), None);
    }
}
