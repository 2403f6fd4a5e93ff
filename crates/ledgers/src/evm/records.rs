//! A record ledger beside an [`EvmLedger`]: its entries go to the chain in batches, one transaction for up to
//! [`MAX_COUNT`] of them, under a root that `contracts/src/Notary.sol` logs (docs/adr/0025-records-in-batches.md and
//! docs/adr/0027-a-ledger-that-sends-batches.md).
//!
//! An entry is durable here when it is acknowledged; it is on the ledger when its batch is. A batch goes when it is full, or
//! when its first entry has waited for the configured interval. What it holds is synced before its transaction is signed, and
//! that before it is sent; on the chain it is found by its root. So whatever a crash leaves behind, the same batch is
//! found or sent again, never another one with the same entries.
//!
//! Left out: that nobody else recorded the same before. Of several only the first counts, and the others are inert.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use rusqlite::Connection;
use sofie_model::proof::batch::{Batch, MAX_COUNT, MAX_ENTRY};
use sofie_model::proof::calendar::Entry;
use sofie_model::{Class, Digest, Evidence, LedgerId, Manifest, Operation, Proof, Span, canonical};
use tokio::sync::{Notify, oneshot};

use super::ledger::EvmLedger;
use crate::sqlite::Fault;
use crate::{Clock, Head, Intent, Ledger, LedgerError, Profile, Status, entry};
use send::Contract;
use store::{MAX_QUEUE, Refusal, Request, Write, Writer};

mod proofs;
mod send;
mod store;

pub use send::MAX_OPEN;
pub use store::MAX_WAITING;

/// How a ledger gathers its batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsConfig {
    /// The file; made when there is none. Its folder must be there.
    pub path: PathBuf,
    /// A batch that is not full goes when its first entry has waited so long.
    pub interval: Span,
    /// A batch with so many entries is full: at most [`MAX_COUNT`].
    pub most: u32,
    /// The most that a batch's transaction may cost, in wei.
    pub fee_limit: u128,
}

/// Why it does not open.
#[derive(Debug, thiserror::Error)]
pub enum RecordsOpenError {
    /// The file.
    #[error("the file of record batches {} {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The chain, or what it makes of a batch's transaction.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Its batches are on another chain.
    #[error(
        "the record batches in {} stand on the chain that began with block {theirs}, not on that of {ours}: name that \
         chain again, or another ledger id for this one", path.display()
    )]
    OtherChain {
        /// The file.
        path: PathBuf,
        /// The first block of the chain that the file belongs to.
        theirs: Digest,
        /// The first block of the chain that it was opened for.
        ours: Digest,
    },
}

/// Batches of records on the chain of an [`EvmLedger`], and by its accounts.
pub struct EvmRecords {
    profile: Profile,
    config: RecordsConfig,
    evm: Arc<EvmLedger>,
    clock: Clock,
    reader: Arc<Mutex<Connection>>,
    queue: Option<SyncSender<Request>>,
    writer: Option<JoinHandle<()>>,
    /// Whose turn it is to send.
    turn: tokio::sync::Mutex<Contract>,
    /// Batches that the chain shows and may still undo, and at which height they were looked for.
    seen: Mutex<BTreeMap<u64, (Batch, u64)>>,
    /// Why the last turn failed.
    trouble: Mutex<Option<LedgerError>>,
    full: Arc<Notify>,
}

/// A ledger of batches beside one of this profile.
#[must_use]
pub fn records_profile(id: LedgerId, evm: &Profile, interval: Span) -> Profile {
    Profile {
        id,
        classes: vec![Class::Record],
        decides: false,
        inclusion: interval + evm.inclusion,
        ..evm.clone()
    }
}

