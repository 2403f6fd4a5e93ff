//! A chain of one transaction a block.

use alloy_consensus::{
    Eip658Value, Header, Receipt, ReceiptEnvelope, SignableTransaction, TxEip1559, TxEnvelope,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, Log, LogData, Signature, TxKind, U256};
use alloy_sol_types::SolEvent;
use sofie_model::{
    Account, Decision, Digest, LegId, Manifest, Terms, Timestamp,
    contract::{self, Decision as D, Escrow},
    proof::evm::{ChainProof, Inclusion, trie},
};

use super::{DECISION, ESCROW};

/// What a block's only transaction logs.
pub enum Event {
    Prepared,
    Applied,
    Reverted,
    Refunded,
    Settled(Digest, Timestamp),
    Presented(Digest, Timestamp),
    Overruled(Digest, Timestamp),
    Decided(Decision),
    Aborted(Account),
    /// The same, of another leg than the first.
    Of(u16, Box<Event>),
}

impl Event {
    fn log(&self, manifest: &Manifest) -> Log {
        let (leg, event) = match self {
            Self::Of(leg, event) => (*leg, &**event),
            event => (0, event),
        };
        let Terms::Escrow(terms) = &manifest.legs[usize::from(leg)].terms else { unreachable!("an escrow") };
        let txid = contract::word(manifest.txid().0);
        let lock = contract::word(contract::lock_id(&contract::lock(manifest.txid(), LegId(leg), terms)));
        let (by, data): (Account, LogData) = match event {
            Self::Prepared => (ESCROW, Escrow::Prepared { txid, leg, lockId: lock }.encode_log_data()),
            Self::Applied => (ESCROW, Escrow::Applied { txid, leg, lockId: lock }.encode_log_data()),
            Self::Reverted => (ESCROW, Escrow::Reverted { txid, leg, lockId: lock }.encode_log_data()),
            Self::Refunded => (ESCROW, Escrow::Refunded { txid, leg, lockId: lock }.encode_log_data()),
            Self::Presented(observation, observed_at) => {
                let (observation, observed_at) = (contract::word(*observation), observed_at.as_seconds());
                let event = Escrow::Presented {
                    txid,
                    leg,
                    lockId: lock,
                    observation,
                    observedAt: observed_at,
                    until: 0,
                };
                (ESCROW, event.encode_log_data())
            }
            Self::Overruled(observation, observed_at) => {
                let (observation, observed_at) = (contract::word(*observation), observed_at.as_seconds());
                let event =
                    Escrow::Overruled { txid, leg, lockId: lock, observation, observedAt: observed_at };
                (ESCROW, event.encode_log_data())
            }
            Self::Settled(observation, observed_at) => {
                let observation = contract::word(*observation);
                let observed_at = observed_at.as_seconds();
                let event = Escrow::Settled { txid, leg, lockId: lock, observation, observedAt: observed_at };
                (ESCROW, event.encode_log_data())
            }
            Self::Decided(Decision::Commit { included, evidence_root, preimages }) => {
                let preimages = preimages.iter().map(|one| contract::word(*one)).collect();
                let root = contract::word(*evidence_root);
                let event = D::Committed { txid, included: *included, evidenceRoot: root, preimages };
                (DECISION, event.encode_log_data())
            }
            Self::Decided(Decision::Abort { by }) | Self::Aborted(by) => {
                (DECISION, D::Aborted { txid, by: contract::address(*by) }.encode_log_data())
            }
            Self::Of(..) => unreachable!("of one leg"),
        };
        Log { address: contract::address(by), data }
    }
}

struct Block {
    header: Header,
    /// Transaction and receipt; the first block has none.
    content: Option<(Vec<u8>, Vec<u8>)>,
}

pub struct Chain {
    id: u64,
    blocks: Vec<Block>,
}

impl Chain {
    pub fn new(id: u64, started_at: Timestamp) -> Self {
        let header = Header { timestamp: started_at.as_seconds(), ..Default::default() };
        Self { id, blocks: vec![Block { header, content: None }] }
    }

    pub fn push(&mut self, at: Timestamp, manifest: &Manifest, event: Event) {
        let parent = &self.blocks[self.blocks.len() - 1].header;
        let (to, nonce) = (TxKind::Call(contract::address(ESCROW)), parent.number);
        let transaction = TxEip1559 { chain_id: self.id, nonce, gas_limit: 21_000, to, ..Default::default() };
        let signature = Signature::new(U256::from(1), U256::from(2), false);
        let transaction = TxEnvelope::from(transaction.into_signed(signature)).encoded_2718();
        let receipt = Receipt {
            status: Eip658Value::Eip658(true),
            cumulative_gas_used: 21_000,
            logs: vec![event.log(manifest)],
        };
        let receipt = ReceiptEnvelope::Eip1559(receipt.with_bloom()).encoded_2718();
        let header = Header {
            parent_hash: parent.hash_slow(),
            number: parent.number + 1,
            timestamp: at.as_seconds(),
            transactions_root: trie::root(&[&transaction]),
            receipts_root: trie::root(&[&receipt]),
            base_fee_per_gas: Some(7),
            ..Default::default()
        };
        self.blocks.push(Block { header, content: Some((transaction, receipt)) });
    }

    pub fn proof(&self) -> ChainProof {
        let proven = |block: &Block| {
            let (transaction, receipt) = block.content.as_ref()?;
            let (_, transaction_nodes): (B256, _) = trie::prove(&[transaction], 0);
            let (_, receipt_nodes): (B256, _) = trie::prove(&[receipt], 0);
            Some(Inclusion {
                block: block.header.number,
                index: 0,
                transaction: transaction.clone().into(),
                transaction_nodes,
                receipt: receipt.clone().into(),
                receipt_nodes,
                logs: vec![0],
            })
        };
        ChainProof {
            chain_id: self.id,
            headers: self.blocks.iter().map(|block| alloy_rlp::encode(&block.header).into()).collect(),
            inclusions: self.blocks.iter().filter_map(proven).collect(),
        }
    }
}
