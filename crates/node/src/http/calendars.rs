//! Calendars of this node that other nodes use: each request is signed by a peer that the calendar's configuration lists.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, Method, Uri},
    response::Response,
};
use sofie_model::LedgerId;
use sofie_model::calendar::MAX_REQUEST;

use super::{
    body::{Bounded, Place, Segment},
    peers::{incoming, sealed},
    state::{Shared, to_the_end},
};
use crate::api::ApiError;
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
