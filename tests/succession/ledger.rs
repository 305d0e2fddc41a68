//! What was admitted, by rule and subject: the model.
//!
//! A rule that a policy lacks begins again when it comes back, whether or not anybody came to a line meanwhile; what was
//! charged before is no part of it ([`Life`]).

use std::collections::BTreeMap;

use tollgate::Denial;

use super::policy::{LEVELS, Limit, METERS, Policy, Rule, TIERS, TierRules};

const SECOND: u64 = 1_000_000_000;

/// One bucket. The tier is that of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub level: usize,
    pub subject: u8,
    pub meter: usize,
    pub rule: &'static str,
}

impl Key {
    /// The same, by the number of the tier.
    fn of_tier(self) -> Key {
        Key { subject: self.subject % TIERS.len() as u8, ..self }
    }
}

/// What a permit was charged to one bucket.
#[derive(Clone, Copy, Debug)]
pub struct Charged {
    pub key: Key,
    limit: Limit,
    asked: u64,
    /// When, in charges and reloads.
    turn: u64,
    window: u64,
    /// Of a rate: where in its log, if it is there.
    entry: Option<usize>,
}

/// The use of a rule since it came.
#[derive(Clone, Copy, Debug)]
struct Life {
    since: u64,
    window: u64,
    /// At least, at most; different only where a window was overrun.
    used: (u64, u64),
    /// Whether something was charged in the window: until then, what is carried into it goes by the limit in force.
    charged: bool,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Terms { tokens: u64, period: u64, burst: u64 },
    Gone,
    Admitted { at: u64, amount: u64 },
}

pub struct Ledger {
    /// Those of a tier that is gone are kept.
    tiers: [Option<TierRules>; TIERS.len()],
    is_there: [bool; TIERS.len()],
    lasting: BTreeMap<Key, Life>,
    rates: BTreeMap<Key, Vec<Entry>>,
    /// The smallest number of each rule, by tier.
    least: BTreeMap<Key, u64>,
    turn: u64,
    /// When an account was forgotten, its rates begin again elsewhere.
    closed: Vec<Vec<Entry>>,
}

fn terms(limit: &Limit) -> Option<Entry> {
    match *limit {
        Limit::Rate { tokens, period, burst } => Some(Entry::Terms { tokens, period, burst }),
        _ => None,
    }
}

fn window(limit: &Limit, now: u64) -> u64 {
    match limit {
        // From a midnight on, in UTC.
        Limit::Quota { seconds, .. } => now / (seconds * SECOND),
        _ => 0,
    }
}

impl Life {
    /// In a later window counts at most what an earlier one was overrun by.
    ///
    /// `least` is the smallest that any policy says.
    fn advance(&mut self, window: u64, least: u64) {
        if window > self.window {
            let absorbed = (window - self.window).saturating_mul(least);
            self.used = (0, self.used.1.saturating_sub(absorbed));
            self.window = window;
            self.charged = false;
        }
    }

    fn add(&mut self, amount: u64) {
        self.used = (self.used.0 + amount, self.used.1 + amount);
        self.charged = true;
    }

    fn take(&mut self, amount: u64) {
        self.used = (self.used.0.saturating_sub(amount), self.used.1.saturating_sub(amount));
    }
}

impl Ledger {
    /// Of policies that may be in force, the first of them first.
    pub fn new(policies: &[Policy]) -> Ledger {
        let mut least = BTreeMap::new();
        for policy in policies {
            for (tier, levels) in policy.tiers.iter().enumerate() {
                for (level, rules) in levels.iter().flatten().enumerate() {
                    for rule in rules {
                        let key = Key { level, subject: tier as u8, meter: rule.meter, rule: rule.name };
                        let known = least.entry(key).or_insert(u64::MAX);
                        *known = rule.limit.most().min(*known);
                    }
                }
            }
        }
        let policy = &policies[0];
        Ledger {
            least,
            tiers: policy.tiers.clone(),
            is_there: policy.tiers.each_ref().map(Option::is_some),
            lasting: BTreeMap::new(),
            rates: BTreeMap::new(),
            turn: 0,
            closed: Vec::new(),
        }
    }

