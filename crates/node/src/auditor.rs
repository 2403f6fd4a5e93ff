//! The audit log's keeper: every record is linked to the one before and journaled together with what it is about.

use std::path::Path;
use std::sync::Arc;

use sofie_audit::Chain;
pub use sofie_audit::{Draft as Note, Record};
use sofie_model::Timestamp;
use tokio::sync::{Mutex, watch};

use crate::clock::Clock;
use crate::journal::{Entry, Journal, JournalError};

/// Appends to the audit log. Clones share it.
#[derive(Debug, Clone)]
pub struct Auditor {
    journal: Journal,
    chain: Arc<Mutex<Chain>>,
    grown: Arc<watch::Sender<u64>>,
}

impl Auditor {
    /// Continues the log that the journal holds.
    ///
    /// # Errors
    /// [`JournalError`], also when the newest record does not decode.
    pub fn open(journal: Journal) -> Result<Self, JournalError> {
        let newest = journal.reader()?.audit_head()?;
        let newest = newest.map(|bytes| decode(journal.path(), &bytes)).transpose()?;
        let chain = newest.as_ref().map_or_else(Chain::new, Chain::after);
        Ok(Self {
            journal,
            grown: Arc::new(watch::channel(chain.len()).0),
            chain: Arc::new(Mutex::new(chain)),
        })
    }

    /// Keeps `entries` and the records of `notes` in one durable write. The log's order is the journal's.
    ///
    /// # Errors
    /// [`JournalError`]: none of it is kept.
    pub async fn keep(
        &self,
        mut entries: Vec<Entry>,
        notes: Vec<Note>,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        if notes.is_empty() {
            return self.journal.keep(entries, now).await;
        }
        let (queued, seq) = {
            let mut chain = self.chain.lock().await;
            let place = self.journal.reserve().await?;
            // From here on nothing waits: a caller that is dropped half-way would leave a gap in the chain.
            for note in notes {
                let record = chain.append(note, now);
                let (seq, subject) = (record.seq, record.subject);
                entries.push(Entry::Audit { seq, subject, record: record.to_bytes() });
            }
            // Queued under the lock, so that no later record overtakes; waited for without it.
            (place.queue(entries, now), chain.len())
        };
        queued.kept().await?;
        self.grown.send_if_modified(|seen| {
            let grows = seq > *seen;
            *seen = seq.max(*seen);
            grows
        });
        Ok(())
    }

    /// What stamps the log.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.journal.clock()
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        *self.grown.borrow()
    }

    /// Whether there is no record yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes whenever the log has grown.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }
}

/// Reads back a record of the journal at `path`.
///
/// # Errors
/// [`JournalError::Corrupt`].
pub fn decode(path: &Path, bytes: &[u8]) -> Result<Record, JournalError> {
    let corrupt = |e| JournalError::Corrupt { path: path.to_owned(), what: format!("audit record: {e}") };
    Record::from_bytes(bytes).map_err(corrupt)
}
