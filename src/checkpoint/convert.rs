//! Words of a line to amounts that outlive the process, and back under the rules and the clock of another.
//!
//! Rules match as they do when a policy is reloaded, and are converted by the same steps ([`bucket::convert`]).

use std::sync::Arc;

use super::{
    block::Head,
    error::{Cause, CheckpointError},
    record::Amounts,
    shape::{Shape, TierShape, Windows},
};
use crate::{
    bucket::{self, Moment, rate},
    calendar::Calendar,
    decision::{Level, Name},
    meter::Meter,
    policy::plan::{GuardPlan, LEVELS, LevelPlan, Limit, MAX_RULES, MAX_TIERS, Plan, Rule, TierPlan, Under},
};

/// What is owed of a rate is kept up to this many ticks, as in [`bucket::convert`].
const MOST_TICKS: u64 = 1 << 62;

/// What of a line's words is worth keeping at `moment`: of a rate what takes longer than `refill` nanoseconds to come back.
pub(crate) fn keep(rules: &[Rule], words: &[u64; MAX_RULES], refill: u64, moment: &Moment<'_>) -> Amounts {
    let mut amounts = Amounts::default();
    for ((amount, rule), word) in amounts.0.iter_mut().zip(rules).zip(words) {
        *amount = match &rule.limit {
            Limit::Rate(rate) => {
                let owed = word.saturating_sub(rate::supply(rate, moment.now));
                if owed > rate::supply(rate, refill) { owed } else { 0 }
            }
            Limit::Quota(_) if bucket::is_idle(&rule.limit, *word, moment) => 0,
            Limit::Quota(_) | Limit::Budget { .. } => *word,
            Limit::InFlight { .. } => 0,
        };
    }
    amounts
}

/// The rules that records were kept under, as they are taken up under those of a plan.
#[derive(Debug)]
pub(crate) struct Past {
    shape: Shape,
    tiers: Vec<Option<TierPast>>,
    /// The plan's, and after them those that rules of then go by.
    calendars: Vec<Arc<Calendar>>,
    /// Where those of then are among them; none that the zone database has no more. Empty where no word tells its calendar.
    places: Vec<Option<u8>>,
}

/// What was a tier's, and where it is now.
#[derive(Debug)]
struct TierPast {
    tier: u8,
    levels: [LevelPast; LEVELS.len()],
}

/// The rules of then that have a meter now, each with its place among all of then.
#[derive(Debug, Default)]
struct LevelPast {
    places: Vec<usize>,
    rules: LevelPlan,
}

impl Past {
    /// `plan` has taken in what it lacks of `shape` ([`Past::take_in`]).
    pub(crate) fn new(shape: &Shape, plan: &Plan) -> Result<Past, CheckpointError> {
        let mut calendars = plan.calendars.clone();
        let mut tiers: Vec<Option<TierPast>> = shape
            .tiers
            .iter()
            .map(|then| {
                let Some(tier) = plan.tiers.iter().position(|now| now.name == then.name) else {
                    return Ok(None);
                };
                let mut levels: [LevelPast; LEVELS.len()] = Default::default();
                for (level, rules) in levels.iter_mut().zip(&then.levels) {
                    *level = LevelPast::new(rules, shape, plan, &mut calendars)?;
                }
                // At most `MAX_TIERS`, or the policy is refused.
                Ok(Some(TierPast { tier: tier as u8, levels }))
            })
            .collect::<Result<_, CheckpointError>>()?;
        let rules = || shape.tiers.iter().flat_map(|tier| tier.levels.iter().flatten());
        let places = if rules().any(tells_its_calendar) {
            shape.calendars.iter().map(|windows| windows.place_in(&mut calendars).ok()).collect()
        } else {
            Vec::new()
        };
        for level in tiers.iter_mut().flatten().flat_map(|tier| &mut tier.levels) {
            level.rules = retold(&level.rules, calendars.len());
        }
        Ok(Past { shape: shape.clone(), tiers, calendars, places })
    }

    /// Whether records of this shape are meant.
    pub(crate) fn is_of(&self, shape: &Shape) -> bool {
        self.shape == *shape
    }

