//! What stands before every route, from the outside in: [`observe`], [`admit`], [`bound`].

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument;

use sofie_ledgers::quorum::MEDIA_TYPE;

use super::state::{Door, Shared, Slot};
use super::{calendars, platforms, quorums};
use crate::api::{ApiError, ErrorKind};
use crate::peers::envelope;

/// Names a request in logs and answers.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest name that a client may give.
const MAX_REQUEST_ID: usize = 64;
/// What an answer of the API may do in a browser: nothing.
const NO_CONTENT: &str = "default-src 'none'; frame-ancestors 'none'";

/// Types of bodies that no foreign page can send without asking first (a CORS preflight, which is never granted).
const BODY_TYPES: [&str; 5] = [
    "application/json",
    "application/td+json",
    "application/ld+json",
    "application/merge-patch+json",
    super::transactions::MANIFEST,
];

/// Names the request, logs and counts its answer, and adds the headers that every answer has.
pub(super) async fn observe(State(door): State<Shared>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = known_method(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", request_id = %id, method, route);
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    door.measures.answered(method, &route, status, started.elapsed());
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::info!(status, millis, "answered"));
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    secure(headers);
    response
}

fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CONTENT_SECURITY_POLICY, NO_CONTENT),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        // The console's answers bring a policy and a cache rule of their own.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// A client's own name for the request, if it is harmless in a log, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    });
    // Without randomness all get one name: logs are then harder to read, and nothing else is lost.
    given.map_or_else(|| format!("{:016x}", getrandom::u64().unwrap_or(0)), str::to_owned)
}

fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Lets in who may come in: the right name for this server and, for a change, a request that no foreign page can make
/// and the token, if one is configured.
pub(super) async fn admit(State(door): State<Shared>, request: Request, next: Next) -> Response {
    match admitted(&door, &request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

fn admitted(door: &Door, request: &Request) -> Result<(), ApiError> {
    let host = host(request.uri(), request.headers())?;
    if !is_ours(door, host.host()) {
        return Err(misdirected(format!("this node is not called {:?}", host.host())));
    }
    if request.method().is_safe() {
        // What things say is told to who may also change them.
        let private = request.uri().path().starts_with(platforms::THINGS);
        return if private { bearer(door, request.headers()) } else { Ok(()) };
    }
    same_origin(request.headers(), &host)?;
    // Another node shows its signature instead of the token, and its media type needs a preflight as JSON does.
    if request.uri().path() == envelope::PATH && request.method() == Method::POST {
        return body_of(request.headers(), envelope::MEDIA_TYPE, "docs/specs/node-messages.md");
    }
    if request.uri().path().starts_with(calendars::PREFIX) && request.method() == Method::POST {
        return body_of(request.headers(), crate::calendars::MEDIA_TYPE, "docs/specs/shared-calendar.md");
    }
    // What is said to a member of a group proves itself.
    if request.uri().path().starts_with(quorums::PREFIX) && request.method() == Method::POST {
        return body_of(request.headers(), MEDIA_TYPE, "docs/specs/inter-ledger.md");
    }
    json_body(request.method(), request.headers())?;
    bearer(door, request.headers())
}

/// The one name by which the request calls this server.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, ApiError> {
    let mut named = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else {
        return Err(misdirected("a request needs exactly one Host header".to_owned()));
    };
    // RFC 9110, section 7.2: a host and a port, never a user.
    let host = host.to_str().ok().filter(|host| !host.contains('@'));
    let host: Option<Authority> = host.and_then(|host| host.parse().ok());
    let host = host.ok_or_else(|| misdirected("the Host header is not a host and a port".to_owned()))?;
    match uri.authority() {
        Some(target) if *target != host => {
            Err(misdirected("the request's target and its Host header differ".to_owned()))
        }
        _ => Ok(host),
    }
}

/// A page of another site can make its own name point at this machine, but it cannot make the browser send a Host
/// header that is ours.
fn is_ours(door: &Door, host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<std::net::IpAddr>() {
        Ok(ip) => ip.is_loopback() || (ip == door.ip && !ip.is_unspecified()) || listed(door, host),
        Err(_) => host.eq_ignore_ascii_case("localhost") || listed(door, host),
    }
}

fn listed(door: &Door, host: &str) -> bool {
    door.options.hosts.iter().any(|name| name.eq_ignore_ascii_case(host))
}

fn misdirected(detail: String) -> ApiError {
    ApiError::new(ErrorKind::Misdirected, "another server is meant", detail).next(
        "call it by its address, such as http://127.0.0.1:PORT, or add its name to hosts in [node] and restart it",
    )
}

/// Fetch Metadata and the Origin header (RFC 6454), where a browser sends them.
fn same_origin(headers: &HeaderMap, host: &Authority) -> Result<(), ApiError> {
    let foreign = |detail: String| {
        Err(ApiError::new(ErrorKind::Refused, "a foreign page may change nothing", detail)
            .next("make this request from the node's own console, or outside a browser"))
    };
    if let Some(origin) = headers.get(header::ORIGIN) {
        let ours = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        if ours.as_ref().and_then(Uri::authority) != Some(host) {
            return foreign("the Origin header names another site".to_owned());
        }
    }
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => foreign("the Sec-Fetch-Site header names another site".to_owned()),
    }
}

