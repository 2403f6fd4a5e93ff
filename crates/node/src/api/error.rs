//! Why a call did not succeed, and its form on the wire: problem details (RFC 9457), with `next` as an extension
//! member that tells a person what to do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What sort of failure it is. It fixes the HTTP status and the problem's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request says something that cannot be.
    Invalid,
    /// Who asks is not known.
    Unauthorized,
    /// A rule or an owner's policy speaks against it; asking again changes nothing.
    Refused,
    /// There is no such thing.
    NotFound,
    /// There is, but not with this method.
    MethodNotAllowed,
    /// The state of things does not allow it now.
    Conflict,
    /// The body is over its limit.
    TooLarge,
    /// The body is not of a type that is read here.
    UnsupportedType,
    /// The Host header names another server (DNS rebinding).
    Misdirected,
    /// Too much at once.
    TooMany,
    /// A part that is needed does not answer; asking again may help.
    Unavailable,
    /// It took too long.
    Timeout,
    /// The node itself failed.
    Internal,
}

impl ErrorKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Invalid,
        Self::Unauthorized,
        Self::Refused,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedType,
        Self::Misdirected,
        Self::TooMany,
        Self::Unavailable,
        Self::Timeout,
        Self::Internal,
    ];

    /// The HTTP status (RFC 9110, section 15; 429: RFC 6585).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::Refused => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::UnsupportedType => 415,
            Self::Misdirected => 421,
            Self::TooMany => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The problem's `type`: a URI that names the kind and need not be fetched.
    #[must_use]
    pub const fn type_uri(self) -> &'static str {
        match self {
            Self::Invalid => "urn:sofie:problem:invalid",
            Self::Unauthorized => "urn:sofie:problem:unauthorized",
            Self::Refused => "urn:sofie:problem:refused",
            Self::NotFound => "urn:sofie:problem:not-found",
            Self::MethodNotAllowed => "urn:sofie:problem:method-not-allowed",
            Self::Conflict => "urn:sofie:problem:conflict",
            Self::TooLarge => "urn:sofie:problem:too-large",
            Self::UnsupportedType => "urn:sofie:problem:unsupported-type",
            Self::Misdirected => "urn:sofie:problem:misdirected",
            Self::TooMany => "urn:sofie:problem:too-many",
            Self::Unavailable => "urn:sofie:problem:unavailable",
            Self::Timeout => "urn:sofie:problem:timeout",
            Self::Internal => "urn:sofie:problem:internal",
        }
    }
}

/// A failed call.
///
/// ```
/// use sofie_node::api::{ApiError, ErrorKind};
/// let error = ApiError::new(ErrorKind::NotFound, "no such party", "the node knows renter and operator, not \"rentr\"")
///     .next("list the parties with GET /api/v1/parties");
/// assert_eq!(error.problem().status, 404);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct ApiError {
    /// What sort.
    pub kind: ErrorKind,
    /// A short name, the same for every failure of this sort.
    pub title: String,
    /// What was tried, on what, and why it failed.
    pub detail: String,
    /// What to do about it; may be empty.
    pub next: String,
}

impl ApiError {
    /// A failure without advice.
    #[must_use]
    pub fn new(kind: ErrorKind, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind, title: title.into(), detail: detail.into(), next: String::new() }
    }

    /// With advice.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// Its form on the wire.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem {
            r#type: self.kind.type_uri().to_owned(),
            title: self.title.clone(),
            status: self.kind.status(),
            detail: self.detail.clone(),
            next: self.next.clone(),
        }
    }
}

/// Problem details (RFC 9457, section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Names the kind.
    pub r#type: String,
    /// A short name of the kind.
    pub title: String,
    /// The HTTP status, again.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// What to do about it; may be empty.
    pub next: String,
}
