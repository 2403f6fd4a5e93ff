//! Members that are killed and started again between any two messages, with their store and without it.

use std::sync::Arc;

use sofie_ledgers::quorum::{Member, MemberConfig, NotTaken, OpenError};
use sofie_ledgers::{Ledger, LedgerError, Status};
use sofie_model::{Digest, Operation, Span};

use crate::group::{Group, Surroundings, abort, commit};

const TRANSACTIONS: u8 = 8;
const RESTARTS: u32 = 24;

/// Asks for COMMIT and ABORT at once, and waits until one stands.
async fn contend(group: Arc<Group>, nonce: u8) -> sofie_model::Evidence {
    let (ledger, manifest) = (group.ledger(), group.manifest(nonce));
    let operations: [Operation; 2] = [commit(&manifest), abort(&manifest)];
    loop {
        for operation in &operations {
            if let Ok(intent) = ledger.intend(operation).await {
                match ledger.submit(&intent).await {
                    Ok(()) | Err(LedgerError::Transient { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        for _ in 0..40 {
            if let Ok(Status::Final(evidence)) = ledger.status(&operations[0], None).await {
                return evidence;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_killed_between_its_votes_never_contradicts_itself() {
    let group = Arc::new(Group::new(Surroundings::new().clock()).await);
    (0..4).for_each(|member| group.start(member));
    let killer = tokio::spawn({
        let group = Arc::clone(&group);
        async move {
            for _ in 0..RESTARTS {
                // After whatever message comes next.
                group.record.news.notified().await;
                group.stop(1).await;
                group.start(1);
            }
        }
    });
    let all: Vec<_> =
        (0..TRANSACTIONS).map(|nonce| tokio::spawn(contend(Arc::clone(&group), nonce))).collect();
    for (nonce, one) in (0..).zip(all) {
        let evidence = one.await.unwrap();
        let again = contend(Arc::clone(&group), nonce).await;
        assert_eq!(again, evidence, "a decision stands");
    }
    killer.abort();
    let mut total = 0;
    for member in 0..4 {
        let votes = group.record.votes_of(member);
        // Three are enough: who was away may have missed some.
        assert!(!votes.is_empty(), "member {member} never voted");
        total += votes.len();
        let twice: Vec<_> = votes.iter().filter(|(_, values)| values.len() > 1).collect();
        assert!(twice.is_empty(), "member {member} contradicted itself: {twice:?}");
    }
    assert!(total >= 3 * usize::from(TRANSACTIONS), "{total} votes decide nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_store_halts_before_it_votes_again() {
    let group = Group::new(Surroundings::new().clock()).await;
    [0, 1].into_iter().for_each(|member| group.start(member));
    let (ledger, manifest) = (group.ledger(), group.manifest(1));
    let intent = ledger.intend(&commit(&manifest)).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    // Until its vote has reached another.
    while group.record.votes_of(0).is_empty() {
        group.record.news.notified().await;
    }
    group.stop(0).await;
    for end in ["", "-wal", "-shm"] {
        let file = group.folder.path().join(format!("0.member{end}"));
        if file.exists() {
            std::fs::remove_file(file).unwrap();
        }
    }
    group.start(0);
    let member = group.member(0);
    let why = loop {
        match member.tell(manifest.txid(), Digest::ZERO).await {
            Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(25)).await,
            Err(NotTaken::Broken(why)) => break why,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(why.contains("the store is an old copy"), "{why}");
    drop(member);
    group.stop(0).await;
    assert!(matches!(group.open(0), Err(OpenError::Halted { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_of_one_process_one_member_and_one_group() {
    let group = Group::new(Surroundings::new().clock()).await;
    let first = group.open(0).unwrap();
    assert!(matches!(group.open(0), Err(OpenError::InUse { .. })));
    drop(first);
    let clock = Surroundings::new().clock();
    let config =
        || MemberConfig { members: group.seated.clone(), path: group.path(0), pace: Span::from_millis(100) };
    let other = Member::open(config(), group.keys[1].clone(), Arc::clone(&clock));
    assert!(matches!(other, Err(OpenError::Foreign { .. })));
    let stranger = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    assert!(matches!(Member::open(config(), stranger, clock), Err(OpenError::NoMember { .. })));
    group.open(0).unwrap();
}