/// POST, PUT and PATCH need a JSON type, also with an empty body; a manifest has its own.
fn json_body(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    let known = BODY_TYPES.iter().any(|known| known.eq_ignore_ascii_case(essence));
    if known || method == Method::DELETE {
        return Ok(());
    }
    let detail = format!("the content type is {essence:?}; expected {}", BODY_TYPES.join(", "));
    Err(ApiError::new(ErrorKind::UnsupportedType, "the body is not JSON", detail)
        .next("send the header content-type: application/json, also with an empty body"))
}

/// A message of another node or member.
fn body_of(headers: &HeaderMap, media_type: &str, specified: &str) -> Result<(), ApiError> {
    if headers.get(header::CONTENT_TYPE).is_some_and(|given| given == media_type) {
        return Ok(());
    }
    let detail = format!("the content type is not {media_type}");
    Err(ApiError::new(ErrorKind::UnsupportedType, "the body is no message", detail)
        .next(format!("see {specified}")))
}

/// RFC 6750, section 2.1
fn bearer(door: &Door, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(token) = &door.options.token else { return Ok(()) };
    let shown = headers.get(header::AUTHORIZATION).and_then(|shown| shown.to_str().ok());
    let shown = shown.and_then(|shown| shown.split_once(' '));
    match shown {
        Some((scheme, shown)) if scheme.eq_ignore_ascii_case("bearer") && token.accepts(shown.trim()) => {
            Ok(())
        }
        _ => {
            let detail = "changes need the node's bearer token, and the request shows none or another";
            Err(ApiError::new(ErrorKind::Unauthorized, "who asks is not known", detail)
                .next("send authorization: Bearer TOKEN with the content of the file that token_file names"))
        }
    }
}

/// Bounds how many requests are worked on at once, and how long each may take. An answer that is a stream counts until
/// its head is there; streams have a bound of their own.
pub(super) async fn bound(State(door): State<Shared>, mut request: Request, next: Next) -> Response {
    let slot = match door.request_slot() {
        Ok(slot) => slot,
        Err(busy) => return busy.into_response(),
    };
    request.extensions_mut().insert(Slot::clone(&slot));
    let limit = door.options.limits.request_timeout;
    let answer = tokio::time::timeout(limit.into(), next.run(request)).await;
    drop(slot);
    match answer {
        Ok(response) => response,
        Err(_) => ApiError::new(ErrorKind::Timeout, "it took too long", format!("no answer within {limit}"))
            .next("ask for the state: a change that had begun goes on")
            .into_response(),
    }
}
