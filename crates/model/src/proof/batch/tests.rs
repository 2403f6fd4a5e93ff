//! A made-up chain with two batches: what holds, and each way in which a proof does not.

use proptest::prelude::*;

use super::*;
use crate::proof::calendar::tests::manifest_on;
use crate::proof::evm::tests::{block, flipped_is_refused, include, log};
use crate::{Account, Fact, LegId, Proof, Txid};

const CHAIN: u64 = 31_337;
/// Numbers that the records of others took.
const BEFORE: u64 = 1_000;
/// Entries of the first batch: no power of two.
const COUNT: u32 = 11;
/// Where the prepared entry of the manifest's leg stands in it.
const PREPARED: u32 = 7;

fn ledger() -> LedgerId {
    "records".parse().unwrap()
}

fn manifest() -> Manifest {
    manifest_on("records")
}

fn note(number: u32) -> Entry {
    let commitment = Digest::sha256(&number.to_be_bytes());
    Entry::Note { topic: Digest([3; 32]), commitment }
}

fn prepared() -> Entry {
    Entry::Prepared { txid: manifest().txid(), leg: LegId(1), commitment: Digest::sha256(b"1") }
}

/// Two batches, `what` in the middle of the first.
struct Story {
    what: Entry,
    by: Account,
    count: u32,
}

impl Story {
    fn good() -> Self {
        Self { what: prepared(), by: NOTARY, count: COUNT }
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = (0..COUNT).map(note).collect();
        entries[PREPARED as usize] = self.what.clone();
        entries
    }

    fn proof(&self) -> BatchProof {
        let entries = self.entries();
        let closed = [Entry::Closed { txid: manifest().txid(), leg: LegId(1), applied: true }];
        let event = |entries: &[Entry], first: u64, count: u32| {
            let root = entries_tree(entries).root(entries.len() as u64).unwrap();
            log(self.by, &Notary::Recorded { root: root.0.into(), first, count })
        };
        let noise = log(Account([0xaa; 20]), &Notary::Recorded { root: [9; 32].into(), first: 0, count: 1 });
        let first = event(&entries, BEFORE, self.count);
        let second = event(&closed, BEFORE + u64::from(COUNT), 1);
        let lower = block(None, vec![(true, vec![]), (true, vec![noise, first])], CHAIN);
        let upper = block(Some(&lower.header), vec![(true, vec![second])], CHAIN);
        let headers = [&lower, &upper].map(|block| alloy_rlp::encode(&block.header).into()).into();
        let inclusions = vec![include(&lower, 1, 1), include(&upper, 0, 0)];
        let chain = ChainProof { chain_id: CHAIN, headers, inclusions };
        let records = vec![vec![record(&entries, 0), record(&entries, PREPARED)], vec![record(&closed, 0)]];
        BatchProof { chain, records }
    }

    fn refusal(&self) -> String {
        refusal(self.proof())
    }
}

fn record(entries: &[Entry], index: u32) -> Record {
    let path = entries_tree(entries).inclusion(index.into(), entries.len() as u64).unwrap();
    Record { index, entry: canonical::encode(&entries[index as usize]), path }
}

fn refusal(proof: BatchProof) -> String {
    Proof::Batch(proof).verify(&ledger(), &manifest()).expect_err("must be refused").to_string()
}

#[test]
fn a_good_proof_tells_facts_their_numbers_times_and_the_anchor() {
    let proven = Proof::Batch(Story::good().proof()).verify(&ledger(), &manifest()).unwrap();
    assert!(matches!(proven.anchor, Anchor::Evm { chain_id: CHAIN, height: 8, .. }), "{:?}", proven.anchor);
    let txid = manifest().txid();
    let expected = [
        (Fact::Noted(Digest([3; 32]), Digest::sha256(&[0; 4])), 7, BEFORE, 100),
        (Fact::Prepared(txid, LegId(1)), 7, BEFORE + 7, 100),
        (Fact::Applied(txid, LegId(1)), 8, BEFORE + 11, 101),
    ];
    assert_eq!(proven.evidence.len(), expected.len());
    for (got, (fact, height, index, seconds)) in proven.evidence.iter().zip(expected) {
        assert_eq!(got.fact, fact);
        assert_eq!((got.position.height, got.position.index), (height, index), "{fact:?}");
        assert_eq!(got.at, Timestamp::from_seconds(seconds), "{fact:?}");
    }
    let leaf = merkle::leaf_hash(&canonical::encode(&prepared()));
    assert_eq!(proven.evidence[1].position.reference, leaf);
}

