//! A log of five leaves, its tree, its checkpoint, and a proof of a transaction that it decides.

use ed25519_dalek::SigningKey;
use sofie_model::calendar::{Answer, Ask, Found, LogKey, Request};
use sofie_model::proof::calendar::{
    Checkpoint, Cosignature, Entry, Extension, Included, Leaf, LogProof, Published, PublishedRoot, SECONDS,
    Second, extension,
    merkle::{Tree, leaf_hash},
};
use sofie_model::{
    Decision, Digest, LegId, Manifest, Proof, Signature, Terms, Timestamp, canonical, contract::abort_digest,
    evidence,
};

use crate::Vector;
use crate::examples::{account, key, records, secret};

const ORIGIN: &str = "example.com/notary";
const START: u64 = 1_800_000_000_123;

/// The published test key of the log.
fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn commitment(manifest: &Manifest) -> Digest {
    match manifest.legs[0].terms {
        Terms::Record(commitment) => commitment,
        _ => unreachable!("its first leg is a record"),
    }
}

/// A note, then the whole story of [`records`] on its decision ledger, then the ABORT of another transaction.
fn leaves() -> Vec<(&'static str, Leaf)> {
    let (manifest, leg) = (records(), LegId(0));
    let txid = manifest.txid();
    let at = |index: u64| Timestamp::from_millis(START + 400 * index);
    let prepared = Entry::Prepared { txid, leg, commitment: commitment(&manifest) };
    let own = Leaf { at: at(1), entry: prepared.clone() };
    let root = evidence::root([&own.evidence(&manifest.legs[0].ledger, 1)]);
    let preimages = vec![secret(1), secret(2)];
    let commit = Decision::Commit { included: 0b11, evidence_root: root, preimages };
    let mut other = records();
    other.nonce = Digest([0x78; 32]);
    let abort = Entry::Decided {
        txid: other.txid(),
        decision: Decision::Abort { by: account(1) },
        signatures: vec![Signature::by(&key(1), abort_digest(&other))],
    };
    let entries = [
        ("a note", Entry::Note { topic: Digest([1; 32]), commitment: Digest([2; 32]) }),
        ("a prepared leg", prepared),
        ("a COMMIT", Entry::Decided { txid, decision: commit, signatures: vec![] }),
        ("a closed leg", Entry::Closed { txid, leg, applied: true }),
        ("an ABORT that its author signs", abort),
    ];
    (0..).zip(entries).map(|(index, (name, entry))| (name, Leaf { at: at(index), entry })).collect()
}

pub(crate) fn vectors() -> Vec<Vector> {
    let leaves = leaves();
    let tree: Tree = leaves.iter().map(|(_, leaf)| leaf_hash(&canonical::encode(leaf))).collect();
    let root = |size: u64| tree.root(size).unwrap();
    let mut all: Vec<Vector> = (1..)
        .zip(&leaves)
        .map(|(size, (name, leaf))| {
            Vector::new(name, "leaf", leaf)
                .expect("leaf_hash", leaf_hash(&canonical::encode(leaf)))
                .expect("root", root(size))
        })
        .collect();
    let second = Second { second: START / 1000 + 1, size: 5, root: root(5) };
    all.push(
        Vector::new("the second in which the log grew last", "second", &second)
            .expect("leaf_hash", leaf_hash(&canonical::encode(&second))),
    );
    all.push(proven("a proof of prepare, COMMIT and close", &proof()));
    let cosigned = cosigned();
    let lines: Vec<_> = cosigned.cosigned.iter().flatten().map(Cosignature::line).collect();
    let keys: Vec<_> = cosigned.cosigned.iter().flatten().map(|one| one.witness().to_string()).collect();
    let vector = proven("the same under two witnesses' cosignatures", &cosigned);
    all.push(vector.expect("cosignatures", lines.join("\n")).expect("witnesses", keys.join(" ")));
    all.push(extended());
    all.extend(shared());
    all
}

/// A proof that was made when the log had two entries, under the root that was published when it had five.
fn extended() -> Vector {
    let bytes: Vec<_> = leaves().iter().map(|(_, leaf)| canonical::encode(leaf)).collect();
    let tree: Tree = bytes.iter().map(|leaf| leaf_hash(leaf)).collect();
    let second = |second, size| Second { second, size, root: tree.root(size).unwrap() };
    let all = [second(START / 1000, 3), second(START / 1000 + 1, 5)];
    let seconds: Tree = all.iter().map(|one| leaf_hash(&canonical::encode(one))).collect();
    let head = |origin: String, size, root| Checkpoint { origin, size, root }.sign(&log_key());
    let root = tree.root(2).unwrap();
    let published =
        Checkpoint { origin: format!("{ORIGIN}{SECONDS}"), size: 2, root: seconds.root(2).unwrap() };
    let extension = Extension {
        version: extension::VERSION,
        size: 2,
        root,
        goes_on: tree.consistency(2, 3).unwrap(),
        second: all[0],
        index: 0,
        path: seconds.inclusion(0, 2).unwrap(),
        checkpoint: published.sign(&log_key()),
    };
    let leaf = Included { index: 1, leaf: bytes[1].clone(), path: tree.inclusion(1, 2).unwrap() };
    let proof = LogProof {
        key: Digest(log_key().verifying_key().to_bytes()),
        checkpoint: head(ORIGIN.into(), 2, root),
        leaves: vec![leaf],
        published: None,
        cosigned: None,
    };
    let published = PublishedRoot::of(&published).unwrap();
    let under = proof.under(&published, std::slice::from_ref(&extension)).unwrap();
    Vector::new(
        "an extension of a proof that ends at two entries to a published root",
        "extension",
        &extension,
    )
    .expect("published", &published)
    .expect("second", under.second)
    .expect("proof", hex::encode(canonical::encode(&proof)))
}

