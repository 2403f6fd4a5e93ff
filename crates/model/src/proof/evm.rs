//! Proof that events stand on an Ethereum chain.

use minicbor::{Decode, Encode};

use super::{BadProof, Proven};
use crate::{LedgerId, Manifest};

/// Headers that link to one anchor block, and receipts with their trie proofs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ChainProof {}

impl ChainProof {
    pub(super) fn verify(&self, ledger: &LedgerId, _manifest: &Manifest) -> Result<Proven, BadProof> {
        Err(BadProof { ledger: ledger.clone(), part: "headers".into(), why: "there are none".into() })
    }
}
