//! A quota by what each window admitted.

use super::super::calendar::{Period, Window, window_at};
use super::{Answer, Charge, Span, Wait};

/// A quota by what each window admitted.
#[derive(Clone, Debug)]
pub struct QuotaBucket {
    pub(super) limit: u64,
    pub(super) period: Period,
    pub(super) origin_unix: i64,
    /// What was charged in each window, the newest last. Time that goes back stays in the newest.
    pub(super) windows: Vec<(Window, u128)>,
}

impl QuotaBucket {
    pub(super) fn unix(&self, now: u64) -> i64 {
        self.origin_unix.saturating_add(i64::try_from(now).expect("limiter time ends at 2^60"))
    }

    /// The window that counts at `now`.
    pub(super) fn window(&self, now: u64) -> Window {
        let window = window_at(self.period, self.unix(now));
        match self.windows.last() {
            Some((newest, _)) if newest.number > window.number => *newest,
            _ => window,
        }
    }

    /// The first instant at which a request is not behind the bucket.
    pub(super) fn opened(&self) -> u64 {
        let start = self.windows.last().map_or(i64::MIN, |(newest, _)| newest.start);
        u64::try_from(start.saturating_sub(self.origin_unix)).unwrap_or(0)
    }

    /// What counts in window `number`: its own, and what the windows before it went over their limits, each
    /// window taking up to one limit of it.
    pub(super) fn used(&self, number: u32) -> u128 {
        let (mut used, mut at) = (0u128, 0);
        for (window, charged) in &self.windows {
            used = used.saturating_sub(u128::from(self.limit) * u128::from(window.number - at)) + charged;
            at = window.number;
        }
        used.saturating_sub(u128::from(self.limit) * u128::from(number.saturating_sub(at)))
    }

    pub(super) fn judge(&self, amount: u64, now: u64, withheld: u64) -> (Answer, Wait) {
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

    pub(super) fn add(&mut self, amount: u64, now: u64) -> Window {
        let window = self.window(now);
        if amount > 0 {
            match self.windows.last_mut() {
                Some((newest, charged)) if newest.number == window.number => *charged += u128::from(amount),
                _ => self.windows.push((window, u128::from(amount))),
            }
        }
        window
    }

    pub(super) fn charge(&mut self, amount: u64, now: u64) -> Charge {
        Charge::Quota { window: self.add(amount, now).number }
    }

    pub(super) fn settle(&mut self, charged: u32, reserved: u64, actual: u64, now: u64) {
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
