//! Custodians that lie, contradict themselves or fall silent: named as what they are, and nothing is taken from them.

use axum::http::StatusCode;
use ed25519_dalek::SigningKey;
use sofie_ledgers::conformance::Harness as _;
use sofie_ledgers::escrow::OpenError;
use sofie_ledgers::{Ledger, LedgerError, Status};
use sofie_model::custodian::MAX_ANSWER;
use sofie_model::manifest::{DecisionSite, Participant, TransferTerms};
use sofie_model::proof::statement::Statement;
use sofie_model::{
    Class, Digest, Fact, Finality, Leg, LegId, Manifest, Operation, Rule, Span, Step, Terms, Timestamp,
};

use crate::double::Mood;
use crate::surroundings::{Surroundings, key, public};

async fn prepare(surroundings: &Surroundings) -> Operation {
    let site = surroundings.site();
    let (contract, payer, payee) = (site.escrow, site.payer, site.payee);
    let terms = Terms::Transfer(TransferTerms { contract, payer, payee, amount: site.amount });
    let leg = Leg {
        ledger: "bank".parse().unwrap(),
        class: Class::Escrow,
        finality: Finality::Instant,
        required: true,
        terms,
        fee_limit: 0,
    };
    let manifest = Manifest {
        version: 1,
        legs: vec![leg],
        rule: Rule::All,
        decision: DecisionSite {
            ledger: "evm".parse().unwrap(),
            chain_id: site.chain_id,
            contract: site.decision,
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: Timestamp::from_seconds(1_800_001_000),
        grace: Span::ZERO,
        guard: sofie_model::Account::ZERO,
        participants: vec![Participant { account: payer, hashlock: Digest::ZERO }],
        nonce: Digest::ZERO,
    };
    Operation::Leg { manifest: manifest.into(), leg: LegId(0), step: Step::Prepare }
}

#[tokio::test]
async fn a_lie_is_nonsense_and_is_named() {
    let moods: [(&str, Mood); 6] = [
        ("another key", |all| {
            for one in all.iter_mut() {
                *one = one.statement.clone().sign(&SigningKey::from_bytes(&[1; 32]));
            }
        }),
        ("a changed time", |all| {
            all[0].statement.evidence.at = Timestamp::from_seconds(1);
        }),
        ("another transaction", |all| {
            let mut evidence = all[0].statement.evidence.clone();
            evidence.fact = Fact::Prepared(sofie_model::Txid(Digest::ZERO), LegId(0));
            all[0] = Statement { evidence, settlement: None }.sign(&key());
        }),
        ("both ends of one leg", |all| {
            for (height, fact) in [(7, Fact::Applied as fn(_, _) -> _), (8, Fact::Reverted)] {
                let mut evidence = all[0].statement.evidence.clone();
                let Fact::Prepared(txid, leg) = evidence.fact else { panic!("it was prepared first") };
                evidence.fact = fact(txid, leg);
                evidence.position.height = height;
                all.push(Statement { evidence, settlement: None }.sign(&key()));
            }
        }),
        ("the end without the beginning", |all| {
            let mut evidence = all[0].statement.evidence.clone();
            let Fact::Prepared(txid, leg) = evidence.fact else { panic!("it was prepared first") };
            evidence.fact = Fact::Applied(txid, leg);
            all[0] = Statement { evidence, settlement: None }.sign(&key());
        }),
        ("the same twice", |all| {
            let again = all[0].clone();
            all.push(again);
        }),
    ];
    for (name, mood) in moods {
        let surroundings = Surroundings::new();
        let opened = surroundings.begin().await;
        let ledger = surroundings.connect(public()).await.unwrap();
        let prepare = prepare(&surroundings).await;
        let intent = ledger.intend(&prepare).await.unwrap();
        ledger.submit(&intent).await.unwrap();
        let Status::Final(evidence) = ledger.status(&prepare, None).await.unwrap() else { panic!("{name}") };
        opened.double.books.lock().unwrap().mood = mood;
        let Operation::Leg { manifest, .. } = &prepare else { panic!("it is a leg's") };
        let answers = [
            ledger.status(&prepare, None).await.map(drop),
            ledger.submit(&intent).await,
            ledger.prove(manifest, &[evidence]).await.map(drop),
        ];
        for answer in answers {
            assert!(matches!(answer, Err(LedgerError::Nonsense { .. })), "{name}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn what_it_said_and_says_no_more_is_nonsense() {
    let surroundings = Surroundings::new();
    let opened = surroundings.begin().await;
    let ledger = surroundings.connect(public()).await.unwrap();
    let prepare = prepare(&surroundings).await;
    let intent = ledger.intend(&prepare).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    let Status::Final(evidence) = ledger.status(&prepare, None).await.unwrap() else { panic!("it is held") };
    // As a database that was put back from an old copy.
    opened.double.books.lock().unwrap().mood = Vec::clear;
    opened.double.books.lock().unwrap().height = 0;
    let Operation::Leg { manifest, .. } = &prepare else { panic!("it is a leg's") };
    let proof = ledger.prove(manifest, &[evidence]).await.map(drop);
    for answer in [ledger.head().await.map(drop), ledger.submit(&intent).await, proof] {
        assert!(matches!(answer, Err(LedgerError::Nonsense { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn every_other_answer_is_sorted() {
    let surroundings = Surroundings::new();
    let opened = surroundings.begin().await;
    let ledger = surroundings.connect(public()).await.unwrap();
    let prepare = prepare(&surroundings).await;
    let intent = ledger.intend(&prepare).await.unwrap();
    let cases: [(StatusCode, Vec<u8>, &str); 6] = [
        (StatusCode::SERVICE_UNAVAILABLE, vec![], "Transient"),
        (StatusCode::TOO_MANY_REQUESTS, vec![], "Transient"),
        (StatusCode::NOT_FOUND, b"no such page".to_vec(), "Refused"),
        (StatusCode::FOUND, vec![], "Nonsense"),
        (StatusCode::OK, b"<html>".to_vec(), "Nonsense"),
        (StatusCode::OK, vec![0x80; MAX_ANSWER + 1], "Nonsense"),
    ];
    for (status, body, expected) in cases {
        opened.double.books.lock().unwrap().says = Some((status, body));
        let answers = [
            ledger.submit(&intent).await,
            ledger.status(&prepare, None).await.map(drop),
            ledger.head().await.map(drop),
        ];
        for answer in answers {
            let answer = format!("{:?}", answer.unwrap_err());
            assert!(answer.starts_with(expected), "{status}: {answer}");
        }
    }
    let bad = surroundings.connect(public()).await.err();
    assert!(matches!(bad, Some(OpenError::Unreachable { .. })), "{bad:?}");
}

#[tokio::test]
async fn another_custodian_is_not_opened() {
    let surroundings = Surroundings::new();
    surroundings.begin().await;
    let error = surroundings.connect(Digest::ZERO).await.err();
    let told = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(told.contains(&public().to_string()), "{told}");
}

#[tokio::test]
async fn nobody_holds_a_strangers_value() {
    let surroundings = Surroundings::new();
    let opened = surroundings.begin().await;
    let ledger = surroundings.connect(public()).await.unwrap();
    let Operation::Leg { manifest, leg, step } = prepare(&surroundings).await else { panic!("a leg") };
    let before = opened.double.books.lock().unwrap().balances.clone();
    // Another amount under the same signature.
    let intent = ledger.intend(&Operation::Leg { manifest: manifest.clone(), leg, step }).await.unwrap();
    let mut request = sofie_model::custodian::Request::from_bytes(&intent.0).unwrap();
    if let Terms::Transfer(terms) = &mut request.manifest.legs[0].terms {
        terms.amount *= 2;
    }
    let changed = ledger.submit(&sofie_ledgers::Intent(request.to_bytes())).await;
    assert!(matches!(changed, Err(LedgerError::Refused { .. })), "{changed:?}");
    assert_eq!(opened.double.books.lock().unwrap().balances, before);
}
