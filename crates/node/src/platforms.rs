//! The platforms that this node has joined: each by introspection through an adapter, its things registered in the
//! directory, their hashes anchored on a record ledger, its messages read into the log of readings.

mod anchor;
mod configured;
mod drift;
mod join;
mod listen;
mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sofie_adapters::binding::{Kind, ThingBinding};
use sofie_adapters::port::{Adapter, AdapterError, Counters, Description};
use sofie_directory::store::{Change, Directory, DirectoryError, Event, MAX_EVENTS, Record};
use sofie_model::{Digest, LedgerId, ThingId, Timestamp};

use crate::api;
use crate::auditor::Note;
use crate::clock;
use crate::drive::Keeper;
use crate::executor::Executor;
use crate::gate::{Allowed, Memory};
use crate::journal::{Entry, Journal, JournalError};
use crate::parties::Parties;
use crate::readings::{ReadingLog, Readings};

pub(crate) use anchor::NotAnchored;
use anchor::Roots;
pub(crate) use configured::Configured;
pub use configured::mapping;
pub(crate) use join::subject;
use listen::Wait;
pub use sofie_adapters::binding::{Mapping, Tested};

/// Facts of this group hold the joined platforms.
const PLATFORMS: &str = "platform";
/// Facts of this group hold the directory's records.
const THINGS: &str = "thing";
/// Facts of this group hold the newest of the directory's events, by their numbers.
const THING_EVENTS: &str = "thing-event";
/// At most so many platforms.
pub const MAX_PLATFORMS: usize = 256;

/// All joined platforms. Clones share them.
#[derive(Clone)]
pub struct Platforms(Arc<Inner>);

struct Inner {
    executor: Executor,
    keeper: Keeper,
    parties: Parties,
    anchor: Option<LedgerId>,
    roots: Roots,
    directory: Mutex<Directory>,
    joined: RwLock<Vec<Joined>>,
    readings: ReadingLog,
    /// What the doors of each owner remember.
    memories: Mutex<BTreeMap<String, Arc<Memory>>>,
    /// One platform at a time is registered and kept; none is asked anything under this lock.
    joining: tokio::sync::Mutex<()>,
    /// One change of the directory at a time.
    changing: tokio::sync::Mutex<()>,
    /// The writes that are under way, by their names.
    writing: Mutex<BTreeSet<Digest>>,
}

/// What the journal keeps of a platform.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    platform: api::Platform,
    allow: BTreeSet<String>,
    /// A node that kept this platform before there were writes allowed none.
    #[serde(default)]
    allow_writes: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    originator: Option<String>,
    descriptions: Vec<DescriptionKept>,
    /// What introspection found, without the owner's words; a node that kept this platform earlier did not keep that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found: Option<Vec<ThingBinding>>,
}

/// A thing's description and what its messages mean.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct DescriptionKept {
    thing: ThingId,
    binding: ThingBinding,
}

#[derive(Clone)]
struct Joined {
    kept: Kept,
    adapter: Arc<dyn Adapter>,
}

/// Why a platform is not joined, or the directory does not change.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The party is not on this node.
    #[error("this node has no party {owner:?}; name one of the configuration's [[party]] entries")]
    NoOwner {
        /// The name.
        owner: String,
    },
    /// It is joined already.
    #[error("{url} is joined already, as {id}")]
    Joined {
        /// Where it answers.
        url: String,
        /// Under which name.
        id: String,
    },
    /// There are too many.
    #[error("this node has joined {MAX_PLATFORMS} platforms, no more are taken")]
    TooMany,
    /// It answers, but there is nothing yet that could be described.
    #[error(
        "{url} answers, but tells of no thing yet; let its devices speak once, or give the address of a description, then join again"
    )]
    Empty {
        /// Where it answers.
        url: String,
    },
    /// The owner's mapping of a configured platform.
    #[error("{file}: not a mapping: {what}; docs/guide/mapping.md shows one")]
    Mapping {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// No joined platform has this thing.
    #[error("no joined platform has {thing}; list the things with GET /things")]
    NoThing {
        /// Its id.
        thing: ThingId,
    },
    /// The owner's door, or the name of the request.
    #[error("{property} of {thing}: {reason}; {next}")]
    Unwritten {
        /// Whose property.
        thing: ThingId,
        /// Its name.
        property: String,
        /// Why not.
        reason: String,
        /// What to do.
        next: String,
        /// The state of an earlier request is in the way, not a rule.
        conflict: bool,
    },
    /// The platform itself.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A description that the directory does not take.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The ledger that anchors does not take the hash of a description.
    #[error("{thing} is described, but ledger {ledger} does not anchor it: {reason}")]
    Anchor {
        /// Which thing.
        thing: ThingId,
        /// Where it was to be anchored.
        ledger: LedgerId,
        /// Its words.
        reason: String,
    },
}

