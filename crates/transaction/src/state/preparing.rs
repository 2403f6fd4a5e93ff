//! Prepare: which legs are locked when, which of them are waited for, and what a reorganisation undoes (design "Phases",
//! P2, P5; docs/specs/inter-ledger.md, "k of N" and "Reorganisations").

use sofie_model::{Account, Evidence, Fact, LegId, Rule, Span, Timestamp};

use super::{Leg, Phase, Rejected, State};
use crate::{Effect, Input, Task};

impl State {
    pub(super) fn preparing_effects(&self) -> Vec<Effect> {
        let last = self.last_prepare();
        let wake = match self.waits {
            Some(until) if !self.waited => until.min(last),
            _ => last,
        };
        let prepares = self.preparable().map(|leg| match self.locks_here(leg) {
            true => self.operate(leg, Task::Prepare(leg)),
            false => Effect::Await(leg),
        });
        let releases = self.early_releases().map(Effect::Release);
        prepares.chain(releases).chain([self.look(), Effect::Wake(wake)]).collect()
    }

    pub(super) fn prepared_leg(
        &mut self,
        id: LegId,
        evidence: &Evidence,
        now: Timestamp,
    ) -> Result<(), Rejected> {
        let named = evidence.fact == Fact::Prepared(self.txid, id)
            && self.manifest.leg(id).is_some_and(|leg| leg.ledger == evidence.ledger);
        if !named {
            return Err(
                self.rejected(&Input::Prepared(id, evidence.clone()), "the evidence is of something else")
            );
        }
        let slot = &mut self.legs[usize::from(id.0)];
        if matches!(slot, Leg::Open) {
            *slot = Leg::Prepared(evidence.clone());
        }
        if self.phase == Phase::Preparing {
            self.when_prepared(now);
        }
        Ok(())
    }

    pub(super) fn refused_leg(&mut self, id: LegId, reason: &str, now: Timestamp) -> Result<(), Rejected> {
        let Some(slot) = self.legs.get_mut(usize::from(id.0)) else {
            return Err(self.rejected(&Input::PrepareRefused(id, reason.into()), "there is no such leg"));
        };
        if matches!(slot, Leg::Open) {
            *slot = Leg::Refused(reason.into());
        }
        match self.phase {
            Phase::Preparing => self.when_prepared(now),
            Phase::Closing(_) => self.refused_after(id, reason),
            _ => {}
        }
        Ok(())
    }

    /// What was released stays released: the secrets are kept, and COMMIT waits until all stands again.
    pub(super) fn undone_leg(&mut self, id: LegId, now: Timestamp) -> Result<(), Rejected> {
        let Some(slot) = self.legs.get_mut(usize::from(id.0)) else {
            return Err(self.rejected(&Input::Undone(id, String::new()), "there is no such leg"));
        };
        if matches!(slot, Leg::Prepared(_)) {
            *slot = Leg::Open;
            self.phase = Phase::Preparing;
            self.when_prepared(now);
        }
        Ok(())
    }

    /// P2: COMMIT is prepared for only when every required prepare is final, enough time before T_D.
    fn when_prepared(&mut self, now: Timestamp) {
        if let Some(reason) = self.hopeless() {
            self.abort(reason);
        } else if self.is_enough() && (!self.options_open() || self.waited || self.late.claim.is_some()) {
            self.when_standing(now);
        } else {
            self.wait_for_options(now);
        }
        self.note_pivot();
    }

    /// Enough is locked, and nothing more is waited for.
    fn when_standing(&mut self, now: Timestamp) {
        if self.late.claim.is_some() {
            self.commit_on_claim(now);
        } else if self.too_late(now) {
            self.abort("prepared too late for a decision before the deadline".into());
        } else {
            self.phase = Phase::Releasing;
            self.when_released();
        }
    }

    /// k of N: once there is enough without them, optional legs have half of the time that is left until the last safe
    /// release.
    fn wait_for_options(&mut self, now: Timestamp) {
        if self.waits.is_none() && self.options_open() && self.is_enough_with_pivot() {
            let left = self.manifest.deadline.since(now + self.decision_time());
            self.waits = Some(now + Span::from_millis(left.as_millis() / 2));
        }
    }

