//! One root for the whole directory, anchored on the record ledger whenever it has changed: a join's things at once, and
//! other changes together after [`PAUSE`] (docs/adr/0054-one-root-for-a-directory.md).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use minicbor::{Decode, Encode};
use sofie_directory::Directory;
use sofie_ledgers::LedgerError;
use sofie_model::map::anchor::{Anchored, Entries, MAX_ENTRIES, State, key};
use sofie_model::map::{Map, MapProof};
use sofie_model::{Digest, Evidence, LedgerId, Operation, Proof, ThingId, canonical};
use tokio::sync::Notify;

use super::{PlatformError, Platforms, corrupt};
use crate::clock;
use crate::executor::{Ended, Key};
use crate::journal::{Entry, Journal, JournalError};

/// Facts of this group: the newest state that is to be noted, and the newest that is.
const STATES: &str = "directory-state";
const INTENDED: &str = "intended";
const ANCHORED: &str = "anchored";
/// The longest fact.
const MAX_FACT: usize = 4096;
/// So long changes are gathered before they are anchored together.
const PAUSE: Duration = Duration::from_secs(1);
/// So long is waited after a ledger has refused.
const RETRY: Duration = Duration::from_secs(30);

/// What is anchored of the directory.
pub(super) struct Roots {
    directory: ThingId,
    current: Mutex<Current>,
    /// One state at a time is noted.
    noting: tokio::sync::Mutex<()>,
    pub(super) changed: Notify,
}

/// The newest state, if the map of before is still known.
#[derive(Debug, Clone, Default)]
struct Current {
    number: u64,
    noted: Option<Noted>,
}

#[derive(Debug, Clone)]
struct Noted {
    state: State,
    evidence: Evidence,
    map: Arc<Map>,
}

/// What the journal keeps of it.
#[derive(Debug, Encode, Decode)]
#[cbor(array)]
struct Kept {
    #[n(0)]
    state: State,
    #[n(1)]
    evidence: Option<Evidence>,
}

/// Why nothing can be shown of it.
#[derive(Debug, thiserror::Error)]
pub enum NotAnchored {
    /// There is no ledger for it.
    #[error("no ledger of this node takes records: the directory is not anchored")]
    NoLedger,
    /// Not yet.
    #[error("nothing of the directory is anchored yet")]
    NotYet,
    /// That ledger gives no proof of it.
    #[error("ledger {ledger} anchors the directory, but gives no proof outside of transactions")]
    NoProof {
        /// Which one.
        ledger: LedgerId,
    },
    /// It cannot now.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Roots {
    /// As an earlier run left it. `directory` is what is registered now.
    pub(super) fn load(journal: &Journal, id: ThingId, directory: &Directory) -> Result<Self, JournalError> {
        let reader = journal.reader()?;
        let kept = |name: &str| -> Result<Option<Kept>, JournalError> {
            let Some(bytes) = reader.fact(STATES, name)? else { return Ok(None) };
            canonical::decode(&bytes, MAX_FACT).map(Some).map_err(|e| corrupt(journal, name, &e))
        };
        let (intended, anchored) = (kept(INTENDED)?, kept(ANCHORED)?);
        let number = intended.iter().chain(&anchored).map(|kept| kept.state.number).max().unwrap_or(0);
        let map = Map::of(directory.entries());
        let noted = anchored.and_then(|Kept { state, evidence }| {
            let evidence = evidence.filter(|_| state.root == map.root() && state.directory == id)?;
            Some(Noted { state, evidence, map: Arc::new(map) })
        });
        let (current, noting, changed) =
            (Mutex::new(Current { number, noted }), tokio::sync::Mutex::default(), Notify::new());
        changed.notify_one();
        Ok(Self { directory: id, current, noting, changed })
    }

    fn current(&self) -> Current {
        self.current.lock().expect("no holder of this lock panics").clone()
    }
}

