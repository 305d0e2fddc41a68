//! When a stream's requests fall: hours of the week, and the stretch of the trace that it covers.

/// The trace is generated minute by minute.
pub(super) const SLICE_MS: u64 = 60_000;
pub(super) const SLICES_PER_DAY: usize = 24 * 60;

/// Who keeps which hours. A trace begins on a Monday at midnight.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rhythm {
    /// Working days, with a noon dip; servers and night shifts keep a floor under it.
    Office,
    /// Evenings and weekends.
    Home,
    /// Round the clock, a little less at night.
    Always,
    /// From one to five in the morning.
    Night,
}

const OFFICE: [u64; 24] =
    [9, 8, 7, 7, 8, 10, 16, 30, 60, 88, 96, 92, 70, 84, 98, 100, 94, 80, 56, 40, 30, 22, 16, 12];
const HOME: [u64; 24] =
    [34, 20, 12, 8, 7, 9, 16, 30, 42, 46, 48, 52, 58, 54, 50, 52, 58, 66, 80, 94, 100, 98, 82, 58];

impl Rhythm {
    /// The weight of the minute `slice`.
    pub(super) fn weight(self, slice: usize) -> u64 {
        let hour = slice / 60 % 24;
        let weekend = slice / SLICES_PER_DAY % 7 >= 5;
        match self {
            Rhythm::Office if weekend => OFFICE.get(hour).map_or(0, |weight| weight / 3 + 3),
            Rhythm::Office => OFFICE.get(hour).copied().unwrap_or(0),
            Rhythm::Home if weekend => HOME.get(hour).map_or(0, |weight| weight * 5 / 4),
            Rhythm::Home => HOME.get(hour).copied().unwrap_or(0),
            Rhythm::Always => 70 + HOME.get(hour).map_or(0, |weight| weight * 3 / 10),
            Rhythm::Night => u64::from((1..5).contains(&hour)),
        }
    }
}

/// How much of a stream's total has fallen by the end of each slice.
#[derive(Debug)]
pub(super) struct Curve {
    sums: Vec<u64>,
}

impl Curve {
    pub(super) fn new(slices: usize, mut weight: impl FnMut(usize) -> u64) -> Curve {
        let mut sum = 0;
        let sums = (0..slices).map(|slice| {
            sum += weight(slice);
            sum
        });
        Curve { sums: sums.collect() }
    }

    /// How many of `total` are due by the end of `slice`; all of them at the last.
    pub(super) fn due(&self, total: u64, slice: usize) -> u64 {
        let sum = self.sums.get(slice).copied().unwrap_or(0);
        match self.sums.last() {
            Some(&whole) if whole > 0 => (u128::from(total) * u128::from(sum) / u128::from(whole)) as u64,
            _ => 0,
        }
    }
}
