//! An escrow whose evidence an arbiter may overrule: presented, disputable until a second, then paid, or overruled (ADR 0034).

use sofie_model::manifest::Dispute;
use sofie_model::ruling::{Ruling, SignedRuling};
use sofie_model::{Evidence, Fact, SignedAttestation, Timestamp};

use super::{COURTESY, Contract, ONE_SECOND, Phase, Rejected};
use crate::{Effect, Part};

impl Contract {
    /// Who may overrule the evidence, and for how long, if anybody.
    #[must_use]
    pub const fn dispute(&self) -> Option<Dispute> {
        self.terms.dispute
    }

    /// The last second, by the ledger's clock, in which a ruling counts; `None`: nothing was presented.
    #[must_use]
    pub const fn disputable_until(&self) -> Option<Timestamp> {
        self.disputable_until
    }

    /// What the arbiter would sign, while the evidence can be overruled and is known here.
    #[must_use]
    pub fn ruling(&self) -> Option<Ruling> {
        match &self.phase {
            Phase::Disputable { attestation: Some(said) } => Some(Ruling::on(&said.attestation)),
            _ => None,
        }
    }

    /// From when this node has the escrow pay what stood undisputed: the payer's leaves it to the payee's for a while.
    #[must_use]
    pub fn pays_from(&self) -> Option<Timestamp> {
        let after = self.disputable_until? + ONE_SECOND;
        Some(if self.part == Part::Payer { after + COURTESY } else { after })
    }

    pub(super) fn is_undisputed(&self, now: Timestamp) -> bool {
        self.pays_from().is_some_and(|from| now >= from)
    }

    /// An attestation goes to the escrow: it settles at once, or is presented first.
    pub(super) fn to_escrow(&self, attestation: SignedAttestation) -> Phase {
        match self.terms.dispute {
            Some(_) => Phase::Presenting { attestation },
            None => Phase::Settling { attestation },
        }
    }

    /// What is outstanding while evidence is presented, or may be overruled. Whoever pays or rules is looked for.
    pub(super) fn while_disputed(&self) -> Vec<Effect> {
        let leg = self.leg;
        match &self.phase {
            Phase::Presenting { attestation } => {
                vec![Effect::Present { leg, attestation: attestation.clone() }]
            }
            Phase::Overruling { ruling, .. } => vec![Effect::Overrule { leg, ruling: ruling.clone() }],
            Phase::Disputable { attestation } => {
                let pays = self.pays_from().filter(|_| attestation.is_some());
                [Effect::Look].into_iter().chain(pays.map(Effect::Wake)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The escrow holds the evidence, whoever brought it: from now on it never pays back by time.
    pub(super) fn presented(&mut self, phase: Phase, evidence: &Evidence) -> Result<Phase, Rejected> {
        self.check(evidence, &Fact::Presented(self.txid, self.leg))?;
        let dispute = self.terms.dispute.ok_or_else(|| self.rejected("no arbiter is agreed on".into()))?;
        if self.paid() || self.disputable_until.is_some() || phase == Phase::Recording {
            return Ok(phase);
        }
        self.disputable_until = Some(evidence.at + dispute.window);
        let attestation = match phase {
            Phase::Presenting { attestation } => Some(attestation),
            _ => self.testimony(),
        };
        Ok(Phase::Disputable { attestation })
    }

    /// The arbiter's word counts by its signature, and only about what was presented.
    pub(super) fn ruled(&self, phase: Phase, signed: &SignedRuling) -> Result<Phase, Rejected> {
        signed.speaks_for(&self.terms).map_err(|no| self.rejected(no.to_string()))?;
        let ruling = &signed.ruling;
        let place = (ruling.chain_id, ruling.contract, ruling.txid, ruling.leg);
        if place != (self.chain_id, self.terms.contract, self.txid, self.leg) {
            return Err(self.rejected("the ruling is about another escrow".into()));
        }
        match phase {
            Phase::Disputable { attestation } => {
                let about = attestation.as_ref().map(|said| Ruling::on(&said.attestation));
                if about.is_some_and(|about| about != *ruling) {
                    return Err(self.rejected("the ruling is about another observation".into()));
                }
                Ok(Phase::Overruling { ruling: signed.clone(), attestation })
            }
            // The same word may come by two ways.
            taken @ (Phase::Overruling { .. } | Phase::Overruled) => Ok(taken),
            Phase::Settling { .. } | Phase::Settled => {
                Err(self.rejected("the dispute window is over: the evidence stands".into()))
            }
            _ => Err(self.rejected("no evidence has been presented that could be overruled".into())),
        }
    }

    /// The escrow takes neither the evidence nor, once that is presented, the wish for the payment. It does not pay back by
    /// time then; the payer's node leaves it to the payee's.
    pub(super) fn refused(&self, reason: &str) -> Phase {
        match (self.disputable_until, self.part) {
            (None, _) => self.waiting(reason),
            (Some(_), Part::Payer) => Phase::Disputable { attestation: None },
            (Some(_), Part::Both | Part::Owner) => {
                Phase::Stuck { reason: format!("what was presented is not paid: {reason}") }
            }
        }
    }
}
