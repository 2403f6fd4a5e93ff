//! A Merkle map: one root for a set of keys with their values, with proofs that a key is there with its value, and that it
//! is not there (docs/adr/0054-one-root-for-a-directory.md).
//!
//! It is a binary tree in which each key has one place, told by its bits from the first on: a branch without a key is
//! zero, one with a single key is that key's leaf, and one with more is the hash of its two halves. So a set has one root,
//! whatever the order in which it came about, and no root proves a key both ways: nobody need trust who made it.
//!
//! Left out: changing a tree in place. It is made anew from its keys, at two hashes each.

use minicbor::{Decode, Encode};
use sha2::{Digest as _, Sha256};

use crate::{Digest, canonical};

pub mod anchor;

/// No proof has more hashes beside it: a key has so many bits.
pub const MAX_SIBLINGS: usize = 256;
/// A longer proof is refused unread, in bytes.
pub const MAX_PROOF: usize = 9 * 1024;

/// A key and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Entry {
    /// The hash of what it is about.
    #[n(0)]
    pub key: Digest,
    /// The hash of what is said of it.
    #[n(1)]
    pub value: Digest,
}

impl Entry {
    /// SHA-256(0x00 ‖ key ‖ value).
    fn hash(&self) -> Digest {
        hash(0, &self.key, &self.value)
    }
}

/// What a proof shows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// It is there, with this value.
    Present(Digest),
    /// It is not there.
    Absent,
}

/// A key's path to the root.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct MapProof {
    /// The hashes of the other halves, from the root down: at most [`MAX_SIBLINGS`].
    #[n(0)]
    pub siblings: Vec<Digest>,
    /// What stands where the key would: it, another, or nothing.
    #[n(1)]
    pub end: Option<Entry>,
}

/// Why a proof shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMapProof {
    /// Not in the format.
    #[error(transparent)]
    Malformed(#[from] canonical::Error),
    /// No key has such a path.
    #[error("a path of {got} hashes, at most {MAX_SIBLINGS} are possible")]
    Path {
        /// How many.
        got: usize,
    },
    /// The key at its end has another place.
    #[error("the key at its end, {got}, has no place there")]
    Elsewhere {
        /// The key.
        got: Digest,
    },
    /// It leads to another root.
    #[error("it leads to the root {got}, expected is {expected}")]
    Root {
        /// Where it leads.
        got: Digest,
        /// Where it should.
        expected: Digest,
    },
}

impl MapProof {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`BadMapProof::Malformed`], [`BadMapProof::Path`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadMapProof> {
        let proof: Self = canonical::decode(bytes, MAX_PROOF)?;
        let got = proof.siblings.len();
        if got > MAX_SIBLINGS { Err(BadMapProof::Path { got }) } else { Ok(proof) }
    }

    /// Its canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// What it shows of `key` under `root`.
    ///
    /// ```
    /// use sofie_model::map::{Entry, Map, Shown};
    /// use sofie_model::Digest;
    /// let (lamp, lock) = (Digest::sha256(b"lamp"), Digest::sha256(b"lock"));
    /// let map = Map::of([Entry { key: lamp, value: Digest([1; 32]) }]);
    /// assert_eq!(map.prove(&lamp).shows(&lamp, &map.root()), Ok(Shown::Present(Digest([1; 32]))));
    /// assert_eq!(map.prove(&lock).shows(&lock, &map.root()), Ok(Shown::Absent));
    /// assert!(map.prove(&lamp).shows(&lamp, &Digest::ZERO).is_err());
    /// ```
    ///
    /// # Errors
    /// [`BadMapProof`].
    pub fn shows(&self, key: &Digest, root: &Digest) -> Result<Shown, BadMapProof> {
        let depth = self.siblings.len();
        if depth > MAX_SIBLINGS {
            return Err(BadMapProof::Path { got: depth });
        }
        if let Some(end) = self.end.filter(|end| (0..depth).any(|at| bit(&end.key, at) != bit(key, at))) {
            return Err(BadMapProof::Elsewhere { got: end.key });
        }
        let end = self.end.map_or(Digest::ZERO, |end| end.hash());
        let got =
            self.siblings.iter().enumerate().rev().fold(end, |below, (at, beside)| match bit(key, at) {
                false => hash(1, &below, beside),
                true => hash(1, beside, &below),
            });
        if got != *root {
            return Err(BadMapProof::Root { got, expected: *root });
        }
        Ok(match self.end {
            Some(end) if end.key == *key => Shown::Present(end.value),
            _ => Shown::Absent,
        })
    }
}

/// The tree of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map {
    entries: Vec<Entry>,
    top: Branch,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Branch {
    #[default]
    Empty,
    Leaf(Entry, Digest),
    Halves(Digest, Box<[Branch; 2]>),
}

impl Branch {
    /// Of keys in ascending order that agree in their first `depth` bits.
    fn of(entries: &[Entry], depth: usize) -> Self {
        match entries {
            [] => Self::Empty,
            [one] => Self::Leaf(*one, one.hash()),
            many => {
                let (left, right) = many.split_at(many.partition_point(|entry| !bit(&entry.key, depth)));
                let halves = [Self::of(left, depth + 1), Self::of(right, depth + 1)];
                Self::Halves(hash(1, &halves[0].hash(), &halves[1].hash()), Box::new(halves))
            }
        }
    }

    const fn hash(&self) -> Digest {
        match self {
            Self::Empty => Digest::ZERO,
            Self::Leaf(_, hash) | Self::Halves(hash, _) => *hash,
        }
    }
}

impl Map {
    /// Of entries in any order; of two with one key the greater value counts.
    #[must_use]
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut entries: Vec<Entry> = entries.into_iter().collect();
        entries.sort_unstable_by(|a, b| b.cmp(a));
        entries.dedup_by_key(|entry| entry.key);
        entries.reverse();
        let top = Branch::of(&entries, 0);
        Self { entries, top }
    }

    /// The root; zero for no keys.
    #[must_use]
    pub const fn root(&self) -> Digest {
        self.top.hash()
    }

    /// In ascending order of the keys.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// A key's value.
    #[must_use]
    pub fn get(&self, key: &Digest) -> Option<Digest> {
        let at = self.entries.binary_search_by_key(key, |entry| entry.key).ok()?;
        Some(self.entries[at].value)
    }

    /// That `key` is there with its value, or not there.
    #[must_use]
    pub fn prove(&self, key: &Digest) -> MapProof {
        let (mut at, mut siblings) = (&self.top, Vec::new());
        while let Branch::Halves(_, halves) = at {
            let right = bit(key, siblings.len());
            siblings.push(halves[usize::from(!right)].hash());
            at = &halves[usize::from(right)];
        }
        let end = if let Branch::Leaf(entry, _) = at { Some(*entry) } else { None };
        MapProof { siblings, end }
    }
}

/// Bit `at` of a key, the most significant of its first byte being the first.
fn bit(key: &Digest, at: usize) -> bool {
    key.0[at / 8] >> (7 - at % 8) & 1 == 1
}

fn hash(prefix: u8, left: &Digest, right: &Digest) -> Digest {
    Digest(Sha256::new_with_prefix([prefix]).chain_update(left.0).chain_update(right.0).finalize().into())
}
