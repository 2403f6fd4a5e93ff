//! What is said at the door of a calendar that several nodes share (docs/specs/shared-calendar.md): a peer's request, the
//! answer of the owner's node, and what makes the answer true. Pure: who may ask, and how it travels, is the door's.
//!
//! Nothing rests on the owner's word but what it denies ([`Found::Nothing`], [`Found::Refused`]) and its clock. What stands is
//! proven under a checkpoint that the log's pinned key signed, and every checkpoint must go on from the newest one that
//! the reader has seen: an owner that shows two histories to one reader, or an older copy, is caught by its own signature.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use crate::proof::calendar::merkle::{self, is_consistent};
use crate::proof::calendar::{
    BadCheckpoint, Checkpoint, Cosignature, Included, LogProof, MAX_WITNESSES, WitnessKey, log_key,
    verifier_key,
};
use crate::{Digest, Timestamp};

/// A longer request is refused: a decision with a manifest of 64 legs and 16 participants stays far below.
pub const MAX_REQUEST: usize = 72 * 1024;
/// A longer answer is refused unread: [`MAX_PROVEN`] of the longest leaves with their paths.
pub const MAX_ANSWER: usize = 1 << 20;
/// So many entries are proven in one answer.
pub const MAX_PROVEN: usize = 256;
/// A longer reason is cut.
pub const MAX_REASON: usize = 1024;

/// What a peer asks of the owner's node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Request {
    /// The size of the newest log that the asker has seen; 0 for none. The answer goes on from there.
    #[n(0)]
    pub seen: u64,
    /// What it asks.
    #[n(1)]
    pub ask: Ask,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Ask {
    /// How far the log goes.
    #[n(0)]
    Head,
    /// Whether an entry stands; of a decision, which one does.
    #[n(1)]
    Find {
        /// The canonical bytes of the entry; of a decision with its manifest.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        intent: Vec<u8>,
    },
    /// To append an entry, unless it stands already.
    #[n(2)]
    Append {
        /// As in [`Ask::Find`].
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        intent: Vec<u8>,
    },
    /// To prove what stands at these places, all under one checkpoint.
    #[n(3)]
    Prove {
        /// Ascending, each once; at most [`MAX_PROVEN`].
        #[n(0)]
        indices: Vec<u64>,
    },
    /// That the log of one size goes on from that of another.
    #[n(4)]
    Consistency {
        /// The smaller size.
        #[n(0)]
        old: u64,
        /// The greater one.
        #[n(1)]
        size: u64,
    },
}

/// What the owner's node answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Answer {
    /// A signed checkpoint of the log: of [`Request::seen`] entries or more, and over whatever is found.
    #[n(0)]
    pub checkpoint: String,
    /// RFC 6962 consistency proof from [`Request::seen`] to it.
    #[n(1)]
    pub path: Vec<Digest>,
    /// The owner's clock.
    #[n(2)]
    pub at: Timestamp,
    /// To the question.
    #[n(3)]
    pub found: Found,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Found {
    /// Nothing, or nothing more was asked for.
    #[n(0)]
    Nothing,
    /// It stands.
    #[n(1)]
    Stands {
        /// The leaf, and its path to the checkpoint's root.
        #[n(0)]
        leaf: Included,
        /// Who has cosigned the checkpoint; nobody where the log has no witnesses.
        #[n(1)]
        cosigned: Vec<Cosignature>,
    },
    /// The log's rules are against it.
    #[n(2)]
    Refused {
        /// For people.
        #[n(0)]
        reason: String,
    },
    /// As a receipt holds it.
    #[n(3)]
    Proof {
        /// Under a checkpoint of its own, which may be an earlier one.
        #[n(0)]
        proof: LogProof,
    },
    /// To [`Ask::Consistency`].
    #[n(4)]
    Path {
        /// RFC 6962 consistency proof.
        #[n(0)]
        path: Vec<Digest>,
    },
}

/// A log as its readers pin it: its name and its Ed25519 public key, written `name+id+key` (C2SP signed-note).
///
/// ```
/// use sofie_model::calendar::LogKey;
/// let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
/// let log: LogKey = text.parse().unwrap();
/// assert_eq!((log.origin.as_str(), log.to_string()), ("PeterNeumann", text.to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    /// The log's name in its checkpoints.
    pub origin: String,
    /// Its key.
    pub key: Digest,
}

