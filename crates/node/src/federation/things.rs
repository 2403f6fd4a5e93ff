//! The directory of Thing Descriptions as the API offers it.

use futures::{Stream, stream};
use sofie_directory::discovery::{self, Resources};
use sofie_directory::jsonpath::JsonPath;
use sofie_directory::store::{DirectoryError, EventKind, Query};
use sofie_directory::{Directory, ThingDescription};
use sofie_model::{Digest, ThingId};
use tokio::sync::Semaphore;

use crate::api::{
    ApiError, AskedLinks, Description, ErrorKind, Page, PageRequest, Put, ThingChange, ThingEvent,
};
use crate::clock;
use crate::platforms::{NotAnchored, PlatformError};
use crate::runtime::{Runtime, directory_id};

/// How long between two looks for events that come.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(250);

pub(super) fn own(runtime: &Runtime) -> Result<Description, ApiError> {
    let id = directory_id(runtime.config());
    let title = format!("Things of {}", runtime.config().node.name);
    let door = if runtime.config().node.token_file.is_some() {
        discovery::Door::Bearer
    } else {
        discovery::Door::Open
    };
    discovery::own_description(&runtime.base_url(), id.as_str(), &title, door)
        .map(ThingDescription::into_document)
        .map_err(|errors| {
            ApiError::new(ErrorKind::Internal, "the directory cannot describe itself", errors.to_string())
        })
}

pub(super) fn page(runtime: &Runtime, asked: PageRequest) -> Page {
    let now = clock::now();
    runtime.platforms().directory(|directory| {
        let page = directory.search(&Query::default(), asked.offset, asked.limit);
        Page {
            items: page.items.iter().map(|record| discovery::enriched(record, now)).collect(),
            total: page.total,
            revision: directory.latest_event(),
        }
    })
}

/// At most so many searches at once: each keeps a thread busy.
const MAX_SEARCHES: usize = 2;
static SEARCHES: Semaphore = Semaphore::const_new(MAX_SEARCHES);

pub(super) async fn search(runtime: &Runtime, query: &str) -> Result<String, ApiError> {
    let next = "see RFC 9535, docs/guide/directory.md, or list all things with GET /things";
    let query = JsonPath::read(query).map_err(|bad| {
        ApiError::new(ErrorKind::Invalid, "the query cannot be read", bad.to_string()).next(next)
    })?;
    // A caller who has gone waits no longer; a search that has begun ends by itself.
    let place = SEARCHES.acquire().await.map_err(|e| super::internal(&e))?;
    let records = runtime.platforms().directory(Directory::snapshot);
    let now = clock::now();
    let found = tokio::task::spawn_blocking(move || {
        let _place = place;
        discovery::found(&records, &query, now)
    });
    found.await.map_err(|e| super::internal(&e))?.map_err(|much| {
        ApiError::new(ErrorKind::Invalid, "the query costs too much", much.to_string())
            .next("ask for less: name members instead of searching all with .., and take a part with [0:100]")
    })
}

/// The newest anchored state and its proof, in canonical CBOR.
pub(super) async fn anchored(runtime: &Runtime) -> Result<Vec<u8>, ApiError> {
    Ok(runtime.platforms().anchored().await?.to_bytes())
}

pub(super) fn proof(runtime: &Runtime, id: &ThingId) -> Result<Vec<u8>, ApiError> {
    Ok(runtime.platforms().proof_of(id)?.to_bytes())
}

pub(super) fn entries(runtime: &Runtime, after: Option<Digest>) -> Result<Vec<u8>, ApiError> {
    Ok(runtime.platforms().entries_after(after)?.to_bytes())
}

impl From<NotAnchored> for ApiError {
    fn from(error: NotAnchored) -> Self {
        let (kind, next) = match error {
            NotAnchored::NoLedger | NotAnchored::NoProof { .. } => {
                (ErrorKind::Conflict, "name a calendar of this node before other ledgers that take records")
            }
            NotAnchored::NotYet => {
                (ErrorKind::Conflict, "ask again in a moment; see the node's log if it stays so")
            }
            NotAnchored::Ledger(_) => (ErrorKind::Unavailable, "ask again"),
        };
        Self::new(kind, "the directory's anchored state cannot be shown", error.to_string()).next(next)
    }
}

