//! Proofs of final facts: headers up to the depth, transactions and their branches, from the node's own blocks.

use bitcoin::hashes::Hash;
use bitcoin::{Block, Network, Transaction, consensus::encode::serialize, constants::genesis_block};
use sofie_model::proof::bitcoin::{
    ChainProof, MAX_HEADERS, MEDIAN_OF, Shown, What, Witnessed, branch, display,
};
use sofie_model::{Digest, Evidence, Fact, Finality, LegId, Manifest, Proof, Terms};

use super::index::headers_until;
use super::ledger::BitcoinLedger;
use crate::LedgerError;

impl BitcoinLedger {
    /// All facts under one block: the depth above the youngest of them.
    pub(super) async fn proof(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        let mut facts: Vec<&Evidence> = facts.iter().collect();
        facts.sort_by_key(|fact| (fact.position.height, fact.position.index));
        let (Some(oldest), Some(youngest)) = (facts.first(), facts.last()) else {
            return Err(self.profile.refused("there is nothing to prove"));
        };
        let depth = match self.profile.finality {
            Finality::Depth(blocks) => u64::from(blocks),
            Finality::Instant | Finality::Tag | Finality::Safe => 0,
        };
        let first = oldest.position.height.saturating_sub(MEDIAN_OF as u64 - 1);
        let last = youngest.position.height + depth;
        let count = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
        if count > MAX_HEADERS {
            return Err(self
                .profile
                .refused(format!("blocks {first} to {last} are more than the {MAX_HEADERS} of a proof")));
        }
        let hash = self.node.block_hash(last).await.map_err(|error| self.error(error))?;
        let hash = hash.ok_or_else(|| self.profile.transient(format!("there is no block {last} yet")))?;
        let headers = headers_until(&self.node, hash, count).await.map_err(|error| self.error(error))?;
        let mut shown = Vec::new();
        for fact in &facts {
            shown.push(self.show(manifest, fact).await?);
        }
        let proof = Proof::Bitcoin(ChainProof {
            genesis: self.genesis(),
            height: first,
            headers: headers.iter().map(|header| serialize(header).into()).collect(),
            facts: shown,
        });
        self.only_what_verifies(proof, manifest, &facts)
    }

    /// Nothing else is handed out.
    fn only_what_verifies(
        &self,
        proof: Proof,
        manifest: &Manifest,
        facts: &[&Evidence],
    ) -> Result<Proof, LedgerError> {
        let proven =
            proof.verify(&self.profile.id, manifest).map_err(|bad| self.profile.nonsense(bad.to_string()))?;
        match facts.iter().find(|fact| !proven.evidence.contains(fact)) {
            Some(fact) => Err(self.profile.nonsense(format!("the chain no longer holds {fact:?}"))),
            None => Ok(proof),
        }
    }

    fn genesis(&self) -> Digest {
        let network = Network::from_core_arg(&self.config.network).unwrap_or(Network::Regtest);
        display(Digest(genesis_block(network).block_hash().to_byte_array()))
    }

    async fn show(&self, manifest: &Manifest, fact: &Evidence) -> Result<Shown, LedgerError> {
        let height = fact.position.height;
        let gone = || self.profile.nonsense(format!("block {height} is not as it was"));
        let hash = self.node.block_hash(height).await.map_err(|error| self.error(error))?.ok_or_else(gone)?;
        let block = self.node.block(hash).await.map_err(|error| self.error(error))?;
        let index = usize::try_from(fact.position.index).map_err(|_| gone())?;
        let transaction = block.txdata.get(index).ok_or_else(gone)?;
        let mut bytes = bare(transaction);
        let what = match &fact.fact {
            Fact::Prepared(_, leg) => What::Prepared(*leg),
            Fact::Noted(topic, commitment) => What::Noted(*topic, *commitment),
            Fact::Applied(_, leg) | Fact::Reverted(_, leg) if is_hashlock(manifest, *leg) => {
                bytes = serialize(transaction);
                What::Spent(*leg, self.witnessed(manifest, *leg, &block, index).await?)
            }
            Fact::Applied(_, leg) => What::Closed(*leg, true),
            Fact::Reverted(_, leg) => What::Closed(*leg, false),
            other => return Err(self.profile.refused(format!("{other:?} is no fact of this ledger"))),
        };
        Ok(Shown {
            height,
            index: u32::try_from(index).map_err(|_| gone())?,
            transaction: bytes.into(),
            branch: branch(&names(&block), index),
            what,
        })
    }

    async fn witnessed(
        &self,
        manifest: &Manifest,
        leg: LegId,
        block: &Block,
        index: usize,
    ) -> Result<Witnessed, LedgerError> {
        let lock = self.lock(manifest, leg)?;
        let (state, _) = self.synced().await?;
        let found = self.found(&state, &lock)?;
        let first =
            block.txdata.first().ok_or_else(|| self.profile.nonsense("a block without transactions"))?;
        Ok(Witnessed {
            lock: bare(&found.placed.transaction).into(),
            first: serialize(first).into(),
            first_branch: branch(&names(block), 0),
            branch: branch(&witness_names(block), index),
        })
    }
}

/// A transaction without its witnesses, to which its name does not commit.
fn bare(transaction: &Transaction) -> Vec<u8> {
    let mut bare = transaction.clone();
    bare.input.iter_mut().for_each(|input| input.witness.clear());
    serialize(&bare)
}

fn is_hashlock(manifest: &Manifest, leg: LegId) -> bool {
    matches!(manifest.leg(leg).map(|leg| &leg.terms), Some(Terms::Hashlock(_)))
}

fn names(block: &Block) -> Vec<Digest> {
    block.txdata.iter().map(|one| Digest(one.compute_txid().to_byte_array())).collect()
}

/// The first transaction's is zero, since it holds the commitment (BIP 141).
fn witness_names(block: &Block) -> Vec<Digest> {
    let others = block.txdata.iter().skip(1).map(Transaction::compute_wtxid);
    std::iter::once(Digest::ZERO).chain(others.map(|name| Digest(name.to_byte_array()))).collect()
}