/// What one that shares the log asks, who has seen its first two entries, and how it is answered.
fn shared() -> Vec<Vector> {
    const SEEN: u64 = 2;
    let leaves = leaves();
    let tree: Tree = leaves.iter().map(|(_, leaf)| leaf_hash(&canonical::encode(leaf))).collect();
    let head = |size: u64| Checkpoint { origin: ORIGIN.into(), size, root: tree.root(size).unwrap() };
    let log = LogKey { origin: ORIGIN.into(), key: Digest(log_key().verifying_key().to_bytes()) };
    let intents =
        [canonical::encode(&leaves[1].1.entry), canonical::encode(&(records(), &leaves[2].1.entry))];
    let [prepare, decide] = intents;
    let asked = [
        ("a question how far a log goes", Ask::Head),
        ("a question whether a leg is prepared", Ask::Find { intent: prepare }),
        ("a decision to append, with its manifest", Ask::Append { intent: decide }),
        ("a question for a proof", Ask::Prove { indices: vec![1, 2, 3] }),
        ("a question whether one log goes on from another", Ask::Consistency { old: 3, size: 5 }),
    ];
    let leaf = proof().leaves[0].clone();
    let reason = "leg 0 is closed".into();
    let found = [
        ("an answer that nothing stands", Found::Nothing),
        ("an answer that a leg is prepared", Found::Stands { leaf, cosigned: vec![] }),
        ("an answer that the rules are against it", Found::Refused { reason }),
        ("an answer with a proof", Found::Proof { proof: proof() }),
        ("an answer with a path", Found::Path { path: tree.consistency(3, 5).unwrap() }),
    ];
    let asked = asked
        .into_iter()
        .map(|(name, ask)| Vector::new(name, "calendar-request", &Request { seen: SEEN, ask }));
    let answers = found.into_iter().map(|(name, found)| {
        let (path, at) = (tree.consistency(SEEN, 5).unwrap(), Timestamp::from_millis(START + 3_000));
        let answer = Answer { checkpoint: head(5).sign(&log_key()), path, at, found };
        assert_eq!(answer.head(&log, &head(SEEN)), Ok(head(5)));
        Vector::new(name, "calendar-answer", &answer).expect("log", &log)
    });
    asked.chain(answers).collect()
}

fn proven(name: &'static str, proof: &LogProof) -> Vector {
    let proven = Proof::Calendar(proof.clone()).verify(&"notary".parse().unwrap(), &records()).unwrap();
    let facts: Vec<_> = proven.evidence.iter().map(|one| hex::encode(canonical::encode(one))).collect();
    Vector::new(name, "log-proof", proof)
        .expect("checkpoint", &proof.checkpoint)
        .expect("evidence", facts.join(" "))
}

/// As a calendar with witnesses proves: under its newest cosigned checkpoint, without a second.
fn cosigned() -> LogProof {
    let proof = proof();
    let head = Checkpoint::verify(&proof.checkpoint, &proof.key).unwrap();
    let sign = |number: u8| {
        let (name, key) = (format!("witness.example/w{number}"), SigningKey::from_bytes(&[number; 32]));
        Cosignature::sign(&name, &key, &head, Timestamp::from_millis(START + 2_000))
    };
    let mut cosigned = vec![sign(1), sign(2)];
    cosigned.sort_unstable_by_key(|one| one.key);
    LogProof { published: None, cosigned: Some(cosigned), ..proof }
}

/// Of the three entries of [`records`], under the root of a published second.
pub(crate) fn proof() -> LogProof {
    let bytes: Vec<_> = leaves().iter().map(|(_, leaf)| canonical::encode(leaf)).collect();
    let tree: Tree = bytes.iter().map(|leaf| leaf_hash(leaf)).collect();
    let (size, root) = (tree.size(), tree.root(tree.size()).unwrap());
    let include = |index: u64| Included {
        index,
        leaf: bytes[usize::try_from(index).unwrap()].clone(),
        path: tree.inclusion(index, size).unwrap(),
    };
    let second = Second { second: START / 1000 + 1, size, root };
    let seconds: Tree = [leaf_hash(&canonical::encode(&second))].into_iter().collect();
    let head = |origin: String, size, root| Checkpoint { origin, size, root }.sign(&log_key());
    let published = Published {
        second: second.second,
        index: 0,
        path: seconds.inclusion(0, 1).unwrap(),
        checkpoint: head(format!("{ORIGIN}{SECONDS}"), 1, seconds.root(1).unwrap()),
    };
    LogProof {
        key: Digest(log_key().verifying_key().to_bytes()),
        checkpoint: head(ORIGIN.into(), size, root),
        leaves: [1, 2, 3].map(include).to_vec(),
        published: Some(published),
        cosigned: None,
    }
}
