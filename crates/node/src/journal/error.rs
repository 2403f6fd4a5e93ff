//! What can be wrong with a journal. Every text ends with the next step.

use std::path::PathBuf;

/// Why the journal does not open, read or write.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be opened at all.
    #[error(
        "journal {path}: cannot be opened; check that the folder exists and that this user may write there"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// There is none to read.
    #[error("there is no journal {path}; name the data_dir of a node that has run")]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be made, or its lock file cannot.
    #[error(
        "journal {path}: cannot be made there; check that the folder exists, that this user may write in it, and that \
         the disk has room"
    )]
    Folder {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process holds it.
    #[error(
        "journal {path}: another process holds it; stop the other node, or give this one its own data_dir"
    )]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// Its pages or contents are damaged.
    #[error(
        "journal {path}: damaged ({what}); keep a copy of the file, restore the last backup and start again: \
         what the ledgers hold since then is found by `sofie tx resume`"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// It was written by a later version of this program.
    #[error(
        "journal {path}: format {found}, this program knows {known}; start the newer program that wrote it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this program knows.
        known: i64,
    },
    /// It was written by an earlier version of this program.
    #[error(
        "journal {path}: format {found}, this program writes {known}; run `sofie migrate -c FILE` with the node's \
         configuration: it makes a backup first"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format that this program writes.
        known: i64,
    },
    /// What it holds is of an earlier version than any that this program brings to its own.
    #[error(
        "journal {path}: this program cannot read what is in it ({what}); nothing was changed: go on with the program \
         that wrote it, and begin with this one in another data_dir"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What cannot be read.
        what: String,
    },
    /// Nothing was confirmed.
    #[error(
        "journal {path}: could not be written ({reason}); free some disk space or mend the disk, then start again: \
         nothing that was confirmed is lost"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// It could not be read.
    #[error("journal {path}: could not be read; check the disk and the file's rights")]
    Read {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// What is unfinished in it needs a ledger that this node does not have.
    #[error(
        "transaction {txid} is not finished and needs ledger {ledger}, which the configuration lacks; add the [[ledger]] \
         again and start: nothing was changed"
    )]
    NoLedger {
        /// The transaction.
        txid: sofie_model::Txid,
        /// The ledger.
        ledger: sofie_model::LedgerId,
    },
    /// Its thread has ended, after a write that failed.
    #[error("journal {path}: closed after an earlier failure; see the log, mend the cause and start again")]
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no thread.
    #[error("the journal's thread could not be started; raise the limit of threads")]
    Thread {
        /// What the system says.
        source: std::io::Error,
    },
}
