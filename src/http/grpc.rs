//! Answers for gRPC: a status in the response's headers, with details as `google.rpc` has them.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use prost::Message;

use super::{
    answer::{Kind, Told},
    fields,
};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

const UNKNOWN: i32 = 2;
const INVALID_ARGUMENT: i32 = 3;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// `google.rpc.QuotaFailure`.
#[derive(Clone, PartialEq, Message)]
struct QuotaFailure {
    #[prost(message, repeated, tag = "1")]
    violations: Vec<Violation>,
}

#[derive(Clone, PartialEq, Message)]
struct Violation {
    #[prost(string, tag = "1")]
    subject: String,
    #[prost(string, tag = "2")]
    description: String,
}

/// `google.rpc.Help`.
#[derive(Clone, PartialEq, Message)]
struct Help {
    #[prost(message, repeated, tag = "1")]
    links: Vec<Link>,
}

#[derive(Clone, PartialEq, Message)]
struct Link {
    #[prost(string, tag = "1")]
    description: String,
    #[prost(string, tag = "2")]
    url: String,
}

impl Any {
    fn of(name: &str, message: &impl Message) -> Any {
        Any { type_url: format!("type.googleapis.com/google.rpc.{name}"), value: message.encode_to_vec() }
    }
}

pub(super) fn denied(told: &Told) -> Response<Bytes> {
    let mut details = Vec::new();
    // A client that finds no such detail takes it that a retry is in vain.
    if let Some(wait) = told.wait {
        details.push(Any::of("RetryInfo", &RetryInfo { retry_delay: Some(Delay::from(wait)) }));
    }
    let subject = match (&told.rule, told.kind) {
        (Some(rule), _) => fields::name(rule),
        (None, Kind::Abnormal) => "account".to_owned(),
        (None, _) => "service".to_owned(),
    };
    let violation = Violation { subject, description: told.detail() };
    details.push(Any::of("QuotaFailure", &QuotaFailure { violations: vec![violation] }));
    if let Some((tier, Some(url))) = &told.step_up {
        let link = Link { description: format!("Become {tier}"), url: url.clone() };
        details.push(Any::of("Help", &Help { links: vec![link] }));
    }
    status(RESOURCE_EXHAUSTED, told.kind.title(), details)
}

pub(super) fn rejected(status_code: StatusCode, detail: &str) -> Response<Bytes> {
    let code = match status_code {
        StatusCode::BAD_REQUEST => INVALID_ARGUMENT,
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::TOO_MANY_REQUESTS => RESOURCE_EXHAUSTED,
        StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
        _ => UNKNOWN,
    };
    status(code, detail, Vec::new())
}

/// A response of headers alone, as gRPC has it where there is no message.
fn status(code: i32, message: &str, details: Vec<Any>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, HeaderValue::from(code));
    if let Ok(text) = HeaderValue::try_from(percent(message)) {
        headers.insert(MESSAGE, text);
    }
    if !details.is_empty() {
        let status = Status { code, message: message.to_owned(), details };
        if let Ok(bytes) = HeaderValue::try_from(STANDARD_NO_PAD.encode(status.encode_to_vec())) {
            headers.insert(DETAILS, bytes);
        }
    }
    response
}

/// `text` as gRPC writes messages: what is not printable ASCII, and `%`, by its bytes.
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl From<Duration> for Delay {
    fn from(wait: Duration) -> Delay {
        Delay {
            seconds: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(wait.subsec_nanos()).unwrap_or(0),
        }
    }
}
