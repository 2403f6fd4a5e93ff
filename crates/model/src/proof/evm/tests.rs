//! A small made-up chain: three blocks, the middle one with 130 transactions, so that indices need two forms of RLP.

use std::sync::OnceLock;

use alloy_consensus::{Eip658Value, Receipt, SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Signature, TxKind, U256};
use alloy_sol_types::SolEvent;
use proptest::prelude::*;

use super::*;
use crate::contract::{self, Decision as D, Escrow};
use crate::manifest::{DecisionSite, EscrowTerms, Participant};
use crate::{Account, Class, Fact, Finality, Leg, LegId, Proof, Rule, Span, Terms, canonical};

const CHAIN: u64 = 31_337;
const DECISION: Account = Account([0xd0; 20]);
const ESCROW: Account = Account([0xe0; 20]);
/// Where the fact of leg 0 stands; 127 sorts last but one in the trie, 128 needs two bytes of RLP.
const PREPARED: u32 = 128;

fn ledger() -> LedgerId {
    "evm".parse().unwrap()
}

fn terms() -> EscrowTerms {
    EscrowTerms {
        contract: ESCROW,
        payer: Account([1; 20]),
        payee: Account([2; 20]),
        amount: 5,
        evidence_key: Account([3; 20]),
        evidence_deadline: Timestamp::from_seconds(2_000),
        submission_window: Span::from_seconds(10),
        dispute: None,
    }
}

