//! Where the journal's entries go: SQLite, or a simulated disk with SQLite behind it.

use std::future::Future;
use std::path::Path;

use rusqlite::{Connection, params};
use sofie_model::Timestamp;

use super::{Entry, JournalError, schema, seal};

/// Entries that are kept together, all or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// What is kept, in this order.
    pub entries: Vec<Entry>,
    /// When.
    pub now: Timestamp,
}

/// What a journal writes to. Lists are kept in the order of the calls.
pub trait Store: Send + 'static {
    /// Keeps `group`; all of it is durable once this returns `Ok`, and none of it on an error. A future that never
    /// ends is a crash: nobody is told.
    ///
    /// # Errors
    /// The disk's words; the journal is closed then.
    fn write(&mut self, group: &[List]) -> impl Future<Output = Result<(), String>> + Send;
}

/// The journal's tables.
#[derive(Debug)]
pub struct Sqlite(Connection);

impl Sqlite {
    /// Opens or creates and checks the tables at `path`, a file or SQLite's name of a database in memory.
    ///
    /// # Errors
    /// [`JournalError`] names the file and the next step.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        schema::open(path).map(Self)
    }

    /// Keeps `group` in one SQLite transaction.
    ///
    /// # Errors
    /// SQLite's words; then none of it is kept.
    pub fn write(&mut self, group: &[List]) -> Result<(), String> {
        write(&mut self.0, group).map_err(|error| error.to_string())
    }
}

fn write(connection: &mut Connection, group: &[List]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for list in group {
        for entry in &list.entries {
            put(&transaction, entry, list.now)?;
        }
    }
    transaction.commit()
}

/// Writes one entry.
pub(super) fn put(db: &Connection, entry: &Entry, now: Timestamp) -> rusqlite::Result<()> {
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
        Entry::Reopened { machine, id } => db
            .prepare_cached("UPDATE machines SET ended = 0 WHERE kind = ?1 AND id = ?2")?
            .execute(params![*machine as u8, id.as_bytes()]),
        Entry::Intent { id, task, ledger, bytes } => {
            let place: [&[u8]; 4] = [b"intent", id.as_bytes(), task.as_bytes(), ledger.as_bytes()];
            let bytes = seal::seal(&place, bytes);
            db.prepare_cached(
                "INSERT OR REPLACE INTO intents (id, task, ledger, bytes) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![id.as_bytes(), task, ledger, bytes])
        }
        Entry::Spent { id, task } => db
            .prepare_cached("DELETE FROM intents WHERE id = ?1 AND task = ?2")?
            .execute(params![id.as_bytes(), task]),
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
