//! The protocol: what each ledger takes, what an honest participant may and must do, and what anybody else can.

use stateright::{Model, Property};

use crate::{
    broken::Broken,
    promises,
    state::{ALL, ALL_TX, Crash, PREPARES, Place, Set, State, Tx, Who},
    times::Times,
};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// The clocks go on. Not while something is overdue: a bound of P5 would be broken.
    Tick,
    /// Phases, Prepare: the leg's owner submits it.
    Prepare(Tx),
    /// Recovery: after a restart its owner submits a prepare of unknown fate again.
    PrepareAgain(Tx),
    /// Secrets: by message to all.
    Release(Who),
    /// Secrets: the claimant releases by publishing COMMIT.
    PublishCommit,
    /// Secrets: the claimant releases by the claim itself.
    PublishClaim,
    /// Secrets: every honest participant signs ABORT before G.
    SignAbort,
    /// What an honest participant owes (see [`Protocol::duties`]).
    Submit(Tx),
    /// A ledger records what waits.
    Record(Tx),
    /// A ledger undoes what is not final yet.
    Reorganise(Tx),
    /// The hostile ones get it recorded at once.
    Strike(Tx),
    Crash(Who),
    Restart(Who),
    /// The claimant has crashed, and the COMMIT that it published does not arrive.
    Lose,
    /// Only with [`Broken::PresumesAbort`] and [`Broken::ReadsBeforeFinal`].
    Misread(bool),
    /// Only with [`Broken::EscrowRefundsByTime`].
    GoBackByTime,
}

/// The model.
#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    pub(crate) times: Times,
    /// The rule that does not hold.
    pub(crate) broken: Option<Broken>,
    /// Which sets of participants are hostile, each in worlds of its own.
    pub(crate) hostile: Vec<Set>,
    /// How many reorganisations a world has.
    pub(crate) reorgs: u8,
    /// The claimant may publish by the claim until then.
    pub(crate) publish_claim_until: u8,
    /// How long the refund may take to be submitted once T_p has passed.
    pub(crate) refund_within: u8,
    /// A guard that crashes may stay away.
    pub(crate) guard_may_die: bool,
    /// The pivot opens to its claimant's secret alone (see `single.rs`).
    pub(crate) single: bool,
}

impl Protocol {
    /// All rules hold; each set of hostile participants but those that hold both the pivot's guard and its claimant
    /// (docs/specs/inter-ledger.md, "What the model found").
    pub(crate) fn sound(times: Times) -> Self {
        use Who::{Alice, Bob, Carol};
        let hostile = [&[][..], &[Alice], &[Bob], &[Carol], &[Bob, Carol], &[Alice, Carol]];
        Self {
            times,
            broken: None,
            hostile: hostile.into_iter().map(Set::of).collect(),
            reorgs: 1,
            publish_claim_until: times.release_until() - times.detection,
            refund_within: times.detection,
            guard_may_die: false,
            single: false,
        }
    }

