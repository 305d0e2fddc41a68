//! Whole policies that follow each other under traffic, and what must hold of it whatever they say.
//!
//! [`run`] takes a few policies and a sequence of operations, spelled in bytes, does each to a real limiter on a manual
//! clock and to a list of what was admitted ([`ledger`]), and panics at the first answer that the list does not allow:
//!
//! - of quotas, budgets and what is in flight, use is the sum of what was admitted since the rule last came, exactly;
//!   nothing is admitted beyond a limit, and what is refused for it is beyond it;
//! - of rates, no interval has more than the largest burst and the largest rate of the policies that were in force in it;
//! - a reload, and a policy and back, forgives no debt, and adds a token at most, where a part of one is rounded up;
//! - a reload is refused where something may have been renamed, and for nothing else;
//! - liveness: when all is settled and paid, all that is left is admitted.
//!
//! `policies.rs` and the fuzz target `reload` share it; it needs no test framework.

pub mod ledger;
pub mod outcome;
pub mod policy;
pub mod told;

pub use outcome::Outcome;

use std::{collections::BTreeMap, time::Duration};

use ledger::{Charged, Key, Ledger};
use policy::{LEVELS, Limit, METERS, Policy, TIERS};
use told::{not_forgiven, used_of};
use tollgate::{Cost, Denial, Explanation, Identity, Limiter, ManualClock, Override, Permit, Plan, Whom};

const SECOND: u64 = 1_000_000_000;
const ACCOUNTS: u8 = 9;

/// Bytes that spell policies and operations; zeros at the end.
pub struct Reader<'a> {
    pub bytes: &'a [u8],
}

impl Reader<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }
}

struct Open<'l> {
    permit: Permit<'l>,
    account: u8,
    /// How often the account had been forgotten.
    lives: u64,
    charged: Vec<Charged>,
    amounts: [u64; METERS],
    reloads: u64,
}

struct Granted {
    until: u64,
    exempt: bool,
    limit: Option<(usize, &'static str, u64)>,
}

struct Run<'l> {
    limiter: &'l Limiter,
    clock: ManualClock,
    policies: Vec<Policy>,
    current: usize,
    ledger: Ledger,
    open: Vec<Open<'l>>,
    granted: BTreeMap<u8, Granted>,
    forgotten: [u64; ACCOUNTS as usize],
    outcome: Outcome,
}

/// Does what `bytes` spell.
///
/// # Panics
/// At the first answer that is not allowed.
pub fn run(bytes: &[u8]) -> Outcome {
    let mut reader = Reader { bytes };
    let many = 2 + usize::from(reader.byte() % 2);
    let mut policies: Vec<Policy> = Vec::new();
    for _ in 0..many {
        let policy = Policy::decode(&mut reader, policies.first());
        if let Err(error) = Plan::from_toml(&policy.text()) {
            let message = error.to_string();
            let known = ["can never bind", "rules together"].iter().any(|known| message.contains(known));
            assert!(known, "{message}\n{}", policy.text());
            return Outcome { skipped: 1, ..Outcome::default() };
        }
        policies.push(policy);
    }
    let clock = ManualClock::at_unix(1_772_236_800 * SECOND as i64);
    let limiter = Limiter::builder(plan(&policies[0])).clock(clock.clone()).secret([7; 16]).build();
    let limiter = limiter.expect("room");
    let ledger = Ledger::new(&policies);
    let mut run = Run {
        limiter: &limiter,
        clock,
        policies,
        current: 0,
        ledger,
        open: Vec::new(),
        granted: BTreeMap::new(),
        forgotten: [0; ACCOUNTS as usize],
        outcome: Outcome::default(),
    };
    while !reader.bytes.is_empty() {
        run.step(&mut reader);
    }
    run.finish()
}

fn plan(policy: &Policy) -> Plan {
    Plan::from_toml(&policy.text()).expect("read before")
}

/// The level's subject, of those that an account comes with.
fn subject(level: usize, account: u8) -> Option<u8> {
    let tier = account % TIERS.len() as u8;
    match level {
        0 => Some(account),
        // Two of the three accounts of each tier.
        1 => (account < 6).then_some(tier),
        _ => Some(tier),
    }
}

impl<'l> Run<'l> {
    fn now(&self) -> u64 {
        self.limiter.now().as_u64()
    }

