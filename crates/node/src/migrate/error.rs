//! Why a node was not brought to this version.

use std::path::PathBuf;

use crate::backup::BackupError;
use crate::config::ConfigError;
use crate::journal::JournalError;

/// Why, with the file and the next step.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The journal: held by a node, damaged, newer, or not to be read even after the steps. It is as it was.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The node as it is could not be backed up: nothing was changed.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Too many were made already.
    #[error("{} has too many backups of earlier migrations beside it; move them away, or name a folder with --backup", folder.display())]
    Backups {
        /// The `data_dir`.
        folder: PathBuf,
    },
    /// The configuration is not to be read.
    #[error(transparent)]
    Unread(#[from] ConfigError),
    /// The configuration is not to be renewed.
    #[error("{}: {what}", file.display())]
    Configuration {
        /// The file.
        file: PathBuf,
        /// What it is.
        what: String,
    },
    /// The system refuses. The journal is new already, which goes with either configuration.
    #[error("{}: {source}", file.display())]
    Unwritten {
        /// The configuration.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}
