//! The audit log's keeper: every record is linked to the one before and journaled together with what it is about.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use sofie_model::{Digest, Evidence, LedgerId, Position, Timestamp, canonical};
use tokio::sync::{Mutex, watch};

use crate::journal::{Entry, Journal, JournalError};

/// One record, longer ones are cut before they are made.
const MAX_RECORD: usize = 8 * 1024;
const MAX_DETAIL: usize = 1024;

/// A linked record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Record {
    /// Place in the chain, from 0.
    #[n(0)]
    pub seq: u64,
    /// By the node's clock.
    #[n(1)]
    pub at: Timestamp,
    /// What it is about.
    #[n(2)]
    pub subject: Digest,
    /// What happened.
    #[n(3)]
    pub kind: String,
    /// Who did it.
    #[n(4)]
    pub actor: String,
    /// On which ledger.
    #[n(5)]
    pub ledger: Option<LedgerId>,
    /// Whether it went as it should.
    #[n(6)]
    pub ok: bool,
    /// A sentence for people.
    #[n(7)]
    pub detail: String,
    /// The hash of the record before it.
    #[n(8)]
    pub previous: Digest,
}

impl Record {
    fn hash(&self) -> Digest {
        Digest::of("sofie.audit.v1", &[&canonical::encode(self)])
    }
}

#[derive(Debug)]
struct Head {
    seq: u64,
    hash: Digest,
}

/// Appends to the audit log. Clones share it.
#[derive(Debug, Clone)]
pub struct Auditor {
    journal: Journal,
    head: Arc<Mutex<Head>>,
    grown: Arc<watch::Sender<u64>>,
}

impl Auditor {
    /// Continues the log that the journal holds.
    ///
    /// # Errors
    /// [`JournalError`], also when the newest record does not decode.
    pub fn open(journal: Journal) -> Result<Self, JournalError> {
        let newest = journal.reader()?.audit_head()?.map(|bytes| decode(&bytes)).transpose()?;
        let head = newest.map_or(Head { seq: 0, hash: Digest::ZERO }, |record| Head {
            seq: record.seq + 1,
            hash: record.hash(),
        });
        Ok(Self { journal, grown: Arc::new(watch::channel(head.seq).0), head: Arc::new(Mutex::new(head)) })
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
            let mut head = self.head.lock().await;
            for note in notes {
                let record = link(&head, note, now);
                *head = Head { seq: record.seq + 1, hash: record.hash() };
                let (subject, bytes) = (record.subject, canonical::encode(&record));
                entries.push(Entry::Audit { seq: record.seq, subject, record: bytes });
            }
            // Queued under the lock, so that no later record overtakes; waited for without it.
            (self.journal.queue(entries, now).await?, head.seq)
        };
        queued.kept().await?;
        self.grown.send_if_modified(|seen| {
            let grows = seq > *seen;
            *seen = seq.max(*seen);
            grows
        });
        Ok(())
    }

    /// Changes whenever the log has grown.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }
}

/// Reads a record back.
///
/// # Errors
/// [`JournalError::Corrupt`].
pub fn decode(bytes: &[u8]) -> Result<Record, JournalError> {
    canonical::decode(bytes, MAX_RECORD)
        .map_err(|e| JournalError::Corrupt { path: "journal".into(), what: format!("audit record: {e}") })
}

fn link(head: &Head, note: Note, now: Timestamp) -> Record {
    Record {
        seq: head.seq,
        at: now,
        subject: note.subject,
        kind: note.kind.into(),
        actor: note.actor,
        ledger: note.ledger,
        ok: note.ok,
        detail: note.detail.chars().take(MAX_DETAIL).collect(),
        previous: head.hash,
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub subject: Digest,
    /// What happened: `prepared`, `decided`, `refused`, ….
    pub kind: &'static str,
    /// Who did it.
    pub actor: String,
    /// On which ledger.
    pub ledger: Option<LedgerId>,
    /// Whether it went as it should.
    pub ok: bool,
    /// A sentence for people.
    pub detail: String,
}

impl Note {
    /// A record by the node itself.
    #[must_use]
    pub fn about(subject: Digest, kind: &'static str, ok: bool, detail: impl Into<String>) -> Self {
        Self { subject, kind, actor: "node".into(), ledger: None, ok, detail: detail.into() }
    }

    /// A record of what a ledger holds.
    #[must_use]
    pub fn on_ledger(subject: Digest, kind: &'static str, evidence: &Evidence) -> Self {
        let Position { height, index, .. } = evidence.position;
        Self {
            ledger: Some(evidence.ledger.clone()),
            ..Self::about(subject, kind, true, format!("at height {height}, index {index}"))
        }
    }

    /// The same, done by `actor`.
    #[must_use]
    pub fn by(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }
}
