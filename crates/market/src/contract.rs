//! One contract's state and its transitions, from the committed transaction to the settled or refunded escrow.

use sofie_model::attestation::Panel;
use sofie_model::manifest::EscrowTerms;
use sofie_model::{
    Attestation, Digest, Evidence, Fact, LegId, Manifest, Observation, Salt, SignedAttestation, Span,
    Timestamp, Txid, canonical, ruling::SignedRuling,
};

use crate::agreement::{attestation_topic, escrows};
use crate::{Agreement, Effect, Input, Part, Report, Witnesses};
use words::Heard;

mod bond;
mod dispute;
mod parts;
mod words;

pub use bond::{Bond, BondPhase, WORD_PATIENCE};
pub use parts::COURTESY;

/// Where the contract is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The inter-ledger transaction runs.
    Recording,
    /// It committed; its legs are being applied.
    Committed,
    /// The escrow is armed; the capability is made.
    Issuing,
    /// The device is to be told.
    Ready {
        /// The capability.
        token: Vec<u8>,
    },
    /// The device may have been told; no answer yet.
    Acting,
    /// The escrow is armed; the owner's node, which is another, is to tell its device.
    Awaiting,
    /// Evidence is awaited, or more of it: the device answered, or nobody knows what it did, or a sensor was faster.
    Watching,
    /// The evidence is being recorded.
    Noting {
        /// The owner's word.
        attestation: SignedAttestation,
        /// The payment waits for the record no longer than this.
        until: Timestamp,
    },
    /// The evidence is presented to the escrow, whose arbiter may overrule it.
    Presenting {
        /// The owner's word.
        attestation: SignedAttestation,
    },
    /// It was presented: it pays once the dispute window is over, unless the arbiter overrules it.
    Disputable {
        /// What was presented, once it is known here.
        attestation: Option<SignedAttestation>,
    },
    /// The arbiter's ruling is brought to the escrow.
    Overruling {
        /// What the arbiter signed.
        ruling: SignedRuling,
        /// What it overrules, if it is known here.
        attestation: Option<SignedAttestation>,
    },
    /// The escrow is asked to pay the payee.
    Settling {
        /// The owner's word.
        attestation: SignedAttestation,
    },
    /// No evidence will come, or none that the escrow takes; a refund is possible after the submission window.
    Waiting {
        /// Why.
        reason: String,
    },
    /// The escrow is asked to pay the payer back.
    Refunding {
        /// Why.
        reason: String,
    },
    /// The payee has the money.
    Settled,
    /// The arbiter overruled the evidence: the payer has the money back.
    Overruled,
    /// The payer has the money back.
    Refunded {
        /// Why.
        reason: String,
    },
    /// Nothing was moved.
    Aborted {
        /// Why.
        reason: String,
    },
    /// Neither pays: an operator must look.
    Stuck {
        /// Why.
        reason: String,
    },
}

/// An input that lies: it changes nothing and belongs into the audit log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("contract {txid} does not take this: {why}")]
pub struct Rejected {
    /// Whose input.
    pub txid: Txid,
    /// Why not.
    pub why: String,
}

/// One contract as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    txid: Txid,
    leg: LegId,
    terms: EscrowTerms,
    chain_id: u64,
    agreement: Agreement,
    phase: Phase,
    /// By D's clock: the escrow takes no observation from before it.
    decided_at: Option<Timestamp>,
    told_at: Option<Timestamp>,
    receipt: Option<Digest>,
    /// Set after a restart between telling the device and its answer.
    interrupted: bool,
    part: Part,
    /// What the owner's node has to tell, or has told, of the device.
    report: Report,
    /// The panel that the sensors' owners make, if there are several.
    panel: Option<Panel>,
    /// What is known of each sensor, in the agreement's order.
    heard: Vec<Heard>,
    /// The owner's stake, if one is agreed on.
    bond: Option<Bond>,
    /// The last second in which the presented evidence may be overruled.
    disputable_until: Option<Timestamp>,
}

/// A second more than the contract's clock needs, because it counts whole seconds.
const ONE_SECOND: Span = Span::from_seconds(1);

