//! Proofs whose ledgers are Bitcoin chains and operators' words: of a record in a block of regtest's work, and of a statement.

use minicbor::bytes::ByteVec;
use sofie_model::proof::bitcoin::{ChainProof, MEDIAN_OF, Mark, Shown, What, display, twice};
use sofie_model::proof::statement::{Statement, Statements};
use sofie_model::{Anchor, Digest, Evidence, Fact, LegId, Manifest, Position, Proof, Terms, Timestamp};

use crate::Vector;
use crate::examples::records;

/// The leg of [`records`] that is not on D.
const COPY: LegId = LegId(1);
/// Half of all hashes have the work that these bits ask for.
const REGTEST: u32 = 0x207f_ffff;
const FIRST_HEIGHT: u64 = 100;
const FIRST_TIME: u32 = 1_800_000_000;

pub(crate) fn vectors() -> Vec<Vector> {
    vec![bitcoin(), statements()]
}

fn bitcoin() -> Vector {
    let manifest = records();
    let entry = entry(&manifest);
    let mut headers: Vec<[u8; 80]> = Vec::new();
    for nth in 0..MEDIAN_OF as u32 + 1 {
        let parent = headers.last().map_or(Digest::ZERO, |header| twice(header));
        // The entry is in the block before the last, alone.
        let root = if nth == MEDIAN_OF as u32 - 1 { twice(&entry) } else { Digest::ZERO };
        headers.push(mined(parent, root, FIRST_TIME + 600 * nth));
    }
    let tip = display(twice(headers.last().unwrap()));
    let shown = Shown {
        height: FIRST_HEIGHT + MEDIAN_OF as u64 - 1,
        index: 0,
        transaction: ByteVec::from(entry),
        branch: Vec::new(),
        what: What::Prepared(COPY),
    };
    let proof = Proof::Bitcoin(ChainProof {
        genesis: Digest([0x0e; 32]),
        height: FIRST_HEIGHT,
        headers: headers.into_iter().map(|header| ByteVec::from(header.to_vec())).collect(),
        facts: vec![shown],
    });
    let proven = proof.verify(&"copy".parse().unwrap(), &manifest).unwrap();
    let Anchor::Bitcoin { block_hash, .. } = proven.anchor else { panic!("{:?}", proven.anchor) };
    assert_eq!(block_hash, tip);
    Vector::new("a record's entry in a Bitcoin block", "proof", &proof)
        .expect("txid", manifest.txid().0)
        .expect("mark", hex::encode(mark(&manifest).0))
        .expect("block_hash", block_hash)
        .expect("at_seconds", proven.evidence[0].at.as_seconds())
}

fn mark(manifest: &Manifest) -> Mark {
    let Some(Terms::Record(commitment)) = manifest.leg(COPY).map(|leg| &leg.terms) else {
        panic!("no record")
    };
    Mark::record(manifest.txid(), COPY, *commitment)
}

/// A transaction that spends something and holds the mark.
fn entry(manifest: &Manifest) -> Vec<u8> {
    let script = mark(manifest).script();
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    bytes.push(1);
    bytes.extend([0x11; 32]);
    bytes.extend(0_u32.to_le_bytes());
    bytes.push(0);
    bytes.extend(u32::MAX.to_le_bytes());
    bytes.push(1);
    bytes.extend(0_u64.to_le_bytes());
    bytes.push(u8::try_from(script.len()).unwrap());
    bytes.extend(script);
    bytes.extend(0_u32.to_le_bytes());
    bytes
}

fn mined(parent: Digest, root: Digest, time: u32) -> [u8; 80] {
    let header = |nonce: u32| {
        let mut bytes = [0; 80];
        bytes[..4].copy_from_slice(&1_u32.to_le_bytes());
        bytes[4..36].copy_from_slice(&parent.0);
        bytes[36..68].copy_from_slice(&root.0);
        bytes[68..72].copy_from_slice(&time.to_le_bytes());
        bytes[72..76].copy_from_slice(&REGTEST.to_le_bytes());
        bytes[76..].copy_from_slice(&nonce.to_le_bytes());
        bytes
    };
    (0..).map(header).find(|bytes| display(twice(bytes)).0[0] < 0x7f).unwrap()
}

fn statements() -> Vector {
    let manifest = records();
    let evidence = Evidence {
        ledger: "copy".parse().unwrap(),
        fact: Fact::Prepared(manifest.txid(), COPY),
        position: Position { height: 4, index: 0, reference: Digest([0x0f; 32]) },
        at: Timestamp::from_seconds(1_800_000_004),
    };
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let statement = Statement { evidence, settlement: None };
    let digest = statement.digest();
    let proof = Proof::Operator(Statements {
        key: Digest(key.verifying_key().to_bytes()),
        statements: vec![statement.sign(&key)],
    });
    proof.verify(&"copy".parse().unwrap(), &manifest).unwrap();
    Vector::new("an operator's signed statement", "proof", &proof).expect("signed_digest", digest)
}