    pub fn is_there(&self, tier: usize) -> bool {
        self.is_there[tier]
    }

    pub fn rules(&self, tier: usize, level: usize) -> &[Rule] {
        self.tiers[tier].as_ref().map_or(&[], |levels| &levels[level])
    }

    /// By tier and level.
    pub fn all_rules(&self) -> Vec<Vec<Rule>> {
        let places = (0..TIERS.len()).flat_map(|tier| (0..LEVELS.len()).map(move |level| (tier, level)));
        places.map(|(tier, level)| self.rules(tier, level).to_vec()).collect()
    }

    fn life(&mut self, key: Key, limit: &Limit, now: u64) -> &mut Life {
        let life =
            self.lasting.entry(key).or_insert(Life { since: 0, window: 0, used: (0, 0), charged: false });
        life.advance(window(limit, now), self.least[&key.of_tier()]);
        life
    }

    /// A charge of `asked`, of a request for `amount`.
    pub fn charge(
        &mut self,
        key: Key,
        limit: &Limit,
        (asked, amount): (u64, u64),
        permit: bool,
        binds: bool,
        now: u64,
    ) -> Option<Charged> {
        self.turn += 1;
        let mut charged =
            Charged { key, limit: *limit, asked, turn: self.turn, window: window(limit, now), entry: None };
        if amount == 0 {
            // It may be settled all the same.
            self.life(key, limit, now);
            return Some(charged);
        }
        if let Limit::Rate { .. } = limit {
            let log = self.rates.entry(key).or_insert_with(|| terms(limit).into_iter().collect());
            if binds {
                charged.entry = Some(log.len());
                log.push(Entry::Admitted { at: now, amount: asked });
            }
            return Some(charged);
        }
        let holds = permit || !matches!(limit, Limit::InFlight { .. });
        let life = self.life(key, limit, now);
        if binds {
            assert!(
                life.used.0 + asked <= limit.most(),
                "admitted {asked} beyond {limit:?} of {key:?}: {life:?}"
            );
            life.used.1 = life.used.1.min(limit.most() - asked);
        }
        life.add(if holds { asked } else { 0 });
        Some(charged)
    }

    /// A refusal that names the rule.
    pub fn refused(&mut self, key: Key, limit: &Limit, asked: u64, now: u64, denial: &Denial) {
        if let Limit::Rate { .. } = limit {
            return;
        }
        let life = self.life(key, limit, now);
        assert!(life.used.1 + asked > limit.most(), "{denial:?}: {asked} is within {limit:?}: {life:?}");
    }

    pub fn settle(&mut self, charged: &Charged, actual: u64, now: u64) {
        let Charged { key, limit, asked, turn, window, entry } = *charged;
        if let Limit::Rate { .. } = limit {
            let entry = entry.and_then(|entry| self.rates.get_mut(&key)?.get_mut(entry));
            if let Some(Entry::Admitted { amount, .. }) = entry {
                *amount = actual.min(asked);
            }
            return;
        }
        let (back, extra) = match limit {
            Limit::InFlight { .. } => (asked, 0),
            _ => (asked.saturating_sub(actual), actual.saturating_sub(asked)),
        };
        let (least, current) = (self.least[&key.of_tier()], self::window(&limit, now));
        // One that has come since was not charged.
        let Some(life) = self.lasting.get_mut(&key).filter(|life| life.since <= turn) else { return };
        if extra > 0 {
            life.advance(current, least);
            life.add(extra);
        } else if life.window == window {
            life.take(back);
        }
    }

    /// A use that was read.
    pub fn seen(&mut self, key: Key, limit: &Limit, used: u64, now: u64) {
        if let Limit::Rate { .. } = limit {
            return;
        }
        let life = self.life(key, limit, now);
        assert!(
            life.used.0 <= used && used <= life.used.1,
            "{used} of {limit:?} is used of {key:?}: {life:?}"
        );
        if life.charged {
            life.used = (used, used);
        }
    }