impl PlatformError {
    /// Whether it may be otherwise later.
    pub(crate) const fn is_transient(&self) -> bool {
        matches!(self, Self::Adapter(AdapterError::Transient { .. }))
    }
}

impl std::fmt::Debug for Platforms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platforms").field("anchor", &self.0.anchor).finish_non_exhaustive()
    }
}

impl Platforms {
    /// Reads the directory from the journal, whose own description has the id `name`. `reopen` connects to what was joined. Hashes of
    /// descriptions and of all of them together are anchored on `anchor`, if there is such a ledger.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn load(
        executor: Executor,
        keeper: Keeper,
        parties: Parties,
        anchor: Option<LedgerId>,
        name: ThingId,
    ) -> Result<Self, JournalError> {
        let readings = ReadingLog::load(executor.journal())?;
        let records: Vec<Record> = facts(executor.journal(), THINGS)?;
        let events = facts(executor.journal(), THING_EVENTS)?;
        // Events were not kept once, and were numbered anew at each run: never above the length of the audit log, which
        // tells of each.
        let directory = Directory::kept(records, events, keeper.auditor.len());
        let roots = Roots::load(executor.journal(), name, &directory)?;
        Ok(Self(Arc::new(Inner {
            executor,
            keeper,
            parties,
            anchor,
            roots,
            directory: Mutex::new(directory),
            joined: RwLock::default(),
            readings,
            memories: Mutex::default(),
            joining: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            writing: Mutex::default(),
        })))
    }

    /// Connects to the platforms that an earlier run joined. One that is away is waited for by its reader, not here.
    /// What `configured` says of one of them now, its policy and its mapping, goes before what was kept.
    ///
    /// # Errors
    /// [`PlatformError::Journal`].
    pub(crate) async fn reopen(&self, configured: &[Configured]) -> Result<usize, PlatformError> {
        let kept = self.kept()?;
        let count = kept.len();
        for mut kept in kept {
            kept.obey(configured);
            self.reopen_one(kept).await;
        }
        Ok(count)
    }

    fn kept(&self) -> Result<Vec<Kept>, JournalError> {
        facts(self.0.executor.journal(), PLATFORMS)
    }

    /// The joined platforms.
    #[must_use]
    pub fn list(&self) -> Vec<api::Platform> {
        self.joined().into_iter().map(|joined| joined.kept.platform).collect()
    }

    /// What each platform's adapter has counted, by the platform's id.
    #[must_use]
    pub fn counters(&self) -> Vec<(String, Counters)> {
        self.joined().into_iter().map(|joined| (joined.kept.platform.id, joined.adapter.counters())).collect()
    }

    /// The adapter of the platform that has `thing`.
    #[must_use]
    pub fn adapter_of(&self, thing: &ThingId) -> Option<Arc<dyn Adapter>> {
        self.with(thing).map(|joined| joined.adapter)
    }

    /// The party who owns `thing`.
    #[must_use]
    pub fn owner_of(&self, thing: &ThingId) -> Option<String> {
        self.with(thing).map(|joined| joined.kept.platform.owner)
    }

    /// All things of joined platforms.
    #[must_use]
    pub fn things(&self) -> Vec<ThingId> {
        self.joined().into_iter().flat_map(|joined| joined.kept.platform.things).collect()
    }

    /// The names of a thing's actions.
    #[must_use]
    pub fn actions_of(&self, thing: &ThingId) -> Vec<String> {
        self.bound(thing).map(|binding| binding.actions.into_keys().collect()).unwrap_or_default()
    }

    /// Whether the owner of `thing` lets others ask for `action`: its door refuses every other.
    #[must_use]
    pub fn allows(&self, thing: &ThingId, action: &str) -> bool {
        self.with(thing).is_some_and(|joined| joined.kept.allow.contains(action))
    }

    /// A thing's properties, and what each of them holds.
    #[must_use]
    pub fn properties_of(&self, thing: &ThingId) -> BTreeMap<String, Kind> {
        let bound = self.bound(thing).map(|binding| binding.properties).unwrap_or_default();
        bound.into_iter().map(|(name, property)| (name, property.kind)).collect()
    }

    /// The readings of a thing that arrived since, and those to come.
    #[must_use]
    pub fn readings(&self, thing: &ThingId, since: Timestamp) -> Readings {
        self.0.readings.since(thing, since)
    }

    /// Reads how a property is, if no reading of it has come yet: a change can only be told from something.
    ///
    /// # Errors
    /// [`JournalError`]. A platform that does not answer is no error: then nothing is known.
    pub async fn learn(&self, thing: &ThingId, property: &str) -> Result<(), JournalError> {
        let Some(adapter) = self.adapter_of(thing).filter(|_| !self.0.readings.knows(thing, property)) else {
            return Ok(());
        };
        match adapter.read(thing, property).await {
            Ok(message) => {
                let said = message.observations.iter().map(|said| (message.arrived, said.clone())).collect();
                self.0.readings.keep(self.0.executor.journal(), said).await
            }
            Err(error) => {
                tracing::warn!(%error, %thing, %property, "nobody knows how it was before");
                Ok(())
            }
        }
    }

    /// Reads the directory.
    pub fn directory<T>(&self, read: impl FnOnce(&Directory) -> T) -> T {
        read(&self.0.directory.lock().expect("no holder of this lock panics"))
    }

    /// Plans a change of the directory, journals it, then makes it so.
    ///
    /// # Errors
    /// [`PlatformError`]; then nothing has changed.
    pub async fn change(
        &self,
        plan: impl FnOnce(&Directory, Timestamp) -> Result<Change, DirectoryError> + Send,
    ) -> Result<Change, PlatformError> {
        let _one_at_a_time = self.0.changing.lock().await;
        let now = clock::now();
        let (change, event) = self.directory(|directory| {
            let change = plan(directory, now)?;
            let event = directory.event_of(&change);
            Ok::<_, DirectoryError>((change, event))
        })?;
        let (key, value) = match &change {
            Change::Put { record } => (
                record.id.to_string(),
                serde_json::to_vec(record).map_err(|e| self.corrupt(record.id.as_str(), &e))?,
            ),
            Change::Removed { id, .. } => (id.to_string(), Vec::new()),
        };
        let note = Note::about(join::subject(&key), "directory", true, format!("{key} {}", verb(&change)));
        let mut entries = vec![Entry::Fact { group: THINGS, key, value }];
        entries.extend(event.iter().flat_map(event_entries));
        self.0.keeper.auditor.keep(entries, vec![note], now).await?;
        self.0.directory.lock().expect("no holder of this lock panics").apply(change.clone());
        self.0.roots.changed.notify_one();
        Ok(change)
    }

    fn joined(&self) -> Vec<Joined> {
        self.0.joined.read().expect("no holder of this lock panics").clone()
    }

    fn with(&self, thing: &ThingId) -> Option<Joined> {
        self.joined().into_iter().find(|joined| joined.kept.platform.things.contains(thing))
    }

    fn bound(&self, thing: &ThingId) -> Option<ThingBinding> {
        let joined = self.with(thing)?;
        joined.kept.descriptions.into_iter().find(|one| one.thing == *thing).map(|one| one.binding)
    }

    fn corrupt(&self, key: &str, error: &serde_json::Error) -> JournalError {
        corrupt(self.0.executor.journal(), key, error)
    }
}

