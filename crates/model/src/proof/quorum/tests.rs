//! Certificates as proofs: what holds, and each way in which one does not.

use super::*;
use crate::quorum::Value;
use crate::quorum::tests::fixtures::{DEADLINE, abort, certificate, commit, group, manifest};
use crate::{Account, Decision, Digest, Proof, Span, Timestamp, canonical};

fn value(seconds: u64) -> Value {
    Value { decision: commit(7), signatures: vec![], at: Timestamp::from_seconds(seconds) }
}

fn proof(value: Value, members: &[u8]) -> QuorumProof {
    let certificate = certificate(&manifest(&group(4), 0), value, Kind::Precommit, 3, members);
    QuorumProof { group: group(4), certificate }
}

fn verify(proof: &QuorumProof) -> Result<Proven, BadProof> {
    Proof::Quorum(proof.clone()).verify(&"notaries".parse().unwrap(), &manifest(&group(4), 0))
}

#[test]
fn a_certificate_proves_its_decision_on_its_group() {
    let proof = proof(value(DEADLINE), &[0, 1, 3]);
    let proven = verify(&proof).unwrap();
    let ledger: LedgerId = "notaries".parse().unwrap();
    assert_eq!(proven.anchor, Anchor::Quorum { ledger, group: group(4).id() });
    let [evidence] = &proven.evidence[..] else { panic!("{:?}", proven.evidence) };
    assert_eq!(evidence.fact, Fact::Decided(manifest(&group(4), 0).txid(), commit(7)));
    assert_eq!((evidence.at, evidence.position.reference), (value(DEADLINE).at, value(DEADLINE).id()));
}

#[test]
fn two_certificates_of_one_value_are_one_piece_of_evidence() {
    let proven = |members: &[u8]| verify(&proof(value(5), members)).unwrap().evidence;
    assert_eq!(proven(&[0, 1, 2]), proven(&[1, 2, 3]));
}

#[test]
fn what_is_no_quorums_word_is_refused() {
    let good = proof(value(5), &[0, 1, 2]);
    let changed = |change: fn(&mut QuorumProof)| {
        let mut proof = good.clone();
        change(&mut proof);
        verify(&proof)
    };
    let cases: [(&str, Result<Proven, BadProof>); 9] = [
        ("too few", verify(&proof(value(5), &[0, 1]))),
        ("more than needed has many encodings", verify(&proof(value(5), &[0, 1, 2, 3]))),
        ("one twice", verify(&proof(value(5), &[0, 1, 1]))),
        ("another order", verify(&proof(value(5), &[1, 0, 2]))),
        ("another round", changed(|one| one.certificate.votes.round += 1)),
        ("another instant", changed(|one| one.certificate.value.at = Timestamp::from_seconds(6))),
        ("a stranger", changed(|one| one.certificate.votes.signatures[2].0 = 9)),
        ("another group", changed(|one| one.group = group(5))),
        ("too late", verify(&proof(value(DEADLINE + 1), &[0, 1, 2]))),
    ];
    for (name, got) in cases {
        assert!(got.is_err(), "{name}");
    }
}

#[test]
fn prevotes_are_no_decision() {
    let manifest = manifest(&group(4), 0);
    let prevotes = certificate(&manifest, value(5), Kind::Prevote, 0, &[0, 1, 2]);
    assert_eq!(prevotes.verify(&group(4), &manifest, Kind::Prevote), Ok(()));
    assert!(prevotes.verify(&group(4), &manifest, Kind::Precommit).is_err());
}

#[test]
fn a_certificate_counts_for_its_transaction_and_its_place_only() {
    let proof = Proof::Quorum(proof(value(5), &[0, 1, 2]));
    let ledger: LedgerId = "notaries".parse().unwrap();
    let refused = |change: fn(&mut Manifest)| {
        let mut manifest = manifest(&group(4), 0);
        change(&mut manifest);
        proof.verify(&ledger, &manifest).is_err()
    };
    assert!(!refused(|_| {}));
    assert!(refused(|one| one.nonce = Digest([1; 32])));
    assert!(refused(|one| one.decision.contract = Account([1; 20])));
    assert!(refused(|one| one.decision.chain_id = 1));
    assert!(refused(|one| one.decision.ledger = "evm".parse().unwrap()));
    assert!(refused(|one| one.grace = Span::from_seconds(1)));
    assert!(refused(|one| one.participants.clear()));
    assert!(proof.verify(&"evm".parse().unwrap(), &manifest(&group(4), 0)).is_err());
}

#[test]
fn an_abort_is_its_authors_or_late() {
    let (decision, signatures) = abort(&manifest(&group(4), 0));
    let late = Value {
        decision: Decision::Abort { by: Account::ZERO },
        signatures: vec![],
        at: Timestamp::from_seconds(DEADLINE + 1),
    };
    let signed = Value { decision, signatures, at: Timestamp::from_seconds(5) };
    let bare = Value { signatures: vec![], ..signed.clone() };
    for (value, valid) in [(signed, true), (bare, false), (late, true)] {
        assert_eq!(verify(&proof(value.clone(), &[0, 1, 2])).is_ok(), valid, "{value:?}");
    }
}

#[test]
fn every_changed_byte_is_refused() {
    let proof = Proof::Quorum(proof(value(5), &[0, 1, 2]));
    let ledger: LedgerId = "notaries".parse().unwrap();
    let manifest = manifest(&group(4), 0);
    let bytes = canonical::encode(&proof);
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 1 << (index % 8);
        let verified =
            canonical::decode::<Proof>(&changed, 1 << 16).map(|one| one.verify(&ledger, &manifest));
        assert!(!matches!(verified, Ok(Ok(_))), "byte {index}");
    }
}

#[test]
fn the_longest_value_is_as_long_as_the_limit_says() {
    let value = Value {
        decision: Decision::Abort { by: Account([0xff; 20]) },
        signatures: vec![crate::Signature([0xff; 65]); 16],
        at: Timestamp::from_millis(u64::MAX),
    };
    let commit = Value {
        decision: Decision::Commit {
            included: u64::MAX,
            evidence_root: Digest::ZERO,
            preimages: vec![Digest::ZERO; 16],
        },
        signatures: vec![],
        at: Timestamp::from_millis(u64::MAX),
    };
    let lengths = [&value, &commit].map(|one| canonical::encode(one).len());
    assert!(lengths.iter().all(|length| *length <= crate::quorum::MAX_VALUE), "{lengths:?}");
    assert_eq!(lengths[0], 1_107);
}
