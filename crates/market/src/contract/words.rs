//! What the sensors' owners say: each for its own sensor, until enough of them have.

use sofie_model::attestation::NoAuthority;
use sofie_model::{Account, Observation, Salt, SignedAttestation, Timestamp};

use super::{BondPhase, Contract, Phase, Rejected};
use crate::witness::together;
use crate::{Effect, EvidenceRule, Seen, Voice, Witnesses};

/// What is known of one sensor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Heard {
    /// Its first reading that fulfils, or the one that its owner's word is about.
    reading: Option<(Observation, Salt)>,
    /// The first word of its owner: that one stands.
    word: Option<SignedAttestation>,
}

impl Heard {
    pub(super) fn fulfilled(&self) -> Option<&SignedAttestation> {
        self.word.as_ref().filter(|word| word.attestation.fulfilled)
    }

    pub(super) fn voice(&self) -> Voice {
        match (&self.word, &self.reading) {
            (Some(word), _) if word.attestation.fulfilled => Voice::Attests,
            (Some(_), _) => Voice::Contradicts,
            (None, Some(_)) => Voice::Seen,
            (None, None) => Voice::Silent,
        }
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        let (word, (observation, salt)) = (self.fulfilled()?, self.reading.as_ref()?);
        let about_it = observation.digest(salt) == word.attestation.observation;
        let seen = || Seen { observation: observation.clone(), salt: *salt, attestation: word.clone() };
        about_it.then(seen)
    }

    /// Takes a word, the first one only, and the reading that it is about.
    pub(super) fn takes(&mut self, seen: &Seen) {
        let word = self.word.get_or_insert_with(|| seen.attestation.clone());
        let about_it = word.attestation == seen.attestation.attestation;
        if about_it && self.seen().is_none() {
            self.reading = Some((seen.observation.clone(), seen.salt));
        }
    }
}

impl Heard {
    /// What is to be signed, or a reading to be waited for; `None`: its owner has said it.
    pub(super) const fn outstanding(&self) -> Option<Option<&(Observation, Salt)>> {
        match self.word {
            Some(_) => None,
            None => Some(self.reading.as_ref()),
        }
    }

    pub(super) fn sees(&mut self, observation: Observation, salt: Salt) {
        self.reading = Some((observation, salt));
    }

    pub(super) fn says(&mut self, signed: &SignedAttestation) {
        self.word.get_or_insert_with(|| signed.clone());
    }
}

impl Contract {
    /// What each sensor's owner has said so far, in the agreement's order.
    pub fn voices(&self) -> impl Iterator<Item = (&EvidenceRule, Voice)> {
        self.agreement.rules().zip(self.heard.iter().map(Heard::voice))
    }

