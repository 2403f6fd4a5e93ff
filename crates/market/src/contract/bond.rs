//! The owner's stake, a second escrow: it pays the renter when the agreed state was not seen until it was due. Silence moves
//! nothing: without the sensors' word it goes back to the owner by time, as the price goes back to the renter.

use sofie_model::manifest::EscrowTerms;
use sofie_model::{
    Attestation, Evidence, Fact, LegId, Observation, Salt, SignedAttestation, Span, Timestamp,
};

use super::words::Heard;
use super::{COURTESY, Contract, ONE_SECOND, Phase, Rejected};
use crate::witness::together;
use crate::{Effect, Input, Part, Seen, Voice};

/// So long a node that sees the stake paid, and has not heard why, goes on asking before it ends without knowing.
pub const WORD_PATIENCE: Span = Span::from_seconds(600);

/// Where the stake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BondPhase {
    /// It is locked, or about to be.
    Held,
    /// The escrow is asked to pay the renter.
    Claiming {
        /// The sensors' word that it was not so.
        attestation: SignedAttestation,
    },
    /// The escrow does not take the word; the owner has it back by time.
    Refused {
        /// Why.
        reason: String,
    },
    /// The escrow is asked to pay the owner back.
    Returning,
    /// The renter has it.
    Paid,
    /// The owner has it back.
    Returned,
    /// Neither: an operator must look.
    Stuck {
        /// Why.
        reason: String,
    },
}

/// The stake of one contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bond {
    leg: LegId,
    terms: EscrowTerms,
    phase: BondPhase,
    /// What the sensors say of it, in the agreement's order.
    pub(super) heard: Vec<Heard>,
    /// It was paid on a word that was not known here then, which is asked for until this instant.
    ask_until: Option<Timestamp>,
}

impl Bond {
    pub(super) fn new(leg: LegId, terms: EscrowTerms, sensors: usize) -> Self {
        Self { leg, terms, phase: BondPhase::Held, heard: vec![Heard::default(); sensors], ask_until: None }
    }

    /// Where it is.
    #[must_use]
    pub const fn phase(&self) -> &BondPhase {
        &self.phase
    }

    /// Its escrow leg and the terms.
    #[must_use]
    pub const fn escrow(&self) -> (LegId, &EscrowTerms) {
        (self.leg, &self.terms)
    }

    /// From when the owner can have it back.
    #[must_use]
    pub fn refund_at(&self) -> Timestamp {
        self.terms.evidence_deadline + self.terms.submission_window + ONE_SECOND
    }

    /// Whether it is where it belongs.
    pub(super) const fn closed(&self) -> bool {
        matches!(self.phase, BondPhase::Paid | BondPhase::Returned)
    }

    const fn claimed(&self) -> bool {
        matches!(self.phase, BondPhase::Claiming { .. } | BondPhase::Refused { .. } | BondPhase::Paid)
    }
}

impl Contract {
    /// The owner's stake, if one is agreed on.
    #[must_use]
    pub const fn bond(&self) -> Option<&Bond> {
        self.bond.as_ref()
    }

    /// Whether enough readings are known to show what a penalty rests on.
    #[must_use]
    pub fn penalised(&self) -> bool {
        self.bond.is_some() && self.missed().count() >= self.needed()
    }

    /// Until when the word is asked for on which the stake was paid; `None`: it is known, given up, or nobody can tell it.
    #[must_use]
    pub fn asks_why_until(&self) -> Option<Timestamp> {
        self.bond.as_ref().and_then(|bond| bond.ask_until).filter(|_| !self.penalised())
    }

    /// Whether nothing more can be learnt of what the sensors saw.
    #[must_use]
    pub fn informed(&self) -> bool {
        let returned = |bond: &Bond| bond.phase == BondPhase::Returned;
        self.penalised() || self.proven() && self.bond.as_ref().is_none_or(returned)
    }

    /// The escrows that have not paid yet.
    #[must_use]
    pub fn open_escrows(&self) -> Vec<LegId> {
        let price = (!self.paid()).then_some(self.leg);
        let bond = self.bond.as_ref().filter(|bond| !bond.closed()).map(|bond| bond.leg);
        price.into_iter().chain(bond).collect()
    }

