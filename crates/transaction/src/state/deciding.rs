//! Secrets and the one decision: who releases when, what COMMIT carries, who may ABORT and when, and what a claim of the
//! pivot changes (design "Secrets", P2, P5, P6; docs/specs/inter-ledger.md, "Decision" and "Pivot").

use sofie_model::{
    Account, Decide, Digest, Evidence, Fact, LegId, Operation, Signature, Span, Timestamp, contract, evidence,
};

use super::just_after;
use super::{Aborter, Leg, Permit, Phase, Proposal, Rejected, State};
use crate::{Effect, Input, Task};

impl State {
    /// The pivot's claimant releases last.
    pub(super) fn releasable(&self) -> impl Iterator<Item = u16> {
        let claimant = self.claimant();
        let kept = move |who: u16| self.preimages[usize::from(who)].is_none();
        let others_keep = (0..self.count()).any(|who| Some(who) != claimant && kept(who));
        self.held().filter(move |who| kept(*who) && (Some(*who) != claimant || !others_keep))
    }

    /// No release counts that comes so late that COMMIT might miss T_D, and none by message of the one who may only
    /// publish.
    pub(super) fn release(&mut self, who: u16, preimage: &Digest, now: Timestamp) -> Result<(), Rejected> {
        let input = || Input::Released(who, Digest::ZERO);
        let Some(participant) = self.manifest.participants.get(usize::from(who)) else {
            return Err(self.rejected(&input(), "there is no such participant"));
        };
        if Digest::sha256(preimage.as_bytes()) != participant.hashlock {
            return Err(self.rejected(&input(), "the secret does not open the participant's hashlock"));
        }
        if self.claimant() == Some(who) && !self.own.acts_for.contains(&who) {
            return Err(self.rejected(&input(), "the pivot's claimant releases only by publishing"));
        }
        if self.too_late(now) && self.late.claim.is_none() {
            self.abort(format!("participant {who} released too late for a decision before the deadline"));
            return Ok(());
        }
        self.preimages[usize::from(who)] = Some(*preimage);
        match self.phase {
            _ if self.late.claim.is_some() => self.commit_on_claim(now),
            Phase::Releasing => self.when_released(),
            // With a single hash the pivot waits for this.
            _ => self.note_pivot(),
        }
        Ok(())
    }

    pub(super) fn when_released(&mut self) {
        if self.knows_all() {
            self.propose();
            self.phase = Phase::Committing;
        }
    }

    /// The claim's preimages are everyone's: until T_D whoever has all commits, until G with the guard's signature.
    pub(super) fn revealed(
        &mut self,
        preimages: &[Digest],
        finally: bool,
        now: Timestamp,
    ) -> Result<(), Rejected> {
        let input = || Input::Revealed { preimages: Vec::new(), finally };
        let hashes = preimages.iter().map(|one| Digest::sha256(one.as_bytes()));
        let manifest = self.manifest.clone();
        let Some(terms) = manifest.pivot_terms().filter(|terms| hashes.eq(manifest.lock_hashes(terms)))
        else {
            return Err(self.rejected(&input(), "they do not open the pivot's lock"));
        };
        for ((who, _), preimage) in manifest.openers(terms).zip(preimages) {
            self.preimages[usize::from(who)] = Some(*preimage);
        }
        self.late.claim = Some(finally || self.late.claim == Some(true));
        if self.phase != Phase::Committing && now <= self.manifest.grace_end() {
            self.commit_on_claim(now);
        }
        Ok(())
    }

    /// Only what this node has seen prepared is committed: else it goes on preparing.
    pub(super) fn commit_on_claim(&mut self, now: Timestamp) {
        let enough = self.proposal.is_some() || self.manifest.quorum().allows(self.standing());
        if enough && !self.knows_all() {
            self.await_payer();
        } else if enough {
            self.propose();
            let late = now > self.manifest.deadline && !matches!(self.late.permit, Permit::Given(_));
            self.phase = if late { Phase::Late } else { Phase::Committing };
        } else if self.hopeless().is_none() {
            self.phase = Phase::Preparing;
        }
    }

    fn propose(&mut self) {
        let included = self.standing();
        let root = || evidence::root(self.prepared().map(|(_, evidence)| evidence));
        let proposal = self.proposal.unwrap_or_else(|| Proposal { included, evidence_root: root() });
        self.proposal = Some(proposal);
    }

