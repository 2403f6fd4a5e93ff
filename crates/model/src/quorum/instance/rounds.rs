//! Rounds and their votes: which are kept, and what they come to.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

impl Instance {
    /// 11 to 13: begins a round.
    pub(super) fn start(&mut self, round: u32, now: Timestamp) {
        (self.state.round, self.state.step, self.state.proposal) = (round, Step::Propose, None);
        self.state.votes.retain(|vote| matters(vote, round));
        self.timers = [Some(now + self.wait()), None, None];
        self.changed = true;
    }

    /// How long a step of this round waits. It grows until the members are faster than it.
    pub(super) fn wait(&self) -> Span {
        (self.seat.pace * u64::from(self.state.round).saturating_add(1)).min(MAX_WAIT)
    }

    /// Votes, once, and is a step further. Where a vote of its own stands already, it does not sign another.
    pub(super) fn cast(&mut self, kind: Kind, value: Option<Digest>) {
        let Seat { id, member, key, .. } = self.seat.as_ref();
        let vote = Vote::sign(id, self.txid, (self.state.round, kind, value), (*member, key));
        self.insert(vote);
        self.state.step = match kind {
            Kind::Prevote => Step::Prevote,
            Kind::Precommit => Step::Precommit,
        };
        self.changed = true;
    }

    /// Whether a vote is new and may still matter. Of a member only the first one of each kind in a round counts.
    pub(super) fn wants(&self, vote: &Vote) -> bool {
        let ahead = |other: &Vote| other.member == vote.member && other.round > vote.round;
        let outrun = vote.round > self.state.round && self.state.votes.iter().any(ahead);
        usize::from(vote.member) < self.seat.group.members().len()
            && matters(vote, self.state.round)
            && !outrun
            && self.state.votes.binary_search_by_key(&place(vote), place).is_err()
    }

    /// Keeps a vote whose signature was checked. Of a member that is ahead, its newest round is enough.
    pub(super) fn store(&mut self, vote: &Vote) {
        if !self.wants(vote) {
            return;
        }
        let round = self.state.round;
        let outrun = |old: &Vote| old.member == vote.member && old.round > round && old.round < vote.round;
        self.state.votes.retain(|old| !outrun(old));
        self.insert(vote.clone());
    }

    fn insert(&mut self, vote: Vote) {
        if let Err(index) = self.state.votes.binary_search_by_key(&place(&vote), place) {
            self.state.votes.insert(index, vote);
        }
    }

    /// Whether it may have given this vote of its own: what it gave in rounds that are over is forgotten.
    pub(super) fn has_given(&self, vote: &Vote) -> bool {
        let said = |own: &Vote| own.value == vote.value;
        let stored = self.state.votes.binary_search_by_key(&place(vote), place);
        vote.round < self.state.round || stored.is_ok_and(|at| said(&self.state.votes[at]))
    }

    fn ballots(&self, kind: Kind, round: u32) -> impl Iterator<Item = &Vote> {
        self.state.votes.iter().filter(move |vote| (vote.round, vote.kind) == (round, kind))
    }

    /// How many have voted.
    pub(super) fn voters(&self, kind: Kind, round: u32) -> usize {
        self.ballots(kind, round).map(|vote| vote.member).collect::<BTreeSet<_>>().len()
    }

    /// What a quorum voted for, if it did.
    pub(super) fn elected(&self, kind: Kind, round: u32) -> Option<Option<Digest>> {
        let mut counts = BTreeMap::new();
        for vote in self.ballots(kind, round) {
            *counts.entry(vote.value).or_insert(0) += 1;
        }
        counts.into_iter().find(|(_, count)| *count >= self.quorum).map(|(value, _)| value)
    }

    /// The value of this name, if it has come here.
    pub(super) fn known(&self, id: Digest) -> Option<&Value> {
        let State { proposal, locked, valid, .. } = &self.state;
        let proposed = proposal.iter().map(|one| &one.value);
        let voted = [locked, valid].into_iter().flatten().map(|one| &one.value);
        proposed.chain(voted).find(|value| value.id() == id)
    }

    /// The votes of a quorum that [`Self::elected`] this value.
    pub(super) fn certificate(&self, kind: Kind, round: u32, value: Value) -> Certificate {
        let id = Some(value.id());
        let votes = self.ballots(kind, round).filter(|vote| vote.value == id);
        let signatures = votes.map(|vote| (vote.member, vote.signature)).take(self.quorum).collect();
        Certificate { value, votes: Votes { round, signatures } }
    }
}

fn place(vote: &Vote) -> (u32, Kind, u8) {
    (vote.round, vote.kind, vote.member)
}

/// Whether a vote may still matter in this round: those of the round and later ones, and the precommits by which the
/// round before was left.
fn matters(vote: &Vote, round: u32) -> bool {
    vote.round >= round || (vote.round.checked_add(1) == Some(round) && vote.kind == Kind::Precommit)
}