    /// From when the escrow of a leg can pay back.
    #[must_use]
    pub fn refund_of(&self, leg: LegId) -> Timestamp {
        let bond = self.bond.as_ref().filter(|bond| bond.leg == leg);
        bond.map_or_else(|| self.refund_at(), Bond::refund_at)
    }

    /// Until when the agreed state must be seen: the price's last instant of evidence.
    #[must_use]
    pub const fn due(&self) -> Timestamp {
        self.terms.evidence_deadline
    }

    /// What was seen, and is attested, of its not being so.
    pub fn missed(&self) -> impl Iterator<Item = Seen> {
        self.bond.iter().flat_map(|bond| bond.heard.iter().filter_map(Heard::seen))
    }

    /// The word about the stake that a sensor's owner is asked for.
    #[must_use]
    pub fn missed_attestation(&self, observation: &Observation, salt: &Salt) -> Option<Attestation> {
        let leg = self.bond.as_ref()?.leg;
        Some(Attestation { leg, ..self.attestation(observation, salt) })
    }

    /// Whether an attestation is about the stake.
    #[must_use]
    pub fn is_of_bond(&self, said: &Attestation) -> bool {
        let leg = self.bond.as_ref().map(|bond| bond.leg);
        leg.is_some_and(|leg| self.is_named_by(&Attestation { leg: self.leg, ..*said }) && said.leg == leg)
    }

    /// Whether the renter claims the stake, so that the price is not paid any more.
    pub(super) fn claims(&self) -> bool {
        self.bond.as_ref().is_some_and(Bond::claimed)
    }

    /// Whether the sensors' word for the price is there, so that the stake is the owner's.
    pub(super) const fn earned(&self) -> bool {
        matches!(
            self.phase,
            Phase::Noting { .. } | Phase::Presenting { .. } | Phase::Settling { .. } | Phase::Settled
        )
    }

    /// The stake is locked from COMMIT on.
    pub(super) const fn staked(&self) -> bool {
        !matches!(self.phase, Phase::Recording | Phase::Committed | Phase::Aborted { .. })
    }

    /// When the escrow is asked to give the stake back.
    fn return_at(&self, bond: &Bond) -> Timestamp {
        match self.part {
            Part::Both | Part::Owner => bond.refund_at(),
            Part::Payer => bond.refund_at() + COURTESY,
        }
    }

    /// What is outstanding about the stake.
    pub(super) fn bond_effects(&self) -> Vec<Effect> {
        let Some(bond) = self.bond.as_ref().filter(|_| self.staked()) else { return Vec::new() };
        let leg = bond.leg;
        match &bond.phase {
            BondPhase::Held | BondPhase::Refused { .. } => {
                let mut wanted = if bond.phase == BondPhase::Held { self.notices(bond) } else { Vec::new() };
                wanted.push(Effect::Wake(self.return_at(bond)));
                if self.part != Part::Both {
                    wanted.push(Effect::Look);
                }
                wanted
            }
            BondPhase::Claiming { attestation } => {
                vec![Effect::Settle { leg, attestation: attestation.clone() }]
            }
            BondPhase::Returning => vec![Effect::Refund { leg }],
            BondPhase::Paid | BondPhase::Returned => Vec::new(),
            BondPhase::Stuck { reason } => vec![Effect::Alarm(reason.clone())],
        }
    }

    /// Each sensor that has not seen what was agreed is asked, once it is due, whether it is still not so.
    fn notices(&self, bond: &Bond) -> Vec<Effect> {
        if self.part == Part::Payer || self.earned() {
            return Vec::new();
        }
        let mut wanted = Vec::new();
        for (sensor, (heard, seen)) in bond.heard.iter().zip(&self.heard).enumerate() {
            match (heard.outstanding(), seen.voice()) {
                (Some(Some((observation, salt))), Voice::Silent | Voice::Contradicts) => {
                    let observation = observation.clone();
                    wanted.push(Effect::AttestMissed { sensor, observation, salt: *salt });
                }
                (Some(None), Voice::Silent | Voice::Contradicts) => wanted.push(Effect::Notice { sensor }),
                _ => {}
            }
        }
        wanted
    }

