//! Rates from outside, against exact rational arithmetic: random rates from one a year to 8 a nanosecond, bursts up
//! to 2^56, odd periods, anywhere in the 36 years of limiter time.
//!
//! - never over: in any interval at most burst + rate x length, lengths counted in begun nanoseconds;
//! - under by little: what is on offer is short of exact by under two ticks, after however many charges (the
//!   liveness half: a limiter that denies everything fails it);
//! - the wait is exact: the same request is refused one nanosecond earlier and admitted then.
#![cfg(feature = "toml")]

use proptest::{prelude::*, test_runner::RngSeed};
use tollgate::{Cost, Identity, Limiter, ManualClock, Meter, Plan, Retry};

const YEAR: u64 = 365 * 86_400 * 1_000_000_000;
/// Limiter time ends here.
const END: u64 = 1 << 60;

#[derive(Clone, Copy, Debug)]
struct Rate {
    tokens: u64,
    period: u64,
    burst: u64,
}

impl Rate {
    /// Ticks in a token, as the design defines them, found by trying.
    fn ticks(&self) -> u128 {
        let fits = |ticks: u128| {
            ticks * u128::from(self.tokens) <= 8 * u128::from(self.period)
                && ticks * 2 * u128::from(self.burst) <= 1 << 62
        };
        (0..=62).map(|shift| 1 << shift).take_while(|ticks| fits(*ticks)).last().expect("a valid rate")
    }

    /// Whether `sum` tokens in `nanos` begun nanoseconds are no more than burst and rate allow.
    fn allows(&self, sum: u128, nanos: u64) -> bool {
        let period = u128::from(self.period);
        sum * period <= u128::from(self.burst) * period + u128::from(self.tokens) * u128::from(nanos)
    }

    /// Whether `sum` tokens are at least what burst and rate give in `nanos`, less two ticks, in whole tokens.
    fn delivered(&self, sum: u128, nanos: u64) -> bool {
        let (ticks, period) = (self.ticks(), u128::from(self.period));
        let exact = ticks * (u128::from(self.burst) * period + u128::from(self.tokens) * u128::from(nanos));
        (sum + 1) * ticks * period + 2 * period > exact
    }
}

struct Alone {
    limiter: Limiter,
    clock: ManualClock,
    who: Identity,
    meter: Meter,
}

impl Alone {
    /// A limiter of one rule, its debt as large as its burst, at `start`.
    fn new(rate: Rate, start: u64) -> Alone {
        let Rate { tokens, period, burst } = rate;
        let text = format!(
            "version = 1\nmeters = [\"tokens\"]\nlargest_factor = 1\nmemory = \"16MiB\"\n\
             capacity = {{ accounts = 64, organizations = 1 }}\n\
             [tiers.one]\ntotal = \"unlimited\"\n[tiers.one.account]\n\
             tokens = {{ rate = \"{tokens} per {period}ns\", burst = {burst}, max_debt = {burst} }}\n"
        );
        let plan = Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let clock = ManualClock::new();
        clock.advance_nanos(start);
        let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().expect("built");
        let who = limiter.identity(limiter.tier("one").expect("the tier"), 1);
        let meter = limiter.meter("tokens").expect("the meter");
        Alone { limiter, clock, who, meter }
    }

    fn now(&self) -> u64 {
        self.limiter.now().as_u64()
    }

    fn takes(&self, tokens: u64) -> bool {
        self.limiter.check(&self.who, &Cost::of(self.meter, tokens)).is_ok()
    }

    fn would_take(&self, tokens: u64) -> bool {
        self.limiter.peek(&self.who, &Cost::of(self.meter, tokens)).is_ok()
    }

    /// The most that would be admitted now, found by halving.
    fn on_offer(&self, burst: u64) -> u64 {
        let (mut taken, mut refused) = (0, burst + 1);
        while refused - taken > 1 {
            let middle = taken + (refused - taken) / 2;
            if self.would_take(middle) { taken = middle } else { refused = middle }
        }
        taken
    }
}