impl Contract {
    /// A contract whose transaction begins; `None` when the manifest has no escrow leg, or the agreement's sensors are not
    /// those that it believes, its arbiter not the one who may overrule, or its penalty not what a second one holds.
    #[must_use]
    pub fn begin(agreement: Agreement, manifest: &Manifest) -> Option<Self> {
        let mut escrows = escrows(manifest);
        let ((leg, terms), bond) = (escrows.next()?, escrows.next());
        if agreement.dispute != terms.dispute || !agreement.stakes(terms, bond.map(|(_, terms)| terms)) {
            return None;
        }
        let panel = agreement.witnesses.as_ref().map(Witnesses::panel).transpose().ok()?;
        if panel.as_ref().is_some_and(|panel| panel.account() != terms.evidence_key) {
            return None;
        }
        let heard: Vec<_> = agreement.rules().map(|_| Heard::default()).collect();
        let bond = bond.map(|(leg, terms)| Bond::new(leg, terms.clone(), heard.len()));
        Some(Self {
            txid: manifest.txid(),
            leg,
            terms: terms.clone(),
            chain_id: manifest.decision.chain_id,
            agreement,
            phase: Phase::Recording,
            decided_at: None,
            told_at: None,
            receipt: None,
            interrupted: false,
            part: Part::Both,
            report: Report::default(),
            panel,
            heard,
            bond,
            disputable_until: None,
        })
    }

    /// The same, on a node that acts for one side alone.
    #[must_use]
    pub fn as_part(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// The contract's name: its transaction's.
    #[must_use]
    pub const fn txid(&self) -> Txid {
        self.txid
    }

    /// What was agreed.
    #[must_use]
    pub const fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// The escrow leg and its terms.
    #[must_use]
    pub const fn escrow(&self) -> (LegId, &EscrowTerms) {
        (self.leg, &self.terms)
    }

    /// Where it is.
    #[must_use]
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether nothing will ever happen to it any more: the money is where it belongs, and the receipt is kept.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.closed() && self.receipt.is_some()
    }

    /// Whether the money is where it belongs, the owner's stake included.
    fn closed(&self) -> bool {
        let aborted = matches!(self.phase, Phase::Aborted { .. });
        self.paid() && (aborted || self.bond.as_ref().is_none_or(Bond::closed))
    }

    /// Whether the price is where it belongs.
    const fn paid(&self) -> bool {
        matches!(
            self.phase,
            Phase::Settled | Phase::Overruled | Phase::Refunded { .. } | Phase::Aborted { .. }
        )
    }

    /// The digest of the receipt, once it is kept.
    #[must_use]
    pub const fn receipt(&self) -> Option<Digest> {
        self.receipt
    }

    /// From when the device may be told: what is observed before D's decision, by D's clock, does not count.
    #[must_use]
    pub fn tell_from(&self) -> Timestamp {
        self.decided_at.unwrap_or(self.agreement.not_before).max(self.agreement.not_before)
    }

    /// Until when the device may be told: what it does later could not be proven in time, so that the renter would have
    /// both the act and the money.
    #[must_use]
    pub fn tell_until(&self) -> Timestamp {
        self.terms.evidence_deadline.min(self.agreement.not_after)
    }

    /// Whether an attestation is about this escrow; whose word it is, is another question.
    #[must_use]
    pub fn is_named_by(&self, said: &Attestation) -> bool {
        (said.chain_id, said.contract, said.txid, said.leg)
            == (self.chain_id, self.terms.contract, self.txid, self.leg)
    }

    /// When the device was about to be told.
    #[must_use]
    pub const fn told_at(&self) -> Option<Timestamp> {
        self.told_at
    }

    /// The signed word that the sensor's owner is asked for.
    #[must_use]
    pub fn attestation(&self, observation: &Observation, salt: &Salt) -> Attestation {
        Attestation {
            chain_id: self.chain_id,
            contract: self.terms.contract,
            txid: self.txid,
            leg: self.leg,
            observation: observation.digest(salt),
            fulfilled: true,
            observed_at: Timestamp::from_seconds(observation.observed_at.as_seconds()),
        }
    }

    /// From when a refund is possible: the first whole second after T_E and the submission window.
    #[must_use]
    pub fn refund_at(&self) -> Timestamp {
        self.terms.evidence_deadline + self.terms.submission_window + ONE_SECOND
    }

    /// To be called once after a replay: what was asked of the device before the restart has an unknown fate.
    #[must_use]
    pub fn after_restart(mut self) -> Self {
        self.interrupted = self.phase == Phase::Acting;
        self
    }

