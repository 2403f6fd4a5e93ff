//! Inter-ledger transactions, as the journal holds them.

use std::sync::Arc;

use axum::{Json, extract::State};
use sofie_model::Txid;

use super::{
    body::{Place, Segment},
    state::{Shared, to_the_end},
};
use crate::api::{ApiError, Transaction};

/// `GET /api/v1/transactions`
#[utoipa::path(
    get, path = "/api/v1/transactions", tag = "transactions", operation_id = "transactions",
    summary = "All transactions, the newest first",
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
