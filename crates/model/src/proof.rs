//! Proofs that facts stand on a ledger, and their pure verification: no node, no network, no clock.
//!
//! A proof holds the ledger's own bytes. Its verification decodes the facts from those bytes and says on which
//! [`Anchor`] all of them rest; whoever pins that anchor need trust nothing else of this ledger's operator.

pub mod batch;
pub mod bitcoin;
pub mod calendar;
pub mod evm;
pub mod quorum;
pub mod statement;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Digest, Evidence, LedgerId, Manifest};

/// Facts of one ledger, with all that is needed to check them offline.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Proof {
    /// Of an Ethereum chain: linked headers and receipt-trie inclusion.
    #[n(0)]
    Evm(#[n(0)] evm::ChainProof),
    /// Of a calendar: a signed checkpoint and inclusion in its Merkle log.
    #[n(1)]
    Calendar(#[n(0)] calendar::LogProof),
    /// Of a Bitcoin chain: linked headers with their work, and Merkle branches.
    #[n(2)]
    Bitcoin(#[n(0)] bitcoin::ChainProof),
    /// Of a ledger that its operator keeps by his word: signed statements.
    #[n(3)]
    Operator(#[n(0)] statement::Statements),
    /// Of a group: a quorum's signatures under one decision.
    #[n(4)]
    Quorum(#[n(0)] quorum::QuorumProof),
    /// Of records in batches on an Ethereum chain: the batches' events, and Merkle paths.
    #[n(5)]
    Batch(#[n(0)] batch::BatchProof),
}

/// A witness that has cosigned a checkpoint ([`calendar::WitnessKey`]).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Cosigner {
    /// `name+id+key`.
    #[n(0)]
    pub witness: String,
    /// When it signed, in seconds since the Unix epoch, by its own clock.
    #[n(1)]
    pub at: u64,
}

/// What the facts of one ledger rest on. The reader must have it from elsewhere to trust them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Anchor {
    /// A block of a chain.
    #[n(0)]
    Evm {
        /// EIP-155 chain id, as the manifest says.
        #[n(0)]
        chain_id: u64,
        /// Block number.
        #[n(1)]
        height: u64,
        /// Keccak-256 of the block's header.
        #[n(2)]
        block_hash: Digest,
    },
    /// A log's key and its checkpoint.
    #[n(1)]
    Calendar {
        /// The log's name, the first line of its checkpoints.
        #[n(0)]
        origin: String,
        /// Its Ed25519 public key.
        #[n(1)]
        key: Digest,
        /// How many leaves the checkpoint covers.
        #[n(2)]
        size: u64,
        /// RFC 6962 root hash at that size.
        #[n(3)]
        root: Digest,
        /// Who has cosigned the checkpoint.
        #[n(4)]
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cosigned: Vec<Cosigner>,
    },
    /// A block of a Bitcoin chain. Hashes as they are printed.
    #[n(2)]
    Bitcoin {
        /// The chain's first block.
        #[n(0)]
        genesis: Digest,
        /// The block's height.
        #[n(1)]
        height: u64,
        /// The block.
        #[n(2)]
        block_hash: Digest,
    },
    /// The word of whoever runs the ledger.
    #[n(3)]
    Operator {
        /// The ledger's name in manifests.
        #[n(0)]
        ledger: LedgerId,
        /// The operator's Ed25519 public key.
        #[n(1)]
        key: Digest,
    },
    /// A group of members, more than two thirds of whom signed.
    #[n(4)]
    Quorum {
        /// The ledger's name in manifests.
        #[n(0)]
        ledger: LedgerId,
        /// [`crate::quorum::Group::id`]: the hash of the members' keys.
        #[n(1)]
        group: Digest,
    },
}

/// What a proof proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// What all of it rests on.
    pub anchor: Anchor,
    /// The facts, decoded from the ledger's own bytes, in the ledger's order.
    pub evidence: Vec<Evidence>,
}

/// Why a proof was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("proof of ledger {ledger}: {part}: {why}")]
pub struct BadProof {
    /// Whose proof.
    pub ledger: LedgerId,
    /// Which part of it: `header 3`, `receipt 0`, `leaf 2`, `checkpoint`.
    pub part: String,
    /// What is wrong with it.
    pub why: String,
}

impl Proof {
    /// Checks the proof and decodes its facts. Facts about another transaction, or by contracts and commitments that
    /// `manifest` does not name, are refused, not skipped.
    ///
    /// # Errors
    /// [`BadProof`] names the first part that does not hold.
    pub fn verify(&self, ledger: &LedgerId, manifest: &Manifest) -> Result<Proven, BadProof> {
        match self {
            Self::Evm(proof) => proof.verify(ledger, manifest),
            Self::Calendar(proof) => proof.verify(ledger, manifest),
            Self::Bitcoin(proof) => proof.verify(ledger, manifest),
            Self::Operator(proof) => proof.verify(ledger, manifest),
            Self::Quorum(proof) => proof.verify(ledger, manifest),
            Self::Batch(proof) => proof.verify(ledger, manifest),
        }
    }

    /// What the settlements among the facts say. As good as the proof: [`Proof::verify`] it first.
    #[must_use]
    pub fn settlements(&self) -> Vec<evm::Settlement> {
        match self {
            Self::Evm(proof) => proof.settlements(),
            Self::Operator(proof) => proof.settlements().collect(),
            Self::Calendar(_) | Self::Bitcoin(_) | Self::Quorum(_) | Self::Batch(_) => Vec::new(),
        }
    }

    /// What arbiters overruled, of the facts. As good as the proof, too.
    #[must_use]
    pub fn rulings(&self) -> Vec<evm::Settlement> {
        match self {
            Self::Evm(proof) => proof.rulings(),
            _ => Vec::new(),
        }
    }
}
