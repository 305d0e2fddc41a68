//! Properties of the format:
//!
//! - any block comes back as it was, and is written the same again;
//! - with any one bit flipped, cut anywhere, or followed by anything, it is refused;
//! - a newer version is said to be one.

use proptest::prelude::*;

use super::{
    block::{Block, Head, VERSION},
    record::{Amounts, Line, Override, Record, Shared, Standing, Whom},
    shape::Shape,
};
use crate::{
    decision::{Level, Name},
    id::KeptId,
    policy::{
        plan::{MAX_RULES, Plan},
        spec::Policy,
    },
};

/// Two tiers, with rules of every kind at every level.
fn shape() -> Shape {
    let rules = serde_json::json!({
        "tokens": ["600/min", { "quota": "1000/day" }, { "budget": 50_000 }, { "in_flight": 10 }]
    });
    let tier = serde_json::json!({ "account": rules, "organization": rules, "total": { "tokens": "10k/s" } });
    let policy = serde_json::json!({
        "version": 1, "week_start": "sunday", "meters": ["tokens"], "tiers": { "free": tier, "paid": tier }
    });
    let policy: Policy = serde_json::from_value(policy).unwrap();
    Shape::of(&Plan::new(&policy).unwrap())
}

fn ids() -> impl Strategy<Value = KeptId> {
    prop_oneof![
        any::<u64>().prop_map(KeptId::Integer),
        any::<u128>().prop_map(KeptId::Uuid),
        (any::<[u64; 2]>(), 3..=4_u8).prop_map(|(words, kind)| KeptId::new(words, kind).unwrap()),
    ]
}

fn amounts(rules: usize) -> impl Strategy<Value = Amounts> {
    prop::collection::vec(prop_oneof![Just(0), any::<u64>()], rules).prop_map(|some| {
        let mut amounts = Amounts([0; MAX_RULES]);
        amounts.0.iter_mut().zip(some).for_each(|(place, amount)| *place = amount);
        amounts
    })
}

fn standings() -> impl Strategy<Value = Standing> {
    (1..=1024_u16, any::<u16>(), any::<i64>()).prop_map(|(sixteenths, cohort, until)| Standing {
        sixteenths,
        cohort,
        until,
    })
}

fn overrides() -> impl Strategy<Value = Override> {
    let whom = prop_oneof![
        ids().prop_map(Whom::Account),
        ids().prop_map(Whom::Organization),
        Just(Whom::Tier(Name::new("free").unwrap())),
    ];
    let limits = prop::collection::vec(any::<u64>(), 0..3);
    (whom, prop::option::of(1..=1024_u16), any::<bool>(), any::<i64>(), ".{0,20}", limits).prop_map(
        |(whom, sixteenths, exempt, until, reason, limits)| {
            let (meter, rule) = (Name::new("tokens").unwrap(), Name::new("day").unwrap());
            let limits = limits.into_iter().map(|limit| (meter, rule, limit)).collect();
            Override { whom, sixteenths, exempt, until, reason, limits }
        },
    )
}

fn records() -> impl Strategy<Value = Record> {
    let level = prop_oneof![Just(Level::Account), Just(Level::Organization)];
    prop_oneof![
        8 => (level, ids(), prop::option::of(".{0,20}"), 0..2_u8, prop::option::of(standings()), any::<bool>(), amounts(4))
            .prop_map(|(level, id, name, tier, standing, marked, amounts)| {
                Record::Line(Line { level, id, name, tier, standing, marked, amounts })
            }),
        2 => (0..2_u8, amounts(1)).prop_map(|(tier, amounts)| {
            Record::Shared(Shared { level: Level::Tier, tier, cohort: 0, amounts })
        }),
        1 => prop::collection::vec(overrides(), 0..4).prop_map(Record::Overrides),
        1 => ids().prop_map(|id| Record::Gone(Level::Account, id)),
    ]
}

fn blocks() -> impl Strategy<Value = Block> {
    (any::<[u64; 2]>(), any::<i64>(), any::<[u8; 16]>(), prop::collection::vec(records(), 0..20)).prop_map(
        |(numbers, unix, secret, records)| {
            let [first, number] = [numbers[0].min(numbers[1]), numbers[0].max(numbers[1]).min(u64::MAX - 1)];
            Block { head: Head { first, number, unix, secret, shape: shape() }, records }
        },
    )
}

proptest! {
    #[test]
    fn blocks_come_back(block in blocks()) {
        let bytes = block.encode();
        let read = Block::decode(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&read, &block);
        prop_assert_eq!(read.encode(), bytes);
    }

    #[test]
    fn what_is_altered_is_refused(block in blocks(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = block.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Block::decode(&bytes).is_err());
        bytes[at] ^= 1 << bit;
        prop_assert!(Block::decode(&bytes[..at]).is_err());
        bytes.push(bit);
        prop_assert!(Block::decode(&bytes).is_err());
    }

    /// Whatever the bytes: an answer, and what is read is written the same.
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
        prop_assert!(Block::decode(&bytes).is_err());
        // With a head and a checksum that fit.
        let block = Block { head: Head { first: 0, number: 0, unix: 0, secret: [0; 16], shape: shape() }, records: Vec::new() };
        let mut whole = block.encode();
        whole.truncate(whole.len() - 8);
        let at = 38 + at.index(whole.len() - 37);
        whole.splice(at.., bytes);
        let length = u32::try_from(whole.len() - 38).unwrap();
        whole[34..38].copy_from_slice(&length.to_le_bytes());
        let sum = crate::id::checksum(&whole);
        whole.extend_from_slice(&sum.to_le_bytes());
        if let Ok(read) = Block::decode(&whole) {
            prop_assert_eq!(read.encode(), whole);
        }
    }
}

#[test]
fn numbers_after_which_there_is_none_are_refused() {
    for (first, number) in [(u64::MAX, u64::MAX), (0, u64::MAX), (8, 7)] {
        let head = Head { first, number, unix: 0, secret: [0; 16], shape: shape() };
        let error = Block::decode(&Block { head, records: Vec::new() }.encode()).unwrap_err();
        assert!(error.to_string().contains("a number that cannot be"), "{error}");
    }
}

#[test]
fn newer_is_said_to_be_newer() {
    let mut bytes = Block {
        head: Head { first: 0, number: 0, unix: 0, secret: [0; 16], shape: shape() },
        records: Vec::new(),
    }
    .encode();
    bytes[8..10].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let error = Block::decode(&bytes).unwrap_err();
    assert!(error.is_newer() && !error.is_corrupt());
    assert_eq!(
        error.to_string(),
        "the checkpoint: version 2 of the format; this release reads up to 1; take a newer release"
    );
    let foreign = Block::decode(b"PK\x03\x04, a zip file").unwrap_err();
    assert!(foreign.is_corrupt());
    assert_eq!(foreign.to_string(), "the checkpoint: not one that this crate wrote");
}
