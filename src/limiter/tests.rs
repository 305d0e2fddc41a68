//! What only the inside of the limiter can show.

mod leases;

use super::*;
use crate::{bucket::Factor, decision::Level, line::Standing, path::meanwhile::meanwhile, time::ManualClock};

const POLICY: &str = r#"
    version = 1
    meters = ["requests", "tokens"]
    capacity = { accounts = 64, organizations = 64 }

    [tiers.paid]
    account.requests = [{ rate = "10/s", burst = 100 }, { quota = "100k/day" }, { in_flight = 90 }]
    account.tokens = { rate = "1k/s", burst = 5000 }
    organization.requests = [{ rate = "12/s", burst = 120 }, { budget = "1M" }]
    total.requests = { rate = "15/s", burst = 150 }

    [tiers.free]
    account.requests = [{ rate = "1/s", burst = 10 }, { quota = "200/day" }]
    total = "unlimited"
"#;

fn limiter() -> (Limiter, ManualClock) {
    let clock = ManualClock::at_unix(1_750_000_000_000_000_000);
    let plan = Plan::from_toml(POLICY).unwrap();
    (Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().unwrap(), clock)
}

fn member(limiter: &Limiter, tier: &str, account: u64) -> Identity {
    limiter.identity(limiter.tier(tier).unwrap(), account).in_organization(limiter.organization("acme"))
}

/// The words of the caller's own lines, bit for bit.
fn words(limiter: &Limiter, identity: &Identity) -> Vec<u64> {
    let lines = &limiter.shared.lines;
    let account =
        lines.accounts.line(lines.accounts.find(&identity.account).unwrap().0).unwrap().snapshot().words;
    let key = identity.organization.unwrap();
    let organization =
        lines.organizations.line(lines.organizations.find(&key).unwrap().0).unwrap().snapshot().words;
    account.into_iter().chain(organization).collect()
}

/// Another request takes the tier's last tokens between look and commit: the commit refuses, and account and
/// organization are as they were. A commit that charged level by level, and rolled back, would fail here.
#[test]
fn commit_refused_at_the_tier_leaves_no_trace() {
    let (limiter, clock) = limiter();
    let requests = limiter.meter("requests").unwrap();
    let one = Cost::of(requests, 1);
    let caller = member(&limiter, "paid", 1);
    let rival = limiter.identity(limiter.tier("paid").unwrap(), 2_u64);
    let mut refused = 0;
    for _ in 0..1_200 {
        clock.advance_nanos(1_000_000_000);
        // Leave the tier with exactly one token, and the caller with a line.
        for id in 10..30_u64 {
            let other = limiter.identity(limiter.tier("paid").unwrap(), id);
            let left = limiter
                .explain(&other)
                .rules
                .iter()
                .find(|rule| rule.level == Level::Tier)
                .unwrap()
                .left
                .unwrap();
            let _ = limiter.check(&other, &Cost::of(requests, left.saturating_sub(1).min(8)));
        }
        limiter.subject(&caller);
        let before = words(&limiter, &caller);
        let thief = limiter.clone();
        meanwhile(move || {
            thief.check(&rival, &one).unwrap();
        });
        let denial = limiter.check(&caller, &one).unwrap_err();
        assert_eq!(denial.level(), Level::Tier);
        assert_eq!(words(&limiter, &caller), before);
        refused += 1;
    }
    assert!(refused >= 1_000);
    // Liveness: the same caller is admitted when nobody comes between.
    clock.advance_nanos(1_000_000_000);
    assert!(limiter.check(&caller, &one).is_ok());
}

/// The line changes hands between look and commit: the request looks its account up again.
#[test]
fn replaced_between_look_and_commit() {
    let (limiter, clock) = limiter();
    let one = Cost::of(limiter.meter("requests").unwrap(), 1);
    let caller = member(&limiter, "free", 1);
    limiter.check(&caller, &one).unwrap();
    clock.advance_nanos(90_000_000_000_000);
    let flooding = limiter.clone();
    meanwhile(move || {
        let free = flooding.tier("free").unwrap();
        for id in 10..112_u64 {
            let _ = flooding.check(&flooding.identity(free, id), &one);
        }
    });
    let receipt = limiter.check(&caller, &one).unwrap();
    // Everybody else owes something now, so that the caller's turn is on the overflow line.
    assert!(receipt.overflow() || limiter.shared.lines.accounts.find(&caller.account).is_some());
    assert!(limiter.statistics().overflowed > 0);
}

