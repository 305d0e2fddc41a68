//! A plan that takes another's place under the same limiter.
//!
//! Invariant: what callers hold keeps its meaning. Meters, tiers and calendars of the new plan get the places that the old
//! one gave to those of the same name; new ones come after; those that are gone keep theirs. A tier that is gone keeps its
//! rules too, since lines are still under them: what is owed there goes along to whatever tier its subjects come with.

use std::{fmt, sync::Arc};

use super::plan::{
    Capacity, EvidencePlan, GuardPlan, LEVELS, LevelPlan, Limit, MAX_TIERS, OwnUse, Plan, Room, Rule,
    TierPlan, Under,
};
use crate::{
    decision::Level,
    meter::{MAX_METERS, Meter},
    sync::next_number,
};

/// Why a policy cannot take another's place as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadError {
    problems: Vec<String>,
    busy: bool,
}

impl ReloadError {
    pub(crate) fn busy(message: String) -> ReloadError {
        ReloadError { problems: vec![message], busy: true }
    }

    pub(crate) fn refused(message: String) -> ReloadError {
        ReloadError { problems: vec![message], busy: false }
    }

    /// Whether nothing is wrong with the policy, and the same call succeeds once `maintain` has brought over what is still
    /// under earlier policies.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// All that is wrong, each with where it is and what would do.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(String::as_str)
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            write!(out, "{}{problem}", if index > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ReloadError {}

/// Places in the old plan's order, by places in the new one's.
struct Places {
    meters: Vec<usize>,
    calendars: Vec<u8>,
}

impl Places {
    fn meter(&self, meter: Meter) -> Meter {
        self.meters.get(meter.index()).and_then(|index| Meter::from_index(*index)).unwrap_or(meter)
    }

    fn level(&self, level: &LevelPlan) -> LevelPlan {
        let rules = level.rules.iter().map(|rule| {
            let mut rule = Rule { meter: self.meter(rule.meter), ..*rule };
            if let Limit::Quota(quota) = &mut rule.limit {
                let calendar = self.calendars.get(usize::from(quota.calendar));
                quota.calendar = calendar.copied().unwrap_or(quota.calendar);
            }
            rule
        });
        LevelPlan { rules: rules.collect(), watched: level.watched.clone() }
    }

    fn by_meter(&self, uses: &[Option<OwnUse>; MAX_METERS]) -> [Option<OwnUse>; MAX_METERS] {
        let mut moved = [None; MAX_METERS];
        for (index, own) in uses.iter().enumerate() {
            let place = self.meters.get(index).and_then(|index| moved.get_mut(*index));
            if let (Some(place), Some(_)) = (place, own) {
                *place = *own;
            }
        }
        moved
    }
}

impl Plan {
    /// Gives the plan its number among those of a limiter.
    pub(crate) fn number(&mut self, id: u8) {
        for (index, tier) in self.tiers.iter_mut().enumerate() {
            // At most `MAX_TIERS`, or the policy is refused.
            tier.under = Under::new(index as u8, id);
            tier.at(index as u8);
        }
    }

    /// This plan with what both name where `old` has it, for a limiter with `room`.
    pub(crate) fn succeeding(mut self, old: &Plan, room: &Room) -> Result<Plan, ReloadError> {
        let mut problems = Vec::new();
        let places = Places {
            meters: self.place_meters(old, &mut problems),
            calendars: self.place_calendars(old, &mut problems),
        };
        let words = self.place_zones(old, &places, &mut problems);
        let new_tiers: Vec<_> = self.tiers.drain(..).collect();
        for tier in &old.tiers {
            if !new_tiers.iter().any(|new| new.name == tier.name) {
                let mut kept = TierPlan::new(
                    tier.name,
                    [&tier.account, &tier.organization, &tier.total].map(LevelPlan::clone),
                    tier.guard.clone(),
                    &self.meters,
                );
                kept.retired = true;
                self.tiers.push(kept);
                continue;
            }
            let new = new_tiers.iter().find(|new| new.name == tier.name);
            self.tiers.extend(new.map(|new| self.placed(new, &places, words)));
        }
        let known = self.tiers.len();
        let appeared = new_tiers.iter().filter(|new| !old.tiers.iter().any(|tier| tier.name == new.name));
        let appeared: Vec<TierPlan> = appeared.map(|new| self.placed(new, &places, words)).collect();
        self.tiers.extend(appeared);
        self.anonymous = self
            .anonymous
            .and_then(|index| new_tiers.get(index))
            .and_then(|tier| self.tiers.iter().position(|known| known.name == tier.name));
        if let Some(evidence) = &mut self.evidence {
            evidence.meter = evidence.meter.map(|meter| places.meter(meter));
        }
        if !self.policy.fresh {
            self.check_names(old, known, &mut problems);
        }
        self.check_room(old, room, &mut problems);
        self.check_words(&mut problems);
        self.check_evidence(old, &mut problems);
        self.follow(old, next_number());
        if problems.is_empty() { Ok(self) } else { Err(ReloadError { problems, busy: false }) }
    }

    fn place_meters(&mut self, old: &Plan, problems: &mut Vec<String>) -> Vec<usize> {
        let new = std::mem::take(&mut self.meters);
        self.meters = old.meters.clone();
        self.meters.iter_mut().for_each(|meter| meter.retired = true);
        let mut places = Vec::new();
        for meter in new {
            let place = self.meters.iter().position(|known| known.name == meter.name);
            let place = place.unwrap_or(self.meters.len());
            match self.meters.get_mut(place) {
                Some(known) => *known = meter,
                None => self.meters.push(meter),
            }
            places.push(place);
        }
        if self.meters.len() > MAX_METERS {
            problems.push(format!(
                "meters: with those that were there before there are {}, and {MAX_METERS} fit; keep a meter that is no \
                 longer used under its name, or restart",
                self.meters.len()
            ));
            self.meters.truncate(MAX_METERS);
        }
        places
    }

    fn place_calendars(&mut self, old: &Plan, problems: &mut Vec<String>) -> Vec<u8> {
        let new = std::mem::replace(&mut self.calendars, old.calendars.clone());
        let places = new.iter().map(|calendar| {
            let place = self.calendars.iter().position(|known| known.numbers_like(calendar));
            let place = place.unwrap_or_else(|| {
                self.calendars.push(Arc::clone(calendar));
                self.calendars.len() - 1
            });
            u8::try_from(place).ok()
        });
        let places: Option<Vec<u8>> = places.collect();
        places.unwrap_or_else(|| {
            problems.push("zone: there have been more zones than a limiter can know; restart".to_owned());
            Vec::new()
        })
    }

    /// Lets zones be where `old` has them, with those that are gone. How many calendars words have to tell apart.
    fn place_zones(&mut self, old: &Plan, places: &Places, problems: &mut Vec<String>) -> u8 {
        let new = std::mem::replace(&mut self.zones, old.zones.clone());
        self.zones.iter_mut().for_each(|zone| zone.retired = true);
        for mut zone in new {
            for place in zone.calendars.iter_mut().flatten() {
                *place = places.calendars.get(usize::from(*place)).copied().unwrap_or(*place);
            }
            match self.zones.iter_mut().find(|known| known.name == zone.name) {
                Some(known) => *known = zone,
                None => self.zones.push(zone),
            }
        }
        let calendars = if self.zones.is_empty() { 0 } else { self.calendars.len() };
        let known = u8::try_from(calendars).ok().filter(|_| self.zones.len() <= usize::from(u8::MAX));
        known.unwrap_or_else(|| {
            problems.push("zones: there have been more than a limiter can know; restart".to_owned());
            0
        })
    }

    fn placed(&self, tier: &TierPlan, places: &Places, words: u8) -> TierPlan {
        let guard = &tier.guard;
        let guard = GuardPlan {
            pool: places.level(&guard.pool),
            cohort: places.level(&guard.cohort),
            floor: places.by_meter(&guard.floor),
            light: places.by_meter(&guard.light),
            ..guard.clone()
        };
        let levels = [&tier.account, &tier.organization, &tier.total].map(|level| places.level(level));
        let placed = TierPlan::new(tier.name, levels, guard, &self.meters);
        if words > 0 { placed.among(words, &self.meters) } else { placed }
    }

    /// Finds quotas that are too large for words which tell so many calendars apart.
    fn check_words(&self, problems: &mut Vec<String>) {
        for tier in self.tiers.iter().filter(|tier| !tier.retired) {
            for level in LEVELS {
                for rule in &tier.level(level).rules {
                    if let Limit::Quota(quota) = &rule.limit
                        && quota.limit > quota.most()
                    {
                        problems.push(format!(
                            "tiers.{}.{level}: {} is too large for a window of a {} beside {} zones and windows, those that were \
                             there before included; at most {} fits, or restart",
                            tier.name, quota.limit, quota.period, quota.calendars, quota.most(),
                        ));
                    }
                }
            }
        }
    }

    /// Finds what may have been renamed: what is gone where something else has come.
    fn check_names(&self, old: &Plan, known: usize, problems: &mut Vec<String>) {
        const WAY_OUT: &str = "keep the name, or say `fresh = true` to start what has come anew";
        let mut renamed = |place: String, what: &str, gone: Vec<String>, come: Vec<String>| {
            if let (Some(gone), Some(come)) = (gone.first(), come.first()) {
                problems
                    .push(format!("{place}: the {what} `{gone}` is gone and `{come}` has come; {WAY_OUT}"));
            }
        };
        let gone = |retired: bool, was: bool| retired && !was;
        let tiers = self.tiers.iter().zip(&old.tiers).filter(|(tier, was)| gone(tier.retired, was.retired));
        let come = self.tiers.iter().skip(known).map(|tier| tier.name.to_string()).collect();
        renamed("tiers".to_owned(), "tier", tiers.map(|(tier, _)| tier.name.to_string()).collect(), come);
        let meters =
            self.meters.iter().zip(&old.meters).filter(|(meter, was)| gone(meter.retired, was.retired));
        let come = self.meters.iter().skip(old.meters.len()).map(|meter| meter.name.to_string()).collect();
        renamed(
            "meters".to_owned(),
            "meter",
            meters.map(|(meter, _)| meter.name.to_string()).collect(),
            come,
        );
        for (tier, was) in self.tiers.iter().zip(&old.tiers).filter(|(tier, _)| !tier.retired) {
            for level in LEVELS {
                for (index, meter) in self.meters.iter().enumerate() {
                    // What only counts has nothing to lose.
                    let rules = |tier: &TierPlan| -> Vec<Rule> {
                        let rules = tier.level(level).rules.iter();
                        rules
                            .filter(|rule| rule.meter.index() == index && !rule.limit.only_counts())
                            .copied()
                            .collect()
                    };
                    let (new, before) = (rules(tier), rules(was));
                    let lacks = |of: &[Rule], rule: &Rule| !of.iter().any(|other| other.is_named_as(rule));
                    let said = |rule: &Rule| format!("{}/{} ({})", meter.name, rule.name, rule.limit.kind());
                    renamed(
                        format!("tiers.{}.{level}", tier.name),
                        "rule",
                        before.iter().filter(|rule| lacks(&new, rule)).map(said).collect(),
                        new.iter().filter(|rule| lacks(&before, rule)).map(said).collect(),
                    );
                }
            }
        }
    }

    /// The tables don't grow.
    fn check_room(&self, old: &Plan, room: &Room, problems: &mut Vec<String>) {
        let (Capacity { accounts, organizations, .. }, built) = (self.capacity, old.capacity);
        for (key, wanted, built) in
            [("accounts", accounts, built.accounts), ("organizations", organizations, built.organizations)]
        {
            if wanted != built {
                problems.push(format!(
                    "capacity.{key}: the tables were built for {built} and do not grow; say {built}, or restart for {wanted}"
                ));
            }
        }
        if self.tiers.len() > room.tiers.min(MAX_TIERS) {
            problems.push(format!(
                "tiers: with those that were there before there are {}, and the limiter was built for {}; restart with \
                 `capacity.spare_tiers = {}`",
                self.tiers.len(),
                room.tiers,
                self.tiers.len() - room.tiers.min(self.tiers.len())
            ));
        }
        for level in LEVELS {
            let (needed, built) = (self.needed(&[level]), room.of(level));
            for (what, needed, built) in [
                ("rules", needed.rules, built.rules),
                ("rates", needed.rates, built.rates),
                ("quotas and budgets", needed.lasting, built.lasting),
            ] {
                // Nothing is parked of what many share.
                let counts =
                    what != "quotas and budgets" || matches!(level, Level::Account | Level::Organization);
                if needed > built && counts {
                    problems.push(format!(
                        "tiers: a tier has {needed} {what} at level {level}, and the limiter was built for {built}; \
                         restart with `capacity.spare_rules = {}`",
                        needed - built
                    ));
                }
            }
        }
        if self.largest_factor != old.largest_factor {
            problems.push(format!(
                "largest_factor: what is tightened already goes up to {}; say that, or restart for {}",
                old.largest_factor, self.largest_factor
            ));
        }
    }

    /// What is remembered of evidence goes by what is observed.
    fn check_evidence(&self, old: &Plan, problems: &mut Vec<String>) {
        let observed = |plan: &Plan| {
            plan.evidence.clone().map(|evidence| EvidencePlan {
                shadow: false,
                kinds: 0,
                half_life: 0,
                ..evidence
            })
        };
        if observed(self) != observed(old) {
            problems.push(
                "evidence: `attributes`, `meter` and `signals` are those that the limiter was built with, and `shadow`, \
                 `kinds` and `half_life` alone can change; keep them, or restart"
                    .to_owned(),
            );
        }
    }
}
