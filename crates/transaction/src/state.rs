//! One transaction's state and its transitions. Clauses in the arms are those of design "The inter-ledger protocol".

use std::sync::Arc;

use sofie_model::{
    Class, Decide, Decision, Digest, Evidence, Fact, LegId, Manifest, Operation, Rule, Step, Terms,
    Timestamp, Txid, evidence,
};

use crate::{Effect, Input, Plan, Task};

/// Where the transaction is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Legs are being locked.
    Preparing,
    /// Enough prepares are final; participants check them and release their secrets.
    Releasing,
    /// COMMIT is on its way to D.
    Committing,
    /// ABORT is on its way to D.
    Aborting {
        /// Why.
        reason: String,
        /// Who asks D.
        by: Aborter,
    },
    /// D has decided; the legs are driven to it.
    Closing(Decision),
    /// D has decided and every leg follows.
    Done(Decision),
    /// A promise is broken or cannot be kept: nothing is done until an operator looks.
    Halted {
        /// What was seen.
        reason: String,
    },
}

/// Who asks D for ABORT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aborter {
    /// One of [`Plan::acts_for`], by its place there; the next one is asked when D does not take it from this one (its
    /// account may be empty).
    Participant(usize),
    /// D takes it from none of them: after G it takes it from anyone.
    AfterGrace,
    /// G is over.
    Anyone,
}

/// Where one leg is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leg {
    /// Not known to be locked; a prepare may be under way.
    Open,
    /// Locked, finally.
    Prepared(Evidence),
    /// Never locked: its ledger refused.
    Refused(String),
    /// Took effect, or was undone, finally. `None` when there was nothing to undo.
    Closed {
        /// Took effect.
        applied: bool,
        /// The ledger's word for it.
        evidence: Option<Evidence>,
    },
}

/// An input that does not fit the state: it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("transaction {txid} does not take {input} now: {why}")]
pub struct Rejected {
    /// Whose input.
    pub txid: Txid,
    /// Which.
    pub input: String,
    /// Why not.
    pub why: String,
}

/// One inter-ledger transaction as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    txid: Txid,
    manifest: Arc<Manifest>,
    plan: Plan,
    phase: Phase,
    legs: Vec<Leg>,
    preimages: Vec<Option<Digest>>,
    decided: Option<Evidence>,
    /// D changed a final decision: no driving on can mend that.
    broken: bool,
}

impl State {
    /// A transaction that begins. The manifest must have passed [`Manifest::check`].
    #[must_use]
    pub fn begin(plan: Plan) -> Self {
        let manifest = Arc::new(plan.manifest.clone());
        Self {
            txid: manifest.txid(),
            phase: Phase::Preparing,
            legs: vec![Leg::Open; manifest.legs.len()],
            preimages: vec![None; manifest.participants.len()],
            decided: None,
            broken: false,
            manifest,
            plan,
        }
    }

    /// The transaction's name.
    #[must_use]
    pub const fn txid(&self) -> Txid {
        self.txid
    }

    /// What was agreed.
    #[must_use]
    pub const fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Where it is.
    #[must_use]
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// How long before T_D a release must come, for COMMIT to be final in time.
    #[must_use]
    pub const fn decision_time(&self) -> sofie_model::Span {
        self.plan.decision_time
    }

    /// Where each leg is, in the manifest's order.
    #[must_use]
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// D's final record, once there is one.
    #[must_use]
    pub const fn decided(&self) -> Option<&Evidence> {
        self.decided.as_ref()
    }

    /// The final prepares, in the order of the legs: what COMMIT's evidence root covers.
    pub fn prepared(&self) -> impl Iterator<Item = (LegId, &Evidence)> {
        (0..).map(LegId).zip(&self.legs).filter_map(|(id, leg)| match leg {
            Leg::Prepared(evidence) => Some((id, evidence)),
            _ => None,
        })
    }

