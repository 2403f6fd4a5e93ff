//! The directory of things (W3C WoT Discovery, section 7.3): the Things API with paging, the Notification API, and search
//! by JSONPath; links for small devices (RFC 6690). What a Thing Description is, and whether one is good, the directory
//! room knows; here it is only carried. Left out, as optional: search by XPath and SPARQL.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use sofie_directory::discovery::{
    self, Filter, Format, LD_JSON, LINK_FORMAT, MAX_LINKS, Resources, TD_JSON, path_segment,
};
use sofie_model::{Digest, ThingId};
use utoipa::IntoParams;

use super::{
    body::{Place, Queried, Segment, Text},
    events::{self, Resume},
    problem::unreadable,
    state::{Shared, to_the_end},
};
use crate::api::{ApiError, AskedLinks, Description, MAX_PAGE, PageRequest, Problem, Put, ThingChange};

/// `GET /.well-known/wot`
#[utoipa::path(
    get, path = "/.well-known/wot", tag = "directory", operation_id = "wot_directory",
    summary = "The Thing Description of this directory (WoT Discovery, introduction by well-known URI)",
    responses((status = 200, description = "The directory's own description", content_type = "application/td+json", body = Object))
)]
pub(super) async fn well_known(State(door): State<Shared>) -> Result<Response, ApiError> {
    door.federation.directory().await.map(|description| described(&description))
}

/// Where all things are.
const PATH: &str = "/things";

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
    let PageRequest { offset, limit } = request;
    let place = discovery::Place { offset, limit, count: page.items.len(), total: page.total };
    let links = discovery::links(place, PATH, format, page.revision);
    let body = discovery::listing(page.items, place, PATH, format);
    let mut response = ([(header::CONTENT_TYPE, LD_JSON)], body.to_string()).into_response();
    append_links(&mut response, links);
    Ok(response)
}

fn append_links(response: &mut Response, links: Vec<String>) {
    for link in links.into_iter().filter_map(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().append(header::LINK, link);
    }
}

/// What to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Search {
    /// A JSONPath query (RFC 9535), of at most 1,024 bytes; `$` is the array of all things.
    query: String,
}

/// `GET /search/jsonpath`
#[utoipa::path(
    get, path = "/search/jsonpath", tag = "directory", operation_id = "search_jsonpath",
    summary = "Search the Thing Descriptions by JSONPath",
    params(Search),
    responses(
        (status = 200, description = "Whole things, as they are listed, and parts of things", body = serde_json::Value),
        (status = 400, description = "No query, or one that costs too much", body = Problem)
    )
)]
pub(super) async fn search(
    State(door): State<Shared>,
    Queried(search): Queried<Search>,
) -> Result<Response, ApiError> {
    let found = door.federation.search_things(&search.query).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], found).into_response())
}

/// The media type of what is shown of an anchored directory.
const ANCHORED: &str = "application/vnd.sofie.directory";

/// `GET /api/v1/directory/anchored`
#[utoipa::path(
    get, path = "/api/v1/directory/anchored", tag = "directory", operation_id = "directory_anchored",
    summary = "The newest state of the directory that is anchored on a ledger, with the proof (docs/specs/directory.md)",
    responses((
        status = 200, description = "Canonical CBOR, as `sofie directory verify` reads it",
        content_type = "application/vnd.sofie.directory", body = Vec<u8>
    ))
)]
pub(super) async fn anchored(State(door): State<Shared>) -> Result<Response, ApiError> {
    door.federation.directory_anchored().await.map(shown)
}

/// `GET /api/v1/directory/proofs/{id}`
#[utoipa::path(
    get, path = "/api/v1/directory/proofs/{id}", tag = "directory", operation_id = "directory_proof",
    summary = "The proof that a thing is in the anchored state, or is not",
    params(("id" = String, Path, description = "The thing's id, percent-encoded; it need not be registered")),
    responses((
        status = 200, description = "Canonical CBOR", content_type = "application/vnd.sofie.directory", body = Vec<u8>
    ))
)]
pub(super) async fn proof(
    State(door): State<Shared>,
    Segment(id): Segment<ThingId>,
) -> Result<Response, ApiError> {
    door.federation.directory_proof(&id).await.map(shown)
}

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// The last key that is known; from the first on without it.
    #[param(value_type = Option<String>)]
    after: Option<Digest>,
}

/// `GET /api/v1/directory/entries`
#[utoipa::path(
    get, path = "/api/v1/directory/entries", tag = "directory", operation_id = "directory_entries",
    summary = "The keys and digests of the anchored state, in their order, at most 4,096 at a time",
    params(After),
    responses((
        status = 200, description = "Canonical CBOR", content_type = "application/vnd.sofie.directory", body = Vec<u8>
    ))
)]
pub(super) async fn entries(
    State(door): State<Shared>,
    Queried(After { after }): Queried<After>,
) -> Result<Response, ApiError> {
    door.federation.directory_entries(after).await.map(shown)
}

fn shown(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, ANCHORED)], bytes).into_response()
}

/// `GET /.well-known/core`
#[utoipa::path(
    get, path = "/.well-known/core", tag = "directory", operation_id = "well_known_core",
    summary = "Links to the directory's own description and to each thing's (RFC 6690); one more parameter, such as \
               rt=wot.thing or href=/things/urn:*, narrows them",
    params(
        ("page" = Option<usize>, Query, description = "Which page, from 0"),
        ("count" = Option<usize>, Query, description = "At most so many links, up to 100")
    ),
    responses((
        status = 200, description = "Links; the next page's URL is in the Link header",
        content_type = "application/link-format", body = String
    ))
)]
pub(super) async fn well_known_core(
    State(door): State<Shared>,
    Queried(pairs): Queried<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let mut asked = AskedLinks { filter: None, page: 0, count: MAX_LINKS };
    let mut kept = String::new();
    for (name, value) in &pairs {
        let number = || {
            let why = format!("{name} must be a number");
            value.parse::<usize>().map_err(|_| unreadable("the query", why))
        };
        match name.as_str() {
            "page" => asked.page = number()?,
            "count" => asked.count = number()?.clamp(1, MAX_LINKS),
            _ if asked.filter.is_some() => {
                return Err(unreadable("the query", "links are narrowed by one attribute at a time"));
            }
            _ => {
                asked.filter = Some(Filter::new(name, value));
                kept = format!("{}={}&", path_segment(name), path_segment(value));
            }
        }
    }
    let (page, count) = (asked.page.saturating_add(1), asked.count);
    let Resources { text, more } = door.federation.thing_links(asked).await?;
    let mut response = ([(header::CONTENT_TYPE, LINK_FORMAT)], text).into_response();
    if more {
        let next = format!("</.well-known/core?{kept}page={page}&count={count}>; rel=\"next\"");
        append_links(&mut response, vec![next]);
    }
    Ok(response)
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
    format!("/things/{}", path_segment(id.as_str()))
}
