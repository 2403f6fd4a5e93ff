//! Proof that events stand on an Ethereum chain.
//!
//! Headers (Yellow Paper, section 4.4) link by their parents' hashes up to one anchor block. Each fact comes with the
//! receipt (EIP-2718, EIP-658) that logged it and with the transaction that caused it; both are proven to stand at the
//! same index of the block's receipts and transactions tries (Merkle-Patricia, Yellow Paper, appendix D).
//!
//! Left out: why the anchor is a block of the chain (its consensus), and the state trie. Whoever pins the anchor's hash
//! needs neither.

pub mod event;
mod settlement;
pub mod trie;

use alloy_consensus::{Header, ReceiptEnvelope, Transaction, TxEnvelope};
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{B256, Log, keccak256};
use alloy_rlp::Decodable;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

pub use settlement::Settlement;

use super::{Anchor, BadProof, Proven};
use crate::{Digest, Evidence, LedgerId, Manifest, Position, Timestamp};

/// More headers than this are refused: about 2.5 MB, and 13 hours of a chain with a block every 12 seconds.
pub const MAX_HEADERS: usize = 4_096;
/// A longer header is refused: the fields of Amsterdam and 32 bytes of extra data need less.
pub const MAX_HEADER_BYTES: usize = 1_024;
/// More transactions than this are refused: three facts a leg and the decision need 193.
pub const MAX_INCLUSIONS: usize = 256;
/// A longer transaction, receipt or trie node is refused.
pub const MAX_ITEM_BYTES: usize = 256 * 1_024;

/// Headers that link to one anchor block, and receipts with their trie proofs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ChainProof {
    /// EIP-155 chain id. Each transaction's signature covers it too.
    #[n(0)]
    pub chain_id: u64,
    /// The headers' RLP, oldest first, each the parent of the next. The last one is the anchor.
    #[n(1)]
    pub headers: Vec<ByteVec>,
    /// Where the facts stand, in the chain's order.
    #[n(2)]
    pub inclusions: Vec<Inclusion>,
}

/// One transaction and its receipt, in their block.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Inclusion {
    /// The block's number.
    #[n(0)]
    pub block: u64,
    /// The transaction's place in it.
    #[n(1)]
    pub index: u32,
    /// The transaction's EIP-2718 bytes.
    #[n(2)]
    pub transaction: ByteVec,
    /// The nodes from the header's transactions root down to the transaction.
    #[n(3)]
    pub transaction_nodes: Vec<ByteVec>,
    /// The receipt's EIP-2718 bytes.
    #[n(4)]
    pub receipt: ByteVec,
    /// The nodes from the header's receipts root down to the receipt.
    #[n(5)]
    pub receipt_nodes: Vec<ByteVec>,
    /// Which of the receipt's logs are the facts, ascending. The others concern somebody else.
    #[n(6)]
    pub logs: Vec<u32>,
}

/// Where a log stands in its block, in one number that a receipt alone proves: the transaction's index, times 2^32,
/// plus the log's place in the transaction's receipt.
#[must_use]
pub const fn log_index(transaction: u32, log: u32) -> u64 {
    (transaction as u64) << 32 | log as u64
}

/// A log that a [`ChainProof`] proves, and where it stands.
#[derive(Debug)]
pub(super) struct ProvenLog {
    pub(super) log: Log,
    /// Which inclusion, and which of its receipt's logs.
    place: (usize, u32),
    pub(super) position: Position,
    pub(super) at: Timestamp,
}

impl ProvenLog {
    /// A refusal of what the log says.
    pub(super) fn refused(&self, ledger: &LedgerId, why: &str) -> BadProof {
        let (receipt, log) = self.place;
        BadProof {
            ledger: ledger.clone(),
            part: format!("receipt {receipt}"),
            why: format!("log {log}: {why}"),
        }
    }
}

impl ChainProof {
    pub(super) fn verify(&self, ledger: &LedgerId, manifest: &Manifest) -> Result<Proven, BadProof> {
        let bad = |part: String, why: String| BadProof { ledger: ledger.clone(), part, why };
        self.check_site(ledger, manifest).map_err(|why| bad("chain".into(), why))?;
        let (anchor, logs) = self.logs(ledger)?;
        let evidence = logs.iter().map(|logged| {
            let fact =
                event::fact(ledger, manifest, &logged.log).map_err(|why| logged.refused(ledger, &why))?;
            Ok(Evidence { ledger: ledger.clone(), fact, position: logged.position, at: logged.at })
        });
        Ok(Proven { anchor, evidence: evidence.collect::<Result<_, _>>()? })
    }

    /// Proves all that the inclusions name, whatever it says.
    pub(super) fn logs(&self, ledger: &LedgerId) -> Result<(Anchor, Vec<ProvenLog>), BadProof> {
        let bad = |part: String, why: String| BadProof { ledger: ledger.clone(), part, why };
        let headers = self.linked().map_err(|(at, why)| bad(format!("header {at}"), why))?;
        let anchor = headers.last().ok_or_else(|| bad("headers".into(), "there are none".into()))?;
        let anchor = Anchor::Evm {
            chain_id: self.chain_id,
            height: anchor.header.number,
            block_hash: Digest(anchor.hash.0),
        };
        self.check_order().map_err(|(at, why)| bad(format!("receipt {at}"), why))?;
        let mut logs = Vec::new();
        for (at, inclusion) in self.inclusions.iter().enumerate() {
            let part = |name: &'static str| move |why| bad(format!("{name} {at}"), why);
            let block = block_of(&headers, inclusion.block).map_err(part("receipt"))?;
            let reference = inclusion.transaction(block, self.chain_id).map_err(part("transaction"))?;
            logs.extend(inclusion.logs(at, block, reference).map_err(part("receipt"))?);
        }
        Ok((anchor, logs))
    }

