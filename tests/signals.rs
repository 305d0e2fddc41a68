//! What is reported from outside: about accounts that nothing has observed, about organizations, about tiers.
//!
//! - Whoever is reported is tightened at its own level and at no other, in steps, for as long as the report weighs.
//! - Everybody else is as before, and whoever was tightened is, once the report has faded, or at once by a pardon.
//! - `explain` tells an operator; a denial tells that there is a factor, and never what was reported.
#![cfg(feature = "toml")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tollgate::{
    Cost, Denial, Identity, Level, Limiter, ManualClock, Meter, Override, Plan, Signal, SignalError, Tier,
    Whom,
};

const MINUTE: u64 = 60_000_000_000;
const HOUR: u64 = 60 * MINUTE;

const POLICY: &str = r#"
    version = 1
    meters = ["requests"]
    capacity = { accounts = 1000, organizations = 100 }

    [evidence]
    signals.abuse = { weight = 6, cap = 12, half_life = "24h" }
    signals.rumour = { weight = 1, cap = 3 }

    [tiers.verified]
    account.requests = { rate = "64/h", burst = 64 }
    organization.requests = { rate = "256/h", burst = 256 }
    total.requests = { rate = "1024/h", burst = 1024 }

    [tiers.bare]
    account.requests = { rate = "64/h", burst = 64 }
    total.requests = { quota = "5000/day" }
"#;

struct World {
    limiter: Limiter,
    clock: ManualClock,
    requests: Meter,
    verified: Tier,
}

impl World {
    fn of(policy: &str) -> World {
        let clock = ManualClock::at_unix(1_767_571_200_000_000_000);
        let plan = Plan::from_toml(policy).unwrap();
        let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().unwrap();
        let (requests, verified) = (limiter.meter("requests").unwrap(), limiter.tier("verified").unwrap());
        clock.advance_nanos(HOUR);
        World { limiter, clock, requests, verified }
    }

    fn new() -> World {
        World::of(POLICY)
    }

    fn account(&self, id: u64, organization: u64) -> Identity {
        self.limiter.identity(self.verified, id).in_organization(self.limiter.organization(organization))
    }

    fn spend(&self, caller: &Identity, amount: u64) -> Result<(), Denial> {
        self.limiter.check(caller, &Cost::of(self.requests, amount)).map(|_| ())
    }

    fn report(&self, subject: Whom<'_>, weight: u16) -> Result<(), SignalError> {
        self.limiter.signal(Signal { subject, kind: "abuse", source: "desk", weight })
    }

    /// Lets time pass as a server does, a call of `maintain` a minute.
    fn live(&self, hours: u64) {
        for _ in 0..hours * 60 {
            self.clock.advance_nanos(MINUTE);
            self.limiter.maintain();
        }
    }

    fn factor(&self, caller: &Identity, level: Level) -> u16 {
        let rules = self.limiter.explain(caller).rules;
        rules.into_iter().find(|rule| rule.level == level).unwrap().factor_sixteenths
    }

    /// What is left of full buckets, by one request at a time.
    fn left(&self, caller: &Identity) -> u64 {
        (0..).take_while(|_| self.spend(caller, 1).is_ok()).count() as u64
    }
}

#[test]
fn an_account_that_nothing_observed_is_tightened_and_released() {
    let world = World::new();
    let (reported, other) = (world.account(1, 1), world.account(2, 1));
    world.report(Whom::Account(&reported), 2).unwrap();
    // 12 bits are one doubling.
    assert_eq!(world.factor(&reported, Level::Account), 32);
    assert_eq!(world.factor(&reported, Level::Organization), 16);
    let evidence = world.limiter.explain(&reported).evidence.unwrap();
    assert_eq!((evidence.kinds, evidence.factor_sixteenths), (vec![("signal", 96)], 32));
    assert_eq!(world.left(&reported), 32);
    let factors = || world.limiter.statistics().evidence.unwrap().factors;
    assert_eq!(factors(), [1, 0, 0, 0, 0]);
    let denial = world.spend(&reported, 1).unwrap_err();
    assert_eq!((denial.level(), denial.factor_sixteenths()), (Level::Account, 32));
    assert!(!denial.to_string().contains("abuse"), "{denial}");
    assert_eq!(world.left(&other), 64);
    world.live(72);
    assert_eq!(world.factor(&reported, Level::Account), 16);
    assert_eq!(world.left(&reported), 64);
    assert_eq!(factors(), [0; 5]);
    // It knew nothing of the other, and does not now.
    assert!(world.limiter.explain(&other).evidence.is_none());
}

