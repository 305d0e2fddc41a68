//! Evidence: who looks like one operator, from what accounts do rather than from what any one of them takes.
//!
//! The request path puts [`Observation`]s into [`Rings`]; [`Correlators`] take them out at `maintain`, in a bounded
//! number of steps and in memory fixed at the start, and answer with [`Change`]s. Nothing here is read on the path.
//!
//! # How it judges
//!
//! Nothing has a threshold of its own. Evidence is *surprise*, in eighths of a bit: an account in whose tier one in 2^b
//! settled accounts does likewise at the same number of requests has b bits ([`habit`]). What is common in a tier (behind
//! a carrier's addresses, with a framework's prompt) hence weighs nothing, whatever it is. Surprise is counted by
//! [`Kind`], and of one kind only the most surprising counts: its parts depend on each other.
//!
//! Accounts are tied by the values that they have in common ([`values`]). A value speaks against those who use it where
//! the *larger part* of the organizations that use it are surprising in a kind *other* than the value's own. So a campus
//! whose address, template and client thirty attackers forge is safe as long as it has more honest people than forgers.
//!
//! Of organizations and tiers only what is reported from outside is kept ([`parents`]); it makes a factor, and ties nobody.
//!
//! An account joins a cohort on two kinds at least, of which places (address and client) are one, and only where so many
//! of its tier show the same two kinds that chance doesn't explain it ([`cohort`]). While a total or
//! pool of the tier is short, and chance would bring next to nobody, less is enough: somebody takes what the honest leave.

mod cohort;
mod correlate;
mod factors;
mod habit;
mod judge;
mod parents;
mod past;
mod report;
mod ring;
mod signal;
mod subject;
mod values;
#[cfg(all(test, not(tollgate_loom)))]
mod tests;

pub(crate) use self::{correlate::Correlators, ring::Rings, signal::SignalPlan};
use crate::{adapt::Curve, policy::exception::Scope};

/// The most attributes that an observation has.
pub(crate) const ATTRIBUTES: usize = 8;
/// The most tiers that are told apart; those beyond share the last.
pub(crate) const TIERS: usize = 8;

/// An account's slot in the table of accounts, and which account had it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What a request showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) member: Member,
    /// A keyed hash; 0 for none, and the account then stands for itself.
    pub(crate) organization: u64,
    pub(crate) tier: u8,
    /// Keyed hashes; 0 for none.
    pub(crate) attributes: [u32; ATTRIBUTES],
    /// How old the account is, in seconds; `u32::MAX` where unknown.
    pub(crate) age_s: u32,
    /// What the request took, of whatever the server counts; up to 2^20 - 1 is told apart, 0 is unknown.
    pub(crate) amount: u32,
    /// Whether it was refused by what many share: a total or a pool.
    pub(crate) crowded: bool,
    /// Whether it tells no request but what an earlier one took in the end: member, organization, amount and time alone.
    pub(crate) settled: bool,
    /// Limiter time in nanoseconds; a millisecond is told apart.
    pub(crate) at: u64,
}

/// What an attribute says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Address,
    Payment,
    Client,
    Template,
    Model,
    Other,
}

impl Role {
    /// Of an attribute by the name that a policy gives it.
    pub(crate) fn of_name(name: &str) -> Role {
        match name {
            "address" => Role::Address,
            "payment" => Role::Payment,
            "client" => Role::Client,
            "template" => Role::Template,
            "model" => Role::Model,
            _ => Role::Other,
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Role::Address | Role::Client => Kind::Place,
            Role::Payment => Kind::Payment,
            Role::Template => Kind::Prompt,
            Role::Model => Kind::Model,
            Role::Other => Kind::Other,
        }
    }
}

/// Kinds of evidence that are independent of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Addresses and clients: how many, shared with whom.
    Place,
    Payment,
    Prompt,
    Model,
    /// Evenness, and days without a night.
    Rhythm,
    /// Against one's own past.
    Movement,
    /// In step with others.
    Lockstep,
    /// Attributes that have no role of their own.
    Other,
    /// Reported from outside.
    Signal,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 9;

impl Kind {
    pub(crate) const ALL: [Kind; KINDS] = [
        Kind::Place,
        Kind::Payment,
        Kind::Prompt,
        Kind::Model,
        Kind::Rhythm,
        Kind::Movement,
        Kind::Lockstep,
        Kind::Other,
        Kind::Signal,
    ];

    pub(crate) fn bit(self) -> u16 {
        1 << self as u16
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Place => "place",
            Kind::Payment => "payment",
            Kind::Prompt => "prompt",
            Kind::Model => "model",
            Kind::Rhythm => "rhythm",
            Kind::Movement => "movement",
            Kind::Lockstep => "lockstep",
            Kind::Other => "other",
            Kind::Signal => "signal",
        }
    }
}

/// What the correlators are made from.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Accounts that are followed at once; others push out who was idle longest. Rounded up to a power of two.
    pub(crate) subjects: usize,
    /// By position in [`Observation::attributes`].
    pub(crate) roles: Vec<Role>,
    /// In seconds.
    pub(crate) half_life_s: u32,
    /// The kinds that count, as a set of [`Kind::bit`].
    pub(crate) kinds: u16,
    /// By tier, in sixteenths: what evidence is multiplied by; 0 ignores it.
    pub(crate) sensitivity: Vec<u16>,
    /// By tier, in seconds: younger is new, by the policy.
    pub(crate) new_s: Vec<u32>,
    /// By tier: whether it has cohorts.
    pub(crate) cohorts: Vec<bool>,
    pub(crate) curve: Curve,
    /// By kind of signal.
    pub(crate) signals: Vec<SignalPlan>,
}

impl Settings {
    pub(crate) fn counts(&self, kind: Kind) -> bool {
        self.kinds & kind.bit() != 0
    }
}

/// What is to be written into accounts' lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// `until` is limiter time, in nanoseconds. Said again, with a later `until`, while the evidence lasts.
    Factor {
        account: Member,
        sixteenths: u16,
        until: u64,
    },
    /// Of an organization or a tier; said again while it lasts.
    Parent {
        whom: Scope,
        sixteenths: u16,
        until: u64,
    },
    /// `kinds` is a set of [`Kind::bit`]. Said again, with a later `until`, while the evidence lasts.
    Join {
        account: Member,
        cohort: u16,
        until: u64,
        kinds: u16,
    },
    Leave {
        account: Member,
        cohort: u16,
    },
    /// All of its members have left.
    Dissolved {
        cohort: u16,
    },
}

/// What is known about an account, for its operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opinion {
    /// By [`Kind`], in eighths of a bit, faded to now.
    pub(crate) points: [u16; KINDS],
    /// 0 for none.
    pub(crate) cohort: u16,
    /// Limiter time, in nanoseconds.
    pub(crate) until: u64,
    pub(crate) sixteenths: u16,
    pub(crate) pardoned: bool,
}
