//! The published test vectors: `docs/specs/vectors/*.json` are what this code makes, byte for byte, and what
//! `docs/specs/sofie.cddl` describes.
//!
//! After a change of a format that was meant, write them again:
//! `SOFIE_WRITE_VECTORS=1 cargo nextest run -p sofie-testkit -E 'binary(vectors)'`. Another implementation takes the
//! JSON alone: each vector has its bytes (`cbor`), the rule of the CDDL, and what follows from them. The test keys are
//! secp256k1 secrets of 32 equal bytes (01 to 05), an Ed25519 seed of 32 bytes 07, and for members seeds of 21 to 24.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod batch;
mod calendar;
mod chain;
mod contracts;
mod directory;
mod examples;
mod messages;
mod proofs;
mod quorum;
mod receipt;
mod transaction;

use std::collections::BTreeMap;
use std::path::PathBuf;

use minicbor::Encode;
use serde::Serialize;
use sofie_model::canonical;

/// One example.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Vector {
    name: &'static str,
    /// In `sofie.cddl`.
    rule: &'static str,
    /// The canonical bytes, in hexadecimal digits.
    cbor: String,
    /// What follows from them.
    expect: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
struct File {
    about: &'static str,
    vectors: Vec<Vector>,
}

impl Vector {
    pub(crate) fn new<T: Encode<()>>(name: &'static str, rule: &'static str, value: &T) -> Self {
        Self::of_bytes(name, rule, &canonical::encode(value))
    }

    pub(crate) fn of_bytes(name: &'static str, rule: &'static str, bytes: &[u8]) -> Self {
        Self { name, rule, cbor: hex::encode(bytes), expect: BTreeMap::new() }
    }

    pub(crate) fn expect(mut self, what: &'static str, value: impl ToString) -> Self {
        self.expect.insert(what, value.to_string());
        self
    }

    fn bytes(&self) -> Vec<u8> {
        hex::decode(&self.cbor).unwrap()
    }
}

fn files() -> [(&'static str, File); 9] {
    let file = |about, vectors| File { about, vectors };
    [
        (
            "transaction.json",
            file("Manifests, decisions, evidence and what is signed.", transaction::vectors()),
        ),
        (
            "calendar.json",
            file("Entries, leaves, trees, checkpoints and proofs of a log.", calendar::vectors()),
        ),
        ("batch.json", file("Records of a batch, with their paths to its root.", batch::vectors())),
        (
            "quorum.json",
            file(
                "A group, a vote, what members say and answer, and certificates of a quorum.",
                quorum::vectors(),
            ),
        ),
        (
            "message.json",
            file(
                "What two nodes say to each other, and how they answer.",
                [messages::vectors(), contracts::vectors()].concat(),
            ),
        ),
        (
            "proof.json",
            file("Proofs of facts on a Bitcoin chain, and by an operator's word.", proofs::vectors()),
        ),
        (
            "chain.json",
            file(
                "A transaction, proofs of its facts on an Ethereum chain and of its records in batches there, and proofs that \
                 are refused: at the part that `refused` names, where the first to be looked at is the first to be told.",
                chain::vectors(),
            ),
        ),
        (
            "directory.json",
            file("The anchored state of a directory, and proofs under its root.", directory::vectors()),
        ),
        ("receipt.json", file("A receipt whose facts stand on one log.", receipt::vectors())),
    ]
}

fn specs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/specs")
}

#[test]
fn the_published_vectors_are_what_this_code_makes() {
    let folder = specs().join("vectors");
    for (name, file) in files() {
        let made = serde_json::to_string_pretty(&file).unwrap() + "\n";
        let path = folder.join(name);
        if std::env::var_os("SOFIE_WRITE_VECTORS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap();
        assert!(
            published == made,
            "{name} is not what this code makes: the module's first lines say how to write it"
        );
    }
}

/// The checker knows no tags, so amounts past 64 bits, which are tagged, are beyond it.
const BEYOND_THE_CHECKER: &[&str] = &["an amount past 64 bits"];

#[test]
fn the_vectors_are_what_the_cddl_describes() {
    let cddl = std::fs::read_to_string(specs().join("sofie.cddl")).unwrap();
    let mut checked = 0;
    for (_, file) in files() {
        for vector in file.vectors.iter().filter(|one| !BEYOND_THE_CHECKER.contains(&one.name)) {
            let valid = cddl_cat::validate_cbor_bytes(vector.rule, &cddl, &vector.bytes());
            assert!(valid.is_ok(), "{} is no {}: {valid:?}", vector.name, vector.rule);
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked} vectors");
}

/// A description that took anything would say nothing.
#[test]
fn the_cddl_refuses_what_is_of_another_shape() {
    let cddl = std::fs::read_to_string(specs().join("sofie.cddl")).unwrap();
    let refused = |rule: &str, bytes: &[u8]| cddl_cat::validate_cbor_bytes(rule, &cddl, bytes).is_err();
    let all: Vec<Vector> = files().into_iter().flat_map(|(_, file)| file.vectors).collect();
    // Those that are refused have the shape of others, which are not.
    for vector in all.iter().filter(|one| !one.expect.contains_key("refused")) {
        let bytes = vector.bytes();
        assert!(refused(vector.rule, &bytes[..bytes.len() - 1]), "{} cut short", vector.name);
        // Another length of the outermost array.
        let mut longer = bytes.clone();
        longer[0] += 1;
        longer.push(0xf6);
        let optional = vector.rule == "log-proof";
        assert!(optional || refused(vector.rule, &longer), "{} with a field more", vector.name);
    }
    let manifest = &all[0];
    for rule in ["leaf", "evidence", "receipt", "entry", "decision"] {
        assert!(refused(rule, &manifest.bytes()), "a manifest is no {rule}");
    }
    assert!(refused("digest", &[vec![0x58, 33], vec![0; 33]].concat()), "33 bytes");
}
