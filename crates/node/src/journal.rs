//! The journal: SQLite in WAL mode with `synchronous=FULL`, written before each external effect (ADR 0002).
//!
//! One thread owns the connection. Writers queue their [`List`]s; the thread takes all that wait, writes them in
//! one SQLite transaction, and only then answers each writer (group commit). A list is atomic: all of it or none.
//! After a restart [`Reader::machines`] gives back every unfinished machine's inputs in order, and [`Reader::intents`]
//! what was about to be submitted. Every value carries a checksum; a write that fails closes the journal for good.

mod error;
mod older;
mod reader;
mod schema;
mod seal;
mod store;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sofie_model::{Digest, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;

pub use error::JournalError;
pub(crate) use older::Older;
pub use reader::Reader;
pub use schema::FORMAT;
pub use store::{List, Sqlite, Store};
pub use writer::{Pause, PauseAt};

/// At most so many lists wait for the disk; then writers wait.
const QUEUE: usize = 4_096;

/// Which machine's inputs: a transaction's and its contract's journals share the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Machine {
    /// `sofie_transaction::State`.
    Transaction = 0,
    /// `sofie_market::Contract`.
    Contract = 1,
}

/// One thing to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A machine begins: its plan, canonically encoded.
    Begun {
        /// Which.
        machine: Machine,
        /// Its id.
        id: Digest,
        /// The plan.
        plan: Vec<u8>,
    },
    /// A machine took an input.
    Input {
        /// Which.
        machine: Machine,
        /// Its id.
        id: Digest,
        /// From 0, without gaps.
        seq: u64,
        /// The canonical input.
        input: Vec<u8>,
    },
    /// A machine ended: it is not given back at a restart, but stays to be read.
    Ended {
        /// Which.
        machine: Machine,
        /// Its id.
        id: Digest,
    },
    /// A machine that had ended goes on: it is given back at a restart.
    Reopened {
        /// Which.
        machine: Machine,
        /// Its id.
        id: Digest,
    },
    /// The bytes that will carry an operation out, fixed before they are submitted (P4).
    Intent {
        /// Whose.
        id: Digest,
        /// Which operation of it.
        task: String,
        /// On which ledger.
        ledger: String,
        /// `sofie_ledgers::Intent`.
        bytes: Vec<u8>,
    },
    /// The operation that an intent carries out is answered for good: a restart need not know of it.
    Spent {
        /// Whose.
        id: Digest,
        /// Which operation of it.
        task: String,
    },
    /// The next audit record.
    Audit {
        /// Its place in the chain, from 0.
        seq: u64,
        /// What it is about: a txid, or a thing's digest.
        subject: Digest,
        /// The record.
        record: Vec<u8>,
    },
    /// Anything else of the node's, by name; an empty value forgets it.
    Fact {
        /// Which table-like group.
        group: &'static str,
        /// Which one of it.
        key: String,
        /// Its bytes.
        value: Vec<u8>,
    },
}

/// One machine as the journal holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: Digest,
    /// How it began.
    pub plan: Vec<u8>,
    /// Its inputs and when each came.
    pub inputs: Vec<(Vec<u8>, Timestamp)>,
    /// Whether it ended.
    pub ended: bool,
    /// The file that holds it.
    pub journal: PathBuf,
}

impl Record {
    /// This record is not what the program wrote.
    #[must_use]
    pub fn corrupt(&self, what: impl std::fmt::Display) -> JournalError {
        JournalError::Corrupt { path: self.journal.clone(), what: format!("{}: {what}", self.id) }
    }
}

/// An operation's bytes, as an earlier run fixed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intended {
    /// Whose.
    pub id: Digest,
    /// Which operation of it.
    pub task: String,
    /// On which ledger.
    pub ledger: String,
    /// `sofie_ledgers::Intent`.
    pub bytes: Vec<u8>,
}

/// The open journal. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    queue: mpsc::Sender<writer::Job>,
    path: Arc<PathBuf>,
    clock: Clock,
}