#[test]
fn an_organization_has_less_together() {
    let world = World::new();
    let (one, another) = (world.account(1, 1), world.account(2, 1));
    let stranger = world.account(3, 2);
    world.report(Whom::Organization(&one), 2).unwrap();
    assert_eq!(world.factor(&another, Level::Organization), 32);
    assert_eq!(world.factor(&another, Level::Account), 16);
    let report = world.limiter.explain(&another).reports[0];
    assert_eq!((report.level, report.points, report.factor_sixteenths), (Level::Organization, 96, 32));
    assert!(world.limiter.explain(&stranger).reports.is_empty());
    // 128 in place of 256: two accounts' worth, of which the first takes its own 64.
    assert_eq!((world.left(&one), world.left(&another)), (64, 64));
    let denial = world.spend(&world.account(4, 1), 1).unwrap_err();
    assert_eq!((denial.level(), denial.factor_sixteenths()), (Level::Organization, 32));
    assert_eq!(world.left(&stranger), 64);
    world.live(72);
    assert_eq!(world.factor(&one, Level::Organization), 16);
    assert!(world.limiter.explain(&one).reports[0].points < 16);
    world.live(24 * 14);
    assert!(world.limiter.explain(&one).reports.is_empty(), "faded and forgotten");
}

#[test]
fn a_tier_has_less_together() {
    let world = World::new();
    world.report(Whom::Tier(world.verified), 2).unwrap();
    let callers: Vec<Identity> = (0..20).map(|id| world.account(id, id)).collect();
    assert_eq!(world.factor(&callers[0], Level::Tier), 32);
    let report = world.limiter.explain(&callers[0]).reports[0];
    assert_eq!((report.level, report.factor_sixteenths), (Level::Tier, 32));
    // 512 in place of 1024.
    assert_eq!(callers.iter().map(|caller| world.left(caller)).sum::<u64>(), 512);
    let denial = world.spend(&callers[19], 1).unwrap_err();
    assert_eq!((denial.level(), denial.factor_sixteenths()), (Level::Tier, 32));
    // An operator's word is worth more, and when it ends, the factor is there again.
    let tier = Whom::Tier(world.verified);
    let word = Override::new(Duration::from_secs(60), "checked by hand").factor(16);
    world.limiter.set_override(tier, word).unwrap();
    assert_eq!(world.factor(&callers[0], Level::Tier), 16);
    assert!(world.limiter.lift_override(tier));
    assert_eq!(world.factor(&callers[0], Level::Tier), 32);
    world.live(72);
    assert_eq!(world.factor(&callers[0], Level::Tier), 16);
    assert_eq!(callers.iter().map(|caller| world.left(caller)).sum::<u64>(), 1024);
}

#[test]
fn a_factor_lasts_as_long_as_it_is_asked_for() {
    let world = World::new();
    let reported = world.account(1, 1);
    let (organization, tier) = (Whom::Organization(&reported), Whom::Tier(world.verified));
    for day in 0..5 {
        for subject in [Whom::Account(&reported), organization, tier] {
            // Four times a day, at the cap: there is never less to ask for.
            world.report(subject, 2).unwrap();
        }
        for hour in 0..6 {
            world.live(1);
            for level in [Level::Account, Level::Organization, Level::Tier] {
                assert!(world.factor(&reported, level) > 16, "{level:?} on day {day}, hour {hour}");
            }
        }
        for _ in 0..3 {
            for subject in [Whom::Account(&reported), organization, tier] {
                world.report(subject, 2).unwrap();
            }
            world.live(6);
        }
        assert!(world.factor(&reported, Level::Account) > 16, "day {day}");
    }
}

