//! What a settlement, or a ruling, says beyond the fact that it happened: which observation paid, or was overruled.

use alloy_consensus::ReceiptEnvelope;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{B256, Log};
use alloy_sol_types::SolEvent;
use minicbor::{Decode, Encode};

use super::ChainProof;
use crate::contract::Escrow;
use crate::{Digest, LegId, Timestamp};

/// The content of one `Settled` or `Overruled` event, or of an operator's statement of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Settlement {
    /// Which escrow leg was paid, or paid back.
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
        self.events(|log| {
            let event = Escrow::Settled::decode_log(log).ok()?;
            Some((event.leg, event.observation, event.observedAt))
        })
    }

    /// The arbiters' rulings among the proof's logs: what each overruled. As good as the proof, too.
    #[must_use]
    pub fn rulings(&self) -> Vec<Settlement> {
        self.events(|log| {
            let event = Escrow::Overruled::decode_log(log).ok()?;
            Some((event.leg, event.observation, event.observedAt))
        })
    }

    fn events(&self, read: fn(&Log) -> Option<(u16, B256, u64)>) -> Vec<Settlement> {
        let mut found = Vec::new();
        for inclusion in &self.inclusions {
            let Ok(receipt) = ReceiptEnvelope::<Log>::decode_2718_exact(&inclusion.receipt) else {
                continue;
            };
            let logs = inclusion.logs.iter().filter_map(|&log| receipt.logs().get(log as usize));
            found.extend(logs.filter_map(read).map(|(leg, observation, observed_at)| Settlement {
                leg: LegId(leg),
                observation: Digest(observation.0),
                observed_at: Timestamp::from_seconds(observed_at),
            }));
        }
        found
    }
}
