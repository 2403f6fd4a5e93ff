//! Proofs of a calendar: what holds, and each way in which one does not.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::{merkle::Tree, *};
use crate::{
    Account, Class, Finality, Leg, Proof, Rule, Span,
    manifest::{DecisionSite, MAX_PARTICIPANTS, Participant},
};

fn ledger() -> LedgerId {
    "calendar".parse().unwrap()
}

/// Two records: one elsewhere, and leg 1 on `ledger`.
pub(in crate::proof) fn manifest_on(ledger: &str) -> Manifest {
    let leg = |ledger: &str, payload: &[u8]| Leg {
        ledger: ledger.parse().unwrap(),
        class: Class::Record,
        finality: Finality::Instant,
        required: true,
        terms: Terms::Record(Digest::sha256(payload)),
        fee_limit: 0,
    };
    Manifest {
        version: 1,
        legs: vec![leg("elsewhere", b"0"), leg(ledger, b"1")],
        rule: Rule::All,
        decision: DecisionSite {
            ledger: "evm".parse().unwrap(),
            chain_id: 1,
            contract: Account([1; 20]),
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: Timestamp::from_seconds(100),
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: vec![Participant { account: Account([2; 20]), hashlock: Digest::sha256(&[0; 32]) }],
        nonce: Digest::ZERO,
    }
}

fn manifest() -> Manifest {
    manifest_on("calendar")
}

/// A log in a few lines.
struct Log {
    key: SigningKey,
    leaves: Vec<Leaf>,
}

impl Log {
    fn new(leaves: Vec<Leaf>) -> Self {
        Self { key: SigningKey::from_bytes(&[5; 32]), leaves }
    }

    /// Forty foreign notes, and one transaction's two entries among them.
    fn example() -> Self {
        let mut log = Self::new((0..40).map(|n| note(n, b"foreign")).collect());
        let (txid, leg) = (manifest().txid(), LegId(1));
        log.leaves[7].entry = Entry::Prepared { txid, leg, commitment: Digest::sha256(b"1") };
        log.leaves[20].entry = Entry::Closed { txid, leg, applied: true };
        log
    }

    fn prove(&self, indices: &[u64], second: Option<u64>) -> LogProof {
        let bytes: Vec<_> = self.leaves.iter().map(canonical::encode).collect();
        let tree: Tree = bytes.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
        let (size, root) = (tree.size(), tree.root(tree.size()).unwrap());
        let include = |index: &u64| Included {
            index: *index,
            leaf: bytes[*index as usize].clone(),
            path: tree.inclusion(*index, size).unwrap(),
        };
        let published = second.map(|second| {
            let others = (0..5).map(|n| Second { second: n, size: n, root: Digest::ZERO });
            let all: Vec<_> = others.chain([Second { second, size, root }]).collect();
            let seconds: Tree = all.iter().map(|one| merkle::leaf_hash(&canonical::encode(one))).collect();
            let head = Checkpoint {
                origin: format!("example.com/log{SECONDS}"),
                size: seconds.size(),
                root: seconds.root(seconds.size()).unwrap(),
            };
            let path = seconds.inclusion(5, seconds.size()).unwrap();
            Published { second, index: 5, path, checkpoint: head.sign(&self.key) }
        });
        LogProof {
            key: Digest(self.key.verifying_key().to_bytes()),
            checkpoint: Checkpoint { origin: "example.com/log".into(), size, root }.sign(&self.key),
            leaves: indices.iter().map(include).collect(),
            published,
            cosigned: None,
        }
    }
}

fn note(second: u64, text: &[u8]) -> Leaf {
    let entry =
        Entry::Note { topic: Digest::sha256(text), commitment: Digest::sha256(&second.to_be_bytes()) };
    Leaf { at: Timestamp::from_seconds(1_000_000 + second), entry }
}

#[test]
fn a_proof_gives_the_entries_back_with_place_and_time() {
    let log = Log::example();
    let proven = log.prove(&[7, 12, 20], Some(1_000_040)).verify(&ledger(), &manifest()).unwrap();
    let expected = [7, 12, 20].map(|index| log.leaves[index as usize].evidence(&ledger(), index));
    assert_eq!(proven.evidence, expected);
    assert_eq!(proven.evidence[0].fact, Fact::Prepared(manifest().txid(), LegId(1)));
    assert_eq!(proven.evidence[0].position.height, 8);
    assert_eq!(proven.evidence[0].at, Timestamp::from_seconds(1_000_007));
    let Anchor::Calendar { origin, size, .. } = proven.anchor else { panic!("another anchor") };
    assert_eq!((origin.as_str(), size), ("example.com/log", 40));
}

#[test]
fn the_longest_leaf_is_within_its_limit() {
    let all = Digest([0xff; 32]);
    let leaf = |entry| canonical::encode(&Leaf { at: Timestamp::from_millis(u64::MAX), entry }).len();
    let record = leaf(Entry::Prepared { txid: Txid(all), leg: LegId(u16::MAX), commitment: all });
    assert!(record <= 90, "{record} bytes");
    let signatures = vec![Signature([0xff; 65]); MAX_PARTICIPANTS];
    let abort = Decision::Abort { by: Account([0xff; 20]) };
    let abort = leaf(Entry::Decided { txid: Txid(all), decision: abort, signatures });
    let preimages = vec![all; MAX_PARTICIPANTS];
    let commit = Decision::Commit { included: u64::MAX, evidence_root: all, preimages };
    let signatures = vec![Signature([0xff; 65])];
    let commit = leaf(Entry::Decided { txid: Txid(all), decision: commit, signatures });
    assert!(commit < abort && abort <= MAX_LEAF, "{commit} and {abort} bytes");
    assert_eq!(abort, 1144, "as MAX_LEAF says");
}

/// The same transaction, decided on this log.
fn decided_here() -> Manifest {
    let mut manifest = manifest();
    manifest.decision.ledger = ledger();
    (manifest.decision.chain_id, manifest.decision.contract) = (0, Account::ZERO);
    manifest.deadline = Timestamp::from_seconds(2_000_000);
    manifest
}

fn commit(preimage: Digest) -> Entry {
    let decision =
        Decision::Commit { included: 0b11, evidence_root: Digest::ZERO, preimages: vec![preimage] };
    Entry::Decided { txid: decided_here().txid(), decision, signatures: vec![] }
}

type Spoil = fn(&mut Log);

#[test]
fn a_decision_on_the_log_is_proven_to_whoever_has_the_manifest() {
    let manifest = decided_here();
    let mut log = Log::new((0..40).map(|n| note(n, b"foreign")).collect());
    log.leaves[20].entry = commit(Digest::ZERO);
    let proven = log.prove(&[20], None).verify(&ledger(), &manifest).unwrap();
    assert!(
        matches!(&proven.evidence[0].fact, Fact::Decided(txid, Decision::Commit { .. }) if *txid == manifest.txid())
    );

    let cases: [(&str, Manifest, Spoil); 4] = [
        ("does not open", manifest.clone(), |log| log.leaves[20].entry = commit(Digest([1; 32]))),
        ("the last second", manifest.clone(), |log| log.leaves[20].at = Timestamp::from_seconds(2_000_001)),
        ("a decision stands before", manifest, |log| log.leaves[21].entry = commit(Digest::ZERO)),
        ("another transaction", super::tests::manifest(), |_| {}),
    ];
    for (why, manifest, spoil) in cases {
        let mut log = Log::new((0..40).map(|n| note(n, b"foreign")).collect());
        log.leaves[20].entry = commit(Digest::ZERO);
        spoil(&mut log);
        let indices: &[u64] =
            if matches!(log.leaves[21].entry, Entry::Decided { .. }) { &[20, 21] } else { &[20] };
        let error = log.prove(indices, None).verify(&ledger(), &manifest).unwrap_err();
        assert!(error.why.contains(why), "{error} should say {why:?}");
    }
    let mut elsewhere = decided_here();
    elsewhere.decision.ledger = "another".parse().unwrap();
    let decision = Decision::Abort { by: Account::ZERO };
    log.leaves[20].entry = Entry::Decided { txid: elsewhere.txid(), decision, signatures: vec![] };
    let error = log.prove(&[20], None).verify(&ledger(), &elsewhere).unwrap_err();
    assert!(error.why.contains("stands on another"), "{error}");
}

#[test]
fn what_the_manifest_does_not_name_is_refused_not_skipped() {
    let cases: [(&str, Spoil); 6] = [
        ("another transaction", |log| {
            let txid = Txid(Digest::ZERO);
            log.leaves[7].entry = Entry::Closed { txid, leg: LegId(1), applied: true };
        }),
        ("no leg 0 on calendar", |log| {
            let txid = manifest().txid();
            log.leaves[7].entry = Entry::Closed { txid, leg: LegId(0), applied: true };
        }),
        ("no leg 2 on calendar", |log| {
            let txid = manifest().txid();
            log.leaves[7].entry = Entry::Closed { txid, leg: LegId(2), applied: true };
        }),
        ("it commits to", |log| {
            let (txid, commitment) = (manifest().txid(), Digest::ZERO);
            log.leaves[7].entry = Entry::Prepared { txid, leg: LegId(1), commitment };
        }),
        ("an earlier leaf", |log| log.leaves[7].at = Timestamp::from_seconds(2_000_000)),
        ("a later time", |log| log.leaves[20].at = Timestamp::from_seconds(2_000_000)),
    ];
    for (why, spoil) in cases {
        let mut log = Log::example();
        spoil(&mut log);
        let error = log.prove(&[7, 20], Some(1_000_040)).verify(&ledger(), &manifest()).unwrap_err();
        assert!(error.why.contains(why), "{error} should say {why:?}");
    }
}

#[test]
fn leaves_out_of_order_twice_or_past_the_size_are_refused() {
    let log = Log::example();
    for indices in [&[20, 7][..], &[7, 7]] {
        assert!(log.prove(indices, None).verify(&ledger(), &manifest()).is_err(), "{indices:?}");
    }
    let mut proof = log.prove(&[7], None);
    proof.leaves[0].index = 40;
    assert!(proof.verify(&ledger(), &manifest()).is_err());
    let mut proof = log.prove(&[7], None);
    proof.leaves = vec![proof.leaves[0].clone(); MAX_LEAVES + 1];
    assert_eq!(proof.verify(&ledger(), &manifest()).unwrap_err().part, "leaves");
}

#[test]
fn the_tree_of_seconds_must_be_of_the_same_log() {
    let log = Log::example();
    let mut proof = log.prove(&[7], Some(1_000_040));
    let published = proof.published.as_mut().unwrap();
    let head = Checkpoint::verify(&published.checkpoint, &proof.key).unwrap();
    published.checkpoint = Checkpoint { origin: "example.com/other/seconds".into(), ..head }.sign(&log.key);
    assert!(proof.verify(&ledger(), &manifest()).is_err());
}

#[test]
fn every_changed_byte_of_a_proof_is_refused() {
    let good = Proof::Calendar(Log::example().prove(&[7, 20], Some(1_000_040)));
    let bytes = canonical::encode(&good);
    let accepts = |bytes: &[u8]| {
        canonical::decode::<Proof>(bytes, 1 << 16)
            .is_ok_and(|proof| proof.verify(&ledger(), &manifest()).is_ok())
    };
    assert!(accepts(&bytes));
    for index in 0..bytes.len() {
        for change in [0x01, 0x80] {
            let mut changed = bytes.clone();
            changed[index] ^= change;
            assert!(!accepts(&changed), "byte {index} of {}", bytes.len());
        }
        assert!(!accepts(&bytes[..index]), "cut at {index}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any entries of the transaction and any notes, in a log of any small size, are proven as they are.
    #[test]
    fn any_choice_of_leaves_is_proven(size in 1_usize..200, seed in any::<u64>(), chosen in any::<u64>()) {
        let (txid, leg) = (manifest().txid(), LegId(1));
        let leaf = |n: u64| {
            let entry = match (seed >> (n % 60)) % 3 {
                0 => Entry::Prepared { txid, leg, commitment: Digest::sha256(b"1") },
                1 => Entry::Closed { txid, leg, applied: n.is_multiple_of(2) },
                _ => note(n, b"any").entry,
            };
            Leaf { at: Timestamp::from_millis(seed % 1_000_000 + n / 3), entry }
        };
        let log = Log::new((0..size as u64).map(leaf).collect());
        let indices: Vec<u64> = (0..size as u64).filter(|n| chosen >> (n % 64) & 1 == 1).collect();
        let proven = log.prove(&indices, None).verify(&ledger(), &manifest()).unwrap();
        let expected: Vec<_> =
            indices.iter().map(|n| log.leaves[*n as usize].evidence(&ledger(), *n)).collect();
        prop_assert_eq!(proven.evidence, expected);
    }
}
