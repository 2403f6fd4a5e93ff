//! Why a node was not backed up, or not put back.

use std::path::{Path, PathBuf};

use crate::config::Name;
use crate::journal::JournalError;

/// Why, with the file and the next step.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there that would be overwritten.
    #[error("{} is there already; nothing is overwritten: name another folder, or move it away", folder.display())]
    Taken {
        /// What.
        folder: PathBuf,
    },
    /// There is no journal.
    #[error("{} holds no journal: start the node once, or name its configuration with -c", folder.display())]
    Nothing {
        /// The `data_dir`.
        folder: PathBuf,
    },
    /// The system refuses.
    #[error("{}: {source}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// SQLite refuses.
    #[error("{}: {source}", file.display())]
    Sqlite {
        /// Which file.
        file: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
    /// It is not what it should be.
    #[error("{}: {what}", file.display())]
    Odd {
        /// Which file.
        file: PathBuf,
        /// What it is.
        what: String,
    },
    /// The configuration names a party whose key was not backed up.
    #[error("{} holds no key of party {party}: take the party out of the configuration, and add it again later", folder.display())]
    NoKey {
        /// Whose.
        party: Name,
        /// The backup.
        folder: PathBuf,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl BackupError {
    pub(super) fn io(file: &Path, source: std::io::Error) -> Self {
        Self::Io { file: file.to_owned(), source }
    }

    pub(super) fn odd(file: &Path, what: impl ToString) -> Self {
        Self::Odd { file: file.to_owned(), what: what.to_string() }
    }
}