fn tighten(limiter: &Limiter, identity: &Identity, sixteenths: u16, expiry: u64) {
    let lines = &limiter.shared.lines;
    let (slot, _) = lines.accounts.find(&identity.account).unwrap();
    lines.accounts.line(slot).unwrap().lock().set_standing(Standing {
        factor: Factor::from_sixteenths(sixteenths),
        cohort: 0,
        marked: false,
        until: expiry,
    });
}

/// A factor of 4 makes 10 a second 2.5; it ends by itself; it is never the parent's; quotas are never tightened; a
/// tightened subject keeps its line.
#[test]
fn factor_multiplies_the_subjects_own_costs() {
    let (limiter, clock) = limiter();
    let requests = limiter.meter("requests").unwrap();
    let free = limiter.tier("free").unwrap();
    let caller = limiter.identity(free, 1_u64);
    limiter.subject(&caller);
    tighten(&limiter, &caller, 64, 60_000_000_000);
    let one = Cost::of(requests, 1);
    let admitted = (0..20).filter(|_| limiter.check(&caller, &one).is_ok()).count();
    // 10 tokens at a price of 4.
    assert_eq!(admitted, 2);
    let denial = limiter.check(&caller, &one).unwrap_err();
    let wait = denial.retry_after().unwrap();
    clock.advance_nanos(wait.as_nanos() as u64 - 1);
    assert!(limiter.check(&caller, &one).is_err());
    clock.advance_nanos(1);
    assert!(limiter.check(&caller, &one).is_ok());
    let quota = |identity: &Identity| {
        limiter.explain(identity).rules.iter().find(|rule| rule.kind == "quota").unwrap().used
    };
    assert_eq!(quota(&caller), 3);
    let state = limiter.explain(&caller).rules[0];
    assert_eq!(state.factor_sixteenths, 64);
    assert!(state.factor_for.unwrap() > 0);
    // A full bucket lets one through that costs more than the burst, and it is then waited for in full.
    clock.advance_nanos(40_000_000_000);
    assert!(limiter.check(&caller, &Cost::of(requests, 10)).is_ok());
    assert_eq!(limiter.explain(&caller).rules[0].used, 40);
    // After its expiry it is gone, and what is owed is not.
    clock.advance_nanos(36_000_000_000);
    assert_eq!(limiter.explain(&caller).rules[0].factor_sixteenths, 16);
    assert!(limiter.check(&caller, &Cost::of(requests, 6)).is_ok());
}

/// With no admitted request between, tighten and release leaves every bit as it was.
#[test]
fn tighten_and_release_is_bit_identical() {
    let (limiter, _clock) = limiter();
    let caller = member(&limiter, "paid", 1);
    let one = Cost::of(limiter.meter("requests").unwrap(), 3);
    limiter.check(&caller, &one).unwrap();
    let before = words(&limiter, &caller);
    tighten(&limiter, &caller, 160, u64::MAX);
    assert_eq!(limiter.explain(&caller).rules[0].factor_sixteenths, 160);
    tighten(&limiter, &caller, 16, u64::MAX);
    assert_eq!(words(&limiter, &caller), before);
}

/// An account that comes with another tier brings what it owes and has used, there and back; permits from before
/// release what they hold and mint nothing.
#[test]
fn tier_change_carries_what_was_spent() {
    let (limiter, _clock) = limiter();
    let (requests, tokens) = (limiter.meter("requests").unwrap(), limiter.meter("tokens").unwrap());
    let (paid, free) = (limiter.tier("paid").unwrap(), limiter.tier("free").unwrap());
    let (before, after) = (limiter.identity(paid, 1_u64), limiter.identity(free, 1_u64));
    let permit = limiter.reserve(&before, &Cost::of(requests, 4).and(tokens, 1_000)).unwrap();
    let state = |identity: &Identity, kind: &str| {
        *limiter.explain(identity).rules.iter().find(|rule| rule.kind == kind).unwrap()
    };
    assert_eq!(state(&before, "in_flight").used, 4);
    limiter.check(&after, &Cost::of(requests, 1)).unwrap();
    assert_eq!(state(&after, "rate").used, 5);
    assert_eq!(state(&after, "quota").used, 5);
    limiter.check(&before, &Cost::of(requests, 1)).unwrap();
    assert_eq!(state(&before, "rate").used, 6);
    assert_eq!(state(&before, "quota").used, 6);
    // A rule that the other tier does not have starts fresh, in flight with it.
    assert_eq!(state(&before, "in_flight").used, 0);
    let settlement = permit.settle(&Cost::of(requests, 1));
    assert_eq!(settlement.clipped(requests), 3);
    assert_eq!(state(&before, "rate").used, 6);
    assert_eq!(state(&before, "quota").used, 3);
    assert!(!settlement.stale());
}

