//! The consensus on one transaction, as one member sees it: a state machine that takes inputs and the time, and returns
//! effects. Numbers in comments are the lines of algorithm 1 in Buchman, Kwon, Milosevic: *The latest gossip on BFT
//! consensus* (2018).
//!
//! Where it differs from there:
//! - A proof of lock travels whole, as the votes of a quorum. So a vote that is told in two ways to two members hinders
//!   nobody, and a lock reaches members that have left its round.
//! - Messages are not relayed one by one: a member repeats all that still matters as one [`Bundle`], until it has decided.
//!   What is lost, doubled or late does no harm.
//! - Whoever prevotes a value first also checks its time (Tendermint's proposer-based timestamps).

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Encode};

use super::message::{Kind, Value, Vote, Votes};
use super::{Bundle, Candidate, Certificate, Group, MAX_VOTES, Proposal, Said, Word, check_site};
use crate::proof::calendar::decision;
use crate::{Account, Decision, Digest, Manifest, Span, Timestamp, Txid, canonical};

mod rounds;
mod rules;

/// How far a proposer's clock may be from a voter's, the way of its message included.
pub const MAX_DRIFT: Span = Span::from_seconds(10);
/// No step of a round waits longer, however many rounds have failed.
pub const MAX_WAIT: Span = Span::from_seconds(10);
/// A longer state is none: a bundle's content without the manifest, the lock twice, and the candidates.
pub const MAX_STATE: usize = super::MAX_BUNDLE;

/// Who takes part: one member, with its key.
pub struct Seat {
    group: Group,
    id: Digest,
    member: u8,
    key: SigningKey,
    pace: Span,
}

impl Seat {
    /// The seat of this key's member; nothing when it is none. `pace` is how long the first round waits for each step, and
    /// how often an undecided member repeats itself: some times the way of a message.
    #[must_use]
    pub fn new(group: Group, key: SigningKey, pace: Span) -> Option<Self> {
        let member = group.place(&Digest(key.verifying_key().to_bytes()))?;
        Some(Self { id: group.id(), group, member, key, pace })
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> &Group {
        &self.group
    }

    /// This member's place in it.
    #[must_use]
    pub const fn member(&self) -> u8 {
        self.member
    }

    /// This member's answer to the question `nonce` about a transaction.
    #[must_use]
    pub fn answer(&self, txid: Txid, nonce: &Digest, said: Said, decided: Option<Certificate>) -> Word {
        Word::sign((&self.id, txid, nonce), said, decided, (self.member, &self.key))
    }
}

/// Where a member stands in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Step {
    /// It waits for the proposal.
    #[n(0)]
    Propose,
    /// It has prevoted.
    #[n(1)]
    Prevote,
    /// It has precommitted.
    #[n(2)]
    Precommit,
}

/// All that a member must not forget. Whoever votes again after a loss of it is a traitor.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct State {
    #[n(0)]
    pub(super) round: u32,
    #[n(1)]
    pub(super) step: Step,
    /// At most one COMMIT and one ABORT, the first of each that was asked for or prevoted.
    #[n(2)]
    pub(super) candidates: Vec<Candidate>,
    /// Of this round.
    #[n(3)]
    pub(super) proposal: Option<Proposal>,
    /// lockedValue and lockedRound: what it precommitted last.
    #[n(4)]
    pub(super) locked: Option<Certificate>,
    /// validValue and validRound: the newest value that a quorum prevoted.
    #[n(5)]
    pub(super) valid: Option<Certificate>,
    /// Of this round, the precommits of the one before, and of each member its newest round; in order.
    #[n(6)]
    pub(super) votes: Vec<Vote>,
    #[n(7)]
    pub(super) decided: Option<Certificate>,
}

impl State {
    /// The stored bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Reads them back.
    ///
    /// # Errors
    /// [`canonical::Error`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, canonical::Error> {
        canonical::decode(bytes, MAX_STATE)
    }

    /// The decision, once there is one.
    #[must_use]
    pub const fn decided(&self) -> Option<&Certificate> {
        self.decided.as_ref()
    }
}

/// What happens to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Somebody asks for this decision.
    Ask(Candidate),
    /// A member tells what it knows. The bundle's manifest is this instance's.
    Heard(Box<Bundle>),
    /// Time has passed.
    Tick,
}