impl Platforms {
    /// Anchors the directory as it is now, unless it is anchored.
    ///
    /// # Errors
    /// [`PlatformError`].
    pub(super) async fn anchor_directory(&self) -> Result<(), PlatformError> {
        let Some(ledger) = &self.0.anchor else { return Ok(()) };
        let roots = &self.0.roots;
        let _one_at_a_time = roots.noting.lock().await;
        let entries = self.directory(|directory| directory.entries().collect::<Vec<_>>());
        let map = Arc::new(Map::of(entries));
        let Current { number, noted } = roots.current();
        // One that never held anything is not anchored; one that is empty again is.
        if noted.map_or(number == 0 && map.entries().is_empty(), |noted| noted.state.root == map.root()) {
            return Ok(());
        }
        // The number is taken before anything is said under it: no two states ever have one number.
        let state = State::of(roots.directory.clone(), number + 1, &map);
        self.keep_state(INTENDED, &Kept { state: state.clone(), evidence: None }).await?;
        roots.current.lock().expect("no holder of this lock panics").number = state.number;
        let (topic, commitment) = (state.topic(), state.commitment());
        let key = Key { id: topic, task: format!("directory {}", state.number) };
        match self.0.executor.operate(key, ledger, &Operation::Note { topic, commitment }).await? {
            Ended::Final(evidence) => {
                let kept = Kept { state: state.clone(), evidence: Some(evidence.clone()) };
                self.keep_state(ANCHORED, &kept).await?;
                let noted = Some(Noted { state, evidence, map });
                roots.current.lock().expect("no holder of this lock panics").noted = noted;
                Ok(())
            }
            Ended::Refused(reason) => {
                Err(PlatformError::Anchor { thing: roots.directory.clone(), ledger: ledger.clone(), reason })
            }
        }
    }

    async fn keep_state(&self, name: &str, kept: &Kept) -> Result<(), JournalError> {
        let entry = Entry::Fact { group: STATES, key: name.to_owned(), value: canonical::encode(kept) };
        self.0.executor.journal().keep(vec![entry], clock::now()).await
    }

    /// Anchors what changes, as long as the node runs.
    pub(crate) fn keep_anchored(&self) {
        let all = self.clone();
        tokio::spawn(async move {
            loop {
                all.0.roots.changed.notified().await;
                tokio::time::sleep(PAUSE).await;
                if let Err(error) = all.anchor_directory().await {
                    tracing::warn!(%error, "the directory is not anchored as it is now; it is tried again");
                    tokio::time::sleep(RETRY).await;
                    all.0.roots.changed.notify_one();
                }
            }
        });
    }

    fn noted(&self) -> Result<(&LedgerId, Noted), NotAnchored> {
        let ledger = self.0.anchor.as_ref().ok_or(NotAnchored::NoLedger)?;
        Ok((ledger, self.0.roots.current().noted.ok_or(NotAnchored::NotYet)?))
    }

    /// The newest anchored state, with the proof that it is.
    ///
    /// # Errors
    /// [`NotAnchored`].
    pub(crate) async fn anchored(&self) -> Result<Anchored, NotAnchored> {
        let (id, Noted { state, evidence, .. }) = self.noted()?;
        let no_proof = || NotAnchored::NoProof { ledger: id.clone() };
        let ledger = self.0.executor.ledgers().get(id).ok_or(NotAnchored::NoLedger)?;
        let proof = ledger.prove_notes(&[evidence]).await.map_err(|error| match error {
            LedgerError::Unsupported { .. } => no_proof(),
            error => error.into(),
        })?;
        let Proof::Calendar(proof) = proof else { return Err(no_proof()) };
        Ok(Anchored { state, ledger: id.clone(), proof })
    }

    /// That a thing is in the newest anchored state, or not.
    ///
    /// # Errors
    /// [`NotAnchored`].
    pub(crate) fn proof_of(&self, thing: &ThingId) -> Result<MapProof, NotAnchored> {
        self.noted().map(|(_, noted)| noted.map.prove(&key(thing)))
    }

    /// The entries of the newest anchored state whose keys come after `after`.
    ///
    /// # Errors
    /// [`NotAnchored`].
    pub(crate) fn entries_after(&self, after: Option<Digest>) -> Result<Entries, NotAnchored> {
        let (_, Noted { state, map, .. }) = self.noted()?;
        let all = map.entries();
        let from = after.map_or(0, |after| all.partition_point(|entry| entry.key <= after));
        let entries = all[from..].iter().take(MAX_ENTRIES).copied().collect();
        Ok(Entries { number: state.number, entries })
    }
}