    /// The words of a line in the plan, and under which rules of it they are, of `amounts` that were kept of one of `tier`;
    /// `None` where neither policy nor line has it any more.
    pub(crate) fn words(
        &self,
        head: &Head,
        (level, tier): (Level, u8),
        amounts: &Amounts,
        plan: &Plan,
        moment: &Moment<'_>,
    ) -> Option<(Under, [u64; MAX_RULES])> {
        let moment = &Moment { calendars: &self.calendars, ..*moment };
        // Where the clock shows an earlier time than then, nothing has come back yet.
        let passed = u64::try_from(moment.unix().saturating_sub(head.unix)).unwrap_or(0).min(1 << 60);
        let past = self.tiers.get(usize::from(tier))?.as_ref()?;
        let now = plan.tiers.get(usize::from(past.tier))?;
        let of_level = LEVELS.iter().zip(&past.levels).find(|(known, _)| **known == level)?.1;
        let then = self.shape.tiers.get(usize::from(tier))?.rules(level);
        let mut words = [0; MAX_RULES];
        for ((word, place), rule) in words.iter_mut().zip(&of_level.places).zip(&of_level.rules.rules) {
            let amount = amounts.0.get(*place).copied().unwrap_or(0);
            *word = match &rule.limit {
                Limit::Rate(rate) => {
                    match amount.min(MOST_TICKS).saturating_sub(rate::supply(rate, passed)) {
                        0 => 0,
                        owed => rate::supply(rate, moment.now).saturating_add(owed),
                    }
                }
                Limit::Quota(quota) => {
                    let kept = match then.get(*place).map(|rule| &rule.limit) {
                        Some(Limit::Quota(old)) if old.calendars.max(quota.calendars) > 0 => {
                            bucket::replaced(old, quota, amount, &self.places, moment)
                        }
                        _ => amount,
                    };
                    bucket::no_later(quota, kept, moment)
                }
                Limit::Budget { .. } => amount,
                Limit::InFlight { .. } => 0,
            };
        }
        Some((now.under, bucket::convert(&of_level.rules, now.level(level), &words, moment)))
    }

    /// Lets `plan` have the tiers of `named` that only `shape` has, as ones that the policy has no more: what is owed there goes
    /// along with whoever comes from there.
    ///
    /// Refuses where something may have been renamed, as a reload does.
    pub(crate) fn take_in(plan: &mut Plan, shape: &Shape, named: &[Name]) -> Result<(), CheckpointError> {
        if !plan.policy.fresh {
            let problems = renamed(shape, &Shape::of(plan));
            if !problems.is_empty() {
                return Err(CheckpointError::new(Cause::Policy(problems)));
            }
        }
        let mut calendars = plan.calendars.clone();
        for then in &shape.tiers {
            if !named.contains(&then.name) || plan.tiers.iter().any(|now| now.name == then.name) {
                continue;
            }
            let mut levels: [LevelPlan; LEVELS.len()] = Default::default();
            for (level, rules) in levels.iter_mut().zip(&then.levels) {
                *level = LevelPast::new(rules, shape, plan, &mut calendars)?.rules;
            }
            let [account, cohort, organization, pool, total] =
                levels.map(|level| retold(&level, calendars.len()));
            let guard = GuardPlan { pool, cohort, ..GuardPlan::default() };
            let mut tier = TierPlan::new(then.name, [account, organization, total], guard, &plan.meters);
            tier.retired = true;
            plan.tiers.push(tier);
        }
        plan.calendars = calendars;
        if plan.tiers.len() > MAX_TIERS {
            let message = format!(
                "tiers: with those that accounts still owe under there are {}, and {MAX_TIERS} fit; keep the names of those \
                 that are gone, or start without the checkpoint",
                plan.tiers.len()
            );
            return Err(CheckpointError::new(Cause::Policy(vec![message])));
        }
        plan.number(0);
        Ok(())
    }
}

impl LevelPast {
    fn new(
        rules: &[Rule],
        shape: &Shape,
        plan: &Plan,
        calendars: &mut Vec<Arc<Calendar>>,
    ) -> Result<LevelPast, CheckpointError> {
        let (mut places, mut kept) = (Vec::new(), Vec::new());
        for (place, rule) in rules.iter().enumerate() {
            let name = shape.meters.get(rule.meter.index());
            let meter = plan.meters.iter().position(|meter| Some(&meter.name) == name);
            let Some(meter) = meter.and_then(Meter::from_index) else { continue };
            let mut rule = Rule { meter, ..*rule };
            if let Limit::Quota(quota) = &mut rule.limit
                && let Some(windows) = shape.calendars.get(usize::from(quota.calendar))
            {
                quota.calendar = windows.place_in(calendars)?;
            }
            places.push(place);
            kept.push(rule);
        }
        Ok(LevelPast { places, rules: LevelPlan::new(kept.into_boxed_slice()) })
    }
}