    pub fn forget(&mut self, account: u8) {
        let own = |key: &Key| key.level == 0 && key.subject == account;
        self.lasting.retain(|key, _| !own(key));
        let closed: Vec<Key> = self.rates.keys().filter(|key| own(key)).copied().collect();
        self.closed.extend(closed.iter().filter_map(|key| self.rates.remove(key)));
    }

    /// Whether something is gone where something else has come.
    pub fn may_be_renamed(&self, next: &Policy) -> bool {
        if next.fresh {
            return false;
        }
        let gone = (0..TIERS.len()).any(|tier| self.is_there[tier] && next.tiers[tier].is_none());
        let come = (0..TIERS.len()).any(|tier| self.tiers[tier].is_none() && next.tiers[tier].is_some());
        let mut renamed = gone && come;
        for (old, new) in self.tiers.iter().zip(&next.tiers) {
            let (Some(old), Some(new)) = (old, new) else { continue };
            for (old, new) in old.iter().zip(new) {
                for meter in 0..METERS {
                    let lacks = |of: &[Rule], from: &[Rule]| {
                        let mut of = of.iter().filter(|rule| rule.meter == meter);
                        of.any(|rule| {
                            !from.iter().any(|other| (other.meter, other.name) == (meter, rule.name))
                        })
                    };
                    renamed |= lacks(old, new) && lacks(new, old);
                }
            }
        }
        renamed
    }

    /// Puts a policy into force. Answers how many rules with use it lacks.
    pub fn succeed(&mut self, next: &Policy) -> u64 {
        for (index, tier) in next.tiers.iter().enumerate() {
            self.is_there[index] = tier.is_some();
            if tier.is_some() {
                self.tiers[index].clone_from(tier);
            }
        }
        self.turn += 1;
        let since = self.turn;
        let tiers = &self.tiers;
        let rule = |key: &Key| {
            let rules =
                tiers[usize::from(key.subject) % TIERS.len()].as_ref().map(|levels| &levels[key.level]);
            rules.and_then(|rules| rules.iter().find(|rule| (rule.meter, rule.name) == (key.meter, key.rule)))
        };
        let mut dropped = 0;
        for (key, life) in &mut self.lasting {
            if rule(key).is_none() {
                dropped += u64::from(life.used.1 > 0);
                *life = Life { since, window: 0, used: (0, 0), charged: false };
            }
        }
        for (key, log) in &mut self.rates {
            log.push(rule(key).and_then(|rule| terms(&rule.limit)).unwrap_or(Entry::Gone));
        }
        dropped
    }

    /// In every interval, of every rate: at most the largest burst and the largest rate of those in force in it. Answers
    /// the fullest, in parts of a hundred.
    pub fn check_intervals(&self) -> u64 {
        let logs = self.rates.values().chain(&self.closed);
        logs.map(|log| (0..log.len()).map(|first| check_from(log, first)).max().unwrap_or(0))
            .max()
            .unwrap_or(0)
    }
}

fn check_from(log: &[Entry], first: usize) -> u64 {
    let Entry::Admitted { at: start, .. } = log[first] else { return 0 };
    let before = log[..first].iter().rposition(|entry| !matches!(entry, Entry::Admitted { .. }));
    let (mut most_burst, mut rate, mut sum, mut fullest) = (0, (0, 1), 0, 0);
    for entry in before.map(|index| &log[index]).into_iter().chain(&log[first..]) {
        match *entry {
            Entry::Gone => break,
            Entry::Terms { tokens, period, burst } => {
                most_burst = most_burst.max(burst);
                if tokens * rate.1 > rate.0 * period {
                    rate = (tokens, period);
                }
            }
            Entry::Admitted { at, amount } => {
                sum += amount;
                // Counted in begun nanoseconds.
                let length = u128::from(at - start + 1);
                let beyond = u128::from(sum.saturating_sub(most_burst)) * u128::from(rate.1);
                assert!(
                    beyond <= length * u128::from(rate.0),
                    "{sum} in {length} ns with {most_burst} and {rate:?}: {log:?}"
                );
                let bound = u128::from(most_burst) + length * u128::from(rate.0) / u128::from(rate.1);
                fullest = fullest.max((u128::from(sum) * 100 / bound.max(1)) as u64);
            }
        }
    }
    fullest
}
