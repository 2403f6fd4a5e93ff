//! Members of groups that decide: what they say proves itself, so that nobody shows a token.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use sofie_ledgers::quorum::MEDIA_TYPE;
use sofie_model::quorum::{MAX_ASK, MAX_BUNDLE};
use sofie_model::{Digest, Txid};

use super::{
    body::{Bounded, Place},
    problem::unreadable,
    state::{Shared, to_the_end},
};
use crate::api::ApiError;
use crate::seats::SeatCall;

/// Where all of them are.
pub(super) const PREFIX: &str = "/api/v1/quorums/";

/// `POST /api/v1/quorums/{group}/asks/{nonce}`
#[utoipa::path(
    post, path = "/api/v1/quorums/{group}/asks/{nonce}", tag = "quorums", operation_id = "quorum_ask",
    summary = "Ask a member for a decision (docs/specs/inter-ledger.md); the request proves itself, and no token is asked for",
    params(
        ("group" = String, Path, description = "The group's digest, 64 hexadecimal digits"),
        ("nonce" = String, Path, description = "64 random hexadecimal digits, which the answer is signed over")
    ),
    request_body(content = Vec<u8>, content_type = "application/vnd.sofie.quorum"),
    responses((
        status = 200, content_type = "application/vnd.sofie.quorum", body = Vec<u8>,
        description = "What the member says, signed: canonical CBOR"
    ))
)]
pub(super) async fn ask(
    state: State<Shared>,
    place: Place,
    Path((group, nonce)): Path<(String, String)>,
    Bounded(body): Bounded<MAX_ASK>,
) -> Result<Response, ApiError> {
    let nonce = parsed(&nonce)?;
    answer(state, place, &group, SeatCall::Ask { nonce, body }).await
}

/// `POST /api/v1/quorums/{group}/bundles`
#[utoipa::path(
    post, path = "/api/v1/quorums/{group}/bundles", tag = "quorums", operation_id = "quorum_bundle",
    summary = "Tell a member what another one knows; each part is signed, and no token is asked for",
    params(("group" = String, Path, description = "The group's digest, 64 hexadecimal digits")),
    request_body(content = Vec<u8>, content_type = "application/vnd.sofie.quorum"),
    responses((
        status = 200, content_type = "application/vnd.sofie.quorum", body = Vec<u8>,
        description = "What the member knows: canonical CBOR"
    ))
)]
pub(super) async fn bundle(
    state: State<Shared>,
    place: Place,
    Path(group): Path<String>,
    Bounded(body): Bounded<MAX_BUNDLE>,
) -> Result<Response, ApiError> {
    answer(state, place, &group, SeatCall::Bundle { body }).await
}

/// `GET /api/v1/quorums/{group}/words/{txid}/{nonce}`
#[utoipa::path(
    get, path = "/api/v1/quorums/{group}/words/{txid}/{nonce}", tag = "quorums", operation_id = "quorum_word",
    summary = "How a transaction stands at a member",
    params(
        ("group" = String, Path, description = "The group's digest, 64 hexadecimal digits"),
        ("txid" = String, Path, description = "64 hexadecimal digits"),
        ("nonce" = String, Path, description = "64 random hexadecimal digits, which the answer is signed over")
    ),
    responses((
        status = 200, content_type = "application/vnd.sofie.quorum", body = Vec<u8>,
        description = "What the member says, signed: canonical CBOR"
    ))
)]
pub(super) async fn word(
    state: State<Shared>,
    place: Place,
    Path((group, txid, nonce)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let txid: Txid = txid.parse().map_err(|error| unreadable("the path", error))?;
    let nonce = parsed(&nonce)?;
    answer(state, place, &group, SeatCall::Word { txid, nonce }).await
}

fn parsed(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|error| unreadable("the path", error))
}

async fn answer(
    State(door): State<Shared>,
    Place(slot): Place,
    group: &str,
    call: SeatCall,
) -> Result<Response, ApiError> {
    let group = parsed(group)?;
    let federation = Arc::clone(&door.federation);
    let answer = to_the_end(slot, async move { federation.seat(group, call).await }).await?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], answer).into_response())
}
