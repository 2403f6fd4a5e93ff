//! One of four members lies in every way that its key allows: the others decide all the same, and nobody takes its word.

use std::sync::Arc;

use axum::http::StatusCode;
use ed25519_dalek::SigningKey;
use sofie_ledgers::{Ledger, LedgerError, Status};
use sofie_model::quorum::{
    Ask, Bundle, Candidate, Certificate, Kind, MAX_ASK, MAX_BUNDLE, Said, Value, Vote, Votes, Word,
};
use sofie_model::{Decide, Digest, Evidence, Operation, Timestamp, Txid, canonical};

use crate::group::{Answer, Behind, Group, Liar, Surroundings, abort, commit};

/// A group whose member 0 lies.
async fn with(liar: impl FnOnce(&Group) -> Liar) -> Group {
    let group = Group::new(Surroundings::new().clock()).await;
    (1..4).for_each(|member| group.start(member));
    group.put(0, Behind::Lies(liar(&group)));
    group
}

/// Carries `operation` out as a node does: submits, and asks until it is final.
async fn decide(ledger: &dyn Ledger, operation: &Operation) -> Evidence {
    let intent = ledger.intend(operation).await.unwrap();
    loop {
        match ledger.submit(&intent).await {
            Ok(()) | Err(LedgerError::Transient { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        for _ in 0..200 {
            if let Ok(Status::Final(evidence)) = ledger.status(operation, None).await {
                return evidence;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
    }
}

/// Both kinds of decision are made, are proven, and are the same for whoever asks.
async fn assert_decides(group: &Group) {
    let ledger = group.ledger();
    for (nonce, operation) in [(1, commit as fn(&_) -> _), (2, abort)] {
        let manifest = group.manifest(nonce);
        let evidence = decide(&ledger, &operation(&manifest)).await;
        let proof = ledger.prove(&manifest, std::slice::from_ref(&evidence)).await.unwrap();
        let proven = proof.verify(&ledger.profile().id, &manifest).unwrap();
        assert_eq!(proven.evidence, std::slice::from_ref(&evidence));
        assert_eq!(decide(&group.ledger(), &operation(&manifest)).await, evidence);
    }
}

/// Its words, signed, whatever they are; `txid` of the path, or of the request.
fn word(key: &SigningKey, group: &Digest, path: &str, body: &[u8], said: Said) -> Answer {
    let mut path = path.split('/');
    let (what, rest) = (path.next().unwrap(), path.collect::<Vec<_>>());
    let (txid, nonce) = match what {
        "words" => (rest[0].parse::<Txid>().unwrap(), rest[1]),
        _ => (canonical::decode::<Ask>(body, MAX_ASK).unwrap().manifest.txid(), rest[0]),
    };
    let nonce: Digest = nonce.parse().unwrap();
    let word = Word::sign((group, txid, &nonce), said, None, (0, key));
    (StatusCode::OK, canonical::encode(&word))
}

fn id(group: &Group) -> Digest {
    sofie_ledgers::quorum::group(&group.seated).unwrap().id()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_of_one_member_hinders_nobody() {
    let group = with(|_| Arc::new(|_, _| (StatusCode::OK, vec![0x9f; 64]))).await;
    assert_decides(&group).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_refuses_all_and_whose_clock_is_years_ahead_is_outvoted() {
    let group = with(|group| {
        let (key, id) = (group.keys[0].clone(), id(group));
        let at = Timestamp::from_seconds(9_000_000_000);
        Arc::new(move |path, body| {
            if path == "bundles" {
                return (StatusCode::CONFLICT, b"no".to_vec());
            }
            let said = Said { at, commits: false, refused: Some("never".into()) };
            word(&key, &id, path, body, said)
        })
    })
    .await;
    assert_decides(&group).await;
    let head = group.ledger().head().await.unwrap();
    let now = group.now();
    assert!(head.time <= now && now.as_seconds() - head.time.as_seconds() < 60, "{head:?} at {now:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_tells_everyone_something_else_splits_nobody() {
    let group = with(|group| {
        let (key, id) = (group.keys[0].clone(), id(group));
        let told = std::sync::atomic::AtomicU64::new(0);
        Arc::new(move |path, body| {
            if path != "bundles" {
                let said = Said { at: Timestamp::default(), commits: true, refused: None };
                return word(&key, &id, path, body, said);
            }
            let heard: Bundle = canonical::decode(body, MAX_BUNDLE).unwrap();
            let known = heard.proposal.as_ref().map(|one| (one.round, Some(one.value.id())));
            let (round, value) =
                known.or(heard.votes.last().map(|vote| (vote.round, vote.value))).unwrap_or((0, None));
            // To every other one the truth, to the rest a vote for none or for something that nobody proposed.
            let value = match told.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 3 {
                0 => value,
                1 => None,
                _ => Some(Digest([0x66; 32])),
            };
            let txid = heard.manifest.txid();
            let vote = |kind| Vote::sign(&id, txid, (round, kind, value), (0, &key));
            let votes = vec![vote(Kind::Prevote), vote(Kind::Precommit)];
            let bundle =
                Bundle { manifest: heard.manifest, proposal: None, votes, lock: None, decided: None };
            (StatusCode::OK, canonical::encode(&bundle))
        })
    })
    .await;
    assert_decides(&group).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_one_member_is_none() {
    let group = with(|group| {
        let (key, id, manifest, now) = (group.keys[0].clone(), id(group), group.manifest(1), group.now());
        let decision = sofie_model::Decision::Abort { by: manifest.participants[0].account };
        let signature = sofie_model::Signature::by(
            &crate::group::party(1),
            sofie_model::contract::abort_digest(&manifest),
        );
        let value = Value { decision, signatures: vec![signature], at: now };
        let own =
            Vote::sign(&id, manifest.txid(), (0, Kind::Precommit, Some(value.id())), (0, &key)).signature;
        let votes = Votes { round: 0, signatures: vec![(0, own), (1, own), (2, own)] };
        let decided = Some(Certificate { value, votes });
        Arc::new(move |path, body| {
            if path == "bundles" {
                let manifest = manifest.as_ref().clone();
                let decided = decided.clone();
                let bundle = Bundle { manifest, proposal: None, votes: vec![], lock: None, decided };
                return (StatusCode::OK, canonical::encode(&bundle));
            }
            let said = Said { at: now, commits: true, refused: None };
            let (status, answer) = word(&key, &id, path, body, said);
            let word: Word = canonical::decode(&answer, 1 << 16).unwrap();
            (status, canonical::encode(&Word { decided: decided.clone(), ..word }))
        })
    })
    .await;
    let manifest = group.manifest(1);
    let ledger = group.ledger();
    assert_eq!(ledger.status(&abort(&manifest), None).await.unwrap(), Status::Absent);
    let evidence = decide(&ledger, &commit(&manifest)).await;
    let expected = sofie_model::evidence::root([&evidence]);
    let again = decide(&group.ledger(), &abort(&manifest)).await;
    assert_eq!(sofie_model::evidence::root([&again]), expected);
    assert!(matches!(evidence.fact, sofie_model::Fact::Decided(_, sofie_model::Decision::Commit { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_which_two_are_away_decides_nothing_and_says_who_is_away() {
    let group = Group::new(Surroundings::new().clock()).await;
    [1, 2].into_iter().for_each(|member| group.start(member));
    let ledger = group.ledger();
    let operation = commit(&group.manifest(1));
    let intent = ledger.intend(&operation).await.unwrap();
    assert_eq!(ledger.submit(&intent).await, Ok(()), "two took it: one of them is honest");
    let why = ledger.status(&operation, None).await.unwrap_err().to_string();
    assert!(why.contains("2 of 4 members answer, 3 are needed"), "{why}");
    assert!(why.contains(group.seated[0].url.as_str().trim_end_matches('/')), "{why}");
    // With a third one it goes on by itself.
    group.start(3);
    let evidence = decide(&ledger, &operation).await;
    assert_eq!(evidence.ledger, ledger.profile().id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_rules_are_against_is_refused_by_the_members_themselves() {
    let group = Group::new(Surroundings::new().clock()).await;
    (0..4).for_each(|member| group.start(member));
    let manifest = group.manifest(1);
    // A client that checks nothing.
    let decision = sofie_model::Decision::Commit {
        included: 1,
        evidence_root: Digest::ZERO,
        preimages: vec![Digest::ZERO; 2],
    };
    let candidate = Candidate { decision, signatures: vec![] };
    let ask = canonical::encode(&Ask { manifest: manifest.as_ref().clone(), candidate });
    let refused = group.ledger().submit(&sofie_ledgers::Intent(ask)).await.unwrap_err().to_string();
    assert!(refused.contains("3 members refuse: preimage 0 does not open its hashlock"), "{refused}");
    let mut foreign = manifest.as_ref().clone();
    foreign.decision.contract = sofie_model::Account([7; 20]);
    let decide = Decide::Commit {
        included: 1,
        evidence_root: Digest::ZERO,
        preimages: vec![Digest([1; 32]), Digest([2; 32])],
        guard: None,
    };
    let operation = Operation::Decide { manifest: Arc::new(foreign), decide };
    let error = group.ledger().intend(&operation).await.unwrap_err();
    assert!(matches!(error, LedgerError::Unsupported { .. }), "{error}");
}