    /// Takes one input that came at `now`.
    ///
    /// # Errors
    /// [`Rejected`] for evidence that is not what it claims to be.
    pub fn next(mut self, input: &Input, now: Timestamp) -> Result<Self, Rejected> {
        if self.about_bond(input, now)? {
            return Ok(self);
        }
        self.phase = match (self.phase.clone(), input) {
            (Phase::Recording, Input::Committed(at)) => {
                self.decided_at = Some(*at);
                Phase::Committed
            }
            (Phase::Recording, Input::Aborted(reason)) => Phase::Aborted { reason: reason.clone() },
            (Phase::Committed, Input::Armed) if self.part == Part::Payer => self.as_reported(now),
            (Phase::Committed, Input::Armed) => Phase::Issuing,
            (Phase::Issuing, Input::Issued(token)) => Phase::Ready { token: token.clone() },
            (Phase::Ready { .. }, Input::Acting) => {
                self.may_tell(now)?;
                self.told_at = Some(now);
                Phase::Acting
            }
            (phase, Input::Acted(what) | Input::Denied(what) | Input::FateUnknown(what)) => {
                self.answered(phase, input, what)
            }
            (phase, Input::Reported(report)) => self.reported(phase, report, now)?,
            (phase @ (Phase::Acting | Phase::Watching), Input::Observed(observation, salt)) => {
                self.observed(phase, observation, *salt)
            }
            (phase, Input::Attested(attestation)) => self.attested(phase, attestation, now)?,
            (phase, Input::Brought(seen)) => self.brought(phase, seen, now)?,
            (Phase::Noting { attestation, .. }, Input::Noted(_) | Input::NoteRefused(_)) => {
                self.to_escrow(attestation)
            }
            (Phase::Presenting { .. } | Phase::Settling { .. }, Input::SettleRefused(reason)) => {
                self.refused(reason)
            }
            (phase, Input::Presented(evidence)) => self.presented(phase, evidence)?,
            (phase, Input::Ruled(ruling)) => self.ruled(phase, ruling)?,
            (Phase::Overruling { attestation, .. }, Input::OverruleRefused(_)) => {
                Phase::Disputable { attestation }
            }
            (_, Input::Overruled(evidence)) if !self.paid() => {
                self.check(evidence, &Fact::Overruled(self.txid, self.leg))?;
                Phase::Overruled
            }
            // Whoever brought it: what the escrow says stands.
            (_, Input::Settled(evidence)) if !self.paid() => {
                self.check(evidence, &Fact::Settled(self.txid, self.leg))?;
                Phase::Settled
            }
            (phase, Input::Refunded(evidence)) if !self.paid() => {
                self.check(evidence, &Fact::Refunded(self.txid, self.leg))?;
                let reason = self.reason(&phase);
                Phase::Refunded { reason }
            }
            (Phase::Refunding { reason }, Input::RefundRefused(why)) => {
                Phase::Stuck { reason: format!("{reason}; the escrow refuses the refund: {why}") }
            }
            (phase, Input::Receipted(digest)) if self.closed() => {
                self.receipt = Some(*digest);
                phase
            }
            (phase, Input::Woken) => self.woken(phase, now),
            (phase, _) => phase,
        };
        Ok(self)
    }