/// A flood cannot push out what an account has used of its quota: it is parked, and comes back with it.
#[test]
fn parked_accounts_come_back_with_their_use() {
    let (limiter, clock) = limiter();
    let requests = limiter.meter("requests").unwrap();
    let free = limiter.tier("free").unwrap();
    let caller = limiter.identity(free, 7_u64);
    limiter.check(&caller, &Cost::of(requests, 10)).unwrap();
    let mut parked = false;
    for id in 1_000..1_250_u64 {
        clock.advance_nanos(11_000_000_000);
        let _ = limiter.check(&limiter.identity(free, id), &Cost::of(requests, 1));
        parked |= limiter.shared.lines.accounts.find(&caller.account).is_none();
    }
    assert!(parked, "the flood never needed the caller's line");
    assert!(limiter.statistics().parked_accounts > 0);
    let used = |identity: &Identity| limiter.explain(identity).rules[1].used;
    assert_eq!(used(&caller), 10, "while parked");
    clock.advance_nanos(11_000_000_000);
    limiter.check(&caller, &Cost::of(requests, 1)).unwrap();
    assert_eq!(used(&caller), 11, "when back");
}

/// A permit stays small enough to be kept by the thousand, and a denial to be an error value.
#[test]
fn sizes() {
    assert!(size_of::<Permit<'static>>() <= 512, "{}", size_of::<Permit<'static>>());
    assert!(size_of::<Denial>() <= 128, "{}", size_of::<Denial>());
    assert!(size_of::<Receipt>() <= 16);
}

/// An identity of another limiter, with a tier that this one lacks, is refused and harms nothing.
#[test]
fn foreign_tier_is_refused() {
    let (limiter, _clock) = limiter();
    let foreign =
        Identity::new(limiter.shared.fingerprints.key(Id::Integer(1)), Tier::from_index(40).unwrap());
    let denial = limiter.check(&foreign, &Cost::FREE).unwrap_err();
    assert!(denial.is_never());
    assert!(limiter.explain(&foreign).rules.is_empty());
}

/// The bytes that a policy announces are those that its limiter takes, but for the tiers' own few lines, the leases on them and
/// on sixteen organizations (a cache line for each rule of each stripe), and the words that align an allocation.
#[test]
fn announced_bytes_are_taken() {
    let (limiter, _clock) = limiter();
    let taken = limiter.statistics().bytes;
    let announced = limiter.plan().table_bytes().total;
    assert!(taken >= announced && taken < announced + 28_672, "{taken} {announced}");
}

/// So are those of evidence, however many accounts are followed, and a flood of accounts and values changes nothing.
#[test]
fn announced_bytes_of_evidence_are_taken() {
    for accounts in [10, 4_096, 10_000] {
        let text = format!(
            "version = 1\nmeters = [\"requests\"]\ncapacity = {{ accounts = {accounts}, organizations = 10 }}\n\
             [evidence]\nattributes = [\"address\", \"payment\", \"client\", \"template\", \"model\", \"other\"]\n\
             signals.abuse = {{}}\n[tiers.one]\ntotal = \"unlimited\"\naccount.requests = \"1000/s\"\n\
             organization.requests = \"10k/s\"\n"
        );
        let clock = ManualClock::new();
        let plan = Plan::from_toml(&text).unwrap();
        let announced = plan.describe().evidence_bytes;
        let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().unwrap();
        let taken = |limiter: &Limiter| limiter.statistics().evidence.unwrap().bytes;
        let before = taken(&limiter);
        assert!(before <= announced && announced < before + (128 << 10), "{before} {announced}");
        let (tier, requests) = (limiter.tier("one").unwrap(), limiter.meter("requests").unwrap());
        let names = ["address", "payment", "client", "template", "model", "other"];
        let names = names.map(|name| limiter.attribute(name).unwrap());
        for number in 0..12_000_u64 {
            let organization = limiter.organization(number / 7);
            let caller = limiter.identity(tier, number).in_organization(organization);
            let attributes = names.into_iter().fold(crate::Attributes::NONE, |attributes, name| {
                attributes.and(name, limiter.attribute_value(number))
            });
            // Some find no place, which is what a flood is.
            let _ = limiter.check(&caller.with(&attributes), &Cost::of(requests, 1));
            let subject = crate::Whom::Organization(&caller);
            let source = if number % 2 == 0 { "one" } else { "another" };
            let _ = limiter.signal(crate::Signal { subject, kind: "abuse", source, weight: 9 });
            if number % 1_000 == 0 {
                clock.advance_nanos(60_000_000_000);
                limiter.maintain();
            }
        }
        assert_eq!(taken(&limiter), before);
    }
}

