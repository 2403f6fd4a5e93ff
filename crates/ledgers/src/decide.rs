//! Decisions on a ledger that knows no callers: where a contract looks at who sends, a signature is wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use k256::ecdsa::SigningKey;
use sofie_model::{Account, Decide, Decision, Operation, Signature, contract::abort_digest};

/// Participants whose keys are here.
#[derive(Default)]
pub(crate) struct Participants(BTreeMap<Account, SigningKey>);

impl FromIterator<SigningKey> for Participants {
    fn from_iter<T: IntoIterator<Item = SigningKey>>(keys: T) -> Self {
        Self(keys.into_iter().map(|key| (Account::from(key.verifying_key()), key)).collect())
    }
}

impl Participants {
    /// An ABORT that comes without a signature gets its author's, if that key is here.
    pub(crate) fn signed(&self, operation: &Operation) -> Operation {
        let Operation::Decide { manifest, decide: Decide::Abort { by, signatures } } = operation else {
            return operation.clone();
        };
        let key = self.0.get(by).filter(|_| signatures.is_empty());
        let own = key.map(|key| Signature::by(key, abort_digest(manifest)));
        let signatures = signatures.iter().copied().chain(own).collect();
        Operation::Decide { manifest: Arc::clone(manifest), decide: Decide::Abort { by: *by, signatures } }
    }
}

/// The decision, and who signed it.
pub(crate) fn parts(decide: &Decide) -> (Decision, Vec<Signature>) {
    match decide {
        Decide::Commit { included, evidence_root, preimages, guard } => {
            let (included, evidence_root, preimages) = (*included, *evidence_root, preimages.clone());
            (Decision::Commit { included, evidence_root, preimages }, guard.iter().copied().collect())
        }
        Decide::Abort { by, signatures } => (Decision::Abort { by: *by }, signatures.clone()),
    }
}
