//! Contracts: open one, follow it, take its receipt.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use sofie_model::{Txid, ruling::SignedRuling};

use super::{
    body::{self, Json, Place, Queried, Segment},
    events::{self, Resume},
    state::{Shared, to_the_end},
};
use crate::api::{ApiError, BringEvidence, Claim, Contract, OpenContract, Rule, SignRuling};

/// The media type of a receipt.
pub(super) const RECEIPT: &str = "application/vnd.sofie.receipt";

/// `POST /api/v1/contracts`
#[utoipa::path(
    post, path = "/api/v1/contracts", tag = "contracts", operation_id = "open_contract",
    summary = "Ask for an actuation and offer to pay for it; sent again with the same Idempotency-Key it begins nothing new",
    params(("Idempotency-Key" = Option<String>, Header,
        description = "The client's name for this request; the same as `idempotency_key` in the body")),
    request_body = OpenContract,
    responses((status = 202, description = "It runs; its URL is in Location", body = Contract))
)]
pub(super) async fn open(
    State(door): State<Shared>,
    Place(slot): Place,
    headers: HeaderMap,
    Json(request): Json<OpenContract>,
) -> Result<Response, ApiError> {
    let idempotency_key = body::key(request.idempotency_key, &headers)?;
    let request = OpenContract { idempotency_key, ..request };
    let federation = Arc::clone(&door.federation);
    let opened = to_the_end(slot, async move { federation.open_contract(request).await }).await?;
    let location = format!("/api/v1/contracts/{}", opened.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], axum::Json(opened)).into_response())
}

/// `GET /api/v1/contracts`
#[utoipa::path(
    get, path = "/api/v1/contracts", tag = "contracts", operation_id = "contracts",
    summary = "All contracts, the newest first",
    responses((status = 200, description = "All contracts", body = Vec<Contract>))
)]
pub(super) async fn contracts(State(door): State<Shared>) -> Result<axum::Json<Vec<Contract>>, ApiError> {
    door.federation.contracts().await.map(axum::Json)
}

/// `GET /api/v1/contracts/{id}`
#[utoipa::path(
    get, path = "/api/v1/contracts/{id}", tag = "contracts", operation_id = "contract",
    summary = "One contract",
    params(("id" = String, Path, description = "The transaction's id: 64 hexadecimal digits")),
    responses((status = 200, description = "The contract", body = Contract))
)]
pub(super) async fn contract(
    State(door): State<Shared>,
    Segment(id): Segment<Txid>,
) -> Result<axum::Json<Contract>, ApiError> {
    door.federation.contract(id).await.map(axum::Json)
}

/// `GET /api/v1/contracts/{id}/events`
#[utoipa::path(
    get, path = "/api/v1/contracts/{id}/events", tag = "contracts", operation_id = "contract_events",
    summary = "The contract's steps as server-sent events: `step` for each, then `end`",
    params(("id" = String, Path, description = "The transaction's id: 64 hexadecimal digits"), Resume),
    responses((
        status = 200, content_type = "text/event-stream", body = String,
        description = "An event's id is the step's number, its data a Step. After the last step comes `end`, whose \
                       data is the Contract; then the stream ends. A stream that ends without it was cut: resume it."
    ))
)]
pub(super) async fn contract_events(
    State(door): State<Shared>,
    Segment(id): Segment<Txid>,
    Queried(resume): Queried<Resume>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let after = resume.after(&headers)?;
    events::steps(&door, id, after).await
}

/// `POST /api/v1/contracts/{id}/evidence`
#[utoipa::path(
    post, path = "/api/v1/contracts/{id}/evidence", tag = "contracts", operation_id = "bring_evidence",
    summary = "Bring the signed word of the sensor's owner; it counts by its signature, whoever brings it",
    params(("id" = String, Path, description = "The transaction's id: 64 hexadecimal digits")),
    request_body = BringEvidence,
    responses((status = 200, description = "It counts: the contract", body = Contract))
)]
pub(super) async fn bring_evidence(
    State(door): State<Shared>,
    Segment(id): Segment<Txid>,
    Place(slot): Place,
    Json(evidence): Json<BringEvidence>,
) -> Result<axum::Json<Contract>, ApiError> {
    let federation = Arc::clone(&door.federation);
    to_the_end(slot, async move { federation.bring_evidence(id, evidence).await }).await.map(axum::Json)
}