    /// Takes what is about the stake; `None`: it is about the price, or about both.
    pub(super) fn about_bond(&mut self, input: &Input, now: Timestamp) -> Result<bool, Rejected> {
        let Some(bond) = &self.bond else { return Ok(false) };
        let leg = bond.leg;
        match input {
            Input::Missed(observation, salt) => self.noticed(observation, *salt),
            Input::Attested(signed) if signed.attestation.leg == leg => self.missed_word(signed)?,
            Input::Brought(seen) if seen.attestation.attestation.leg == leg => {
                let sensor = self.check_missed(seen)?;
                self.missed_word(&seen.attestation)?;
                self.learn_missed(sensor, seen);
            }
            Input::Settled(evidence) if is_of(evidence, leg) => {
                self.bond_closed(evidence, BondPhase::Paid, now)?;
            }
            Input::Refunded(evidence) if is_of(evidence, leg) => {
                self.bond_closed(evidence, BondPhase::Returned, now)?;
            }
            Input::BondRefused(why) => self.bond_refused(why),
            Input::Woken => {
                self.bond_woken(now);
                return Ok(false);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_bond(&mut self, phase: BondPhase) {
        if let Some(bond) = &mut self.bond {
            bond.phase = phase;
        }
    }

    /// A sensor shows, once it is due, that it is not as agreed.
    fn noticed(&mut self, observation: &Observation, salt: Salt) {
        let due = self.due();
        let silent = self.heard.iter().map(Heard::voice).collect::<Vec<_>>();
        let Some(bond) = self.bond.as_mut().filter(|bond| bond.phase == BondPhase::Held) else { return };
        let until = bond.terms.evidence_deadline;
        let sensors = bond.heard.iter_mut().zip(self.agreement.rules()).zip(silent);
        let mut fits = sensors.filter(|((heard, rule), voice)| {
            matches!(voice, Voice::Silent | Voice::Contradicts)
                && heard.voice() == Voice::Silent
                && rule.missed_by(observation, due, until).is_ok()
        });
        if let Some(((heard, _), _)) = fits.next() {
            heard.sees(observation.clone(), salt);
        }
    }

    fn missed_word(&mut self, signed: &SignedAttestation) -> Result<(), Rejected> {
        if !self.is_of_bond(&signed.attestation) {
            return Err(self.rejected("the attestation is about another escrow".into()));
        }
        let speaker = self.speaker(signed).map_err(|no| self.rejected(no))?;
        let held = self.bond.as_ref().is_some_and(|bond| bond.phase == BondPhase::Held);
        if !held || !self.staked() {
            return if self.claims() {
                Ok(())
            } else {
                Err(self.rejected("no word about the penalty is awaited".into()))
            };
        }
        if self.earned() {
            return Err(self.rejected("it was seen as agreed: the penalty is not due".into()));
        }
        self.check_missed_time(signed)?;
        let words = signed.words();
        for word in &words {
            let Ok(Some(sensor)) = self.speaker(word) else { continue };
            if self.heard[sensor].voice() == Voice::Attests {
                let thing = self.agreement.rules().nth(sensor).map(|rule| rule.thing.to_string());
                let thing = thing.unwrap_or_default();
                return Err(self.rejected(format!("the owner of {thing} has attested that it was so")));
            }
        }
        if let Some(bond) = &mut self.bond {
            match speaker {
                Some(sensor) => bond.heard[sensor].says(signed),
                None if signed.attestation.fulfilled && self.part != Part::Owner => {
                    bond.phase = BondPhase::Claiming { attestation: signed.clone() };
                    return Ok(());
                }
                None => {}
            }
        }
        self.claim();
        Ok(())
    }

    /// Once enough have said it: the renter's side brings it to the escrow; the owner's alone tells it.
    pub(super) fn claim(&mut self) {
        let Some(bond) = self.bond.as_ref().filter(|bond| bond.phase == BondPhase::Held) else { return };
        if self.part == Part::Owner || self.earned() {
            return;
        }
        let said = bond.heard.iter().zip(&self.heard).filter(|(_, seen)| seen.voice() != Voice::Attests);
        let words: Vec<_> = said.filter_map(|(heard, _)| heard.fulfilled()).cloned().collect();
        if let Some(attestation) = together(self.panel.as_ref(), &words) {
            self.set_bond(BondPhase::Claiming { attestation });
        }
    }

    /// Which sensor's owner signed that it was not so, and that the reading says so.
    pub(super) fn check_missed(&self, seen: &Seen) -> Result<usize, Rejected> {
        let said = &seen.attestation.attestation;
        if !self.is_of_bond(said)
            || said.observation != seen.observation.digest(&seen.salt)
            || !said.fulfilled
        {
            return Err(self.rejected("the attestation is about something else".into()));
        }
        let speaker = self.speaker(&seen.attestation).map_err(|no| self.rejected(no))?;
        let signed_by_one = speaker.and_then(|sensor| Some((sensor, self.agreement.rules().nth(sensor)?)));
        let (sensor, rule) =
            signed_by_one.ok_or_else(|| self.rejected("it is not the word of one sensor's owner".into()))?;
        let until = self.bond.as_ref().map_or_else(Timestamp::default, |bond| bond.terms.evidence_deadline);
        rule.missed_by(&seen.observation, self.due(), until)
            .map_err(|unfit| self.rejected(format!("it does not show a penalty: {unfit}")))?;
        self.check_missed_time(&seen.attestation)?;
        self.check_same_time(seen)?;
        Ok(sensor)
    }

    pub(super) fn learn_missed(&mut self, sensor: usize, seen: &Seen) {
        if let Some(bond) = &mut self.bond {
            bond.heard[sensor].takes(seen);
        }
    }

    fn check_missed_time(&self, signed: &SignedAttestation) -> Result<(), Rejected> {
        let until = self.bond.as_ref().map_or_else(Timestamp::default, |bond| bond.terms.evidence_deadline);
        if signed.attestation.observed_at.as_seconds() < self.due().as_seconds() {
            return Err(self.rejected("it attests what was observed before it was due".into()));
        }
        if signed.last_observed_at() > until {
            return Err(self.rejected("it attests what was observed after the penalty's deadline".into()));
        }
        Ok(())
    }

    /// Whoever brought it: what the escrow says stands. It may be seen paid before the word has come; a contract of one node
    /// has no other to ask.
    fn bond_closed(&mut self, evidence: &Evidence, phase: BondPhase, now: Timestamp) -> Result<(), Rejected> {
        let Some(bond) = self.bond.as_ref().filter(|bond| !bond.closed()) else { return Ok(()) };
        let expected = match phase {
            BondPhase::Paid => Fact::Settled(self.txid, bond.leg),
            _ => Fact::Refunded(self.txid, bond.leg),
        };
        self.check(evidence, &expected)?;
        let asks = phase == BondPhase::Paid && self.part != Part::Both && !self.penalised();
        if let Some(bond) = &mut self.bond {
            bond.phase = phase;
            bond.ask_until = asks.then_some(now + WORD_PATIENCE);
        }
        Ok(())
    }

    fn bond_refused(&mut self, why: &str) {
        let Some(bond) = &mut self.bond else { return };
        bond.phase = match &bond.phase {
            BondPhase::Claiming { .. } => BondPhase::Refused { reason: why.to_owned() },
            BondPhase::Returning => {
                BondPhase::Stuck { reason: format!("the escrow does not give the penalty back: {why}") }
            }
            other => other.clone(),
        };
    }

    fn bond_woken(&mut self, now: Timestamp) {
        if let Some(bond) = &mut self.bond {
            bond.ask_until = bond.ask_until.filter(|until| now < *until);
        }
        let waits = |bond: &&Bond| matches!(bond.phase, BondPhase::Held | BondPhase::Refused { .. });
        let Some(bond) = self.bond.as_ref().filter(waits).filter(|_| self.staked()) else { return };
        if now >= self.return_at(bond) {
            self.set_bond(BondPhase::Returning);
        }
    }
}

fn is_of(evidence: &Evidence, leg: LegId) -> bool {
    matches!(evidence.fact, Fact::Settled(_, of) | Fact::Refunded(_, of) if of == leg)
}
