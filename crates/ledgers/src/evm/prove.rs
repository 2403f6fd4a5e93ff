//! Gathers what [`sofie_model::proof::evm`] verifies: headers up to the block of the last fact, and each fact's
//! transaction and receipt with their trie proofs.

use std::collections::BTreeMap;

use alloy_primitives::Bytes;
use sofie_model::proof::evm::{ChainProof, Inclusion, MAX_HEADERS, trie};
use sofie_model::{Evidence, LedgerId, Manifest, Proof};

use super::chain::{Block, Chain, ChainError};

/// Why there is no proof.
#[derive(Debug)]
pub(super) enum Unprovable {
    /// The chain does not answer as it should.
    Chain(ChainError),
    /// No proof may be so long.
    TooFar(String),
    /// The chain does not hold what it held.
    Gone(String),
}

impl From<ChainError> for Unprovable {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

/// By block, by transaction: the logs that are to be proven.
pub(super) type Logs = BTreeMap<u64, BTreeMap<u32, Vec<u32>>>;

pub(super) async fn prove(
    chain: &dyn Chain,
    ledger: &LedgerId,
    manifest: &Manifest,
    facts: &[Evidence],
) -> Result<Proof, Unprovable> {
    let mut wanted = Logs::new();
    for fact in facts {
        let (place, log) = ((fact.position.index >> 32) as u32, fact.position.index as u32);
        wanted.entry(fact.position.height).or_default().entry(place).or_default().push(log);
    }
    let proof = Proof::Evm(gather(chain, wanted).await?);
    check(&proof, ledger, manifest, facts)?;
    Ok(proof)
}

/// The chain's part: headers from the first to the last of these blocks, and the logs of each of their transactions.
pub(super) async fn gather(chain: &dyn Chain, wanted: Logs) -> Result<ChainProof, Unprovable> {
    let (Some((&first, _)), Some((&last, _))) = (wanted.first_key_value(), wanted.last_key_value()) else {
        return Err(Unprovable::TooFar("there is nothing to prove".into()));
    };
    if last - first >= MAX_HEADERS as u64 {
        return Err(Unprovable::TooFar(format!(
            "blocks {first} to {last} are more than the {MAX_HEADERS} of a proof"
        )));
    }
    let mut headers = Vec::new();
    for (number, header) in (first..).zip(chain.headers(first, last).await?) {
        let header = header.ok_or_else(|| gone(number))?;
        headers.push(alloy_rlp::encode(&header).into());
    }
    let mut inclusions = Vec::new();
    for (number, places) in wanted {
        let block = chain.block(number).await?.ok_or_else(|| gone(number))?;
        for (place, mut logs) in places {
            logs.sort_unstable();
            logs.dedup();
            inclusions.push(include(&block, place, logs).ok_or_else(|| gone(number))?);
        }
    }
    Ok(ChainProof { chain_id: chain.chain_id(), headers, inclusions })
}

/// Only what verifies, and says what was asked for, is handed out.
pub(super) fn check(
    proof: &Proof,
    ledger: &LedgerId,
    manifest: &Manifest,
    facts: &[Evidence],
) -> Result<(), Unprovable> {
    let proven = proof.verify(ledger, manifest).map_err(|bad| Unprovable::Gone(bad.to_string()))?;
    match facts.iter().find(|fact| !proven.evidence.contains(fact)) {
        Some(fact) => Err(Unprovable::Gone(format!("the chain no longer holds {fact:?}"))),
        None => Ok(()),
    }
}

pub(super) fn gone(number: u64) -> Unprovable {
    Unprovable::Gone(format!("block {number} is not as it was"))
}

fn include(block: &Block, index: u32, logs: Vec<u32>) -> Option<Inclusion> {
    let item = |items: &[Bytes]| items.get(index as usize).map(|item| item.to_vec().into());
    Some(Inclusion {
        block: block.header.number,
        index,
        transaction: item(&block.transactions)?,
        transaction_nodes: trie::prove(&block.transactions, index).1,
        receipt: item(&block.receipts)?,
        receipt_nodes: trie::prove(&block.receipts, index).1,
        logs,
    })
}
