//! The directory: which Thing Descriptions are registered, by whom, and until when (W3C WoT Discovery, section 7.3).
//!
//! It does no I/O. A method that would change something only *plans* it and returns a [`Change`]; the caller persists
//! the change and then gives it to [`Directory::apply`]. So a change that could not be written never happened, and a
//! restart is a replay: [`Directory::apply`] for every change in order. Between a plan and its `apply` no other change
//! may be applied. Left out: XPath and SPARQL queries, and the diffs of the notification API.

mod event;
pub(crate) mod registration;
mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sofie_model::{Digest, Span, ThingId, Timestamp, map};

pub use event::{Event, EventKind, Lost, MAX_EVENTS};
pub use search::{MAX_PAGE, Page, Query};

use crate::json::{self, Limits};
use crate::{Errors, ThingDescription, patch};
use event::Events;
use registration::Lifetime;

/// How many Thing Descriptions a directory holds.
pub const MAX_THINGS: usize = 100_000;
/// Longest name of an owner, in bytes.
pub const MAX_OWNER: usize = 64;

/// A registered Thing Description. Its `registration` is not part of the document here, but of this type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its name in this directory: the document's `id`.
    pub id: ThingId,
    /// The platform owner who registered it.
    pub owner: String,
    /// The document, without `registration`. An anonymous one was given its `id`.
    pub thing: ThingDescription,
    /// When it was registered.
    pub created: Timestamp,
    /// When it was last registered, replaced or patched.
    pub modified: Timestamp,
    /// How long it lives after `modified`, if the registrant said so.
    pub ttl: Option<Span>,
    /// When it is forgotten.
    pub expires: Option<Timestamp>,
}

/// What happened, or is about to. The caller persists it as it is (JSON by serde).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A thing is registered, replaced or patched.
    Put {
        /// The new state of its record.
        record: Box<Record>,
    },
    /// A thing is forgotten.
    Removed {
        /// Which one.
        id: ThingId,
        /// When.
        at: Timestamp,
        /// True when its time was over, false when somebody asked for it.
        expired: bool,
    },
}

/// Why the directory does not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// The document breaks rules of the Thing Description.
    #[error("the Thing Description is not valid:\n{0}")]
    Invalid(#[from] Errors),
    /// No such thing.
    #[error("the directory holds no thing {id}: list what it holds, or register it first")]
    NotFound {
        /// The name that was asked for.
        id: ThingId,
    },
    /// The document's `id` is not the name it is registered under.
    #[error("the document's id is {got:?}, but it is registered as {id}: make them equal")]
    OtherId {
        /// The name it is registered under.
        id: ThingId,
        /// The document's own `id`; empty when it has none.
        got: String,
    },
    /// The thing belongs to somebody else.
    #[error("thing {id} is registered by {owner}, who alone may change it: choose another id")]
    OtherOwner {
        /// Which thing.
        id: ThingId,
        /// Who registered it.
        owner: String,
    },
    /// An owner's name that is empty or too long.
    #[error("an owner's name has 1 to {MAX_OWNER} bytes, this one has {got}: shorten it")]
    BadOwner {
        /// Its length.
        got: usize,
    },
    /// [`MAX_THINGS`] are registered.
    #[error("the directory is full ({limit} things): delete some first")]
    Full {
        /// The limit.
        limit: usize,
    },
}

/// The directory.
///
/// ```
/// use sofie_directory::{ThingDescription, store::Directory};
/// use sofie_model::Timestamp;
/// let thing = ThingDescription::parse(br#"{
///     "@context": "https://www.w3.org/2022/wot/td/v1.1", "title": "Lamp", "security": "psk",
///     "securityDefinitions": {"psk": {"scheme": "psk"}}
/// }"#)?;
/// let mut directory = Directory::default();
/// let change = directory.register(thing, "lamp-co", [7; 16], Timestamp::from_seconds(1))?;
/// // … here the change is written to disk …
/// let event = directory.apply(change).expect("a new thing is an event");
/// assert_eq!(directory.get(&event.id).map(|record| record.owner.as_str()), Some("lamp-co"));
/// # Ok::<(), sofie_directory::store::DirectoryError>(())
/// ```
#[derive(Debug, Default)]
pub struct Directory {
    records: BTreeMap<ThingId, Arc<Record>>,
    expiries: BTreeSet<(Timestamp, ThingId)>,
    /// The digest of each description, by its key in the map that is anchored.
    digests: BTreeMap<Digest, Digest>,
    events: Events,
}

