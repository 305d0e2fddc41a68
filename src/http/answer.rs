//! Answers to requests that do not reach the service.

use std::{hash::BuildHasher, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    request::Parts,
};
use serde_json::{Map, Value, json};

use super::{error::Rejection, extract::Wanted, fields, grpc, layer::Settings};
use crate::{
    decision::{Denial, Level, Retry},
    limiter::OwnRule,
};

/// Where the draft registers its problem types.
const TYPES: &str = "https://iana.org/assignments/http-problem-types#";

/// How a client wants to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Grpc,
}

impl Protocol {
    pub(super) fn of(request: &Parts) -> Protocol {
        let content_type = request.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        match content_type {
            Some(kind) if kind.starts_with(b"application/grpc") => Protocol::Grpc,
            _ => Protocol::Http,
        }
    }
}

/// Why a request is refused, as far as its caller may know: nothing of what others did, or of what is known about whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By a limit of its own.
    Quota,
    /// By what it shares with others.
    Capacity,
    /// By what evidence has made of its limits.
    Abnormal,
}

impl Kind {
    fn of(denial: &Denial) -> Kind {
        match denial.level() {
            _ if denial.tightened() => Kind::Abnormal,
            Level::Cohort => Kind::Abnormal,
            _ if denial.overflow() => Kind::Capacity,
            Level::Account | Level::Organization => Kind::Quota,
            Level::Pool | Level::Tier => Kind::Capacity,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Quota => "quota-exceeded",
            Kind::Capacity => "temporary-reduced-capacity",
            Kind::Abnormal => "abnormal-usage-detected",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Kind::Quota => "Request cannot be satisfied as assigned quota has been exceeded",
            Kind::Capacity => "Request cannot be satisfied due to temporary server capacity constraints",
            Kind::Abnormal => "Request cannot be satisfied due to detection of abnormal request pattern",
        }
    }
}

/// What a denial tells its caller.
pub(super) struct Told {
    pub(super) kind: Kind,
    /// The caller's own rule that refused, if it was one.
    pub(super) rule: Option<OwnRule>,
    /// When to come back, with jitter; `None` for never.
    pub(super) wait: Option<Duration>,
    /// The same in whole seconds, rounded up, without and with jitter.
    pub(super) seconds: Option<(u64, u64)>,
    /// The tier that would lift it, and where to become of it.
    pub(super) step_up: Option<(String, Option<String>)>,
}

impl Told {
    fn of(settings: &Settings, denial: &Denial, wanted: &Wanted) -> Told {
        let own = matches!(denial.level(), Level::Account | Level::Organization) && !denial.overflow();
        let mut rule = None;
        if own {
            settings.limiter.own_rules(&wanted.identity, |candidate| {
                let names = (candidate.level, candidate.meter, candidate.rule);
                if names == (denial.level(), denial.meter(), denial.rule()) {
                    rule = Some(candidate);
                }
            });
        }
        let most = settings.limiter.retry_jitter();
        let seed = (wanted.identity.account.words, denial.at());
        let jitter = settings.random.hash_one(seed) % most.saturating_add(1);
        let wait = match denial.retry() {
            Retry::After(wait) => Some(wait),
            // No clock tells; the least that the field can say.
            Retry::OnRelease => Some(Duration::from_secs(1)),
            Retry::Never => None,
        };
        let late = wait.map(|wait| wait.saturating_add(Duration::from_nanos(jitter)));
        let step_up = denial.step_up().map(|tier| {
            let url = settings.step_up.as_ref().map(|url| url.replace("{tier}", tier.as_str()));
            (tier.to_string(), url)
        });
        let seconds = wait.zip(late).map(|(wait, late)| (whole(wait), whole(late)));
        Told { kind: Kind::of(denial), rule, wait: late, seconds, step_up }
    }

    /// In a sentence, without a name but those of the policy.
    pub(super) fn detail(&self) -> String {
        let what = match (self.kind, &self.rule) {
            (Kind::Abnormal, _) => "Unusual use was detected, and limits are lower for a while.".to_owned(),
            (Kind::Quota, Some(rule)) => {
                let OwnRule { level, meter, rule, left, .. } = rule;
                format!("This {level}'s limit on {meter} ({rule}) has {left} left, which is not enough.")
            }
            (Kind::Quota, None) => "A limit has too little left.".to_owned(),
            (Kind::Capacity, _) => "There is no capacity for this at present.".to_owned(),
        };
        match self.seconds {
            Some((_, 1)) => format!("{what} Retry after 1 second."),
            Some((_, seconds)) => format!("{what} Retry after {seconds} seconds."),
            None => format!("{what} The same request will never be admitted."),
        }
    }
}

pub(super) fn denied(
    settings: &Settings,
    denial: &Denial,
    wanted: &Wanted,
    protocol: Protocol,
) -> Response<Bytes> {
    let told = Told::of(settings, denial, wanted);
    let mut response = match protocol {
        Protocol::Http => problem(StatusCode::TOO_MANY_REQUESTS, details(&told)),
        Protocol::Grpc => grpc::denied(&told),
    };
    let headers = response.headers_mut();
    if let Some((_, seconds)) = told.seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(rule) = &told.rule {
        fields::put(headers, rule, told.seconds.map(|(seconds, _)| seconds));
    }
    response.extensions_mut().insert(*denial);
    response
}

pub(super) fn rejected(rejection: &Rejection, protocol: Protocol) -> Response<Bytes> {
    let Rejection { status, detail } = rejection;
    let mut response = match protocol {
        Protocol::Http => {
            let title = status.canonical_reason().unwrap_or_default();
            let details =
                [("title", json!(title)), ("status", json!(status.as_u16())), ("detail", json!(detail))];
            problem(*status, details.map(|(key, value)| (key.to_owned(), value)).into_iter().collect())
        }
        Protocol::Grpc => grpc::rejected(*status, detail),
    };
    if *status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Problem details as RFC 9457 has them.
fn details(told: &Told) -> Map<String, Value> {
    let mut details = Map::new();
    let mut put = |key: &str, value: Value| details.insert(key.to_owned(), value);
    put("type", json!(format!("{TYPES}{}", told.kind.name())));
    put("title", json!(told.kind.title()));
    put("status", json!(StatusCode::TOO_MANY_REQUESTS.as_u16()));
    put("detail", json!(told.detail()));
    if let Some(rule) = &told.rule {
        put("violated-policies", json!([fields::name(rule)]));
    }
    if let Some((_, seconds)) = told.seconds {
        put("retry_after", json!(seconds));
    }
    if let Some((tier, url)) = &told.step_up {
        put("step_up", json!({ "tier": tier, "url": url }));
    }
    details
}

fn problem(status: StatusCode, details: Map<String, Value>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(Value::Object(details).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// Whole seconds, rounded up.
fn whole(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// Nanoseconds as whole seconds, rounded up.
pub(super) fn seconds(nanos: u64) -> u64 {
    whole(Duration::from_nanos(nanos))
}
