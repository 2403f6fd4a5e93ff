//! The instants of a transaction: T_D, and with a pivot T_p and G by P5 (docs/specs/inter-ledger.md, "Pivot").

use sofie_model::{Manifest, Span, Terms, Timestamp};
use sofie_transaction::{PivotClock, TooTight};

use super::{Desk, Refused, Site, ensure, refused};
use crate::api::{Draft, When};

/// The instant that a draft means. A span reaches to a whole second, as contracts count them.
pub(super) fn instant(when: When, start: Timestamp) -> Timestamp {
    match when {
        When::In(span) => (start + span).whole_second(),
        When::At(at) => at,
    }
}

/// The first whole second after `now`.
pub(super) const fn next_second(now: Timestamp) -> Timestamp {
    Timestamp::from_seconds(now.as_seconds() + 1)
}

impl Desk {
    /// T_p, grace and the guard of a manifest with a pivot, where the draft leaves them out.
    pub(super) fn fill_times(
        &self,
        manifest: &mut Manifest,
        draft: &Draft,
        decision: &Site,
    ) -> Result<(), Refused> {
        let Some(clock) = self.pivot_clock(manifest, decision)? else { return Ok(()) };
        let deadline = manifest.deadline;
        let pivot = manifest.legs.iter_mut().find_map(|leg| match &mut leg.terms {
            Terms::Hashlock(terms) => Some(terms),
            _ => None,
        });
        let Some(terms) = pivot else { return Ok(()) };
        if draft.legs.iter().all(|leg| leg.timelock.is_none()) {
            terms.timelock = clock.timelock(deadline);
        }
        manifest.guard = terms.payer;
        if draft.grace.is_none() {
            manifest.grace = clock.grace(deadline, terms.timelock);
        }
        Ok(())
    }

    /// Refuses what could only abort, and what P5 forbids.
    pub(super) fn check_times(
        &self,
        manifest: &Manifest,
        decision: &Site,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let needed = self.prepare_time(manifest)? + decision.profile.inclusion + decision.profile.finalises;
        let given = manifest.deadline.since(now);
        ensure(needed <= given, "deadline", || {
            let short = Span::from_millis(needed.as_millis() - given.as_millis());
            format!("the ledgers may need {needed} to prepare and decide: {short} more is needed")
        })?;
        let Some(clock) = self.pivot_clock(manifest, decision)? else { return Ok(()) };
        match sofie_transaction::slack(manifest, clock) {
            Ok(_) => Ok(()),
            Err(TooTight { missing, .. }) => {
                let too_early = pivot(manifest).is_some_and(|(_, at)| at < clock.claim_by(manifest.deadline));
                let field = match pivot(manifest) {
                    Some((index, _)) if too_early => format!("legs[{index}].timelock"),
                    _ => "grace".to_owned(),
                };
                Err(refused(field, format!("is not safe (P5): {missing} more is needed")))
            }
        }
    }

    /// How long until every leg is final: the pivot is prepared after the others.
    fn prepare_time(&self, manifest: &Manifest) -> Result<Span, Refused> {
        let (mut others, mut pivot) = (Span::ZERO, Span::ZERO);
        for (index, leg) in manifest.legs.iter().enumerate() {
            let profile = &self.site(&leg.ledger, &format!("legs[{index}].ledger"))?.profile;
            let time = profile.inclusion + profile.finalises;
            match leg.terms {
                Terms::Hashlock(_) => pivot = time,
                _ => others = others.max(time),
            }
        }
        Ok(others + pivot)
    }

    /// The clock of a manifest that another node proposes, `None` without a pivot.
    ///
    /// # Errors
    /// [`Refused`] where its times do not do by what this node knows of its ledgers (P5).
    pub(crate) fn clock_of(
        &self,
        manifest: &Manifest,
        now: Timestamp,
    ) -> Result<Option<PivotClock>, Refused> {
        let decision = self.site(&manifest.decision.ledger, "decision")?;
        self.check_times(manifest, decision, now)?;
        self.pivot_clock(manifest, decision)
    }

    /// The clock of a manifest that others have agreed to, as this node's configuration has it, whatever the times in it.
    ///
    /// # Errors
    /// [`Refused`] where a ledger is not known here.
    pub(crate) fn clock_as_agreed(&self, manifest: &Manifest) -> Result<Option<PivotClock>, Refused> {
        self.pivot_clock(manifest, self.site(&manifest.decision.ledger, "decision")?)
    }

    pub(super) fn pivot_clock(
        &self,
        manifest: &Manifest,
        decision: &Site,
    ) -> Result<Option<PivotClock>, Refused> {
        let Some((index, _)) = pivot(manifest) else { return Ok(None) };
        let site = self.site(&manifest.legs[index].ledger, &format!("legs[{index}].ledger"))?;
        Ok(Some(PivotClock {
            inclusion_d: decision.profile.inclusion,
            finality_d: decision.profile.finalises,
            inclusion_p: site.profile.inclusion,
            finality_p: site.profile.finalises,
            detection: self.detection,
            skew: decision.skew + site.skew,
        }))
    }
}

/// The pivot's place and T_p.
fn pivot(manifest: &Manifest) -> Option<(usize, Timestamp)> {
    manifest.legs.iter().enumerate().find_map(|(index, leg)| match &leg.terms {
        Terms::Hashlock(terms) => Some((index, terms.timelock)),
        _ => None,
    })
}