    /// Takes one input that came at `now`. Repeated and late answers are accepted and change nothing.
    ///
    /// # Errors
    /// [`Rejected`] for an input that no honest caller gives.
    pub fn next(mut self, input: &Input, now: Timestamp) -> Result<Self, Rejected> {
        match (&self.phase, input) {
            // Nothing moves a halted transaction but an operator.
            (Phase::Halted { .. }, Input::Resumed) => self.resume()?,
            (Phase::Halted { .. }, _) => {}
            // P1, P3: the first final decision stands; another one is a broken ledger.
            (_, Input::Decided(evidence)) => self.decide(evidence)?,
            // Prepare.
            (_, Input::Prepared(leg, evidence)) => self.prepared_leg(*leg, evidence, now)?,
            (_, Input::PrepareRefused(leg, reason)) => self.refused_leg(*leg, reason, now)?,
            // Secrets.
            (Phase::Preparing | Phase::Releasing, Input::Released(who, preimage)) => {
                self.release(*who, preimage, now)?;
            }
            (Phase::Preparing | Phase::Releasing, Input::Withheld(who, reason)) => {
                self.abort(format!("participant {who} withholds its secret: {reason}"));
            }
            // P6: past T_D an undecided transaction is aborted on D, never presumed aborted.
            (Phase::Preparing, Input::Woken) => self.out_of_time(now),
            (Phase::Releasing, Input::Woken) if now > self.manifest.deadline => {
                self.abort("not every secret was released before the deadline".into());
            }
            (Phase::Committing, Input::DecideRefused(reason)) => {
                self.abort(format!("D refused COMMIT: {reason}"))
            }
            (Phase::Aborting { reason, by }, Input::DecideRefused(why)) => {
                self.phase = self.abort_refused(reason, *by, why);
            }
            // P6: past G anyone may write ABORT on D.
            (Phase::Aborting { reason, by: Aborter::AfterGrace }, Input::Woken)
                if now >= self.after_grace() =>
            {
                self.phase = Phase::Aborting { reason: reason.clone(), by: Aborter::Anyone };
            }
            // Apply.
            (Phase::Closing(_), Input::Closed(leg, evidence)) => self.close(*leg, evidence)?,
            (Phase::Closing(_), Input::CloseRefused(leg, reason)) => {
                self.phase = Phase::Halted { reason: format!("{leg} refuses what was decided: {reason}") };
            }
            (
                Phase::Preparing | Phase::Releasing | Phase::Committing | Phase::Aborting { .. },
                Input::Closed(..),
            ) => {
                return Err(self.rejected(input, "nothing is decided yet"));
            }
            // Late answers to what no longer matters.
            _ => {}
        }
        Ok(self)
    }

    /// What is outstanding in this state, in a fixed order. After a restart it is to be done again; the executor and
    /// the ledgers make that harmless (P4).
    #[must_use]
    pub fn effects(&self) -> Vec<Effect> {
        match &self.phase {
            Phase::Preparing => {
                let wake = Effect::Wake(self.manifest.deadline);
                self.preparable().map(|leg| self.operate(leg, Task::Prepare(leg))).chain([wake]).collect()
            }
            Phase::Releasing => {
                let wake = Effect::Wake(just_after(self.manifest.deadline));
                self.releasable().map(Effect::Release).chain([wake]).collect()
            }
            Phase::Committing => vec![self.decide_effect(true)],
            Phase::Aborting { by: Aborter::AfterGrace, .. } => vec![Effect::Wake(self.after_grace())],
            Phase::Aborting { .. } => vec![self.decide_effect(false)],
            Phase::Closing(decision) => self.closing_effects(decision),
            Phase::Done(_) => Vec::new(),
            Phase::Halted { reason } => vec![Effect::Alarm(reason.clone())],
        }
    }

