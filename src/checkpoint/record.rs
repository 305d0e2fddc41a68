//! What is kept of one line, of all overrides, or of one who was forgotten.

use super::{
    bytes::{Malformed, Reader, put_short, put_text},
    shape::name,
};
use crate::{
    decision::{Level, Name, RuleName},
    id::KeptId,
    policy::{
        exception::MOST,
        plan::{LEVELS, MAX_RULES, MAX_TIERS},
    },
};

/// Longest name of an organization that is kept.
pub(crate) const MOST_NAME: usize = 256;
/// Longest reason of an override that is kept.
const MOST_REASON: usize = 65_535;
/// Most limits of an override that are kept.
const MOST_LIMITS: usize = 65_535;
/// Kinds of key: see [`KeptId`].
const KINDS: usize = 5;

/// One record of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Line(Line),
    Shared(Shared),
    /// All overrides that there are, in place of those told before.
    Overrides(Vec<Override>),
    /// Nothing is to be known of this subject.
    Gone(Level, KeptId),
}

/// An account's or an organization's buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) id: KeptId,
    /// Of an organization, where it has been told.
    pub(crate) name: Option<String>,
    /// Its place in the shape.
    pub(crate) tier: u8,
    pub(crate) standing: Option<Standing>,
    /// Whether an override is about it.
    pub(crate) marked: bool,
    pub(crate) amounts: Amounts,
}

/// What evidence had done to a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) sixteenths: u16,
    /// 0 for none.
    pub(crate) cohort: u16,
    /// Unix nanoseconds.
    pub(crate) until: i64,
}

/// The buckets of a line that belongs to a tier: its total, its pool, what stands in for accounts and organizations
/// without a line, and what a cohort has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    pub(crate) level: Level,
    pub(crate) tier: u8,
    /// 0 but for the line of a cohort.
    pub(crate) cohort: u16,
    pub(crate) amounts: Amounts,
}

/// By rule, in words that mean the same in another process: of a rate the ticks owed at the block's time, of a quota the
/// window's number and its use, of a budget what was spent; 0 of what is in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts(pub(crate) [u64; MAX_RULES]);

impl Amounts {
    pub(crate) fn is_nothing(&self) -> bool {
        self.0.iter().all(|amount| *amount == 0)
    }

    fn put(&self, out: &mut Vec<u8>) {
        let (set, _) = self.0.iter().fold((0, 1), |(set, bit), amount| {
            let set: u64 = if *amount == 0 { set } else { set | bit };
            (set, bit << 1)
        });
        put_short(out, set);
        for amount in self.0.iter().filter(|amount| **amount != 0) {
            out.extend_from_slice(&amount.to_le_bytes());
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Amounts, Malformed> {
        let set = from.below(1 << MAX_RULES, "amounts of rules that there are not")?;
        let mut amounts = Amounts::default();
        for (rule, amount) in amounts.0.iter_mut().enumerate() {
            if set >> rule & 1 == 1 {
                *amount = from.u64()?;
                if *amount == 0 {
                    return Err(from.bad("an amount of 0 that is told"));
                }
            }
        }
        Ok(amounts)
    }
}

/// An operator's override.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Override {
    pub(crate) whom: Whom,
    pub(crate) sixteenths: Option<u16>,
    pub(crate) exempt: bool,
    /// Unix nanoseconds.
    pub(crate) until: i64,
    pub(crate) reason: String,
    pub(crate) limits: Vec<(Name, RuleName, u64)>,
}

/// Whom an override is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Account(KeptId),
    Organization(KeptId),
    Tier(Name),
}

const LINE: u8 = 1;
const SHARED: u8 = 2;
const OVERRIDES: u8 = 3;
const GONE: u8 = 4;

/// Parts of a line's record.
const NAME: u8 = 1;
const STANDING: u8 = 2;
const MARKED: u8 = 4;