impl Windows {
    /// The place of a calendar with these windows, which is added where there is none.
    fn place_in(&self, calendars: &mut Vec<Arc<Calendar>>) -> Result<u8, CheckpointError> {
        let problem = |message: String| CheckpointError::new(Cause::Policy(vec![message]));
        let known = calendars.iter().position(|calendar| {
            let (period, zone, week_start) = calendar.windows();
            (period, week_start, zone) == (self.period, self.week_start, self.zone.as_str())
        });
        let place = match known {
            Some(place) => place,
            None => {
                let calendar = Calendar::new(self.period, &self.zone, self.week_start);
                let calendar = calendar.map_err(|error| problem(format!("zone: {error}")))?;
                calendars.push(Arc::new(calendar));
                calendars.len() - 1
            }
        };
        u8::try_from(place).map_err(|_| problem("zone: there are more than 256 calendars".to_owned()))
    }
}

/// Whether the words of a rule tell which calendar's windows they are in.
fn tells_its_calendar(rule: &Rule) -> bool {
    matches!(&rule.limit, Limit::Quota(quota) if quota.calendars > 0)
}

/// The same rules, with words that tell so many calendars apart where they tell any.
fn retold(level: &LevelPlan, calendars: usize) -> LevelPlan {
    if level.rules.iter().any(tells_its_calendar) {
        level.among(u8::try_from(calendars).unwrap_or(u8::MAX))
    } else {
        level.clone()
    }
}

/// What may have been renamed: what is gone where something else has come.
fn renamed(then: &Shape, now: &Shape) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |place: &str, what: &str, gone: Option<String>, come: Option<String>| {
        if let (Some(gone), Some(come)) = (gone, come) {
            problems.push(format!(
                "{place}: the {what} `{gone}` is gone and `{come}` has come since; keep the name, or say `fresh = true` to \
                 start what has come anew"
            ));
        }
    };
    let lacks = |shape: &Shape, name: &Name| !shape.tiers.iter().any(|tier| tier.name == *name);
    let gone = then.tiers.iter().filter(|tier| !tier.retired).find(|tier| lacks(now, &tier.name));
    let come = now.tiers.iter().find(|tier| lacks(then, &tier.name));
    let said = |tier: &TierShape| tier.name.to_string();
    check("tiers", "tier", gone.map(said), come.map(said));
    let gone = then.meters.iter().find(|name| !now.meters.contains(name));
    let come = now.meters.iter().find(|name| !then.meters.contains(name));
    check("meters", "meter", gone.map(Name::to_string), come.map(Name::to_string));
    for (tier, was) in now.tiers.iter().flat_map(|tier| {
        let was = then.tiers.iter().find(|was| was.name == tier.name && !was.retired);
        was.map(|was| (tier, was))
    }) {
        for level in LEVELS {
            for (index, meter) in now.meters.iter().enumerate() {
                let place = Meter::from_index(index);
                let of = |shape, tier: &TierShape| of_meter(shape, tier.rules(level), meter, place);
                let (new, old) = (of(now, tier), of(then, was));
                let lacks = |of: &[Rule], rule: &Rule| !of.iter().any(|other| other.is_named_as(rule));
                let said = |rule: &Rule| format!("{meter}/{} ({})", rule.name, rule.limit.kind());
                check(
                    &format!("tiers.{}.{level}", tier.name),
                    "rule",
                    old.iter().find(|rule| lacks(&new, rule)).map(said),
                    new.iter().find(|rule| lacks(&old, rule)).map(said),
                );
            }
        }
    }
    problems
}

/// The rules of a meter, which has this place now, but for those that only count, which have nothing to lose.
fn of_meter(shape: &Shape, rules: &[Rule], meter: &Name, place: Option<Meter>) -> Vec<Rule> {
    let rules = rules.iter().filter(|rule| !rule.limit.only_counts());
    let rules = rules.filter(|rule| shape.meters.get(rule.meter.index()) == Some(meter));
    rules.map(|rule| Rule { meter: place.unwrap_or(rule.meter), ..*rule }).collect()
}