#[test]
fn a_changed_proof_is_refused_for_its_own_reason() {
    type Change = fn(&mut BatchProof);
    let table: [(&str, Change, &str); 10] = [
        ("no headers", |p| p.chain.headers.clear(), "headers: there are none"),
        ("a list too few", |p| drop(p.records.pop()), "records: 1 lists of records for 2 batches"),
        ("an empty list", |p| p.records[1].clear(), "batch 1: no record of it is here"),
        ("the other way round", |p| p.records[0].reverse(), "batch 0: its records are not ascending"),
        ("a record twice", |p| p.records[0][1] = p.records[0][0].clone(), "not ascending"),
        ("another place", |p| p.records[0][1].index += 1, "batch 0, record 8: its path does not lead"),
        ("a shorter path", |p| p.records[0][1].path.truncate(1), "batch 0, record 7: its path does not"),
        ("another batch's record", |p| p.records.swap(0, 1), "batch 0, record 0: its path does not lead"),
        ("another entry", |p| p.records[0][1].entry = canonical::encode(&note(7)), "its path does not lead"),
        (
            "too many records",
            |p| p.records[0] = vec![p.records[0][0].clone(); MAX_RECORDS + 1],
            "batch 0: 1025 records are more than 1024",
        ),
    ];
    for (name, change, expected) in table {
        let mut proof = Story::good().proof();
        change(&mut proof);
        let got = refusal(proof);
        assert!(got.contains(expected), "{name}: {got}");
    }
    let mut noise = Story::good().proof();
    noise.chain.inclusions[0].logs = vec![0];
    let got = refusal(noise);
    assert!(
        got.contains("receipt 0: log 0: by 0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa, batches are"),
        "{got}"
    );
}

#[test]
fn an_entry_that_the_manifest_does_not_name_is_refused() {
    let txid = manifest().txid();
    let decision = crate::Decision::Abort { by: Account([2; 20]) };
    let commitment = Digest::sha256(b"1");
    let table = [
        (
            "another commitment",
            Entry::Prepared { txid, leg: LegId(1), commitment: Digest::ZERO },
            "it commits to",
        ),
        ("another ledger's leg", Entry::Prepared { txid, leg: LegId(0), commitment }, "no leg 0 on records"),
        (
            "another transaction",
            Entry::Closed { txid: Txid(Digest::ZERO), leg: LegId(1), applied: true },
            "it is about another transaction",
        ),
        ("a decision", Entry::Decided { txid, decision, signatures: vec![] }, "records, not decisions"),
    ];
    for (name, what, expected) in table {
        let got = Story { what, ..Story::good() }.refusal();
        assert!(got.contains("batch 0, record 7") && got.contains(expected), "{name}: {got}");
    }
}

#[test]
fn only_the_contract_makes_batches_and_their_count_is_part_of_them() {
    let foreign = Story { by: Account([0xbb; 20]), ..Story::good() }.refusal();
    assert!(foreign.contains("batches are logged by 0x1c2142b5"), "{foreign}");
    let longer = Story { count: COUNT + 10, ..Story::good() }.refusal();
    assert!(longer.contains("its path does not lead"), "{longer}");
    for count in [0, MAX_COUNT + 1] {
        let got = Story { count, ..Story::good() }.refusal();
        assert!(got.contains("are no batch"), "{got}");
    }
}

/// Under a batch that was checked once, whatever its size may be.
#[test]
fn a_record_of_the_largest_batch_fits_a_kilobyte() {
    let entries: Vec<_> = (0..MAX_COUNT - 1).map(note).chain([prepared()]).collect();
    let tree = entries_tree(&entries);
    let root = tree.root(MAX_COUNT.into()).unwrap();
    let batch = Batch { root, count: MAX_COUNT, first: 0, height: 1, at: Timestamp::from_seconds(1) };
    for index in [0, 1, MAX_COUNT / 2, MAX_COUNT - 1] {
        let path = tree.inclusion(index.into(), MAX_COUNT.into()).unwrap();
        let record = Record { index, entry: canonical::encode(&entries[index as usize]), path };
        assert_eq!(batch.entry(&record).as_ref(), Ok(&entries[index as usize]));
        let bytes = canonical::encode(&record).len();
        assert!(bytes <= 640, "{bytes} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A changed byte is refused, or it is in the anchor itself, which then is another one.
    #[test]
    fn a_flipped_byte_never_passes_under_the_same_anchor(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let good = Proof::Batch(Story::good().proof());
        prop_assert!(flipped_is_refused(&good, &ledger(), &manifest(), place, bit));
    }
}
