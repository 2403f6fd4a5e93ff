//! Ledgers, and the money on them.

use axum::{Json, extract::State};
use serde::Deserialize;
use sofie_model::LedgerId;
use utoipa::IntoParams;

use super::{
    body::{Queried, Segment},
    state::Shared,
};
use crate::api::{ApiError, Balances, Fees, LedgerStatus};

/// `GET /api/v1/ledgers`
#[utoipa::path(
    get, path = "/api/v1/ledgers", tag = "ledgers", operation_id = "ledgers",
    summary = "The ledgers, as the node sees them now",
    responses((status = 200, description = "In the order of the configuration", body = Vec<LedgerStatus>))
)]
pub(super) async fn ledgers(State(door): State<Shared>) -> Result<Json<Vec<LedgerStatus>>, ApiError> {
    door.federation.ledgers().await.map(Json)
}

/// `GET /api/v1/ledgers/{id}/balances`
#[utoipa::path(
    get, path = "/api/v1/ledgers/{id}/balances", tag = "ledgers", operation_id = "balances",
    summary = "What each party holds on a ledger",
    params(("id" = String, Path, description = "The ledger's name")),
    responses((status = 200, description = "At the ledger's head", body = Balances))
)]
pub(super) async fn balances(
    State(door): State<Shared>,
    Segment(id): Segment<LedgerId>,
) -> Result<Json<Balances>, ApiError> {
    door.federation.balances(&id).await.map(Json)
}

/// Which blocks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Blocks {
    /// The first.
    from: u64,
    /// The last.
    to: u64,
}

/// `GET /api/v1/ledgers/{id}/fees`
#[utoipa::path(
    get, path = "/api/v1/ledgers/{id}/fees", tag = "ledgers", operation_id = "fees",
    summary = "What the parties paid in fees in a range of blocks",
    params(("id" = String, Path, description = "The ledger's name"), Blocks),
    responses((status = 200, description = "All of them together", body = Fees))
)]
pub(super) async fn fees(
    State(door): State<Shared>,
    Segment(id): Segment<LedgerId>,
    Queried(blocks): Queried<Blocks>,
) -> Result<Json<Fees>, ApiError> {
    door.federation.fees(&id, blocks.from, blocks.to).await.map(Json)
}