    fn step(&mut self, reader: &mut Reader<'_>) {
        let first = reader.byte();
        match first & 0x1f {
            0..=4 => {
                // Mostly such that a rate refills a part; now and then a window ends.
                let (kind, many) = (reader.byte(), u64::from(reader.byte()));
                let nanos = match kind {
                    0..=239 => many << (kind % 16),
                    240..=252 => many * SECOND / 10,
                    _ => many * 600 * SECOND,
                };
                self.clock.advance_nanos(nanos);
            }
            5..=13 => self.check(reader),
            14..=20 => self.reserve(reader),
            21..=23 => self.settle(reader),
            24 => self.release(reader.byte()),
            25..=26 => {
                let to = usize::from(reader.byte()) % self.policies.len();
                self.reload(to);
            }
            27..=28 => self.round_trip(reader.byte()),
            29 => {
                self.limiter.maintain();
            }
            30 => self.grant(reader),
            _ => {
                let byte = reader.byte();
                // Seldom, or nobody would owe much.
                if byte >= 0xc0 {
                    self.forget(byte % ACCOUNTS);
                } else {
                    self.look(byte % ACCOUNTS);
                }
            }
        }
    }

    fn identity(&self, account: u8) -> Identity {
        let tier = usize::from(account) % TIERS.len();
        let tier = self.limiter.tier(TIERS[tier]).expect("asked of tiers that are there");
        let identity = self.limiter.identity(tier, u64::from(account));
        match subject(1, account) {
            Some(number) => identity.in_organization(self.limiter.organization(u64::from(number))),
            None => identity,
        }
    }

    fn is_there(&self, account: u8) -> bool {
        self.ledger.is_there(usize::from(account) % TIERS.len())
    }

    fn cost(&self, amounts: &[u64; METERS]) -> Cost {
        let meter = |index: usize| self.limiter.meter(policy::METER_NAMES[index]).expect("a meter");
        Cost::of(meter(0), amounts[0]).and(meter(1), amounts[1])
    }

    fn asked(reader: &mut Reader<'_>) -> (u8, [u64; METERS]) {
        let (account, amounts) = (reader.byte() % ACCOUNTS, reader.byte());
        // Beyond small limits, so that estimates are clamped.
        let more = if account == 0 { 4 } else { 1 };
        (account, [u64::from(amounts & 15) * more, u64::from(amounts >> 4)])
    }

    fn check(&mut self, reader: &mut Reader<'_>) {
        let (account, amounts) = Run::asked(reader);
        if !self.is_there(account) {
            return;
        }
        let answer = self.limiter.check(&self.identity(account), &self.cost(&amounts));
        self.decided(account, &amounts, answer.as_ref().err(), false);
    }

    fn reserve(&mut self, reader: &mut Reader<'_>) {
        let (account, amounts) = Run::asked(reader);
        if !self.is_there(account) {
            return;
        }
        match self.limiter.reserve(&self.identity(account), &self.cost(&amounts)) {
            Ok(permit) => {
                let charged = self.decided(account, &amounts, None, true);
                let (lives, reloads) = (self.forgotten[usize::from(account)], self.outcome.reloads);
                self.open.push(Open { permit, account, lives, charged, amounts, reloads });
            }
            Err(denial) => {
                self.decided(account, &amounts, Some(&denial), true);
            }
        }
    }

    /// Compares a decision with the ledger, and enters it there.
    fn decided(
        &mut self,
        account: u8,
        amounts: &[u64; METERS],
        denial: Option<&Denial>,
        permit: bool,
    ) -> Vec<Charged> {
        let now = self.now();
        let tier = usize::from(account) % TIERS.len();
        let granted = self.granted.get(&account).filter(|granted| now < granted.until);
        let mut charged = Vec::new();
        let mut named = false;
        for (level, name) in LEVELS.iter().enumerate() {
            let Some(subject) = subject(level, account) else { continue };
            for rule in self.ledger.rules(tier, level).to_vec() {
                let key = Key { level, subject, meter: rule.meter, rule: rule.name };
                let own = granted.filter(|_| level == 0);
                let limit = match own.and_then(|granted| granted.limit) {
                    Some((meter, name, limit)) if (meter, name) == (rule.meter, rule.name) => {
                        rule.limit.with(limit)
                    }
                    _ => rule.limit,
                };
                let amount = amounts[rule.meter];
                let asked = match limit {
                    Limit::Budget { .. } => amount,
                    _ if permit => amount.min(limit.most()),
                    _ => amount,
                };
                let binds = !rule.shadow && !own.is_some_and(|granted| granted.exempt);
                match denial {
                    Some(denial) => {
                        let meter = policy::METER_NAMES[rule.meter];
                        let said = (denial.level().to_string(), denial.meter().as_str().to_owned());
                        if said == ((*name).to_owned(), meter.to_owned())
                            && denial.rule().as_str() == rule.name
                        {
                            named = true;
                            assert!(binds, "{denial:?} of what refuses never");
                            self.ledger.refused(key, &limit, asked, now, denial);
                        }
                    }
                    None => {
                        charged.extend(self.ledger.charge(key, &limit, (asked, amount), permit, binds, now))
                    }
                }
            }
        }
        match denial {
            Some(denial) => {
                assert!(named, "no such rule: {denial:?}");
                self.outcome.refused += 1;
            }
            None => self.outcome.admitted += 1,
        }
        charged
    }

