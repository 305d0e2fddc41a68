#![allow(clippy::unwrap_used)]
use std::collections::{HashMap, HashSet};

use super::*;
use crate::row::Row;

const SMALL: Settings = Settings { accounts: 2_400, exchanges: 400_000, days: 10, seed: 1 };

fn rows(settings: Settings) -> Vec<Row> {
    let mut campaign = Campaign::new(settings);
    let expected = campaign.expected_rows().unwrap();
    let mut rows = Vec::new();
    loop {
        let batch = campaign.next_batch().unwrap();
        if batch.rows.is_empty() {
            assert_eq!(rows.len() as u64, expected);
            return rows;
        }
        rows.extend(batch.rows);
    }
}

fn hash(rows: &[Row]) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = siphasher::sip::SipHasher13::new();
    // In the byte order of this machine; determinism across byte orders is not what this compares.
    rows.hash(&mut hasher);
    hasher.finish()
}

fn count(rows: &[Row], label: Label) -> (u64, u64) {
    let of_label = || rows.iter().filter(|row| row.label == label as u32);
    let accounts: HashSet<u32> = of_label().map(|row| row.account).collect();
    (of_label().count() as u64, accounts.len() as u64)
}

#[test]
fn has_the_totals_and_accounts_that_were_asked_for() {
    for settings in [
        SMALL,
        Settings { accounts: 24, exchanges: 1600, days: 1, seed: 3 },
        Settings { accounts: 3, exchanges: 500, days: 1, seed: 4 },
    ] {
        let rows = rows(settings);
        let part = |of: u64| of * settings.exchanges / 16_000_000;
        assert_eq!(count(&rows, Label::Probe).0, part(150_000));
        assert_eq!(count(&rows, Label::Thick).0, part(3_400_000));
        assert_eq!(count(&rows, Label::Hydra).0, part(13_000_000));
        let honest = [Label::Legit, Label::Batch, Label::Flash].map(|label| count(&rows, label).0);
        assert!(honest.iter().sum::<u64>() >= part(16_550_000), "{honest:?}");
    }
    let rows = rows(SMALL);
    assert_eq!(count(&rows, Label::Probe).1, 6);
    assert_eq!(count(&rows, Label::Thick).1, 50);
    let hydra = count(&rows, Label::Hydra).1;
    assert!((2_300..=2_344).contains(&hydra), "{hydra}");
}

#[test]
fn comes_in_order_of_time_and_ends_in_time() {
    let rows = rows(SMALL);
    assert!(rows.is_sorted_by_key(|row| row.at_ms));
    assert!(rows.last().unwrap().at_ms < 10 * 86_400_000);
    assert!(rows.iter().all(|row| row.since_ms.unwrap() <= row.at_ms as i64), "nobody acts before birth");
}

#[test]
fn a_seed_decides_everything() {
    let settings = Settings { accounts: 240, exchanges: 20_000, days: 2, seed: 7 };
    let first = hash(&rows(settings));
    assert_eq!(first, hash(&rows(settings)));
    assert_ne!(first, hash(&rows(Settings { seed: 8, ..settings })));
}

#[test]
fn no_column_gives_a_fleet_away() {
    let rows = rows(SMALL);
    let fleet = |row: &&Row| (Label::Probe as u32..=Label::Hydra as u32).contains(&row.label);
    type Column = fn(&Row) -> u64;
    let columns: [(&str, Column); 6] = [
        ("tier", |row| u64::from(row.tier)),
        ("model", |row| u64::from(row.model)),
        ("organization", |row| u64::from(row.organization.is_some())),
        ("ip", |row| row.evidence.ip.unwrap().get()),
        ("client", |row| row.evidence.client.unwrap().get()),
        ("template", |row| row.evidence.template.unwrap().get()),
    ];
    for (name, column) in columns {
        let honest: HashSet<u64> = rows.iter().filter(|row| !fleet(row)).map(column).collect();
        let attack = rows.iter().filter(fleet).count();
        let shared = rows.iter().filter(fleet).filter(|row| honest.contains(&column(row))).count();
        assert!(shared * 100 >= attack * 97, "{name}: {shared} of {attack}");
    }
    // Honest people share cards as well.
    let mut holders: HashMap<u64, HashSet<u32>> = HashMap::new();
    for row in rows.iter().filter(|row| row.label == Label::Legit as u32 && row.organization.is_none()) {
        if let Some(card) = row.evidence.payment {
            holders.entry(card.get()).or_default().insert(row.account);
        }
    }
    assert!(holders.values().any(|accounts| accounts.len() >= 3));
    // A fifth of the fleet passed for verified.
    let tiers: HashMap<u32, u32> = rows.iter().filter(fleet).map(|row| (row.account, row.tier)).collect();
    let verified = tiers.values().filter(|tier| **tier == people::VERIFIED).count();
    assert!((tiers.len() * 15 / 100..tiers.len() * 25 / 100).contains(&verified), "{verified}");
}

#[test]
fn the_hydra_is_even_and_follows_the_new_model() {
    let rows = rows(SMALL);
    let hydra = || rows.iter().filter(|row| row.label == Label::Hydra as u32);
    let mut shares: HashMap<u32, u64> = HashMap::new();
    hydra().for_each(|row| *shares.entry(row.account).or_default() += 1);
    let mut shares: Vec<u64> = shares.into_values().collect();
    shares.sort_unstable();
    let (median, high) = (shares[shares.len() / 2], shares[shares.len() * 99 / 100]);
    assert!(high < median * 2, "{median} {high}");
    let day = 86_400_000;
    let late = hydra().filter(|row| row.at_ms > 7 * day);
    let (new, all) = late.fold((0, 0), |(new, all), row| (new + u64::from(row.model == 4), all + 1));
    assert!((45..55).contains(&(new * 100 / all)), "{new} of {all}");
    assert!(hydra().all(|row| row.model != 4 || row.at_ms > 6 * day));
}
