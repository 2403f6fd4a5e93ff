//! What members sign: values, votes, and the votes of a quorum in one round.

use ed25519_dalek::{Signature as Ed25519, Signer as _, SigningKey, VerifyingKey};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::Group;
use crate::proof::calendar::decision;
use crate::{Account, Decision, Digest, Manifest, Signature, Span, Timestamp, Txid, canonical};

/// A longer value is refused; the longest that there is, an ABORT that sixteen participants sign, has 1,107 bytes.
pub const MAX_VALUE: usize = 1280;

/// What is decided: a decision with what proves its author's right, and the instant at which it was proposed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Value {
    /// COMMIT with every preimage, or ABORT.
    #[n(0)]
    pub decision: Decision,
    /// An early ABORT's: its author's, or every participant's.
    #[n(1)]
    pub signatures: Vec<Signature>,
    /// By the proposer's clock; whoever first votes for it checks it against its own.
    #[n(2)]
    pub at: Timestamp,
}

impl Value {
    /// What votes name it by.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::of("sofie.quorum.value.v1", &[&canonical::encode(self)])
    }

    /// Whether it is a valid decision of `manifest` at its own instant, whatever the time is now.
    ///
    /// # Errors
    /// What is against it, for a person.
    pub fn check(&self, manifest: &Manifest) -> Result<(), String> {
        decision::check_rules(manifest, &self.decision, &self.signatures, self.at)
    }
}

/// Whether `group` is the D of `manifest`, and can be.
///
/// A transaction with a hashlock leg is not decided by a quorum: f members can hold back the votes of a first round and
/// bring them once the lock has been refunded by time, and a decision must not follow a refund.
///
/// # Errors
/// What is against it, for a person.
pub fn check_site(manifest: &Manifest, group: &Group) -> Result<(), String> {
    let site = &manifest.decision;
    if (site.chain_id, site.contract) != (0, group.account()) {
        return Err(format!(
            "the manifest's decision is that of contract {} of chain {}, this group is {}",
            site.contract,
            site.chain_id,
            group.account()
        ));
    }
    let timed = manifest.guard != Account::ZERO || manifest.grace != Span::ZERO || manifest.pivot().is_some();
    if timed {
        return Err("a transaction with a hashlock leg is not decided by a quorum: name another D".into());
    }
    let sized = manifest.legs.len() <= crate::manifest::MAX_LEGS
        && (1..=crate::manifest::MAX_PARTICIPANTS).contains(&manifest.participants.len());
    if sized { Ok(()) } else { Err("it has no participants, or too many, or too many legs".into()) }
}

/// Which of a round's two votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    /// "I would take this value."
    #[n(0)]
    Prevote,
    /// "I saw a quorum that would." A quorum of these is the certificate.
    #[n(1)]
    Precommit,
}

/// One member's vote.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Vote {
    /// The round, from 0.
    #[n(0)]
    pub round: u32,
    /// Which of the two.
    #[n(1)]
    pub kind: Kind,
    /// [`Value::id`]; nothing for "none of those that I know".
    #[n(2)]
    pub value: Option<Digest>,
    /// The member's place in the group.
    #[n(3)]
    pub member: u8,
    /// Ed25519 over [`vote_digest`].
    #[n(4)]
    pub signature: ByteArray<64>,
}

/// What a member signs with a vote.
#[must_use]
pub fn vote_digest(group: &Digest, txid: Txid, round: u32, kind: Kind, value: Option<Digest>) -> Digest {
    let said = canonical::encode(&(round, kind, value));
    Digest::of("sofie.quorum.vote.v1", &[group.as_bytes(), txid.0.as_bytes(), &said])
}

impl Vote {
    /// Votes as `member`, whose key this is.
    #[must_use]
    pub fn sign(
        group: &Digest,
        txid: Txid,
        (round, kind, value): (u32, Kind, Option<Digest>),
        (member, key): (u8, &SigningKey),
    ) -> Self {
        let signature = sign(key, vote_digest(group, txid, round, kind, value));
        Self { round, kind, value, member, signature }
    }

    /// Whether its member signed it.
    #[must_use]
    pub fn is_signed(&self, group: &Group, id: &Digest, txid: Txid) -> bool {
        let digest = vote_digest(id, txid, self.round, self.kind, self.value);
        is_signed(group, self.member, digest, &self.signature)
    }
}

/// The votes of exactly a quorum for one value in one round.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Votes {
    /// The round.
    #[n(0)]
    pub round: u32,
    /// Members and their signatures, ascending by member.
    #[n(1)]
    pub signatures: Vec<(u8, ByteArray<64>)>,
}

impl Votes {
    /// Whether a quorum signed this kind of vote for `value`.
    ///
    /// # Errors
    /// What is wrong, naming the member.
    pub fn verify(&self, group: &Group, txid: Txid, kind: Kind, value: Digest) -> Result<(), String> {
        let (needed, got) = (group.quorum(), self.signatures.len());
        if got != needed {
            return Err(format!("{got} signatures, exactly {needed} are expected"));
        }
        if !self.signatures.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err("the members are not in ascending order".into());
        }
        let digest = vote_digest(&group.id(), txid, self.round, kind, Some(value));
        let stranger = |(member, signature): &&(u8, _)| !is_signed(group, *member, digest, signature);
        match self.signatures.iter().find(stranger) {
            Some((member, _)) => Err(format!("member {member} did not sign it")),
            None => Ok(()),
        }
    }
}

/// A value and a quorum's votes for it. With [`Kind::Precommit`] it is the decision.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Certificate {
    /// The value.
    #[n(0)]
    pub value: Value,
    /// Who voted for it, and when.
    #[n(1)]
    pub votes: Votes,
}

impl Certificate {
    /// Whether it is a valid value of `manifest`, and a quorum of `group` voted for it.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn verify(&self, group: &Group, manifest: &Manifest, kind: Kind) -> Result<(), String> {
        check_site(manifest, group)?;
        self.value.check(manifest)?;
        self.votes.verify(group, manifest.txid(), kind, self.value.id())
    }
}

pub(super) fn sign(key: &SigningKey, digest: Digest) -> ByteArray<64> {
    key.sign(digest.as_bytes()).to_bytes().into()
}

pub(super) fn is_signed(group: &Group, member: u8, digest: Digest, signature: &ByteArray<64>) -> bool {
    let key = group.members().get(usize::from(member));
    let key = key.and_then(|key| VerifyingKey::from_bytes(key.as_bytes()).ok());
    key.is_some_and(|key| key.verify_strict(digest.as_bytes(), &Ed25519::from_bytes(signature)).is_ok())
}
