//! What is answered is what happens, whatever operators do meanwhile: overrides of every kind at every level, reloads, rules in
//! shadow and soft thresholds, accounts that are parked and come back, permits that settle to anything.
//!
//! - `peek` says what `check` does next, with the same words;
//! - after a wait that a denial tells, the same request is admitted (or waits for a permit alone), and a nanosecond earlier it
//!   is not, unless an override ended meanwhile;
//! - no rule has more left than its limit; with the last permit, nothing is in flight;
//! - liveness: requests are admitted, and waits come to an end.
#![cfg(feature = "toml")]

use std::time::Duration;

use proptest::prelude::*;
use tollgate::{Cost, Identity, Limiter, ManualClock, Meter, Override, Permit, Plan, Retry, Whom};

const POLICY: &str = r#"
    version = 1
    meters = ["requests", "tokens"]
    capacity = { accounts = 4, organizations = 4, parked_accounts = 5000, parked_organizations = 5000, spare_rules = 3 }

    [tiers.one]
    account.requests = [
        { rate = "5/s", burst = 8, max_debt = 4, soft = 0.5 },
        { quota = "30/minute" },
        { quota = "200/hour", soft = 0.5 },
        { in_flight = 9 },
    ]
    account.tokens = [{ rate = "50/s", burst = 90 }, { budget = 5000 }]
    organization.requests = [{ rate = "6/s", burst = 20 }, { quota = "60/minute" }, { in_flight = 30 }]
    organization.tokens = { quota = "900/minute", shadow = true }
    total.requests = [{ rate = "9/s", burst = 30 }, { quota = "80/minute" }]
"#;
/// Waits are followed up to so many nanoseconds.
const LONGEST: u64 = 300_000_000_000;
const OPEN: usize = 8;

#[derive(Clone, Debug)]
enum Act {
    Pass(u64),
    Check(u64, u64, u64),
    Reserve(u64, u64, u64),
    Settle(usize, u64, u64),
    Override {
        level: u8,
        account: u64,
        what: u8,
        number: u64,
        seconds: u64,
    },
    Lift(u8, u64),
    Reload(bool),
    Maintain,
    /// Others come, more than there are lines.
    Flood,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let tokens = || prop_oneof![Just(0), 0..120_u64];
    let act = prop_oneof![
        4 => (0..3_000_000_000_u64).prop_map(Act::Pass),
        1 => (0..90_000_000_000_u64).prop_map(Act::Pass),
        10 => (0..3_u64, 0..12_u64, tokens()).prop_map(|(who, requests, tokens)| Act::Check(who, requests, tokens)),
        10 => (0..3_u64, 0..12_u64, tokens()).prop_map(|(who, requests, tokens)| Act::Reserve(who, requests, tokens)),
        6 => (0..OPEN, 0..20_u64, 0..200_u64).prop_map(|(which, requests, tokens)| Act::Settle(which, requests, tokens)),
        2 => (0..3_u8, 0..3_u64, 0..9_u8, 0..60_u64, 0..100_u64).prop_map(|(level, account, what, number, seconds)| {
            Act::Override { level, account, what, number, seconds }
        }),
        1 => (0..3_u8, 0..3_u64).prop_map(|(level, account)| Act::Lift(level, account)),
        1 => any::<bool>().prop_map(Act::Reload),
        1 => Just(Act::Maintain),
        1 => Just(Act::Flood),
    ];
    prop::collection::vec(act, 1..120)
}

fn plan(other: bool) -> Plan {
    let more = POLICY.replace("30/minute", "40/minute").replace("burst = 8", "burst = 12");
    Plan::from_toml(if other { &more } else { POLICY }).unwrap_or_else(|error| panic!("{error}"))
}

struct World {
    limiter: Limiter,
    clock: ManualClock,
    meters: [Meter; 2],
}

impl World {
    fn new() -> World {
        let clock = ManualClock::at_unix(1_772_236_800_000_000_000);
        let limiter =
            Limiter::builder(plan(false)).clock(clock.clone()).secret([7; 16]).build().expect("room");
        let meters = ["requests", "tokens"].map(|meter| limiter.meter(meter).expect("a meter"));
        World { limiter, clock, meters }
    }

    fn account(&self, id: u64) -> Identity {
        let tier = self.limiter.tier("one").expect("a tier");
        self.limiter.identity(tier, id).in_organization(self.limiter.organization(id / 2))
    }

    fn cost(&self, requests: u64, tokens: u64) -> Cost {
        Cost::of(self.meters[0], requests).and(self.meters[1], tokens)
    }