pub(super) fn links(runtime: &Runtime, asked: &AskedLinks) -> Resources {
    let AskedLinks { filter, page, count } = asked;
    runtime
        .platforms()
        .directory(|directory| discovery::resources(directory.records(), filter.as_ref(), *page, *count))
}

pub(super) fn get(runtime: &Runtime, id: &ThingId) -> Result<Description, ApiError> {
    let now = clock::now();
    runtime.platforms().directory(|directory| {
        let record = directory
            .get(id)
            .ok_or_else(|| PlatformError::from(DirectoryError::NotFound { id: id.clone() }))?;
        Ok(discovery::enriched(record, now))
    })
}

pub(super) async fn create(runtime: &Runtime, description: &str) -> Result<ThingId, ApiError> {
    let thing = parse(description)?;
    if thing.id.is_some() {
        let detail = "POST is for a description without an id";
        return Err(ApiError::new(ErrorKind::Invalid, "the description has an id", detail)
            .next("PUT it under its id"));
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| super::internal(&e))?;
    let owner = runtime.config().node.operator.to_string();
    let change = runtime
        .platforms()
        .change(move |directory, now| directory.register(thing, &owner, random, now))
        .await?;
    match change {
        sofie_directory::store::Change::Put { record } => Ok(record.id),
        sofie_directory::store::Change::Removed { id, .. } => Ok(id),
    }
}

pub(super) async fn put(runtime: &Runtime, id: &ThingId, description: &str) -> Result<Put, ApiError> {
    let thing = parse(description)?;
    let known =
        runtime.platforms().directory(|directory| directory.get(id).map(|record| record.owner.clone()));
    // Who may change this node's directory at all is the door's question; a record keeps its owner.
    let owner = known.clone().unwrap_or_else(|| runtime.config().node.operator.to_string());
    let named = id.clone();
    runtime.platforms().change(move |directory, now| directory.put(&named, thing, &owner, now)).await?;
    Ok(if known.is_some() { Put::Replaced } else { Put::Created })
}

pub(super) async fn patch(runtime: &Runtime, id: &ThingId, patch: &str) -> Result<(), ApiError> {
    let patch = sofie_directory::json::read(patch.as_bytes(), sofie_directory::json::Limits::THING)
        .map_err(|problem| ApiError::new(ErrorKind::Invalid, "the patch is no JSON", problem.to_string()))?;
    let named = id.clone();
    runtime.platforms().change(move |directory, now| directory.patch(&named, &patch, now)).await?;
    Ok(())
}

pub(super) async fn delete(runtime: &Runtime, id: &ThingId) -> Result<(), ApiError> {
    let named = id.clone();
    runtime.platforms().change(move |directory, now| directory.delete(&named, now)).await?;
    Ok(())
}

/// Events after number `after`, or from now on; those that were dropped meanwhile are skipped.
pub(super) fn follow(runtime: Runtime, after: Option<u64>) -> impl Stream<Item = ThingEvent> + Send {
    let latest = runtime.platforms().directory(Directory::latest_event);
    stream::unfold((runtime, after.unwrap_or(latest)), |(runtime, seen)| async move {
        loop {
            let found = runtime.platforms().directory(|directory| match directory.events_after(seen) {
                Ok(mut events) => Ok(events.next().map(|event| ThingEvent {
                    seq: event.seq,
                    change: change(event.kind),
                    id: event.id.clone(),
                })),
                Err(_) => Err(directory.latest_event()),
            });
            match found {
                Ok(Some(event)) => {
                    let seq = event.seq;
                    return Some((event, (runtime, seq)));
                }
                Ok(None) => tokio::time::sleep(PAUSE).await,
                Err(latest) => {
                    return Some((
                        // It names the directory itself: "read the list again".
                        ThingEvent {
                            seq: latest,
                            change: ThingChange::ThingUpdated,
                            id: directory_id(runtime.config()),
                        },
                        (runtime, latest),
                    ));
                }
            }
        }
    })
}

const fn change(kind: EventKind) -> ThingChange {
    match kind {
        EventKind::Created => ThingChange::ThingCreated,
        EventKind::Updated => ThingChange::ThingUpdated,
        EventKind::Deleted => ThingChange::ThingDeleted,
    }
}

fn parse(description: &str) -> Result<ThingDescription, ApiError> {
    ThingDescription::parse(description.as_bytes()).map_err(|errors| ApiError::from(&errors))
}