    /// What is outstanding.
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        let mut wanted = self.price_effects();
        for effect in self.bond_effects() {
            if !wanted.contains(&effect) {
                wanted.push(effect);
            }
        }
        wanted
    }

    fn price_effects(&self) -> Vec<Effect> {
        let wake = Effect::Wake(self.wake_at());
        match &self.phase {
            phase if self.part == Part::Payer && looks(phase) => vec![Effect::Look, wake],
            Phase::Noting { until, .. } if self.part == Part::Payer => {
                vec![Effect::Look, Effect::Wake(*until)]
            }
            phase if self.part == Part::Owner && looks(phase) => {
                [Effect::Look, wake].into_iter().chain(self.device()).collect()
            }
            Phase::Recording => vec![Effect::Follow],
            Phase::Committed => vec![Effect::Arm],
            Phase::Issuing | Phase::Ready { .. } | Phase::Acting | Phase::Watching => {
                self.device().into_iter().chain([wake]).collect()
            }
            Phase::Noting { attestation, until } => {
                let commitment = Digest::of("sofie.attestation.v1", &[&canonical::encode(attestation)]);
                vec![Effect::Note { topic: attestation_topic(self.txid), commitment }, Effect::Wake(*until)]
            }
            Phase::Presenting { .. } | Phase::Disputable { .. } | Phase::Overruling { .. } => {
                self.while_disputed()
            }
            Phase::Settling { attestation } => {
                vec![Effect::Settle { leg: self.leg, attestation: attestation.clone() }]
            }
            Phase::Awaiting | Phase::Waiting { .. } => vec![wake],
            Phase::Refunding { .. } => vec![Effect::Refund { leg: self.leg }],
            Phase::Settled | Phase::Overruled | Phase::Refunded { .. } | Phase::Aborted { .. }
                if self.receipt.is_some() || !self.closed() =>
            {
                Vec::new()
            }
            Phase::Settled | Phase::Overruled | Phase::Refunded { .. } | Phase::Aborted { .. } => {
                vec![self.asks_why_until().map_or(Effect::Receipt, Effect::Wake)]
            }
            Phase::Stuck { reason } => vec![Effect::Alarm(reason.clone())],
        }
    }

    fn may_tell(&self, now: Timestamp) -> Result<(), Rejected> {
        if now < self.tell_from() {
            return Err(self.rejected("the device is not told before the decision, by D's clock".into()));
        }
        if now > self.tell_until() {
            return Err(self.rejected("it is too late to tell the device: no evidence would count".into()));
        }
        Ok(())
    }

    /// Attestations count whole seconds, rounded down.
    fn check_time(&self, signed: &SignedAttestation) -> Result<(), Rejected> {
        let told = self.told_at.map_or(0, Timestamp::as_seconds);
        if signed.attestation.observed_at.as_seconds() < told {
            return Err(self.rejected("it attests what was observed before the device was told".into()));
        }
        if signed.last_observed_at() > self.terms.evidence_deadline {
            return Err(self.rejected("it attests what was observed after the evidence deadline".into()));
        }
        Ok(())
    }

    /// Half of the time in which the escrow takes the evidence is the record ledger's; the rest is for the payment.
    fn note_until(&self, now: Timestamp) -> Timestamp {
        now + Span::from_millis(self.terms.last_evidence().since(now).as_millis() / 2)
    }

    fn woken(&self, phase: Phase, now: Timestamp) -> Phase {
        match phase {
            // The payee's money does not depend on a ledger that only records.
            Phase::Noting { attestation, until } if now >= until => self.to_escrow(attestation),
            Phase::Disputable { attestation: Some(attestation) } if self.is_undisputed(now) => {
                Phase::Settling { attestation }
            }
            phase if now < self.wake_at() => phase,
            Phase::Waiting { reason } => Phase::Refunding { reason },
            Phase::Issuing | Phase::Ready { .. } | Phase::Acting | Phase::Awaiting | Phase::Watching => {
                Phase::Refunding { reason: "no evidence came before the deadline".into() }
            }
            other => other,
        }
    }

    fn waiting(&self, reason: &str) -> Phase {
        Phase::Waiting { reason: reason.to_owned() }
    }

    fn reason(&self, phase: &Phase) -> String {
        match phase {
            Phase::Waiting { reason } | Phase::Refunding { reason } | Phase::Refunded { reason } => {
                reason.clone()
            }
            _ => "another party had the escrow pay back".into(),
        }
    }

    /// The device's part: it is told by a capability, watched, looked at; what it did is attested.
    fn device(&self) -> Vec<Effect> {
        match &self.phase {
            Phase::Issuing => vec![Effect::Issue],
            Phase::Ready { token } => vec![Effect::Act { token: token.clone() }],
            Phase::Acting if self.interrupted => self.sensors().chain([Effect::Inspect]).collect(),
            Phase::Acting | Phase::Watching => self.sensors().collect(),
            _ => Vec::new(),
        }
    }

    fn check(&self, evidence: &Evidence, expected: &Fact) -> Result<(), Rejected> {
        if evidence.fact == *expected {
            Ok(())
        } else {
            Err(self.rejected(format!("{:?} is not {expected:?}", evidence.fact)))
        }
    }

    fn rejected(&self, why: String) -> Rejected {
        Rejected { txid: self.txid, why }
    }
}

/// While it waits, a node that acts for one side looks whether the other has closed the escrow.
const fn looks(phase: &Phase) -> bool {
    match phase {
        Phase::Awaiting | Phase::Issuing | Phase::Ready { .. } | Phase::Acting | Phase::Watching => true,
        Phase::Waiting { .. } => true,
        Phase::Recording | Phase::Committed | Phase::Noting { .. } | Phase::Settling { .. } => false,
        Phase::Presenting { .. } | Phase::Disputable { .. } | Phase::Overruling { .. } => false,
        Phase::Refunding { .. } | Phase::Settled | Phase::Overruled | Phase::Refunded { .. } => false,
        Phase::Aborted { .. } | Phase::Stuck { .. } => false,
    }
}
