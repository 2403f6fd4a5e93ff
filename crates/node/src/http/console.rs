//! Serves the console's files ([`crate::console`]).

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};

use super::{problem::no_such_path, state::Shared};
use crate::{
    api::ApiError,
    console::{POLICY, asset},
};

/// A cache asks each time, by the entity tag: the files' names stay the same when their content changes.
const ASK: &str = "no-cache";

/// `GET /console`
#[utoipa::path(
    get, path = "/console", tag = "console", operation_id = "console_without_slash",
    summary = "Leads to the console",
    responses((status = 307, description = "See /console/"))
)]
pub(super) async fn without_slash() -> Redirect {
    Redirect::temporary("/console/")
}

/// `GET /console/`
#[utoipa::path(
    get, path = "/console/", tag = "console", operation_id = "console",
    summary = "The console's page",
    responses((status = 200, description = "The page", content_type = "text/html", body = String))
)]
pub(super) async fn page(State(door): State<Shared>, headers: HeaderMap) -> Result<Response, ApiError> {
    serve(&door, "", &headers)
}

/// `GET /console/{path}`
#[utoipa::path(
    get, path = "/console/{path}", tag = "console", operation_id = "console_file",
    summary = "A file of the console",
    params(("path" = String, Path, description = "The file's path")),
    responses((status = 200, description = "The file", content_type = "application/octet-stream", body = Vec<u8>))
)]
pub(super) async fn file(
    State(door): State<Shared>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    serve(&door, &path, &headers)
}

fn serve(door: &Shared, path: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let asset = if door.options.console { asset(path) } else { None };
    let asset = asset.ok_or_else(|| no_such_path(&format!("/console/{path}")))?;
    let common = [
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::CACHE_CONTROL, ASK.to_owned()),
        (header::ETAG, asset.etag.clone()),
    ];
    // RFC 9110, section 13.1.2
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    if known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == asset.etag)) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    Ok((common, [(header::CONTENT_TYPE, asset.media_type)], asset.bytes).into_response())
}
