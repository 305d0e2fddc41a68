//! A quota by what each window admitted.
//!
//! A window is of the clock of whoever entered it, and no other begins before it ends. After that, the window of another
//! clock in which it ended counts as the same one.

use super::super::calendar::{Period, Window, window_ahead};
use super::{Answer, Charge, Span, Wait};

/// A quota by what each window admitted.
#[derive(Clone, Debug)]
pub struct QuotaBucket {
    pub(super) limit: u64,
    pub(super) period: Period,
    pub(super) origin_unix: i64,
    /// What was charged in each window, the newest last, and by how much its clock is ahead of UTC. Time that goes back stays
    /// in the newest.
    pub(super) windows: Vec<(Window, i64, u128)>,
}

impl QuotaBucket {
    pub(super) fn unix(&self, now: u64) -> i64 {
        self.origin_unix.saturating_add(i64::try_from(now).expect("limiter time ends at 2^60"))
    }

    /// The window that counts at `now`, and how far its clock is ahead.
    pub(super) fn window(&self, now: u64, ahead: i64) -> (Window, i64) {
        let unix = self.unix(now);
        let window = window_ahead(self.period, unix, ahead);
        match self.windows.last() {
            Some((newest, its, _)) if *its == ahead && newest.number > window.number => (*newest, ahead),
            Some((newest, its, _)) if *its != ahead && unix < newest.end => (*newest, *its),
            _ => (window, ahead),
        }
    }

    /// The first instant at which a request is not behind the bucket.
    pub(super) fn opened(&self) -> u64 {
        let start = self.windows.last().map_or(i64::MIN, |(newest, ..)| newest.start);
        u64::try_from(start.saturating_sub(self.origin_unix)).unwrap_or(0)
    }

    /// What counts in a window: its own, and what the windows before it went over their limits, each window taking up to
    /// one limit of it.
    pub(super) fn used(&self, (window, ahead): (Window, i64)) -> u128 {
        let (mut used, mut before) = (0u128, None::<(Window, i64)>);
        for (window, its, charged) in self.windows.iter().copied().chain([(window, ahead, 0)]) {
            let at = before.map_or(window.number, |(before, of)| {
                // Of the window of this clock in which the one before ended.
                let same = if of == its { before } else { window_ahead(self.period, before.end - 1, its) };
                same.number
            });
            let passed = window.number.saturating_sub(at);
            used = used.saturating_sub(u128::from(self.limit) * u128::from(passed)) + charged;
            before = Some((window, its));
        }
        used
    }

    pub(super) fn judge(&self, amount: u64, now: u64, withheld: u64, ahead: i64) -> (Answer, Wait) {
        let (mut window, its) = self.window(now, ahead);
        // Who may have no more than a part gets what is larger from a window of which nothing is used.
        let asked = u128::from(amount.min(self.limit - withheld)) + u128::from(withheld);
        let used = self.used((window, its));
        if amount == 0 || (used + asked <= u128::from(self.limit) && amount <= self.limit) {
            return (Answer::Admit, Wait::After(Span::ZERO));
        }
        if amount > self.limit {
            return (Answer::Refuse, Wait::Never);
        }
        if its != ahead {
            window = window_ahead(self.period, window.end - 1, ahead);
        }
        // Each window takes a limit of what is over. Beyond a thousand windows a retry is told the next refusal.
        let mut over = used + asked - u128::from(self.limit);
        for _ in 0..1_000 {
            window = window_ahead(self.period, window.end, ahead);
            if over <= u128::from(self.limit) {
                break;
            }
            over -= u128::from(self.limit);
        }
        let wait = i128::from(window.start) - i128::from(self.unix(now));
        (Answer::Refuse, Wait::After(Span::exactly(wait)))
    }

    pub(super) fn add(&mut self, amount: u64, now: u64, ahead: i64) -> (Window, i64) {
        let (window, its) = self.window(now, ahead);
        if amount > 0 {
            match self.windows.last_mut() {
                Some((newest, of, charged)) if newest.number == window.number && *of == its => {
                    *charged += u128::from(amount);
                }
                _ => self.windows.push((window, its, u128::from(amount))),
            }
        }
        (window, its)
    }

    pub(super) fn charge(&mut self, amount: u64, now: u64, ahead: i64) -> Charge {
        let (window, ahead) = self.add(amount, now, ahead);
        Charge::Quota { window: window.number, ahead }
    }

    pub(super) fn settle(&mut self, charged: (u32, i64), reserved: u64, actual: u64, now: u64, ahead: i64) {
        if actual > reserved {
            self.add(actual - reserved, now, ahead);
            return;
        }
        if let Some((newest, its, used)) = self.windows.last_mut()
            && (newest.number, *its) == charged
        {
            *used -= u128::from(reserved - actual);
        }
    }
}
