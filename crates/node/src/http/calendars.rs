//! Calendars of this node that other nodes use: each request is signed by a peer that the calendar's configuration
//! lists. And what anyone may have: the root to be published, and what puts an older proof under it.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use sofie_model::LedgerId;
use sofie_model::calendar::MAX_REQUEST;
use utoipa::IntoParams;

use super::{
    body::{Bounded, Place, Queried, Segment},
    peers::{incoming, sealed},
    state::{Shared, to_the_end},
};
use crate::api::{ApiError, ExtendTo, PublishedSeconds};
use crate::calendars::MEDIA_TYPE;

/// Where all of them are.
pub(super) const PREFIX: &str = "/api/v1/calendars/";

/// `POST /api/v1/calendars/{id}/asks`
#[utoipa::path(
    post, path = "/api/v1/calendars/{id}/asks", tag = "calendars", operation_id = "calendar_ask",
    summary = "Append to a calendar of this node, or ask what stands there, signed by a peer that may \
               (docs/specs/shared-calendar.md); the signature stands in for the token",
    params(("id" = String, Path, description = "The calendar's id in the configuration of this node")),
    request_body(content = Vec<u8>, content_type = "application/vnd.sofie.calendar"),
    responses((
        status = 200, content_type = "application/vnd.sofie.calendar", body = Vec<u8>,
        description = "The answer, proven and signed: canonical CBOR"
    ))
)]
pub(super) async fn ask(
    State(door): State<Shared>,
    Place(slot): Place,
    Segment(id): Segment<LedgerId>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Bounded(body): Bounded<MAX_REQUEST>,
) -> Result<Response, ApiError> {
    let message = incoming(&method, &uri, &headers, body);
    let federation = Arc::clone(&door.federation);
    let answer = to_the_end(slot, async move { federation.calendar_ask(id, message).await }).await?;
    Ok(sealed(answer, MEDIA_TYPE))
}

/// Which root.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Root {
    /// Of how many seconds; the newest unless it is said.
    size: Option<u64>,
}

/// `GET /api/v1/calendars/{id}/published`
#[utoipa::path(
    get, path = "/api/v1/calendars/{id}/published", tag = "calendars", operation_id = "calendar_published",
    summary = "The signed root of a calendar's seconds, to be printed where nobody can change it",
    params(("id" = String, Path, description = "The calendar's id in the configuration of this node"), Root),
    responses((status = 200, description = "With the note that C2SP tools read", body = PublishedSeconds))
)]
pub(super) async fn published(
    State(door): State<Shared>,
    Segment(id): Segment<LedgerId>,
    Queried(root): Queried<Root>,
) -> Result<Json<PublishedSeconds>, ApiError> {
    door.federation.calendar_published(id, root.size).await.map(Json)
}

/// The media type of an extension.
const EXTENSION: &str = "application/vnd.sofie.extension";

/// `GET /api/v1/calendars/{id}/extension`
#[utoipa::path(
    get, path = "/api/v1/calendars/{id}/extension", tag = "calendars", operation_id = "calendar_extension",
    summary = "What puts a proof that was made earlier under a published root",
    params(("id" = String, Path, description = "The calendar's id in the configuration of this node"), ExtendTo),
    responses((
        status = 200, content_type = "application/vnd.sofie.extension", body = Vec<u8>,
        description = "Canonical CBOR, as `sofie verify --extension` reads it (docs/specs/inter-ledger.md)"
    ))
)]
pub(super) async fn extension(
    State(door): State<Shared>,
    Segment(id): Segment<LedgerId>,
    Queried(to): Queried<ExtendTo>,
) -> Result<Response, ApiError> {
    let extension = door.federation.calendar_extension(id, to).await?;
    Ok(([(header::CONTENT_TYPE, EXTENSION)], extension).into_response())
}