    /// Waits as long as a denial says, where no override ends meanwhile; answers what the request is told a nanosecond before
    /// and then.
    fn wait_for<T>(&self, retry: Retry, ask: impl Fn() -> T) -> Option<[T; 2]> {
        let Retry::After(wait) = retry else { return None };
        let wait = wait.as_nanos() as u64;
        assert!(wait > 0);
        if wait >= LONGEST || self.limiter.overrides().iter().any(|one| one.ends_in <= wait) {
            return None;
        }
        self.clock.advance_nanos(wait - 1);
        let before = ask();
        self.clock.advance_nanos(1);
        Some([before, ask()])
    }
}

fn whom(level: u8, identity: &Identity) -> Whom<'_> {
    match level {
        0 => Whom::Account(identity),
        1 => Whom::Organization(identity),
        _ => Whom::Tier(identity.tier()),
    }
}

fn made(what: u8, number: u64, seconds: u64) -> Override {
    let new = Override::new(Duration::from_secs(seconds), "x");
    match what {
        0 => new.limit("requests", "rate", number),
        1 => new.limit("requests", "minute", number),
        2 => new.limit("requests", "in_flight", number),
        3 => new.limit("tokens", "budget", number * 100),
        4 => new.limit("requests", "hour", number * 3),
        5 => new.factor(1 + number as u16),
        6 => new.factor(16 + number as u16),
        7 => new.exempt(),
        _ => new.limit("requests", "minute", number).factor(40),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn answers_come_true(acts in acts()) {
        let world = World::new();
        let limiter = &world.limiter;
        let mut open: Vec<Permit<'_>> = Vec::new();
        let mut flood = 100;
        for act in acts {
            match act {
                Act::Pass(nanos) => world.clock.advance_nanos(nanos),
                Act::Maintain => { limiter.maintain(); }
                // Busy where too many were before.
                Act::Reload(other) => { let _ = limiter.reload(plan(other)); }
                Act::Flood => for _ in 0..30 {
                    let _ = limiter.check(&world.account(flood), &world.cost(1, 0));
                    flood += 1;
                },
                Act::Settle(which, requests, tokens) => if !open.is_empty() {
                    let which = which % open.len();
                    open.swap_remove(which).settle(&world.cost(requests, tokens));
                },
                Act::Lift(level, account) => { limiter.lift_override(whom(level, &world.account(account))); }
                // Where it names no rule of the level, or is no burst, nothing is overridden.
                Act::Override { level, account, what, number, seconds } => {
                    let _ = limiter.set_override(whom(level, &world.account(account)), made(what, number, seconds));
                }
                Act::Check(account, requests, tokens) => {
                    let (who, cost) = (world.account(account), world.cost(requests, tokens));
                    let foreseen = limiter.peek(&who, &cost).map(|receipt| (receipt.soft(), receipt.would_deny()));
                    let found = limiter.check(&who, &cost).map(|receipt| (receipt.soft(), receipt.would_deny()));
                    prop_assert_eq!(foreseen, found);
                    if let Err(denial) = found
                        && let Some([early, late]) = world.wait_for(denial.retry(), || limiter.peek(&who, &cost))
                    {
                        prop_assert!(early.is_err(), "{:?}", denial);
                        let is_there = late.map_or_else(|then| then.retry() == Retry::OnRelease, |_| true);
                        prop_assert!(is_there, "{:?} then {:?}", denial, late);
                    }
                }
                Act::Reserve(account, requests, tokens) => {
                    let (who, cost) = (world.account(account), world.cost(requests, tokens));
                    let reserve = || limiter.reserve(&who, &cost).map(drop);
                    match limiter.reserve(&who, &cost) {
                        Ok(permit) if open.len() < OPEN => open.push(permit),
                        Ok(permit) => { permit.settle(&cost); }
                        Err(denial) => if let Some([early, late]) = world.wait_for(denial.retry(), reserve) {
                            prop_assert!(early.is_err(), "{:?}", denial);
                            let is_there = late.map_or_else(|then| then.retry() == Retry::OnRelease, |()| true);
                            prop_assert!(is_there, "{:?} then {:?}", denial, late);
                        },
                    }
                }
            }
            for rule in limiter.explain(&world.account(0)).rules {
                prop_assert!(rule.limit.is_none_or(|limit| rule.left.is_some_and(|left| left <= limit)), "{:?}", rule);
            }
        }
        drop(open);
        for rule in (0..3).flat_map(|id| limiter.explain(&world.account(id)).rules) {
            prop_assert!(rule.kind != "in_flight" || rule.used == 0, "{:?}", rule);
        }
        // All is there again in time.
        let end = limiter.overrides().iter().map(|one| one.ends_in).max().unwrap_or(0);
        world.clock.advance_nanos(end + 3_600_000_000_000);
        prop_assert!(limiter.check(&world.account(0), &world.cost(8, 0)).is_ok());
    }
}
