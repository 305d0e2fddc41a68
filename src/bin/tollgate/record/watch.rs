//! What happened inside the limiter: how full totals were, whom evidence had tied together and tightened, and
//! which rule refused whom.
//!
//! Nothing is asked of the limiter but [`Limiter::explain`], which changes nothing: a replay that is watched
//! decides as one that is not.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use tollgate::{Denial, Identity, Level, Limiter, Name, RuleName, Tier};

use super::series::{Bin, Series};
use crate::{
    row::{Names, Row, Symbol},
    score::Refusal,
};

const MS_NS: u64 = 1_000_000;

/// Whose side an account is on, by its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Attack,
    Honest,
    Other,
}

/// All of them, each at its number.
pub(crate) const CLASSES: [Class; 3] = [Class::Attack, Class::Honest, Class::Other];

impl Class {
    pub(crate) fn of(label: &str) -> Class {
        match label {
            _ if label.starts_with("attack:") => Class::Attack,
            _ if label.starts_with("legit") => Class::Honest,
            _ => Class::Other,
        }
    }
}

/// The share of a limit that was in use at most, in permille.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fill(pub(crate) u16);

impl Bin for Fill {
    fn absorb(&mut self, later: &Fill) {
        self.0 = self.0.max(later.0);
    }
}

/// How full a rule was that many accounts share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) tier: Name,
    pub(crate) level: Level,
    pub(crate) meter: Name,
    pub(crate) rule: RuleName,
    pub(crate) shadow: bool,
    pub(crate) fill: Series<Fill>,
}

/// Where accounts stood at one moment; the latest of a stretch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Whether anything was looked at in the stretch.
    pub(crate) seen: bool,
    /// Accounts in the cohort, or tightened, by [`Class`].
    pub(crate) accounts: [u32; 3],
    /// The largest factor, in sixteenths.
    pub(crate) largest: u16,
}

impl Bin for Sample {
    fn absorb(&mut self, later: &Sample) {
        if later.seen {
            *self = *later;
        }
    }
}

/// The accounts of a tier that evidence ties together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cohort {
    pub(crate) tier: String,
    pub(crate) members: Series<Sample>,
    /// When its first member was found in it, at the end of a stretch.
    pub(crate) first_ms: u64,
    /// Accounts that were ever found in it, by class.
    pub(crate) ever: [u32; 3],
    /// By the two kinds of evidence that weighed most when an account was first found in it: accounts by class.
    pub(crate) evidence: BTreeMap<(&'static str, &'static str), [u32; 3]>,
}

/// A rule, as a refusal names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RuleKey {
    pub(crate) refusal: Refusal,
    pub(crate) level: Level,
    pub(crate) tier: Name,
    pub(crate) meter: Name,
    pub(crate) rule: RuleName,
}

impl RuleKey {
    pub(crate) fn of(denial: &Denial) -> RuleKey {
        RuleKey {
            refusal: Refusal::of(denial),
            level: denial.level(),
            tier: denial.tier(),
            meter: denial.meter(),
            rule: denial.rule(),
        }
    }
}

impl fmt::Display for RuleKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RuleKey { refusal, level, tier, meter, rule } = self;
        write!(out, "{tier} {level}: {meter}/{rule}")?;
        match refusal {
            Refusal::Tightening => out.write_str(", tightened"),
            Refusal::Ramp => out.write_str(", as of a new account"),
            Refusal::Tier if *level != Level::Tier => out.write_str(", shared as the table is full"),
            _ => Ok(()),
        }
    }
}

/// An honest account that lost requests to what others did.
#[derive(Clone, Debug)]
pub(crate) struct Hurt {
    pub(crate) account: String,
    pub(crate) label: Box<str>,
    pub(crate) tier: Box<str>,
    pub(crate) offered: u64,
    pub(crate) refused: u64,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    /// With how many it refused.
    pub(crate) by: Vec<(RuleKey, u64)>,
}

/// All that was seen, in stretches of the same length.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    pub(crate) shared: Vec<Shared>,
    pub(crate) cohorts: Vec<Cohort>,
    pub(crate) tightened: Series<Sample>,
    /// Whether evidence only watched: then none of it did anything.
    pub(crate) shadow: bool,
    /// Each rule that refused anybody, with how many requests by class.
    pub(crate) rules: Vec<(RuleKey, [u64; 3])>,
    /// Who lost most, first.
    pub(crate) hurt: Vec<Hurt>,
}

impl Watched {
    /// Makes stretches at least `width_ms` long.
    pub(crate) fn widen(&mut self, width_ms: u64) {
        self.tightened.widen(width_ms);
        self.shared.iter_mut().for_each(|shared| shared.fill.widen(width_ms));
        self.cohorts.iter_mut().for_each(|cohort| cohort.members.widen(width_ms));
    }
}

/// An account that is looked at for evidence.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    identity: Identity,
    class: Class,
    tier: Symbol,
}

