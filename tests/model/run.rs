//! A limiter and the model side by side.

mod checks;
mod outcome;

use std::collections::{BTreeMap, BTreeSet};

use tollgate::{
    Cost, Denial, Id, Identity, Limiter, ManualClock, Meter, Nanos, Permit, Plan, Receipt, Signal, Subject,
    Tier, Whom,
};

use checks::{check_denial, check_intervals};

use super::{
    bucket::{Answer, COUNTS, Limit, Settled},
    operation::{Amounts, Operation, Settling},
    policy::{METERS, PolicyModel},
    world::{Caller, Charges, World},
};

pub use outcome::Outcome;

/// The oldest clock that an operation is decided by, in nanoseconds: a week. A request that is behind a quota catches
/// up window by window, so that older ones would take most of a run's time.
const OLDEST_HELD: u64 = 7 * 86_400 * 1_000_000_000;

/// One admission as the interval bound sees it.
struct Admission {
    at: u64,
    caller: Caller,
    /// What counts: as reserved, or as settled if that was less.
    amounts: Amounts,
}

struct Open<'l> {
    permit: Permit<'l>,
    charges: Charges,
    reserved: Amounts,
    /// Index in the log.
    admission: usize,
}

struct Run<'l> {
    policy: &'l PolicyModel,
    limiter: &'l Limiter,
    clock: ManualClock,
    world: World<'l>,
    meters: Vec<Meter>,
    tiers: Vec<Tier>,
    /// By account, and the zone that it was in.
    subjects: BTreeMap<(u8, Option<usize>), Subject>,
    permits: Vec<Open<'l>>,
    /// Accounts and organizations, by level, tier and number, that were reported: what they have may be less from then on
    /// than the model knows, and never more.
    reported: BTreeSet<(usize, usize, u32)>,
    held: Option<Nanos>,
    log: Vec<Admission>,
    outcome: Outcome,
}

/// Does every operation to a limiter of `policy` and to the model.
///
/// # Panics
/// At the first answer that the model does not allow.
pub fn run(operations: &[Operation], policy: &PolicyModel) -> Outcome {
    let text = policy.text();
    let plan = Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let clock = ManualClock::at_unix(policy.origin_unix);
    let limiter = Limiter::builder(plan)
        .clock(clock.clone())
        .secret([7; 16])
        .build()
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut run = Run {
        policy,
        limiter: &limiter,
        clock,
        world: World::new(policy),
        meters: policy
            .meters
            .iter()
            .map(|name| limiter.meter(name).expect("a meter of the policy"))
            .collect(),
        tiers: policy
            .tiers
            .iter()
            .map(|tier| limiter.tier(tier.name).expect("a tier of the policy"))
            .collect(),
        subjects: BTreeMap::new(),
        permits: Vec::new(),
        reported: BTreeSet::new(),
        held: None,
        log: Vec::new(),
        outcome: Outcome::default(),
    };
    for operation in operations {
        run.step(*operation);
    }
    run.finish()
}

