//! The journal: SQLite in WAL mode with `synchronous=FULL`, written before each external effect (ADR 0002).
//!
//! One thread owns the connection. Writers queue their [`Entry`] lists; the thread takes all that wait, writes them in
//! one SQLite transaction, and only then answers each writer (group commit). A list is atomic: all of it or none.
//! After a restart [`Reader::machines`] gives back every unfinished machine's inputs in order, and what was intended.

mod error;
mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use sofie_model::{Digest, Timestamp};
use tokio::sync::{mpsc, oneshot};

pub use error::JournalError;
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
}

impl Journal {
    /// Opens or creates the journal at `path`, checks it, and starts its thread.
    ///
    /// # Errors
    /// [`JournalError`] names the file and the next step: corrupt, written by a newer version, held by another
    /// process, or not to be written.
    pub fn open(path: &Path, pause: Option<Pause>) -> Result<Self, JournalError> {
        let lock = schema::lock(path)?;
        let connection = schema::open(path)?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let shown = path.to_owned();
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer::run(connection, lock, &shown, jobs, pause))
            .map_err(|source| JournalError::Thread { source })?;
        Ok(Self { queue, path: Arc::new(path.to_owned()) })
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
        let (answer, kept) = oneshot::channel();
        let job = writer::Job { entries, now, answer };
        self.queue.send(job).await.map_err(|_| JournalError::Closed { path: self.path.as_ref().clone() })?;
        Ok(Queued { kept, path: self.path.clone() })
    }

    /// Opens a second connection that only reads: for replay and for answers to questions.
    ///
    /// # Errors
    /// [`JournalError::Open`].
    pub fn reader(&self) -> Result<Reader, JournalError> {
        Reader::open(&self.path)
    }
}

/// Entries on their way to the disk.
#[derive(Debug)]
pub struct Queued {
    kept: oneshot::Receiver<Result<(), JournalError>>,
    path: Arc<PathBuf>,
}

impl Queued {
    /// Returns once the entries are durable.
    ///
    /// # Errors
    /// [`JournalError::Write`]: none of them is kept. [`JournalError::Closed`].
    pub async fn kept(self) -> Result<(), JournalError> {
        self.kept.await.map_err(|_| JournalError::Closed { path: self.path.as_ref().clone() })?
    }
}

/// Reads a journal, also one that another process is writing.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// Opens the journal at `path` to read it.
    ///
    /// # Errors
    /// [`JournalError::Open`] when there is none.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let connection = schema::open_to_read(path)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Every machine of a kind, the oldest first; only the unfinished ones when `ended` is false.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub fn machines(&self, machine: Machine, ended: bool) -> Result<Vec<Record>, JournalError> {
        let sql = "SELECT id, plan, ended FROM machines WHERE kind = ?1 AND (ended = 0 OR ?2) ORDER BY rowid";
        let rows: Vec<(Vec<u8>, Vec<u8>, bool)> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_map(params![machine as u8, ended], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?
                    .collect()
            })
            .map_err(|source| self.read_error(source))?;
        rows.into_iter().map(|(id, plan, ended)| self.record(machine, &id, plan, ended)).collect()
    }

    /// One machine.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub fn machine(&self, machine: Machine, id: Digest) -> Result<Option<Record>, JournalError> {
        let sql = "SELECT plan, ended FROM machines WHERE kind = ?1 AND id = ?2";
        let row: Option<(Vec<u8>, bool)> = self
            .connection
            .query_row(sql, params![machine as u8, id.as_bytes()], |r| Ok((r.get(0)?, r.get(1)?)))
            .optional()
            .map_err(|source| self.read_error(source))?;
        row.map(|(plan, ended)| self.record(machine, id.as_bytes(), plan, ended)).transpose()
    }

    /// The intents of unfinished work, in the order in which they were fixed.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub fn intents(&self) -> Result<Vec<Intended>, JournalError> {
        let sql = "SELECT id, task, ledger, bytes FROM intents ORDER BY rowid";
        let rows: Vec<(Vec<u8>, String, String, Vec<u8>)> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?.collect()
            })
            .map_err(|source| self.read_error(source))?;
        rows.into_iter()
            .map(|(id, task, ledger, bytes)| Ok(Intended { id: self.digest(&id)?, task, ledger, bytes }))
            .collect()
    }

    /// All audit records, in order.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub fn audit(&self) -> Result<Vec<Vec<u8>>, JournalError> {
        self.column("SELECT record FROM audit ORDER BY seq", [])
    }

    /// The audit records about one subject, in order.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub fn audit_of(&self, subject: Digest) -> Result<Vec<Vec<u8>>, JournalError> {
        self.column("SELECT record FROM audit WHERE subject = ?1 ORDER BY seq", [subject.as_bytes()])
    }

    /// The newest audit record: the chain's head.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub fn audit_head(&self) -> Result<Option<Vec<u8>>, JournalError> {
        Ok(self.column("SELECT record FROM audit ORDER BY seq DESC LIMIT 1", [])?.pop())
    }

    /// The facts of a group, by key.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub fn facts(&self, group: &str) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        self.connection
            .prepare_cached("SELECT key, value FROM facts WHERE grp = ?1 ORDER BY key")
            .and_then(|mut statement| statement.query_map([group], |r| Ok((r.get(0)?, r.get(1)?)))?.collect())
            .map_err(|source| self.read_error(source))
    }

    /// One fact of a group.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub fn fact(&self, group: &str, key: &str) -> Result<Option<Vec<u8>>, JournalError> {
        self.connection
            .query_row("SELECT value FROM facts WHERE grp = ?1 AND key = ?2", [group, key], |r| r.get(0))
            .optional()
            .map_err(|source| self.read_error(source))
    }

    /// When the journal was last written; the clock must not be behind it.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub fn last_written(&self) -> Result<Option<Timestamp>, JournalError> {
        let millis: Option<i64> = self
            .connection
            .query_row("SELECT max(at) FROM inputs", [], |r| r.get(0))
            .map_err(|source| self.read_error(source))?;
        Ok(millis.and_then(|millis| u64::try_from(millis).ok()).map(Timestamp::from_millis))
    }

    fn record(
        &self,
        machine: Machine,
        id: &[u8],
        plan: Vec<u8>,
        ended: bool,
    ) -> Result<Record, JournalError> {
        let sql = "SELECT bytes, at FROM inputs WHERE kind = ?1 AND id = ?2 ORDER BY seq";
        let inputs: Vec<(Vec<u8>, i64)> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement.query_map(params![machine as u8, id], |r| Ok((r.get(0)?, r.get(1)?)))?.collect()
            })
            .map_err(|source| self.read_error(source))?;
        let inputs = inputs
            .into_iter()
            .map(|(bytes, at)| (bytes, Timestamp::from_millis(u64::try_from(at).unwrap_or_default())))
            .collect();
        Ok(Record { id: self.digest(id)?, plan, inputs, ended })
    }

    fn digest(&self, bytes: &[u8]) -> Result<Digest, JournalError> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| JournalError::Corrupt {
            path: self.path.clone(),
            what: format!("an id of {} bytes", bytes.len()),
        })?;
        Ok(Digest(bytes))
    }

    fn column(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Vec<u8>>, JournalError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(params, |r| r.get(0))?.collect())
            .map_err(|source| self.read_error(source))
    }

    fn read_error(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Read { path: self.path.clone(), source }
    }
}