#[test]
fn a_pardon_lifts_at_every_level_and_lasts() {
    let world = World::new();
    let reported = world.account(1, 1);
    let levels = [
        (Whom::Account(&reported), Level::Account),
        (Whom::Organization(&reported), Level::Organization),
        (Whom::Tier(world.verified), Level::Tier),
    ];
    for (subject, level) in levels {
        assert!(!world.limiter.pardon(subject, Duration::from_secs(1)), "nothing is known");
        world.report(subject, 2).unwrap();
        assert_eq!(world.factor(&reported, level), 32);
        assert!(world.limiter.pardon(subject, Duration::from_secs(86_400)));
        assert_eq!(world.limiter.statistics().evidence.unwrap().factors, [0; 5]);
        assert_eq!(world.factor(&reported, level), 16);
        world.report(subject, 2).unwrap();
        world.live(1);
        assert_eq!(world.factor(&reported, level), 16, "pardoned");
    }
    world.live(24);
    for (subject, level) in levels {
        world.report(subject, 2).unwrap();
        world.live(1);
        assert!(world.factor(&reported, level) > 16, "not for ever");
    }
}

#[test]
fn what_does_not_count_says_why() {
    let world = World::new();
    let alone = world.limiter.identity(world.verified, 1_u64);
    let bare = world.limiter.tier("bare").unwrap();
    let guest = world.limiter.identity(bare, 2_u64).in_organization(world.limiter.organization(9_u64));
    assert_eq!(world.report(Whom::Organization(&alone), 1), Err(SignalError::Unknown));
    assert_eq!(world.report(Whom::Organization(&guest), 1), Err(SignalError::NoRate));
    assert_eq!(world.report(Whom::Tier(bare), 1), Err(SignalError::NoRate));
    assert_eq!(world.report(Whom::Account(&guest), 1), Ok(()));
    let unknown = Signal { subject: Whom::Account(&alone), kind: "gossip", source: "desk", weight: 1 };
    assert_eq!(world.limiter.signal(unknown), Err(SignalError::UnknownKind));
    // A kind whose cap is below what a factor takes does nothing by itself, at any level.
    for _ in 0..9 {
        for subject in [Whom::Account(&alone), Whom::Tier(world.verified)] {
            let rumour = Signal { subject, kind: "rumour", source: "street", weight: 50 };
            world.limiter.signal(rumour).unwrap();
        }
    }
    world.live(1);
    assert_eq!((world.factor(&alone, Level::Account), world.factor(&alone, Level::Tier)), (16, 16));
    let deaf = World::of(
        "version = 1\nmeters = [\"requests\"]\ncapacity = { accounts = 10, organizations = 10 }\n\
         [tiers.verified]\ntotal = \"unlimited\"\naccount.requests = \"1/s\"\n",
    );
    let alone = deaf.limiter.identity(deaf.verified, 1_u64);
    assert_eq!(deaf.report(Whom::Account(&alone), 1), Err(SignalError::NotObserving));
}

#[test]
fn a_full_table_says_so() {
    let world = World::of(&POLICY.replace("accounts = 1000", "accounts = 32, parked_accounts = 0"));
    let mut full = 0;
    for id in 0..200 {
        let caller = world.limiter.identity(world.verified, 1000 + id);
        world.spend(&caller, 40).unwrap_or(());
        let source = format!("desk {}", id / 60);
        let signal = Signal { subject: Whom::Account(&caller), kind: "abuse", source: &source, weight: 2 };
        full += u32::from(world.limiter.signal(signal) == Err(SignalError::Full));
    }
    assert!(full > 100, "{full}");
}

#[test]
fn in_shadow_it_is_told_and_nothing_done() {
    let world = World::of(&POLICY.replace("[evidence]", "[evidence]\nshadow = true"));
    let reported = world.account(1, 1);
    for subject in [Whom::Account(&reported), Whom::Organization(&reported), Whom::Tier(world.verified)] {
        world.report(subject, 2).unwrap();
    }
    for level in [Level::Account, Level::Organization, Level::Tier] {
        assert_eq!(world.factor(&reported, level), 16);
    }
    let explanation = world.limiter.explain(&reported);
    assert_eq!(explanation.evidence.unwrap().factor_sixteenths, 32);
    assert_eq!(explanation.reports.len(), 2);
    assert!(explanation.reports.iter().all(|report| report.shadow && report.factor_sixteenths == 32));
}
