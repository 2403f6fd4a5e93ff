//! What a member must not forget, in one SQLite file: of each transaction its manifest and [`State`]. Nothing leaves a
//! member before the commit that holds it.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use sofie_model::quorum::{MAX_ASK, State};
use sofie_model::{Digest, Manifest, Txid, canonical};

use crate::sqlite::{self, Fault, Identity};

const IDENTITY: Identity = Identity {
    application: 0x5351_524d, // "SQRM"
    version: 1,
    schema: "
    CREATE TABLE seat (one INTEGER PRIMARY KEY CHECK (one = 1), grouped BLOB NOT NULL, key BLOB NOT NULL, halted TEXT);
    CREATE TABLE instance (txid BLOB PRIMARY KEY, manifest BLOB NOT NULL, state BLOB NOT NULL, decided INTEGER NOT NULL);
    CREATE INDEX undecided ON instance (txid) WHERE decided = 0;
",
};

/// So many transactions are held: about 2 kB each. A new one is refused by name.
pub(super) const MAX_STORED: u64 = 4_000_000;

/// Why a member's store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its members.
    #[error(transparent)]
    Members(#[from] super::BadMembers),
    /// The key is none of the group's.
    #[error("{key} is no member's key of this group: name the party whose key is among `members`")]
    NoMember {
        /// The key that is here.
        key: Digest,
    },
    /// Two processes with one key would be a traitor.
    #[error("the member's store {path} is in use by another process: stop that one")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is no member's store, or another member's.
    #[error(
        "{path} is not this member's store ({what}): put the right file back, or found a group with a new key"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// It is damaged.
    #[error(
        "the member's store {path} is damaged ({what}): it must not vote from an old copy; found a group with a new key"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// It has seen its own key vote elsewhere.
    #[error("the member whose store is {path} has halted: {why}")]
    Halted {
        /// The file.
        path: PathBuf,
        /// What it saw.
        why: String,
    },
    /// The disk or the operating system.
    #[error("the member's store {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// One transaction, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The transaction.
    pub manifest: Manifest,
    /// Where the member stands.
    pub state: State,
}

/// A change of one transaction.
pub(super) struct Row {
    pub(super) manifest: Vec<u8>,
    pub(super) state: Vec<u8>,
    pub(super) decided: bool,
}

pub(super) struct Store {
    connection: Connection,
    count: u64,
    _lock: File,
}

impl Store {
    /// Opens or makes the store of this member of this group. Blocks.
    pub(super) fn open(path: &Path, group: &Digest, key: &Digest) -> Result<Self, OpenError> {
        let refuse = |fault| refused(path, fault);
        let sql = |error: rusqlite::Error| refused(path, error.into());
        let lock = sqlite::lock(path, ".lock").map_err(refuse)?;
        let mut connection = sqlite::connect(path).map_err(sql)?;
        sqlite::identify(&mut connection, &IDENTITY).map_err(refuse)?;
        let ours = params![group.as_bytes(), key.as_bytes()];
        connection.execute("INSERT OR IGNORE INTO seat VALUES (1, ?, ?, NULL)", ours).map_err(sql)?;
        let seat = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let found: ([u8; 32], [u8; 32], Option<String>) =
            connection.query_row("SELECT grouped, key, halted FROM seat", [], seat).map_err(sql)?;
        if (Digest(found.0), Digest(found.1)) != (*group, *key) {
            let what = format!("it is of member {} of group {}", Digest(found.1), Digest(found.0));
            return Err(OpenError::Foreign { path: path.into(), what });
        }
        if let Some(why) = found.2 {
            return Err(OpenError::Halted { path: path.into(), why });
        }
        let count = connection.query_row("SELECT count(*) FROM instance", [], |row| row.get::<_, i64>(0));
        let count = u64::try_from(count.map_err(sql)?).unwrap_or(0);
        Ok(Self { connection, count, _lock: lock })
    }

    /// Whether no more transactions are begun.
    pub(super) const fn is_full(&self) -> bool {
        self.count >= MAX_STORED
    }

    /// What is held of a transaction.
    pub(super) fn find(&self, txid: Txid) -> Result<Option<Stored>, String> {
        let sql = "SELECT manifest, state FROM instance WHERE txid = ?";
        let mut query = self.connection.prepare_cached(sql).map_err(|e| e.to_string())?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let found = query.query_row([txid.0.as_bytes()], row).optional().map_err(|e| e.to_string())?;
        found.map(|(manifest, state): (Vec<u8>, Vec<u8>)| read(&manifest, &state)).transpose()
    }

    /// What had not been decided.
    pub(super) fn undecided(&self) -> Result<Vec<Stored>, String> {
        let sql = "SELECT manifest, state FROM instance WHERE decided = 0";
        let mut query = self.connection.prepare(sql).map_err(|e| e.to_string())?;
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let rows = query.query_map([], row).map_err(|e| e.to_string())?;
        let rows: Result<Vec<(Vec<u8>, Vec<u8>)>, _> = rows.collect();
        rows.map_err(|e| e.to_string())?.iter().map(|(manifest, state)| read(manifest, state)).collect()
    }

    /// Makes these changes durable, all or none.
    pub(super) fn write<'a>(
        &mut self,
        rows: impl Iterator<Item = (&'a Txid, &'a Row)>,
    ) -> Result<(), String> {
        let sql = self.connection.transaction().map_err(|e| e.to_string())?;
        let mut new = 0;
        {
            let change = "UPDATE instance SET state = ?, decided = ? WHERE txid = ?";
            let mut change = sql.prepare_cached(change).map_err(|e| e.to_string())?;
            let mut add =
                sql.prepare_cached("INSERT INTO instance VALUES (?, ?, ?, ?)").map_err(|e| e.to_string())?;
            for (txid, row) in rows {
                let txid = txid.0.as_bytes();
                let done =
                    change.execute(params![row.state, row.decided, txid]).map_err(|e| e.to_string())?;
                if done == 0 {
                    add.execute(params![txid, row.manifest, row.state, row.decided])
                        .map_err(|e| e.to_string())?;
                    new += 1;
                }
            }
        }
        sql.commit().map_err(|e| e.to_string())?;
        self.count += new;
        Ok(())
    }

    /// Remembers for good that this member must not vote.
    pub(super) fn halt(&self, why: &str) -> Result<(), String> {
        self.connection.execute("UPDATE seat SET halted = ?", [why]).map(drop).map_err(|e| e.to_string())
    }
}

fn read(manifest: &[u8], state: &[u8]) -> Result<Stored, String> {
    let manifest = canonical::decode(manifest, MAX_ASK).map_err(|error| error.to_string())?;
    let state = State::from_bytes(state).map_err(|error| error.to_string())?;
    Ok(Stored { manifest, state })
}

pub(super) fn refused(path: &Path, fault: Fault) -> OpenError {
    let path = path.to_owned();
    match fault {
        Fault::InUse => OpenError::InUse { path },
        Fault::Foreign(what) => OpenError::Foreign { path, what },
        Fault::Corrupt(what) => OpenError::Corrupt { path, what },
        Fault::Io(source) => OpenError::Io { path, source },
    }
}
