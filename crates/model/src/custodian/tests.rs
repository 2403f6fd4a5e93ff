//! What a custodian takes and refuses by the manifest alone.

use k256::ecdsa::SigningKey;

use super::*;
use crate::manifest::{DecisionSite, Dispute, Participant, TransferTerms};
use crate::proof::quorum::QuorumProof;
use crate::proof::statement::Statements;
use crate::quorum::Kind;
use crate::quorum::tests::fixtures::{self, DEADLINE, group};
use crate::{Finality, Leg, Rule, Span};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn key() -> Digest {
    Digest([5; 32])
}

fn payer() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

fn bank() -> LedgerId {
    "bank".parse().unwrap()
}

/// Leg 0 is a transfer, leg 1 an escrow, leg 2 a record.
fn manifest() -> Manifest {
    let (contract, payee) = (account(&key()), Account([2; 20]));
    let payer = Account::from(payer().verifying_key());
    let transfer = Terms::Transfer(TransferTerms { contract, payer, payee, amount: 5 });
    let escrow = Terms::Escrow(EscrowTerms {
        contract,
        payer,
        payee,
        amount: 5,
        evidence_key: Account::from(evidence_key().verifying_key()),
        evidence_deadline: NOW + Span::from_seconds(200),
        submission_window: Span::from_seconds(10),
        dispute: None,
    });
    let legs = [(Class::Escrow, transfer), (Class::Escrow, escrow), (Class::Record, Terms::Record(key()))];
    let leg = |(class, terms)| Leg {
        ledger: bank(),
        class,
        finality: Finality::Instant,
        required: true,
        terms,
        fee_limit: 0,
    };
    Manifest {
        version: 1,
        legs: legs.map(leg).to_vec(),
        rule: Rule::All,
        decision: DecisionSite {
            ledger: "evm".parse().unwrap(),
            chain_id: 1,
            contract: Account([4; 20]),
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: NOW + Span::from_seconds(100),
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: vec![Participant { account: payer, hashlock: Digest::ZERO }],
        nonce: Digest::ZERO,
    }
}

fn evidence_key() -> SigningKey {
    SigningKey::from_slice(&[8; 32]).unwrap()
}

fn hold(manifest: Manifest, leg: u16, key: &SigningKey) -> Request {
    let leg = LegId(leg);
    let signature = Signature::by(key, hold_digest(manifest.txid(), leg));
    Request { manifest, leg, act: Act::Hold { signature } }
}

#[test]
fn a_request_has_one_encoding() {
    let bytes = hold(manifest(), 0, &payer()).to_bytes();
    assert_eq!(Request::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    assert!(Request::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
    assert!(Request::from_bytes(&vec![0; MAX_REQUEST + 1]).is_err());
}

#[test]
fn only_the_payer_has_his_value_held() {
    let good = hold(manifest(), 0, &payer());
    let value = good.check(&bank(), &key(), NOW).unwrap();
    assert_eq!((value.payee, value.amount), (Account([2; 20]), 5));
    let other_leg = Request { leg: LegId(1), ..good.clone() };
    let mut more = good.clone();
    if let Terms::Transfer(terms) = &mut more.manifest.legs[0].terms {
        terms.amount = 6;
    }
    let mut disputable = manifest();
    if let Terms::Escrow(terms) = &mut disputable.legs[1].terms {
        let window = Span::from_seconds(5);
        terms.dispute = Some(Dispute { arbiter: Account([6; 20]), window });
    }
    let cases = [
        (hold(disputable, 1, &payer()), "leg 1 names an arbiter"),
        (hold(manifest(), 0, &evidence_key()), "signed by"),
        (other_leg, "signed by"),
        (more, "signed by"),
        (hold(manifest(), 2, &payer()), "is a record leg"),
        (hold(manifest(), 3, &payer()), "no leg 3"),
    ];
    for (request, why) in cases {
        let refused = request.check(&bank(), &key(), NOW).unwrap_err();
        assert!(refused.contains(why), "{refused} should say {why:?}");
    }
    let late = NOW + Span::from_seconds(100);
    assert!(good.check(&bank(), &key(), late).unwrap_err().contains("deadline"));
    assert!(good.check(&bank(), &Digest([6; 32]), NOW).unwrap_err().contains("names custodian"));
    assert!(good.check(&"evm".parse().unwrap(), &key(), NOW).unwrap_err().contains("not on evm"));
}

#[test]
fn an_operators_word_is_no_decision() {
    let proof = Proof::Operator(Statements { key: key(), statements: vec![] });
    assert!(judge(&manifest(), LegId(0), &proof).unwrap_err().contains("no decision"));
}

/// The escrow alone, with a group of four for D.
fn notarised() -> Manifest {
    Manifest { legs: vec![manifest().legs[1].clone()], ..fixtures::manifest(&group(4), 0) }
}

/// What these members decide of `manifest` in this round.
fn certified(manifest: &Manifest, commits: bool, round: u32, members: &[u8]) -> Proof {
    let (decision, signatures) =
        if commits { (fixtures::commit(7), vec![]) } else { fixtures::abort(manifest) };
    let value = crate::quorum::Value { decision, signatures, at: Timestamp::from_seconds(DEADLINE - 1) };
    let certificate = fixtures::certificate(manifest, value, Kind::Precommit, round, members);
    Proof::Quorum(QuorumProof { group: group(4), certificate })
}

#[test]
fn a_groups_certificate_counts_by_the_pinned_keys_alone() {
    let (manifest, pinned) = (notarised(), group(4));
    let by = |pinned: &Group, proof: &Proof| judge_by(pinned, &manifest, LegId(0), proof);
    let good = certified(&manifest, true, 2, &[0, 1, 3]);
    let judged = by(&pinned, &good).unwrap();
    assert_eq!((judged.included, judged.at), (true, Timestamp::from_seconds(DEADLINE - 1)));
    assert!(!by(&pinned, &certified(&manifest, false, 0, &[1, 2, 3])).unwrap().included);
    let Proof::Quorum(shown) = &good else { panic!("it is a certificate") };
    let others = Proof::Quorum(QuorumProof { group: group(5), ..shown.clone() });
    let other = Manifest { nonce: key(), ..notarised() };
    let statements = Proof::Operator(Statements { key: key(), statements: vec![] });
    let cases = [
        (&pinned, certified(&manifest, true, 0, &[0, 1]), "2 signatures, exactly 3"),
        (&pinned, others, "D is group"),
        (&group(5), good.clone(), "this group is"),
        (&pinned, certified(&other, true, 0, &[0, 1, 2]), "member 0 did not sign it"),
        (&pinned, statements, "no certificate"),
    ];
    for (pinned, proof, why) in cases {
        let refused = by(pinned, &proof).unwrap_err();
        assert!(refused.contains(why), "{refused} should say {why:?}");
    }
}

#[test]
fn a_group_that_decides_twice_is_named_with_whoever_signed_both() {
    let manifest = notarised();
    let commit = certified(&manifest, true, 1, &[0, 1, 3]);
    let same = |now: &Proof| check_same(&manifest, LegId(0), &commit, now);
    assert_eq!(same(&certified(&manifest, true, 3, &[1, 2, 3])), Ok(()), "another quorum, the same decision");
    let said = same(&certified(&manifest, false, 1, &[1, 2, 3])).unwrap_err();
    let [one, other] = [1, 3].map(|member: usize| group(4).members()[member]);
    let expected = format!(
        "notaries has decided {} twice, COMMIT at second 999 and ABORT at second 999; more than 1 of its 4 members lie, \
         these signed both: {one}, {other}",
        manifest.txid()
    );
    assert_eq!(said, expected);
    assert!(said.len() <= MAX_REASON, "{} bytes", said.len());
}

#[test]
fn evidence_settles_in_its_time_and_a_refund_comes_after_it() {
    let manifest = manifest();
    let good = crate::Attestation {
        chain_id: 1,
        contract: account(&key()),
        txid: manifest.txid(),
        leg: LegId(1),
        observation: Digest::ZERO,
        fulfilled: true,
        observed_at: NOW + Span::from_seconds(50),
    };
    let decided = NOW + Span::from_seconds(50);
    let (open, over) = (NOW + Span::from_seconds(210), NOW + Span::from_seconds(211));
    let settle = |said: crate::Attestation, leg, now| {
        check_settle(&manifest, leg, &said.sign(&evidence_key()), decided, now)
    };
    assert_eq!(settle(good, LegId(1), open), Ok(()));
    let bad = [
        crate::Attestation { fulfilled: false, ..good },
        crate::Attestation { chain_id: 2, ..good },
        crate::Attestation { contract: Account([4; 20]), ..good },
        crate::Attestation { leg: LegId(0), ..good },
        crate::Attestation { txid: Txid(Digest::ZERO), ..good },
        crate::Attestation { observed_at: NOW + Span::from_seconds(49), ..good },
        crate::Attestation { observed_at: NOW + Span::from_seconds(201), ..good },
    ];
    for said in bad {
        assert!(settle(said, LegId(1), open).is_err(), "{said:?}");
    }
    assert!(settle(good, LegId(1), over).unwrap_err().contains("window is over"));
    assert!(settle(good, LegId(0), open).unwrap_err().contains("no evidence"));
    let forged = good.sign(&payer());
    assert!(check_settle(&manifest, LegId(1), &forged, decided, open).unwrap_err().contains("has authority"));
    assert!(check_refund(&manifest, LegId(1), open).unwrap_err().contains("still open"));
    assert_eq!(check_refund(&manifest, LegId(1), over), Ok(()));
    assert!(check_refund(&manifest, LegId(0), over).is_err());
}
