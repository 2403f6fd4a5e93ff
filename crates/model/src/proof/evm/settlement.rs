//! What a settlement says beyond the fact that it happened: which observation paid.

use alloy_consensus::ReceiptEnvelope;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::Log;
use alloy_sol_types::SolEvent;
use minicbor::{Decode, Encode};

use super::ChainProof;
use crate::contract::Escrow;
use crate::{Digest, LegId, Timestamp};

/// The content of one `Settled` event, or of an operator's statement of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Settlement {
    /// Which escrow leg was paid.
    #[n(0)]
    pub leg: LegId,
    /// By which observation: [`crate::Observation::digest`].
    #[n(1)]
    pub observation: Digest,
    /// When that was made, as the attestation says.
    #[n(2)]
    pub observed_at: Timestamp,
}

impl ChainProof {
    /// The settlements among the proof's logs. They are as good as the proof: [`crate::Proof::verify`] it first, which
    /// refuses every log that is by another contract, or of another transaction, than the manifest's.
    #[must_use]
    pub fn settlements(&self) -> Vec<Settlement> {
        let mut found = Vec::new();
        for inclusion in &self.inclusions {
            let Ok(receipt) = ReceiptEnvelope::<Log>::decode_2718_exact(&inclusion.receipt) else {
                continue;
            };
            let logs = inclusion.logs.iter().filter_map(|&log| receipt.logs().get(log as usize));
            found.extend(logs.filter_map(|log| Escrow::Settled::decode_log(log).ok()).map(|event| {
                Settlement {
                    leg: LegId(event.leg),
                    observation: Digest(event.observation.0),
                    observed_at: Timestamp::from_seconds(event.observedAt),
                }
            }));
        }
        found
    }
}
