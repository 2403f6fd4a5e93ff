//! State in one SQLite file (WAL, `synchronous=FULL`): what was committed is on the disk. One process has it open, and a
//! file of another program is refused before anything is written to it.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

/// How often the lock is tried: a process that is just ending, or a child that is just starting, holds it for a moment.
const LOCK_TRIES: u32 = 20;
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// How long a reader waits for the writer.
const BUSY: Duration = Duration::from_secs(5);

/// What a file says that it is.
pub(crate) struct Identity {
    /// SQLite's `application_id`: four letters.
    pub(crate) application: i64,
    /// SQLite's `user_version`: which schema.
    pub(crate) version: i64,
    /// Made in a new file.
    pub(crate) schema: &'static str,
}

/// Why a file does not open.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Another process, or another ledger of this one, has it open.
    InUse,
    /// It is something else.
    Foreign(String),
    /// It is damaged.
    Corrupt(String),
    /// The disk or the operating system.
    Io(Box<dyn std::error::Error + Send + Sync>),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(NotADatabase) => Self::Foreign(error.to_string()),
            Some(DatabaseCorrupt) | None => Self::Corrupt(error.to_string()),
            Some(_) => Self::Io(Box::new(error)),
        }
    }
}

/// Locks the file of this name beside `path`, until it is dropped.
pub(crate) fn lock(path: &Path, suffix: &str) -> Result<File, Fault> {
    let io = |error: std::io::Error| Fault::Io(Box::new(error));
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    let file = File::options().create(true).truncate(false).read(true).write(true).open(name).map_err(io)?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(std::fs::TryLockError::Error(error)) => return Err(io(error)),
        }
    }
    Err(Fault::InUse)
}

/// A connection that syncs each commit. A statement keeps its plan whatever is bound to it: else SQLite reads and plans one
/// anew at each use if its plan could depend on a value.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// Whether the file is new; then it has the schema now.
pub(crate) fn identify(connection: &mut Connection, identity: &Identity) -> Result<bool, Fault> {
    let pragma = |name| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables = "SELECT name FROM sqlite_schema LIMIT 1";
    let table = connection.query_row(tables, [], |row| row.get::<_, String>(0)).optional()?;
    match (application, version, table) {
        (0, 0, None) => {
            // Outside the transaction: the journal mode cannot change inside one.
            let wal = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
            connection.pragma_update_and_check(None, "journal_mode", "WAL", wal)?;
            let sql = connection.transaction()?;
            sql.execute_batch(identity.schema)?;
            sql.pragma_update(None, "application_id", identity.application)?;
            sql.pragma_update(None, "user_version", identity.version)?;
            sql.commit()?;
            Ok(true)
        }
        (application, version, _) if application == identity.application => {
            let expected = identity.version;
            if version == expected {
                return Ok(false);
            }
            Err(Fault::Foreign(format!("its version is {version}, {expected} is expected")))
        }
        (_, _, table) => {
            let table = table.unwrap_or_default();
            Err(Fault::Foreign(format!("another program's database, with table {table}")))
        }
    }
}
