//! What an operator writes, as plain data: it has the right form, and nothing more is promised.
//!
//! The types know of no format. Whether what they say makes sense is checked once, by
//! [`Plan::new`](crate::Plan::new). A key that is missing reads as a default which that check refuses, so
//! that all of a policy's problems can be told at once.

mod guard;

pub use guard::{PolicyEvidence, PolicyFloor, PolicyRamp, PolicyReserve, PolicySignal};

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::quantity::{Amount, ByteSize, Share, Span, TokenRate, WindowLimit};
use crate::{calendar::Weekday, meter::Cost};

/// The version of the policy format that this crate reads.
pub(crate) const VERSION: u64 = 1;

/// A rate-limiting policy as written: meters, and the limits of each tier.
///
/// Read it with any serde format, or with [`Plan::from_toml`](crate::Plan::from_toml), whose errors have line
/// numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The version of the format: 1. It must be said.
    #[serde(default)]
    pub version: u64,
    /// The IANA time zone whose calendar the quotas follow, where a tier has none of its own. Default `UTC`.
    #[serde(default = "utc")]
    pub zone: String,
    /// IANA time zones that organizations may be in (`Organization::in_zone`): the quotas of such a one and of its accounts
    /// follow its own, and not the tier's. None by default. The more there are, the less is left of a word for the use: by
    /// fifteen zones and two lengths of windows, a quota of an account or an organization stays below 2^42 a day or a month.
    /// Each takes up to 64 KiB for each of these lengths, which `memory` does not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// The day that the weeks of quotas start on. Default `monday`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub week_start: Weekday,
    /// What happens to the cost of a permit that is dropped without being settled. Default `refund`. What it holds in
    /// flight is let go either way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_drop: OnDrop,
    /// Whether rules, meters and tiers that have come while others are gone start anew when this policy takes the place of
    /// another (`Limiter::reload`); else that is refused, as it may be a change of names. Default `false`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fresh: bool,
    /// By how much, at random, answers to denied requests put off when to come back, so that those who were denied together
    /// do not come back together; at most `1h`. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_jitter: Option<Span>,
    /// How many processes share the limits; each enforces one share, rounded down. Default 1.
    #[serde(default = "one")]
    pub replicas: u64,
    /// The tier of callers without a credential; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<String>,
    /// What the tables may take. Default `4GiB`.
    #[serde(default = "four_gibibytes")]
    pub memory: ByteSize,
    /// The most that tightening may multiply a cost by, from 1 to 64. Default 16.
    #[serde(default = "sixteen")]
    pub largest_factor: u64,
    /// What is counted: 1 to 8 meters.
    #[serde(default)]
    pub meters: Vec<PolicyMeter>,
    /// How many subjects the tables hold.
    #[serde(default)]
    pub capacity: PolicyCapacity,
    /// What is observed of requests, and how it weighs; nothing is, by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<PolicyEvidence>,
    /// The tiers by name: 1 to 64.
    #[serde(default)]
    pub tiers: BTreeMap<String, PolicyTier>,
}

/// What happens to the cost of a permit that is dropped without being settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDrop {
    /// All of it is given back, as far as that mints nothing: nothing is taken to have been used.
    #[default]
    Refund,
    /// All of it stays charged: what was reserved is taken to have been used.
    Charge,
}

impl OnDrop {
    /// What of `reserved` is taken to have been used.
    pub(crate) fn used(self, reserved: &Cost) -> Cost {
        match self {
            OnDrop::Refund => Cost::FREE,
            OnDrop::Charge => *reserved,
        }
    }
}

/// What becomes of a tier's requests where nobody calls [`Limiter::maintain`](crate::Limiter::maintain).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStall {
    /// They are decided by the limits, which hold as ever.
    #[default]
    Admit,
    /// They are denied, by a rule `stalled` of the tier's.
    Deny,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn utc() -> String {
    "UTC".to_owned()
}

fn one() -> u64 {
    1
}

fn sixteen() -> u64 {
    16
}

fn four_gibibytes() -> ByteSize {
    ByteSize(4 << 30)
}

/// Something counted. A plain name, or `{ name = "output_tokens", least = 16 }`.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyMeter {
    /// At most 23 bytes: letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// The least that a request which spends any of it spends; no limit may be smaller. Default 1.
    pub least: Amount,
}

