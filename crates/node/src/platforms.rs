//! The platforms that this node has joined: each by introspection through an adapter, its things registered in the
//! directory, their hashes anchored on a record ledger, its messages read into the log of readings.

mod join;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sofie_adapters::port::{Adapter, AdapterError, Counters, Description};
use sofie_directory::store::{Change, Directory, DirectoryError};
use sofie_model::{LedgerId, ThingId, Timestamp};

use crate::api;
use crate::auditor::Note;
use crate::clock;
use crate::drive::Keeper;
use crate::executor::Executor;
use crate::journal::{Entry, JournalError};
use crate::parties::Parties;
use crate::readings::{ReadingLog, Readings};

/// Facts of this group hold the joined platforms.
const PLATFORMS: &str = "platform";
/// Facts of this group hold the directory's records.
const THINGS: &str = "thing";
/// How long to wait before a platform that is away is asked for its messages again.
const RETRY: Duration = Duration::from_secs(1);
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
    directory: Mutex<Directory>,
    joined: RwLock<Vec<Joined>>,
    readings: ReadingLog,
    /// One join, and one change of the directory, at a time.
    changing: tokio::sync::Mutex<()>,
}

/// What the journal keeps of a platform.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    platform: api::Platform,
    allow: BTreeSet<String>,
    descriptions: Vec<DescriptionKept>,
}

/// A thing's description and what its messages mean.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct DescriptionKept {
    thing: ThingId,
    binding: sofie_adapters::binding::ThingBinding,
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

impl std::fmt::Debug for Platforms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platforms").field("anchor", &self.0.anchor).finish_non_exhaustive()
    }
}

impl Platforms {
    /// Reads the directory from the journal. [`Platforms::reopen`] connects to what was joined. Hashes of descriptions
    /// are anchored on `anchor`, if there is such a ledger.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn load(
        executor: Executor,
        keeper: Keeper,
        parties: Parties,
        anchor: Option<LedgerId>,
    ) -> Result<Self, JournalError> {
        let mut directory = Directory::default();
        for (key, bytes) in executor.journal().reader()?.facts(THINGS)? {
            let record = serde_json::from_slice(&bytes).map_err(|e| corrupt(&key, &e))?;
            directory.apply(Change::Put { record });
        }
        Ok(Self(Arc::new(Inner {
            executor,
            keeper,
            parties,
            anchor,
            directory: Mutex::new(directory),
            joined: RwLock::default(),
            readings: ReadingLog::default(),
            changing: tokio::sync::Mutex::default(),
        })))
    }

    /// Connects to the platforms that an earlier run joined. One that is away is waited for by its reader, not here.
    ///
    /// # Errors
    /// [`PlatformError::Journal`].
    pub async fn reopen(&self) -> Result<usize, PlatformError> {
        let kept = self.0.executor.journal().reader()?.facts(PLATFORMS)?;
        let count = kept.len();
        for (key, bytes) in kept {
            let kept: Kept = serde_json::from_slice(&bytes).map_err(|e| corrupt(&key, &e))?;
            match self.adapter(&kept.platform, &kept.allow, Self::binding(&kept.descriptions)).await {
                Ok(adapter) => self.add(Joined { kept, adapter }),
                Err(error) => tracing::error!(%error, platform = %kept.platform.id, "not reopened"),
            }
        }
        Ok(count)
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

    /// The names of a thing's properties.
    #[must_use]
    pub fn properties_of(&self, thing: &ThingId) -> Vec<String> {
        self.bound(thing).map(|binding| binding.properties.into_keys().collect()).unwrap_or_default()
    }

    /// The readings of a thing that arrived since, and those to come.
    #[must_use]
    pub fn readings(&self, thing: &ThingId, since: Timestamp) -> Readings {
        self.0.readings.since(thing, since)
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
        self.change_alone(plan).await
    }

    async fn change_alone(
        &self,
        plan: impl FnOnce(&Directory, Timestamp) -> Result<Change, DirectoryError> + Send,
    ) -> Result<Change, PlatformError> {
        let now = clock::now();
        let change = self.directory(|directory| plan(directory, now))?;
        let (key, value) = match &change {
            Change::Put { record } => (
                record.id.to_string(),
                serde_json::to_vec(record).map_err(|e| corrupt(record.id.as_str(), &e))?,
            ),
            Change::Removed { id, .. } => (id.to_string(), Vec::new()),
        };
        let note = Note::about(join::subject(&key), "directory", true, format!("{key} {}", verb(&change)));
        self.0.keeper.auditor.keep(vec![Entry::Fact { group: THINGS, key, value }], vec![note], now).await?;
        self.0.directory.lock().expect("no holder of this lock panics").apply(change.clone());
        Ok(change)
    }

    fn joined(&self) -> Vec<Joined> {
        self.0.joined.read().expect("no holder of this lock panics").clone()
    }

    fn with(&self, thing: &ThingId) -> Option<Joined> {
        self.joined().into_iter().find(|joined| joined.kept.platform.things.contains(thing))
    }

    fn bound(&self, thing: &ThingId) -> Option<sofie_adapters::binding::ThingBinding> {
        let joined = self.with(thing)?;
        joined.kept.descriptions.into_iter().find(|one| one.thing == *thing).map(|one| one.binding)
    }

    /// Takes the platform in and reads its messages from now on, as long as the node runs.
    fn add(&self, joined: Joined) {
        let (adapter, readings) = (joined.adapter.clone(), self.0.readings.clone());
        let id = joined.kept.platform.id.clone();
        self.0.joined.write().expect("no holder of this lock panics").push(joined);
        tokio::spawn(async move {
            loop {
                match adapter.observe().await {
                    Ok(mut messages) => {
                        while let Some(message) = messages.recv().await {
                            for deviation in &message.deviations {
                                tracing::warn!(platform = %id, source = %message.source, ?deviation, "a message deviates");
                            }
                            for observation in message.observations {
                                readings.push(message.arrived, observation);
                            }
                        }
                    }
                    Err(AdapterError::Transient { reason, .. }) => {
                        tracing::warn!(platform = %id, %reason, "no messages yet");
                    }
                    Err(error) => {
                        tracing::info!(platform = %id, %error, "sends nothing that could be watched");
                        return;
                    }
                }
                tokio::time::sleep(RETRY).await;
            }
        });
    }
}

fn verb(change: &Change) -> &'static str {
    match change {
        Change::Put { .. } => "is registered",
        Change::Removed { .. } => "is forgotten",
    }
}

fn corrupt(key: &str, error: &serde_json::Error) -> JournalError {
    JournalError::Corrupt { path: "journal".into(), what: format!("{key}: {error}") }
}

impl From<&Description> for DescriptionKept {
    fn from(description: &Description) -> Self {
        Self { thing: description.thing.clone(), binding: description.binding.clone() }
    }
}