#[derive(Clone, Debug, Default)]
struct Loss {
    label: Symbol,
    tier: Symbol,
    refused: u64,
    first_ms: u64,
    last_ms: u64,
    /// By position in `rules`.
    by: Vec<(usize, u64)>,
}

/// Looks on while a trace is replayed.
#[derive(Debug)]
pub(crate) struct Watch {
    tiers: Vec<(Box<str>, Identity)>,
    labels: Vec<(Box<str>, Class)>,
    accounts: Vec<Box<str>>,
    shared: Vec<Shared>,
    /// By trace's tier.
    cohorts: BTreeMap<Symbol, Cohort>,
    joined: Vec<bool>,
    tightened: Series<Sample>,
    shadow: bool,
    rules: Vec<(RuleKey, [u64; 3])>,
    places: HashMap<RuleKey, usize>,
    offered: Vec<u32>,
    losses: HashMap<Symbol, Loss>,
    /// Those that evidence has done something to, or would have in shadow.
    held: HashMap<Symbol, Suspect>,
    /// Those that have come since the last look.
    active: HashMap<Symbol, Suspect>,
    looked_ms: u64,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch {
            tiers: Vec::new(),
            labels: Vec::new(),
            accounts: Vec::new(),
            shared: Vec::new(),
            cohorts: BTreeMap::new(),
            joined: Vec::new(),
            tightened: Series::default(),
            shadow: false,
            rules: Vec::new(),
            places: HashMap::new(),
            offered: Vec::new(),
            losses: HashMap::new(),
            held: HashMap::new(),
            active: HashMap::new(),
            looked_ms: 0,
        }
    }

    /// Continues the numbering of a trace's texts.
    pub(crate) fn learn(&mut self, names: &Names) {
        self.labels.extend(names.labels.iter().map(|label| (label.clone(), Class::of(label))));
        self.accounts.extend(names.accounts.iter().cloned());
    }

    /// Continues the numbering of a trace's tiers with one called `name`.
    pub(crate) fn learn_tier(&mut self, name: &str, tier: Tier, limiter: &Limiter) {
        // Nobody: it has no line, and sees all that newcomers share.
        self.tiers.push((name.into(), limiter.identity(tier, "nobody, who only looks")));
    }

    fn class(&self, label: Symbol) -> Class {
        self.labels.get(label as usize).map_or(Class::Other, |(_, class)| *class)
    }

    /// A request was decided.
    pub(crate) fn decided(&mut self, row: &Row, identity: Identity, denial: Option<&Denial>) {
        let class = self.class(row.label);
        self.active.insert(row.account, Suspect { identity, class, tier: row.tier });
        let account = row.account as usize;
        if account >= self.offered.len() {
            self.offered.resize(account + 1, 0);
        }
        self.offered[account] = self.offered[account].saturating_add(1);
        let Some(denial) = denial else { return };
        let key = RuleKey::of(denial);
        let place = *self.places.entry(key).or_insert_with(|| {
            self.rules.push((key, [0; 3]));
            self.rules.len() - 1
        });
        self.rules[place].1[class as usize] += 1;
        if class != Class::Honest || !key.refusal.is_collateral() {
            return;
        }
        let loss = self.losses.entry(row.account).or_insert_with(|| Loss {
            label: row.label,
            tier: row.tier,
            first_ms: row.at_ms,
            ..Loss::default()
        });
        loss.refused += 1;
        loss.last_ms = row.at_ms;
        match loss.by.iter_mut().find(|(known, _)| *known == place) {
            Some((_, count)) => *count += 1,
            None => loss.by.push((place, 1)),
        }
    }

    /// A minute is over, and the limiter has kept house.
    pub(crate) fn look(&mut self, now_ns: u64, unix_ns: i64, limiter: &Limiter) {
        // What happened until now belongs to the stretch before.
        let at_ms = (now_ns / MS_NS).saturating_sub(1);
        for (_, nobody) in &self.tiers {
            let explained = limiter.explain(&nobody.since(unix_ns));
            for rule in explained.rules {
                let Some(limit) = rule.limit.filter(|limit| *limit > 0) else { continue };
                if !matches!(rule.level, Level::Tier | Level::Pool) {
                    continue;
                }
                let same = |shared: &&mut Shared| {
                    (shared.tier, shared.level, shared.meter, shared.rule)
                        == (rule.tier, rule.level, rule.meter, rule.rule)
                };
                let permille = u128::from(rule.used) * 1000 / u128::from(limit);
                let fill = Fill(u16::try_from(permille).unwrap_or(u16::MAX));
                match self.shared.iter_mut().find(same) {
                    Some(shared) => shared.fill.at(at_ms).absorb(&fill),
                    None => {
                        let mut series = Series::default();
                        *series.at(at_ms) = fill;
                        self.shared.push(Shared {
                            tier: rule.tier,
                            level: rule.level,
                            meter: rule.meter,
                            rule: rule.rule,
                            shadow: rule.shadow,
                            fill: series,
                        });
                    }
                }
            }
        }
        self.tightened.at(at_ms);
        let width_ms = self.tightened.width_ms();
        if at_ms / width_ms != (at_ms + 1) / width_ms {
            self.look_at_suspects(at_ms, limiter);
        }
        self.looked_ms = at_ms;
    }

    /// A stretch is over: where does evidence have whom?
    fn look_at_suspects(&mut self, at_ms: u64, limiter: &Limiter) {
        self.held.extend(self.active.drain());
        let mut tightened = Sample { seen: true, ..Sample::default() };
        let mut members: BTreeMap<Symbol, Sample> =
            self.cohorts.keys().map(|tier| (*tier, tightened)).collect();
        let (cohorts, joined, tiers, shadow) =
            (&mut self.cohorts, &mut self.joined, &self.tiers, &mut self.shadow);
        self.held.retain(|account, suspect| {
            let Some(evidence) = limiter.explain(&suspect.identity).evidence else { return false };
            *shadow = evidence.shadow;
            let class = suspect.class as usize;
            if evidence.factor_sixteenths > 16 {
                tightened.accounts[class] += 1;
                tightened.largest = tightened.largest.max(evidence.factor_sixteenths);
            }
            if evidence.cohort.is_some() {
                let sample =
                    members.entry(suspect.tier).or_insert(Sample { seen: true, ..Sample::default() });
                sample.accounts[class] += 1;
                let cohort = cohorts.entry(suspect.tier).or_insert_with(|| Cohort {
                    tier: tiers
                        .get(suspect.tier as usize)
                        .map_or(String::new(), |(name, _)| name.to_string()),
                    first_ms: at_ms,
                    ..Cohort::default()
                });
                let account = *account as usize;
                if account >= joined.len() {
                    joined.resize(account + 1, false);
                }
                if !std::mem::replace(&mut joined[account], true) {
                    cohort.ever[class] += 1;
                    cohort.evidence.entry(strongest(&evidence.kinds)).or_default()[class] += 1;
                }
            }
            evidence.factor_sixteenths > 16 || evidence.cohort.is_some()
        });
        *self.tightened.at(at_ms) = tightened;
        for (tier, sample) in members {
            if let Some(cohort) = self.cohorts.get_mut(&tier) {
                *cohort.members.at(at_ms) = sample;
            }
        }
    }

    /// What was seen, at the end of the trace.
    pub(crate) fn finish(mut self, limiter: &Limiter) -> Watched {
        self.look_at_suspects(self.looked_ms, limiter);
        let mut hurt: Vec<(Symbol, Loss)> = self.losses.into_iter().collect();
        hurt.sort_by_key(|(account, loss)| (std::cmp::Reverse(loss.refused), *account));
        let text = |texts: &[Box<str>], symbol: Symbol| texts.get(symbol as usize).cloned();
        let hurt = hurt.into_iter().map(|(account, loss)| {
            let mut by: Vec<(RuleKey, u64)> =
                loss.by.iter().map(|(place, count)| (self.rules[*place].0, *count)).collect();
            by.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            Hurt {
                account: text(&self.accounts, account)
                    .map_or_else(|| format!("acct_{account}"), String::from),
                label: self.labels.get(loss.label as usize).map(|(name, _)| name.clone()).unwrap_or_default(),
                tier: self.tiers.get(loss.tier as usize).map(|(name, _)| name.clone()).unwrap_or_default(),
                offered: self.offered.get(account as usize).copied().map_or(0, u64::from),
                refused: loss.refused,
                first_ms: loss.first_ms,
                last_ms: loss.last_ms,
                by,
            }
        });
        let hurt = hurt.collect();
        sort_busiest(&mut self.rules);
        Watched {
            shared: self.shared,
            cohorts: self.cohorts.into_values().collect(),
            tightened: self.tightened,
            shadow: self.shadow,
            rules: self.rules,
            hurt,
        }
    }
}

/// Sorts rules by how many requests each refused, the busiest first.
pub(super) fn sort_busiest(rules: &mut [(RuleKey, [u64; CLASSES.len()])]) {
    rules.sort_by_cached_key(|(rule, counts)| {
        (std::cmp::Reverse(counts.iter().sum::<u64>()), rule.to_string())
    });
}

/// The two kinds that weigh most, in order of name.
fn strongest(kinds: &[(&'static str, u16)]) -> (&'static str, &'static str) {
    let mut kinds = kinds.to_vec();
    kinds.sort_by_key(|(_, points)| std::cmp::Reverse(*points));
    let mut names = kinds.iter().map(|(name, _)| *name);
    let (one, other) = (names.next().unwrap_or("nothing now"), names.next().unwrap_or("nothing now"));
    (one.min(other), one.max(other))
}
