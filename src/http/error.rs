//! What a request is turned away with that was never decided on.

use std::{borrow::Cow, fmt};

use http::StatusCode;

/// Why an extractor does not know what to ask for: answered without a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub(super) status: StatusCode,
    pub(super) detail: Cow<'static, str>,
}

impl Rejection {
    /// Answered with `status` and, in problem details, with `detail`, which the caller reads.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Rejection {
        Rejection { status, detail: detail.into() }
    }

    /// There is no credential, or it is nobody's: 401.
    pub fn unauthorized() -> Rejection {
        Rejection::new(StatusCode::UNAUTHORIZED, "there is no credential, or it is nobody's")
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.status, self.detail)
    }
}

impl std::error::Error for Rejection {}

/// What was to be trusted is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError {
    pub(super) text: String,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "`{}` is no network; expected one such as `10.0.0.0/8` or `fd00::/8`, or an address",
            self.text
        )
    }
}

impl std::error::Error for NetworkError {}
