//! The calendar before independent judges: Cloudflare's ports of the reference implementation in Go
//! (golang.org/x/mod/sumdb) read its checkpoints and check its proofs.

use std::sync::Arc;

use signed_note::{Note, StandardVerifier, VerifierList};
use sofie_ledgers::{
    Clock, Ledger, Status,
    calendar::{Calendar, Config, SigningKey},
    conformance::no_manifest,
};
use sofie_model::{
    Digest, Operation, Proof, Timestamp,
    proof::calendar::{LogProof, merkle},
};
use tlog_tiles::Hash;

const ENTRIES: u64 = 33;

/// Opens a checkpoint as any client of the specification would: by the verifier key alone.
fn open(note: &str, verifier_key: &str) -> tlog_tiles::Checkpoint {
    let verifier = StandardVerifier::new(verifier_key).expect("a verifier key");
    let note = Note::from_bytes(note.as_bytes()).expect("a note");
    let known = VerifierList::new(vec![Box::new(verifier)]);
    let (verified, unknown) = note.verify(&known).expect("a signature by that key");
    assert_eq!((verified.len(), unknown.len()), (1, 0));
    tlog_tiles::Checkpoint::from_bytes(note.text()).expect("a checkpoint")
}

fn hashes(path: &[Digest]) -> Vec<Hash> {
    path.iter().map(|hash| Hash(hash.0)).collect()
}

#[tokio::test]
async fn the_reference_implementation_accepts_checkpoints_and_proofs() {
    let folder = tempfile::tempdir().unwrap();
    let clock: Clock = Arc::new(|| Timestamp::from_seconds(1_800_000_000));
    let path = folder.path().join("calendar.log");
    let config = Config::new("calendar".parse().unwrap(), "example.com/calendar".into(), path);
    let calendar = Calendar::open(config, SigningKey::from_bytes(&[9; 32]), clock).unwrap();
    let key = calendar.verifier_key();

    let (mut facts, mut heads) = (Vec::new(), vec![open(&calendar.checkpoint(), &key)]);
    assert_eq!((heads[0].size(), heads[0].hash().0), (0, merkle::empty_root().0));
    for number in 0..ENTRIES {
        let note = Operation::Note { topic: Digest::ZERO, commitment: Digest::sha256(&number.to_be_bytes()) };
        calendar.submit(&calendar.intend(&note).await.unwrap()).await.unwrap();
        let Status::Final(evidence) = calendar.status(&note, None).await.unwrap() else {
            panic!("not final")
        };
        facts.push(evidence);
        heads.push(open(&calendar.checkpoint(), &key));

        let Proof::Calendar(LogProof { checkpoint, leaves, .. }) =
            calendar.prove(&no_manifest(), &facts).await.unwrap()
        else {
            panic!("another ledger's proof");
        };
        let head = open(&checkpoint, &key);
        assert_eq!((head.origin(), head.size()), ("example.com/calendar", number + 1));
        for leaf in &leaves {
            let (path, record) = (hashes(&leaf.path), tlog_tiles::record_hash(&leaf.leaf));
            tlog_tiles::check_record(&path, head.size(), *head.hash(), leaf.index, record)
                .unwrap_or_else(|error| panic!("leaf {} of {}: {error:?}", leaf.index, head.size()));
        }
    }
    for new in &heads {
        for old in heads.iter().filter(|old| (1..=new.size()).contains(&old.size())) {
            let path = hashes(&calendar.consistency(old.size(), new.size()).unwrap());
            tlog_tiles::check_tree(&path, new.size(), *new.hash(), old.size(), *old.hash())
                .unwrap_or_else(|error| panic!("{} to {}: {error:?}", old.size(), new.size()));
        }
    }
}