    pub(crate) fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }

    /// Whether the transaction's ledger takes it now. Preimages are there: whoever submits has them.
    fn takes(&self, state: &State, tx: Tx) -> bool {
        match tx {
            Tx::LockVerifying => !state.is_decided(),
            Tx::LockPivot | Tx::AppendRecord => true,
            Tx::Commit => !state.is_decided() && state.odd.is_none() && self.in_time(state),
            Tx::Abort => {
                let free = !state.is_recorded(Tx::Abort)
                    && (!state.is_recorded(Tx::Commit) || self.breaks(Broken::LastRecordCounts));
                free && self.may_abort(state)
            }
            Tx::Claim => {
                let length = self.lock_takes_lengths(state) || self.breaks(Broken::AnyLength);
                state.is_recorded(Tx::LockPivot) && !state.is_spent() && length
            }
            Tx::Refund => {
                let after = state.pivot_clock() > i16::from(self.times.timelock);
                state.is_recorded(Tx::LockPivot) && !state.is_spent() && after
            }
        }
    }

    /// COMMIT is valid until T_D, and until G with the guard's signature.
    fn in_time(&self, state: &State) -> bool {
        let guard = state.guard_signed || state.hostile.has(Who::Alice) || self.breaks(Broken::NoGuard);
        state.now <= self.times.deadline || (guard && state.now <= self.times.grace_end)
    }

    /// ABORT is valid after G, or earlier when every participant signs it.
    fn may_abort(&self, state: &State) -> bool {
        state.now > self.times.grace_end || state.abort_signed || self.breaks(Broken::AbortBeforeGrace)
    }

    /// What honest participants owe, with the last tick for it.
    pub(crate) fn duties(&self, state: &State) -> Vec<(Tx, u8)> {
        let duty = |tx| match tx {
            Tx::Claim if state.lost => self.exposed_until(state).map(|until| (tx, until)),
            _ => self.owed_since(state, tx).map(|since| (tx, since + self.patience(tx))),
        };
        [Tx::Commit, Tx::Abort, Tx::Claim, Tx::Refund].into_iter().filter_map(duty).collect()
    }

    /// Any participant may be restarting when it falls due.
    fn patience(&self, tx: Tx) -> u8 {
        if tx == Tx::Refund { self.refund_within } else { self.times.detection }
    }

    fn owed_since(&self, state: &State, tx: Tx) -> Option<u8> {
        let undecided = !state.is_decided();
        if !state.is_absent(tx) || (tx == Tx::Claim && state.is_spent()) {
            return None;
        }
        match tx {
            // Secrets: a claim that is seen makes every preimage known; COMMIT follows.
            Tx::Commit if undecided && state.now <= self.times.deadline => self
                .answers_claim_since(state)
                .filter(|_| state.odd.is_none() && self.somebody_has_all(state)),
            // Secrets: between T_D and G, once the claim is final, by the guard.
            Tx::Commit if undecided && state.now <= self.times.grace_end => {
                let guard_acts =
                    state.is_honest(Who::Alice) && state.odd.is_none() && self.somebody_has_all(state);
                let lost = self.guard_may_die && !state.is_up(Who::Alice);
                let claimed = self.claim_that_guard_accepts(state);
                claimed.filter(|_| guard_acts && !lost).map(|since| since.max(self.times.deadline + 1))
            }
            // Recovery: past G, write ABORT on D; never presume it.
            Tx::Abort if undecided && state.now > self.times.grace_end => Some(self.times.grace_end + 1),
            // Apply: anyone drives the pivot from D, by the claimant's pre-signed spend.
            Tx::Claim if state.is_final(Tx::Commit) && state.is_recorded(Tx::LockPivot) => {
                let somebody = !self.breaks(Broken::NobodyElseClaims) || state.able(Who::Bob);
                state.final_at(Tx::Commit).filter(|_| somebody)
            }
            Tx::Refund => self.refund_owed_since(state),
            _ => None,
        }
    }

    /// Secrets: everybody has the secret of a COMMIT that did not arrive. Once T_D has passed and its claimant runs again, it
    /// claims at once, or as soon as a COMMIT that stands by then is final.
    fn exposed_until(&self, state: &State) -> Option<u8> {
        let late = state.now > self.times.deadline && !state.is_recorded(Tx::Abort);
        let free = state.is_absent(Tx::Claim) && self.takes(state, Tx::Claim);
        let left = self.breaks(Broken::LostCommitIsLeft) && !state.is_final(Tx::Commit);
        let back = self.times.deadline + 1 + self.times.detection;
        (late && free && !left).then(|| state.final_at(Tx::Commit).map_or(back, |at| at.max(back)))
    }

    fn claim_that_guard_accepts(&self, state: &State) -> Option<u8> {
        if self.breaks(Broken::GuardSignsEarly) && state.is_recorded(Tx::Claim) {
            return state.seen(Tx::Claim);
        }
        state.final_at(Tx::Claim).filter(|at| *at <= state.now)
    }

    /// Apply: after T_p the lock goes back, unless a claim is seen or COMMIT stands.
    fn refund_owed_since(&self, state: &State) -> Option<u8> {
        if !self.takes(state, Tx::Refund) || !state.is_absent(Tx::Claim) || state.is_recorded(Tx::Commit) {
            return None;
        }
        if self.breaks(Broken::RefundsLate) {
            return state.final_at(Tx::Abort).filter(|at| *at <= state.now);
        }
        let after = i16::from(self.times.timelock) + 1 - i16::from(state.ahead);
        u8::try_from(after).ok()
    }

    /// Who can do what is owed.
    fn can_do(&self, state: &State, tx: Tx) -> bool {
        match tx {
            Tx::Commit if state.now > self.times.deadline || state.released != Set::EVERYONE => {
                state.able(Who::Alice)
            }
            Tx::Claim if self.breaks(Broken::NobodyElseClaims) || !state.is_final(Tx::Commit) => {
                state.able(Who::Bob)
            }
            _ => ALL.into_iter().any(|who| state.able(who)),
        }
    }

    /// Something whose last tick is now has not happened.
    pub(crate) fn is_overdue(&self, state: &State) -> bool {
        let waits = |tx: &Tx| {
            matches!(state.at(*tx), Place::Waiting { until, .. } if until <= state.now)
                && self.takes(state, *tx)
        };
        ALL_TX.iter().any(waits) || self.duties(state).iter().any(|(_, last)| *last <= state.now)
    }

    /// Secrets: only after every prepare is final, not later than COMMIT can be final in time, and never after a
    /// signature under ABORT.
    fn may_release(&self, state: &State, who: Who, until: u8) -> bool {
        let prepared = |tx: &Tx| match self.broken {
            Some(Broken::ReleaseBeforeFinal) => state.is_recorded(*tx),
            _ => state.is_final(*tx),
        };
        let until = if self.breaks(Broken::ReleaseLate) { self.times.deadline } else { until };
        state.able(who)
            && !state.released.has(who)
            && !state.abort_signed
            && !state.is_decided()
            && self.looks_at(who).iter().all(prepared)
            && state.now <= until
    }

    fn honest_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let until = self.times.release_until();
        for who in [Who::Alice, Who::Carol] {
            if self.may_release(state, who, until) {
                actions.push(Action::Release(who));
            }
        }
        // The pivot's claimant releases last, and only by publishing. It has checked each preimage's length.
        let others = state.released.has(Who::Alice) && state.released.has(Who::Carol) && state.odd.is_none();
        if others && self.may_release(state, Who::Bob, until) {
            actions.push(match self.broken {
                Some(Broken::ClaimantReleasesByMessage) => Action::Release(Who::Bob),
                _ => Action::PublishCommit,
            });
        }
        if others && self.may_release(state, Who::Bob, self.publish_claim_until) {
            actions.push(Action::PublishClaim);
        }
        let gave = |who: &Who| state.is_honest(*who) && state.released.has(*who);
        let signs = self.breaks(Broken::SignsAbortAfterRelease) || !ALL.iter().any(gave);
        if signs && !self.has_promised(state) && !state.abort_signed && !state.is_decided() {
            actions.push(Action::SignAbort);
        }
        let owed = self.duties(state).into_iter().map(|(tx, _)| tx);
        actions.extend(owed.filter(|tx| self.can_do(state, *tx)).map(Action::Submit));
    }

    /// Any move that the ledgers accept.
    fn hostile_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.hostile == Set::default() {
            return;
        }
        let secretive = state.hostile.members().filter(|who| !state.released.has(*who));
        actions.extend(secretive.map(Action::Release));
        for tx in [Tx::Commit, Tx::Abort, Tx::Claim, Tx::Refund] {
            let knows = self.hostile_can(state, tx);
            if knows && self.takes(state, tx) {
                actions.push(Action::Strike(tx));
            }
        }
    }

    fn ledger_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for tx in ALL_TX {
            match state.at(tx) {
                Place::Waiting { .. } if self.takes(state, tx) => actions.push(Action::Record(tx)),
                Place::Recorded { final_at, .. } if final_at > state.now && state.reorgs > 0 => {
                    let holds_up = tx == Tx::LockPivot && state.is_spent();
                    if !holds_up {
                        actions.push(Action::Reorganise(tx));
                    }
                }
                _ => {}
            }
        }
    }

    fn crash_actions(&self, state: &State, actions: &mut Vec<Action>) {
        match state.crash {
            Crash::NotYet => {
                actions.extend(ALL.into_iter().filter(|who| state.is_honest(*who)).map(Action::Crash));
            }
            Crash::Down(who) => {
                actions.push(Action::Restart(who));
                let seen = matches!(state.at(Tx::Commit), Place::Waiting { was_final_at: None, .. });
                if who == Who::Bob && seen && state.is_absent(Tx::Claim) {
                    actions.push(Action::Lose);
                }
            }
            Crash::Back => {
                let own =
                    PREPARES.into_iter().filter(|tx| tx.owner().is_some_and(|who| state.is_honest(who)));
                actions.extend(own.filter(|tx| !state.is_absent(*tx)).map(Action::PrepareAgain));
            }
        }
    }

    fn broken_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let late = state.now > self.times.deadline && !state.is_decided();
        match self.broken {
            Some(Broken::PresumesAbort) if late => actions.push(Action::Misread(false)),
            Some(Broken::ReadsBeforeFinal) if state.is_recorded(Tx::Commit) => {
                actions.push(Action::Misread(true));
            }
            Some(Broken::EscrowRefundsByTime) if late => actions.push(Action::GoBackByTime),
            _ => {}
        }
    }

    fn release(&self, state: &mut State, who: Who) {
        if state.is_honest(who) {
            let in_time = state.now <= self.times.deadline;
            state.released_well = in_time && PREPARES.iter().all(|tx| state.is_final(*tx));
        }
        state.released = state.released.with(who);
    }

    fn submit(&self, state: &mut State, tx: Tx) {
        let until = state.now + tx.inclusion(&self.times);
        state.set(tx, Place::Waiting { since: state.now, until, was_final_at: None });
        self.publish(state, tx);
    }

    fn record(&self, state: &mut State, tx: Tx) {
        let now = state.now;
        let (since, was_final_at) = match state.at(tx) {
            Place::Waiting { since, was_final_at, .. } => (since, was_final_at),
            _ => (now, None),
        };
        let final_at = was_final_at.unwrap_or(now + tx.finality(&self.times));
        state.set(tx, Place::Recorded { since, final_at });
        if tx == Tx::Abort {
            // Only with `LastRecordCounts` there is one to forget.
            state.set(Tx::Commit, Place::Absent);
        }
    }

    /// A prepare may be gone for good: its inputs were spent otherwise. Anything else is known to all and waits again.
    fn reorganise(&self, state: &mut State, tx: Tx) {
        state.reorgs -= 1;
        let place = match state.at(tx) {
            Place::Recorded { since, final_at } if !tx.is_prepare() => {
                Place::Waiting { since, until: final_at, was_final_at: Some(final_at) }
            }
            _ => Place::Absent,
        };
        state.set(tx, place);
    }

    fn tick(&self, state: &mut State) {
        state.now += 1;
        for tx in ALL_TX {
            if matches!(state.at(tx), Place::Waiting { until, .. } if until < state.now) {
                state.set(tx, Place::Absent);
            }
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut states = Vec::new();
        let apart = i8::try_from(2 * self.times.skew).expect("a few ticks");
        let aheads = if apart == 0 { vec![0] } else { vec![-apart, 0, apart] };
        for hostile in &self.hostile {
            for odd in std::iter::once(None).chain(hostile.members().map(Some)) {
                states.extend(aheads.iter().map(|ahead| State {
                    now: 0,
                    ahead: *ahead,
                    hostile: *hostile,
                    odd,
                    places: [Place::Absent; 7],
                    released: Set::default(),
                    abort_signed: false,
                    guard_signed: false,
                    lost: false,
                    released_well: false,
                    crash: Crash::NotYet,
                    reorgs: self.reorgs,
                    twice: false,
                    misread: None,
                    back_by_time: false,
                }));
            }
        }
        states
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.now > self.times.end() || (state.is_over() && !self.breaks(Broken::LastRecordCounts)) {
            return;
        }
        if !self.is_overdue(state) {
            actions.push(Action::Tick);
        }
        for tx in PREPARES {
            let able = tx.owner().is_some_and(|who| state.is_up(who));
            let useful = state.now < self.times.release_until() && !state.is_decided();
            if able && useful && state.is_absent(tx) && self.is_its_turn(state, tx) {
                actions.push(Action::Prepare(tx));
            }
        }
        self.honest_actions(state, actions);
        self.hostile_actions(state, actions);
        self.ledger_actions(state, actions);
        self.crash_actions(state, actions);
        self.broken_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => self.tick(&mut state),
            Action::Prepare(tx) => {
                self.promise(&mut state, tx);
                self.record(&mut state, tx);
            }
            // The intent fixes the inputs: the ledger has it already (P4).
            Action::PrepareAgain(_) => state.twice |= self.breaks(Broken::NewIntent),
            Action::Release(who) => self.release(&mut state, who),
            Action::PublishCommit => {
                self.release(&mut state, Who::Bob);
                self.submit(&mut state, Tx::Commit);
            }
            Action::PublishClaim => {
                self.release(&mut state, Who::Bob);
                self.submit(&mut state, Tx::Claim);
            }
            Action::SignAbort => state.abort_signed = true,
            Action::Submit(tx) => {
                state.guard_signed |= tx == Tx::Commit && state.now > self.times.deadline;
                self.submit(&mut state, tx);
            }
            Action::Record(tx) => self.record(&mut state, tx),
            Action::Reorganise(tx) => self.reorganise(&mut state, tx),
            Action::Strike(tx) => {
                state.set(tx, Place::Absent);
                self.record(&mut state, tx);
                self.publish(&mut state, tx);
            }
            Action::Crash(who) => state.crash = Crash::Down(who),
            Action::Restart(_) => state.crash = Crash::Back,
            Action::Lose => {
                state.set(Tx::Commit, Place::Absent);
                state.lost = true;
            }
            Action::Misread(commit) => state.misread = Some(commit),
            Action::GoBackByTime => state.back_by_time = true,
        }
        state.forget();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        promises::properties()
    }
}
