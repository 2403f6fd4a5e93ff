//! Why a calendar does not open, and why it does not extend a proof.

use std::{io, path::PathBuf};

use sofie_model::{Digest, Span, proof::calendar::MAX_ORIGIN};

use super::BadWitness;

/// Why a calendar does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its disk.
    #[error("cannot {doing} the calendar {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Two writers would break it.
    #[error(
        "the calendar {path} is in use by another process: stop that one, or give this node a path of its own"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Not a torn last write: bytes changed that had been durable.
    #[error(
        "the calendar {path} is damaged at byte {offset}: {why}; nothing was changed: put a copy of the file back, or \
         move it away and open a log with a new origin (receipts made so far stay valid)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage was met.
        offset: u64,
        /// What does not add up.
        why: String,
    },
    /// The file's log is signed by another key.
    #[error(
        "the calendar {path} belongs to key {theirs}, not to {ours}: give that key back, or use another path"
    )]
    ForeignKey {
        /// The file.
        path: PathBuf,
        /// Of the file.
        theirs: Digest,
        /// Of this node.
        ours: Digest,
    },
    /// The file's log has another name.
    #[error("the calendar {path} is {theirs:?}, not {ours:?}: correct `origin`, or use another path")]
    ForeignOrigin {
        /// The file.
        path: PathBuf,
        /// Of the file.
        theirs: String,
        /// Of the configuration.
        ours: String,
    },
    /// No name for a log.
    #[error(
        "{got:?} cannot name a calendar: 1 to {MAX_ORIGIN} printable ASCII characters without spaces and '+' are expected"
    )]
    BadOrigin {
        /// As configured.
        got: String,
    },
    /// A witness cannot be asked.
    #[error(transparent)]
    Witness(#[from] BadWitness),
    /// Its entries would seem to lie in the future.
    #[error("the clock is {behind} behind the last entry of the calendar {path}: set the machine's clock")]
    ClockBehind {
        /// The file.
        path: PathBuf,
        /// How much.
        behind: Span,
    },
}

/// Why a calendar does not extend a proof to a published root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotExtended {
    /// The proof is not of this log, or this log is not what it was.
    #[error(
        "the log never had that root with {size} entries: the proof is of another log, or of another history of this one"
    )]
    Foreign {
        /// Where the proof ends.
        size: u64,
    },
    /// The root is of more seconds than there are.
    #[error(
        "the root is of {asked} seconds, and {seconds} are published: it is of another log, or this one is an old copy"
    )]
    Unpublished {
        /// Of how many the root is.
        asked: u64,
        /// How many there are.
        seconds: u64,
    },
    /// What is proven came after the root.
    #[error(
        "the log had {size} entries only after the first {seconds} seconds: a root that is published later covers them"
    )]
    Younger {
        /// Where the proof ends.
        size: u64,
        /// Of how many seconds the root is.
        seconds: u64,
    },
}
