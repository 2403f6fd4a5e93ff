//! Why a call did not succeed, and its form on the wire: problem details (RFC 9457), with `next` as an extension
//! member that tells a person what to do.

use serde::{Deserialize, Serialize};
use sofie_directory::{DirectoryError, Errors, discovery::ProblemBody};
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
    /// Where a document breaks which rule.
    pub violations: Vec<Violation>,
}

impl ApiError {
    /// A failure without advice.
    #[must_use]
    pub fn new(kind: ErrorKind, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind, title: title.into(), detail: detail.into(), next: String::new(), violations: Vec::new() }
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
            violations: self.violations.clone(),
        }
    }
}

/// What the directory refuses, with every broken rule of a Thing Description in its place.
impl From<ProblemBody> for ApiError {
    fn from(body: ProblemBody) -> Self {
        let kind = ErrorKind::ALL.into_iter().find(|kind| kind.status() == body.status);
        let violation = |error: sofie_directory::discovery::ValidationError| Violation {
            field: error.field,
            description: error.description,
        };
        Self {
            kind: kind.unwrap_or(ErrorKind::Internal),
            title: body.title.to_owned(),
            detail: body.detail,
            next: body.next.to_owned(),
            violations: body.validation_errors.into_iter().map(violation).collect(),
        }
    }
}

impl From<&DirectoryError> for ApiError {
    fn from(error: &DirectoryError) -> Self {
        ProblemBody::from(error).into()
    }
}

impl From<&Errors> for ApiError {
    fn from(errors: &Errors) -> Self {
        ProblemBody::from(errors).into()
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
    /// Where a document breaks which rule (WoT Discovery, section 7.3.2.1.6).
    #[serde(rename = "validationErrors", default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
}

/// One broken rule of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Violation {
    /// Where: a JSON pointer (RFC 6901).
    pub field: String,
    /// The rule's code, and what to do.
    pub description: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broken_rule_of_a_description_is_told() {
        let errors = sofie_directory::parse(br#"{"title": 1, "security": []}"#).unwrap_err();
        let error = ApiError::from(&errors);
        assert_eq!((error.kind, error.violations.len()), (ErrorKind::Invalid, errors.problems.len()));
        let problem = serde_json::to_value(error.problem()).unwrap();
        let fields: Vec<_> = problem["validationErrors"].as_array().unwrap().iter().collect();
        assert!(fields.iter().any(|error| error["field"] == "/title"), "{problem}");
        let plain = serde_json::to_value(ApiError::new(ErrorKind::NotFound, "t", "d").problem()).unwrap();
        assert!(plain.get("validationErrors").is_none());
    }

    #[test]
    fn what_the_directory_refuses_keeps_its_status() {
        let id: sofie_model::ThingId = "urn:x".parse().unwrap();
        let owner = "a".to_owned();
        for (error, kind) in [
            (DirectoryError::NotFound { id: id.clone() }, ErrorKind::NotFound),
            (DirectoryError::OtherOwner { id, owner }, ErrorKind::Refused),
            (DirectoryError::BadOwner { got: 0 }, ErrorKind::Invalid),
        ] {
            assert_eq!(ApiError::from(&error).kind, kind);
        }
    }
}
