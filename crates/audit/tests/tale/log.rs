//! A log with one key.

use ed25519_dalek::SigningKey;
use sofie_model::{
    Digest, Timestamp, canonical,
    proof::calendar::{Checkpoint, Entry, Included, Leaf, LogProof, merkle},
};

use super::ORIGIN;

#[derive(Default)]
pub struct Log {
    leaves: Vec<Leaf>,
}

impl Log {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, at: Timestamp, entry: Entry) {
        self.leaves.push(Leaf { at, entry });
    }

    /// Proves every leaf, in the order of their times.
    pub fn proof(&self) -> LogProof {
        let key = SigningKey::from_bytes(&[9; 32]);
        let mut leaves = self.leaves.clone();
        leaves.sort_by_key(|leaf| leaf.at);
        let encoded: Vec<_> = leaves.iter().map(canonical::encode).collect();
        let mut tree = merkle::Tree::default();
        encoded.iter().for_each(|leaf| tree.append(merkle::leaf_hash(leaf)));
        let size = tree.size();
        let head = Checkpoint { origin: ORIGIN.into(), size, root: tree.root(size).unwrap() };
        let included = (0..).zip(encoded).map(|(index, leaf)| Included {
            index,
            leaf,
            path: tree.inclusion(index, size).unwrap(),
        });
        LogProof {
            key: Digest(key.verifying_key().to_bytes()),
            checkpoint: head.sign(&key),
            leaves: included.collect(),
            published: None,
            cosigned: None,
        }
    }
}
