//! The rules, each of which applies or not to the state as it is.

use super::*;

impl Instance {
    /// Applies the first rule that applies; says whether one did.
    pub(super) fn rule(&mut self, now: Timestamp) -> bool {
        self.certify()
            || self.catch_up(now)
            || self.adopt()
            || self.propose(now)
            || self.prevote(now)
            || self.lock()
            || self.precommit_none()
            || self.expire(now)
    }

    /// 49: a quorum precommitted a value, in whichever round.
    fn certify(&mut self) -> bool {
        let rounds = self.state.votes.iter().map(|vote| vote.round);
        let elected = |round| self.elected(Kind::Precommit, round).flatten().map(|id| (round, id));
        let found = rounds.filter_map(elected).find_map(|(round, id)| {
            self.known(id).map(|value| self.certificate(Kind::Precommit, round, value.clone()))
        });
        let certain = found.is_some();
        found.into_iter().for_each(|certificate| self.decide(certificate));
        certain
    }

    pub(super) fn decide(&mut self, certificate: Certificate) {
        self.state.decided = Some(certificate);
        (self.state.proposal, self.state.votes) = (None, vec![]);
        (self.state.locked, self.state.valid, self.state.candidates) = (None, None, vec![]);
        self.changed = true;
    }

    /// 55: with f + 1 members in a later round one of them is honest.
    pub(super) fn catch_up(&mut self, now: Timestamp) -> bool {
        let mut newest = vec![0; self.seat.group.members().len()];
        for vote in &self.state.votes {
            let of_member = &mut newest[usize::from(vote.member)];
            *of_member = vote.round.max(*of_member);
        }
        newest.sort_unstable_by(|one, other| other.cmp(one));
        let round = newest[self.seat.group.faulty()];
        let behind = round > self.state.round;
        if behind {
            self.start(round, now);
        }
        behind
    }

    /// 42: a quorum prevoted a value in this round.
    fn adopt(&mut self) -> bool {
        let round = self.state.round;
        let value = self.elected(Kind::Prevote, round).flatten().and_then(|id| self.known(id));
        let found = value.map(|value| self.certificate(Kind::Prevote, round, value.clone()));
        let found = found.filter(|found| self.is_news(found));
        let news = found.is_some();
        if news {
            (self.state.valid, self.changed) = (found, true);
        }
        news
    }

    pub(super) fn is_news(&self, lock: &Certificate) -> bool {
        self.state.valid.as_ref().is_none_or(|valid| valid.votes.round < lock.votes.round)
    }

    /// 42, told by another. A quorum in a later round is more than f + 1 members there (55).
    pub(super) fn adopt_lock(&mut self, lock: Certificate, now: Timestamp) {
        if lock.votes.round > self.state.round {
            self.start(lock.votes.round, now);
        }
        (self.state.valid, self.changed) = (Some(lock), true);
    }

    /// 14 to 19: in its turn, the value that a quorum prevoted before, else what it was asked for.
    fn propose(&mut self, now: Timestamp) -> bool {
        let (round, seat) = (self.state.round, &self.seat);
        let turn = seat.group.proposer(self.txid, round) == seat.member;
        if self.state.step != Step::Propose || !turn || self.state.proposal.is_some() {
            return false;
        }
        let what = match &self.state.valid {
            Some(valid) if valid.votes.round >= round => return false,
            Some(valid) => Some((valid.value.clone(), Some(valid.votes.clone()))),
            None => self.candidate(now).map(|value| (value, None)),
        };
        let Some(what) = what else { return false };
        self.state.proposal = Some(Proposal::sign(&seat.id, self.txid, round, what, &seat.key));
        self.changed = true;
        true
    }

    /// What can be decided now: the first of what it was asked for; past G, ABORT of its own accord.
    fn candidate(&self, now: Timestamp) -> Option<Value> {
        let late = Candidate { decision: Decision::Abort { by: Account::ZERO }, signatures: vec![] };
        let mut all = self.state.candidates.iter().chain([&late]);
        let first = all.find(|one| self.check_now(one, now).is_ok())?.clone();
        Some(Value { decision: first.decision, signatures: first.signatures, at: now })
    }

    /// 22 and 28.
    fn prevote(&mut self, now: Timestamp) -> bool {
        let Some(proposal) = self.state.proposal.clone().filter(|_| self.state.step == Step::Propose) else {
            return false;
        };
        let good = self.accepts(&proposal, now);
        self.cast(Kind::Prevote, good.then(|| proposal.value.id()));
        let Value { decision, signatures, .. } = proposal.value;
        // What it has voted for it does not call refused later.
        if good && !self.has_alike(&decision) {
            self.state.candidates.push(Candidate { decision, signatures });
        }
        true
    }

    /// 23: what is new must fit its lock, the rules and the time; 29: what a quorum prevoted since its lock, the rules.
    fn accepts(&self, proposal: &Proposal, now: Timestamp) -> bool {
        let (value, locked) = (&proposal.value, self.state.locked.as_ref());
        let fits = locked.is_none_or(|locked| locked.value == *value);
        let good = match &proposal.lock {
            None => fits && self.is_timely(value, now),
            Some(lock) => fits || locked.is_none_or(|locked| locked.votes.round <= lock.round),
        };
        good && value.check(&self.manifest).is_ok()
    }

    /// Whether the proposer's clock is near this one, and the decision is valid by this one, too.
    fn is_timely(&self, value: &Value, now: Timestamp) -> bool {
        let near = value.at.since(now) <= MAX_DRIFT && now.since(value.at) <= MAX_DRIFT;
        near && decision::check_rules(&self.manifest, &value.decision, &value.signatures, now).is_ok()
    }

    /// 36 to 41: it locks what a quorum prevoted in this round.
    fn lock(&mut self) -> bool {
        let valid = self.state.valid.clone().filter(|valid| valid.votes.round == self.state.round);
        let Some(valid) = valid.filter(|_| self.state.step == Step::Prevote) else { return false };
        let id = valid.value.id();
        self.state.locked = Some(valid);
        self.cast(Kind::Precommit, Some(id));
        true
    }

    /// 44: a quorum prevoted for none.
    fn precommit_none(&mut self) -> bool {
        let none = self.elected(Kind::Prevote, self.state.round) == Some(None);
        let applies = none && self.state.step == Step::Prevote;
        if applies {
            self.cast(Kind::Precommit, None);
        }
        applies
    }

    /// 34 and 47 begin a wait; 57, 61 and 65 end one.
    fn expire(&mut self, now: Timestamp) -> bool {
        let (round, step) = (self.state.round, self.state.step);
        for (kind, timer) in [(Kind::Prevote, Step::Prevote), (Kind::Precommit, Step::Precommit)] {
            if self.voters(kind, round) >= self.quorum && self.timers[timer as usize].is_none() {
                self.timers[timer as usize] = Some(now + self.wait());
            }
        }
        let over = |timer: Step| self.timers[timer as usize].is_some_and(|until| is_over(until, now));
        match step {
            _ if over(Step::Precommit) => self.start(round.saturating_add(1), now),
            Step::Propose if over(Step::Propose) => self.cast(Kind::Prevote, None),
            Step::Prevote if over(Step::Prevote) => self.cast(Kind::Precommit, None),
            _ => return false,
        }
        true
    }
}
