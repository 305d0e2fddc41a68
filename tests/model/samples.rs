//! Small policies for sequences of operations.

use super::{
    PolicyModel, TierModel,
    bucket::{COUNTS, Limit},
    calendar::Period,
    policy::{GuardModel, quota, rate, rules},
};

const SECOND: u64 = 1_000_000_000;
/// 2026-02-27T23:59:30Z: half a minute before a day, two days before a month.
const ORIGIN: i64 = 1_772_236_770_000_000_000;

/// All four kinds at all three levels, several rules to a meter.
pub fn everything() -> PolicyModel {
    PolicyModel {
        meters: vec!["requests", "input_tokens", "output_tokens"],
        origin_unix: ORIGIN,
        zones: Vec::new(),
        largest_factor: 16,
        tiers: vec![
            TierModel {
                name: "unverified",
                account: rules(&[
                    (0, rate(10, 60 * SECOND, 5, 2)),
                    (0, quota(30, Period::Day)),
                    (0, Limit::InFlight { limit: 3 }),
                    (1, rate(1_000, 60 * SECOND, 300, 100)),
                    (2, Limit::Budget { limit: 5_000 }),
                ]),
                organization: rules(&[
                    (0, rate(7, 2 * SECOND + 1, 9, 0)),
                    (0, quota(12, Period::Minute)),
                    (1, Limit::Budget { limit: 100_000 }),
                    (2, Limit::InFlight { limit: 600 }),
                ]),
                total: rules(&[
                    (0, rate(3, SECOND, 20, 20)),
                    (0, Limit::Budget { limit: 2_000 }),
                    (1, quota(20_000, Period::Hour)),
                    (2, rate(100, SECOND, 1_000, 1_000)),
                    (2, Limit::InFlight { limit: 1_500 }),
                ]),
                guard: None,
            },
            TierModel {
                name: "verified",
                account: rules(&[
                    (0, rate(1, 1, 8, 8)),
                    (0, rate(20, SECOND, 40, 0)),
                    (1, quota(500, Period::Week)),
                    (1, quota(900, Period::Month)),
                    (2, rate(1, 7, 1 << 20, 1 << 20)),
                ]),
                organization: Vec::new(),
                total: rules(&[(0, Limit::InFlight { limit: 9 }), (1, quota(700, Period::Day))]),
                guard: None,
            },
            TierModel {
                name: "anonymous",
                account: rules(&[(0, rate(1, 3 * SECOND, 2, 0)), (0, quota(6, Period::Hour))]),
                organization: Vec::new(),
                total: rules(&[(0, rate(5, SECOND, 9, 0))]),
                guard: None,
            },
        ],
        anonymous: Some(2),
        accounts: 36,
        signals: false,
    }
}

/// One rule at a time in few hands: every boundary is met often.
pub fn narrow() -> PolicyModel {
    let tier = |name, limit| TierModel {
        name,
        account: rules(&[(0, limit), (1, limit)]),
        organization: Vec::new(),
        total: rules(&[(0, limit)]),
        guard: None,
    };
    PolicyModel {
        meters: vec!["requests", "tokens"],
        origin_unix: ORIGIN,
        zones: Vec::new(),
        largest_factor: 16,
        tiers: vec![
            tier("rate", rate(3, 1_000, 10, 4)),
            tier("quota", quota(10, Period::Minute)),
            tier("budget", Limit::Budget { limit: 1_000 }),
            tier("flight", Limit::InFlight { limit: 10 }),
        ],
        anonymous: None,
        accounts: 8,
        signals: false,
    }
}

/// Nothing but a rate that never needs rounding, and one with a fraction of a tick each nanosecond.
pub fn rates_only() -> PolicyModel {
    let account = rules(&[
        (0, rate(1, 1 << 20, 16, 16)),
        (1, rate(999_999_937, 1_000_000_007, 1_000, 10)),
        (2, rate(1, 365 * 86_400 * SECOND, 1 << 40, 0)),
    ]);
    PolicyModel {
        meters: vec!["even", "odd", "yearly"],
        origin_unix: 0,
        zones: Vec::new(),
        largest_factor: 16,
        tiers: vec![TierModel {
            name: "one",
            account,
            organization: Vec::new(),
            total: Vec::new(),
            guard: None,
        }],
        anonymous: None,
        accounts: 3,
        signals: false,
    }
}

/// What a tier does against fleets: most accounts are new for most of a run, pool and total keep a part for the light, by
/// all kinds of rules, and anybody may be reported.
pub fn guarded() -> PolicyModel {
    let counts = (0, Limit::Budget { limit: COUNTS });
    PolicyModel {
        meters: vec!["requests", "tokens"],
        origin_unix: ORIGIN,
        zones: Vec::new(),
        largest_factor: 16,
        tiers: vec![
            TierModel {
                name: "quick",
                account: rules(&[
                    (0, rate(1, SECOND, 12, 5)),
                    (0, quota(60, Period::Day)),
                    counts,
                    (1, rate(100, SECOND, 400, 50)),
                    (1, quota(2_000, Period::Day)),
                ]),
                organization: rules(&[(0, rate(2, SECOND, 30, 0))]),
                total: rules(&[(0, rate(3, SECOND, 40, 20)), (1, quota(9_000, Period::Day))]),
                guard: Some(GuardModel {
                    days: 1_500,
                    start: 25,
                    usage: (0, 80),
                    pool: rules(&[(0, rate(2, SECOND, 25, 0)), (1, quota(3_000, Period::Day))]),
                    light: (20, 10),
                }),
            },
            TierModel {
                name: "slow",
                account: rules(&[
                    (0, quota(30, Period::Day)),
                    (0, Limit::InFlight { limit: 12 }),
                    (1, quota(900, Period::Day)),
                    (1, Limit::Budget { limit: 20_000 }),
                    (1, Limit::Budget { limit: COUNTS }),
                ]),
                organization: Vec::new(),
                total: rules(&[(0, Limit::InFlight { limit: 30 }), (1, Limit::Budget { limit: 30_000 })]),
                guard: Some(GuardModel {
                    days: 40,
                    start: 50,
                    usage: (1, 4_000),
                    pool: rules(&[(0, quota(90, Period::Week)), (1, quota(2_500, Period::Month))]),
                    light: (40, 30),
                }),
            },
        ],
        anonymous: None,
        accounts: 12,
        signals: true,
    }
}

/// Quotas of every length at the levels that follow zones, in zones that are ahead and behind, by half an hour too.
pub fn zoned() -> PolicyModel {
    const MINUTE: i64 = 60_000_000_000;
    PolicyModel {
        meters: vec!["requests", "tokens"],
        origin_unix: ORIGIN,
        zones: vec![
            ("Asia/Tokyo", 540 * MINUTE),
            ("Etc/GMT+5", -300 * MINUTE),
            ("Asia/Kolkata", 330 * MINUTE),
            ("Pacific/Marquesas", -570 * MINUTE),
        ],
        largest_factor: 16,
        tiers: vec![TierModel {
            name: "one",
            account: rules(&[
                (0, quota(6, Period::Hour)),
                (0, quota(20, Period::Day)),
                (1, quota(500, Period::Week)),
                (1, quota(900, Period::Month)),
            ]),
            organization: rules(&[
                (0, quota(12, Period::Minute)),
                (0, quota(35, Period::Day)),
                (1, quota(1_500, Period::Month)),
            ]),
            total: rules(&[(0, quota(90, Period::Day)), (1, quota(3_000, Period::Week))]),
            guard: None,
        }],
        anonymous: None,
        accounts: 9,
        signals: false,
    }
}
