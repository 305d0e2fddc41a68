//! Passes of one place a step, among requests that move subjects between tables, and killed anywhere:
//!
//! - of no budget is less restored than had been spent when the pass before the last complete one ended, and of none more than
//!   was spent at all, wherever its subject was meanwhile;
//! - liveness: subjects did move during passes, and passes did complete.
//!
//! And who was forgotten stays so, however many are at once, wherever a pass is.

use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{Block, Cost, ManualClock, MemoryStore, Plan, Whom};

const POLICY: &str = r#"
    version = 1
    meters = ["tokens"]
    capacity = { accounts = 32, organizations = 1, parked_accounts = 200 }
    [tiers.free]
    account.tokens = { budget = 1_000_000 }
    total = "unlimited"
"#;
/// More than the 64 slots of the table, so that about half of them are parked.
const ACCOUNTS: u64 = 120;

fn limiter(store: MemoryStore, clock: &ManualClock) -> Limiter {
    let plan = Plan::from_toml(POLICY).unwrap();
    let builder = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]);
    builder.store(store, Duration::from_secs(1)).build().unwrap()
}

/// What account `id` is known to have spent.
fn spent(limiter: &Limiter, id: u64) -> u64 {
    let (tier, tokens) = (limiter.tier("free").unwrap(), limiter.meter("tokens").unwrap());
    let usage = limiter.usage(Whom::Account(&limiter.identity(tier, id)), tokens, None);
    usage.first().map_or(0, |counted| counted.used)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whoever_moves_is_found(seed in any::<u64>(), steps in 200..2_000_usize) {
        let clock = ManualClock::at_unix(1_772_236_800_000_000_000);
        let store = MemoryStore::new();
        let mut current = limiter(store.clone(), &clock);
        let mut now: HashMap<u64, u64> = HashMap::new();
        // When the last complete pass began: what was spent by then has been seen by it.
        let (mut kept, mut begun) = (HashMap::new(), HashMap::new());
        let mut random = seed | 1;
        let (mut completed, mut killed) = (0, 0);
        for step in 0..steps {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (tier, tokens) = (current.tier("free").unwrap(), current.meter("tokens").unwrap());
            for turn in 0..3 {
                let id = (random >> (8 * turn)) % ACCOUNTS;
                let cost = Cost::of(tokens, 1 + id % 3);
                if current.check(&current.identity(tier, id), &cost).is_ok_and(|receipt| !receipt.overflow()) {
                    *now.entry(id).or_insert(0) += 1 + id % 3;
                }
            }
            clock.advance(Duration::from_millis(1));
            let checkpoints = current.shared.checkpoints.as_ref().unwrap();
            if checkpoints.state.lock().pass.is_none() {
                begun = now.clone();
                checkpoints.state.lock().due = 0;
            }
            if current.maintain().checkpoint == Checkpointing::Done {
                completed += 1;
                kept = begun.clone();
            }
            if random >> 40 & 0x1ff == 0 || step + 1 == steps {
                killed += 1;
                let copy = store.copy();
                let restored = limiter(copy, &clock);
                for id in 0..ACCOUNTS {
                    let (least, most) = (kept.get(&id).copied().unwrap_or(0), now.get(&id).copied().unwrap_or(0));
                    let found = spent(&restored, id);
                    prop_assert!(
                        (least..=most).contains(&found),
                        "account {id}: {found}, and not {least} to {most}, at step {step}"
                    );
                }
                // Goes on with what there is.
                if random >> 50 & 1 == 0 {
                    now = (0..ACCOUNTS).map(|id| (id, spent(&restored, id))).collect();
                    drop(restored);
                    current = limiter(store.clone(), &clock);
                    kept = now.clone();
                }
            }
        }
        prop_assert!(killed > 0 && (completed > 0 || steps < 1_000), "{completed} completed, {killed} killed");
    }
}

/// A window that never comes was waited for, for ever.
#[test]
fn a_window_that_never_comes_is_the_present_one() {
    let text = POLICY.replace("{ budget = 1_000_000 }", "[{ quota = \"5/day\" }, { quota = \"90/month\" }]");
    let clock = ManualClock::at_unix(1_772_236_800_000_000_000);
    let build = |store| {
        let builder = Limiter::builder(Plan::from_toml(&text).unwrap()).clock(clock.clone()).secret([7; 16]);
        builder.store(store, Duration::from_secs(1)).build().unwrap()
    };
    const OVERRUN: u64 = u64::MAX ^ 1 << 47;
    for number in [OVERRUN, 0xffff << 48 | 4, 60_000 << 48 | 4] {
        let store = MemoryStore::new();
        let before = build(store.clone());
        let of = |limiter: &Limiter| {
            let who = limiter.identity(limiter.tier("free").unwrap(), 1_u64);
            (who, Cost::of(limiter.meter("tokens").unwrap(), 1))
        };
        let (who, cost) = of(&before);
        before.check(&who, &cost).unwrap();
        before.checkpoint().unwrap();
        let mut forged = store.copy();
        for place in forged.numbers().unwrap() {
            let mut block = Block::decode(&forged.read(place).unwrap().unwrap()).unwrap();
            for record in &mut block.records {
                if let Record::Line(line) = record {
                    line.amounts.0[0] = number;
                }
            }
            forged.write(place, &block.encode(), &[]).unwrap();
        }
        let after = build(forged);
        let (who, cost) = of(&after);
        let (told, answer) = std::sync::mpsc::channel();
        let asked = after.clone();
        std::thread::spawn(move || told.send(asked.check(&who, &cost).is_ok()));
        let admits = answer.recv_timeout(Duration::from_secs(60)).expect("an answer");
        assert_eq!(admits, number != OVERRUN, "{number:x}");
        clock.advance(Duration::from_secs(86_400));
        // What it was overrun by is carried as ever.
        assert_eq!(after.check(&who, &cost).is_ok(), number != OVERRUN);
    }
}

#[test]
fn more_are_forgotten_than_are_told_at_once() {
    let clock = ManualClock::at_unix(1_772_236_800_000_000_000);
    for steps in 0.. {
        let store = MemoryStore::new();
        let limiter = limiter(store.clone(), &clock);
        let tokens = limiter.meter("tokens").unwrap();
        let accounts = || (0..30_u64).map(|id| limiter.identity(limiter.tier("free").unwrap(), id));
        accounts().for_each(|who| assert!(limiter.check(&who, &Cost::of(tokens, 1)).is_ok()));
        // Somewhere in the first pass, which is full.
        let done = (0..steps).any(|_| limiter.maintain().checkpoint == Checkpointing::Done);
        accounts().for_each(|who| assert!(limiter.forget(&who)));
        limiter.checkpoint().unwrap();
        let restored = self::limiter(store.copy(), &clock);
        assert_eq!((0..30).map(|id| spent(&restored, id)).sum::<u64>(), 0, "after {steps} steps");
        if done {
            assert!(steps > 10, "{steps}");
            break;
        }
    }
}