/// Any number of bits as likely as any other.
fn of_any_size(most_bits: u32) -> impl Strategy<Value = u64> {
    (0..most_bits, any::<u64>()).prop_map(|(bits, random)| (1 << bits) | (random & ((1 << bits) - 1)))
}

fn rates() -> impl Strategy<Value = Rate> {
    let period = prop_oneof![
        Just(1),
        Just(1_000_000_000),
        Just(60_000_000_000),
        Just(YEAR),
        of_any_size(54),
        of_any_size(54).prop_map(|period| period | 1),
    ];
    let tokens = prop_oneof![Just(1), of_any_size(62), Just(u64::MAX)];
    let burst = prop_oneof![1..100_u64, of_any_size(56), Just(1 << 56)];
    (tokens, period, burst).prop_map(|(tokens, period, burst)| Rate {
        tokens: tokens.min(8 * period).min(1 << 53),
        period,
        burst,
    })
}

/// Rates whose tick is a quarter of a nanosecond's supply or less: the burst does not make it coarser.
fn fine_rates() -> impl Strategy<Value = Rate> {
    rates().prop_filter("a tick under a nanosecond's supply", |rate| {
        rate.ticks() * 2 * u128::from(rate.tokens) > 8 * u128::from(rate.period)
    })
}

fn starts() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), of_any_size(59), (0..YEAR).prop_map(|back| END - 1 - back)]
}

/// What a share of 64 asks for: of the burst, or for the lowest eight so many single tokens.
fn amount(rate: Rate, share: u8) -> u64 {
    let of_burst = u128::from(rate.burst) * u128::from(share) / 64;
    if share < 8 { rate.burst.min(u64::from(share) + 1) } else { (of_burst as u64).max(1) }
}

/// How long to wait before a request, in eighths of the time that its tokens take, and how much to ask for, in
/// shares of 64.
fn requests() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0..20_u8, prop_oneof![0..=64_u8, 0..8_u8]), 1..120)
}

/// Nanoseconds in which a rate gives `tokens`, times eighths.
fn time_for(rate: Rate, tokens: u64, eighths: u8) -> u64 {
    let nanos =
        u128::from(tokens) * u128::from(rate.period) * u128::from(eighths) / u128::from(rate.tokens) / 8;
    u64::try_from(nanos).unwrap_or(END).min(END)
}