/// How many subjects each table holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyCapacity {
    /// Accounts at once. Default 100,000.
    pub accounts: Amount,
    /// Organizations at once. Default 10,000.
    pub organizations: Amount,
    /// Idle accounts of which only a quota or budget is remembered. Default four times `accounts` where an
    /// account has a quota or a budget, else 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked_accounts: Option<Amount>,
    /// The same for organizations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked_organizations: Option<Amount>,
    /// How many more rules than this policy's a level of a later one may have without a restart (`Limiter::reload`); what is
    /// left of a line's last cache line is free in any case. Default 0.
    pub spare_rules: Amount,
    /// How many tiers later policies may add. Default 4.
    pub spare_tiers: Amount,
}

impl Default for PolicyCapacity {
    fn default() -> PolicyCapacity {
        PolicyCapacity {
            accounts: Amount(100_000),
            organizations: Amount(10_000),
            parked_accounts: None,
            parked_organizations: None,
            spare_rules: Amount(0),
            spare_tiers: Amount(4),
        }
    }
}

/// The limits of one class of verified identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyTier {
    /// The IANA time zone whose calendar the quotas of its accounts and organizations follow, where an organization is in none
    /// of its own, and those of its pool and cohorts. Default the policy's, which the quotas of the total always follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What each account may spend.
    #[serde(skip_serializing_if = "PolicyLevel::is_empty")]
    pub account: PolicyLevel,
    /// What the accounts of one organization may spend together.
    #[serde(skip_serializing_if = "PolicyLevel::is_empty")]
    pub organization: PolicyLevel,
    /// What everyone in the tier may spend together. It must be said, if only as `"unlimited"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<PolicyTotal>,
    /// What all new accounts of the tier may spend together; new is who is younger than the ramp's age.
    #[serde(skip_serializing_if = "PolicyLevel::is_empty")]
    pub pool: PolicyLevel,
    /// How the limits of a new account grow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ramp: Option<PolicyRamp>,
    /// The last part of total and pool, kept for those who have taken little.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub light_reserve: Option<PolicyReserve>,
    /// What accounts that are tied by evidence may spend together.
    #[serde(skip_serializing_if = "PolicyLevel::is_empty")]
    pub cohort: PolicyLevel,
    /// What a member of a cohort keeps, whatever the others take.
    #[serde(skip_serializing_if = "PolicyFloor::is_empty")]
    pub floor: PolicyFloor,
    /// How much evidence counts here, from 0 to 4. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Share>,
    /// What becomes of its requests where `Limiter::maintain` has not been called for five minutes, so that nothing sees who
    /// harvests. Default `admit`.
    #[serde(skip_serializing_if = "is_default")]
    pub on_stall: OnStall,
    /// The tier that would lift a denial, for a server to ask for verification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_up: Option<String>,
}

/// The rules of one level, by meter.
pub type PolicyLevel = BTreeMap<String, PolicyRules>;

/// What a tier may spend in all.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyTotal {
    /// No limit on the tier as a whole: `"unlimited"`.
    Unlimited,
    /// Rules like those of the other levels.
    Rules(PolicyLevel),
}

/// The rules of one meter at one level: one rule, or a list of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyRules(pub Vec<PolicyRule>);

/// One limit: a rate (as a table, or as a plain string such as `"20k/min"`), a quota, a budget, or a number in
/// flight. Exactly one of the four is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyRule {
    /// What denials call it: at most 15 bytes. Default `rate`; the window of a quota, such as `day`; `budget`;
    /// `in_flight`.
    pub name: Option<String>,
    /// A token bucket's rate.
    pub rate: Option<TokenRate>,
    /// The most at once; of a rate only. Default: one period's tokens.
    pub burst: Option<Amount>,
    /// How far a settled overage may take the bucket below empty; of a rate only. Default: the burst.
    pub max_debt: Option<Amount>,
    /// So much in each calendar window.
    pub quota: Option<WindowLimit>,
    /// So much ever; it never refills. 0 forbids the meter.
    pub budget: Option<Amount>,
    /// So much held by open permits at once.
    pub in_flight: Option<Amount>,
    /// Whether the rule only watches: it is charged always, refuses never, and what it would have refused is counted apart.
    pub shadow: bool,
    /// The part of the limit from which on receipts tell that it is nearly used up.
    pub soft: Option<Share>,
}

