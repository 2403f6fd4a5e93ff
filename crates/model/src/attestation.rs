//! The signed word of a sensor's owner: what was observed, for which transaction, and when. Typed structured data
//! (EIP-712), so that the escrow contract checks the very signature that an auditor checks.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Account, Digest, LegId, Timestamp, Txid};

/// What the evidence key signs, bound to one chain and one escrow contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Attestation {
    /// EIP-155 chain id of the escrow.
    #[n(0)]
    pub chain_id: u64,
    /// The escrow contract.
    #[n(1)]
    pub contract: Account,
    /// The transaction it is about.
    #[n(2)]
    pub txid: Txid,
    /// The escrow leg.
    #[n(3)]
    pub leg: LegId,
    /// H(thing, property, value, salt): [`crate::Observation::digest`].
    #[n(4)]
    pub observation: Digest,
    /// True when the agreed predicate holds.
    #[n(5)]
    pub fulfilled: bool,
    /// When the sensor saw it. A whole second, rounded down.
    #[n(6)]
    pub observed_at: Timestamp,
}

/// An attestation and its signature.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct SignedAttestation {
    /// What is said.
    #[n(0)]
    pub attestation: Attestation,
    /// r ‖ s ‖ v of secp256k1 over the EIP-712 digest: 65 bytes, v is 27 or 28, s in the lower half (EIP-2).
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(with = "hex::serde")]
    pub signature: Vec<u8>,
}