fn never_over(rate: Rate, start: u64, requests: &[(u8, u8)]) -> Result<(), TestCaseError> {
    let alone = Alone::new(rate, start);
    let mut log: Vec<(u64, u64)> = Vec::new();
    for (index, (eighths, share)) in requests.iter().enumerate() {
        let amount = amount(rate, *share);
        alone.clock.advance_nanos(time_for(rate, amount, *eighths));
        if index % 3 == 0 {
            alone.clock.advance_nanos(1);
        }
        let cost = Cost::of(alone.meter, amount);
        let mut answer = alone.limiter.check(&alone.who, &cost);
        // As early as it may be: that is where a bucket is over if ever.
        if let Some(wait) = answer.err().and_then(|denial| denial.retry_after()) {
            alone.clock.advance(wait);
            answer = alone.limiter.check(&alone.who, &cost);
        }
        if let Ok(receipt) = answer {
            log.push((receipt.at(), amount));
        }
        if index % 2 == 0 {
            let rest = alone.on_offer(rate.burst);
            if rest > 0 && alone.takes(rest) {
                log.push((alone.now(), rest));
            }
        }
    }
    for (first, &(from, _)) in log.iter().enumerate() {
        let mut sum = 0;
        for &(to, amount) in &log[first..] {
            sum += u128::from(amount);
            prop_assert!(
                rate.allows(sum, to - from + 1),
                "{sum} from {from} to {to} under {rate:?}: {log:?}"
            );
        }
    }
    prop_assert!(!log.is_empty(), "a fresh bucket admits");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn never_over_in_any_interval(rate in fine_rates(), start in starts(), requests in requests()) {
        never_over(rate, start, &requests)?;
    }

    #[test]
    fn never_over_in_any_interval_whatever_the_burst(
        rate in rates(),
        start in starts(),
        requests in requests(),
    ) {
        never_over(rate, start, &requests)?;
    }

    #[test]
    fn supply_is_short_by_under_two_ticks(rate in rates(), start in starts(), requests in requests()) {
        let alone = Alone::new(rate, start);
        prop_assert!(alone.takes(rate.burst), "a fresh bucket is full");
        let (start, mut sum) = (alone.now(), u128::from(rate.burst));
        for (eighths, share) in requests {
            let amount = amount(rate, share);
            // Never until the bucket is full: what spills over is rightly lost.
            let full = sum * u128::from(rate.period) / u128::from(rate.tokens);
            let passed = u128::from(alone.now() - start);
            let most = u64::try_from(full.saturating_sub(passed)).unwrap_or(u64::MAX);
            let pause = time_for(rate, amount, eighths % 9).min(most);
            if pause >= END - alone.now() {
                break;
            }
            alone.clock.advance_nanos(pause);
            let offer = alone.on_offer(rate.burst);
            let passed = alone.now() - start;
            prop_assert!(
                rate.delivered(sum + u128::from(offer), passed),
                "{sum} and {offer} after {passed} under {rate:?}",
            );
            if offer > 0 {
                prop_assert!(alone.takes(offer));
                sum += u128::from(offer);
            }
        }
    }

    #[test]
    fn the_wait_is_exact(rate in rates(), start in starts(), requests in requests()) {
        let alone = Alone::new(rate, start);
        for (eighths, share) in requests {
            let amount = amount(rate, share);
            alone.clock.advance_nanos(time_for(rate, amount, eighths / 4));
            let cost = Cost::of(alone.meter, amount);
            let Err(denial) = alone.limiter.check(&alone.who, &cost) else { continue };
            let Retry::After(wait) = denial.retry() else {
                // Only because time ends.
                let most = u128::from(rate.burst) * u128::from(rate.period) / u128::from(rate.tokens);
                prop_assert!(u128::from(alone.now()) + most + 2 > u128::from(END) - 2, "{denial:?} {rate:?}");
                break;
            };
            let wait = u64::try_from(wait.as_nanos()).expect("within limiter time");
            prop_assert!(wait > 0);
            alone.clock.advance_nanos(wait - 1);
            prop_assert!(!alone.would_take(amount), "admitted before {wait} under {rate:?}");
            alone.clock.advance_nanos(1);
            prop_assert!(alone.takes(amount), "refused after {wait} under {rate:?}");
        }
    }
}

#[test]
fn what_exceeds_the_burst_is_never_admitted() {
    let rate = Rate { tokens: 7, period: 1_000_000_007, burst: 1 << 56 };
    let alone = Alone::new(rate, 0);
    for amount in [rate.burst + 1, 1 << 57, 1 << 62, u64::MAX] {
        let denial = alone.limiter.check(&alone.who, &Cost::of(alone.meter, amount)).expect_err("too much");
        assert_eq!(denial.retry(), Retry::Never);
        assert!(denial.is_never());
        assert_eq!(denial.left(), rate.burst);
    }
    assert!(alone.takes(rate.burst));
}

/// A burst so large that a tick is 2^-5 token, at a rate that gives a tick every eleven days: what is admitted
/// between two steps of the supply must not count the step as supplied in between.
#[test]
fn a_coarse_tick_supplies_nothing_early() {
    let rate = Rate { tokens: 1, period: YEAR, burst: 1 << 56 };
    assert_eq!(rate.ticks(), 1 << 5);
    let tick = YEAR / 32;
    for start in [0, 1, tick / 2, tick - 1, tick, tick + 1, 33 * tick - 1] {
        let alone = Alone::new(rate, start);
        assert!(alone.takes(rate.burst));
        let denial = alone.limiter.check(&alone.who, &Cost::of(alone.meter, 1)).expect_err("empty");
        let wait = denial.retry_after().expect("a matter of time");
        alone.clock.advance(wait);
        assert!(alone.takes(1));
        let wait = u64::try_from(wait.as_nanos()).expect("within limiter time");
        let sum = u128::from(rate.burst) + 1;
        assert!(rate.allows(sum, wait + 1), "a token after {wait} ns of {YEAR}, from {start}");
    }
}