impl PolicyRule {
    /// A rate whose burst is one period's tokens.
    pub fn rate(rate: TokenRate) -> PolicyRule {
        PolicyRule { rate: Some(rate), ..PolicyRule::default() }
    }
}

/// The table form of a meter.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MeterTable {
    #[serde(default)]
    name: String,
    #[serde(default = "at_least_one")]
    least: Amount,
}

fn at_least_one() -> Amount {
    Amount(1)
}

/// The table form of a rule.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct RuleTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<TokenRate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_debt: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<WindowLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<Amount>,
    #[serde(skip_serializing_if = "is_default")]
    shadow: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    soft: Option<Share>,
}

impl From<RuleTable> for PolicyRule {
    fn from(table: RuleTable) -> PolicyRule {
        let RuleTable { name, rate, burst, max_debt, quota, budget, in_flight, shadow, soft } = table;
        PolicyRule { name, rate, burst, max_debt, quota, budget, in_flight, shadow, soft }
    }
}

impl From<PolicyRule> for RuleTable {
    fn from(rule: PolicyRule) -> RuleTable {
        let PolicyRule { name, rate, burst, max_debt, quota, budget, in_flight, shadow, soft } = rule;
        RuleTable { name, rate, burst, max_debt, quota, budget, in_flight, shadow, soft }
    }
}

impl Serialize for PolicyMeter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.least == at_least_one() {
            serializer.serialize_str(&self.name)
        } else {
            MeterTable { name: self.name.clone(), least: self.least }.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for PolicyMeter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PolicyMeter, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = PolicyMeter;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a meter's name, or a table such as { name = \"output_tokens\", least = 16 }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<PolicyMeter, E> {
                Ok(PolicyMeter { name: name.to_owned(), least: at_least_one() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<PolicyMeter, A::Error> {
                let MeterTable { name, least } =
                    Deserialize::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(PolicyMeter { name, least })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for PolicyTotal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            PolicyTotal::Unlimited => serializer.serialize_str("unlimited"),
            PolicyTotal::Rules(rules) => rules.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for PolicyTotal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PolicyTotal, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = PolicyTotal;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a table of rules by meter, or \"unlimited\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PolicyTotal, E> {
                match text {
                    "unlimited" => Ok(PolicyTotal::Unlimited),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<PolicyTotal, A::Error> {
                Deserialize::deserialize(de::value::MapAccessDeserializer::new(map)).map(PolicyTotal::Rules)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for PolicyRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.rate {
            Some(rate) if *self == PolicyRule::rate(rate) => rate.serialize(serializer),
            _ => RuleTable::from(self.clone()).serialize(serializer),
        }
    }
}

const RULE_FORMS: &str = "a rate such as \"600/min\", or a table such as { quota = \"200/day\" }";

impl<'de> Deserialize<'de> for PolicyRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PolicyRule, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = PolicyRule;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(RULE_FORMS)
            }

            fn visit_str<E: de::Error>(self, rate: &str) -> Result<PolicyRule, E> {
                rate.parse().map(PolicyRule::rate).map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<PolicyRule, A::Error> {
                RuleTable::deserialize(de::value::MapAccessDeserializer::new(map)).map(PolicyRule::from)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for PolicyRules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [rule] => rule.serialize(serializer),
            rules => rules.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for PolicyRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PolicyRules, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = PolicyRules;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{RULE_FORMS}, or a list of these")
            }

            fn visit_str<E: de::Error>(self, rate: &str) -> Result<PolicyRules, E> {
                PolicyRule::deserialize(de::value::StrDeserializer::new(rate))
                    .map(|rule| PolicyRules(vec![rule]))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<PolicyRules, A::Error> {
                PolicyRule::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(|rule| PolicyRules(vec![rule]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<PolicyRules, A::Error> {
                // No capacity from the size hint, which a format may take from the text.
                let mut rules = Vec::new();
                while let Some(rule) = list.next_element()? {
                    rules.push(rule);
                }
                Ok(PolicyRules(rules))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
