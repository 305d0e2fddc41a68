//! Reading and printing of quantities, by example and by property.

use proptest::prelude::*;

use super::*;

fn amount(text: &str) -> Option<u64> {
    text.parse::<Amount>().ok().map(|amount| amount.0)
}

fn rate(text: &str) -> Option<(u64, u64)> {
    text.parse::<TokenRate>().ok().map(|rate| (rate.tokens, rate.nanos))
}

fn message<T: FromStr<Err = QuantityError>>(text: &str) -> String {
    text.parse::<T>().err().map_or_else(|| "accepted".to_owned(), |error| error.to_string())
}

#[test]
fn amounts_are_exact() {
    assert_eq!(amount("600"), Some(600));
    assert_eq!(amount(" 1_000 "), Some(1_000));
    assert_eq!(amount("200k"), Some(200_000));
    assert_eq!(amount("200 K"), Some(200_000));
    assert_eq!(amount("1.5M"), Some(1_500_000));
    assert_eq!(amount("0.000_001M"), Some(1));
    assert_eq!(amount("5G"), amount("5B"));
    assert_eq!(amount("2T"), Some(2_000_000_000_000));
    assert_eq!(amount("1.0"), Some(1));
    assert_eq!(amount("18446744073709551615"), Some(u64::MAX));
}

#[test]
fn amounts_that_are_not() {
    for text in
        ["", "k", ".", ".5", "1.", "1..2", "1.2.3", "-1", "+1", "1e3", "_1", "1_", "1__0", "1 0", "5m"]
    {
        assert_eq!(amount(text), None, "{text}");
    }
    assert_eq!(
        message::<Amount>("1.5"),
        "`1.5` is not a whole number; expected something like `5000`, `200k` or `1.5M`"
    );
    assert_eq!(
        message::<Amount>("18446744073709551616"),
        format!("`18446744073709551616` is too large; at most {} fits", u64::MAX)
    );
    assert_eq!(amount("20000000T"), None);
    assert_eq!(amount(&"9".repeat(60)), None);
    assert_eq!(amount(&format!("0.{}", "0".repeat(60))), None);
}

#[test]
fn rates_take_many_units() {
    assert_eq!(rate("600/min"), Some((600, 60_000_000_000)));
    assert_eq!(rate("20k/min"), Some((20_000, 60_000_000_000)));
    assert_eq!(rate("3 per 2s"), Some((3, 2_000_000_000)));
    assert_eq!(rate("1_000/s"), Some((1_000, 1_000_000_000)));
    assert_eq!(rate("1.5M/day"), Some((1_500_000, 86_400_000_000_000)));
    assert_eq!(rate("1 / 1.5 hours"), Some((1, 5_400_000_000_000)));
    assert_eq!(rate("1/year"), Some((1, 31_536_000_000_000_000)));
    for unit in ["s", "sec", "second", "seconds"] {
        assert_eq!(rate(&format!("5/{unit}")), Some((5, 1_000_000_000)), "{unit}");
    }
    for unit in [
        "ns", "us", "ms", "min", "minute", "minutes", "h", "hour", "hours", "d", "day", "days", "week",
        "weeks", "years",
    ] {
        assert!(rate(&format!("5/{unit}")).is_some(), "{unit}");
    }
}

#[test]
fn rates_that_are_not() {
    assert_eq!(
        message::<TokenRate>("600"),
        "`600` is not a rate; expected something like `600/min`, `20k/min` or `3 per 2s`"
    );
    assert!(message::<TokenRate>("5/month").contains("use `quota"));
    assert!(message::<TokenRate>("5/fortnight").contains("is not a unit of time"));
    assert!(message::<TokenRate>("1.5/s").contains("`3 per 2s`"));
    assert!(message::<TokenRate>("1 per 0s").contains("is empty"));
    assert!(message::<TokenRate>("1 per 0.5ns").contains("whole number of nanoseconds"));
    assert!(message::<TokenRate>("1 per 600 years").contains("too long"));
    for text in ["", "/", "5/", "/s", "5per2s", "per", "super"] {
        assert_eq!(rate(text), None, "{text}");
    }
}

#[test]
fn quotas_take_calendar_windows() {
    let limit = |text: &str| text.parse::<WindowLimit>().ok();
    assert_eq!(limit("200/day"), Some(WindowLimit { tokens: 200, period: Period::Day }));
    assert_eq!(limit("1.5M per month"), Some(WindowLimit { tokens: 1_500_000, period: Period::Month }));
    assert_eq!(limit("5/2 days"), None);
    assert!(message::<WindowLimit>("5/s").contains("minute, hour, day, week or month"));
}

#[test]
fn sizes_of_memory() {
    let size = |text: &str| text.parse::<ByteSize>().ok().map(|size| size.0);
    assert_eq!(size("2GiB"), Some(2 << 30));
    assert_eq!(size("1.5 KiB"), Some(1536));
    assert_eq!(size("4GB"), Some(4_000_000_000));
    assert_eq!(size("17"), Some(17));
    assert_eq!(size("2gigs"), None);
    assert_eq!(ByteSize(3 << 20).to_string(), "3MiB");
    assert_eq!(ByteSize(0).to_string(), "0B");
}

proptest! {
    #[test]
    fn nothing_panics(text in "\\PC*") {
        let _ = (text.parse::<Amount>(), text.parse::<TokenRate>(), text.parse::<WindowLimit>(), text.parse::<ByteSize>());
    }

    #[test]
    fn near_misses_do_not_panic(text in "[0-9_.kMGT /]{0,40}(per|/)?[ 0-9.]{0,20}(s|min|month|years|GiB)?") {
        let _ = (text.parse::<Amount>(), text.parse::<TokenRate>(), text.parse::<WindowLimit>(), text.parse::<ByteSize>());
    }

    #[test]
    fn what_is_printed_reads_back(tokens: u64, nanos in 1_u64.., scale in 0_usize..9) {
        let unit = UNITS[scale].1;
        for nanos in [nanos, (nanos / unit).max(1) * unit] {
            let rate = TokenRate { tokens, nanos };
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }
        prop_assert_eq!(Amount(tokens).to_string().parse(), Ok(Amount(tokens)));
        prop_assert_eq!(ByteSize(tokens).to_string().parse(), Ok(ByteSize(tokens)));
        for period in [Period::Minute, Period::Hour, Period::Day, Period::Week, Period::Month] {
            let limit = WindowLimit { tokens, period };
            prop_assert_eq!(limit.to_string().parse(), Ok(limit));
        }
    }
}