/// A text that is no log's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no log's key: name+id+key is expected, as the owner's node shows it in GET /api/v1/ledgers")]
pub struct BadLogKey;

impl FromStr for LogKey {
    type Err = BadLogKey;

    fn from_str(text: &str) -> Result<Self, BadLogKey> {
        let (origin, key) = log_key(text).ok_or(BadLogKey)?;
        Ok(Self { origin, key })
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&verifier_key(&self.origin, &self.key))
    }
}

/// Why an answer must not be believed: the owner's node breaks the log's own rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrue {
    /// The log's key did not sign it.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] BadCheckpoint),
    /// Of another log.
    #[error("the checkpoint is of the log {got}, not of {expected}")]
    Foreign {
        /// The name that it bears.
        got: String,
        /// The one that is pinned.
        expected: String,
    },
    /// The log is shorter than it was.
    #[error(
        "the log ends at {size} entries, and {seen} were seen under its signature: its file is an old copy, or it shows two histories"
    )]
    Older {
        /// Its size now.
        size: u64,
        /// What was seen.
        seen: u64,
    },
    /// The log does not go on from what it was.
    #[error(
        "the log of {size} entries does not go on from the one of {seen} that was seen under its signature: it shows two histories"
    )]
    Fork {
        /// Its size now.
        size: u64,
        /// What was seen.
        seen: u64,
    },
    /// The leaf is not below the checkpoint.
    #[error("entry {index}: {why}")]
    Leaf {
        /// Its place.
        index: u64,
        /// What is wrong.
        why: String,
    },
    /// Too few of the witnesses that count.
    #[error(
        "{signed} of the witnesses that are pinned have cosigned the checkpoint of {size} entries, {needed} must"
    )]
    Witnesses {
        /// How many have.
        signed: usize,
        /// How many must.
        needed: usize,
        /// The checkpoint's size.
        size: u64,
    },
    /// Not an answer to what was asked.
    #[error("it answers another question than was asked")]
    Beside,
}

impl LogKey {
    /// The log before its first entry: what a reader has seen who has seen nothing.
    #[must_use]
    pub fn beginning(&self) -> Checkpoint {
        Checkpoint { origin: self.origin.clone(), size: 0, root: merkle::empty_root() }
    }

    /// Reads a note that this log's key signed.
    ///
    /// # Errors
    /// [`Untrue::Checkpoint`], [`Untrue::Foreign`].
    pub fn head(&self, note: &str) -> Result<Checkpoint, Untrue> {
        let head = Checkpoint::verify(note, &self.key)?;
        if head.origin != self.origin {
            return Err(Untrue::Foreign { got: head.origin, expected: self.origin.clone() });
        }
        Ok(head)
    }
}

impl Answer {
    /// The head that this answers under, which goes on from `seen`: the log of [`Request::seen`] entries.
    ///
    /// # Errors
    /// [`Untrue`].
    pub fn head(&self, log: &LogKey, seen: &Checkpoint) -> Result<Checkpoint, Untrue> {
        let head = log.head(&self.checkpoint)?;
        goes_on(seen, &head, &self.path)?;
        Ok(head)
    }
}

/// Whether `head` goes on from `seen` by this consistency proof.
///
/// # Errors
/// [`Untrue::Older`], [`Untrue::Fork`].
pub fn goes_on(seen: &Checkpoint, head: &Checkpoint, path: &[Digest]) -> Result<(), Untrue> {
    let (size, before) = (head.size, seen.size);
    if size < before {
        return Err(Untrue::Older { size, seen: before });
    }
    if !is_consistent(before, size, seen.root, head.root, path) {
        return Err(Untrue::Fork { size, seen: before });
    }
    Ok(())
}

/// Whether `needed` of `witnesses` have cosigned `head`, each counted once.
///
/// # Errors
/// [`Untrue::Witnesses`].
pub fn is_witnessed(
    head: &Checkpoint,
    cosigned: &[Cosignature],
    witnesses: &[WitnessKey],
    needed: usize,
) -> Result<(), Untrue> {
    let has_signed = |witness: &&WitnessKey| {
        let of = |one: &&Cosignature| one.witness() == **witness;
        cosigned.iter().take(MAX_WITNESSES).filter(of).any(|one| one.verify(head).is_ok())
    };
    let signed = witnesses.iter().filter(has_signed).count();
    if signed < needed {
        return Err(Untrue::Witnesses { signed, needed, size: head.size });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
