//! The fake ledger's hashlock legs: a claim is seen as soon as it waits for a block. Its keys sign nothing: what a real
//! ledger's key would sign is assumed.

use async_trait::async_trait;
use sofie_model::{Digest, LegId, Manifest, Operation, Step};

use super::{Chain, Fake, intent};
use crate::{Hashlocks, Intent, LedgerError, Presigned, Revealed, Spend};

#[async_trait]
impl Hashlocks for Fake {
    async fn revealed(&self, manifest: &Manifest, leg: LegId) -> Result<Option<Revealed>, LedgerError> {
        let chain = self.answers()?;
        let in_blocks = (1..).zip(&chain.blocks).flat_map(|(height, block)| {
            block.transactions.iter().filter(|(_, result)| result.is_ok()).map(move |(one, _)| (height, one))
        });
        let waiting = chain.mempool.iter().map(|one| (u64::MAX, one));
        let claim = |(height, one): (u64, &Intent)| {
            let preimages = Chain::claim(one, manifest, leg)?;
            let finally = height != u64::MAX && chain.is_final(&self.profile, height);
            Some(Revealed { preimages, reference: Digest::sha256(&one.0), finally })
        };
        Ok(in_blocks.chain(waiting).find_map(claim))
    }

    async fn presign(&self, _: &Manifest, _: LegId, spend: Spend) -> Result<Presigned, LedgerError> {
        Ok(Presigned { spend, bytes: Vec::new() })
    }

    async fn accept(&self, _: &Manifest, _: LegId, _: &Presigned) -> Result<(), LedgerError> {
        Ok(())
    }
}

impl Chain {
    /// The preimages of a claim of this leg that fit.
    fn claim(one: &Intent, manifest: &Manifest, leg: LegId) -> Option<Vec<Digest>> {
        let Ok(Operation::Leg { manifest: of, leg: which, step: Step::Claim(preimages) }) =
            intent::decode(one)
        else {
            return None;
        };
        let fits = |(one, secret): (&sofie_model::manifest::Participant, &Digest)| {
            Digest::sha256(secret.as_bytes()) == one.hashlock
        };
        let all = preimages.len() == manifest.participants.len()
            && manifest.participants.iter().zip(&preimages).all(fits);
        (all && which == leg && of.txid() == manifest.txid()).then_some(preimages)
    }
}
