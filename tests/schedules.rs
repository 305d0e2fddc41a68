//! Random schedules of reports, pardons, time and traffic, at every level that can be tightened, through the limiter as a
//! server has it, beside one that nobody reports to and that is fed the same admitted requests:
//!
//! - the tightened one admits nothing that the untouched one refuses;
//! - where nothing was admitted, report and release leave every rule as it was;
//! - released, and with its rates full again, it is as the other is; quotas are alike at any time.
//!
//! A thousand schedules; `TOLLGATE_SCHEDULES` sets another number (100,000 in a release build before a release).
#![cfg(feature = "toml")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::{prelude::*, test_runner::Config};
use tollgate::{Cost, Identity, Level, Limiter, ManualClock, Plan, RuleState, Signal, Whom};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3_600 * SECOND;
const ACCOUNTS: u64 = 4;

const POLICY: &str = r#"
    version = 1
    meters = ["requests"]
    capacity = { accounts = 32, organizations = 8 }
    [evidence]
    half_life = "1h"
    signals.abuse = { weight = 6, cap = 24, half_life = "1h" }
    [tiers.one]
    account.requests = [{ rate = "10/min", burst = 40 }, { quota = "5000/month" }]
    organization.requests = { rate = "12/min", burst = 60 }
    total.requests = { rate = "15/min", burst = 90 }
"#;

#[derive(Clone, Copy, Debug)]
enum Step {
    Advance(u64),
    Request(u64, u64),
    Report(u64, u16),
    Pardon(u64),
    Maintain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..30 * SECOND).prop_map(Step::Advance),
        2 => (0..2 * HOUR).prop_map(Step::Advance),
        8 => (0..ACCOUNTS, 1..30_u64).prop_map(|(account, amount)| Step::Request(account, amount)),
        3 => (0..ACCOUNTS + 3, 1..6_u16).prop_map(|(whom, weight)| Step::Report(whom, weight)),
        1 => (0..ACCOUNTS + 3).prop_map(Step::Pardon),
        3 => Just(Step::Maintain),
    ];
    prop::collection::vec(step, 1..40)
}

struct World {
    limiter: Limiter,
    clock: ManualClock,
    accounts: Vec<Identity>,
}

impl World {
    fn new() -> World {
        let clock = ManualClock::at_unix(1_767_571_200 * SECOND as i64);
        clock.advance_nanos(HOUR);
        let plan = Plan::from_toml(POLICY).unwrap();
        let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().unwrap();
        let tier = limiter.tier("one").unwrap();
        let account = |id| limiter.identity(tier, id).in_organization(limiter.organization(id % 2));
        let accounts = (0..ACCOUNTS).map(account).collect();
        World { limiter, clock, accounts }
    }

    fn whom(&self, number: u64) -> Whom<'_> {
        match number.checked_sub(ACCOUNTS) {
            None => Whom::Account(&self.accounts[number as usize]),
            Some(2) => Whom::Tier(self.limiter.tier("one").unwrap()),
            Some(organization) => Whom::Organization(&self.accounts[organization as usize]),
        }
    }

    fn spends(&self, account: u64, amount: u64) -> bool {
        let cost = Cost::of(self.limiter.meter("requests").unwrap(), amount);
        self.limiter.check(&self.accounts[account as usize], &cost).is_ok()
    }

    fn rules(&self) -> Vec<RuleState> {
        self.accounts.iter().flat_map(|account| self.limiter.explain(account).rules).collect()
    }

    fn used(&self) -> Vec<(Level, u64)> {
        self.rules().iter().map(|rule| (rule.level, rule.used)).collect()
    }
}

#[test]
fn reports_only_ever_take() {
    let cases = std::env::var("TOLLGATE_SCHEDULES").map_or(1_000, |number| number.parse().unwrap());
    let config = Config { failure_persistence: None, max_shrink_iters: 2_000, ..Config::with_cases(cases) };
    let (mut tightened_often, mut refused_more) = (0_u32, 0_u32);
    let counts = std::cell::RefCell::new((&mut tightened_often, &mut refused_more));
    proptest!(config, |(schedule in steps())| {
        let (tightened, untouched) = (World::new(), World::new());
        let mut admitted_any = false;
        let mut reports = 0;
        for step in schedule {
            match step {
                Step::Advance(nanos) => {
                    tightened.clock.advance_nanos(nanos);
                    untouched.clock.advance_nanos(nanos);
                }
                Step::Request(account, amount) => {
                    let before = tightened.used();
                    if tightened.spends(account, amount) {
                        admitted_any = true;
                        prop_assert!(untouched.spends(account, amount), "admitted though an untouched one refuses");
                    } else {
                        prop_assert_eq!(before, tightened.used(), "a refusal charges nothing");
                        let cost = Cost::of(untouched.limiter.meter("requests").unwrap(), amount);
                        let caller = &untouched.accounts[account as usize];
                        *counts.borrow_mut().1 += u32::from(untouched.limiter.peek(caller, &cost).is_ok());
                    }
                }
                Step::Report(whom, weight) => {
                    reports += 1;
                    // More than a source is heard in a day is another source's.
                    let source = (reports / 60).to_string();
                    let signal = Signal { subject: tightened.whom(whom), kind: "abuse", source: &source, weight };
                    tightened.limiter.signal(signal).unwrap();
                }
                Step::Pardon(whom) => {
                    tightened.limiter.pardon(tightened.whom(whom), Duration::from_secs(60));
                }
                Step::Maintain => {
                    tightened.limiter.maintain();
                }
            }
            *counts.borrow_mut().0 += u32::from(tightened.rules().iter().any(|rule| rule.factor_sixteenths > 16));
        }
        if !admitted_any {
            prop_assert!(tightened.rules().iter().all(|rule| rule.used == 0));
        }
        let quotas = |world: &World| {
            let rules = world.rules().into_iter().filter(|rule| rule.kind == "quota");
            rules.map(|rule| rule.used).collect::<Vec<_>>()
        };
        prop_assert_eq!(quotas(&tightened), quotas(&untouched));
        // All fades, and the longest debt, a request of 29 at sixteen times its price, is paid.
        for _ in 0..24 {
            tightened.clock.advance_nanos(HOUR);
            untouched.clock.advance_nanos(HOUR);
            tightened.limiter.maintain();
        }
        let left = |world: &World| {
            world.rules().into_iter().map(|rule| (rule.level, rule.factor_sixteenths, rule.left)).collect::<Vec<_>>()
        };
        prop_assert_eq!(left(&tightened), left(&untouched));
        for (account, amount) in [(0, 40), (1, 40), (2, 10), (3, 1)] {
            prop_assert_eq!(tightened.spends(account, amount), untouched.spends(account, amount));
        }
    });
    println!("{tightened_often} steps under a factor, {refused_more} requests refused for it");
    assert!(tightened_often > cases && refused_more > cases / 10, "{tightened_often} {refused_more}");
}
