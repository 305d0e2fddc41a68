//! The rules that records were kept under, by name: what a policy came to, without the policy.

use super::bytes::{Malformed, Reader, put_short, put_text};
use crate::{
    calendar::{Period, Weekday},
    decision::{Level, Name},
    meter::{MAX_METERS, Meter},
    policy::{
        plan::{LEVELS, LevelPlan, Limit, MAX_RULES, MAX_TIERS, Plan, Quota, Rule},
        rate::Rate,
    },
};

/// Longest name of a zone.
const MOST_ZONE: usize = 255;
/// Most calendars: what a quota's index can say.
const MOST_CALENDARS: usize = 256;
/// The most that tightening multiplies by, at the most.
const MOST_FACTOR: usize = 64;

const WEEKDAYS: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

/// Meters, calendars, and the rules of each tier and level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) largest_factor: u32,
    pub(crate) meters: Vec<Name>,
    pub(crate) calendars: Vec<Windows>,
    pub(crate) tiers: Vec<TierShape>,
}

/// What the windows of a calendar are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    pub(crate) period: Period,
    pub(crate) week_start: Weekday,
    pub(crate) zone: String,
}

/// A tier's rules, by level in the order of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TierShape {
    pub(crate) name: Name,
    /// Whether the policy had it no more.
    pub(crate) retired: bool,
    pub(crate) levels: [Vec<Rule>; LEVELS.len()],
}

impl TierShape {
    pub(crate) fn rules(&self, level: Level) -> &[Rule] {
        LEVELS.iter().zip(&self.levels).find(|(known, _)| **known == level).map_or(&[], |(_, rules)| rules)
    }
}