    /// How many of them must attest.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.panel.as_ref().map_or(1, |panel| panel.threshold().into())
    }

    /// What was seen and is attested, as far as the readings are known here.
    pub fn seen(&self) -> impl Iterator<Item = Seen> {
        self.heard.iter().filter_map(Heard::seen)
    }

    /// Whether enough readings are known to show what the payment rests on.
    #[must_use]
    pub fn proven(&self) -> bool {
        self.seen().count() >= self.needed()
    }

    /// Whether a word about the price, or about the stake, would count at `now`, or tell why the stake was paid.
    #[must_use]
    pub fn listens(&self, now: Timestamp) -> bool {
        let of_price = match &self.phase {
            Phase::Acting | Phase::Watching | Phase::Awaiting => !self.claims(),
            Phase::Disputable { attestation } => attestation.is_none(),
            _ => false,
        };
        let held = self.bond.as_ref().is_some_and(|bond| *bond.phase() == BondPhase::Held);
        of_price
            || held && self.staked() && !self.earned() && now >= self.due()
            || self.asks_why_until().is_some()
    }

    /// Whose word counts for each sensor, in the agreement's order.
    #[must_use]
    pub fn keys(&self) -> Vec<Account> {
        let named = self.agreement.witnesses.as_ref().map(|all| all.keys().collect());
        named.unwrap_or_else(|| vec![self.terms.evidence_key])
    }

    /// Whether whoever signed it has any say in this contract.
    #[must_use]
    pub fn has_voice(&self, signed: &SignedAttestation) -> bool {
        self.speaker(signed).is_ok()
    }

    /// What is wanted of the sensors: each is watched until it has seen it, then its owner is to sign.
    pub(super) fn sensors(&self) -> impl Iterator<Item = Effect> {
        self.heard.iter().enumerate().filter_map(|(sensor, heard)| match (&heard.word, &heard.reading) {
            (Some(_), _) => None,
            (None, Some((observation, salt))) => {
                Some(Effect::Attest { sensor, observation: observation.clone(), salt: *salt })
            }
            (None, None) => Some(Effect::Watch { sensor }),
        })
    }

    /// A sensor reports.
    pub(super) fn observed(&mut self, phase: Phase, observation: &Observation, salt: Salt) -> Phase {
        let Some(told_at) = self.told_at else { return phase };
        let deadline = self.terms.evidence_deadline;
        let waits = self.heard.iter_mut().zip(self.agreement.rules());
        let mut fits = waits.filter(|(heard, rule)| {
            heard.voice() == Voice::Silent && rule.fulfilled_by(observation, told_at, deadline).is_ok()
        });
        match fits.next() {
            Some((heard, _)) => {
                heard.reading = Some((observation.clone(), salt));
                Phase::Watching
            }
            None => phase,
        }
    }

    /// The same checks as the escrow contract's, made before anything is spent on asking it.
    pub(super) fn attested(
        &mut self,
        phase: Phase,
        signed: &SignedAttestation,
        now: Timestamp,
    ) -> Result<Phase, Rejected> {
        if !self.is_named_by(&signed.attestation) {
            return Err(self.rejected("the attestation is about another escrow".into()));
        }
        let speaker = self.speaker(signed).map_err(|no| self.rejected(no))?;
        // Its word counts once, while it is waited for: neither before the device was told nor after all is over.
        match phase {
            // Of what was presented elsewhere, the word is not known here yet.
            Phase::Disputable { attestation: None } => {
                self.check_time(signed)?;
                match speaker {
                    Some(sensor) => {
                        self.heard[sensor].says(signed);
                        Ok(self.as_reported(now))
                    }
                    None => Ok(self.attest_then(signed, now)),
                }
            }
            Phase::Acting | Phase::Watching | Phase::Awaiting if self.claims() => {
                Err(self.rejected("the penalty is claimed: the price is not paid any more".into()))
            }
            Phase::Acting | Phase::Watching | Phase::Awaiting => {
                self.check_time(signed)?;
                Ok(match speaker {
                    Some(sensor) => {
                        self.heard[sensor].word.get_or_insert_with(|| signed.clone());
                        self.counted(phase, now)
                    }
                    None => self.all_said(signed, now),
                })
            }
            // The same word may come by two ways.
            taken @ (Phase::Noting { .. } | Phase::Settling { .. } | Phase::Settled) => Ok(taken),
            taken @ (Phase::Presenting { .. } | Phase::Disputable { .. }) => Ok(taken),
            taken @ (Phase::Overruling { .. } | Phase::Overruled) => Ok(taken),
            Phase::Recording | Phase::Committed | Phase::Issuing | Phase::Ready { .. } => {
                Err(self.rejected("the device was not told yet: no evidence is awaited".into()))
            }
            Phase::Waiting { reason }
            | Phase::Refunding { reason }
            | Phase::Refunded { reason }
            | Phase::Aborted { reason }
            | Phase::Stuck { reason } => {
                Err(self.rejected(format!("no evidence is awaited any more: {reason}")))
            }
        }
    }

    /// A word, with the reading that it is about.
    pub(super) fn brought(&mut self, phase: Phase, seen: &Seen, now: Timestamp) -> Result<Phase, Rejected> {
        let sensor = self.check_seen(seen)?;
        let phase = self.attested(phase, &seen.attestation, now)?;
        self.heard[sensor].takes(seen);
        Ok(phase)
    }

    /// What the owner's node has told of the sensors, each checked before.
    pub(super) fn learn(&mut self, sensor: usize, seen: &Seen) {
        self.heard[sensor].takes(seen);
    }

    /// Whether what it says of a sensor is not known yet, or nothing that anybody can know.
    pub(super) fn is_new(&self, seen: &Seen) -> bool {
        let Ok(Some(sensor)) = self.speaker(&seen.attestation) else { return true };
        let of_bond = self.bond.as_ref().filter(|_| self.is_of_bond(&seen.attestation.attestation));
        let known = of_bond.map_or(&self.heard, |bond| &bond.heard);
        let mut heard = known[sensor].clone();
        heard.takes(seen);
        heard != known[sensor]
    }

    /// Which sensor's owner signed; `None`: enough of them together, in one certificate.
    ///
    /// # Errors
    /// In words: somebody without authority.
    pub(super) fn speaker(&self, signed: &SignedAttestation) -> Result<Option<usize>, String> {
        let no = match signed.speaks_for(&self.terms) {
            Ok(()) => return Ok(self.panel.is_none().then_some(0)),
            Err(no) => no,
        };
        let by = match (&no, &self.agreement.witnesses) {
            (NoAuthority::Other { got, .. }, Some(all)) => all.keys().position(|key| key == *got),
            _ => None,
        };
        by.map(Some).ok_or_else(|| no.to_string())
    }

    /// The word that settles, once enough have attested what was observed in time.
    pub(super) fn testimony(&self) -> Option<SignedAttestation> {
        if self.claims() {
            return None;
        }
        let timely = |word: &&SignedAttestation| self.check_time(word).is_ok();
        let words: Vec<_> = self.heard.iter().filter_map(Heard::fulfilled).filter(timely).cloned().collect();
        together(self.panel.as_ref(), &words)
    }

    /// What follows the words that have been said.
    fn counted(&self, phase: Phase, now: Timestamp) -> Phase {
        if let Some(signed) = self.testimony() {
            return self.attest_then(&signed, now);
        }
        let against: Vec<_> = self.voices().filter(|(_, voice)| *voice == Voice::Contradicts).collect();
        if against.len() + self.needed() <= self.heard.len() {
            return phase;
        }
        match &self.agreement.witnesses {
            None => self.waiting("the sensor's owner attests that it was not fulfilled"),
            Some(Witnesses { threshold, .. }) => {
                let named: Vec<_> = against.iter().map(|(rule, _)| rule.thing.to_string()).collect();
                let named = named.join(" and ");
                self.waiting(&format!(
                    "the owners of {named} attest that it was not fulfilled, so that {threshold} cannot attest it"
                ))
            }
        }
    }

    /// A certificate that somebody else made of enough words.
    fn all_said(&mut self, signed: &SignedAttestation, now: Timestamp) -> Phase {
        for word in signed.words() {
            if let Ok(Some(sensor)) = self.speaker(&word) {
                self.heard[sensor].word.get_or_insert(word);
            }
        }
        if signed.attestation.fulfilled {
            self.attest_then(signed, now)
        } else {
            self.waiting("enough of the sensors' owners attest that it was not fulfilled")
        }
    }
}
