//! One transaction's state and its transitions. Clauses in the arms are those of design "The inter-ledger protocol".

use std::collections::BTreeMap;
use std::sync::Arc;

use sofie_model::{
    Account, Decision, Digest, Evidence, LegId, Manifest, Operation, Signature, Span, Step, Terms, Timestamp,
    Txid,
};

use crate::{Effect, Input, Look, PivotClock, Plan, Task};

mod closing;
mod deciding;
mod news;
mod preparing;
mod remaining;
mod single;

pub use news::News;
pub use remaining::{Edge, Remaining};

/// Where the transaction is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Legs are being locked.
    Preparing,
    /// Enough prepares are final; participants check them and release their secrets.
    Releasing,
    /// COMMIT is on its way to D.
    Committing,
    /// T_D is over and the pivot was claimed, or must be by this node: COMMIT waits for the claim to be final and for the
    /// guard's signature.
    Late,
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
    /// All together, by their signatures: with a pivot nothing else aborts before G. Those that are held here and have
    /// released nothing are asked; without the others' it waits for the end of G.
    Together,
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
    own: Own,
    phase: Phase,
    legs: Vec<Leg>,
    preimages: Vec<Option<Digest>>,
    /// Until when optional legs are waited for, once there are enough without them.
    waits: Option<Timestamp>,
    /// That time has come.
    waited: bool,
    /// The pivot's turn to be prepared has come.
    pivot_asked: bool,
    /// What COMMIT says, fixed when it is first asked for.
    proposal: Option<Proposal>,
    late: Late,
    balks: Balks,
    decided: Option<Evidence>,
    /// D changed a final decision: no driving on can mend that.
    broken: bool,
}

/// What [`Plan`] says besides the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Own {
    acts_for: Vec<u16>,
    decision_time: Span,
    pivot: Option<PivotClock>,
    /// [`Plan::check`] has found nothing.
    timely: bool,
}

/// What a COMMIT includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Proposal {
    included: u64,
    evidence_root: Digest,
}

/// What only a transaction with a pivot comes to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Late {
    /// Signatures under ABORT, by participant; empty while there is none.
    renounced: Vec<Option<Signature>>,
    /// A claim was seen, and whether it is final.
    claim: Option<bool>,
    /// What the guard says of a late COMMIT.
    permit: Permit,
    /// This node has published the claimant's secret, and D took no COMMIT: it claims.
    exposed: bool,
    /// T_p has passed without a decision and without a claim: the payer takes the value back.
    refund: bool,
}

/// What legs came to, after the decision, that their ledgers refuse to follow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Balks {
    /// Nothing is done for these until an operator looks, and why.
    stuck: BTreeMap<LegId, String>,
    /// How often what D says of a leg was found missing from its ledger, and is done again.
    missing: BTreeMap<LegId, u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Permit {
    #[default]
    Unasked,
    Refused,
    Given(Signature),
}

