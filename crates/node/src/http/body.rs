//! What comes in: bodies within their limit, paths and queries as checked types.

use std::fmt::Display;

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, header, request::Parts},
};
use futures::StreamExt;
use serde::de::DeserializeOwned;

use super::{
    problem::unreadable,
    state::{Door, Shared, Slot},
};
use crate::api::{ApiError, ErrorKind};

/// How much of a body that is refused is still read and thrown away, in multiples of the limit: so that an honest
/// client sees the answer rather than a broken connection.
const DRAIN: usize = 16;

/// A body as text, within [`crate::config::Limits::body_bytes`].
pub(super) struct Text(pub(super) String);

/// A body as it is, within the same limit.
pub(super) struct Raw(pub(super) Vec<u8>);

/// A body as it is, within a limit of its format's own.
pub(super) struct Bounded<const MAX: usize>(pub(super) Vec<u8>);

/// A body as JSON, within the same limit as [`Text`].
pub(super) struct Json<T>(pub(super) T);

impl FromRequest<Shared> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, door: &Shared) -> Result<Self, ApiError> {
        let next = "send less, or raise body_bytes in [limits]";
        read(request, (door.options.limits.body_bytes, next), door).await.map(Self)
    }
}

impl<const MAX: usize> FromRequest<Shared> for Bounded<MAX> {
    type Rejection = ApiError;

    async fn from_request(request: Request, door: &Shared) -> Result<Self, ApiError> {
        read(request, (MAX, "nothing of this format is longer"), door).await.map(Self)
    }
}

impl FromRequest<Shared> for Text {
    type Rejection = ApiError;

    async fn from_request(request: Request, door: &Shared) -> Result<Self, ApiError> {
        let Raw(bytes) = Raw::from_request(request, door).await?;
        String::from_utf8(bytes)
            .map(Self)
            .map_err(|error| unreadable("the body is not UTF-8", error.utf8_error()))
    }
}

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, door: &Shared) -> Result<Self, ApiError> {
        let Text(text) = Text::from_request(request, door).await?;
        let mut read = serde_json::Deserializer::from_str(&text);
        let value = serde_path_to_error::deserialize(&mut read).map_err(unfit)?;
        read.end().map_err(|error| unreadable("the body", error))?;
        Ok(Self(value))
    }
}

/// Names the field, where it is one of a field.
fn unfit(error: serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    match error.path().to_string() {
        path if path == "." => unreadable("the body", error.inner()),
        path => unreadable(&format!("the body: {path}"), error.inner()),
    }
}

async fn read(
    request: Request,
    (limit, next): (usize, &'static str),
    door: &Door,
) -> Result<Vec<u8>, ApiError> {
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared: Option<usize> = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    let drained = limit.saturating_mul(DRAIN);
    let mut seen = declared.unwrap_or(0);
    let mut bytes = Vec::new();
    if seen <= drained {
        let mut chunks = request.into_body().into_data_stream();
        seen = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| unreadable("the body ended early", error))?;
            seen = seen.saturating_add(chunk.len());
            if seen > drained {
                break;
            }
            if seen <= limit {
                bytes.extend_from_slice(&chunk);
            }
        }
    }
    if seen <= limit {
        return Ok(bytes);
    }
    door.measures.body_refused();
    let detail = format!("the body is over the limit of {limit} bytes");
    Err(ApiError::new(ErrorKind::TooLarge, "the body is too large", detail).next(next))
}

/// The client's name for its request (draft-ietf-httpapi-idempotency-key-header, section 2.1).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// That name, in the body or in the header, or in both alike. The header's is a string of RFC 9651 (section 3.3.3); one
/// without quotes is taken as it is.
pub(super) fn key(in_body: Option<String>, headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(in_body) };
    let text = value.to_str().map_err(|error| unreadable("the header Idempotency-Key", error))?;
    let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    match in_body {
        Some(other) if other != key => {
            let why = format!("{key:?} is not the body's idempotency_key {other:?}");
            Err(unreadable("the header Idempotency-Key", why))
        }
        _ => Ok(Some(key.to_owned())),
    }
}

/// One segment of the path, parsed.
pub(super) struct Segment<T>(pub(super) T);

impl<T> FromRequestParts<Shared> for Segment<T>
where
    T: std::str::FromStr<Err: Display>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, door: &Shared) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, door)
            .await
            .map_err(|error| unreadable("the path", error))?;
        text.parse().map(Self).map_err(|error: T::Err| unreadable("the path", error))
    }
}

/// The query, parsed; a field that is not known is refused where the type says so.
pub(super) struct Queried<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Queried<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, door: &Shared) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, door).await;
        query.map(|Query(query)| Self(query)).map_err(|error| unreadable("the query", error.body_text()))
    }
}

/// The place among the requests that [`super::guard`] took for this one.
pub(super) struct Place(pub(super) Slot);

impl FromRequestParts<Shared> for Place {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, door: &Shared) -> Result<Self, ApiError> {
        match parts.extensions.get::<Slot>() {
            Some(slot) => Ok(Self(Slot::clone(slot))),
            None => door.request_slot().map(Self),
        }
    }
}