    pub(super) fn late_effects(&self) -> Vec<Effect> {
        let permit = match (self.late.claim, self.late.permit, self.proposal) {
            (Some(true), Permit::Unasked, Some(Proposal { included, evidence_root })) => {
                Some(Effect::Permit { included, evidence_root })
            }
            _ => None,
        };
        let pivot = self.manifest.pivot().filter(|_| self.late.exposed && self.late.claim != Some(true));
        let claim = pivot.map(|id| self.operate(id, Task::Apply(id)));
        permit.into_iter().chain(claim).chain([self.look(), Effect::Wake(self.after_grace())]).collect()
    }

    pub(super) fn permitted(&mut self, signature: &Signature) -> Result<(), Rejected> {
        let signed = self.proposal.map(|proposal| {
            contract::commit_digest(&self.manifest, proposal.included, proposal.evidence_root)
        });
        if signed.and_then(|digest| signature.signer(digest).ok()) != Some(self.manifest.guard) {
            return Err(
                self.rejected(&Input::Permitted(*signature), "it is not the guard's under this COMMIT")
            );
        }
        self.late.permit = Permit::Given(*signature);
        self.phase = Phase::Committing;
        Ok(())
    }

    pub(super) fn commit_refused(&mut self, reason: &str, now: Timestamp) {
        let permitted = matches!(self.late.permit, Permit::Given(_));
        self.late.exposed = self.late.claim.is_none() && self.must_claim();
        let claimed = self.late.claim.is_some() || self.late.exposed;
        if claimed && !permitted && now <= self.manifest.grace_end() {
            self.phase = Phase::Late;
        } else {
            self.abort(format!("D refused COMMIT: {reason}"));
        }
    }

    /// Whether a COMMIT that D refuses must be followed by the claim: the claimant's secret goes out from here in COMMIT, and
    /// the guard's key is elsewhere. Whoever holds that could take the pivot back at T_p and permit COMMIT after that.
    #[must_use]
    pub fn must_claim(&self) -> bool {
        let account = |who: u16| self.manifest.participants.get(usize::from(who)).map(|one| one.account);
        let guards = self.held().any(|who| account(who) == Some(self.manifest.guard));
        let claims = self.claimant().is_some_and(|claimant| self.held().any(|who| who == claimant));
        claims && !guards
    }

    /// Whether `who` is the pivot's claimant, whose key is here, and whose secret only COMMIT gives away.
    pub(super) fn keeps_last_secret(&self, who: u16) -> bool {
        self.commit_releases() && self.claimant() == Some(who)
    }

    pub(super) fn abort(&mut self, reason: String) {
        self.phase = Phase::Aborting { reason, by: self.aborter(0) };
    }

    /// With a guard, all together. Without, the participant of this node at this place, or whoever may when there is
    /// no further one.
    fn aborter(&self, place: usize) -> Aborter {
        if self.manifest.guard != Account::ZERO {
            Aborter::Together
        } else if place < self.own.acts_for.len() {
            Aborter::Participant(place)
        } else {
            Aborter::AfterGrace
        }
    }

    pub(super) fn abort_refused(&self, reason: &str, by: Aborter, why: &str) -> Phase {
        let reason = reason.to_owned();
        match by {
            Aborter::Participant(place) => Phase::Aborting { reason, by: self.aborter(place + 1) },
            Aborter::Together => Phase::Aborting { reason, by: Aborter::AfterGrace },
            Aborter::AfterGrace | Aborter::Anyone => {
                Phase::Halted { reason: format!("D takes neither COMMIT nor ABORT: {why}") }
            }
        }
    }

    /// Whoever has released does not sign: another could hold the last secret and claim. Whoever signs releases nothing
    /// any more, so once all have signed there is a secret of each honest participant that nobody will ever have.
    pub(super) fn together_effects(&self) -> Vec<Effect> {
        if self.signatures().len() == self.manifest.participants.len() {
            return vec![self.decide_effect(false)];
        }
        let unsigned = |who: u16| self.abort_signature(who).is_none();
        let kept = |who: u16| self.preimages[usize::from(who)].is_none();
        let asked = self.held().filter(|who| unsigned(*who) && kept(*who)).map(Effect::Renounce);
        asked.chain(self.waiting_effects()).collect()
    }

    /// Nothing can be decided before G: a claim is looked for, and without one the pivot is refunded from T_p on.
    pub(super) fn waiting_effects(&self) -> Vec<Effect> {
        let standing = |id: &LegId| matches!(self.legs.get(usize::from(id.0)), Some(Leg::Prepared(_)));
        let pivot = self.manifest.pivot().filter(|id| standing(id) && self.late.claim.is_none());
        let refund = match (pivot, self.timelock()) {
            (Some(id), Some(_)) if self.late.refund => Some(self.operate(id, Task::Revert(id))),
            (Some(_), Some(at)) => Some(Effect::Wake(just_after(at))),
            _ => None,
        };
        refund.into_iter().chain([self.look(), Effect::Wake(self.after_grace())]).collect()
    }

