//! Witnesses that lie, are silent or are away; a log that forks or comes back from an old copy.

use sofie_ledgers::Ledger;
use sofie_ledgers::conformance::no_manifest;
use sofie_model::Proof;
use sofie_model::proof::calendar::{Cosignature, LogProof};

use crate::witness::{Double, Manner};
use crate::{cosigners, entered, open, waits};

#[tokio::test]
async fn an_entry_counts_once_enough_witnesses_have_cosigned_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calendar.log");
    let (one, two) = (Double::start(1, Manner::Honest).await, Double::start(2, Manner::Broken).await);
    let both = [(&one.key, one.url.as_str()), (&two.key, two.url.as_str())];
    let calendar = open(&path, &both, 2);
    let why = waits(&calendar, 0).await;
    assert!(why.contains("1 of its witnesses signed, 2 must: witness.example/w2: HTTP status 503"), "{why}");
    assert!(why.contains("its disk [2J is full"), "{why}");
    two.behave(Manner::Honest);
    // Until then nobody is asked again.
    let fact = loop {
        match crate::enter(&calendar, 0).await {
            Ok(sofie_ledgers::Status::Final(evidence)) => break evidence,
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    let more = [fact, entered(&calendar, 1).await, entered(&calendar, 2).await];
    let (by, size) = cosigners(&calendar, &more).await;
    assert_eq!((by.len(), size), (2, 3));

    // One of two is enough where the operator says so; and after a restart they are asked again.
    drop(calendar);
    two.behave(Manner::Silent);
    let calendar = open(&path, &both, 1);
    let (by, size) = cosigners(&calendar, &more).await;
    assert_eq!((by.len(), by[0].witness.clone(), size), (1, one.key.to_string(), 3));
    entered(&calendar, 3).await;
}

#[tokio::test]
async fn no_witness_that_lies_makes_an_entry_count() {
    let cases = [
        (Manner::Another, "does not fit the checkpoint"),
        (Manner::ForeignKey, "does not fit the checkpoint"),
        (Manner::Nonsense, "no cosignature"),
        (Manner::Wanders, "another size each time"),
        (Manner::Ahead, "an old copy, or there are two logs"),
        (Manner::Floods, "longer than 4096 bytes"),
    ];
    for (manner, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let witness = Double::start(1, manner).await;
        let calendar = open(&folder.path().join("calendar.log"), &[(&witness.key, witness.url.as_str())], 1);
        let why = waits(&calendar, 0).await;
        assert!(why.contains(expected), "{manner:?}: {why}");
    }
}

#[tokio::test]
async fn a_second_history_of_a_log_is_cosigned_by_none_who_saw_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("calendar.log"), folder.path().join("copy.log"));
    let witness = Double::start(1, Manner::Honest).await;
    let witnesses = [(&witness.key, witness.url.as_str())];
    let calendar = open(&path, &witnesses, 1);
    entered(&calendar, 0).await;
    std::fs::copy(&path, &copy).unwrap();
    entered(&calendar, 1).await;

    // An old copy of the file is put back: its next entry would stand in place of another.
    let restored = open(&copy, &witnesses, 1);
    let why = waits(&restored, 2).await;
    assert!(why.contains("HTTP status 422"), "{why}");
    let fresh = open(&folder.path().join("fresh.log"), &witnesses, 1);
    let why = waits(&fresh, 3).await;
    assert!(why.contains("an old copy, or there are two logs"), "{why}");
    // The first goes on.
    entered(&calendar, 4).await;
}

#[tokio::test]
async fn cosignatures_of_a_proof_are_checked_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Double::start(1, Manner::Honest).await, Double::start(2, Manner::Honest).await);
    let both = [(&one.key, one.url.as_str()), (&two.key, two.url.as_str())];
    let calendar = open(&folder.path().join("calendar.log"), &both, 2);
    let fact = entered(&calendar, 0).await;
    let id = calendar.profile().id.clone();
    let proof = calendar.prove(&no_manifest(), std::slice::from_ref(&fact)).await.unwrap();
    let Proof::Calendar(proof) = proof else { panic!("another ledger's proof") };
    let refusal = |change: &dyn Fn(&mut Vec<Cosignature>)| {
        let mut cosigned = proof.cosigned.clone().unwrap();
        change(&mut cosigned);
        let changed = LogProof { cosigned: Some(cosigned), ..proof.clone() };
        Proof::Calendar(changed).verify(&id, &no_manifest()).unwrap_err().to_string()
    };
    assert!(refusal(&|all| all.reverse()).contains("in the order of their keys"));
    assert!(refusal(&|all| all[1] = all[0].clone()).contains("each once"));
    assert!(refusal(&Vec::clear).contains("are expected"));
    assert!(refusal(&|all| all[0].at += 1).contains("does not fit"));
    assert!(refusal(&|all| all[1].signature = all[0].signature).contains("does not fit"));
}
