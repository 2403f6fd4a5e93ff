//! The journal's tables, and the checks when it is opened.

use std::fs::{File, TryLockError};
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::JournalError;

/// The format that this program writes (`PRAGMA user_version`). An older one is brought to it by [`crate::migrate`].
pub const FORMAT: i64 = 2;

const TABLES: &str = "
CREATE TABLE machines (kind INTEGER NOT NULL, id BLOB NOT NULL, plan BLOB NOT NULL, ended INTEGER NOT NULL DEFAULT 0,
    UNIQUE (kind, id));
CREATE INDEX unfinished ON machines (kind) WHERE ended = 0;
CREATE TABLE inputs (kind INTEGER NOT NULL, id BLOB NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,
    bytes BLOB NOT NULL, PRIMARY KEY (kind, id, seq)) WITHOUT ROWID;
CREATE INDEX input_times ON inputs (at);
CREATE TABLE intents (id BLOB NOT NULL, task TEXT NOT NULL, ledger TEXT NOT NULL, bytes BLOB NOT NULL,
    UNIQUE (id, task));
CREATE TABLE audit (seq INTEGER PRIMARY KEY, subject BLOB NOT NULL, record BLOB NOT NULL);
CREATE INDEX audit_subjects ON audit (subject);
CREATE TABLE facts (grp TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (grp, key)) WITHOUT ROWID;
";

/// Holds a lock file beside the journal while it is open to write: SQLite's own exclusive mode would keep readers out
/// as well. The system frees it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read")] File);

pub(super) fn lock(path: &Path) -> Result<Lock, JournalError> {
    let file = path.with_extension("lock");
    let opened = File::options().create(true).write(true).truncate(false).open(&file);
    let unmade = |source| JournalError::Folder { path: path.to_owned(), source };
    let opened = opened.map_err(unmade)?;
    match opened.try_lock() {
        Ok(()) => Ok(Lock(opened)),
        Err(TryLockError::WouldBlock) => Err(JournalError::Held { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(unmade(source)),
    }
}

pub(super) fn open(path: &Path) -> Result<Connection, JournalError> {
    let connection = Connection::open(path).map_err(|source| failure(path, source))?;
    prepare(&connection).map_err(|source| failure(path, source))?;
    match format(&connection, path)? {
        0 if is_empty(&connection).map_err(|source| failure(path, source))? => {
            create(&connection).map_err(|source| failure(path, source))?;
        }
        0 => {
            let what = "it holds tables, but says no format".to_owned();
            return Err(JournalError::Corrupt { path: path.to_owned(), what });
        }
        FORMAT => {}
        found => return Err(other_format(path, found)),
    }
    sound(&connection, path)?;
    Ok(connection)
}

/// Opens a journal of an older format to change it, and tells which; the file must be there. Of this program's format, `None`.
pub(super) fn open_older(path: &Path) -> Result<Option<(Connection, i64)>, JournalError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|source| failure(path, source))?;
    prepare(&connection).map_err(|source| failure(path, source))?;
    match format(&connection, path)? {
        FORMAT => Ok(None),
        found if (1..FORMAT).contains(&found) => {
            sound(&connection, path)?;
            Ok(Some((connection, found)))
        }
        found => Err(other_format(path, found)),
    }
}

/// The format that a journal says it has; 0 for one that was not made yet.
pub(super) fn format(connection: &Connection, path: &Path) -> Result<i64, JournalError> {
    let found = connection.query_row("PRAGMA user_version", [], |r| r.get(0));
    found.map_err(|source| failure(path, source))
}

/// Why a journal of another format is not opened.
pub(super) fn other_format(path: &Path, found: i64) -> JournalError {
    let path = path.to_owned();
    if found > FORMAT {
        JournalError::Newer { path, found, known: FORMAT }
    } else {
        JournalError::Older { path, found, known: FORMAT }
    }
}

fn sound(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    // The indexes too: whether a machine has ended stands in a column that no checksum covers, and in an index.
    let verdict: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |r| r.get(0))
        .map_err(|source| failure(path, source))?;
    if verdict != "ok" {
        return Err(JournalError::Corrupt { path: path.to_owned(), what: verdict });
    }
    Ok(())
}

pub(super) fn open_to_read(path: &Path) -> Result<Connection, JournalError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(path, flags).and_then(|connection| {
        keep_plans(&connection)?;
        Ok(connection)
    });
    connection.map_err(|source| failure(path, source))
}

/// A statement keeps its plan whatever is bound to it: else SQLite reads and plans one anew at each use if its plan could
/// depend on a value.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    keep_plans(connection)?;
    connection.busy_timeout(std::time::Duration::from_millis(500))?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |r| r.get::<_, String>(0))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -16000;",
    )
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |r| r.get(0))
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {FORMAT}; COMMIT;"))
}

/// What a failed read of an open journal means.
pub(super) fn read_failure(path: &Path, source: rusqlite::Error) -> JournalError {
    match failure(path, source) {
        JournalError::Open { path, source } => JournalError::Read { path, source },
        other => other,
    }
}

fn failure(path: &Path, source: rusqlite::Error) -> JournalError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => JournalError::Held { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            JournalError::Corrupt { path, what: source.to_string() }
        }
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::ReadOnly) => {
            JournalError::Write { path, reason: source.to_string() }
        }
        _ => JournalError::Open { path, source },
    }
}
