//! The fake ledger's hashlock legs: a claim is seen as soon as it waits for a block, and what one handle's keys have
//! signed ahead lets another finish.

use async_trait::async_trait;
use sofie_model::{Class, Digest, Fact, LegId, Manifest, Operation, Step};

use super::rules::check_opened;
use super::{Chain, Fake, intent};
use crate::{Hashlocks, Intent, LedgerError, Presigned, Profile, Revealed, Spend};

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

    async fn presign(&self, manifest: &Manifest, leg: LegId, spend: Spend) -> Result<Presigned, LedgerError> {
        self.presigned(&self.chain(), manifest, leg, spend)
    }

    async fn accept(
        &self,
        manifest: &Manifest,
        leg: LegId,
        presigned: &Presigned,
    ) -> Result<(), LedgerError> {
        self.accepted(&self.chain(), manifest, leg, presigned)
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
        let hashes = manifest.lock_hashes(manifest.pivot_terms()?);
        let all = check_opened(&hashes, &preimages).is_ok();
        (all && which == leg && of.txid() == manifest.txid()).then_some(preimages)
    }

    /// Why neither a claim nor a refund is possible any more: the lock has ended in the other way, finally.
    pub(super) fn closed_otherwise(&self, profile: &Profile, operation: &Operation) -> Option<String> {
        let Operation::Leg { manifest, leg, step } = operation else { return None };
        let txid = manifest.txid();
        let (other, how) = match step {
            Step::Claim(_) => (Fact::Reverted(txid, *leg), "was paid back, after its time"),
            Step::Revert => (Fact::Applied(txid, *leg), "was claimed"),
            _ => return None,
        };
        if manifest.leg(*leg)?.class != Class::Hashlock {
            return None;
        }
        let found = self.facts.iter().find(|one| one.fact == other)?;
        self.is_final(profile, found.position.height).then(|| format!("{leg} {how}"))
    }
}
