//! What is sent: a request to decide, a proposer's proposal, and all that one member tells another of one transaction.

use ed25519_dalek::SigningKey;
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::message::{is_signed, sign};
use super::{Certificate, Group, Kind, MAX_MEMBERS, Value, Vote, Votes};
use crate::{Decision, Digest, Manifest, Signature, Txid, canonical};

/// A longer request is refused unread: 64 legs and 16 participants stay far below.
pub const MAX_ASK: usize = 64 * 1024;
/// A longer bundle is refused unread: a manifest, and five votes of each of 31 members with two proofs of lock.
pub const MAX_BUNDLE: usize = 128 * 1024;
/// A bundle with more votes is refused: of each member two of this round, two of a later one, and the precommit before.
pub const MAX_VOTES: usize = 5 * MAX_MEMBERS;

/// A decision that somebody asks the group for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Candidate {
    /// COMMIT with every preimage, or ABORT.
    #[n(0)]
    pub decision: Decision,
    /// As in [`Value`].
    #[n(1)]
    pub signatures: Vec<Signature>,
}

/// A request to the group.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Ask {
    /// The whole transaction: the txid follows from it.
    #[n(0)]
    pub manifest: Manifest,
    /// The decision.
    #[n(1)]
    pub candidate: Candidate,
}

/// A round's value, from the member whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Proposal {
    /// The round.
    #[n(0)]
    pub round: u32,
    /// What is proposed.
    #[n(1)]
    pub value: Value,
    /// A quorum's prevotes for it in an earlier round, if it comes from there.
    #[n(2)]
    pub lock: Option<Votes>,
    /// Ed25519 by the proposer, over round, value and the lock's round.
    #[n(3)]
    pub signature: ByteArray<64>,
}

/// What one member knows of a transaction, as far as it may help another. It is not signed: each part is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Bundle {
    /// The whole transaction.
    #[n(0)]
    pub manifest: Manifest,
    /// Of the sender's round.
    #[n(1)]
    pub proposal: Option<Proposal>,
    /// Of the sender's round, and the precommits of the one before.
    #[n(2)]
    pub votes: Vec<Vote>,
    /// The newest value that a quorum prevoted.
    #[n(3)]
    pub lock: Option<Certificate>,
    /// The decision. With it nothing else is said.
    #[n(4)]
    pub decided: Option<Certificate>,
}

fn proposal_digest(group: &Digest, txid: Txid, round: u32, value: Digest, lock: Option<u32>) -> Digest {
    let said = canonical::encode(&(round, value, lock));
    Digest::of("sofie.quorum.proposal.v1", &[group.as_bytes(), txid.0.as_bytes(), &said])
}

impl Proposal {
    /// Proposes, as the member whose key this is.
    #[must_use]
    pub fn sign(
        group: &Digest,
        txid: Txid,
        round: u32,
        (value, lock): (Value, Option<Votes>),
        key: &SigningKey,
    ) -> Self {
        let from = lock.as_ref().map(|votes| votes.round);
        let signature = sign(key, proposal_digest(group, txid, round, value.id(), from));
        Self { round, value, lock, signature }
    }

    /// Whether the round's proposer signed it, and a quorum its proof of lock.
    ///
    /// # Errors
    /// What is wrong, naming the member.
    pub fn verify(&self, group: &Group, txid: Txid) -> Result<(), String> {
        let (id, round) = (self.value.id(), self.round);
        let proposer = group.proposer(txid, round);
        let from = self.lock.as_ref().map(|votes| votes.round);
        let digest = proposal_digest(&group.id(), txid, round, id, from);
        if !is_signed(group, proposer, digest, &self.signature) {
            return Err(format!("the proposal of round {round} is not signed by member {proposer}"));
        }
        match &self.lock {
            Some(votes) if votes.round >= round => Err(format!(
                "member {proposer} proposes in round {round} what was locked in round {}",
                votes.round
            )),
            Some(votes) => votes.verify(group, txid, Kind::Prevote, id),
            None => Ok(()),
        }
    }
}