/// What is to be done, in this order and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Store this durably before the next effect, and before [`Instance::bundle`] is shown to anyone.
    Save(Box<State>),
    /// Send this to every other member. It may be lost.
    Send(Box<Bundle>),
}

/// Why an input was refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// One transaction at one member.
pub struct Instance {
    pub(super) seat: Arc<Seat>,
    manifest: Arc<Manifest>,
    txid: Txid,
    pub(super) state: State,
    /// When each step's wait is over, where one runs: 57, 61, 65.
    timers: [Option<Timestamp>; 3],
    resend: Timestamp,
    /// More than two thirds.
    pub(super) quorum: usize,
    changed: bool,
}

impl Instance {
    /// Begins (10), in round 0.
    ///
    /// # Errors
    /// [`Refused`] when the group is not this transaction's D, or cannot be.
    pub fn open(seat: Arc<Seat>, manifest: Arc<Manifest>, now: Timestamp) -> Result<Self, Refused> {
        let state = State {
            round: 0,
            step: Step::Propose,
            candidates: vec![],
            proposal: None,
            locked: None,
            valid: None,
            votes: vec![],
            decided: None,
        };
        Self::restore(seat, manifest, state, now)
    }

    /// Goes on from what was saved last.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn restore(
        seat: Arc<Seat>,
        manifest: Arc<Manifest>,
        state: State,
        now: Timestamp,
    ) -> Result<Self, Refused> {
        check_site(&manifest, &seat.group).map_err(Refused)?;
        let (txid, quorum) = (manifest.txid(), seat.group.quorum());
        let mut this =
            Self { seat, manifest, txid, state, timers: [None; 3], resend: now, quorum, changed: false };
        this.timers[Step::Propose as usize] = Some(now + this.wait());
        Ok(this)
    }

    /// Takes an input. The effects are in their order; an input that changes nothing may have none.
    ///
    /// # Errors
    /// [`Refused`]: a request that is not valid now, or a bundle of which a part is not what it claims to be.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Result<Vec<Effect>, Refused> {
        match input {
            Input::Ask(candidate) => self.ask(candidate, now)?,
            Input::Heard(bundle) => self.hear(&bundle, now)?,
            Input::Tick => {}
        }
        // Each pass applies one rule. A round ends by votes that are there, so there are not many.
        while self.state.decided.is_none() && self.rule(now) {}
        Ok(self.effects(now))
    }

    /// The transaction.
    #[must_use]
    pub const fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The decision, once there is one.
    #[must_use]
    pub const fn decided(&self) -> Option<&Certificate> {
        self.state.decided()
    }

    /// Whether it was asked for a COMMIT or has seen votes for one. While it has not, and its clock is past T_D, it never
    /// gives the first votes to one.
    #[must_use]
    pub fn knows_commit(&self) -> bool {
        let State { candidates, locked, valid, decided, .. } = &self.state;
        let voted = [locked, valid, decided].into_iter().flatten().map(|one| &one.value.decision);
        let mut all = candidates.iter().map(|one| &one.decision).chain(voted);
        all.any(|decision| matches!(decision, Decision::Commit { .. }))
    }

    /// A vote of this member's own key in `bundle` that it never gave: the key is used elsewhere, or this state is an old
    /// copy. A member that goes on nevertheless may be made to contradict itself, and its group to decide twice.
    #[must_use]
    pub fn foreign_vote(&self, bundle: &Bundle) -> Option<Vote> {
        if self.state.decided.is_some() {
            return None;
        }
        let (group, id, member) = (&self.seat.group, &self.seat.id, self.seat.member);
        let of = |certificate: &Option<Certificate>, kind| -> Vec<Vote> {
            let Some(Certificate { value, votes }) = certificate else { return vec![] };
            let (round, value) = (votes.round, Some(value.id()));
            let vote = |&(member, signature): &_| Vote { round, kind, value, member, signature };
            votes.signatures.iter().map(vote).collect()
        };
        let certified = [of(&bundle.lock, Kind::Prevote), of(&bundle.decided, Kind::Precommit)];
        let all = bundle.votes.iter().cloned().chain(certified.into_iter().flatten());
        let own = all.filter(|vote| vote.member == member && !self.has_given(vote));
        own.into_iter().find(|vote| vote.is_signed(group, id, self.txid))
    }

    /// When it wants to be called at the latest; never again once it is decided.
    #[must_use]
    pub fn wake(&self) -> Option<Timestamp> {
        let undecided = self.state.decided.is_none();
        undecided.then(|| self.timers.iter().flatten().copied().fold(self.resend, Timestamp::min))
    }

    /// What this member tells another: as the answer to each bundle, too. So the last ones learn of the decision from
    /// those who have it and say nothing more by themselves.
    #[must_use]
    pub fn bundle(&self) -> Bundle {
        let State { proposal, votes, valid, decided, .. } = &self.state;
        let manifest = self.manifest.as_ref().clone();
        match decided {
            Some(_) => {
                Bundle { manifest, proposal: None, votes: vec![], lock: None, decided: decided.clone() }
            }
            None => Bundle {
                manifest,
                proposal: proposal.clone(),
                votes: votes.clone(),
                lock: valid.clone(),
                decided: None,
            },
        }
    }

    /// Another decision of the same kind that is under way already answers for this one.
    fn ask(&mut self, candidate: Candidate, now: Timestamp) -> Result<(), Refused> {
        if self.state.decided.is_some() || self.has_alike(&candidate.decision) {
            return Ok(());
        }
        self.check_now(&candidate, now).map_err(Refused)?;
        self.state.candidates.push(candidate);
        self.changed = true;
        Ok(())
    }

    fn has_alike(&self, decision: &Decision) -> bool {
        let kind = std::mem::discriminant(decision);
        self.state.candidates.iter().any(|one| std::mem::discriminant(&one.decision) == kind)
    }

    fn check_now(&self, candidate: &Candidate, now: Timestamp) -> Result<(), String> {
        decision::check_rules(&self.manifest, &candidate.decision, &candidate.signatures, now)
    }

    /// Checks all of it before any of it counts.
    fn hear(&mut self, bundle: &Bundle, now: Timestamp) -> Result<(), Refused> {
        if self.state.decided.is_some() {
            return Ok(());
        }
        let (group, txid) = (&self.seat.group, self.txid);
        if let Some(decided) = &bundle.decided {
            decided.verify(group, &self.manifest, Kind::Precommit).map_err(Refused)?;
            self.decide(decided.clone());
            return Ok(());
        }
        if bundle.votes.len() > MAX_VOTES {
            return Err(Refused(format!("{} votes, at most {MAX_VOTES} are read", bundle.votes.len())));
        }
        let forged = |vote: &&Vote| self.wants(vote) && !vote.is_signed(group, &self.seat.id, txid);
        if let Some(vote) = bundle.votes.iter().find(forged) {
            return Err(Refused(format!("a vote of round {} is not member {}'s", vote.round, vote.member)));
        }
        let lock = bundle.lock.as_ref().filter(|lock| self.is_news(lock));
        lock.map_or(Ok(()), |lock| lock.verify(group, &self.manifest, Kind::Prevote)).map_err(Refused)?;
        let proposal = bundle.proposal.as_ref().filter(|one| {
            one.round > self.state.round || (one.round == self.state.round && self.state.proposal.is_none())
        });
        proposal.map_or(Ok(()), |one| one.verify(group, txid)).map_err(Refused)?;
        self.take(bundle, lock, proposal, now);
        Ok(())
    }

    fn take(
        &mut self,
        bundle: &Bundle,
        lock: Option<&Certificate>,
        proposal: Option<&Proposal>,
        now: Timestamp,
    ) {
        for vote in &bundle.votes {
            self.store(vote);
        }
        while self.catch_up(now) {}
        if let Some(lock) = lock {
            self.adopt_lock(lock.clone(), now);
        }
        if let Some(one) = proposal.filter(|one| one.round == self.state.round) {
            self.state.proposal.get_or_insert_with(|| one.clone());
        }
    }

    fn effects(&mut self, now: Timestamp) -> Vec<Effect> {
        let due = self.state.decided.is_none() && is_over(self.resend, now);
        let mut effects = Vec::new();
        if self.changed {
            effects.push(Effect::Save(Box::new(self.state.clone())));
        }
        if self.changed || due {
            effects.push(Effect::Send(Box::new(self.bundle())));
            self.resend = now + self.seat.pace;
        }
        self.changed = false;
        effects
    }
}

/// Whether this instant is past. One that lies further ahead than any wait is the trace of a clock that was set back.
fn is_over(until: Timestamp, now: Timestamp) -> bool {
    until <= now || until.since(now) > MAX_WAIT
}
