//! The node itself: health, status, and the description of this API.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Redirect, Response},
};

use super::{openapi, state::Shared};
use crate::api::{ApiError, Status};

/// `GET /healthz`
#[utoipa::path(
    get, path = "/healthz", tag = "node", operation_id = "healthz",
    summary = "Whether the process answers",
    responses((status = 200, description = "It does", content_type = "text/plain", body = String))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`
#[utoipa::path(
    get, path = "/readyz", tag = "node", operation_id = "readyz",
    summary = "Whether the node can take work now",
    responses((status = 200, description = "It can", content_type = "text/plain", body = String))
)]
pub(super) async fn readyz(State(door): State<Shared>) -> Result<&'static str, ApiError> {
    door.federation.ready().await.map(|()| "ready\n")
}

/// `GET /openapi.json`
#[utoipa::path(
    get, path = "/openapi.json", tag = "node", operation_id = "openapi",
    summary = "This description",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/vnd.oai.openapi+json;version=3.1", body = Object))
)]
pub(super) async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/vnd.oai.openapi+json;version=3.1")];
    (kind, openapi::document()).into_response()
}

/// `GET /`
#[utoipa::path(
    get, path = "/", tag = "node", operation_id = "root",
    summary = "Leads to the console",
    responses((status = 307, description = "See /console/"))
)]
pub(super) async fn root() -> Redirect {
    Redirect::temporary("/console/")
}

/// `GET /api/v1/status`
#[utoipa::path(
    get, path = "/api/v1/status", tag = "node", operation_id = "status",
    summary = "The node and its ledgers at a glance",
    responses((status = 200, description = "The node's state", body = Status))
)]
pub(super) async fn status(State(door): State<Shared>) -> Result<Json<Status>, ApiError> {
    door.federation.status().await.map(Json)
}
