//! Parties and platforms, and the properties of their things.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use serde::Deserialize;
use sofie_directory::discovery::path_segment;
use sofie_model::ThingId;
use utoipa::IntoParams;

use super::{
    body::{self, Json, Place, Queried, Segment},
    problem::unreadable,
    state::{Shared, to_the_end},
};
use crate::api::{
    ApiError, Holder, Introspected, JoinPlatform, Party, Platform, Probed, PropertyReading, WriteProperty,
    Written,
};

/// Below here stands what things say: their owner's, and not everybody's to read.
pub(super) const THINGS: &str = "/api/v1/things/";

/// `GET /api/v1/parties`
#[utoipa::path(
    get, path = "/api/v1/parties", tag = "platforms", operation_id = "parties",
    summary = "The parties whose keys this node holds",
    responses((status = 200, description = "In the order of the configuration", body = Vec<Party>))
)]
pub(super) async fn parties(State(door): State<Shared>) -> Result<axum::Json<Vec<Party>>, ApiError> {
    door.federation.parties().await.map(axum::Json)
}

/// `GET /api/v1/parties/{name}`
#[utoipa::path(
    get, path = "/api/v1/parties/{name}", tag = "platforms", operation_id = "party",
    summary = "One of them: where it is paid on each ledger, what it has there, and what it lacks to pay",
    params(("name" = String, Path, description = "The party's name in the configuration")),
    responses((status = 200, description = "The party", body = Holder))
)]
pub(super) async fn party(
    State(door): State<Shared>,
    Segment(name): Segment<String>,
) -> Result<axum::Json<Holder>, ApiError> {
    door.federation.party(&name).await.map(axum::Json)
}

/// `POST /api/v1/platforms`
#[utoipa::path(
    post, path = "/api/v1/platforms", tag = "platforms", operation_id = "join_platform",
    summary = "Join a platform by introspection",
    request_body = JoinPlatform,
    responses((status = 201, description = "It is joined; its URL is in Location", body = Platform))
)]
pub(super) async fn join(
    State(door): State<Shared>,
    Place(slot): Place,
    Json(request): Json<JoinPlatform>,
) -> Result<Response, ApiError> {
    let federation = Arc::clone(&door.federation);
    let joined = to_the_end(slot, async move { federation.join_platform(request).await }).await?;
    let location = format!("/api/v1/platforms/{}", path_segment(&joined.id));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(joined)).into_response())
}

/// `POST /api/v1/platforms/introspect`
#[utoipa::path(
    post, path = "/api/v1/platforms/introspect", tag = "platforms", operation_id = "introspect_platform",
    summary = "What joining a platform would register; registers nothing, and only reads",
    request_body = JoinPlatform,
    responses((status = 200, description = "The Thing Descriptions that were made", body = Introspected))
)]
pub(super) async fn introspect(
    State(door): State<Shared>,
    Place(slot): Place,
    Json(request): Json<JoinPlatform>,
) -> Result<axum::Json<Introspected>, ApiError> {
    let federation = Arc::clone(&door.federation);
    to_the_end(slot, async move { federation.introspect_platform(request).await }).await.map(axum::Json)
}

/// `GET /api/v1/platforms`
#[utoipa::path(
    get, path = "/api/v1/platforms", tag = "platforms", operation_id = "platforms",
    summary = "The joined platforms",
    responses((status = 200, description = "All of them", body = Vec<Platform>))
)]
pub(super) async fn platforms(State(door): State<Shared>) -> Result<axum::Json<Vec<Platform>>, ApiError> {
    door.federation.platforms().await.map(axum::Json)
}

/// `GET /api/v1/platforms/{id}`
#[utoipa::path(
    get, path = "/api/v1/platforms/{id}", tag = "platforms", operation_id = "platform",
    summary = "One joined platform",
    params(("id" = String, Path, description = "The platform's name in this node")),
    responses((status = 200, description = "The platform", body = Platform))
)]
pub(super) async fn platform(
    State(door): State<Shared>,
    Segment(id): Segment<String>,
) -> Result<axum::Json<Platform>, ApiError> {
    door.federation.platform(&id).await.map(axum::Json)
}

/// `POST /api/v1/platforms/{id}/probe`
#[utoipa::path(
    post, path = "/api/v1/platforms/{id}/probe", tag = "platforms", operation_id = "probe_platform",
    summary = "What a joined platform tells now beside what it told when it was joined; changes nothing, and only reads",
    params(("id" = String, Path, description = "The platform's name in this node")),
    responses((status = 200, description = "What differs", body = Probed))
)]
pub(super) async fn probe(
    State(door): State<Shared>,
    Place(slot): Place,
    Segment(id): Segment<String>,
) -> Result<axum::Json<Probed>, ApiError> {
    let federation = Arc::clone(&door.federation);
    to_the_end(slot, async move { federation.probe_platform(&id).await }).await.map(axum::Json)
}

/// How fresh a reading must be.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Freshness {
    /// The device is asked now; without it the newest reading that came is enough.
    #[serde(default)]
    fresh: bool,
}

/// `GET /api/v1/things/{id}/properties/{name}`
#[utoipa::path(
    get, path = "/api/v1/things/{id}/properties/{name}", tag = "platforms", operation_id = "read_property",
    summary = "What a property of a joined platform's thing is; as a change, only with the node's token, if it has one",
    params(
        ("id" = String, Path, description = "The thing's id, percent-encoded"),
        ("name" = String, Path, description = "The property's name in the Thing Description"),
        Freshness
    ),
    responses((status = 200, description = "Its value, and how fresh that is", body = PropertyReading))
)]
pub(super) async fn read(
    State(door): State<Shared>,
    Path((id, name)): Path<(String, String)>,
    Queried(Freshness { fresh }): Queried<Freshness>,
) -> Result<axum::Json<PropertyReading>, ApiError> {
    let id: ThingId = id.parse().map_err(|error| unreadable("the path", error))?;
    door.federation.read_property(&id, &name, fresh).await.map(axum::Json)
}

/// `PUT /api/v1/things/{id}/properties/{name}`
#[utoipa::path(
    put, path = "/api/v1/things/{id}/properties/{name}", tag = "platforms", operation_id = "write_property",
    summary = "Write a property of a thing in its owner's name; the owner's policy must allow it",
    params(
        ("id" = String, Path, description = "The thing's id, percent-encoded"),
        ("name" = String, Path, description = "The property's name in the Thing Description"),
        ("Idempotency-Key" = Option<String>, Header,
            description = "The client's name for this request; the same as `idempotency_key` in the body")
    ),
    request_body = WriteProperty,
    responses((
        status = 200, description = "What became of it, which may be that nobody knows: see `outcome`", body = Written
    ))
)]
pub(super) async fn write(
    State(door): State<Shared>,
    Place(slot): Place,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    Json(request): Json<WriteProperty>,
) -> Result<axum::Json<Written>, ApiError> {
    let id: ThingId = id.parse().map_err(|error| unreadable("the path", error))?;
    let idempotency_key = body::key(request.idempotency_key, &headers)?;
    let request = WriteProperty { idempotency_key, ..request };
    let federation = Arc::clone(&door.federation);
    to_the_end(slot, async move { federation.write_property(&id, &name, request).await })
        .await
        .map(axum::Json)
}
