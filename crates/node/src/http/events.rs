//! Server-sent events (HTML, section 9.2): resumable, bounded in number and in time.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use sofie_model::Txid;
use utoipa::IntoParams;

use super::{
    body::Queried,
    problem::unreadable,
    state::{Door, Shared},
};
use crate::api::{ApiError, CloudEvent, Step, ThingChange, ThingEvent};

/// A comment is sent after so much silence, so that both ends notice when the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A stream ends after so long, and a client that is still there resumes it.
const MAX_STREAM_LIFE: Duration = Duration::from_secs(3600);
/// How long a browser waits before it resumes.
const RETRY: Duration = Duration::from_secs(1);
/// Where a client that reads again says how far it had come.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where a stream starts; the header `Last-Event-ID` has precedence.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Resume {
    /// The number of the last event that is known already.
    after: Option<u64>,
}

impl Resume {
    /// The number after which to start.
    pub(super) fn after(&self, headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
        match headers.get(LAST_EVENT_ID).map(HeaderValue::as_bytes) {
            // A browser that has seen no id yet may send an empty one.
            None | Some(b"") => Ok(self.after),
            Some(id) => match std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()) {
                Some(number) => Ok(Some(number)),
                None => Err(unreadable("Last-Event-ID", "not the number of an event")),
            },
        }
    }
}

/// A contract's steps, then `end` with the contract as it stands.
pub(super) async fn steps(door: &Shared, id: Txid, after: Option<u64>) -> Result<Response, ApiError> {
    let slot = door.stream_slot()?;
    let steps = door.federation.contract_events(id, after).await?;
    let federation = Arc::clone(&door.federation);
    let end = stream::once(async move {
        // The stream has ended: a contract that cannot be shown now is shown to whoever asks again.
        match federation.contract(id).await {
            Ok(contract) => event("end", None, &contract),
            Err(error) => event("end", None, &error.problem()),
        }
    });
    Ok(answer(door, slot, steps.map(|step: Step| event("step", Some(step.seq), &step)).chain(end)))
}

/// Changes of the directory, all or of one kind (WoT Discovery, section 7.3.2.2).
pub(super) async fn things(
    door: &Shared,
    only: Option<ThingChange>,
    after: Option<u64>,
) -> Result<Response, ApiError> {
    let slot = door.stream_slot()?;
    let changes = door.federation.thing_events(after).await?;
    let changes =
        changes.filter(move |change| std::future::ready(only.is_none_or(|only| only == change.change)));
    // The event's data is the part of the description that identifies it.
    let changes = changes.map(|change: ThingEvent| {
        event(change.change.as_str(), Some(change.seq), &serde_json::json!({ "id": change.id }))
    });
    Ok(answer(door, slot, changes))
}

/// `GET /api/v1/events`
#[utoipa::path(
    get, path = "/api/v1/events", tag = "node", operation_id = "events",
    summary = "Every record of the audit log as a CloudEvent, by server-sent events",
    params(Resume),
    responses((
        status = 200, content_type = "text/event-stream", body = String,
        description = "Events named `event`: the id is the record's number, the data a CloudEvent. Without a cursor, \
                       those from now on. A stream that ends was cut: resume it."
    ))
)]
pub(super) async fn all(
    State(door): State<Shared>,
    Queried(resume): Queried<Resume>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let after = resume.after(&headers)?;
    let slot = door.stream_slot()?;
    let events = door.federation.events(after).await?;
    // Its own number is the sequence without the leading zeroes.
    let number = |told: &CloudEvent| told.sequence.parse().ok();
    Ok(answer(&door, slot, events.map(move |told| event("event", number(&told), &told))))
}

fn event(name: &str, seq: Option<u64>, data: &impl Serialize) -> Event {
    // These types have only text keys and no floats: they are always JSON.
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    let event = Event::default().event(name).data(data).retry(RETRY);
    seq.map_or(event.clone(), |seq| event.id(seq.to_string()))
}

fn answer(
    door: &Door,
    slot: impl Send + 'static,
    events: impl Stream<Item = Event> + Send + 'static,
) -> Response {
    let mut stopping = door.stopping();
    let over = async move {
        let stopped = async { drop(stopping.wait_for(|stopping| *stopping).await) };
        let _late = tokio::time::timeout(MAX_STREAM_LIFE, stopped).await;
    };
    let events = events.take_until(over).map(move |event| {
        // The place is given back when the stream is dropped.
        let _held = &slot;
        Ok::<_, Infallible>(event)
    });
    let mut response =
        Sse::new(events.boxed()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // Proxies that gather answers would hold events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
