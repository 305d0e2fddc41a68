//! The `RateLimit` and `RateLimit-Policy` fields of draft-ietf-httpapi-ratelimit-headers-11.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_LENGTH};
use sfv::{Integer, KeyRef, ListSerializer, StringRef};

use super::{answer::seconds, layer::Settings};
use crate::{id::Identity, limiter::OwnRule};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The largest integer of a structured field.
const LARGEST: u64 = 999_999_999_999_999;
/// The meter that the fields' own default unit counts.
const REQUESTS: &str = "requests";

/// What a policy is called in the fields and in problem details: `account/requests/day`.
pub(super) fn name(rule: &OwnRule) -> String {
    format!("{}/{}/{}", rule.level, rule.meter, rule.rule)
}

/// Puts both fields: the rule's whole, and what is left of it until `reset` seconds.
///
/// A rate is told as its burst, in the time in which that refills; a quota by its nominal window.
pub(super) fn put(headers: &mut HeaderMap, rule: &OwnRule, reset: Option<u64>) {
    let name = name(rule);
    let unit = match rule.meter.as_str() {
        REQUESTS if rule.in_flight => Some("concurrent-requests"),
        // The default.
        REQUESTS => None,
        meter => Some(meter),
    };
    let policy = [("q", Some(rule.limit)), ("w", rule.window.map(seconds))];
    let state = [("r", Some(rule.left)), ("t", reset)];
    for (field, value) in
        [(RATE_LIMIT_POLICY, item(&name, policy, unit)), (RATE_LIMIT, item(&name, state, None))]
    {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(field, value);
        }
    }
}

/// A list of one string with parameters; `None` where a name cannot be in one, which names of a policy can.
fn item(name: &str, numbers: [(&str, Option<u64>); 2], unit: Option<&str>) -> Option<String> {
    let mut list = ListSerializer::new();
    let mut item = list.bare_item(StringRef::from_str(name).ok()?);
    for (key, number) in numbers {
        if let Some(number) = number {
            item = item.parameter(KeyRef::from_str(key).ok()?, Integer::try_from(number.min(LARGEST)).ok()?);
        }
    }
    if let Some(unit) = unit {
        item = item.parameter(KeyRef::from_str("qu").ok()?, StringRef::from_str(unit).ok()?);
    }
    let _ = item.finish();
    list.finish()
}

/// Puts both fields for the caller's own rule that has the least part left, if the layer is to. What is in flight is no
/// such rule: the request itself is.
pub(super) fn on_success(settings: &Settings, identity: &Identity, headers: &mut HeaderMap) {
    if !settings.fields_on_success {
        return;
    }
    let mut binding: Option<OwnRule> = None;
    settings.limiter.own_rules(identity, |rule| {
        let part = |rule: &OwnRule, of: &OwnRule| u128::from(rule.left) * u128::from(of.limit);
        if !rule.in_flight && binding.is_none_or(|least| part(&rule, &least) < part(&least, &rule)) {
            binding = Some(rule);
        }
    });
    if let Some(rule) = binding {
        put(headers, &rule, rule.whole_in.map(seconds));
    }
}

/// How many bytes the response says that its body has.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
