//! Inter-ledger transactions: begin one, see those that the journal holds.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use sofie_model::Txid;

use super::{
    body::{self, Place, Segment},
    contracts::attached,
    state::{Shared, to_the_end},
};
use crate::api::{ApiError, Draft, Transaction};

/// `POST /api/v1/transactions`
#[utoipa::path(
    post, path = "/api/v1/transactions", tag = "transactions", operation_id = "submit",
    summary = "Begin a transaction on several ledgers, or propose it to the nodes of others; sent again with the same Idempotency-Key it begins nothing new",
    params(("Idempotency-Key" = Option<String>, Header,
        description = "The client's name for this request; the same as `idempotency_key` in the draft")),
    request_body = Draft,
    responses((status = 202, description = "It runs, or is proposed; its URL is in Location", body = Transaction))
)]
pub(super) async fn submit(
    State(door): State<Shared>,
    Place(slot): Place,
    headers: HeaderMap,
    body::Json(draft): body::Json<Draft>,
) -> Result<Response, ApiError> {
    let idempotency_key = body::key(draft.idempotency_key, &headers)?;
    let draft = Draft { idempotency_key, ..draft };
    let federation = Arc::clone(&door.federation);
    let begun = to_the_end(slot, async move { federation.submit(draft).await }).await?;
    let location = format!("/api/v1/transactions/{}", begun.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(begun)).into_response())
}

/// `GET /api/v1/transactions`
#[utoipa::path(
    get, path = "/api/v1/transactions", tag = "transactions", operation_id = "transactions",
    summary = "The proposals that have not begun, then all transactions, the newest first",
    responses((status = 200, description = "All transactions", body = Vec<Transaction>))
)]
pub(super) async fn transactions(State(door): State<Shared>) -> Result<Json<Vec<Transaction>>, ApiError> {
    door.federation.transactions().await.map(Json)
}

/// `GET /api/v1/transactions/{txid}`
#[utoipa::path(
    get, path = "/api/v1/transactions/{txid}", tag = "transactions", operation_id = "transaction",
    summary = "One transaction",
    params(("txid" = String, Path, description = "64 hexadecimal digits")),
    responses((status = 200, description = "The transaction", body = Transaction))
)]
pub(super) async fn transaction(
    State(door): State<Shared>,
    Segment(txid): Segment<Txid>,
) -> Result<Json<Transaction>, ApiError> {
    door.federation.transaction(txid).await.map(Json)
}

/// `GET /api/v1/transactions/{txid}/receipt`
#[utoipa::path(
    get, path = "/api/v1/transactions/{txid}/receipt", tag = "transactions", operation_id = "transaction_receipt",
    summary = "The receipt, once the transaction has ended",
    params(("txid" = String, Path, description = "64 hexadecimal digits")),
    responses((
        status = 200, content_type = "application/vnd.sofie.receipt", body = Vec<u8>,
        description = "Canonical CBOR, as `sofie verify` reads it"
    ))
)]
pub(super) async fn receipt(
    State(door): State<Shared>,
    Segment(txid): Segment<Txid>,
) -> Result<Response, ApiError> {
    Ok(attached(txid, door.federation.transaction_receipt(txid).await?))
}

/// The media type of a manifest.
pub(super) const MANIFEST: &str = "application/vnd.sofie.manifest";

/// `GET /api/v1/transactions/{txid}/manifest`
#[utoipa::path(
    get, path = "/api/v1/transactions/{txid}/manifest", tag = "transactions", operation_id = "manifest",
    summary = "The manifest, with which a node elsewhere can watch the transaction",
    params(("txid" = String, Path, description = "64 hexadecimal digits")),
    responses((
        status = 200, content_type = "application/vnd.sofie.manifest", body = Vec<u8>,
        description = "Canonical CBOR (docs/specs/inter-ledger.md)"
    ))
)]
pub(super) async fn manifest(
    State(door): State<Shared>,
    Segment(txid): Segment<Txid>,
) -> Result<Response, ApiError> {
    let manifest = door.federation.manifest(txid).await?;
    Ok(([(header::CONTENT_TYPE, MANIFEST)], manifest).into_response())
}

/// `POST /api/v1/transactions/watch`
#[utoipa::path(
    post, path = "/api/v1/transactions/watch", tag = "transactions", operation_id = "watch",
    summary = "Watch a transaction of others: tell when time runs out, and finish what anyone may; sent again, it changes nothing",
    request_body(content = Vec<u8>, content_type = "application/vnd.sofie.manifest"),
    responses((status = 202, description = "It is watched", body = Transaction))
)]
pub(super) async fn watch(
    State(door): State<Shared>,
    Place(slot): Place,
    body::Raw(manifest): body::Raw,
) -> Result<Response, ApiError> {
    let federation = Arc::clone(&door.federation);
    let watched = to_the_end(slot, async move { federation.watch(manifest).await }).await?;
    Ok((StatusCode::ACCEPTED, Json(watched)).into_response())
}

/// `POST /api/v1/transactions/{txid}/resume`
#[utoipa::path(
    post, path = "/api/v1/transactions/{txid}/resume", tag = "transactions", operation_id = "resume",
    summary = "Ask the decision ledger again and drive every leg that is not done; harmless when all are",
    params(("txid" = String, Path, description = "64 hexadecimal digits")),
    responses((status = 200, description = "The transaction", body = Transaction))
)]
pub(super) async fn resume(
    State(door): State<Shared>,
    Place(slot): Place,
    Segment(txid): Segment<Txid>,
) -> Result<Json<Transaction>, ApiError> {
    let federation = Arc::clone(&door.federation);
    to_the_end(slot, async move { federation.resume(txid).await }).await.map(Json)
}
