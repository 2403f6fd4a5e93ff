//! A contract whose sides are on two nodes: the owner's tells what it has done, the payer's believes what is signed.

use sofie_model::{Digest, SignedAttestation, Span, Timestamp};

use super::{Contract, Phase, Rejected};
use crate::{Input, Part, Report, Seen};

/// So much later than the payer's node does the owner's have the escrow pay back, so that a contract ends although the
/// payer's node never comes back: the refund is the payer's to ask for, and to pay the fee of.
pub const COURTESY: Span = Span::from_seconds(600);

impl Contract {
    /// Which sides this node acts for.
    #[must_use]
    pub const fn part(&self) -> Part {
        self.part
    }

    /// What the owner's node has to tell, or has told.
    #[must_use]
    pub fn report(&self) -> Report {
        self.report.clone().with_seen(self.seen(), self.missed())
    }

    /// Whether a report says anything that is not known.
    #[must_use]
    pub fn is_news(&self, report: &Report) -> bool {
        let of_device = self.report.told_at.is_none() && report.told_at.is_some()
            || self.report.outcome.is_none() && report.outcome.is_some();
        let mut said = report.all_seen().chain(report.missed.iter().flatten());
        of_device || said.any(|seen| self.is_new(seen))
    }

    /// When the escrow is asked to pay back.
    pub(super) fn wake_at(&self) -> Timestamp {
        match self.part {
            Part::Both | Part::Payer => self.refund_at(),
            Part::Owner => self.refund_at() + COURTESY,
        }
    }

    /// The device's answer, or why there is none.
    pub(super) fn answered(&mut self, phase: Phase, input: &Input, what: &str) -> Phase {
        if matches!(phase, Phase::Issuing | Phase::Acting | Phase::Watching) {
            self.report.outcome.get_or_insert_with(|| what.to_owned());
        }
        match (phase, input) {
            (Phase::Acting, Input::Acted(_)) => Phase::Watching,
            // The door refused: nothing happened, nothing will be seen.
            (Phase::Issuing | Phase::Acting, Input::Denied(reason)) => self.waiting(reason),
            // Never resend what may have happened: if the device acted, its evidence settles; if not, the time refunds.
            (Phase::Acting, Input::FateUnknown(_)) => Phase::Watching,
            (phase, _) => phase,
        }
    }

    /// What follows the word of the sensor's owner. The payer's node leaves the payment to the payee's, for half of the
    /// time that is left.
    pub(super) fn attest_then(&self, signed: &SignedAttestation, now: Timestamp) -> Phase {
        let attestation = signed.clone();
        if self.disputable_until.is_some() {
            return Phase::Disputable { attestation: Some(attestation) };
        }
        match self.part {
            Part::Both | Part::Payer => Phase::Noting { attestation, until: self.note_until(now) },
            Part::Owner => self.to_escrow(attestation),
        }
    }

    /// The owner's node says something. Only what is signed by the evidence key counts; the rest is shown to people.
    pub(super) fn reported(
        &mut self,
        phase: Phase,
        report: &Report,
        now: Timestamp,
    ) -> Result<Phase, Rejected> {
        if self.part != Part::Payer {
            return Err(self.rejected("this node acts for the owner itself".into()));
        }
        let said: Vec<_> =
            report.all_seen().map(|seen| Ok((self.check_seen(seen)?, seen))).collect::<Result<_, _>>()?;
        let missed: Vec<_> = report
            .missed
            .iter()
            .flatten()
            .map(|seen| Ok((self.check_missed(seen)?, seen)))
            .collect::<Result<_, _>>()?;
        said.into_iter().for_each(|(sensor, seen)| self.learn(sensor, seen));
        missed.into_iter().for_each(|(sensor, seen)| self.learn_missed(sensor, seen));
        self.claim();
        self.report.told_at = self.report.told_at.or(report.told_at);
        self.report.outcome = self.report.outcome.take().or_else(|| report.outcome.clone());
        self.told_at = self.report.told_at;
        Ok(match phase {
            Phase::Awaiting | Phase::Watching | Phase::Disputable { attestation: None } => {
                self.as_reported(now)
            }
            other => other,
        })
    }

    /// Where an armed escrow is, by what the owner's node has said.
    pub(super) fn as_reported(&self, now: Timestamp) -> Phase {
        match (self.testimony(), self.report.told_at) {
            (Some(signed), _) => self.attest_then(&signed, now),
            (None, _) if self.disputable_until.is_some() => Phase::Disputable { attestation: None },
            (_, Some(_)) => Phase::Watching,
            (_, None) => Phase::Awaiting,
        }
    }

    /// Which sensor's owner signed what was seen, and that it is what was agreed on.
    pub(super) fn check_seen(&self, seen: &Seen) -> Result<usize, Rejected> {
        let said = &seen.attestation.attestation;
        let observation: Digest = seen.observation.digest(&seen.salt);
        if !self.is_named_by(said) || said.observation != observation || !said.fulfilled {
            return Err(self.rejected("the attestation is about something else".into()));
        }
        let speaker = self.speaker(&seen.attestation).map_err(|no| self.rejected(no))?;
        let signed_by_one = speaker.and_then(|sensor| Some((sensor, self.agreement.rules().nth(sensor)?)));
        let (sensor, rule) =
            signed_by_one.ok_or_else(|| self.rejected("it is not the word of one sensor's owner".into()))?;
        let seen_at = seen.observation.observed_at;
        // When the device was told is the owner's word: the decision, by D's clock, bounds what counts.
        let since =
            self.decided_at.map_or(Timestamp::default(), |at| Timestamp::from_seconds(at.as_seconds()));
        rule.fulfilled_by(&seen.observation, since, self.terms.evidence_deadline).map_err(|unfit| {
            self.rejected(format!("what was seen at {seen_at:?} does not count: {unfit}"))
        })?;
        self.check_same_time(seen)?;
        Ok(sensor)
    }

    /// What is signed of a reading's time is its second; its digest has none.
    pub(super) fn check_same_time(&self, seen: &Seen) -> Result<(), Rejected> {
        let (read, said) = (seen.observation.observed_at, seen.attestation.attestation.observed_at);
        if read.as_seconds() == said.as_seconds() {
            return Ok(());
        }
        Err(self.rejected("the attestation gives the observation another time".into()))
    }
}