/// A settlement whose clock was read before a later charge gives back nothing that supply has made up for by then.
#[test]
fn a_late_settlement_does_not_mint() {
    let text = "version = 1\nmeters = [\"requests\"]\ncapacity = { accounts = 10, organizations = 10 }\n\
                [tiers.one]\ntotal = \"unlimited\"\naccount.requests = { rate = \"1000/s\", burst = 1000 }\n";
    let clock = ManualClock::new();
    let plan = Plan::from_toml(text).unwrap();
    let limiter = Limiter::builder(plan).clock(clock.clone()).secret([7; 16]).build().unwrap();
    let requests = limiter.meter("requests").unwrap();
    let caller = limiter.identity(limiter.tier("one").unwrap(), 7_u64);
    clock.advance_nanos(10_000_000_000);
    let before = limiter.now();
    let permit = limiter.reserve(&caller, &Cost::of(requests, 500)).unwrap();
    clock.advance_nanos(500_000_001);
    limiter.check(&caller, &Cost::of(requests, 1_000)).unwrap();
    assert_eq!(permit.settle_at(&Cost::FREE, before).clipped(requests), 500);
    assert!(limiter.check(&caller, &Cost::of(requests, 1)).is_err());
}

/// The denial of a lone refusal, which has a way of its own, says what the long way says: at each level, in an organization
/// and without, and where others refuse with it.
#[test]
fn a_lone_refusal_is_told_as_any_other() {
    let text = r#"
        version = 1
        meters = ["requests", "tokens"]
        capacity = { accounts = 64, organizations = 64 }

        [tiers.paid]
        account.requests = { rate = "1/s", burst = 20 }
        organization.requests = { rate = "2/s", burst = 30 }
        total = { requests = { rate = "3/s", burst = 45 }, tokens = { rate = "9/s", burst = 90 } }
    "#;
    let clock = ManualClock::at_unix(1_750_000_000_000_000_000);
    let limiter = Limiter::builder(Plan::from_toml(text).unwrap()).clock(clock.clone()).build().unwrap();
    let tier = limiter.tier("paid").unwrap();
    let meters = ["requests", "tokens"].map(|name| limiter.meter(name).unwrap());
    let mut denied = std::collections::BTreeMap::new();
    let mut bits = 1_u64;
    for _ in 0..20_000 {
        bits = bits.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let drawn = |from: u32, below: u64| (bits >> from) % below;
        clock.advance_nanos(drawn(20, 1_500_000_000));
        let caller = limiter.identity(tier, drawn(50, 4));
        let caller = if drawn(52, 4) == 0 {
            caller
        } else {
            caller.in_organization(limiter.organization(drawn(54, 2)))
        };
        let tokens = if drawn(56, 4) == 0 { drawn(40, 100) } else { 0 };
        let cost = Cost::of(meters[0], 1 + drawn(30, 22)).and(meters[1], tokens);
        let told = limiter.peek(&caller, &cost).map(|_| ());
        let answer = limiter.check(&caller, &cost).map(|_| ());
        assert_eq!(answer, told);
        if let Err(denial) = answer {
            *denied.entry((denial.level(), caller.organization.is_some())).or_insert(0) += 1;
        }
    }
    // Without an organization there are two levels.
    assert_eq!(denied.len(), 5, "{denied:?}");
    assert!(denied.values().all(|times| *times > 20), "{denied:?}");
}