impl EvmRecords {
    /// Opens the file, and takes over the transactions that an earlier run signed. Nothing is sent before
    /// [`EvmRecords::start`] or [`EvmRecords::drive`]: the node's other intents must be adopted first.
    ///
    /// # Errors
    /// [`RecordsOpenError`].
    pub async fn open(
        config: RecordsConfig,
        profile: Profile,
        evm: Arc<EvmLedger>,
        clock: Clock,
    ) -> Result<Self, RecordsOpenError> {
        let config = RecordsConfig { most: config.most.clamp(1, MAX_COUNT), ..config };
        let genesis = evm.genesis().await?;
        let refused = |why| RecordsOpenError::File { path: config.path.clone(), why };
        let (writer, reader, own) =
            Writer::open(&config.path, genesis).map_err(|fault| refused(words(fault)))?;
        if own != genesis {
            return Err(RecordsOpenError::OtherChain { path: config.path, theirs: own, ours: genesis });
        }
        let (queue, requests) = sync_channel(MAX_QUEUE);
        let writer = std::thread::Builder::new()
            .name(format!("records-{}", profile.id))
            .spawn(move || writer.run(&requests))
            .map_err(|error| refused(format!("has no writer: {error}")))?;
        let this = Self {
            profile,
            config,
            evm,
            clock,
            reader: Arc::new(Mutex::new(reader)),
            queue: Some(queue),
            writer: Some(writer),
            turn: tokio::sync::Mutex::default(),
            seen: Mutex::default(),
            trouble: Mutex::default(),
            full: Arc::default(),
        };
        this.adopt_plans().await?;
        Ok(this)
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LedgerError> {
        read(&self.reader, &self.config.path, query).map_err(|why| self.profile.transient(why))
    }

    async fn write(&self, write: Write) -> Result<(), LedgerError> {
        let (asker, answer) = oneshot::channel();
        let ended = || self.profile.transient("its writer has ended: restart the node");
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        queue.try_send(Request { write, asker }).map_err(|error| match error {
            TrySendError::Full(_) => self.profile.transient(format!("{MAX_QUEUE} requests wait already")),
            TrySendError::Disconnected(_) => ended(),
        })?;
        match answer.await.map_err(|_| ended())? {
            Ok(()) => Ok(()),
            Err(Refusal::Rules(reason)) => Err(self.profile.refused(reason)),
            Err(Refusal::Later(reason)) => Err(self.profile.transient(reason)),
        }
    }

    fn decode(&self, intent: &Intent) -> Result<Entry, LedgerError> {
        match canonical::decode(&intent.0, MAX_ENTRY) {
            Ok(Entry::Decided { .. }) => Err(self.profile.nonsense("a decision is no record")),
            Ok(entry) => Ok(entry),
            Err(error) => Err(self.profile.nonsense(format!("no intent of it: {error}"))),
        }
    }

    /// A batch that the chain does not show finally: what is asked for next rests on the last turn.
    fn unless_troubled(&self, status: Status) -> Result<Status, LedgerError> {
        match &*locked(&self.trouble) {
            Some(error) => Err(self.profile.transient(error.to_string())),
            None => Ok(status),
        }
    }
}

fn words(fault: Fault) -> String {
    match fault {
        Fault::InUse => "is in use: stop the node that runs on it, or name another ledger id".into(),
        Fault::Foreign(what) => format!("is none of this version ({what}): name another ledger id"),
        Fault::Corrupt(what) => format!("is damaged ({what}): restore it from a backup"),
        Fault::Io(error) => format!("cannot be opened: {error}"),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each holder changes it in one step: a panic leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(
    reader: &Mutex<Connection>,
    path: &Path,
    query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, String> {
    query(&locked(reader)).map_err(|error| format!("{}: {error}", path.display()))
}

#[async_trait]
impl Ledger for EvmRecords {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        let entry = entry::of(&self.profile.id, operation)?;
        match self.read(|sql| Ok((store::number_of(sql, &entry)?, store::objection(sql, &entry)?)))? {
            (None, Some(why)) => Err(self.profile.refused(why)),
            (Some(_), _) | (None, None) => Ok(Intent(canonical::encode(&entry))),
        }
    }

    /// An entry has no nonce to keep: its content is its name. Its batch has, and opening adopted that.
    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.decode(intent).map(drop)
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        let entry = self.decode(intent)?;
        if self.read(|sql| store::number_of(sql, &entry))?.is_none() {
            self.write(Write::Append(entry, (self.clock)())).await?;
        }
        let waiting = self.read(|sql| Ok(store::next_number(sql)? - store::next_uncut(sql)?))?;
        if waiting >= self.config.most.into() {
            self.full.notify_one();
        }
        Ok(())
    }

    async fn status(&self, operation: &Operation, _: Option<&Intent>) -> Result<Status, LedgerError> {
        let entry = entry::of(&self.profile.id, operation)?;
        let Some(number) = self.read(|sql| store::number_of(sql, &entry))? else {
            let objection = self.read(|sql| store::objection(sql, &entry))?;
            // What is closed is never prepared any more. Any other objection may pass.
            return Ok(match objection.filter(|_| matches!(entry, Entry::Prepared { .. })) {
                Some(reason) => Status::Refused { reason },
                None => Status::Absent,
            });
        };
        let Some(batch) = self.read(|sql| store::batch_of(sql, number))? else {
            return self.unless_troubled(Status::Absent);
        };
        match batch.stands {
            Some(stands) => {
                let index = (number - batch.from) as u32;
                Ok(Status::Final(stands.evidence(&self.profile.id, index, &entry)))
            }
            None if locked(&self.seen).contains_key(&batch.number) => self.unless_troubled(Status::Pending),
            None => self.unless_troubled(Status::Absent),
        }
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        self.evm.head().await
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        self.proof(manifest, facts).await
    }
}

impl Drop for EvmRecords {
    fn drop(&mut self) {
        // Without a sender the writer finishes what waits, ends, and lets the file's lock go.
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
