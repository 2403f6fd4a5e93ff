//! Failures as answers: `application/problem+json` (RFC 9457).

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::api::{ApiError, ErrorKind};

/// The media type of a problem.
pub(super) const PROBLEM: &str = "application/problem+json";

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        match self.kind {
            // RFC 6750, section 3
            ErrorKind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sofie\""));
            }
            // RFC 9110, section 10.2.3
            ErrorKind::TooMany | ErrorKind::Unavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// No route has this path.
pub(super) fn no_such_path(path: &str) -> ApiError {
    let path: String = path.chars().take(200).collect();
    ApiError::new(ErrorKind::NotFound, "no such path", format!("{path} is nothing that this node serves"))
        .next("see /openapi.json for all paths")
}

/// The request says something that cannot be read.
pub(super) fn unreadable(what: &str, why: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "the request cannot be read", format!("{what}: {why}"))
        .next("see /openapi.json for what is expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_status_and_a_type_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for kind in ErrorKind::ALL {
            let response = ApiError::new(kind, "t", "d").into_response();
            assert_eq!(response.status().as_u16(), kind.status());
            assert!(response.status().is_client_error() || response.status().is_server_error());
            assert!(seen.insert(kind.status()) && kind.type_uri().starts_with("urn:sofie:problem:"));
        }
    }
}