    fn settle(&mut self, reader: &mut Reader<'_>) {
        let (which, how) = (reader.byte(), reader.byte());
        let Some(index) = usize::from(which).checked_rem(self.open.len()) else { return };
        let open = self.open.swap_remove(index);
        let actual = open.amounts.map(|amount| match how & 3 {
            0 => amount,
            1 => amount / 2,
            2 => 0,
            _ => amount + u64::from(how >> 4),
        });
        let cost = self.cost(&actual);
        self.settled(open, &actual, |permit| Some(permit.settle(&cost).stale()));
    }

    /// A permit that is dropped gives all of it back.
    fn release(&mut self, which: u8) {
        let Some(index) = usize::from(which).checked_rem(self.open.len()) else { return };
        let open = self.open.swap_remove(index);
        self.settled(open, &[0; METERS], |permit| {
            drop(permit);
            None
        });
    }

    fn settled(
        &mut self,
        open: Open<'l>,
        actual: &[u64; METERS],
        settle: impl FnOnce(Permit<'l>) -> Option<bool>,
    ) {
        let Open { permit, account, lives, charged, reloads, .. } = open;
        let is_stale = self.forgotten[usize::from(account)] != lives;
        if let Some(stale) = settle(permit) {
            assert_eq!(stale, is_stale, "of {account}");
        }
        let now = self.now();
        for charged in charged.iter().filter(|charged| !(is_stale && charged.key.level == 0)) {
            self.ledger.settle(charged, actual[charged.key.meter], now);
        }
        self.outcome.settled_later += u64::from(self.outcome.reloads > reloads);
    }

    fn grant(&mut self, reader: &mut Reader<'_>) {
        let (account, what) = (reader.byte() % ACCOUNTS, reader.byte());
        if !self.is_there(account) {
            return;
        }
        let identity = self.identity(account);
        let seconds = 1 + u64::from(what >> 4) * 7;
        let appeal = Override::new(Duration::from_secs(seconds), "appeal");
        let mut granted = Granted { until: self.now() + seconds * SECOND, exempt: false, limit: None };
        let rules = self.ledger.rules(usize::from(account) % TIERS.len(), 0);
        let lasting: Vec<_> = rules.iter().filter(|rule| !matches!(rule.limit, Limit::Rate { .. })).collect();
        let appeal = match what & 3 {
            0 => {
                self.limiter.lift_override(Whom::Account(&identity));
                self.granted.remove(&account);
                return;
            }
            1 => {
                granted.exempt = true;
                appeal.exempt()
            }
            2 if !lasting.is_empty() => {
                let rule = lasting[usize::from(what >> 2) % lasting.len()];
                let limit = rule.limit.most() * 2;
                granted.limit = Some((rule.meter, rule.name, limit));
                appeal.limit(policy::METER_NAMES[rule.meter], rule.name, limit)
            }
            // Tightened: nothing more is admitted for it.
            _ => appeal.factor(40),
        };
        self.limiter.set_override(Whom::Account(&identity), appeal).expect("of a rule that there is");
        self.granted.insert(account, granted);
    }

    fn forget(&mut self, account: u8) {
        if !self.is_there(account) {
            return;
        }
        self.limiter.forget(&self.identity(account));
        self.forgotten[usize::from(account)] += 1;
        self.granted.remove(&account);
        self.ledger.forget(account);
        self.outcome.forgotten += 1;
    }

    /// Compares use with the ledger.
    fn look(&mut self, account: u8) -> Option<Explanation> {
        if !self.is_there(account) {
            return None;
        }
        let explanation = self.limiter.explain(&self.identity(account));
        let now = self.now();
        let tier = usize::from(account) % TIERS.len();
        for level in 0..LEVELS.len() {
            let Some(subject) = subject(level, account) else { continue };
            for rule in self.ledger.rules(tier, level).to_vec() {
                let key = Key { level, subject, meter: rule.meter, rule: rule.name };
                let used = used_of(&explanation, &key);
                let used = used.unwrap_or_else(|| panic!("{key:?} is not explained: {explanation:?}"));
                self.ledger.seen(key, &rule.limit, used, now);
            }
        }
        Some(explanation)
    }

    fn look_at_all(&mut self) -> Vec<Option<Explanation>> {
        (0..ACCOUNTS).map(|account| self.look(account)).collect()
    }

    /// Whether it was done; nothing may be forgiven by it.
    fn reload(&mut self, to: usize) -> bool {
        let before = self.look_at_all();
        if !self.publish(to) {
            return false;
        }
        let after = self.look_at_all();
        not_forgiven(&before, &after, 1);
        true
    }

    fn publish(&mut self, to: usize) -> bool {
        let policy = &self.policies[to];
        let answer = self.limiter.reload(plan(policy));
        let renamed = self.ledger.may_be_renamed(policy);
        match answer {
            Ok(()) => {
                assert!(!renamed, "a rename was not noticed:\n{}", policy.text());
                self.outcome.reloads += 1;
                self.outcome.dropped += self.ledger.succeed(policy);
                self.current = to;
                // An override's number for a rule that no tier has any more is gone for good.
                let levels = policy.tiers.iter().flatten();
                let known: Vec<_> =
                    levels.flat_map(|levels| &levels[0]).map(|rule| (rule.meter, rule.name)).collect();
                for granted in self.granted.values_mut() {
                    granted.limit = granted.limit.filter(|(meter, name, _)| known.contains(&(*meter, *name)));
                }
                true
            }
            Err(error) => {
                assert!(renamed && !error.is_busy(), "{error}");
                self.outcome.renamed += 1;
                false
            }
        }
    }

    /// To another policy and back, at one instant.
    fn round_trip(&mut self, how: u8) {
        let (here, via) = (self.current, usize::from(how >> 1) % self.policies.len());
        let before = self.look_at_all();
        if !self.publish(via) {
            return;
        }
        if how & 1 == 1 {
            // Every line is brought over, there and back.
            while self.limiter.maintain().behind {}
        }
        let lacking: Vec<Vec<policy::Rule>> = self.ledger.all_rules();
        if !self.publish(here) {
            return;
        }
        if how & 1 == 1 {
            while self.limiter.maintain().behind {}
        }
        let mut after = self.look_at_all();
        for (account, explanation) in after.iter_mut().enumerate() {
            let Some(explanation) = explanation else { continue };
            // What the other policy lacked starts fresh.
            explanation.rules.retain(|state| {
                let level = LEVELS.iter().position(|level| *level == state.level.to_string()).unwrap_or(0);
                lacking[account % TIERS.len() * LEVELS.len() + level].iter().any(|rule| {
                    policy::METER_NAMES[rule.meter] == state.meter.as_str()
                        && rule.name == state.rule.as_str()
                })
            });
        }
        not_forgiven(&before, &after, 2);
        self.outcome.round_trips += 1;
    }

    fn finish(mut self) -> Outcome {
        self.look_at_all();
        while !self.open.is_empty() {
            self.release(0);
        }
        self.look_at_all();
        // Liveness: all is paid, and windows have absorbed what they were overrun by.
        for account in 0..ACCOUNTS {
            self.clock.advance_nanos(400 * 86_400 * SECOND);
            let Some(explanation) = self.look(account) else { continue };
            let mut most = [u64::MAX; METERS];
            for state in &explanation.rules {
                let whole = matches!(state.kind, "rate" | "quota");
                assert!(!whole || state.used == 0, "never paid: {state:?}");
                let meter = policy::METER_NAMES.iter().position(|name| *name == state.meter.as_str());
                if let (Some(meter), Some(left), false) = (meter, state.left, state.shadow) {
                    most[meter] = most[meter].min(left);
                }
            }
            let most = most.map(|most| if most == u64::MAX { 7 } else { most });
            let answer = self.limiter.check(&self.identity(account), &self.cost(&most));
            assert!(answer.is_ok(), "{answer:?} of {most:?}: {explanation:?}");
            self.decided(account, &most, None, false);
        }
        self.outcome.fullest = self.ledger.check_intervals();
        self.outcome
    }
}
