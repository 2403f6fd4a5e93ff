//! A group of four, and what three of them sign.

use ed25519_dalek::SigningKey;
use sofie_model::contract::abort_digest;
use sofie_model::proof::quorum::QuorumProof;
use sofie_model::quorum::{
    Ask, Bundle, Candidate, Certificate, Group, Kind, Proposal, Said, Value, Vote, Votes, Word, vote_digest,
    word_digest,
};
use sofie_model::{Decision, Digest, Manifest, Proof, Signature, Timestamp, canonical};

use crate::Vector;
use crate::examples::{DEADLINE, account, key, notarised, secret};

/// The published test keys, in the group's order.
fn keys() -> Vec<SigningKey> {
    let mut keys: Vec<_> = (0x21..=0x24).map(|byte| SigningKey::from_bytes(&[byte; 32])).collect();
    keys.sort_by_key(|key| key.verifying_key().to_bytes());
    keys
}

fn group() -> Group {
    let public = |key: &SigningKey| Digest(key.verifying_key().to_bytes());
    Group::new(keys().iter().map(public).collect()).unwrap()
}

/// Member `member` votes in round 2.
fn vote(manifest: &Manifest, kind: Kind, value: Option<Digest>, member: u8) -> Vote {
    let key = &keys()[usize::from(member)];
    Vote::sign(&group().id(), manifest.txid(), (2, kind, value), (member, key))
}

/// The precommits of members 0, 1 and 3.
fn certificate(manifest: &Manifest, value: Value) -> Certificate {
    let voted = |member| (member, vote(manifest, Kind::Precommit, Some(value.id()), member).signature);
    let signatures = [0, 1, 3].map(voted).to_vec();
    Certificate { value, votes: Votes { round: 2, signatures } }
}

/// The question that the answers are to.
const NONCE: Digest = Digest([0x6e; 32]);

/// What member 3 says of `manifest` in answer to [`NONCE`]: before anyone has asked for a decision, when it is past T_D and
/// knows no COMMIT, when it refuses, and once it has decided.
fn answers(manifest: &Manifest, decided: &Certificate) -> Vec<Vector> {
    let said = |millis: u64, commits: bool, refused: Option<&str>| {
        let at = Timestamp::from_millis(DEADLINE * 1000 + millis);
        Said { at, commits, refused: refused.map(str::to_owned) }
    };
    let (before, late) = (said(0, false, None), said(1_000, false, None));
    let refuses = said(0, true, Some("preimage 0 does not open its hashlock"));
    let word = |name, said: &Said, decided: Option<Certificate>| {
        let (group, txid) = (group(), manifest.txid());
        let word = Word::sign((&group.id(), txid, &NONCE), said.clone(), decided, (3, &keys()[3]));
        assert_eq!(word.verify(&group, txid, &NONCE), Ok(()));
        Vector::new(name, "word", &word)
            .expect("nonce", NONCE)
            .expect("digest", word_digest(&group.id(), txid, &NONCE, said))
    };
    vec![
        Vector::new("what a member stands for that was asked nothing", "said", &before),
        Vector::new("what a member stands for that refuses", "said", &refuses),
        word("past T_D, no COMMIT is known", &late, None),
        word("a refusal", &refuses, None),
        word("an answer with the decision", &said(0, true, None), Some(decided.clone())),
    ]
}

pub(crate) fn vectors() -> Vec<Vector> {
    let manifest = notarised(group().account());
    let preimages = vec![secret(1), secret(2)];
    let commit = Value {
        decision: Decision::Commit { included: 0b11, evidence_root: Digest([9; 32]), preimages },
        signatures: vec![],
        at: Timestamp::from_millis(DEADLINE * 1000 + 999),
    };
    let abort = Value {
        decision: Decision::Abort { by: account(1) },
        signatures: vec![Signature::by(&key(1), abort_digest(&manifest))],
        at: Timestamp::from_seconds(DEADLINE - 100),
    };
    let none = vote(&manifest, Kind::Prevote, None, 3);
    let digest = vote_digest(&group().id(), manifest.txid(), 2, Kind::Prevote, None);
    let candidate = Candidate { decision: commit.decision.clone(), signatures: vec![] };
    let ask = Ask { manifest: manifest.clone(), candidate };
    let proposer = group().proposer(manifest.txid(), 2);
    let proposer_key = &keys()[usize::from(proposer)];
    let proposal = Proposal::sign(&group().id(), manifest.txid(), 2, (commit.clone(), None), proposer_key);
    let decided = Some(certificate(&manifest, commit.clone()));
    let answers = answers(&manifest, &certificate(&manifest, commit.clone()));
    let bundle = Bundle { manifest: manifest.clone(), proposal: None, votes: vec![], lock: None, decided };
    let mut all = vec![
        Vector::new("a group of four", "group", &group())
            .expect("id", group().id())
            .expect("contract", group().account()),
        Vector::new("what it decides", "manifest", &manifest).expect("txid", manifest.txid()),
        Vector::new("a prevote for none in round 2", "vote", &none).expect("digest", digest),
        Vector::new("a COMMIT that is asked for", "ask", &ask),
        Vector::new("the proposal of round 2", "proposal", &proposal).expect("member", proposer),
        Vector::new("what a member tells that has decided", "bundle", &bundle),
    ];
    all.extend(answers);
    for (name, value) in [("a COMMIT in the last millisecond of T_D", commit), ("an early ABORT", abort)] {
        let id = value.id();
        let digest = vote_digest(&group().id(), manifest.txid(), 2, Kind::Precommit, Some(id));
        let certificate = certificate(&manifest, value);
        let proof = QuorumProof { group: group(), certificate };
        let proven = Proof::Quorum(proof.clone()).verify(&manifest.decision.ledger, &manifest).unwrap();
        all.push(
            Vector::new(name, "quorum-proof", &proof)
                .expect("value", id)
                .expect("digest", digest)
                .expect("evidence", hex::encode(canonical::encode(&proven.evidence[0]))),
        );
    }
    all
}