impl<'l> Run<'l> {
    fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Advance { nanos } => self.clock.advance_nanos(nanos),
            Operation::Hold => self.held = Some(self.limiter.now()),
            Operation::Check { account, amounts, held, subject } => {
                let account = account % self.policy.accounts;
                if subject {
                    self.check_subject(account, amounts, held)
                } else {
                    self.check(account, amounts, held)
                }
            }
            Operation::Reserve { account, amounts, held, subject } => {
                self.reserve(account % self.policy.accounts, amounts, held, subject);
            }
            Operation::Settle { permit, how, held } => self.settle(permit, how, held),
            Operation::Drop { permit } => self.release(permit),
            Operation::Detach { permit } => {
                if let Some(open) = self.take(permit) {
                    let permit: Permit<'static> = open.permit.detach();
                    self.permits.push(Open { permit, ..open });
                }
            }
            Operation::Explain { account } => self.explain(account % self.policy.accounts),
            Operation::Report { account, organization } => {
                // Few, so that what is said of them adds up.
                self.report(account % self.policy.accounts.min(4), organization);
            }
            Operation::Maintain => {
                self.limiter.maintain();
            }
        }
    }

    /// The moment of an operation: the held one if it asks for it and there is one.
    fn moment(&self, held: bool) -> Nanos {
        let now = self.limiter.now();
        self.held.filter(|then| held && now.as_u64() - then.as_u64() <= OLDEST_HELD).unwrap_or(now)
    }

    /// Which account a number stands for; numbers share organizations, never tiers.
    fn caller(&self, account: u8) -> Caller {
        let tiers = self.policy.tiers.len();
        if let (Some(tier), 6) = (self.policy.anonymous, account % 7) {
            return Caller { tier, account: u32::from(account), organization: None, since: None, zone: None };
        }
        let organization = (usize::from(account) / tiers) % 4;
        let tier = usize::from(account) % tiers;
        let origin = self.policy.origin_unix;
        // Some are made in an hour, some now, some are half as old as who is no longer new; of others nobody tells.
        let since =
            self.policy.tiers[tier].guard.as_ref().and_then(|guard| match usize::from(account) / tiers % 5 {
                0 => None,
                1 => Some(origin + 3_600_000_000_000),
                2 => Some(origin.saturating_sub_unsigned(guard.age() / 2)),
                _ => Some(origin),
            });
        // Every three days each account comes from another zone, and those of one organization from different ones.
        let zones = self.policy.zones.len();
        let turn = self.limiter.now().as_u64() / (3 * 86_400_000_000_000) + u64::from(account);
        let zone = (turn % (zones as u64 + 1)) as usize;
        Caller {
            tier,
            account: u32::from(account),
            organization: u32::try_from(organization).ok().filter(|number| *number > 0),
            since,
            zone: zone.checked_sub(1).filter(|_| organization > 0),
        }
    }

    /// Which of the caller's levels were reported.
    fn reported(&self, caller: Caller) -> [bool; 2] {
        let Caller { tier, account, organization, .. } = caller;
        let was = |level, number| self.reported.contains(&(level, tier, number));
        [was(0, account), organization.is_some_and(|number| was(1, number))]
    }

    fn report(&mut self, account: u8, organization: bool) {
        let (caller, identity) = (self.caller(account), self.identity(account));
        let (whom, place) = match caller.organization {
            Some(number) if organization => (Whom::Organization(&identity), (1, caller.tier, number)),
            _ => (Whom::Account(&identity), (0, caller.tier, caller.account)),
        };
        if self.limiter.signal(Signal { subject: whom, kind: "report", source: "desk", weight: 4 }).is_ok() {
            self.reported.insert(place);
        }
    }

    fn identity(&self, account: u8) -> Identity {
        let caller = self.caller(account);
        let limiter = self.limiter;
        if self.policy.anonymous.is_some() && account % 7 == 6 {
            let address = format!("198.51.100.{account}");
            return limiter.anonymous(&address).expect("a tier of anonymous callers");
        }
        let tier = self.tiers[caller.tier];
        // The same number in three kinds: different accounts if the kind is kept apart.
        let number = u64::from(account / 3);
        let mut identity = match account % 3 {
            0 => limiter.identity(tier, number),
            1 => limiter.identity(tier, Id::Uuid(u128::from(number))),
            _ => limiter.identity(tier, &number.to_string()),
        };
        if let Some(since) = caller.since {
            identity = identity.since(since);
        }
        match caller.organization {
            // Organizations of two tiers are two organizations.
            Some(number) => {
                let organization = limiter.organization(u64::from(number) * 100 + caller.tier as u64);
                let zone = caller.zone.and_then(|zone| limiter.zone(self.policy.zones[zone].0));
                identity.in_organization(zone.map_or(organization, |zone| organization.in_zone(zone)))
            }
            None => identity,
        }
    }

    fn subject(&mut self, account: u8) -> Subject {
        let identity = self.identity(account);
        let limiter = self.limiter;
        let of = (account, self.caller(account).zone);
        *self.subjects.entry(of).or_insert_with(|| limiter.subject(&identity))
    }

    fn cost(&self, amounts: &Amounts) -> Cost {
        self.meters.iter().zip(amounts).fold(Cost::FREE, |cost, (meter, amount)| cost.and(*meter, *amount))
    }

    fn check(&mut self, account: u8, amounts: Amounts, held: bool) {
        let (identity, cost) = (self.identity(account), self.cost(&amounts));
        let answer = if held {
            self.limiter.check_at(&identity, &cost, self.moment(held))
        } else {
            let peeked = self.limiter.peek(&identity, &cost);
            let checked = self.limiter.check(&identity, &cost);
            assert_eq!(peeked, checked, "peek and check disagree");
            checked
        };
        self.decided(account, &amounts, self.moment(held), answer, false);
    }

    fn check_subject(&mut self, account: u8, amounts: Amounts, held: bool) {
        let (identity, cost) = (self.identity(account), self.cost(&amounts));
        let subject = self.subject(account);
        let answer = if held {
            self.limiter.check_at(&subject, &cost, self.moment(held))
        } else {
            let peeked = self.limiter.peek(&identity, &cost);
            assert_eq!(peeked, self.limiter.peek(&subject, &cost), "identity and subject disagree");
            let checked = self.limiter.check(&subject, &cost);
            assert_eq!(peeked, checked, "peek and check disagree");
            checked
        };
        self.decided(account, &amounts, self.moment(held), answer, false);
    }

    fn reserve(&mut self, account: u8, amounts: Amounts, held: bool, subject: bool) {
        let (identity, cost) = (self.identity(account), self.cost(&amounts));
        let now = self.moment(held);
        let limiter = self.limiter;
        let answer = match (subject, held) {
            (false, false) => limiter.reserve(&identity, &cost),
            (false, true) => limiter.reserve_at(&identity, &cost, now),
            (true, false) => limiter.reserve(&self.subject(account), &cost),
            (true, true) => limiter.reserve_at(&self.subject(account), &cost, now),
        };
        match answer {
            Ok(permit) => {
                let receipt = permit.receipt();
                let charges = self.decided(account, &amounts, now, Ok(receipt), true);
                let charges = charges.expect("admitted");
                let admission = self.log.len() - 1;
                self.permits.push(Open { permit, charges, reserved: amounts, admission });
            }
            Err(denial) => {
                self.decided(account, &amounts, now, Err(denial), true);
            }
        }
    }

    /// Compares a decision with the model's, and charges the model.
    fn decided(
        &mut self,
        account: u8,
        amounts: &Amounts,
        now: Nanos,
        answer: Result<Receipt, Denial>,
        permit: bool,
    ) -> Option<Charges> {
        let caller = self.caller(account);
        let at = self.world.decided_at(caller, amounts, now.as_u64());
        let (expected, refusals) = self.world.judge(caller, amounts, at, permit);
        let context = || format!("{caller:?} {amounts:?} at {at} of {now:?}: {answer:?}, {refusals:#?}");
        self.outcome.behind += u64::from(at > now.as_u64());
        self.outcome.either += u64::from(expected == Answer::Either);
        match answer {
            Ok(receipt) => {
                assert_ne!(expected, Answer::Refuse, "admitted: {}", context());
                assert_eq!(receipt.at(), at, "the instant: {}", context());
                assert!(!receipt.overflow(), "there is room in the tables");
                self.outcome.admitted += 1;
                self.outcome.pooled += u64::from(self.world.new_at(caller, at).is_some());
                self.log.push(Admission { at, caller, amounts: *amounts });
                Some(self.world.charge(caller, amounts, at, permit))
            }
            Err(denial) if self.reported(caller) != [false; 2] => {
                if expected == Answer::Admit {
                    // A factor is on rates of its own; and dearer requests make nobody light.
                    let own = ["account", "organization"].into_iter().zip(self.reported(caller));
                    let named = denial.level().to_string();
                    let explained = own.into_iter().any(|(level, reported)| reported && level == named);
                    assert!(explained || denial.withheld(), "refused: {}", context());
                    self.outcome.tightened += 1;
                }
                self.outcome.refused += 1;
                None
            }
            Err(denial) => {
                assert_ne!(expected, Answer::Admit, "refused: {}", context());
                // A bucket that is not behind may refuse before one that is behind is asked.
                assert!(denial.at() == at || denial.at() == now.as_u64(), "the instant: {}", context());
                let refusals = if denial.at() == at {
                    refusals
                } else {
                    self.world.judge(caller, amounts, denial.at(), permit).1
                };
                check_denial(&denial, &refusals, self.policy.tiers[caller.tier].name);
                self.outcome.refused += 1;
                self.outcome.withheld += u64::from(denial.withheld());
                None
            }
        }
    }

    fn take(&mut self, permit: u8) -> Option<Open<'l>> {
        let index = usize::from(permit).checked_rem(self.permits.len())?;
        Some(self.permits.swap_remove(index))
    }

    fn settle(&mut self, permit: u8, how: Settling, held: bool) {
        let Some(open) = self.take(permit) else { return };
        let mut actual = open.reserved;
        for (index, amount) in actual.iter_mut().enumerate() {
            *amount = match how {
                Settling::Equal => *amount,
                Settling::Half => *amount / 2,
                Settling::Nothing => 0,
                Settling::More(more) if *amount > 0 => amount.saturating_add(more.into()),
                Settling::More(_) => 0,
                Settling::Actual(amounts) => u64::from(amounts[index]),
            };
        }
        let now = self.moment(held);
        let cost = self.cost(&actual);
        let settlement = if held { open.permit.settle_at(&cost, now) } else { open.permit.settle(&cost) };
        // By the clock, if that is later than what it was given.
        let now = now.max(self.limiter.now());
        let expected = self.world.settle(&open.charges, &actual, now.as_u64());
        assert!(!settlement.stale(), "an open permit pins its lines");
        for (index, meter) in self.meters.iter().enumerate() {
            let Settled { clipped, cut } = expected[index];
            let within =
                |(low, high): (u128, u128), value: u64| low <= value.into() && u128::from(value) <= high;
            let context = (open.reserved[index], actual[index], now);
            self.outcome.clipped += u64::from(settlement.clipped(*meter) > 0);
            self.outcome.cut += u64::from(settlement.cut(*meter) > 0);
            if self.reported(self.log[open.admission].caller) != [false; 2] {
                continue;
            }
            assert!(within(clipped, settlement.clipped(*meter)), "{settlement:?} {expected:?} {context:?}");
            assert!(within(cut, settlement.cut(*meter)), "{settlement:?} {expected:?} {context:?}");
        }
        self.outcome.settled += 1;
        self.counted(open.admission, &actual);
    }

    /// A permit that is dropped gives all of it back.
    fn release(&mut self, permit: u8) {
        let Some(open) = self.take(permit) else { return };
        drop(open.permit);
        let now = self.limiter.now().as_u64();
        self.world.settle(&open.charges, &[0; METERS], now);
        self.counted(open.admission, &[0; METERS]);
    }

    fn counted(&mut self, admission: usize, actual: &Amounts) {
        let amounts = &mut self.log[admission].amounts;
        for (amount, actual) in amounts.iter_mut().zip(actual) {
            *amount = (*amount).min(*actual);
        }
    }

    fn explain(&mut self, account: u8) {
        let caller = self.caller(account);
        let explanation = self.limiter.explain(&self.identity(account));
        let now = self.limiter.now().as_u64();
        let reported = self.reported(caller);
        for (level, rule, standing, withheld) in self.world.standings(caller, now) {
            let meter = self.policy.meters[rule.meter];
            let state = explanation
                .rules
                .iter()
                .find(|state| {
                    state.level.to_string() == level
                        && state.meter.as_str() == meter
                        && state.rule.as_str() == rule.name
                })
                .unwrap_or_else(|| panic!("{level} {rule:?} is not explained: {explanation:?}"));
            if rule.only_counts() {
                assert_eq!(
                    (u128::from(state.used), state.limit),
                    (u128::from(COUNTS) - standing.left.0, None)
                );
                continue;
            }
            let (limit, left) = (state.limit.expect("limited"), state.left.expect("limited"));
            assert_eq!(limit, standing.limit, "{state:?}");
            if reported != [false; 2] {
                assert!(
                    state.withheld >= withheld && u128::from(left) <= standing.left.1,
                    "{state:?} {standing:?}"
                );
                continue;
            }
            assert_eq!(state.withheld, withheld, "{state:?}");
            let least = standing.left.0.saturating_sub(withheld.into());
            let most = standing.left.1.saturating_sub(withheld.into());
            assert!(least <= left.into() && u128::from(left) <= most, "{state:?} {standing:?}");
            if left > 0 {
                let all = u128::from(state.used) + u128::from(left) + u128::from(withheld);
                assert_eq!(all, limit.into(), "{state:?}");
            } else {
                assert!(u128::from(state.used) + u128::from(withheld) >= limit.into(), "{state:?}");
            }
        }
    }

    /// Lets every permit go, and looks over all that was admitted, without the model.
    fn finish(mut self) -> Outcome {
        while !self.permits.is_empty() {
            self.release(0);
        }
        self.log.sort_by_key(|admission| admission.at);
        for (index, tier) in self.policy.tiers.iter().enumerate() {
            let none = Vec::new();
            let pool = tier.guard.as_ref().map_or(&none, |guard| &guard.pool);
            let levels = [&tier.account, &tier.organization, pool, &tier.total];
            for (level, rules) in levels.into_iter().enumerate() {
                for rule in rules {
                    let Limit::Rate(rate) = &rule.limit else { continue };
                    let mut admissions: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
                    for admission in self.log.iter().filter(|admission| admission.caller.tier == index) {
                        let Caller { account, organization, .. } = admission.caller;
                        let pool = self.world.new_at(admission.caller, admission.at).map(|_| 0);
                        if let Some(key) = [Some(account), organization, pool, Some(0)][level] {
                            // What was settled beyond a clamped estimate is overage.
                            let entry = (admission.at, admission.amounts[rule.meter].min(rate.burst));
                            admissions.entry(key).or_default().push(entry);
                        }
                    }
                    admissions.values().for_each(|admissions| check_intervals(rate, admissions));
                }
            }
        }
        self.outcome
    }
}