    /// The manifest names a chain for D only, so that a proof of any other chain would rest on nothing.
    fn check_site(&self, ledger: &LedgerId, manifest: &Manifest) -> Result<(), String> {
        let site = &manifest.decision;
        ensure(site.ledger == *ledger, || format!("the manifest's chain is that of {}", site.ledger))?;
        ensure(site.chain_id == self.chain_id, || {
            format!("id {}, the manifest says {}", self.chain_id, site.chain_id)
        })
    }

    fn linked(&self) -> Result<Vec<Linked>, (usize, String)> {
        ensure(self.headers.len() <= MAX_HEADERS, || format!("{} are too many", self.headers.len()))
            .map_err(|why| (0, why))?;
        let mut linked: Vec<Linked> = Vec::with_capacity(self.headers.len());
        for (at, bytes) in self.headers.iter().enumerate() {
            let next = Linked::read(bytes).map_err(|why| (at, why))?;
            if let Some(parent) = linked.last() {
                let header = &next.header;
                ensure(header.parent_hash == parent.hash, || "its parent is another block".into())
                    .and_then(|()| {
                        ensure(parent.header.number.checked_add(1) == Some(header.number), || {
                            format!("number {} follows {}", header.number, parent.header.number)
                        })
                    })
                    .map_err(|why| (at, why))?;
            }
            linked.push(next);
        }
        Ok(linked)
    }

    fn check_order(&self) -> Result<(), (usize, String)> {
        let count = self.inclusions.len();
        ensure(count <= MAX_INCLUSIONS, || format!("{count} are too many")).map_err(|why| (0, why))?;
        for (at, pair) in self.inclusions.windows(2).enumerate() {
            let ascending = (pair[0].block, pair[0].index) < (pair[1].block, pair[1].index);
            ensure(ascending, || "not after the one before it".into()).map_err(|why| (at + 1, why))?;
        }
        Ok(())
    }
}

/// A header and its own hash.
struct Linked {
    header: Header,
    hash: B256,
}

impl Linked {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        ensure(bytes.len() <= MAX_HEADER_BYTES, || format!("{} bytes are too long", bytes.len()))?;
        let mut rest = bytes;
        let header = Header::decode(&mut rest).map_err(|e| format!("not a header: {e}"))?;
        ensure(rest.is_empty() && alloy_rlp::encode(&header) == bytes, || "not in canonical form".into())?;
        Ok(Self { header, hash: keccak256(bytes) })
    }
}

fn block_of(headers: &[Linked], number: u64) -> Result<&Linked, String> {
    // Numbers are contiguous, so that the first one tells where each block is.
    let first = headers.first().map_or(0, |linked| linked.header.number);
    number
        .checked_sub(first)
        .and_then(|offset| headers.get(usize::try_from(offset).ok()?))
        .ok_or_else(|| format!("block {number} is not among the headers"))
}

impl Inclusion {
    /// Proves the transaction, and answers its hash.
    fn transaction(&self, block: &Linked, chain_id: u64) -> Result<Digest, String> {
        let bytes: &[u8] = &self.transaction;
        ensure(bytes.len() <= MAX_ITEM_BYTES, || format!("{} bytes are too long", bytes.len()))?;
        trie::verify(block.header.transactions_root, self.index, bytes, &self.transaction_nodes)?;
        let envelope = TxEnvelope::decode_2718_exact(bytes).map_err(|e| format!("not one: {e}"))?;
        let signed_for = envelope.chain_id();
        ensure(signed_for == Some(chain_id), || format!("signed for chain {signed_for:?}"))?;
        Ok(Digest(keccak256(bytes).0))
    }

    /// Proves the receipt, and takes the logs that are named out of it. This is inclusion `at` of its proof.
    fn logs(&self, at: usize, block: &Linked, reference: Digest) -> Result<Vec<ProvenLog>, String> {
        let bytes: &[u8] = &self.receipt;
        ensure(bytes.len() <= MAX_ITEM_BYTES, || format!("{} bytes are too long", bytes.len()))?;
        trie::verify(block.header.receipts_root, self.index, bytes, &self.receipt_nodes)?;
        let receipt =
            ReceiptEnvelope::<Log>::decode_2718_exact(bytes).map_err(|e| format!("not one: {e}"))?;
        ensure(receipt.is_success(), || "its transaction failed".into())?;
        ensure(!self.logs.is_empty(), || "names no log".into())?;
        ensure(self.logs.is_sorted_by(|a, b| a < b), || "its logs are not ascending".into())?;
        let time = Timestamp::from_seconds(block.header.timestamp);
        let named = self.logs.iter().map(|&log| {
            let logged = receipt.logs().get(log as usize).ok_or_else(|| format!("has no log {log}"))?;
            let index = log_index(self.index, log);
            let position = Position { height: block.header.number, index, reference };
            Ok(ProvenLog { log: logged.clone(), place: (at, log), position, at: time })
        });
        named.collect()
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

#[cfg(test)]
pub(super) mod tests;
