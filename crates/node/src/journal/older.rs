//! A journal of an older format, held by one SQLite transaction until it is whole in this program's: a crash before the
//! commit leaves it as it was.

use std::path::Path;

use sofie_model::Timestamp;

use super::schema::{self, FORMAT, Lock};
use super::{Entry, JournalError, Reader, store};

/// The journal, and what was changed in it so far. Dropped before [`Older::commit`], it is as it was.
#[derive(Debug)]
pub(crate) struct Older {
    reader: Reader,
    format: i64,
    _held: Lock,
}

impl Older {
    /// Opens the journal at `path`; `None` when its format is this program's.
    ///
    /// # Errors
    /// [`JournalError`]: another process holds it, it is damaged, or newer.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, JournalError> {
        let held = schema::lock(path)?;
        let Some((connection, format)) = schema::open_older(path)? else { return Ok(None) };
        let older = Self { reader: Reader::over(connection, path), format, _held: held };
        older.execute("BEGIN IMMEDIATE")?;
        Ok(Some(older))
    }

    /// The format that it has on the disk.
    pub(crate) const fn format(&self) -> i64 {
        self.format
    }

    /// What it holds with the changes.
    pub(crate) const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Changes it; durable with [`Older::commit`].
    ///
    /// # Errors
    /// [`JournalError::Write`].
    pub(crate) fn put(&self, entry: &Entry) -> Result<(), JournalError> {
        store::put(self.reader.connection(), entry, Timestamp::from_millis(0)).map_err(|e| self.unwritten(&e))
    }

    /// Makes all changes durable, and the format this program's.
    ///
    /// # Errors
    /// [`JournalError::Write`]: it is as it was.
    pub(crate) fn commit(self) -> Result<(), JournalError> {
        self.execute(&format!("PRAGMA user_version = {FORMAT}; COMMIT"))
    }

    fn execute(&self, sql: &str) -> Result<(), JournalError> {
        self.reader.connection().execute_batch(sql).map_err(|e| self.unwritten(&e))
    }

    fn unwritten(&self, error: &rusqlite::Error) -> JournalError {
        JournalError::Write { path: self.reader.path().to_owned(), reason: error.to_string() }
    }
}