    fn prepared_leg(&mut self, id: LegId, evidence: &Evidence, now: Timestamp) -> Result<(), Rejected> {
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

    fn refused_leg(&mut self, id: LegId, reason: &str, now: Timestamp) -> Result<(), Rejected> {
        let Some(slot) = self.legs.get_mut(usize::from(id.0)) else {
            return Err(self.rejected(&Input::PrepareRefused(id, reason.into()), "there is no such leg"));
        };
        if matches!(slot, Leg::Open) {
            *slot = Leg::Refused(reason.into());
        }
        match self.phase {
            Phase::Preparing => self.when_prepared(now),
            // A prepare that was under way when the decision fell turns out never to have locked anything.
            Phase::Closing(_) => self.when_closed(),
            _ => {}
        }
        Ok(())
    }

    /// P2: COMMIT is prepared for only when every required prepare is final, enough time before T_D.
    fn when_prepared(&mut self, now: Timestamp) {
        let open = self.legs.iter().filter(|leg| matches!(leg, Leg::Open)).count();
        let prepared = self.prepared().count();
        let missing =
            self.legs.iter().zip(&self.manifest.legs).enumerate().find_map(|(index, (leg, terms))| {
                let needed = terms.required || self.manifest.rule == Rule::All;
                match leg {
                    Leg::Refused(reason) if needed => {
                        Some(format!("leg {index} on {}: {reason}", terms.ledger))
                    }
                    _ => None,
                }
            });
        let quorum = match self.manifest.rule {
            Rule::All => self.legs.len(),
            Rule::AtLeast(k) => usize::from(k),
        };
        if let Some(reason) = missing {
            self.abort(reason);
        } else if prepared + open < quorum {
            self.abort(format!("{quorum} legs are needed, {prepared} can be had"));
        } else if open == 0 && now + self.plan.decision_time > self.manifest.deadline {
            self.abort("prepared too late for a decision before the deadline".into());
        } else if open == 0 {
            self.phase = Phase::Releasing;
        }
    }

    fn out_of_time(&mut self, now: Timestamp) {
        if now >= self.manifest.deadline {
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

    /// No release counts that comes so late that COMMIT might miss T_D (design: "Secrets").
    fn release(&mut self, who: u16, preimage: &Digest, now: Timestamp) -> Result<(), Rejected> {
        let input = || Input::Released(who, Digest::ZERO);
        let Some(participant) = self.manifest.participants.get(usize::from(who)) else {
            return Err(self.rejected(&input(), "there is no such participant"));
        };
        if Digest::sha256(preimage.as_bytes()) != participant.hashlock {
            return Err(self.rejected(&input(), "the secret does not open the participant's hashlock"));
        }
        if now + self.plan.decision_time > self.manifest.deadline {
            self.abort(format!("participant {who} released too late for a decision before the deadline"));
            return Ok(());
        }
        self.preimages[usize::from(who)] = Some(*preimage);
        if self.phase == Phase::Releasing && self.preimages.iter().all(Option::is_some) {
            self.phase = Phase::Committing;
        }
        Ok(())
    }

    fn abort(&mut self, reason: String) {
        self.phase = Phase::Aborting { reason, by: self.aborter(0) };
    }

    /// The participant of this node at this place, or whoever may when there is no further one.
    fn aborter(&self, place: usize) -> Aborter {
        if place < self.plan.acts_for.len() { Aborter::Participant(place) } else { Aborter::AfterGrace }
    }

    fn abort_refused(&self, reason: &str, by: Aborter, why: &str) -> Phase {
        match by {
            Aborter::Participant(place) => {
                Phase::Aborting { reason: reason.to_owned(), by: self.aborter(place + 1) }
            }
            Aborter::AfterGrace | Aborter::Anyone => {
                Phase::Halted { reason: format!("D takes neither COMMIT nor ABORT: {why}") }
            }
        }
    }

    /// From then on G is over also by the clock of a ledger that counts whole seconds.
    fn after_grace(&self) -> Timestamp {
        self.manifest.grace_end() + sofie_model::Span::from_seconds(2)
    }

    /// What could not be done is tried again: the legs follow D, and what is undecided is aborted there.
    fn resume(&mut self) -> Result<(), Rejected> {
        let Phase::Halted { reason } = &self.phase else { return Ok(()) };
        if self.broken {
            return Err(self.rejected(&Input::Resumed, reason));
        }
        match self.decided.as_ref().map(|evidence| &evidence.fact) {
            Some(Fact::Decided(_, decision)) => {
                self.phase = Phase::Closing(decision.clone());
                self.when_closed();
            }
            _ => self.abort(reason.clone()),
        }
        Ok(())
    }

    fn decide(&mut self, evidence: &Evidence) -> Result<(), Rejected> {
        let Fact::Decided(txid, decision) = &evidence.fact else {
            return Err(self.rejected(&Input::Decided(evidence.clone()), "the evidence is not of a decision"));
        };
        if *txid != self.txid || evidence.ledger != self.manifest.decision.ledger {
            return Err(self.rejected(&Input::Decided(evidence.clone()), "it decides something else"));
        }
        match &self.decided {
            Some(earlier) if earlier.fact == evidence.fact => {}
            Some(_) => {
                let reason = format!("{} changed its final decision (P3)", evidence.ledger);
                self.broken = true;
                self.phase = Phase::Halted { reason };
            }
            None => {
                self.decided = Some(evidence.clone());
                self.phase = Phase::Closing(decision.clone());
                self.when_closed();
            }
        }
        Ok(())
    }

    fn close(&mut self, id: LegId, evidence: &Evidence) -> Result<(), Rejected> {
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
        self.when_closed();
        Ok(())
    }

    fn when_closed(&mut self) {
        let Phase::Closing(decision) = &self.phase else { return };
        let follows = |(id, leg): (LegId, &Leg)| match leg {
            Leg::Closed { .. } => true,
            Leg::Refused(_) => !decision.includes(id),
            Leg::Open | Leg::Prepared(_) => false,
        };
        if (0..).map(LegId).zip(&self.legs).all(follows) {
            self.phase = Phase::Done(decision.clone());
        }
    }

    fn closing_effects(&self, decision: &Decision) -> Vec<Effect> {
        let legs = (0..).map(LegId).zip(&self.legs);
        legs.filter_map(|(id, leg)| match leg {
            Leg::Closed { .. } => None,
            // Included, whatever our own prepare was told: another's may have locked it, and D has seen all prepares.
            _ if decision.includes(id) => Some(self.operate(id, Task::Apply(id))),
            Leg::Refused(_) => None,
            // Locked and to be undone.
            Leg::Prepared(_) => Some(self.operate(id, Task::Revert(id))),
            // An entry of a record ledger is inert without COMMIT: closing it needs no knowledge of its fate.
            Leg::Open if self.manifest.legs[usize::from(id.0)].class == Class::Record => {
                Some(self.operate(id, Task::Revert(id)))
            }
            // A lock of unknown fate: learn it first, then undo it (a lock that arrives after ABORT is refunded).
            Leg::Open => Some(self.operate(id, Task::Prepare(id))),
        })
        .collect()
    }

    /// The pivot is prepared last: until then its payer risks nothing.
    fn preparable(&self) -> impl Iterator<Item = LegId> {
        let pivot = self.manifest.pivot();
        let open = |id: LegId| matches!(self.legs[usize::from(id.0)], Leg::Open);
        let others_open = self.manifest.legs().any(|(id, _)| Some(id) != pivot && open(id));
        self.manifest
            .legs()
            .map(|(id, _)| id)
            .filter(move |id| open(*id) && (Some(*id) != pivot || !others_open))
    }

    /// The pivot's claimant releases last.
    fn releasable(&self) -> impl Iterator<Item = u16> {
        let claimant = self.claimant();
        let held = move |who: u16| self.preimages[usize::from(who)].is_none();
        let count = u16::try_from(self.preimages.len()).unwrap_or(u16::MAX);
        let others_hold = (0..count).any(|who| Some(who) != claimant && held(who));
        self.plan
            .acts_for
            .iter()
            .copied()
            .filter(move |who| *who < count && held(*who) && (Some(*who) != claimant || !others_hold))
    }

    fn claimant(&self) -> Option<u16> {
        let leg = self.manifest.leg(self.manifest.pivot()?)?;
        let Terms::Hashlock(terms) = &leg.terms else { return None };
        let index = self.manifest.participants.iter().position(|one| one.account == terms.claimant)?;
        u16::try_from(index).ok()
    }

    fn operate(&self, leg: LegId, task: Task) -> Effect {
        let step = match task {
            Task::Apply(_) => Step::Apply,
            Task::Revert(_) => Step::Revert,
            Task::Prepare(_) | Task::Decide(_) => Step::Prepare,
        };
        let ledger = self.manifest.legs[usize::from(leg.0)].ledger.clone();
        Effect::Operate {
            task,
            ledger,
            operation: Operation::Leg { manifest: self.manifest.clone(), leg, step },
        }
    }

    fn decide_effect(&self, commit: bool) -> Effect {
        let decide = if commit {
            let included = self.prepared().fold(0, |mask, (id, _)| mask | 1_u64 << id.0);
            let evidence_root = evidence::root(self.prepared().map(|(_, evidence)| evidence));
            Decide::Commit {
                included,
                evidence_root,
                preimages: self.preimages.iter().flatten().copied().collect(),
                guard: None,
            }
        } else {
            let place = match &self.phase {
                Phase::Aborting { by: Aborter::Participant(place), .. } => Some(*place),
                _ => None,
            };
            let who = place.and_then(|place| self.plan.acts_for.get(place));
            let participant = who.and_then(|who| self.manifest.participants.get(usize::from(*who)));
            // Nobody by name: whoever carries it out may.
            let by = participant.map_or(sofie_model::Account::ZERO, |one| one.account);
            Decide::Abort { by, signatures: Vec::new() }
        };
        Effect::Operate {
            task: Task::Decide(commit),
            ledger: self.manifest.decision.ledger.clone(),
            operation: Operation::Decide { manifest: self.manifest.clone(), decide },
        }
    }

    fn rejected(&self, input: &Input, why: &str) -> Rejected {
        let input = match input {
            Input::Prepared(leg, _) => format!("prepared({leg})"),
            Input::PrepareRefused(leg, _) => format!("prepare-refused({leg})"),
            Input::Released(who, _) => format!("released({who})"),
            Input::Withheld(who, _) => format!("withheld({who})"),
            Input::Woken => "woken".into(),
            Input::Decided(_) => "decided".into(),
            Input::DecideRefused(_) => "decide-refused".into(),
            Input::Closed(leg, _) => format!("closed({leg})"),
            Input::CloseRefused(leg, _) => format!("close-refused({leg})"),
            Input::Resumed => "resumed".into(),
        };
        Rejected { txid: self.txid, input, why: why.into() }
    }
}

fn just_after(deadline: Timestamp) -> Timestamp {
    deadline + sofie_model::Span::from_millis(1)
}
