//! The journal's one writing thread: takes all that waits, writes it in one transaction, then answers.

use std::path::Path;

use rusqlite::{Connection, params};
use sofie_model::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::{Entry, JournalError, schema::Lock, seal};

/// At most so many lists are written in one SQLite transaction.
const GROUP: usize = 512;

/// Where the journal stops for a test of crashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseAt {
    /// After so many written lists.
    Write(u64),
    /// After the intent of this task is written, before it is submitted.
    Intent(String),
}

/// Stops the node for a test: from the chosen step on, what is written is durable but nobody is told, and `reached` is
/// called once. A supervisor then kills the process: a crash at a chosen step.
pub struct Pause {
    /// At which step.
    pub at: PauseAt,
    /// Told when it is reached.
    pub reached: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pause({:?})", self.at)
    }
}

impl std::str::FromStr for PauseAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("write", count)) => count.parse().map(Self::Write).map_err(|e| format!("{count:?}: {e}")),
            Some(("intent", task)) if !task.is_empty() => Ok(Self::Intent(task.into())),
            _ => Err(format!("{text:?} is no step; write:NUMBER or intent:TASK is expected")),
        }
    }
}

impl PauseAt {
    fn reached(&self, written: u64, group: &[Job]) -> bool {
        match self {
            Self::Write(count) => written >= *count,
            Self::Intent(task) => {
                let is_it =
                    |entry: &Entry| matches!(entry, Entry::Intent { task: written, .. } if written == task);
                group.iter().any(|job| job.entries.iter().any(is_it))
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) entries: Vec<Entry>,
    pub(super) now: Timestamp,
    pub(super) answer: oneshot::Sender<Result<(), JournalError>>,
}

pub(super) fn run(
    mut connection: Connection,
    lock: Lock,
    path: &Path,
    mut jobs: mpsc::Receiver<Job>,
    mut pause: Option<Pause>,
) {
    let _held = lock;
    let mut group = Vec::with_capacity(GROUP);
    let mut written: u64 = 0;
    // With a pause, one list at a time: the step at which it stops must not depend on how writers race.
    let limit = if pause.is_some() { 1 } else { GROUP };
    while jobs.blocking_recv_many(&mut group, limit) > 0 {
        let result = write(&mut connection, &group).map_err(|e| e.to_string());
        written += group.len() as u64;
        if let Some(pause) = pause.take_if(|pause| pause.at.reached(written, &group)) {
            (pause.reached)();
            // Answers nobody and takes nothing more: the process is about to be killed.
            loop {
                std::thread::park();
            }
        }
        let failed = result.is_err();
        for job in group.drain(..) {
            let answer =
                result.clone().map_err(|reason| JournalError::Write { path: path.to_owned(), reason });
            // A writer that no longer waits has been stopped; what it wrote stands.
            let _ = job.answer.send(answer);
        }
        if failed {
            tracing::error!(journal = %path.display(), "closed after a failed write");
            return;
        }
    }
}

fn write(connection: &mut Connection, jobs: &[Job]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for job in jobs {
        for entry in &job.entries {
            put(&transaction, entry, job.now)?;
        }
    }
    transaction.commit()
}

fn put(db: &Connection, entry: &Entry, now: Timestamp) -> rusqlite::Result<()> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    match entry {
        Entry::Begun { machine, id, plan } => {
            let plan = seal::seal(&[b"begun", &[*machine as u8], id.as_bytes()], plan);
            db.prepare_cached("INSERT INTO machines (kind, id, plan) VALUES (?1, ?2, ?3)")?.execute(params![
                *machine as u8,
                id.as_bytes(),
                plan
            ])
        }
        Entry::Input { machine, id, seq, input } => {
            let (seq, at) = (count(*seq), count(now.as_millis()));
            let place: [&[u8]; 5] =
                [b"input", &[*machine as u8], id.as_bytes(), &seq.to_be_bytes(), &at.to_be_bytes()];
            let input = seal::seal(&place, input);
            db.prepare_cached("INSERT INTO inputs (kind, id, seq, at, bytes) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![*machine as u8, id.as_bytes(), seq, at, input])
        }
        Entry::Ended { machine, id } => end(db, *machine as u8, id.as_bytes()),
        Entry::Intent { id, task, ledger, bytes } => {
            let place: [&[u8]; 4] = [b"intent", id.as_bytes(), task.as_bytes(), ledger.as_bytes()];
            let bytes = seal::seal(&place, bytes);
            db.prepare_cached(
                "INSERT OR REPLACE INTO intents (id, task, ledger, bytes) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![id.as_bytes(), task, ledger, bytes])
        }
        Entry::Audit { seq, subject, record } => {
            let seq = count(*seq);
            let record = seal::seal(&[b"audit", &seq.to_be_bytes(), subject.as_bytes()], record);
            db.prepare_cached("INSERT INTO audit (seq, subject, record) VALUES (?1, ?2, ?3)")?
                .execute(params![seq, subject.as_bytes(), record])
        }
        Entry::Fact { group, key, value } if value.is_empty() => {
            db.prepare_cached("DELETE FROM facts WHERE grp = ?1 AND key = ?2")?.execute(params![group, key])
        }
        Entry::Fact { group, key, value } => {
            let value = seal::seal(&[b"fact", group.as_bytes(), key.as_bytes()], value);
            db.prepare_cached("INSERT OR REPLACE INTO facts (grp, key, value) VALUES (?1, ?2, ?3)")?
                .execute(params![group, key, value])
        }
    }
    .map(drop)
}

fn end(db: &Connection, kind: u8, id: &[u8]) -> rusqlite::Result<usize> {
    db.prepare_cached("UPDATE machines SET ended = 1 WHERE kind = ?1 AND id = ?2")?
        .execute(params![kind, id])?;
    // Intents are kept while any machine of this id may still carry one out.
    db.prepare_cached(
        "DELETE FROM intents WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM machines WHERE id = ?1 AND ended = 0)",
    )?
    .execute([id])
}