/// `POST /api/v1/contracts/{id}/dispute`
#[utoipa::path(
    post, path = "/api/v1/contracts/{id}/dispute", tag = "contracts", operation_id = "dispute_contract",
    summary = "Record the claim that the presented evidence does not count, for the arbiter; it moves nothing",
    params(("id" = String, Path, description = "The transaction's id: 64 hexadecimal digits")),
    request_body = Claim,
    responses((status = 200, description = "Recorded: the contract, with what the arbiter would sign", body = Contract))
)]
pub(super) async fn dispute(
    State(door): State<Shared>,
    Segment(id): Segment<Txid>,
    Place(slot): Place,
    Json(claim): Json<Claim>,
) -> Result<axum::Json<Contract>, ApiError> {
    let federation = Arc::clone(&door.federation);
    to_the_end(slot, async move { federation.dispute_contract(id, claim).await }).await.map(axum::Json)
}

/// `POST /api/v1/contracts/{id}/ruling`
#[utoipa::path(
    post, path = "/api/v1/contracts/{id}/ruling", tag = "contracts", operation_id = "rule_on_contract",
    summary = "Overrule the presented evidence, by the arbiter's signature or the key that this node has",
    params(("id" = String, Path, description = "The transaction's id: 64 hexadecimal digits")),
    request_body = Rule,
    responses((status = 200, description = "It counts: the contract", body = Contract))
)]
pub(super) async fn rule(
    State(door): State<Shared>,
    Segment(id): Segment<Txid>,
    Place(slot): Place,
    Json(rule): Json<Rule>,
) -> Result<axum::Json<Contract>, ApiError> {
    let federation = Arc::clone(&door.federation);
    to_the_end(slot, async move { federation.rule_on_contract(id, rule).await }).await.map(axum::Json)
}

/// `POST /api/v1/rulings`
#[utoipa::path(
    post, path = "/api/v1/rulings", tag = "contracts", operation_id = "sign_ruling",
    summary = "Sign a ruling about a contract of other nodes, by the arbiter's key, which this node has",
    request_body = SignRuling,
    responses((status = 200, description = "The signed ruling, to be brought to a node of the contract", body = Object))
)]
pub(super) async fn sign(
    State(door): State<Shared>,
    Json(asked): Json<SignRuling>,
) -> Result<axum::Json<SignedRuling>, ApiError> {
    door.federation.sign_ruling(asked).await.map(axum::Json)
}

/// `GET /api/v1/contracts/{id}/receipt`
#[utoipa::path(
    get, path = "/api/v1/contracts/{id}/receipt", tag = "contracts", operation_id = "receipt",
    summary = "The receipt, once the contract has ended",
    params(("id" = String, Path, description = "The transaction's id: 64 hexadecimal digits")),
    responses((
        status = 200, content_type = "application/vnd.sofie.receipt", body = Vec<u8>,
        description = "Canonical CBOR, as `sofie verify` reads it"
    ))
)]
pub(super) async fn receipt(
    State(door): State<Shared>,
    Segment(id): Segment<Txid>,
) -> Result<Response, ApiError> {
    let receipt = door.federation.receipt(id).await?;
    Ok(attached(id, receipt))
}

/// A receipt, as a file.
pub(super) fn attached(id: Txid, receipt: Vec<u8>) -> Response {
    let name = format!("attachment; filename=\"receipt-{id}.cbor\"");
    let headers = [(header::CONTENT_TYPE, RECEIPT.to_owned()), (header::CONTENT_DISPOSITION, name)];
    (headers, receipt).into_response()
}
