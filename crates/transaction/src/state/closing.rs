//! Apply: every leg follows D, and what has halted is driven on (design "Phases", P1, P3, P4, P6).

use sofie_model::{Class, Decision, Evidence, Fact, LegId};

use super::{Balks, Leg, Phase, Rejected, State};
use crate::{Effect, Input, Look, Task};

/// What reorganisations undo again and again is done again so often, then an operator looks.
const MAX_REENTRIES: u8 = 16;

impl State {
    pub(super) fn close(&mut self, id: LegId, evidence: &Evidence) -> Result<(), Rejected> {
        let Phase::Closing(decision) = &self.phase else { return Ok(()) };
        let applied = decision.includes(id);
        let expected = if applied { Fact::Applied(self.txid, id) } else { Fact::Reverted(self.txid, id) };
        if evidence.fact != expected || self.manifest.leg(id).is_none_or(|leg| leg.ledger != evidence.ledger)
        {
            return Err(
                self.rejected(&Input::Closed(id, evidence.clone()), "the decision says otherwise (P1)")
            );
        }
        self.legs[usize::from(id.0)] = Leg::Closed { applied, evidence: Some(evidence.clone()) };
        self.balks.stuck.remove(&id);
        self.when_closed();
        Ok(())
    }

    pub(super) fn when_closed(&mut self) {
        let Phase::Closing(decision) = &self.phase else { return };
        let follows = |(id, leg): (LegId, &Leg)| match leg {
            _ if self.balks.stuck.contains_key(&id) => true,
            Leg::Closed { .. } => true,
            Leg::Refused(_) => !decision.includes(id),
            Leg::Open => !decision.includes(id) && self.spared(id) && !self.balks.missing.contains_key(&id),
            Leg::Prepared(_) => false,
        };
        if !(0..).map(LegId).zip(&self.legs).all(follows) {
            return;
        }
        let parted = |(id, leg): (LegId, &Leg)| match leg {
            Leg::Closed { applied, .. } => *applied != decision.includes(id),
            _ => false,
        };
        self.broken |= (0..).map(LegId).zip(&self.legs).any(parted);
        self.phase = match (self.broken, self.balks.stuck.first_key_value()) {
            (true, _) => Phase::Halted {
                reason: match decision {
                    Decision::Commit { .. } => "the pivot is refunded, and D says COMMIT (P1)",
                    Decision::Abort { .. } => "the pivot is claimed, and D says ABORT (P1)",
                }
                .into(),
            },
            (false, Some((leg, reason))) => {
                Phase::Halted { reason: format!("{leg} refuses what was decided: {reason}") }
            }
            (false, None) => Phase::Done(decision.clone()),
        };
    }

    /// The leg's ledger refuses for good to follow D. It waits for an operator, and the rest follows all the same.
    pub(super) fn balk(&mut self, id: LegId, reason: &str) {
        if matches!(self.legs.get(usize::from(id.0)), None | Some(Leg::Closed { .. })) {
            return;
        }
        if self.reenters(id) {
            self.legs[usize::from(id.0)] = Leg::Open;
        } else {
            self.balks.stuck.insert(id, reason.to_owned());
            self.when_closed();
        }
    }

    /// A record that COMMIT includes is entered again: whoever committed may have included what a reorganisation then undid.
    fn reenters(&mut self, id: LegId) -> bool {
        let included = matches!(&self.phase, Phase::Closing(decision) if decision.includes(id));
        if !included || self.manifest.leg(id).is_none_or(|leg| leg.class != Class::Record) {
            return false;
        }
        self.missed(id)
    }

    /// Whether it is done once more.
    fn missed(&mut self, id: LegId) -> bool {
        let times = self.balks.missing.entry(id).or_default();
        *times = times.saturating_add(1);
        *times <= MAX_REENTRIES
    }

