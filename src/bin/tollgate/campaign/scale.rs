//! How many of each, and when: the disclosed campaign, scaled to the accounts, exchanges and days asked for.

use std::ops::Range;

use super::{
    Settings,
    curve::{SLICE_MS, SLICES_PER_DAY},
};

/// The disclosed numbers, which the defaults give back.
const ACCOUNTS: u64 = 24_000;
const EXCHANGES: u64 = 16_000_000;
const PROBE: (u64, u64) = (60, 150_000);
const THICK: (u64, u64) = (500, 3_400_000);
const HYDRA_REQUESTS: u64 = 13_000_000;
const AT_ONCE: u64 = 20_000;

#[derive(Debug)]
pub(super) struct Scale {
    pub(super) slices: usize,
    /// Honest accounts but for the guests of the viral day.
    pub(super) honest: u32,
    pub(super) guests: u32,
    pub(super) probe_accounts: u32,
    pub(super) thick_accounts: u32,
    pub(super) hydra_accounts: u32,
    at_once: u32,
    pub(super) individual_requests: u64,
    pub(super) team_requests: u64,
    pub(super) batch_requests: u64,
    pub(super) viral_requests: u64,
    pub(super) probe_requests: u64,
    pub(super) thick_requests: u64,
    pub(super) hydra_requests: u64,
    pub(super) probe_slices: Range<usize>,
    pub(super) thick_slices: Range<usize>,
    pub(super) hydra_slices: Range<usize>,
    pub(super) viral_slice: usize,
    release_slice: usize,
}

impl Scale {
    pub(super) fn new(settings: &Settings) -> Scale {
        let accounts = u64::from(settings.accounts);
        let of_accounts = |count: u64| (count * accounts).div_ceil(ACCOUNTS).max(1) as u32;
        let of_requests =
            |count: u64| (u128::from(count) * u128::from(settings.exchanges) / u128::from(EXCHANGES)) as u64;
        let probe_accounts = of_accounts(PROBE.0);
        let thick_accounts = of_accounts(THICK.0);
        let hydra_accounts = settings.accounts.saturating_sub(probe_accounts + thick_accounts).max(1);
        let (probe_requests, thick_requests, hydra_requests) =
            (of_requests(PROBE.1), of_requests(THICK.1), of_requests(HYDRA_REQUESTS));
        // Two percent more than the fleets, so that honest traffic is the larger half by any count.
        let honest_requests = (probe_requests + thick_requests + hydra_requests) * 102 / 100;
        let batch_requests = honest_requests * 6 / 100;
        let viral_requests = honest_requests * 3 / 100;
        let individual_requests = honest_requests * 36 / 100;
        let honest = (accounts * 3 / 2).max(12) as u32;
        let slices = settings.days as usize * SLICES_PER_DAY;
        Scale {
            slices,
            honest,
            // Some forty requests each, on one day.
            guests: (honest / 3).max(2),
            probe_accounts,
            thick_accounts,
            hydra_accounts,
            at_once: of_accounts(AT_ONCE).min(hydra_accounts),
            individual_requests,
            team_requests: honest_requests - batch_requests - viral_requests - individual_requests,
            batch_requests,
            viral_requests,
            probe_requests,
            thick_requests,
            hydra_requests,
            probe_slices: slices / 5..slices * 8 / 15,
            thick_slices: slices / 15..slices * 14 / 15,
            hydra_slices: slices / 10..slices,
            // Nine in the morning of a day two fifths into the trace.
            viral_slice: settings.days as usize * 2 / 5 * SLICES_PER_DAY + 9 * 60,
            release_slice: slices * 2 / 3,
        }
    }

    pub(super) fn length_ms(&self) -> u64 {
        self.slices as u64 * SLICE_MS
    }

    /// How many accounts of the hydra are active at once when it is complete.
    pub(super) fn pool_size(&self) -> usize {
        self.at_once as usize
    }

    /// The hydra is complete after a fifteenth of the trace.
    fn complete_slice(&self) -> usize {
        self.hydra_slices.start + self.slices / 15
    }

    /// When the hydra's account number `account` becomes active: evenly while it grows, then evenly as others stop.
    pub(super) fn activation_slice(&self, account: u32) -> usize {
        let spread = |range: Range<usize>, position: u32, count: u32| {
            range.start + (range.len() as u64 * u64::from(position) / u64::from(count.max(1))) as usize
        };
        if account < self.at_once {
            spread(self.hydra_slices.start..self.complete_slice(), account, self.at_once)
        } else {
            // Nobody joins in the last twentieth, too late to do anything.
            let rest = self.complete_slice()..self.slices * 19 / 20;
            spread(rest, account - self.at_once, self.hydra_accounts - self.at_once)
        }
    }

    /// About how many accounts of the hydra are active in `slice`, at least one once it has begun.
    pub(super) fn active_at(&self, slice: usize) -> u64 {
        let growing = slice.saturating_sub(self.hydra_slices.start) as u64;
        let growth = (self.complete_slice() - self.hydra_slices.start).max(1) as u64;
        (u64::from(self.at_once) * growing.min(growth) / growth).max(1)
    }

    /// How many of a thousand requests go to the new model: honest ones, slowly, and the hydra's, at once.
    pub(super) fn new_model_shares(&self, slice: usize) -> (u64, u64) {
        let Some(after) = slice.checked_sub(self.release_slice) else { return (0, 0) };
        let day = (self.slices / 30).clamp(1, SLICES_PER_DAY);
        let rest = (self.slices - self.release_slice).max(1);
        ((40 + 160 * after / rest) as u64, (500 * after.min(day) / day) as u64)
    }
}