impl Journal {
    /// Opens or creates the journal at `path`, checks it, and starts its thread.
    ///
    /// # Errors
    /// [`JournalError`] names the file and the next step: corrupt, written by a newer or older version, held by another
    /// process, or not to be written.
    pub fn open(path: &Path, pause: Option<Pause>) -> Result<Self, JournalError> {
        let lock = schema::lock(path)?;
        let store = Sqlite::open(path)?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let shown = path.to_owned();
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer::run(store, lock, &shown, jobs, pause))
            .map_err(|source| JournalError::Thread { source })?;
        Ok(Self { queue, path: Arc::new(path.to_owned()), clock: Clock::system() })
    }

    /// A journal that a task of this runtime writes, into a store of one's own; what it holds is read at `path`. For
    /// simulated worlds: time and crashes are theirs.
    #[must_use]
    pub fn over(store: impl Store, path: &Path, clock: Clock) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let path = Arc::new(path.to_owned());
        tokio::spawn(writer::serve(store, path.clone(), jobs));
        Self { queue, path, clock }
    }

    /// What stamps its entries.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Keeps `entries`, all or none; durable once this returns `Ok`. `now` is kept with each input.
    ///
    /// # Errors
    /// [`JournalError::Write`] when the disk does not take them (nothing is kept), [`JournalError::Closed`].
    pub async fn keep(&self, entries: Vec<Entry>, now: Timestamp) -> Result<(), JournalError> {
        self.queue(entries, now).await?.kept().await
    }

    /// Queues `entries`; they are kept in the order in which they are queued. Waits only while the queue is full.
    ///
    /// # Errors
    /// [`JournalError::Closed`].
    pub async fn queue(&self, entries: Vec<Entry>, now: Timestamp) -> Result<Queued, JournalError> {
        Ok(self.reserve().await?.queue(entries, now))
    }

    /// Waits for a place in the queue, so that what follows cannot be interrupted half-way.
    ///
    /// # Errors
    /// [`JournalError::Closed`].
    pub async fn reserve(&self) -> Result<Place<'_>, JournalError> {
        let closed = |_| JournalError::Closed { path: self.path.as_ref().clone() };
        let permit = self.queue.reserve().await.map_err(closed)?;
        Ok(Place { permit, journal: self })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a second connection that only reads: for replay and for answers to questions.
    ///
    /// # Errors
    /// [`JournalError::Open`].
    pub fn reader(&self) -> Result<Reader, JournalError> {
        Reader::of_any_format(&self.path)
    }
}

/// A place in the queue.
#[derive(Debug)]
pub struct Place<'a> {
    permit: mpsc::Permit<'a, writer::Job>,
    journal: &'a Journal,
}

impl Place<'_> {
    /// Queues `entries` at once.
    #[must_use]
    pub fn queue(self, entries: Vec<Entry>, now: Timestamp) -> Queued {
        let (answer, kept) = oneshot::channel();
        self.permit.send(writer::Job { list: List { entries, now }, answer });
        Queued { kept, queue: self.journal.queue.clone(), path: self.journal.path.clone() }
    }
}

/// Entries on their way to the disk.
#[derive(Debug)]
pub struct Queued {
    kept: oneshot::Receiver<Result<(), JournalError>>,
    queue: mpsc::Sender<writer::Job>,
    path: Arc<PathBuf>,
}

impl Queued {
    /// Returns once the entries are durable.
    ///
    /// # Errors
    /// [`JournalError::Write`]: none of them is kept. [`JournalError::Closed`].
    pub async fn kept(mut self) -> Result<(), JournalError> {
        let answer = tokio::select! {
            biased;
            answer = &mut self.kept => answer.ok(),
            // A place that was reserved before the writer ended takes entries which nobody will ever answer.
            () = self.queue.closed() => self.kept.try_recv().ok(),
        };
        answer.unwrap_or_else(|| Err(JournalError::Closed { path: self.path.as_ref().clone() }))
    }
}