impl State {
    /// A transaction that begins. The manifest must have passed [`Manifest::check`]; where the plan fails
    /// [`Plan::check`] it is aborted at once (P5).
    #[must_use]
    pub fn begin(plan: Plan) -> Self {
        let untimely = plan.check().err();
        let Plan { manifest, acts_for, decision_time, pivot } = plan;
        let (manifest, own) =
            (Arc::new(manifest), Own { acts_for, decision_time, pivot, timely: untimely.is_none() });
        let mut state = Self {
            txid: manifest.txid(),
            phase: Phase::Preparing,
            legs: vec![Leg::Open; manifest.legs.len()],
            preimages: vec![None; manifest.participants.len()],
            waits: None,
            waited: false,
            pivot_asked: false,
            proposal: None,
            late: Late::default(),
            balks: Balks::default(),
            decided: None,
            broken: false,
            manifest,
            own,
        };
        match untimely {
            Some(why) => state.abort(why.to_string()),
            None => state.note_pivot(),
        }
        state
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

    /// The participants, by index, whose keys this node holds.
    #[must_use]
    pub fn acts_for(&self) -> &[u16] {
        &self.own.acts_for
    }

    /// The secret of participant `who`, once this node knows it.
    #[must_use]
    pub fn preimage(&self, who: u16) -> Option<Digest> {
        self.preimages.get(usize::from(who)).copied().flatten()
    }

    /// The signature of participant `who` under ABORT, once this node knows it.
    #[must_use]
    pub fn abort_signature(&self, who: u16) -> Option<Signature> {
        self.late.renounced.get(usize::from(who)).copied().flatten()
    }

    /// Whether no driving on mends its halt: D has changed its decision, or the pivot ended otherwise than D says.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.broken
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

    /// The participant, by index, whose secret leaves its node only in a COMMIT on D or in the claim itself, never in
    /// a message: the pivot's claimant.
    #[must_use]
    pub fn claimant(&self) -> Option<u16> {
        self.index_of(self.manifest.pivot_terms()?.claimant)
    }

    /// A participant's place.
    fn index_of(&self, account: Account) -> Option<u16> {
        let index = self.manifest.participants.iter().position(|one| one.account == account)?;
        u16::try_from(index).ok()
    }

    /// Whether COMMIT, sent from here, gives the pivot's last secret away. Whoever has not sent it yet sends it no later
    /// than that secret may be released (P2): D would refuse it, and the others would have the secret all the same.
    #[must_use]
    pub fn commit_releases(&self) -> bool {
        let claimant_here = self.claimant().is_some_and(|who| self.own.acts_for.contains(&who));
        self.phase == Phase::Committing && self.late.claim.is_none() && claimant_here
    }

    /// Takes one input that came at `now`. Repeated and late answers are accepted and change nothing.
    ///
    /// # Errors
    /// [`Rejected`] for an input that no honest caller gives.
    pub fn next(mut self, input: &Input, now: Timestamp) -> Result<Self, Rejected> {
        match (&self.phase, input) {
            // A version before drove nothing on while one leg refused.
            (Phase::Closing(_), Input::Resumed) => self.balks = Balks::default(),
            // Nothing moves a halted transaction but an operator.
            (Phase::Halted { .. }, Input::Resumed) => self.resume()?,
            (Phase::Halted { .. }, _) => {}
            // P1, P3: the first final decision stands; another one, or none any more, is a broken ledger.
            (_, Input::Decided(evidence)) => self.decide(evidence)?,
            (Phase::Closing(_) | Phase::Done(_), Input::Undecided(reason)) => self.lost_decision(reason),
            // P3: what a leg's ledger had made final, and undid after the decision.
            (Phase::Closing(_) | Phase::Done(_), Input::Undone(leg, reason)) => {
                self.undone_after(*leg, reason)?
            }
            // Prepare.
            (_, Input::Prepared(leg, evidence)) => self.prepared_leg(*leg, evidence, now)?,
            (_, Input::PrepareRefused(leg, reason)) => self.refused_leg(*leg, reason, now)?,
            // A reorganisation before the decision: it is prepared again.
            (Phase::Preparing | Phase::Releasing, Input::Undone(leg, _)) => self.undone_leg(*leg, now)?,
            // Secrets.
            (Phase::Preparing | Phase::Releasing, Input::Released(who, preimage)) => {
                self.release(*who, preimage, now)?;
            }
            (Phase::Preparing | Phase::Releasing, Input::Withheld(who, reason)) => {
                self.abort(format!("participant {who} withholds its secret: {reason}"));
            }
            // Secrets: a claim has every preimage; whoever sees it commits with them.
            (
                Phase::Preparing
                | Phase::Releasing
                | Phase::Committing
                | Phase::Aborting { .. }
                | Phase::Late,
                Input::Revealed { preimages, finally },
            ) => self.revealed(preimages, *finally, now)?,
            // The claimant's own node: its COMMIT has not left, and does not any more.
            (Phase::Committing, Input::Withheld(who, reason)) if self.keeps_last_secret(*who) => {
                self.abort(format!("participant {who} withholds its secret: {reason}"));
            }
            (Phase::Late, Input::Permitted(signature)) => self.permitted(signature)?,
            (Phase::Late, Input::PermitRefused(_)) => self.late.permit = Permit::Refused,
            // Secrets: before G every participant signs ABORT, or there is none.
            (
                Phase::Preparing | Phase::Releasing | Phase::Aborting { by: Aborter::Together, .. },
                Input::Renounced(who, signature),
            ) => self.renounced(*who, signature)?,
            (Phase::Aborting { reason, by: Aborter::Together }, Input::Withheld(..)) => {
                self.phase = Phase::Aborting { reason: reason.clone(), by: Aborter::AfterGrace };
            }
            // P6: past T_D an undecided transaction is aborted on D, never presumed aborted.
            (Phase::Preparing, Input::Woken) => self.woken_preparing(now),
            (Phase::Releasing, Input::Woken) if now > self.manifest.deadline => {
                self.abort("not every secret was released before the deadline".into());
            }
            (Phase::Committing, Input::DecideRefused(reason)) => self.commit_refused(reason, now),
            (Phase::Aborting { reason, by }, Input::DecideRefused(why)) => {
                self.phase = self.abort_refused(reason, *by, why);
            }
            // P6: past G anyone may write ABORT on D.
            (Phase::Aborting { reason, by: Aborter::AfterGrace | Aborter::Together }, Input::Woken)
                if now >= self.after_grace() =>
            {
                self.phase = Phase::Aborting { reason: reason.clone(), by: Aborter::Anyone };
            }
            // P5: the refund does not wait for ABORT, so that no claim is possible any more when G comes.
            (Phase::Aborting { .. }, Input::Woken) if self.timelock().is_some_and(|at| now > at) => {
                self.late.refund = true;
            }
            (Phase::Aborting { .. }, Input::RevertRefused(..)) => self.late.refund = false,
            (Phase::Aborting { .. } | Phase::Late, Input::Closed(leg, evidence)) => {
                self.pivot_spent(*leg, evidence)?
            }
            (Phase::Late, Input::CloseRefused(leg, reason)) => {
                self.late.exposed = false;
                self.abort(format!("{leg} refuses the claim: {reason}"));
            }
            (Phase::Late, Input::Woken) if now >= self.after_grace() => {
                let reason = "the guard permitted no COMMIT before G".into();
                self.phase = Phase::Aborting { reason, by: Aborter::Anyone };
            }
            // Apply.
            (Phase::Closing(_), Input::Closed(leg, evidence)) => self.close(*leg, evidence)?,
            // A refund at T_p that the claim forestalled is told late: D has included the leg, and it is applied.
            (Phase::Closing(decision), Input::RevertRefused(leg, _)) if decision.includes(*leg) => {}
            // It is claimed: its guard has let D say ABORT. The other legs follow D all the same.
            (Phase::Closing(_), Input::RevertRefused(leg, _)) if self.manifest.pivot() == Some(*leg) => {
                self.legs[usize::from(leg.0)] = Leg::Closed { applied: true, evidence: None };
                self.when_closed();
            }
            (Phase::Closing(_), Input::CloseRefused(leg, reason) | Input::RevertRefused(leg, reason)) => {
                self.balk(*leg, reason);
            }
            (Phase::Done(_), _) => {}
            (_, Input::Closed(..)) => return Err(self.rejected(input, "nothing is decided yet")),
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
            Phase::Preparing => self.preparing_effects(),
            Phase::Releasing => {
                let wake = Effect::Wake(just_after(self.manifest.deadline));
                self.releasable().map(Effect::Release).chain([self.look(), wake]).collect()
            }
            Phase::Committing => vec![self.decide_effect(true)],
            Phase::Late => self.late_effects(),
            Phase::Aborting { by: Aborter::AfterGrace, .. } => self.waiting_effects(),
            Phase::Aborting { by: Aborter::Together, .. } => self.together_effects(),
            Phase::Aborting { .. } => vec![self.decide_effect(false)],
            Phase::Closing(decision) => self.closing_effects(decision),
            Phase::Done(_) => Vec::new(),
            Phase::Halted { reason } => vec![Effect::Alarm(reason.clone())],
        }
    }

    /// A decision that another makes, and a claim, are noticed at the ledgers' poll.
    fn look(&self) -> Effect {
        Effect::Observe(match self.late.claim {
            None => Look::Open,
            Some(false) => Look::Claim,
            Some(true) => Look::Decision,
        })
    }

    fn operate(&self, leg: LegId, task: Task) -> Effect {
        let step = match (task, &self.phase, &self.manifest.legs[usize::from(leg.0)].terms) {
            (Task::Apply(_), Phase::Closing(Decision::Commit { preimages, .. }), Terms::Hashlock(terms)) => {
                Step::Claim(self.manifest.lock_preimages(terms, preimages))
            }
            (Task::Apply(_), Phase::Late, Terms::Hashlock(terms)) => {
                let openers = self.manifest.openers(terms);
                Step::Claim(openers.filter_map(|(who, _)| self.preimage(who)).collect())
            }
            (Task::Apply(_), ..) => Step::Apply,
            (Task::Revert(_), ..) => Step::Revert,
            (Task::Prepare(_) | Task::Decide(_), ..) => Step::Prepare,
        };
        let ledger = self.manifest.legs[usize::from(leg.0)].ledger.clone();
        Effect::Operate {
            task,
            ledger,
            operation: Operation::Leg { manifest: self.manifest.clone(), leg, step },
        }
    }

    /// No release is safe that comes less than this before T_D: inclusion(D) + finality(D), and what the clocks may
    /// differ by where time is what the pivot rests on.
    #[must_use]
    pub fn decision_time(&self) -> Span {
        self.own.decision_time + self.own.pivot.map_or(Span::ZERO, |clock| clock.skew)
    }

    /// P2, P5: a COMMIT that begins now could miss T_D.
    fn too_late(&self, now: Timestamp) -> bool {
        now + self.decision_time() > self.manifest.deadline
    }

    fn rejected(&self, input: &Input, why: &str) -> Rejected {
        Rejected { txid: self.txid, input: input.told(), why: why.into() }
    }
}

fn just_after(deadline: Timestamp) -> Timestamp {
    deadline + Span::from_millis(1)
}
