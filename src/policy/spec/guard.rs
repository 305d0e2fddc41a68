//! What an operator writes against fleets: who is new, who goes first, what a cohort may take, and what is observed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::quantity::{Amount, Share, Span, WindowLimit};

/// How the limits of a new account of a tier grow.
///
/// At first it has `start` of each of its own rates' bursts and quotas; with age and with what it has spent, whichever has
/// come less far, it has the whole. A single cost beyond its part waits until nothing is used, and is admitted then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyRamp {
    /// As old as this, an account is no longer new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<Span>,
    /// What an account has spent, by meter, once it has its whole limits. Nothing by default: age alone counts.
    #[serde(rename = "use", skip_serializing_if = "BTreeMap::is_empty")]
    pub usage: BTreeMap<String, Amount>,
    /// The part of its limits that an account starts with. Default: all, so that only the pool is for new accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Share>,
}

/// The last part of what many share, which is kept for those who have taken little.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyReserve {
    /// The part of each rule of the tier's total and pool that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// For accounts that have used less than this part of their own day quota on the same meter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<Share>,
}

/// What a member of a cohort keeps, by meter, whatever the others take: so much of its own quota of that window.
pub type PolicyFloor = BTreeMap<String, WindowLimit>;

/// What is observed, and how evidence weighs. A policy without it observes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyEvidence {
    /// What a server may tell of a request besides who sent it: at most 8 names, such as `address` or `payment`.
    pub attributes: Vec<String>,
    /// The kinds of evidence that count: `place`, `payment`, `prompt`, `model`, `rhythm`, `movement`, `lockstep`, `other`,
    /// `signal`. Default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// The meter whose amounts are compared among accounts, such as `output_tokens`; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meter: Option<String>,
    /// After this long, evidence weighs half. Default `24h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_life: Option<Span>,
    /// Observes and judges, and changes nothing: what would have been is in the statistics and in explanations.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// Evidence from outside, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub signals: BTreeMap<String, PolicySignal>,
}

/// How one kind of evidence from outside weighs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySignal {
    /// What one signal says, in bits: of honest accounts, one in 2^weight gets one. From 1 to 24; default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Amount>,
    /// The most bits that signals of this kind add up to on one account. From 1 to 24; default 12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<Amount>,
    /// After this long, a signal weighs half. Default: as all evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_life: Option<Span>,
}