fn manifest() -> Manifest {
    let leg = |ledger: &str, class, terms| Leg {
        ledger: ledger.parse().unwrap(),
        class,
        finality: Finality::Instant,
        required: true,
        terms,
        fee_limit: 0,
    };
    Manifest {
        version: 1,
        legs: vec![
            leg("evm", Class::Verifying, Terms::Escrow(terms())),
            leg("calendar", Class::Record, Terms::Record(Digest([9; 32]))),
        ],
        rule: Rule::All,
        decision: DecisionSite {
            ledger: ledger(),
            chain_id: CHAIN,
            contract: DECISION,
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: Timestamp::from_seconds(1_000),
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: vec![Participant { account: Account([1; 20]), hashlock: Digest([8; 32]) }],
        nonce: Digest([7; 32]),
    }
}

pub(in crate::proof) struct Block {
    pub(in crate::proof) header: Header,
    transactions: Vec<Vec<u8>>,
    receipts: Vec<Vec<u8>>,
}

fn transaction(nonce: u64, chain_id: u64) -> Vec<u8> {
    let to = TxKind::Call(Address::repeat_byte(0xe0));
    let transaction = TxEip1559 { chain_id, nonce, gas_limit: 21_000, to, ..Default::default() };
    let signature = Signature::new(U256::from(1), U256::from(2), false);
    TxEnvelope::from(transaction.into_signed(signature)).encoded_2718()
}

fn receipt(success: bool, logs: Vec<Log>) -> Vec<u8> {
    let receipt = Receipt { status: Eip658Value::Eip658(success), cumulative_gas_used: 21_000, logs };
    ReceiptEnvelope::Eip1559(receipt.with_bloom()).encoded_2718()
}

pub(in crate::proof) fn block(parent: Option<&Header>, logs: Vec<(bool, Vec<Log>)>, chain_id: u64) -> Block {
    let transactions: Vec<_> = (0..logs.len() as u64).map(|nonce| transaction(nonce, chain_id)).collect();
    let receipts: Vec<_> = logs.into_iter().map(|(success, logs)| receipt(success, logs)).collect();
    let header = Header {
        parent_hash: parent.map_or(B256::ZERO, Header::hash_slow),
        number: parent.map_or(7, |parent| parent.number + 1),
        timestamp: parent.map_or(100, |parent| parent.timestamp + 1),
        transactions_root: trie::root(&transactions),
        receipts_root: trie::root(&receipts),
        base_fee_per_gas: Some(7),
        ..Default::default()
    };
    Block { header, transactions, receipts }
}

pub(in crate::proof) fn log(by: Account, event: &impl SolEvent) -> Log {
    Log { address: contract::address(by), data: event.encode_log_data() }
}

fn prepared(manifest: &Manifest) -> Escrow::Prepared {
    let txid = manifest.txid();
    let lock = contract::lock(txid, LegId(0), &terms());
    Escrow::Prepared { txid: txid.0.0.into(), leg: 0, lockId: contract::word(contract::lock_id(&lock)) }
}

fn committed(manifest: &Manifest) -> D::Committed {
    D::Committed {
        txid: manifest.txid().0.0.into(),
        included: 3,
        evidenceRoot: B256::repeat_byte(4),
        preimages: vec![B256::repeat_byte(5)],
    }
}

/// What may be wrong with the chain under the proof.
struct Chain {
    prepared_by: Account,
    prepared: Escrow::Prepared,
    success: bool,
    chain_id: u64,
}

impl Chain {
    fn good() -> Self {
        Self { prepared_by: ESCROW, prepared: prepared(&manifest()), success: true, chain_id: CHAIN }
    }

    fn blocks(&self) -> Vec<Block> {
        let noise = || log(Account([0xaa; 20]), &D::Aborted { txid: B256::ZERO, by: Address::ZERO });
        let mut logs: Vec<_> = (0..PREPARED).map(|_| (true, vec![noise()])).collect();
        logs.push((self.success, vec![noise(), log(self.prepared_by, &self.prepared)]));
        logs.push((true, vec![]));
        let first = block(None, vec![], self.chain_id);
        let second = block(Some(&first.header), logs, self.chain_id);
        let decision = log(DECISION, &committed(&manifest()));
        let third = block(Some(&second.header), vec![(true, vec![decision])], self.chain_id);
        vec![first, second, third]
    }

    fn proof(&self) -> ChainProof {
        let blocks = self.blocks();
        ChainProof {
            chain_id: CHAIN,
            headers: blocks.iter().map(|block| alloy_rlp::encode(&block.header).into()).collect(),
            inclusions: vec![include(&blocks[1], PREPARED, 1), include(&blocks[2], 0, 0)],
        }
    }
}

pub(in crate::proof) fn include(block: &Block, index: u32, log: u32) -> Inclusion {
    let (transactions_root, transaction_nodes) = trie::prove(&block.transactions, index);
    let (receipts_root, receipt_nodes) = trie::prove(&block.receipts, index);
    assert_eq!(transactions_root, block.header.transactions_root);
    assert_eq!(receipts_root, block.header.receipts_root);
    Inclusion {
        block: block.header.number,
        index,
        transaction: block.transactions[index as usize].clone().into(),
        transaction_nodes,
        receipt: block.receipts[index as usize].clone().into(),
        receipt_nodes,
        logs: vec![log],
    }
}

fn refusal(proof: &ChainProof) -> String {
    proof.verify(&ledger(), &manifest()).expect_err("must be refused").to_string()
}

#[test]
fn a_good_proof_tells_facts_places_times_and_its_anchor() {
    let blocks = Chain::good().blocks();
    let proven = Chain::good().proof().verify(&ledger(), &manifest()).unwrap();
    let anchor = &blocks[2].header;
    let block_hash = Digest(anchor.hash_slow().0);
    assert_eq!(proven.anchor, Anchor::Evm { chain_id: CHAIN, height: 9, block_hash });
    let txid = manifest().txid();
    let [prepared, decided] = &proven.evidence[..] else { panic!("{proven:?}") };
    assert_eq!(prepared.fact, Fact::Prepared(txid, LegId(0)));
    assert_eq!((prepared.position.height, prepared.position.index), (8, (128 << 32) + 1));
    let hash = keccak256(&blocks[1].transactions[PREPARED as usize]);
    assert_eq!(prepared.position.reference, Digest(hash.0));
    assert_eq!(prepared.at, Timestamp::from_seconds(101));
    let commit = crate::Decision::Commit {
        included: 3,
        evidence_root: Digest([4; 32]),
        preimages: vec![Digest([5; 32])],
    };
    assert_eq!(decided.fact, Fact::Decided(txid, commit));
    assert_eq!(decided.at, Timestamp::from_seconds(102));
}

#[test]
fn every_index_of_a_block_can_be_proven_and_no_other() {
    let block = &Chain::good().blocks()[1];
    for index in [0, 1, 126, 127, 128, 129] {
        let (root, nodes) = trie::prove(&block.transactions, index);
        assert_eq!(root, alloy_trie::root::ordered_trie_root_encoded(&block.transactions));
        let item = &block.transactions[index as usize];
        assert_eq!(trie::verify(root, index, item, &nodes), Ok(()), "{index}");
        assert!(trie::verify(root, index + 1, item, &nodes).is_err(), "{index}");
        assert!(trie::verify(root, index, &[], &nodes).is_err(), "{index}");
        assert!(trie::verify(root, index, item, &nodes[1..]).is_err(), "{index}");
    }
}

#[test]
fn a_changed_proof_is_refused_for_its_own_reason() {
    type Change = fn(&mut ChainProof);
    let table: [(&str, Change, &str); 19] = [
        ("no headers", |p| p.headers.clear(), "headers: there are none"),
        ("no anchor", |p| drop(p.headers.pop()), "receipt 1: block 9 is not among the headers"),
        ("no first parent", |p| drop(p.headers.drain(..2)), "receipt 0: block 8 is not among the headers"),
        ("a gap", |p| drop(p.headers.remove(1)), "header 1: its parent is another block"),
        ("a header twice", |p| p.headers.insert(1, p.headers[0].clone()), "header 1: its parent is"),
        ("a cut header", |p| p.headers[1].truncate(400), "header 1: not a header"),
        ("a longer header", |p| p.headers[2].push(0), "header 2: not in canonical form"),
        ("a long header", |p| p.headers[0].resize(MAX_HEADER_BYTES + 1, 0), "header 0: 1025 bytes"),
        ("too many headers", |p| p.headers.resize(MAX_HEADERS + 1, vec![].into()), "header 0: 4097 are too"),
        ("another block's receipt", |p| p.inclusions[0].block = 7, "transaction 0: "),
        ("another index", |p| p.inclusions[0].index -= 1, "transaction 0: does not stand at index 127"),
        ("the other way round", |p| p.inclusions.reverse(), "receipt 1: not after the one before it"),
        ("a receipt twice", |p| p.inclusions.push(p.inclusions[1].clone()), "receipt 2: not after"),
        ("no log", |p| p.inclusions[0].logs.clear(), "receipt 0: names no log"),
        ("a log twice", |p| p.inclusions[0].logs.push(1), "receipt 0: its logs are not ascending"),
        ("a log that is not there", |p| p.inclusions[0].logs[0] = 2, "receipt 0: has no log 2"),
        ("somebody else's log", |p| p.inclusions[0].logs[0] = 0, "receipt 0: log 0: not an event of a"),
        ("no nodes", |p| p.inclusions[0].receipt_nodes.clear(), "receipt 0: 0 trie nodes"),
        ("another chain", |p| p.chain_id += 1, "chain: id 31338, the manifest says 31337"),
    ];
    for (name, change, expected) in table {
        let mut proof = Chain::good().proof();
        change(&mut proof);
        let got = refusal(&proof);
        assert!(got.contains(expected), "{name}: {got}");
    }
}

#[test]
fn a_fact_that_the_manifest_does_not_name_is_refused() {
    let other = |change: fn(&mut Escrow::Prepared)| {
        let mut event = prepared(&manifest());
        change(&mut event);
        event
    };
    let table = [
        (
            "a foreign contract",
            Chain { prepared_by: Account([0xbb; 20]), ..Chain::good() },
            "log 1: by 0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, the manifest names 0xe0e0",
        ),
        (
            "the decision contract as an escrow",
            Chain { prepared_by: DECISION, ..Chain::good() },
            "log 1: not an event of the decision contract",
        ),
        (
            "another transaction",
            Chain { prepared: other(|e| e.txid = B256::ZERO), ..Chain::good() },
            "log 1: of another transaction",
        ),
        (
            "another ledger's leg",
            Chain { prepared: other(|e| e.leg = 1), ..Chain::good() },
            "log 1: leg 1 is not on this ledger",
        ),
        (
            "no such leg",
            Chain { prepared: other(|e| e.leg = 2), ..Chain::good() },
            "log 1: leg 2 is not on this ledger",
        ),
        (
            "other terms",
            Chain { prepared: other(|e| e.lockId = B256::ZERO), ..Chain::good() },
            "log 1: leg 0 locks on other terms",
        ),
        ("a failed transaction", Chain { success: false, ..Chain::good() }, "its transaction failed"),
        ("signed for another chain", Chain { chain_id: 1, ..Chain::good() }, "signed for chain Some(1)"),
    ];
    for (name, chain, expected) in table {
        let got = refusal(&chain.proof());
        assert!(got.contains(expected), "{name}: {got}");
    }
    let elsewhere = Chain::good().proof().verify(&"anvil".parse().unwrap(), &manifest());
    assert!(elsewhere.unwrap_err().to_string().contains("the manifest's chain is that of evm"));
}

#[test]
fn a_header_of_another_history_needs_another_anchor() {
    let mut proof = Chain::good().proof();
    let Anchor::Evm { block_hash, .. } = proof.verify(&ledger(), &manifest()).unwrap().anchor else {
        panic!()
    };
    let mut forged = Chain::good().blocks().pop().unwrap().header;
    forged.timestamp += 1;
    proof.headers[2] = alloy_rlp::encode(&forged).into();
    let Anchor::Evm { block_hash: other, .. } = proof.verify(&ledger(), &manifest()).unwrap().anchor else {
        panic!()
    };
    assert_ne!(block_hash, other);
}

/// Whether a proof with this bit turned is refused, or rests on another anchor.
pub(in crate::proof) fn flipped_is_refused(
    good: &Proof,
    ledger: &LedgerId,
    manifest: &Manifest,
    place: prop::sample::Index,
    bit: u8,
) -> bool {
    let mut bytes = canonical::encode(good);
    let at = place.index(bytes.len());
    bytes[at] ^= 1 << bit;
    let anchor = good.verify(ledger, manifest).unwrap().anchor;
    let changed = canonical::decode::<Proof>(&bytes, bytes.len());
    let proven = changed.ok().and_then(|changed| changed.verify(ledger, manifest).ok());
    proven.is_none_or(|proven| proven.anchor != anchor)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A changed byte is refused, or it is in the anchor itself, which then is another one: whoever pins it notices.
    #[test]
    fn a_flipped_byte_never_passes_under_the_same_anchor(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        static GOOD: OnceLock<ChainProof> = OnceLock::new();
        let good = Proof::Evm(GOOD.get_or_init(|| Chain::good().proof()).clone());
        prop_assert!(flipped_is_refused(&good, &ledger(), &manifest(), place, bit));
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let proof = ChainProof {
            chain_id: CHAIN,
            headers: vec![bytes.clone().into()],
            inclusions: vec![Inclusion {
                block: 8,
                index: 0,
                transaction: bytes.clone().into(),
                transaction_nodes: vec![bytes.clone().into()],
                receipt: bytes.clone().into(),
                receipt_nodes: vec![bytes.into()],
                logs: vec![0],
            }],
        };
        prop_assert!(proof.verify(&ledger(), &manifest()).is_err());
    }
}
