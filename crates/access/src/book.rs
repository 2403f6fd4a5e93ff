//! What a door remembers: the proofs it has seen, and how often each counted part was used. The node stores it with
//! [`Book::to_bytes`] before the device is told, so that a restart does not open a door twice.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use sofie_model::{Digest, Span, Timestamp, canonical};

use crate::{Error, Limits, Refusal, RevocationId};

/// The largest stored book, in bytes.
pub const MAX_BOOK_BYTES: usize = 16 << 20;

/// A door's memory. It forgets a proof once its time has passed, and a count once its capability has expired; when it
/// is full it refuses instead of forgetting early.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Book {
    /// Proofs signed before this are refused: whether they were seen is not known.
    #[n(0)]
    opened_at: Timestamp,
    /// Their names, and when they were signed.
    #[n(1)]
    proofs: BTreeMap<Digest, Timestamp>,
    /// How often each part was used, and when its grant expires.
    #[n(2)]
    uses: BTreeMap<RevocationId, (u64, Timestamp)>,
}

impl Book {
    /// An empty book, opened now.
    #[must_use]
    pub const fn new(opened_at: Timestamp) -> Self {
        Self { opened_at, proofs: BTreeMap::new(), uses: BTreeMap::new() }
    }

    /// For storage.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// From storage.
    ///
    /// # Errors
    /// [`Error::Stored`] when the bytes are not a book: open a new one, which refuses all earlier proofs.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        canonical::decode(bytes, MAX_BOOK_BYTES)
            .map_err(|source| Error::Stored { what: "door's book", source })
    }

    /// Since when proofs are remembered.
    #[must_use]
    pub const fn opened_at(&self) -> Timestamp {
        self.opened_at
    }

    /// How often the part `id` was used.
    #[must_use]
    pub fn used(&self, id: RevocationId) -> u64 {
        self.uses.get(&id).map_or(0, |(count, _)| *count)
    }

    /// Whether a proof of this name and time may come in; and whether there is room for what would be written.
    pub(crate) fn allows(
        &mut self,
        at: Timestamp,
        name: Digest,
        counted: &[RevocationId],
        limits: &Limits,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.forget(limits.proof_window, now);
        if self.proofs.contains_key(&name) {
            return Err(Refusal::Replayed);
        }
        if at < self.opened_at {
            return Err(Refusal::ProofStale { at, now, window: now.since(self.opened_at) });
        }
        let full = |what, limit| Refusal::Busy { what, limit, window: limits.proof_window };
        if self.proofs.len() >= limits.max_proofs {
            return Err(full("proofs", limits.max_proofs));
        }
        let new = counted.iter().filter(|id| !self.uses.contains_key(id)).count();
        if self.uses.len() + new > limits.max_counted {
            return Err(full("counted capabilities", limits.max_counted));
        }
        Ok(())
    }

    /// Writes one use. `expires` is the grant's: a narrowed token must not make its grant's count be forgotten.
    pub(crate) fn write(
        &mut self,
        at: Timestamp,
        name: Digest,
        counted: &[RevocationId],
        expires: Timestamp,
    ) {
        self.proofs.insert(name, at);
        for id in counted {
            self.uses.entry(*id).or_insert((0, expires)).0 += 1;
        }
    }

    fn forget(&mut self, window: Span, now: Timestamp) {
        self.proofs.retain(|_, at| *at + window >= now);
        self.uses.retain(|_, (_, expires)| *expires > now);
    }
}
