//! What was agreed: who may have what done on whose thing, for how much, and what proves that it was done.

use minicbor::{Decode, Encode};
use sofie_model::manifest::{Dispute, EscrowTerms};
use sofie_model::{Account, Digest, LegId, Manifest, Salt, Terms, ThingId, Timestamp, Txid, Value};
use sofie_model::{canonical, commitment};

use crate::{EvidenceRule, Witnesses};

/// The agreement's terms. Its salted commitment is the payload of the transaction's record leg.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Agreement {
    /// The thing that acts.
    #[n(0)]
    pub thing: ThingId,
    /// The action's name in the Thing Description.
    #[n(1)]
    pub action: String,
    /// The action's input: JSON text, or empty.
    #[n(2)]
    pub input: String,
    /// Who pays.
    #[n(3)]
    pub renter: Account,
    /// Who owns the thing and is paid.
    #[n(4)]
    pub owner: Account,
    /// In the smallest unit of the escrow's ledger.
    #[n(5)]
    pub price: u128,
    /// From when the capability is good.
    #[n(6)]
    pub not_before: Timestamp,
    /// Until when.
    #[n(7)]
    pub not_after: Timestamp,
    /// What proves the act.
    #[n(8)]
    pub evidence: EvidenceRule,
    /// That sensor and others, of which so many must attest; none named: that sensor alone.
    #[n(9)]
    pub witnesses: Option<Witnesses>,
    /// What the owner stakes for the act, if anything.
    #[n(10)]
    pub penalty: Option<Penalty>,
    /// Who may overrule the evidence, and for how long, if anybody.
    #[n(11)]
    pub dispute: Option<Dispute>,
}

/// A stake of the owner: the renter's if the sensors say, once it was due, that what was agreed is not so. It is due at the
/// price's last instant of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Penalty {
    /// In the smallest unit of the escrow's ledger.
    #[n(0)]
    pub amount: u128,
    /// The last instant at which a sensor may show it.
    #[n(1)]
    pub until: Timestamp,
}

/// Why an observation does not fulfil a contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Another thing or property.
    #[error("it is of {got}, the agreement names {expected}")]
    Other {
        /// `thing property` of the observation.
        got: String,
        /// `thing property` of the agreement.
        expected: String,
    },
    /// The platform kept it from an earlier time.
    #[error("it is a retained message: it may be of an earlier time")]
    Retained,
    /// The value is not the agreed one.
    #[error("the value is {got}, {expected} is agreed")]
    Value {
        /// What was observed.
        got: Value,
        /// What fulfils.
        expected: Value,
    },
    /// For a penalty: it is as agreed.
    #[error("the value is {value}, as agreed")]
    Fulfils {
        /// What was observed.
        value: Value,
    },
    /// Before the actuation; for a penalty, before the act was due.
    #[error("it was observed before the device was told, or before it was due")]
    TooEarly,
    /// After T_E.
    #[error("it was observed after the evidence deadline")]
    TooLate,
}

impl Agreement {
    /// The commitment that the record leg carries.
    #[must_use]
    pub fn commitment(&self, salt: &Salt) -> Digest {
        commitment::commit(salt, &canonical::encode(self))
    }

    /// The thing that acts, and those that see it, each once.
    #[must_use]
    pub fn things(&self) -> Vec<&ThingId> {
        let mut things = vec![&self.thing];
        for rule in self.rules() {
            if !things.contains(&&rule.thing) {
                things.push(&rule.thing);
            }
        }
        things
    }

    /// What each sensor must see.
    pub fn rules(&self) -> impl Iterator<Item = &EvidenceRule> {
        let others = self.witnesses.iter().flat_map(|all| &all.others);
        [&self.evidence].into_iter().chain(others.map(|witness| &witness.rule))
    }
}

impl Agreement {
    /// Whether `bond` is the stake that is agreed on, beside the price of `terms`. A stake whose evidence could be overruled is
    /// none: see [`Unmet::Both`](crate::Unmet::Both).
    pub(crate) fn stakes(&self, terms: &EscrowTerms, bond: Option<&EscrowTerms>) -> bool {
        let Some(penalty) = self.penalty else { return bond.is_none() };
        if self.dispute.is_some() {
            return false;
        }
        bond.is_some_and(|bond| {
            let (payer, payee) = (self.owner, self.renter);
            let due = terms.evidence_deadline;
            let agreed = EscrowTerms {
                payer,
                payee,
                amount: penalty.amount,
                evidence_deadline: penalty.until,
                ..terms.clone()
            };
            *bond == agreed && penalty.until > due
        })
    }
}

/// The transaction's escrow legs: the price's, then that of the owner's stake.
pub(crate) fn escrows(manifest: &Manifest) -> impl Iterator<Item = (LegId, &EscrowTerms)> {
    manifest.legs().filter_map(|(id, leg)| match &leg.terms {
        Terms::Escrow(terms) => Some((id, terms)),
        Terms::Hashlock(_) | Terms::Record(_) | Terms::Transfer(_) => None,
    })
}

/// Where the calendar's note about a transaction's evidence stands.
pub(crate) fn attestation_topic(txid: Txid) -> Digest {
    Digest::of("sofie.topic.attestation.v1", &[txid.0.as_bytes()])
}