impl Shape {
    pub(crate) fn of(plan: &Plan) -> Shape {
        let rules = |level: &LevelPlan| {
            level.rules.iter().map(|rule| Rule::plain(rule.name, rule.meter, rule.limit)).collect()
        };
        Shape {
            largest_factor: plan.largest_factor,
            meters: plan.meters.iter().map(|meter| meter.name).collect(),
            calendars: plan
                .calendars
                .iter()
                .map(|calendar| {
                    let (period, zone, week_start) = calendar.windows();
                    Windows { period, week_start, zone: zone.to_owned() }
                })
                .collect(),
            tiers: plan
                .tiers
                .iter()
                .map(|tier| TierShape {
                    name: tier.name,
                    retired: tier.retired,
                    levels: LEVELS.map(|level| rules(tier.level(level))),
                })
                .collect(),
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_short(out, u64::from(self.largest_factor));
        put_short(out, self.meters.len() as u64);
        self.meters.iter().for_each(|meter| put_text(out, meter.as_str()));
        put_short(out, self.calendars.len() as u64);
        for Windows { period, week_start, zone } in &self.calendars {
            out.push(place(&Period::ALL, period));
            out.push(place(&WEEKDAYS, week_start));
            put_text(out, zone);
        }
        put_short(out, self.tiers.len() as u64);
        for tier in &self.tiers {
            put_text(out, tier.name.as_str());
            out.push(u8::from(tier.retired));
            for rules in &tier.levels {
                put_short(out, rules.len() as u64);
                rules.iter().for_each(|rule| put_rule(out, rule));
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Shape, Malformed> {
        let largest_factor = from.below(MOST_FACTOR + 1, "a factor that is too large")?.max(1) as u32;
        let count = from.below(MAX_METERS + 1, "too many meters")?;
        let meters = (0..count).map(|_| name(from)).collect::<Result<Vec<Name>, _>>()?;
        let count = from.below(MOST_CALENDARS + 1, "too many calendars")?;
        let calendars = (0..count).map(|_| Windows::read(from)).collect::<Result<Vec<_>, _>>()?;
        let count = from.below(MAX_TIERS + 1, "too many tiers")?;
        let mut shape = Shape { largest_factor, meters, calendars, tiers: Vec::new() };
        for _ in 0..count {
            let tier =
                TierShape { name: name(from)?, retired: from.flag()?, levels: read_levels(from, &shape)? };
            if shape.tiers.iter().any(|other| other.name == tier.name) {
                return Err(from.bad("two tiers of one name"));
            }
            shape.tiers.push(tier);
        }
        Ok(shape)
    }
}

impl Windows {
    fn read(from: &mut Reader<'_>) -> Result<Windows, Malformed> {
        let period = *from_place(from, &Period::ALL)?;
        let week_start = *from_place(from, &WEEKDAYS)?;
        Ok(Windows { period, week_start, zone: from.text(MOST_ZONE)?.to_owned() })
    }
}

fn read_levels(from: &mut Reader<'_>, shape: &Shape) -> Result<[Vec<Rule>; LEVELS.len()], Malformed> {
    let mut levels: [Vec<Rule>; LEVELS.len()] = Default::default();
    for rules in &mut levels {
        let count = from.below(MAX_RULES + 1, "too many rules")?;
        for _ in 0..count {
            rules.push(read_rule(from, shape)?);
        }
    }
    Ok(levels)
}

const RATE: u8 = 1;
const QUOTA: u8 = 2;
const BUDGET: u8 = 3;
const IN_FLIGHT: u8 = 4;
const ZONED: u8 = 5;

fn put_rule(out: &mut Vec<u8>, rule: &Rule) {
    put_text(out, rule.name.as_str());
    out.push(rule.meter.index() as u8);
    match rule.limit {
        Limit::Rate(Rate { tokens, period, burst, max_debt, shift, .. }) => {
            out.push(RATE);
            for number in [tokens, period, burst, max_debt, u64::from(shift)] {
                put_short(out, number);
            }
        }
        Limit::Quota(Quota { limit, calendar, calendars, .. }) => {
            out.push(if calendars == 0 { QUOTA } else { ZONED });
            put_short(out, limit);
            out.push(calendar);
            if calendars > 0 {
                out.push(calendars);
            }
        }
        Limit::Budget { limit } => {
            out.push(BUDGET);
            put_short(out, limit);
        }
        Limit::InFlight { limit } => {
            out.push(IN_FLIGHT);
            put_short(out, limit);
        }
    }
}

fn read_rule(from: &mut Reader<'_>, shape: &Shape) -> Result<Rule, Malformed> {
    let rule = name(from)?;
    let meter = from.below(shape.meters.len(), "a meter that there is not")?;
    let meter = Meter::from_index(meter).ok_or_else(|| from.bad("a meter that there is not"))?;
    let limit = match from.u8()? {
        RATE => {
            let [tokens, period, burst, max_debt, shift] =
                [from.short()?, from.short()?, from.short()?, from.short()?, from.short()?];
            let rate = Rate::new(tokens, period, burst, max_debt, shape.largest_factor);
            let rate = rate.ok().filter(|rate| u64::from(rate.shift) == shift);
            Limit::Rate(rate.ok_or_else(|| from.bad("a rate that cannot be"))?)
        }
        kind @ (QUOTA | ZONED) => {
            let limit = from.short()?;
            let calendar = from.u8()?;
            let windows = shape.calendars.get(usize::from(calendar));
            let period = windows.ok_or_else(|| from.bad("a calendar that there is not"))?.period;
            let mut quota = Quota::new(limit, period, calendar);
            if kind == ZONED {
                let calendars = from.u8()?;
                if calendar >= calendars || usize::from(calendars) > shape.calendars.len() {
                    return Err(from.bad("more calendars than there are, or not its own"));
                }
                quota = quota.among(calendars);
            }
            if limit > quota.most() {
                return Err(from.bad("a quota that is too large"));
            }
            Limit::Quota(quota)
        }
        BUDGET => Limit::Budget { limit: from.short()? },
        IN_FLIGHT => Limit::InFlight { limit: from.short()? },
        _ => return Err(from.bad("a kind of rule that is not known")),
    };
    Ok(Rule::plain(rule, meter, limit))
}

/// A name as a policy may have it.
pub(super) fn name<const N: usize>(from: &mut Reader<'_>) -> Result<Name<N>, Malformed> {
    let text = from.text(N)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let name = Name::new(text).filter(|_| !text.is_empty() && text.chars().all(fits));
    name.ok_or_else(|| from.bad("a name that cannot be"))
}

fn place<T: PartialEq>(all: &[T], one: &T) -> u8 {
    // Both lists have all that there are.
    all.iter().position(|known| known == one).unwrap_or(0) as u8
}

fn from_place<'a, T>(from: &mut Reader<'_>, all: &'a [T]) -> Result<&'a T, Malformed> {
    let place = from.u8()?;
    all.get(usize::from(place)).ok_or_else(|| from.bad("a period or weekday that there is not"))
}
