//! Offers between companies: publish one, see those of peers, agree to one; cancel what has not begun.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use sofie_model::{Digest, Txid};

use super::{
    body::{self, Json, Place, Segment},
    state::{Shared, to_the_end},
};
use crate::api::{AgreeToOffer, ApiError, Contract, Decline, Offer, Offers, PublishOffer};

/// `GET /api/v1/offers`
#[utoipa::path(
    get, path = "/api/v1/offers", tag = "contracts", operation_id = "offers",
    summary = "What is for sale: this node's own offers, and those of its peers, which are asked now",
    responses((status = 200, description = "All offers", body = Offers))
)]
pub(super) async fn offers(State(door): State<Shared>) -> Result<axum::Json<Offers>, ApiError> {
    door.federation.offers().await.map(axum::Json)
}

/// `POST /api/v1/offers`
#[utoipa::path(
    post, path = "/api/v1/offers", tag = "contracts", operation_id = "publish_offer",
    summary = "Offer an actuation to the owners of other nodes; the same offer, published again, is the same",
    request_body = PublishOffer,
    responses((status = 201, description = "Peers may see it", body = Offer))
)]
pub(super) async fn publish(
    State(door): State<Shared>,
    Place(slot): Place,
    Json(asked): Json<PublishOffer>,
) -> Result<Response, ApiError> {
    let federation = Arc::clone(&door.federation);
    let offer = to_the_end(slot, async move { federation.publish_offer(asked).await }).await?;
    Ok((StatusCode::CREATED, axum::Json(offer)).into_response())
}

/// `DELETE /api/v1/offers/{id}`
#[utoipa::path(
    delete, path = "/api/v1/offers/{id}", tag = "contracts", operation_id = "withdraw_offer",
    summary = "Take an offer back; contracts that were made of it go on",
    params(("id" = String, Path, description = "The offer's id: 64 hexadecimal digits")),
    responses((status = 204, description = "Nobody sees it any more"))
)]
pub(super) async fn withdraw(
    State(door): State<Shared>,
    Place(slot): Place,
    Segment(id): Segment<Digest>,
) -> Result<StatusCode, ApiError> {
    let federation = Arc::clone(&door.federation);
    to_the_end(slot, async move { federation.withdraw_offer(id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/offers/{id}/agree`
#[utoipa::path(
    post, path = "/api/v1/offers/{id}/agree", tag = "contracts", operation_id = "agree_to_offer",
    summary = "Take up a peer's offer: the contract is proposed to its node; sent again with the same Idempotency-Key it \
               begins nothing new",
    params(
        ("id" = String, Path, description = "The offer's id: 64 hexadecimal digits"),
        ("Idempotency-Key" = Option<String>, Header,
            description = "The client's name for this request; the same as `idempotency_key` in the body")
    ),
    request_body = AgreeToOffer,
    responses((status = 202, description = "It is proposed; its URL is in Location", body = Contract))
)]
pub(super) async fn agree(
    State(door): State<Shared>,
    Place(slot): Place,
    Segment(id): Segment<Digest>,
    headers: HeaderMap,
    Json(asked): Json<AgreeToOffer>,
) -> Result<Response, ApiError> {
    let idempotency_key = body::key(asked.idempotency_key, &headers)?;
    let asked = AgreeToOffer { idempotency_key, ..asked };
    let federation = Arc::clone(&door.federation);
    let agreed = to_the_end(slot, async move { federation.agree_to_offer(id, asked).await }).await?;
    let location = format!("/api/v1/contracts/{}", agreed.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], axum::Json(agreed)).into_response())
}

/// `POST /api/v1/contracts/{id}/cancel`
#[utoipa::path(
    post, path = "/api/v1/contracts/{id}/cancel", tag = "contracts", operation_id = "cancel_contract",
    summary = "Cancel a contract that has not begun: one's own proposal is taken back, a peer's is declined; said again, it \
               changes nothing",
    params(("id" = String, Path, description = "The transaction's id: 64 hexadecimal digits")),
    request_body = Decline,
    responses((status = 200, description = "It will not begin", body = Contract))
)]
pub(super) async fn cancel(
    State(door): State<Shared>,
    Place(slot): Place,
    Segment(id): Segment<Txid>,
    Json(Decline { reason }): Json<Decline>,
) -> Result<axum::Json<Contract>, ApiError> {
    let federation = Arc::clone(&door.federation);
    to_the_end(slot, async move { federation.cancel_contract(id, reason).await }).await.map(axum::Json)
}