    pub(super) fn woken_preparing(&mut self, now: Timestamp) {
        if self.waits.is_some_and(|until| now >= until) {
            self.waited = true;
        }
        if self.waited && now < self.last_prepare() {
            self.when_prepared(now);
        } else {
            self.out_of_time(now);
        }
    }

    fn out_of_time(&mut self, now: Timestamp) {
        if now >= self.last_prepare() {
            let open: Vec<_> = self
                .manifest
                .legs()
                .zip(&self.legs)
                .filter(|(_, state)| matches!(state, Leg::Open))
                .map(|((id, leg), _)| format!("{id} on {}", leg.ledger))
                .collect();
            self.abort(format!("the deadline passed while {} was not prepared", open.join(", ")));
        }
    }

    /// Until then COMMIT can be had: T_D, and after a claim G.
    fn last_prepare(&self) -> Timestamp {
        if self.late.claim.is_some() { self.after_grace() } else { self.manifest.deadline }
    }

    /// Why COMMIT cannot be had any more.
    pub(super) fn hopeless(&self) -> Option<String> {
        for ((_, terms), (index, leg)) in self.manifest.legs().zip(self.legs.iter().enumerate()) {
            if let Leg::Refused(reason) = leg
                && (terms.required || self.manifest.rule == Rule::All)
            {
                return Some(format!("leg {index} on {}: {reason}", terms.ledger));
            }
        }
        let (quorum, prepared) = (usize::from(self.manifest.quorum().at_least), self.prepared().count());
        let open = self.legs.iter().filter(|leg| matches!(leg, Leg::Open)).count();
        (prepared + open < quorum).then(|| format!("{quorum} legs are needed, {prepared} can be had"))
    }

    /// The prepared legs as a COMMIT would name them: bit i is leg i.
    pub(super) fn standing(&self) -> u64 {
        self.prepared().fold(0, |mask, (id, _)| mask | 1 << id.0)
    }

    /// Whether D would take a COMMIT of what is prepared now.
    fn is_enough(&self) -> bool {
        self.manifest.quorum().allows(self.standing())
    }

    fn is_enough_with_pivot(&self) -> bool {
        let pivot = self.manifest.pivot().map_or(0, |id| 1 << id.0);
        self.manifest.quorum().allows(self.standing() | pivot)
    }

    /// Whether a leg other than the pivot may still be prepared.
    fn options_open(&self) -> bool {
        let pivot = self.manifest.pivot();
        (0..).map(LegId).zip(&self.legs).any(|(id, leg)| matches!(leg, Leg::Open) && Some(id) != pivot)
    }

    /// From the moment at which the pivot is asked for it may be locked.
    pub(super) fn note_pivot(&mut self) {
        let asked = self.preparable().any(|id| Some(id) == self.manifest.pivot());
        self.pivot_asked |= asked && self.phase == Phase::Preparing;
    }

    /// Whether it is for this node to lock the leg: a payer who takes part on another node does it there.
    pub(super) fn locks_here(&self, id: LegId) -> bool {
        let payer = self.manifest.leg(id).and_then(|leg| leg.terms.payer());
        let takes_part =
            |who: &Account| self.manifest.participants.iter().position(|one| one.account == *who);
        payer
            .as_ref()
            .and_then(takes_part)
            .is_none_or(|index| self.own.acts_for.iter().any(|who| usize::from(*who) == index))
    }

    fn preparable(&self) -> impl Iterator<Item = LegId> {
        let pivot = self.manifest.pivot();
        let open = |id: LegId| matches!(self.legs[usize::from(id.0)], Leg::Open);
        let turn = |id: LegId| self.is_pivots_turn() && (!self.locks_here(id) || self.may_lock_pivot());
        self.manifest
            .legs()
            .map(|(id, _)| id)
            .filter(move |id| open(*id) && (Some(*id) != pivot || turn(*id)))
    }

    /// The pivot is prepared last: until then its payer risks nothing. It waits for every other leg that will be
    /// committed.
    pub(super) fn is_pivots_turn(&self) -> bool {
        !self.options_open() || (self.waited && self.is_enough_with_pivot())
    }
}
