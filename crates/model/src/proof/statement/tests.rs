//! An operator's signed statements: what they prove, and each way in which they do not.

use super::*;
use crate::manifest::{DecisionSite, EscrowTerms, Participant, TransferTerms};
use crate::{Account, Finality, Leg, Position, Proof, Rule, Span, Timestamp, Txid};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn public() -> Digest {
    Digest(key().verifying_key().to_bytes())
}

fn bank() -> LedgerId {
    "bank".parse().unwrap()
}

/// Leg 0 is an escrow, 1 a transfer, 2 a record, all at the bank; 3 is on D.
fn manifest() -> Manifest {
    let leg = |ledger: &str, class, terms| Leg {
        ledger: ledger.parse().unwrap(),
        class,
        finality: Finality::Instant,
        required: true,
        terms,
        fee_limit: 0,
    };
    let (contract, payer, payee) = (Account([9; 20]), Account([1; 20]), Account([2; 20]));
    let transfer = Terms::Transfer(TransferTerms { contract, payer, payee, amount: 5 });
    let escrow = Terms::Escrow(EscrowTerms {
        contract,
        payer,
        payee,
        amount: 5,
        evidence_key: Account([3; 20]),
        evidence_deadline: Timestamp::from_seconds(200),
        submission_window: Span::from_seconds(10),
        dispute: None,
    });
    Manifest {
        version: 1,
        legs: vec![
            leg("bank", Class::Escrow, escrow),
            leg("bank", Class::Escrow, transfer.clone()),
            leg("bank", Class::Record, Terms::Record(Digest::ZERO)),
            leg("evm", Class::Verifying, transfer),
        ],
        rule: Rule::All,
        decision: DecisionSite {
            ledger: "evm".parse().unwrap(),
            chain_id: 1,
            contract: Account([4; 20]),
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: Timestamp::from_seconds(100),
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: vec![Participant { account: payer, hashlock: Digest::ZERO }],
        nonce: Digest::ZERO,
    }
}

fn at(height: u64, fact: Fact) -> Statement {
    let settlement = match fact {
        Fact::Settled(_, leg) => {
            Some(Settlement { leg, observation: Digest::ZERO, observed_at: Timestamp::default() })
        }
        _ => None,
    };
    let position = Position { height, index: 0, reference: Digest::ZERO };
    let evidence = Evidence { ledger: bank(), fact, position, at: Timestamp::from_millis(height) };
    Statement { evidence, settlement }
}

fn verify(statements: Vec<Statement>) -> Result<Proven, BadProof> {
    let statements = statements.into_iter().map(|one| one.sign(&key())).collect();
    Proof::Operator(Statements { key: public(), statements }).verify(&bank(), &manifest())
}

type Make = fn(Txid, LegId) -> Fact;
const PREPARED: Make = Fact::Prepared;
const APPLIED: Make = Fact::Applied;
const REVERTED: Make = Fact::Reverted;
const SETTLED: Make = Fact::Settled;
const REFUNDED: Make = Fact::Refunded;

fn path(steps: &[(Make, u16)]) -> Vec<Statement> {
    let txid = manifest().txid();
    (1..).zip(steps).map(|(height, (fact, leg))| at(height, fact(txid, LegId(*leg)))).collect()
}

#[test]
fn a_legs_way_is_proven_whole_or_in_part() {
    let ways: [&[(Make, u16)]; 8] = [
        &[],
        &[(PREPARED, 0), (APPLIED, 0), (SETTLED, 0)],
        &[(PREPARED, 0), (APPLIED, 0), (REFUNDED, 0)],
        &[(PREPARED, 1), (REVERTED, 1)],
        &[(SETTLED, 0)],
        &[(REVERTED, 2)],
        &[(PREPARED, 0), (PREPARED, 1), (PREPARED, 2), (APPLIED, 2), (APPLIED, 1), (APPLIED, 0)],
        &[(PREPARED, 2), (APPLIED, 2)],
    ];
    for way in ways {
        let statements = path(way);
        let expected: Vec<_> = statements.iter().map(|one| one.evidence.clone()).collect();
        let proven = verify(statements).unwrap();
        assert_eq!(proven.evidence, expected);
        assert_eq!(proven.anchor, Anchor::Operator { ledger: bank(), key: public() });
    }
}

#[test]
fn a_contradiction_or_a_strangers_fact_is_refused() {
    let txid = manifest().txid();
    let other = Txid(Digest::ZERO);
    let mut late = path(&[(PREPARED, 0), (APPLIED, 0)]);
    late[1].evidence.at = Timestamp::default();
    let mut silent = path(&[(SETTLED, 0)]);
    silent[0].settlement = None;
    let mut foreign = path(&[(SETTLED, 0)]);
    foreign[0].settlement.as_mut().unwrap().leg = LegId(1);
    let mut talking = path(&[(APPLIED, 0)]);
    talking[0].settlement = path(&[(SETTLED, 0)])[0].settlement;
    let mut elsewhere = path(&[(PREPARED, 0)]);
    elsewhere[0].evidence.ledger = "evm".parse().unwrap();
    let cases: [(Vec<Statement>, &str); 17] = [
        (path(&[(APPLIED, 0), (REVERTED, 0)]), "was stated before"),
        (path(&[(REVERTED, 0), (APPLIED, 0)]), "was reverted before"),
        (path(&[(REVERTED, 0), (REFUNDED, 0)]), "was reverted before"),
        (path(&[(SETTLED, 0), (REFUNDED, 0)]), "was stated before"),
        (path(&[(PREPARED, 0), (PREPARED, 0)]), "was stated before"),
        (path(&[(APPLIED, 0), (PREPARED, 0)]), "was stated before"),
        (path(&[(SETTLED, 1)]), "waits for no evidence"),
        (path(&[(REFUNDED, 2)]), "waits for no evidence"),
        (path(&[(APPLIED, 3)]), "no leg 3 on bank"),
        (path(&[(APPLIED, 9)]), "no leg 9 on bank"),
        (vec![at(1, Fact::Prepared(other, LegId(0)))], "another transaction"),
        (vec![at(1, Fact::Decided(txid, crate::Decision::Abort { by: Account::ZERO }))], "no decision"),
        (vec![at(2, Fact::Prepared(txid, LegId(0))), at(2, Fact::Applied(txid, LegId(0)))], "not in order"),
        (late, "before that of an earlier"),
        (silent, "names an observation"),
        (talking, "names an observation"),
        (elsewhere, "about ledger evm"),
    ];
    for (statements, why) in cases {
        let refused = verify(statements).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused} should say {why:?}");
    }
    assert!(verify(foreign).unwrap_err().to_string().contains("names an observation"));
}

#[test]
fn every_changed_byte_of_a_statement_breaks_its_signature() {
    let proof = Statements { key: public(), statements: vec![path(&[(SETTLED, 0)])[0].clone().sign(&key())] };
    let bytes = canonical::encode(&Proof::Operator(proof));
    assert!(canonical::decode::<Proof>(&bytes, 4096).unwrap().verify(&bank(), &manifest()).is_ok());
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        let holds = canonical::decode::<Proof>(&changed, 4096)
            .is_ok_and(|proof| proof.verify(&bank(), &manifest()).is_ok());
        assert!(!holds, "byte {index}");
    }
}

#[test]
fn too_many_statements_are_refused() {
    let notes = |count: u64| (1..=count).map(|height| at(height, Fact::Noted(Digest::ZERO, Digest::ZERO)));
    let limit = MAX_STATEMENTS as u64;
    assert!(verify(notes(limit + 1).collect()).is_err());
}
