//! What a directory's state commits to on a record ledger, and the proof that it stands there
//! (docs/specs/directory.md).

use minicbor::{Decode, Encode};

use super::{Entry, Map};
use crate::proof::{BadProof, calendar::LogProof};
use crate::{Anchor, Digest, Fact, LedgerId, ThingId, Timestamp, canonical};

/// The format's version.
pub const VERSION: u16 = 1;
/// A longer answer is refused unread: a proof of one leaf with all the witnesses that there may be is shorter.
pub const MAX_ANCHORED: usize = 64 * 1024;
/// So many entries an answer has at most.
pub const MAX_ENTRIES: usize = 4_096;
/// A longer answer of entries is refused unread.
pub const MAX_ENTRIES_BYTES: usize = MAX_ENTRIES * 72 + 64;

/// The key of a thing: `Digest::of("sofie.directory.key.v1", id)`.
#[must_use]
pub fn key(id: &ThingId) -> Digest {
    Digest::of("sofie.directory.key.v1", &[id.as_str().as_bytes()])
}

/// The state of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct State {
    /// [`VERSION`].
    #[n(0)]
    pub version: u16,
    /// The directory's id in its own description.
    #[n(1)]
    pub directory: ThingId,
    /// Its number, from 1: each anchored state has the next.
    #[n(2)]
    pub number: u64,
    /// How many things there are.
    #[n(3)]
    pub count: u64,
    /// The root of the map of their descriptions' digests by [`key`].
    #[n(4)]
    pub root: Digest,
}

impl State {
    /// Of a map.
    #[must_use]
    pub fn of(directory: ThingId, number: u64, map: &Map) -> Self {
        let count = map.entries().len() as u64;
        Self { version: VERSION, directory, number, count, root: map.root() }
    }

    /// The note's topic: `Digest::of("sofie.topic.directory.v1", directory)`.
    #[must_use]
    pub fn topic(&self) -> Digest {
        Digest::of("sofie.topic.directory.v1", &[self.directory.as_str().as_bytes()])
    }

    /// What the note commits to: `Digest::of("sofie.directory.v1", canonical(state))`.
    #[must_use]
    pub fn commitment(&self) -> Digest {
        Digest::of("sofie.directory.v1", &[&canonical::encode(self)])
    }

    /// Whether these are all its entries: each key once, in ascending order.
    #[must_use]
    pub fn is_of(&self, entries: &[Entry]) -> bool {
        entries.len() as u64 == self.count
            && entries.is_sorted_by(|a, b| a.key < b.key)
            && Map::of(entries.iter().copied()).root() == self.root
    }
}

/// A state, and the proof that a calendar holds it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Anchored {
    /// The state.
    #[n(0)]
    pub state: State,
    /// Where it was noted, by the name that the directory's node gives it.
    #[n(1)]
    pub ledger: LedgerId,
    /// One leaf: the note.
    #[n(2)]
    pub proof: LogProof,
}

/// Where a state stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What it rests on.
    pub anchor: Anchor,
    /// Its place in the log.
    pub index: u64,
    /// When the log took it.
    pub at: Timestamp,
}

/// Why it does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnchored {
    /// Not in the format.
    #[error(transparent)]
    Malformed(#[from] canonical::Error),
    /// Of a later version.
    #[error("version {0} is unknown, {VERSION} is expected")]
    Version(u16),
    /// The log's proof does not hold.
    #[error(transparent)]
    Proof(#[from] BadProof),
    /// The log holds something else.
    #[error("the log does not hold this state, but another note")]
    Other,
}

impl Anchored {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`BadAnchored::Malformed`], [`BadAnchored::Version`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadAnchored> {
        let anchored: Self = canonical::decode(bytes, MAX_ANCHORED)?;
        match anchored.state.version {
            VERSION => Ok(anchored),
            other => Err(BadAnchored::Version(other)),
        }
    }

    /// Its canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Where the state stands, if it does.
    ///
    /// # Errors
    /// [`BadAnchored`].
    pub fn verify(&self) -> Result<Standing, BadAnchored> {
        let proven = self.proof.notes(&self.ledger)?;
        let [noted] = &proven.evidence[..] else { return Err(BadAnchored::Other) };
        if noted.fact != Fact::Noted(self.state.topic(), self.state.commitment()) {
            return Err(BadAnchored::Other);
        }
        Ok(Standing { anchor: proven.anchor, index: noted.position.index, at: noted.at })
    }
}

/// Some of a state's entries, in ascending order of their keys; the last have been told when there are fewer than
/// [`MAX_ENTRIES`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Entries {
    /// The state's number.
    #[n(0)]
    pub number: u64,
    /// At most [`MAX_ENTRIES`].
    #[n(1)]
    pub entries: Vec<Entry>,
}

impl Entries {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`canonical::Error`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, canonical::Error> {
        canonical::decode(bytes, MAX_ENTRIES_BYTES)
    }

    /// Its canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }
}