    /// P3: the leg's ledger has undone, beyond its depth, a lock that COMMIT includes, or what had closed a leg. The very same
    /// lock is asked for again, and what D says of it done again.
    pub(super) fn undone_after(&mut self, id: LegId, reason: &str) -> Result<(), Rejected> {
        let (Phase::Closing(decision) | Phase::Done(decision)) = self.phase.clone() else { return Ok(()) };
        let Some(leg) = self.legs.get(usize::from(id.0)) else {
            return Err(self.rejected(&Input::Undone(id, reason.into()), "there is no such leg"));
        };
        let closing = matches!(self.phase, Phase::Closing(_));
        let is_over = matches!(leg, Leg::Closed { .. }) || !decision.includes(id);
        if closing && is_over || self.balks.stuck.contains_key(&id) {
            return Ok(());
        }
        if self.missed(id) {
            self.legs[usize::from(id.0)] = Leg::Open;
        } else {
            self.balks.stuck.insert(id, format!("it is undone again and again: {reason}"));
        }
        self.phase = Phase::Closing(decision);
        self.when_closed();
        Ok(())
    }

    /// A prepare that was under way when the decision fell turns out never to have locked anything; or value that COMMIT
    /// includes, and whose lock is gone, cannot be locked again.
    pub(super) fn refused_after(&mut self, id: LegId, reason: &str) {
        let included = matches!(&self.phase, Phase::Closing(decision) if decision.includes(id));
        let has_value = self.manifest.leg(id).is_some_and(|leg| leg.class != Class::Record);
        if included && has_value && self.balks.missing.contains_key(&id) {
            self.balks.stuck.insert(id, format!("its lock is gone, and is not made again: {reason}"));
        }
        self.when_closed();
    }

    pub(super) fn closing_effects(&self, decision: &Decision) -> Vec<Effect> {
        let legs = (0..).map(LegId).zip(&self.legs);
        let driven = legs.filter_map(|(id, leg)| match leg {
            Leg::Closed { .. } => None,
            _ if self.balks.stuck.contains_key(&id) => None,
            Leg::Open if decision.includes(id) && self.balks.missing.contains_key(&id) => {
                Some(if self.locks_here(id) {
                    self.operate(id, Task::Prepare(id))
                } else {
                    Effect::Await(id)
                })
            }
            // Included, whatever our own prepare was told: another's may have locked it, and D has seen all prepares.
            _ if decision.includes(id) => Some(self.operate(id, Task::Apply(id))),
            Leg::Refused(_) => None,
            // Locked and to be undone.
            Leg::Prepared(_) => Some(self.operate(id, Task::Revert(id))),
            // It was undone, and its ledger has lost that.
            Leg::Open if self.balks.missing.contains_key(&id) => Some(self.operate(id, Task::Revert(id))),
            // An entry of a record ledger is inert without COMMIT: closing it needs no knowledge of its fate.
            Leg::Open if self.manifest.legs[usize::from(id.0)].class == Class::Record => {
                Some(self.operate(id, Task::Revert(id)))
            }
            // Nothing of ours is locked there.
            Leg::Open if self.spared(id) => None,
            // A lock of unknown fate: learn it first, then undo it (a lock that arrives after ABORT is refunded).
            Leg::Open => Some(self.operate(id, Task::Prepare(id))),
        });
        driven.chain([Effect::Observe(Look::Stands)]).collect()
    }

    /// Whether nothing on this node can have locked the leg: its payer is elsewhere and undoes it there, it is a pivot
    /// whose turn never came, or P5 forbade every lock. A script and a custodian would take a lock after ABORT too, so
    /// that none is asked for. A watcher, who acts for nobody, may find a lock of anyone's whose node is gone.
    fn spared(&self, id: LegId) -> bool {
        if self.own.acts_for.is_empty() {
            return false;
        }
        let pivot_waits = self.manifest.pivot() == Some(id) && !self.pivot_asked;
        !self.locks_here(id) || pivot_waits || !self.own.timely
    }

    /// What could not be done is tried again: the legs follow D, and what is undecided is aborted there.
    pub(super) fn resume(&mut self) -> Result<(), Rejected> {
        let Phase::Halted { reason } = &self.phase else { return Ok(()) };
        if self.broken {
            return Err(self.rejected(&Input::Resumed, reason));
        }
        self.balks = Balks::default();
        match self.decided.as_ref().map(|evidence| &evidence.fact) {
            Some(Fact::Decided(_, decision)) => {
                self.phase = Phase::Closing(decision.clone());
                self.when_closed();
            }
            _ => self.abort(reason.clone()),
        }
        Ok(())
    }
}