impl Kept {
    fn allowed(&self) -> Allowed {
        Allowed { actions: self.allow.clone(), writes: self.allow_writes.clone() }
    }

    fn obey(&mut self, configured: &[Configured]) {
        let mine = join::address(self.platform.kind, &self.platform.owner, &self.platform.url).ok();
        let is_this = |one: &&Configured| {
            one.asked.owner == self.platform.owner
                && join::address(one.asked.kind, &one.asked.owner, &one.asked.url).ok() == mine
        };
        let Some(one) = configured.iter().find(is_this) else { return };
        let Allowed { actions, writes } = Allowed::of(&one.asked);
        (self.allow, self.allow_writes) = (actions, writes);
        self.originator.clone_from(&one.asked.originator);
        for description in &mut self.descriptions {
            if let Some(mapped) = one.mapping.thing(&description.thing) {
                description.binding = mapped.clone();
            }
        }
    }
}

/// The event, and that the one which it pushes out is forgotten.
fn event_entries(event: &Event) -> Vec<Entry> {
    let fact = |seq: u64, value| Entry::Fact { group: THING_EVENTS, key: format!("{seq:020}"), value };
    let gone = event.seq.checked_sub(MAX_EVENTS as u64);
    let value = serde_json::to_vec(event).expect("names and numbers are JSON");
    [fact(event.seq, value)].into_iter().chain(gone.map(|seq| fact(seq, Vec::new()))).collect()
}

/// The facts of a group, which are JSON, by key.
fn facts<T: DeserializeOwned>(journal: &Journal, group: &str) -> Result<Vec<T>, JournalError> {
    let facts = journal.reader()?.facts(group)?;
    let read = |(key, bytes): &(String, Vec<u8>)| {
        serde_json::from_slice(bytes).map_err(|e| corrupt(journal, key, &e))
    };
    facts.iter().map(read).collect()
}

fn verb(change: &Change) -> &'static str {
    match change {
        Change::Put { .. } => "is registered",
        Change::Removed { .. } => "is forgotten",
    }
}

fn corrupt(journal: &Journal, key: &str, error: &dyn std::fmt::Display) -> JournalError {
    JournalError::Corrupt { path: journal.path().to_owned(), what: format!("{key}: {error}") }
}

impl From<&Description> for DescriptionKept {
    fn from(description: &Description) -> Self {
        Self { thing: description.thing.clone(), binding: description.binding.clone() }
    }
}