impl Record {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Record::Line(line) => line.put(out),
            Record::Shared(Shared { level, tier, cohort, amounts }) => {
                out.extend_from_slice(&[SHARED, *level as u8, *tier]);
                put_short(out, u64::from(*cohort));
                amounts.put(out);
            }
            Record::Overrides(overrides) => {
                out.push(OVERRIDES);
                put_short(out, overrides.len() as u64);
                overrides.iter().for_each(|one| one.put(out));
            }
            Record::Gone(level, id) => {
                out.extend_from_slice(&[GONE, *level as u8]);
                put_id(out, *id);
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Record, Malformed> {
        Ok(match from.u8()? {
            LINE => Record::Line(Line::read(from)?),
            SHARED => {
                let level = read_level(from)?;
                let tier = read_tier(from)?;
                let cohort = from.below(1 << 16, "a cohort that cannot be")? as u16;
                if (level == Level::Cohort) != (cohort != 0) {
                    return Err(from.bad("a cohort where there is none, or none where there is one"));
                }
                Record::Shared(Shared { level, tier, cohort, amounts: Amounts::read(from)? })
            }
            OVERRIDES => {
                let count = from.below(MOST + 1, "too many overrides")?;
                Record::Overrides((0..count).map(|_| Override::read(from)).collect::<Result<_, _>>()?)
            }
            GONE => Record::Gone(read_subject_level(from)?, read_id(from)?),
            _ => return Err(from.bad("a record that is not known")),
        })
    }
}

impl Line {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[LINE, self.level as u8]);
        put_id(out, self.id);
        let flag = |part: bool, bit: u8| if part { bit } else { 0 };
        let parts = flag(self.name.is_some(), NAME) | flag(self.standing.is_some(), STANDING);
        out.extend_from_slice(&[self.tier, parts | flag(self.marked, MARKED)]);
        if let Some(name) = &self.name {
            put_text(out, name);
        }
        if let Some(Standing { sixteenths, cohort, until }) = self.standing {
            put_short(out, u64::from(sixteenths));
            put_short(out, u64::from(cohort));
            out.extend_from_slice(&until.to_le_bytes());
        }
        self.amounts.put(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Line, Malformed> {
        let level = read_subject_level(from)?;
        let id = read_id(from)?;
        let tier = read_tier(from)?;
        let parts = from.u8()?;
        if parts > NAME | STANDING | MARKED {
            return Err(from.bad("parts that are not known"));
        }
        let name = if parts & NAME != 0 { Some(from.text(MOST_NAME)?.to_owned()) } else { None };
        let standing = if parts & STANDING != 0 {
            Some(Standing {
                sixteenths: read_factor(from)?,
                cohort: from.below(1 << 16, "a cohort that cannot be")? as u16,
                until: from.i64()?,
            })
        } else {
            None
        };
        let marked = parts & MARKED != 0;
        Ok(Line { level, id, name, tier, standing, marked, amounts: Amounts::read(from)? })
    }
}

impl Override {
    fn put(&self, out: &mut Vec<u8>) {
        match self.whom {
            Whom::Account(id) => {
                out.push(Level::Account as u8);
                put_id(out, id);
            }
            Whom::Organization(id) => {
                out.push(Level::Organization as u8);
                put_id(out, id);
            }
            Whom::Tier(tier) => {
                out.push(Level::Tier as u8);
                put_text(out, tier.as_str());
            }
        }
        // 0 sixteenths are no factor.
        put_short(out, self.sixteenths.map_or(0, u64::from));
        out.push(u8::from(self.exempt));
        out.extend_from_slice(&self.until.to_le_bytes());
        put_text(out, &self.reason);
        put_short(out, self.limits.len() as u64);
        for (meter, rule, limit) in &self.limits {
            put_text(out, meter.as_str());
            put_text(out, rule.as_str());
            put_short(out, *limit);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Override, Malformed> {
        let whom = match read_level(from)? {
            Level::Account => Whom::Account(read_id(from)?),
            Level::Organization => Whom::Organization(read_id(from)?),
            Level::Tier => Whom::Tier(name(from)?),
            Level::Cohort | Level::Pool => return Err(from.bad("an override of what has none")),
        };
        let sixteenths = from.below(1025, "a factor that cannot be")? as u16;
        let mut read = Override {
            whom,
            sixteenths: Some(sixteenths).filter(|sixteenths| *sixteenths != 0),
            exempt: from.flag()?,
            until: from.i64()?,
            reason: from.text(MOST_REASON)?.to_owned(),
            limits: Vec::new(),
        };
        let count = from.below(MOST_LIMITS + 1, "too many limits")?;
        for _ in 0..count {
            read.limits.push((name(from)?, name(from)?, from.short()?));
        }
        Ok(read)
    }

    /// The same, where what an operator wrote is too long to be kept, cut to what fits.
    pub(crate) fn cut(mut self) -> Override {
        let mut end = self.reason.len().min(MOST_REASON);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        self.reason.truncate(end);
        self.limits.truncate(MOST_LIMITS);
        self
    }
}

fn read_level(from: &mut Reader<'_>) -> Result<Level, Malformed> {
    let level = from.u8()?;
    let level = LEVELS.into_iter().find(|known| *known as u8 == level);
    level.ok_or_else(|| from.bad("a level that there is not"))
}

fn read_subject_level(from: &mut Reader<'_>) -> Result<Level, Malformed> {
    let level = read_level(from)?;
    let has_subjects = matches!(level, Level::Account | Level::Organization);
    if has_subjects { Ok(level) } else { Err(from.bad("a level that has no subjects")) }
}

fn read_tier(from: &mut Reader<'_>) -> Result<u8, Malformed> {
    let tier = from.u8()?;
    if usize::from(tier) < MAX_TIERS { Ok(tier) } else { Err(from.bad("a tier that there is not")) }
}

fn read_factor(from: &mut Reader<'_>) -> Result<u16, Malformed> {
    let sixteenths = from.below(1025, "a factor that cannot be")? as u16;
    if sixteenths > 0 { Ok(sixteenths) } else { Err(from.bad("a factor that cannot be")) }
}

fn put_id(out: &mut Vec<u8>, id: KeptId) {
    let ([low, high], kind) = id.words_and_kind();
    out.push(kind);
    if let KeptId::Integer(id) = id {
        put_short(out, id);
    } else {
        out.extend_from_slice(&low.to_le_bytes());
        out.extend_from_slice(&high.to_le_bytes());
    }
}

fn read_id(from: &mut Reader<'_>) -> Result<KeptId, Malformed> {
    let kind = from.below(KINDS, "a kind of id that there is not")? as u8;
    let (_, integer) = KeptId::Integer(0).words_and_kind();
    let words = if kind == integer { [from.short()?, 0] } else { [from.u64()?, from.u64()?] };
    KeptId::new(words, kind).ok_or_else(|| from.bad("a kind of id that there is not"))
}
