//! The fake ledger's transactions: an operation in bytes, and a number that keeps two tries apart.

use std::sync::Arc;

use minicbor::{Decode, Encode};
use sofie_model::{
    Account, Decide, Digest, LegId, Manifest, Operation, Signature, SignedAttestation, SignedRuling, Step,
    canonical,
};

use crate::Intent;

/// Longer intents are nonsense.
const MAX_INTENT_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct Transaction {
    #[n(0)]
    number: u64,
    #[n(1)]
    call: Call,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum Call {
    #[n(0)]
    Prepare(#[n(0)] Manifest, #[n(1)] LegId),
    #[n(1)]
    Apply(#[n(0)] Manifest, #[n(1)] LegId),
    #[n(2)]
    Revert(#[n(0)] Manifest, #[n(1)] LegId),
    #[n(3)]
    Settle(#[n(0)] Manifest, #[n(1)] LegId, #[n(2)] SignedAttestation),
    #[n(4)]
    Refund(#[n(0)] Manifest, #[n(1)] LegId),
    #[n(5)]
    Commit(#[n(0)] Manifest, #[n(1)] u64, #[n(2)] Digest, #[n(3)] Vec<Digest>, #[n(4)] Option<Signature>),
    #[n(6)]
    Abort(#[n(0)] Manifest, #[n(1)] Account, #[n(2)] Vec<Signature>),
    #[n(7)]
    Note(#[n(0)] Digest, #[n(1)] Digest),
    #[n(8)]
    Claim(#[n(0)] Manifest, #[n(1)] LegId, #[n(2)] Vec<Digest>),
    #[n(9)]
    Present(#[n(0)] Manifest, #[n(1)] LegId, #[n(2)] SignedAttestation),
    #[n(10)]
    Overrule(#[n(0)] Manifest, #[n(1)] LegId, #[n(2)] SignedRuling),
}

pub(super) fn encode(number: u64, operation: &Operation) -> Intent {
    Intent(canonical::encode(&Transaction { number, call: Call::from(operation) }))
}

pub(super) fn decode(intent: &Intent) -> Result<Operation, canonical::Error> {
    decode_numbered(intent).map(|(_, operation)| operation)
}

/// The number too: a coin, or a nonce. A second transaction with the same one conflicts with the first.
pub(super) fn decode_numbered(intent: &Intent) -> Result<(u64, Operation), canonical::Error> {
    let one: Transaction = canonical::decode(&intent.0, MAX_INTENT_BYTES)?;
    Ok((one.number, one.call.into()))
}

impl From<&Operation> for Call {
    fn from(operation: &Operation) -> Self {
        match operation {
            Operation::Leg { manifest, leg, step } => {
                let (manifest, leg) = (manifest.as_ref().clone(), *leg);
                match step {
                    Step::Prepare => Self::Prepare(manifest, leg),
                    Step::Apply => Self::Apply(manifest, leg),
                    Step::Claim(preimages) => Self::Claim(manifest, leg, preimages.clone()),
                    Step::Revert => Self::Revert(manifest, leg),
                    Step::Present(evidence) => Self::Present(manifest, leg, evidence.clone()),
                    Step::Overrule(ruling) => Self::Overrule(manifest, leg, ruling.clone()),
                    Step::Settle(evidence) => Self::Settle(manifest, leg, evidence.clone()),
                    Step::Refund => Self::Refund(manifest, leg),
                }
            }
            Operation::Decide { manifest, decide } => {
                let manifest = manifest.as_ref().clone();
                match decide {
                    Decide::Commit { included, evidence_root, preimages, guard } => {
                        Self::Commit(manifest, *included, *evidence_root, preimages.clone(), *guard)
                    }
                    Decide::Abort { by, signatures } => Self::Abort(manifest, *by, signatures.clone()),
                }
            }
            Operation::Note { topic, commitment } => Self::Note(*topic, *commitment),
        }
    }
}

impl From<Call> for Operation {
    fn from(call: Call) -> Self {
        let leg = |manifest, leg, step| Self::Leg { manifest: Arc::new(manifest), leg, step };
        let decide = |manifest, decide| Self::Decide { manifest: Arc::new(manifest), decide };
        match call {
            Call::Prepare(manifest, id) => leg(manifest, id, Step::Prepare),
            Call::Apply(manifest, id) => leg(manifest, id, Step::Apply),
            Call::Claim(manifest, id, preimages) => leg(manifest, id, Step::Claim(preimages)),
            Call::Revert(manifest, id) => leg(manifest, id, Step::Revert),
            Call::Present(manifest, id, evidence) => leg(manifest, id, Step::Present(evidence)),
            Call::Overrule(manifest, id, ruling) => leg(manifest, id, Step::Overrule(ruling)),
            Call::Settle(manifest, id, evidence) => leg(manifest, id, Step::Settle(evidence)),
            Call::Refund(manifest, id) => leg(manifest, id, Step::Refund),
            Call::Commit(manifest, included, evidence_root, preimages, guard) => {
                decide(manifest, Decide::Commit { included, evidence_root, preimages, guard })
            }
            Call::Abort(manifest, by, signatures) => decide(manifest, Decide::Abort { by, signatures }),
            Call::Note(topic, commitment) => Self::Note { topic, commitment },
        }
    }
}
