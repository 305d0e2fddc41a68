//! What a tier does against fleets without any evidence: a pool and a ramp for new accounts, and the last of what many
//! share for those who have taken little. Each is never over, and never starves whom it is there for.
#![cfg(feature = "toml")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tollgate::{Cost, Denial, Identity, Level, Limiter, ManualClock, Meter, Plan, Receipt};

const DAY: i64 = 86_400_000_000_000;
/// 2026-01-05, a Monday.
const MONDAY: i64 = 1_767_571_200_000_000_000;

const POLICY: &str = r#"
    version = 1
    meters = ["requests"]
    capacity = { accounts = 1000, organizations = 100, parked_accounts = 1000 }

    [tiers.verified]
    total = "unlimited"
    account.requests = "1/min"

    [tiers.unverified]
    step_up = "verified"
    account.requests = [{ rate = "100/min", burst = 60 }, { quota = "40/day" }]
    total.requests = { quota = "200/day" }
    pool.requests = { quota = "60/day" }
    ramp = { age = "30d", use = { requests = 20 }, start = 0.25 }
    light_reserve = { share = 0.25, below = 0.1 }
"#;

struct Case {
    limiter: Limiter,
    clock: ManualClock,
    requests: Meter,
}

impl Case {
    fn new() -> Case {
        let clock = ManualClock::at_unix(MONDAY);
        let limiter = Limiter::builder(Plan::from_toml(POLICY).unwrap())
            .clock(clock.clone())
            .secret([7; 16])
            .build()
            .unwrap();
        let requests = limiter.meter("requests").unwrap();
        Case { limiter, clock, requests }
    }

    fn account(&self, id: u64, days_old: i64) -> Identity {
        let tier = self.limiter.tier("unverified").unwrap();
        self.limiter.identity(tier, id).since(MONDAY - days_old * DAY)
    }

    fn spend(&self, caller: &Identity, amount: u64) -> Result<Receipt, Denial> {
        self.limiter.check(caller, &Cost::of(self.requests, amount))
    }

    /// How often `caller` is admitted before it is refused.
    fn until_refused(&self, caller: &Identity) -> (u64, Denial) {
        (0..).find_map(|count| self.spend(caller, 1).err().map(|denial| (count, denial))).unwrap()
    }
}

#[test]
fn a_new_account_has_a_part_of_its_limits_until_age_and_use_have_come() {
    let case = Case::new();
    let new = case.account(1, 0);
    let (admitted, denial) = case.until_refused(&new);
    // A quarter of the day's 40.
    assert_eq!((admitted, denial.level(), denial.withheld()), (10, Level::Account, true));
    assert_eq!(denial.rule().as_str(), "day");
    assert_eq!(denial.step_up().unwrap().as_str(), "verified");
    assert_eq!(denial.retry_after(), Some(Duration::from_secs(86_400)));
    // Aged in a drawer: its age has come, its use has not.
    let aged = case.account(2, 29);
    let (admitted, denial) = case.until_refused(&aged);
    // With each request that it has settled, it has a little more: 10 + 30 x 20/20 x ... until the two meet.
    assert!((11..=40).contains(&admitted) && denial.withheld() == (admitted < 40), "{admitted} {denial}");
    // Old: the whole, though it has used nothing yet.
    assert_eq!(case.until_refused(&case.account(3, 31)).0, 40);
    // Not told: not new.
    let unknown = case.limiter.identity(case.limiter.tier("unverified").unwrap(), 4_u64);
    assert_eq!(case.until_refused(&unknown).0, 40);
}

#[test]
fn a_cost_beyond_the_part_that_a_new_account_has_waits_for_a_day_of_which_nothing_is_used() {
    let case = Case::new();
    let new = case.account(1, 0);
    for day in 0..3 {
        if day == 1 {
            // What it has used of its day is in the way.
            case.spend(&new, 1).unwrap();
        } else {
            case.spend(&new, 15).unwrap();
        }
        let denial = case.spend(&new, 15).unwrap_err();
        assert_eq!((denial.level(), denial.withheld()), (Level::Account, true), "{denial}");
        let wait = denial.retry_after().unwrap();
        assert_eq!(wait, Duration::from_secs(86_400), "{denial}");
        case.clock.advance(wait);
    }
    assert_eq!(case.spend(&new, 41).unwrap_err().retry_after(), None);
}

#[test]
fn new_accounts_share_a_pool_and_the_old_do_not() {
    let case = Case::new();
    let mut admitted = 0;
    for id in 0..20 {
        let (count, denial) = case.until_refused(&case.account(id, 0));
        admitted += count;
        if denial.level() == Level::Pool {
            // Heavier ones leave the last quarter of the 60 to those who have used at most 4.
            assert!(denial.withheld() || admitted == 60, "{admitted}: {denial}");
        }
    }
    assert_eq!(admitted, 60);
    assert_eq!(case.until_refused(&case.account(100, 31)).0, 40);
    let explanation = case.limiter.explain(&case.account(1, 0));
    assert!(explanation.rules.iter().any(|rule| rule.level == Level::Pool && rule.used == 60));
    assert!(!case.limiter.explain(&case.account(100, 31)).rules.iter().any(|rule| rule.level == Level::Pool));
}

#[test]
fn the_last_of_a_total_is_for_the_light() {
    let case = Case::new();
    let old = |id| case.account(id, 31);
    // Four take all of theirs: the total of 200 is down to its last fifty after 150.
    let admitted: Vec<u64> = (0..4).map(|id| case.until_refused(&old(id)).0).collect();
    assert_eq!(admitted, [40, 40, 40, 30]);
    let denial = case.spend(&old(3), 1).unwrap_err();
    assert_eq!((denial.level(), denial.withheld(), denial.left()), (Level::Tier, true, 0));
    // Those who have used at most a tenth of their 40 are served: twelve of them, and a thirteenth with half.
    let light: Vec<u64> = (10..24).map(|id| case.until_refused(&old(id)).0).collect();
    assert_eq!(light.iter().sum::<u64>(), 50);
    assert_eq!(light[..12], [4; 12]);
    let denial = case.spend(&old(30), 1).unwrap_err();
    assert_eq!((denial.level(), denial.withheld()), (Level::Tier, false));
    // The next day, all is as it was: nothing was carried over.
    case.clock.advance_nanos(DAY as u64);
    assert_eq!(case.until_refused(&old(0)).0, 40);
}

#[test]
fn what_is_reserved_by_a_permit_comes_back_to_the_pool() {
    let case = Case::new();
    let new = case.account(1, 0);
    let permit = case.limiter.reserve(&new, &Cost::of(case.requests, 10)).unwrap();
    let used = |level| {
        let rules = case.limiter.explain(&new).rules;
        rules.into_iter().find(|rule| rule.level == level && rule.kind == "quota").unwrap().used
    };
    assert_eq!((used(Level::Account), used(Level::Pool), used(Level::Tier)), (10, 10, 10));
    permit.settle(&Cost::of(case.requests, 3));
    assert_eq!((used(Level::Account), used(Level::Pool), used(Level::Tier)), (3, 3, 3));
}
