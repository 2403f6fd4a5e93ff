//! Other companies' nodes: their messages, and the owner's word on what they propose.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, Method, Uri, header},
    response::{IntoResponse, Response},
};
use sofie_model::Txid;

use super::{
    body::{self, Place, Raw, Segment},
    state::{Shared, to_the_end},
};
use crate::api::{ApiError, Decline, Neighbours, Transaction};
use crate::peers::{Incoming, Outgoing, Word, envelope};

/// Where messages come in.
pub(super) const PATH: &str = envelope::PATH;
/// The fields that a signature of a message covers, or that carry it.
const FIELDS: [&str; 3] = ["content-digest", "signature-input", "signature"];

/// `GET /api/v1/peers`
#[utoipa::path(
    get, path = "/api/v1/peers", tag = "peers", operation_id = "peers",
    summary = "The nodes of others, and this node as they must know it",
    responses((status = 200, description = "All of them", body = Neighbours))
)]
pub(super) async fn peers(State(door): State<Shared>) -> Result<axum::Json<Neighbours>, ApiError> {
    door.federation.peers().await.map(axum::Json)
}

/// `POST /api/v1/peers/messages`
#[utoipa::path(
    post, path = "/api/v1/peers/messages", tag = "peers", operation_id = "peer_message",
    summary = "Say something to this node, signed by another (docs/specs/node-messages.md); the signature stands in \
               for the token",
    request_body(content = Vec<u8>, content_type = "application/vnd.sofie.node-message"),
    responses((
        status = 200, content_type = "application/vnd.sofie.node-message", body = Vec<u8>,
        description = "The answer, signed: canonical CBOR"
    ))
)]
pub(super) async fn message(
    State(door): State<Shared>,
    Place(slot): Place,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, ApiError> {
    let message = incoming(&method, &uri, &headers, body);
    let federation = Arc::clone(&door.federation);
    let answer = to_the_end(slot, async move { federation.peer_message(message).await }).await?;
    Ok(sealed(answer, envelope::MEDIA_TYPE))
}

/// A signed request as it came in, not yet believed.
pub(super) fn incoming(method: &Method, uri: &Uri, headers: &HeaderMap, body: Vec<u8>) -> Incoming {
    Incoming {
        method: method.to_string(),
        authority: text(headers, header::HOST.as_str()).next().unwrap_or_default().to_ascii_lowercase(),
        path: uri.path_and_query().map_or_else(String::new, ToString::to_string),
        fields: FIELDS.iter().flat_map(|name| text(headers, name).map(|v| ((*name).into(), v))).collect(),
        body,
    }
}

/// A signed answer of this media type.
pub(super) fn sealed(answer: Outgoing, media_type: &'static str) -> Response {
    let mut response = ([(header::CONTENT_TYPE, media_type)], answer.body).into_response();
    for (name, value) in answer.fields.pairs() {
        let value = value.parse().expect("a structured field is ASCII");
        response.headers_mut().insert(name, value);
    }
    response
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = String> + use<'h> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok().map(str::to_owned))
}

/// `POST /api/v1/transactions/{txid}/agree`
#[utoipa::path(
    post, path = "/api/v1/transactions/{txid}/agree", tag = "peers", operation_id = "agree",
    summary = "Agree to what another node proposes and the owner's rule does not decide; said again, it changes nothing",
    params(("txid" = String, Path, description = "64 hexadecimal digits")),
    responses((status = 200, description = "It has begun", body = Transaction))
)]
pub(super) async fn agree(
    state: State<Shared>,
    place: Place,
    Segment(txid): Segment<Txid>,
) -> Result<axum::Json<Transaction>, ApiError> {
    decide(state, place, txid, Word::Agree).await
}

/// `POST /api/v1/transactions/{txid}/decline`
#[utoipa::path(
    post, path = "/api/v1/transactions/{txid}/decline", tag = "peers", operation_id = "decline",
    summary = "Decline what another node proposes, which is told why; said again, it changes nothing",
    params(("txid" = String, Path, description = "64 hexadecimal digits")),
    request_body = Decline,
    responses((status = 200, description = "It will not begin", body = Transaction))
)]
pub(super) async fn decline(
    state: State<Shared>,
    place: Place,
    Segment(txid): Segment<Txid>,
    body::Json(Decline { reason }): body::Json<Decline>,
) -> Result<axum::Json<Transaction>, ApiError> {
    decide(state, place, txid, Word::Decline(reason)).await
}

/// `POST /api/v1/transactions/{txid}/withdraw`
#[utoipa::path(
    post, path = "/api/v1/transactions/{txid}/withdraw", tag = "peers", operation_id = "withdraw",
    summary = "Take back what this node proposes and has not begun; its peers are told why. Said again, it changes nothing",
    params(("txid" = String, Path, description = "64 hexadecimal digits")),
    request_body = Decline,
    responses((status = 200, description = "It will not begin", body = Transaction))
)]
pub(super) async fn withdraw(
    state: State<Shared>,
    place: Place,
    Segment(txid): Segment<Txid>,
    body::Json(Decline { reason }): body::Json<Decline>,
) -> Result<axum::Json<Transaction>, ApiError> {
    decide(state, place, txid, Word::Withdraw(reason)).await
}

async fn decide(
    State(door): State<Shared>,
    Place(slot): Place,
    txid: Txid,
    word: Word,
) -> Result<axum::Json<Transaction>, ApiError> {
    let federation = Arc::clone(&door.federation);
    to_the_end(slot, async move { federation.decide_proposal(txid, word).await }).await.map(axum::Json)
}