impl Directory {
    /// The directory as it was kept: its records, and its newest events. `latest` is the number of the newest event when none was
    /// kept.
    #[must_use]
    pub fn kept(records: impl IntoIterator<Item = Record>, events: Vec<Event>, latest: u64) -> Self {
        let mut directory = Self { events: Events::kept(events, latest), ..Self::default() };
        records.into_iter().for_each(|record| drop(directory.put_record(record)));
        directory
    }

    /// Plans the registration of a thing under its own `id`, or, if it has none, under `urn:uuid:` of the caller's 16
    /// random bytes. A thing that is there is replaced.
    ///
    /// # Errors
    /// [`DirectoryError::Invalid`] for its `registration`, [`DirectoryError::OtherOwner`], [`DirectoryError::BadOwner`],
    /// [`DirectoryError::Full`].
    pub fn register(
        &self,
        thing: ThingDescription,
        owner: &str,
        random: [u8; 16],
        now: Timestamp,
    ) -> Result<Change, DirectoryError> {
        let mut document = thing.into_document();
        if document.get("id").is_none() {
            document["id"] = Value::String(uuid_urn(random));
        }
        self.plan(document, owner, now)
    }

    /// Plans the registration, or the replacement, of a thing under `id`, which its own `id` must equal (PUT).
    ///
    /// # Errors
    /// [`DirectoryError::OtherId`], and those of [`Directory::register`].
    pub fn put(
        &self,
        id: &ThingId,
        thing: ThingDescription,
        owner: &str,
        now: Timestamp,
    ) -> Result<Change, DirectoryError> {
        if thing.id.as_ref() != Some(id) {
            let got = thing.id.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(DirectoryError::OtherId { id: id.clone(), got });
        }
        self.plan(thing.into_document(), owner, now)
    }

    /// Plans a partial update by JSON merge patch (RFC 7396). A `ttl` of before counts anew from `now`.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`], [`DirectoryError::OtherId`] when it would rename the thing, and
    /// [`DirectoryError::Invalid`] for what would come out.
    pub fn patch(&self, id: &ThingId, change: &Value, now: Timestamp) -> Result<Change, DirectoryError> {
        let record = self.require(id)?;
        let mut document = record.thing.document().clone();
        document["registration"] = registration::asked(record);
        patch::merge(&mut document, change);
        let got = document.get("id").and_then(Value::as_str).unwrap_or_default();
        if document.is_object() && got != id.as_str() {
            return Err(DirectoryError::OtherId { id: id.clone(), got: got.to_owned() });
        }
        // Many small patches must not add up to a document that would be refused as one.
        let document = json::read(document.to_string().as_bytes(), Limits::THING).map_err(Errors::from)?;
        self.plan(document, &record.owner, now)
    }

    /// Plans to forget a thing.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`].
    pub fn delete(&self, id: &ThingId, now: Timestamp) -> Result<Change, DirectoryError> {
        self.require(id)?;
        Ok(Change::Removed { id: id.clone(), at: now, expired: false })
    }

    /// Plans to forget what has expired by `now`, at most `limit` things, the longest expired first.
    #[must_use]
    pub fn expired(&self, now: Timestamp, limit: usize) -> Vec<Change> {
        let due = self.expiries.iter().take_while(|(expires, _)| *expires <= now).take(limit);
        due.map(|(_, id)| Change::Removed { id: id.clone(), at: now, expired: true }).collect()
    }

