//! Proof by a quorum's certificate: more than two thirds of a named group signed one decision (`crate::quorum`).
//!
//! The manifest names the group by the hash of its keys, so the proof brings the keys and nothing else is asked for. That
//! no other certificate exists rests on at most f of the members being traitors: the label says *quorum*. Two
//! certificates of one transaction for different decisions convict more than f of them, by their own signatures.

use minicbor::{Decode, Encode};

use super::{Anchor, BadProof, Proven};
use crate::quorum::{Certificate, Group, Kind};
use crate::{Evidence, Fact, LedgerId, Manifest, Position};

/// A group and its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct QuorumProof {
    /// Who may sign.
    #[n(0)]
    pub group: Group,
    /// What was decided, and the precommits of a quorum.
    #[n(1)]
    pub certificate: Certificate,
}

impl QuorumProof {
    pub(super) fn verify(&self, ledger: &LedgerId, manifest: &Manifest) -> Result<Proven, BadProof> {
        let refuse = |part: &str, why: String| BadProof { ledger: ledger.clone(), part: part.into(), why };
        let site = &manifest.decision.ledger;
        if site != ledger {
            return Err(refuse("certificate", format!("the decision stands on {site}, not on {ledger}")));
        }
        let verified = self.certificate.verify(&self.group, manifest, Kind::Precommit);
        verified.map_err(|why| refuse("certificate", why))?;
        let anchor = Anchor::Quorum { ledger: ledger.clone(), group: self.group.id() };
        Ok(Proven { anchor, evidence: vec![evidence(ledger, manifest, &self.certificate)] })
    }

    /// Who is to blame when this certificate and another one of the same transaction, both verified, decide otherwise: two
    /// quorums share more than f members, and if no more than f lied the second could not be.
    pub(crate) fn convicts(&self, other: &Self) -> String {
        let signers = |proof: &Self| -> Vec<u8> {
            proof.certificate.votes.signatures.iter().map(|(member, _)| *member).collect()
        };
        let (members, others) = (self.group.members(), signers(other));
        let both = signers(self).into_iter().filter(|member| others.contains(member));
        let keys: Vec<_> = both.map(|member| members[usize::from(member)].to_string()).collect();
        let (all, faulty) = (members.len(), self.group.faulty());
        format!("; more than {faulty} of its {all} members lie, these signed both: {}", keys.join(", "))
    }
}

/// What a certificate says as a ledger's evidence. It is the same for every certificate of one value, whoever of the
/// members signed it and in which round. A group has no blocks: its height is its clock, in seconds.
#[must_use]
pub fn evidence(ledger: &LedgerId, manifest: &Manifest, certificate: &Certificate) -> Evidence {
    let value = &certificate.value;
    Evidence {
        ledger: ledger.clone(),
        fact: Fact::Decided(manifest.txid(), value.decision.clone()),
        position: Position { height: value.at.as_seconds(), index: 0, reference: value.id() },
        at: value.at,
    }
}

#[cfg(test)]
mod tests;
