//! The directory of things (W3C WoT Discovery, section 7.3): the Things API with paging, and the Notification API.
//! What a Thing Description is, and whether one is good, the directory room knows; here it is only carried. The search
//! API (JSONPath, SPARQL) is left out: it is optional.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use sofie_directory::canonical::DISCOVERY_CONTEXT;
use sofie_directory::discovery::{Format, LD_JSON, TD_JSON};
use sofie_model::ThingId;
use utoipa::IntoParams;

use super::{
    body::{Place, Queried, Segment, Text},
    events::{self, Resume},
    problem::unreadable,
    state::{Shared, to_the_end},
};
use crate::api::{ApiError, Description, MAX_PAGE, Page, PageRequest, Put, ThingChange};

/// `GET /.well-known/wot`
#[utoipa::path(
    get, path = "/.well-known/wot", tag = "directory", operation_id = "wot_directory",
    summary = "The Thing Description of this directory (WoT Discovery, introduction by well-known URI)",
    responses((status = 200, description = "The directory's own description", content_type = "application/td+json", body = Object))
)]
pub(super) async fn well_known(State(door): State<Shared>) -> Result<Response, ApiError> {
    door.federation.directory().await.map(|description| described(&description))
}

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// How many descriptions come before it.
    offset: Option<usize>,
    /// At most so many, up to 100.
    limit: Option<usize>,
    /// `array` (as it is by default) or `collection`.
    format: Option<String>,
}

/// `GET /things`
#[utoipa::path(
    get, path = "/things", tag = "directory", operation_id = "things",
    summary = "Thing Descriptions, a page at a time",
    params(Paging),
    responses((
        status = 200, description = "A page; the next one's URL is in the Link header", content_type = "application/ld+json",
        body = serde_json::Value
    ))
)]
pub(super) async fn things(
    State(door): State<Shared>,
    Queried(paging): Queried<Paging>,
) -> Result<Response, ApiError> {
    let limit = paging.limit.unwrap_or(MAX_PAGE);
    if limit == 0 {
        return Err(unreadable("the query", "limit must be at least 1"));
    }
    let request = PageRequest { offset: paging.offset.unwrap_or(0), limit: limit.min(MAX_PAGE) };
    let format = paging.format.as_deref().map_or(Some(Format::Array), Format::from_parameter);
    let format =
        format.ok_or_else(|| unreadable("the query", "format must be \"array\" or \"collection\""))?;
    let page = door.federation.things(request).await?;
    let next = next_page(request, &page);
    let body = match format {
        Format::Array => serde_json::Value::Array(page.items),
        Format::Collection => collection(request, page, next.as_deref()),
    };
    let mut response = ([(header::CONTENT_TYPE, LD_JSON)], body.to_string()).into_response();
    let link = next.map(|next| format!("<{next}>; rel=\"next\""));
    if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

fn page_url(request: PageRequest) -> String {
    format!("/things?offset={}&limit={}", request.offset, request.limit)
}

fn next_page(request: PageRequest, page: &Page) -> Option<String> {
    let offset = request.offset.saturating_add(page.items.len());
    let more = !page.items.is_empty() && offset < page.total;
    more.then(|| page_url(PageRequest { offset, ..request }))
}

/// The other form of a page: with its own context, so that the total and the next page are in the body.
fn collection(request: PageRequest, page: Page, next: Option<&str>) -> serde_json::Value {
    let mut collection = serde_json::json!({
        "@context": DISCOVERY_CONTEXT,
        "@type": "ThingCollection",
        "@id": format!("{}&format=collection", page_url(request)),
        "total": page.total,
        "members": page.items,
    });
    if let Some(next) = next {
        collection["next"] = format!("{next}&format=collection").into();
    }
    collection
}

/// `POST /things`
#[utoipa::path(
    post, path = "/things", tag = "directory", operation_id = "create_thing",
    summary = "Register a Thing Description that has no id; the directory gives it one",
    request_body(content = Object, content_type = "application/td+json"),
    responses((status = 201, description = "Registered; its URL is in Location"))
)]
pub(super) async fn create(
    State(door): State<Shared>,
    Place(slot): Place,
    Text(text): Text,
) -> Result<Response, ApiError> {
    let federation = Arc::clone(&door.federation);
    let id = to_the_end(slot, async move { federation.create_thing(&text).await }).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, thing_url(&id))]).into_response())
}