    /// T_p.
    pub(super) fn timelock(&self) -> Option<Timestamp> {
        self.manifest.pivot_terms().map(|terms| terms.timelock)
    }

    /// The pivot is spent before D has decided: back with its payer, so that only ABORT is possible now, or claimed from
    /// here, finally.
    pub(super) fn pivot_spent(&mut self, id: LegId, evidence: &Evidence) -> Result<(), Rejected> {
        let leg = self.manifest.leg(id).filter(|leg| leg.ledger == evidence.ledger);
        let fits = leg.is_some() && self.manifest.pivot() == Some(id);
        if fits && self.late.exposed && evidence.fact == Fact::Applied(self.txid, id) {
            self.late.claim = Some(true);
            return Ok(());
        }
        if !fits || evidence.fact != Fact::Reverted(self.txid, id) {
            return Err(self.rejected(&Input::Closed(id, evidence.clone()), "nothing is decided yet"));
        }
        self.legs[usize::from(id.0)] = Leg::Closed { applied: false, evidence: Some(evidence.clone()) };
        Ok(())
    }

    pub(super) fn renounced(&mut self, who: u16, signature: &Signature) -> Result<(), Rejected> {
        let account = self.manifest.participants.get(usize::from(who)).map(|one| one.account);
        let signer = signature.signer(contract::abort_digest(&self.manifest)).ok();
        if account.is_none() || signer != account {
            let input = Input::Renounced(who, *signature);
            return Err(self.rejected(&input, "it is not the participant's signature under ABORT"));
        }
        self.late.renounced.resize(self.preimages.len(), None);
        self.late.renounced[usize::from(who)] = Some(*signature);
        if matches!(self.phase, Phase::Preparing | Phase::Releasing) {
            self.abort(format!("participant {who} signed ABORT: it will not release"));
        }
        Ok(())
    }

    fn signatures(&self) -> Vec<Signature> {
        self.late.renounced.iter().flatten().copied().collect()
    }

    pub(super) fn count(&self) -> u16 {
        u16::try_from(self.preimages.len()).unwrap_or(u16::MAX)
    }

    /// The participants whose keys are here.
    pub(super) fn held(&self) -> impl Iterator<Item = u16> {
        let count = self.count();
        self.own.acts_for.iter().copied().filter(move |who| *who < count)
    }

    /// From then on G is over also by the clock of a ledger that counts whole seconds.
    pub(super) fn after_grace(&self) -> Timestamp {
        self.manifest.grace_end() + Span::from_seconds(2)
    }

    pub(super) fn decide(&mut self, evidence: &Evidence) -> Result<(), Rejected> {
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
            // Also where the pivot is refunded already and COMMIT includes it: the other legs follow D before it halts.
            None => {
                self.decided = Some(evidence.clone());
                self.phase = Phase::Closing(decision.clone());
                self.when_closed();
            }
        }
        Ok(())
    }

    /// It may come back, the same: an operator drives on then.
    pub(super) fn lost_decision(&mut self, reason: &str) {
        let ledger = &self.manifest.decision.ledger;
        self.phase =
            Phase::Halted { reason: format!("{ledger} no longer holds its final decision (P3): {reason}") };
    }

    pub(super) fn decide_effect(&self, commit: bool) -> Effect {
        let decide = if commit { self.commit() } else { self.abort_by() };
        Effect::Operate {
            task: Task::Decide(commit),
            ledger: self.manifest.decision.ledger.clone(),
            operation: Operation::Decide { manifest: self.manifest.clone(), decide },
        }
    }

    fn commit(&self) -> Decide {
        let Proposal { included, evidence_root } =
            self.proposal.unwrap_or(Proposal { included: 0, evidence_root: Digest::ZERO });
        let guard = match self.late.permit {
            Permit::Given(signature) => Some(signature),
            Permit::Unasked | Permit::Refused => None,
        };
        let preimages = self.preimages.iter().flatten().copied().collect();
        Decide::Commit { included, evidence_root, preimages, guard }
    }

    fn abort_by(&self) -> Decide {
        let (place, signatures) = match &self.phase {
            Phase::Aborting { by: Aborter::Participant(place), .. } => (Some(*place), Vec::new()),
            Phase::Aborting { by: Aborter::Together, .. } => (None, self.signatures()),
            _ => (None, Vec::new()),
        };
        let who = place.and_then(|place| self.own.acts_for.get(place));
        let participant = who.and_then(|who| self.manifest.participants.get(usize::from(*who)));
        // Nobody by name: whoever carries it out may.
        Decide::Abort { by: participant.map_or(Account::ZERO, |one| one.account), signatures }
    }
}
