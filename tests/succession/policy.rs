//! A policy of up to three tiers, as bytes spell it, and the text by which the limiter learns the same.

use std::fmt::Write as _;

use super::Reader;

pub const TIERS: [&str; 3] = ["one", "two", "three"];
/// As denials and explanations name them.
pub const LEVELS: [&str; 3] = ["account", "organization", "tier"];
pub const METERS: usize = 2;
pub const METER_NAMES: [&str; METERS] = ["requests", "tokens"];
/// What may be there of each meter, at each level.
const NAMES: [&str; 6] = ["rate", "quick", "minute", "day", "budget", "in_flight"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `tokens` every `period` nanoseconds.
    Rate {
        tokens: u64,
        period: u64,
        burst: u64,
    },
    /// In a window of so many seconds.
    Quota {
        limit: u64,
        seconds: u64,
    },
    Budget {
        limit: u64,
    },
    InFlight {
        limit: u64,
    },
}

impl Limit {
    pub fn most(&self) -> u64 {
        match self {
            Limit::Rate { burst: most, .. }
            | Limit::Quota { limit: most, .. }
            | Limit::Budget { limit: most }
            | Limit::InFlight { limit: most } => *most,
        }
    }

    /// With another number in its place.
    pub fn with(self, most: u64) -> Limit {
        match self {
            Limit::Rate { tokens, period, .. } => Limit::Rate { tokens, period, burst: most },
            Limit::Quota { seconds, .. } => Limit::Quota { limit: most, seconds },
            Limit::Budget { .. } => Limit::Budget { limit: most },
            Limit::InFlight { .. } => Limit::InFlight { limit: most },
        }
    }
}

/// One rule. Rules of one name are of one kind, in every policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub meter: usize,
    pub name: &'static str,
    pub limit: Limit,
    pub shadow: bool,
}

/// The rules of a tier, by level.
pub type TierRules = [Vec<Rule>; LEVELS.len()];

#[derive(Clone, Debug)]
pub struct Policy {
    pub fresh: bool,
    /// The first is always there.
    pub tiers: [Option<TierRules>; TIERS.len()],
}

impl Policy {
    /// One like `base`, with some rules and numbers different; or any, if there is none.
    pub fn decode(reader: &mut Reader<'_>, base: Option<&Policy>) -> Policy {
        let head = reader.byte();
        let mut tiers = [None, None, None];
        for (index, tier) in tiers.iter_mut().enumerate() {
            let known = base.and_then(|base| base.tiers[index].as_ref());
            let mut levels: TierRules = Default::default();
            for (level, rules) in levels.iter_mut().enumerate() {
                for meter in 0..METERS {
                    let known = known.map(|known| known[level].iter().filter(|rule| rule.meter == meter));
                    let known: Option<Vec<&Rule>> = known.map(Iterator::collect);
                    *rules = [&rules[..], &decode_rules(reader, level, meter, known)].concat();
                }
            }
            // A tier in eight is not there.
            let is_there = index == 0 || head >> (3 * index - 2) & 7 != 7;
            *tier = is_there.then_some(levels);
        }
        Policy { fresh: head & 1 == 1, tiers }
    }

    pub fn text(&self) -> String {
        let mut text = "version = 1\nmeters = [\"requests\", \"tokens\"]\n\
             capacity = { accounts = 100, organizations = 100, spare_rules = 16, spare_tiers = 2 }\n"
            .to_owned();
        let _ = writeln!(text, "fresh = {}", self.fresh);
        for (name, tier) in TIERS.iter().zip(&self.tiers) {
            let Some(levels) = tier else { continue };
            let _ = writeln!(text, "[tiers.{name}]");
            for (level, rules) in ["account", "organization", "total"].iter().zip(levels) {
                if rules.is_empty() && *level == "total" {
                    let _ = writeln!(text, "total = \"unlimited\"");
                }
                for (index, meter) in METER_NAMES.iter().enumerate() {
                    let rules = rules.iter().filter(|rule| rule.meter == index);
                    let rules: Vec<String> = rules.map(Rule::text).collect();
                    if !rules.is_empty() {
                        let _ = writeln!(text, "{level}.{meter} = [{}]", rules.join(", "));
                    }
                }
            }
        }
        text
    }
}

fn decode_rules(reader: &mut Reader<'_>, level: usize, meter: usize, known: Option<Vec<&Rule>>) -> Vec<Rule> {
    let byte = reader.byte();
    let mut mask = match &known {
        Some(known) => {
            let is_known = |name: &str| known.iter().any(|rule| rule.name == name);
            let bits = NAMES.iter().enumerate();
            bits.map(|(index, name)| u8::from(is_known(name)) << index).sum()
        }
        None => byte,
    };
    if known.is_some() {
        match byte {
            0..=191 => {}
            // One goes, or comes.
            192..=249 => mask ^= 1 << (byte % 6),
            // Two do.
            _ => mask ^= 9 << (byte % 3),
        }
    }
    let named = NAMES.iter().enumerate().filter(|(index, _)| mask >> index & 1 == 1);
    named
        .map(|(_, name)| {
            let byte = reader.byte();
            let known = known.iter().flatten().find(|rule| rule.name == *name);
            match known {
                Some(rule) if byte < 100 => **rule,
                _ => Rule { meter, name, limit: limit(name, level, reader.byte()), shadow: byte & 7 == 7 },
            }
        })
        .collect()
}

/// Such that a rule can bind: those of larger subjects are larger, and so are those of longer windows.
fn limit(name: &str, level: usize, byte: u8) -> Limit {
    let (scale, byte) = (1 << level, u64::from(byte));
    let between = |least: u64| (least + least * byte / 256) * scale;
    match name {
        "rate" => {
            let period = [7_000, 100_000, 900_000, 10_000_000][byte as usize % 4];
            Limit::Rate { tokens: 1 + byte % 16, period, burst: between(20) }
        }
        "quick" => Limit::Rate { tokens: 64 + byte, period: 7_001, burst: between(10) },
        "minute" => Limit::Quota { limit: between(40), seconds: 60 },
        "day" => Limit::Quota { limit: between(80), seconds: 86_400 },
        "budget" => Limit::Budget { limit: between(160) },
        _ => Limit::InFlight { limit: between(12) },
    }
}

impl Rule {
    fn text(&self) -> String {
        let limit = match self.limit {
            Limit::Rate { tokens, period, burst } => {
                format!("rate = \"{tokens} per {period}ns\", burst = {burst}")
            }
            Limit::Quota { limit, seconds: 60 } => format!("quota = \"{limit}/minute\""),
            Limit::Quota { limit, .. } => format!("quota = \"{limit}/day\""),
            Limit::Budget { limit } => format!("budget = {limit}"),
            Limit::InFlight { limit } => format!("in_flight = {limit}"),
        };
        format!("{{ {limit}, name = {:?}, shadow = {} }}", self.name, self.shadow)
    }
}