    /// When the next thing expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(expires, _)| *expires)
    }

    /// What event a planned change will be: a caller persists both. `None` for the removal of a thing that is not there.
    #[must_use]
    pub fn event_of(&self, change: &Change) -> Option<Event> {
        let (kind, id, at) = match change {
            Change::Put { record } if self.records.contains_key(&record.id) => {
                (EventKind::Updated, &record.id, record.modified)
            }
            Change::Put { record } => (EventKind::Created, &record.id, record.modified),
            Change::Removed { id, at, .. } => {
                (EventKind::Deleted, self.records.contains_key(id).then_some(id)?, *at)
            }
        };
        Some(self.events.next(kind, id.clone(), at))
    }

    /// Makes a persisted change so, and says what event it is: [`Directory::event_of`].
    pub fn apply(&mut self, change: Change) -> Option<Event> {
        let event = self.event_of(&change)?;
        let (id, old) = match change {
            Change::Put { record } => (event.id.clone(), self.put_record(*record)),
            Change::Removed { id, .. } => {
                self.digests.remove(&map::anchor::key(&id));
                (id.clone(), self.records.remove(&id))
            }
        };
        let now = self.records.get(&id).and_then(|record| record.expires);
        if let Some(expires) = old.and_then(|old| old.expires).filter(|old| Some(*old) != now) {
            self.expiries.remove(&(expires, id));
        }
        self.events.push(event.clone());
        Some(event)
    }

    /// The record of before.
    fn put_record(&mut self, record: Record) -> Option<Arc<Record>> {
        if let Some(expires) = record.expires {
            self.expiries.insert((expires, record.id.clone()));
        }
        self.digests.insert(map::anchor::key(&record.id), record.thing.hash());
        self.records.insert(record.id.clone(), Arc::new(record))
    }

    /// One thing.
    #[must_use]
    pub fn get(&self, id: &ThingId) -> Option<&Record> {
        self.records.get(id).map(Arc::as_ref)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// All records, in the order of their ids: what a caller writes when it compacts its log of changes.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values().map(Arc::as_ref)
    }

    /// All records as they are now, for a reader who takes his time: [`discovery::found`](crate::discovery::found).
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<Record>> {
        self.records.values().cloned().collect()
    }

    /// What an anchored map of this directory holds ([`sofie_model::map::anchor::State`]), in the order of the keys.
    pub fn entries(&self) -> impl Iterator<Item = map::Entry> {
        self.digests.iter().map(|(key, value)| map::Entry { key: *key, value: *value })
    }

    /// Things that `query` matches, in the order of their ids, from the `offset`th, at most `limit` of them and never
    /// more than [`MAX_PAGE`].
    #[must_use]
    pub fn search(&self, query: &Query, offset: usize, limit: usize) -> Page<'_> {
        search::page(self.records(), query, offset, limit)
    }

    /// The events after number `seq`, the oldest first.
    ///
    /// # Errors
    /// [`Lost`] when some of them were dropped already, or `seq` is of another run: read the list again.
    pub fn events_after(&self, seq: u64) -> Result<impl Iterator<Item = &Event>, Lost> {
        self.events.after(seq)
    }

    /// The number of the newest event, 0 when there was none.
    #[must_use]
    pub fn latest_event(&self) -> u64 {
        self.events.latest()
    }

    fn require(&self, id: &ThingId) -> Result<&Record, DirectoryError> {
        self.get(id).ok_or_else(|| DirectoryError::NotFound { id: id.clone() })
    }

    /// The record that `document`, which has an `id`, becomes.
    fn plan(&self, mut document: Value, owner: &str, now: Timestamp) -> Result<Change, DirectoryError> {
        if !(1..=MAX_OWNER).contains(&owner.len()) {
            return Err(DirectoryError::BadOwner { got: owner.len() });
        }
        let asked = document.as_object_mut().and_then(|members| members.remove("registration"));
        let thing = ThingDescription::from_value(document)?;
        let Lifetime { ttl, expires } = registration::read(asked.as_ref(), now)?;
        let id = thing.id.clone().expect("the callers see to it that the document has an id");
        let before = self.records.get(&id);
        match before {
            Some(old) if old.owner != owner => {
                return Err(DirectoryError::OtherOwner { id, owner: old.owner.clone() });
            }
            None if self.records.len() >= MAX_THINGS => {
                return Err(DirectoryError::Full { limit: MAX_THINGS });
            }
            _ => {}
        }
        let created = before.map_or(now, |old| old.created);
        let owner = owner.to_owned();
        Ok(Change::Put {
            record: Box::new(Record { id, owner, thing, created, modified: now, ttl, expires }),
        })
    }
}

/// `urn:uuid:` (RFC 9562, version 4) of 16 random bytes.
fn uuid_urn(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let mut text = String::from("urn:uuid:");
    for (index, byte) in random.iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
