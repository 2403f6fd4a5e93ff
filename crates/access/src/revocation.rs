//! Revocations: the owner's signed list of token parts that are void. The list lies on a ledger as a note; a door keeps
//! a copy and lets nobody in once that copy is too old.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sofie_model::{Digest, Timestamp, canonical};

use crate::{Error, PublicKey, SecretKey};

/// Most revocations in one list: at 34 bytes each, some two megabytes.
pub const MAX_REVOKED: usize = 65_536;
/// The largest signed list that is read, in bytes.
pub const MAX_LIST_BYTES: usize = 64 + 256 + 34 * MAX_REVOKED;

/// Names one part of a token: SHA-256 of the biscuit's revocation identifier, which is that block's signature. Revoking
/// a part revokes every token that contains it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct RevocationId(#[n(0)] pub Digest);

impl RevocationId {
    pub(crate) fn of(identifier: &[u8]) -> Self {
        Self(Digest::sha256(identifier))
    }
}

/// One owner's list, as of one instant.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Revocations {
    /// Whose tokens it is about.
    #[n(0)]
    owner: PublicKey,
    /// Grows with each list; an older list never replaces a newer one.
    #[n(1)]
    sequence: u64,
    /// When the owner said so.
    #[n(2)]
    issued_at: Timestamp,
    /// What is void.
    #[n(3)]
    ids: BTreeSet<RevocationId>,
}

/// A list with its owner's signature, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SignedRevocations {
    /// The list.
    #[n(0)]
    list: Revocations,
    /// Ed25519 over [`Digest::of`] `sofie.revocations.v1` and the canonical list.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    signature: Vec<u8>,
}

impl Revocations {
    /// An empty list.
    #[must_use]
    pub const fn none(owner: PublicKey, issued_at: Timestamp) -> Self {
        Self { owner, sequence: 0, issued_at, ids: BTreeSet::new() }
    }

    /// The next list: this one and `more`, as of `issued_at`.
    ///
    /// # Errors
    /// [`Error::TooMuch`] past [`MAX_REVOKED`]. Expired tokens need no revocation: issue short-lived ones.
    pub fn with(
        &self,
        more: impl IntoIterator<Item = RevocationId>,
        issued_at: Timestamp,
    ) -> Result<Self, Error> {
        let mut ids = self.ids.clone();
        ids.extend(more);
        if ids.len() > MAX_REVOKED {
            return Err(Error::TooMuch { what: "revocations", got: ids.len(), limit: MAX_REVOKED });
        }
        Ok(Self { owner: self.owner, sequence: self.sequence + 1, issued_at, ids })
    }

    /// Puts a newer list in the place of this one.
    ///
    /// # Errors
    /// [`Error::Rollback`] for an older list, [`Error::Unsigned`] for one of another owner.
    pub fn replace(&mut self, newer: Self) -> Result<(), Error> {
        if newer.owner != self.owner {
            return Err(Error::Unsigned { owner: self.owner });
        }
        if (newer.sequence, newer.issued_at) < (self.sequence, self.issued_at) {
            return Err(Error::Rollback { got: newer.sequence, known: self.sequence });
        }
        *self = newer;
        Ok(())
    }

    /// Whose list it is.
    #[must_use]
    pub const fn owner(&self) -> PublicKey {
        self.owner
    }

    /// When the owner issued it.
    #[must_use]
    pub const fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// Its number.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether `id` is void.
    #[must_use]
    pub fn contains(&self, id: RevocationId) -> bool {
        self.ids.contains(&id)
    }

    /// What stands for the list on a ledger.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of("sofie.revocations.v1", &[&canonical::encode(self)])
    }

    /// Signs the list with the owner's key.
    ///
    /// # Errors
    /// [`Error::Unsigned`] when the key is another's.
    pub fn sign(self, owner: &SecretKey) -> Result<SignedRevocations, Error> {
        if owner.public() != self.owner {
            return Err(Error::Unsigned { owner: self.owner });
        }
        let signature = owner.sign(self.digest().as_bytes());
        Ok(SignedRevocations { list: self, signature })
    }
}

impl SignedRevocations {
    /// The bytes that travel.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Reads a list and checks that `owner` signed it.
    ///
    /// # Errors
    /// [`Error::Stored`] for bytes that are no list, [`Error::Unsigned`], [`Error::TooMuch`].
    pub fn open(bytes: &[u8], owner: &PublicKey) -> Result<Revocations, Error> {
        let signed: Self = canonical::decode(bytes, MAX_LIST_BYTES)
            .map_err(|source| Error::Stored { what: "revocation list", source })?;
        let list = signed.list;
        if list.ids.len() > MAX_REVOKED {
            return Err(Error::TooMuch { what: "revocations", got: list.ids.len(), limit: MAX_REVOKED });
        }
        if list.owner == *owner && owner.verifies(list.digest().as_bytes(), &signed.signature) {
            Ok(list)
        } else {
            Err(Error::Unsigned { owner: *owner })
        }
    }
}
