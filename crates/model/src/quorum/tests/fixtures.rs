//! A group of small keys, and a transaction that it decides.

use ed25519_dalek::SigningKey;
use k256::ecdsa::SigningKey as AccountKey;

use crate::manifest::{DecisionSite, Participant};
use crate::quorum::{Certificate, Group, Kind, Value, Vote, Votes};
use crate::{
    Account, Class, Decision, Digest, Finality, Leg, Manifest, Rule, Signature, Span, Terms, Timestamp,
    contract::abort_digest,
};

/// T_D, in seconds.
pub(crate) const DEADLINE: u64 = 1_000;

/// The members' keys in the group's order.
pub(crate) fn keys(count: u8) -> Vec<SigningKey> {
    let mut keys: Vec<_> = (1..=count).map(|byte| SigningKey::from_bytes(&[byte; 32])).collect();
    keys.sort_by_key(|key| key.verifying_key().to_bytes());
    keys
}

pub(crate) fn group(count: u8) -> Group {
    let public = |key: &SigningKey| Digest(key.verifying_key().to_bytes());
    Group::new(keys(count).iter().map(public).collect()).unwrap()
}

fn participant(byte: u8) -> (AccountKey, Participant) {
    let key = AccountKey::from_slice(&[byte; 32]).unwrap();
    let account = Account::from(key.verifying_key());
    (key, Participant { account, hashlock: Digest::sha256(&[byte; 32]) })
}

/// One record of two participants (keys and secrets of bytes 1 and 2).
pub(crate) fn manifest(group: &Group, nonce: u64) -> Manifest {
    let leg = Leg {
        ledger: "calendar".parse().unwrap(),
        class: Class::Record,
        finality: Finality::Instant,
        required: true,
        terms: Terms::Record(Digest::ZERO),
        fee_limit: 0,
    };
    Manifest {
        version: 1,
        legs: vec![leg],
        rule: Rule::All,
        decision: DecisionSite {
            ledger: "notaries".parse().unwrap(),
            chain_id: 0,
            contract: group.account(),
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: Timestamp::from_seconds(DEADLINE),
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: vec![participant(1).1, participant(2).1],
        nonce: Digest::sha256(&nonce.to_be_bytes()),
    }
}

/// COMMIT; what the committer saw differs by `root`.
pub(crate) fn commit(root: u8) -> Decision {
    Decision::Commit {
        included: 1,
        evidence_root: Digest([root; 32]),
        preimages: vec![Digest([1; 32]), Digest([2; 32])],
    }
}

/// ABORT by the first participant, and its signature.
pub(crate) fn abort(manifest: &Manifest) -> (Decision, Vec<Signature>) {
    let (key, one) = participant(1);
    (Decision::Abort { by: one.account }, vec![Signature::by(&key, abort_digest(manifest))])
}

/// Signed by these of four members.
pub(crate) fn certificate(
    manifest: &Manifest,
    value: Value,
    kind: Kind,
    round: u32,
    members: &[u8],
) -> Certificate {
    let (group, keys) = (group(4), keys(4));
    let sign = |member: &u8| {
        let said = (round, kind, Some(value.id()));
        let key = &keys[usize::from(*member)];
        (*member, Vote::sign(&group.id(), manifest.txid(), said, (*member, key)).signature)
    };
    let signatures = members.iter().map(sign).collect();
    Certificate { value, votes: Votes { round, signatures } }
}
