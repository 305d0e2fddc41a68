//! A value for each stretch of a trace, however long the trace turns out to be.

/// Stretches that a series has at most: more than a chart has room for.
pub(crate) const MOST_BINS: u64 = 256;

const MINUTE_MS: u64 = 60_000;
/// How long a stretch may be, in minutes; each divides the next. Beyond the last, twice the one before.
const WIDTHS: [u64; 9] = [1, 5, 15, 30, 60, 120, 240, 720, 1440];

/// What a series has for each stretch.
pub(crate) trait Bin: Clone + Default {
    /// Takes in what the stretch after it has.
    fn absorb(&mut self, later: &Self);
}

/// Values by time. Stretches begin a minute long, and become longer as the trace does: memory is that of
/// [`MOST_BINS`] values, whatever comes.
#[derive(Clone, Debug)]
pub(crate) struct Series<B> {
    width_ms: u64,
    bins: Vec<B>,
}

impl<B> Default for Series<B> {
    fn default() -> Series<B> {
        Series { width_ms: MINUTE_MS, bins: Vec::new() }
    }
}

impl<B: Bin> Series<B> {
    /// The value of the stretch that `at_ms` falls into.
    pub(crate) fn at(&mut self, at_ms: u64) -> &mut B {
        while at_ms / self.width_ms >= MOST_BINS {
            self.widen(next_width(self.width_ms));
        }
        let index = (at_ms / self.width_ms) as usize;
        if index >= self.bins.len() {
            self.bins.resize(index + 1, B::default());
        }
        &mut self.bins[index]
    }

    /// Makes stretches at least `width_ms` long, one of the widths that a series comes to by itself.
    pub(crate) fn widen(&mut self, width_ms: u64) {
        while self.width_ms < width_ms {
            let wider = next_width(self.width_ms);
            let group = (wider / self.width_ms) as usize;
            let merged = self.bins.chunks(group).map(|bins| {
                let mut bins = bins.iter();
                let first = bins.next().cloned().unwrap_or_default();
                bins.fold(first, |mut sum, bin| {
                    sum.absorb(bin);
                    sum
                })
            });
            self.bins = merged.collect();
            self.width_ms = wider;
        }
    }

    /// How long a stretch is.
    pub(crate) fn width_ms(&self) -> u64 {
        self.width_ms
    }

    /// In order of time, from the trace's start.
    pub(crate) fn bins(&self) -> &[B] {
        &self.bins
    }
}

fn next_width(width_ms: u64) -> u64 {
    let longer = WIDTHS.iter().map(|minutes| minutes * MINUTE_MS).find(|width| *width > width_ms);
    longer.unwrap_or(width_ms.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Bin for u64 {
        fn absorb(&mut self, later: &u64) {
            *self += later;
        }
    }

    #[test]
    fn however_long_a_trace_is_nothing_is_lost() {
        for days in [1, 7, 30, 365, 30 * 365] {
            let mut series = Series::<u64>::default();
            let (end, step) = (days * 86_400_000, 1_000 + days * 7_919);
            let mut at = 0;
            while at < end {
                *series.at(at) += 1;
                at += step;
            }
            assert_eq!(series.bins().iter().sum::<u64>(), end.div_ceil(step), "{days} days");
            assert!(series.bins().len() <= MOST_BINS as usize);
            assert!(series.bins().len() as u64 * series.width_ms() >= end);
        }
    }

    #[test]
    fn a_week_is_told_by_the_hour_and_a_month_by_four() {
        for (days, hours) in [(7, 1), (30, 4)] {
            let mut series = Series::<u64>::default();
            *series.at(days * 86_400_000 - 1) += 1;
            assert_eq!(series.width_ms(), hours * 3_600_000);
        }
    }

    #[test]
    fn each_width_divides_the_next() {
        let mut width = MINUTE_MS;
        while width < 1 << 40 {
            assert_eq!(next_width(width) % width, 0);
            width = next_width(width);
        }
    }
}