/// `GET /things/{id}`
#[utoipa::path(
    get, path = "/things/{id}", tag = "directory", operation_id = "thing",
    summary = "One Thing Description",
    params(("id" = String, Path, description = "The thing's id, percent-encoded")),
    responses((status = 200, description = "The description", content_type = "application/td+json", body = Object))
)]
pub(super) async fn thing(
    State(door): State<Shared>,
    Segment(id): Segment<ThingId>,
) -> Result<Response, ApiError> {
    door.federation.thing(&id).await.map(|description| described(&description))
}

/// `PUT /things/{id}`
#[utoipa::path(
    put, path = "/things/{id}", tag = "directory", operation_id = "put_thing",
    summary = "Register or replace the Thing Description with this id",
    params(("id" = String, Path, description = "The thing's id, percent-encoded")),
    request_body(content = Object, content_type = "application/td+json"),
    responses((status = 201, description = "Registered"), (status = 204, description = "Replaced"))
)]
pub(super) async fn put(
    State(door): State<Shared>,
    Place(slot): Place,
    Segment(id): Segment<ThingId>,
    Text(text): Text,
) -> Result<Response, ApiError> {
    let federation = Arc::clone(&door.federation);
    let location = thing_url(&id);
    match to_the_end(slot, async move { federation.put_thing(&id, &text).await }).await? {
        Put::Created => Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response()),
        Put::Replaced => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// `PATCH /things/{id}`
#[utoipa::path(
    patch, path = "/things/{id}", tag = "directory", operation_id = "patch_thing",
    summary = "Merge a part into a Thing Description (RFC 7396)",
    params(("id" = String, Path, description = "The thing's id, percent-encoded")),
    request_body(content = Object, content_type = "application/merge-patch+json"),
    responses((status = 204, description = "Merged"))
)]
pub(super) async fn patch(
    State(door): State<Shared>,
    Place(slot): Place,
    Segment(id): Segment<ThingId>,
    Text(text): Text,
) -> Result<StatusCode, ApiError> {
    let federation = Arc::clone(&door.federation);
    to_the_end(slot, async move { federation.patch_thing(&id, &text).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /things/{id}`
#[utoipa::path(
    delete, path = "/things/{id}", tag = "directory", operation_id = "delete_thing",
    summary = "Forget a Thing Description",
    params(("id" = String, Path, description = "The thing's id, percent-encoded")),
    responses((status = 204, description = "Forgotten"))
)]
pub(super) async fn delete(
    State(door): State<Shared>,
    Place(slot): Place,
    Segment(id): Segment<ThingId>,
) -> Result<StatusCode, ApiError> {
    let federation = Arc::clone(&door.federation);
    to_the_end(slot, async move { federation.delete_thing(&id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /events`
#[utoipa::path(
    get, path = "/events", tag = "directory", operation_id = "thing_events",
    summary = "Changes of the directory as server-sent events",
    params(Resume),
    responses((
        status = 200, content_type = "text/event-stream", body = String,
        description = "`thing_created`, `thing_updated`, `thing_deleted`; the data is {\"id\": …}"
    ))
)]
pub(super) async fn events(
    State(door): State<Shared>,
    Queried(resume): Queried<Resume>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    events::things(&door, None, resume.after(&headers)?).await
}

/// `GET /events/{type}`
#[utoipa::path(
    get, path = "/events/{type}", tag = "directory", operation_id = "thing_events_of_type",
    summary = "Changes of one kind as server-sent events",
    params(("type" = ThingChange, Path, description = "Which kind"), Resume),
    responses((
        status = 200, content_type = "text/event-stream", body = String, description = "The data is {\"id\": …}"
    ))
)]
pub(super) async fn events_of_type(
    State(door): State<Shared>,
    Segment(change): Segment<String>,
    Queried(resume): Queried<Resume>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let known = [ThingChange::ThingCreated, ThingChange::ThingUpdated, ThingChange::ThingDeleted];
    let Some(change) = known.into_iter().find(|known| known.as_str() == change) else {
        return Err(unreadable("the path", "the types are thing_created, thing_updated, thing_deleted"));
    };
    events::things(&door, Some(change), resume.after(&headers)?).await
}

fn described(description: &Description) -> Response {
    ([(header::CONTENT_TYPE, TD_JSON)], description.to_string()).into_response()
}

fn thing_url(id: &ThingId) -> String {
    format!("/things/{}", encoded(id.as_str()))
}

/// A path segment (RFC 3986, section 3.3): what is not unreserved, `:` or `@` is percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
