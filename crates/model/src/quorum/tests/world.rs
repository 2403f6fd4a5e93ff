//! A hostile world for one transaction: time, a bad network, disks, crashes, and f traitors who see everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use super::fixtures;
use crate::quorum::{
    Bundle, Candidate, Certificate, Effect, Input, Instance, Kind, Proposal, Seat, State, Value, Vote, Votes,
};
use crate::{Decision, Digest, Manifest, Span, Timestamp};

/// What is broken in the members that should be honest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// It forgets what it has locked when the next round begins.
    NoLock,
    /// It sends before it stores, and does not store.
    NoDisk,
    /// It stores its votes and not its lock.
    LockNotStored,
    /// 2f votes are enough.
    TwoThirds,
    /// It signs what is proposed whatever its clock says.
    NoClock,
}

/// splitmix64.
pub(super) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

struct Sent {
    to: usize,
    bundle: Bundle,
    /// Nothing from a traitor.
    from: Option<usize>,
}

/// Signatures by member.
type Ballots = BTreeMap<u8, [u8; 64]>;

pub(super) struct World {
    broken: Broken,
    dice: Dice,
    pub(super) now: Timestamp,
    pub(super) skews: Vec<u64>,
    pub(super) manifest: Arc<Manifest>,
    pub(super) keys: Vec<SigningKey>,
    pub(super) seats: Vec<Arc<Seat>>,
    pub(super) traitors: BTreeSet<usize>,
    pub(super) members: Vec<Option<Instance>>,
    disks: Vec<Vec<u8>>,
    queue: Vec<Sent>,
    cut: BTreeSet<(usize, usize)>,
    pub(super) loss: bool,
    /// Each honest vote and proposal that was ever shown: (member, round, kind or none) and the value.
    said: BTreeMap<(u8, u32, Option<Kind>), Option<Digest>>,
    gathered: BTreeMap<(u32, Kind, Digest), Ballots>,
    values: Vec<Value>,
    history: Vec<Bundle>,
    /// When the first honest member prevoted a value, by its own clock.
    prevoted: BTreeMap<Digest, Timestamp>,
    decided: Option<Certificate>,
}

const PACE: Span = Span::from_millis(100);
const MAX_QUEUE: usize = 64;

impl World {
    pub(super) fn new(count: u8, seed: u64, broken: Broken) -> Self {
        let (group, keys) = (fixtures::group(count), fixtures::keys(count));
        let mut dice = Dice(seed);
        let manifest = Arc::new(fixtures::manifest(&group, seed));
        let now = Timestamp::from_seconds(fixtures::DEADLINE - 1 - dice.below(20) as u64);
        let seat = |key: &SigningKey| Arc::new(Seat::new(group.clone(), key.clone(), PACE).unwrap());
        let seats: Vec<_> = keys.iter().map(seat).collect();
        let mut traitors = BTreeSet::new();
        while traitors.len() < group.faulty() {
            traitors.insert(dice.below(keys.len()));
        }
        let skews = keys.iter().map(|_| dice.below(2_000) as u64).collect();
        let open = |seat: &Arc<Seat>| Instance::open(Arc::clone(seat), Arc::clone(&manifest), now).unwrap();
        let members: Vec<_> = seats.iter().map(|seat| Some(open(seat))).collect();
        let disks = members.iter().flatten().map(|one| one.state.to_bytes()).collect();
        let (queue, history, values, loss, decided) = (vec![], vec![], vec![], true, None);
        let (cut, said, gathered, prevoted) =
            (BTreeSet::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            broken,
            dice,
            now,
            skews,
            manifest,
            keys,
            seats,
            traitors,
            members,
            disks,
            queue,
            cut,
            loss,
            said,
            gathered,
            values,
            history,
            prevoted,
            decided,
        }
    }

    /// Some hundred moves of a bad world, and then a good one, in which everybody must decide the same.
    pub(super) fn run(&mut self) -> Result<(), String> {
        for _ in 0..300 + self.dice.below(500) {
            self.hostile_move()?;
        }
        if self.broken != Broken::Nothing {
            return Ok(());
        }
        self.heal()?;
        for _ in 0..4_000 {
            if self
                .honest()
                .into_iter()
                .all(|i| self.members[i].as_ref().is_some_and(|one| one.decided().is_some()))
            {
                return Ok(());
            }
            self.good_move()?;
        }
        Err("liveness: not decided in a good world".into())
    }

    fn honest(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|i| !self.traitors.contains(i)).collect()
    }

    fn someone(&mut self) -> usize {
        let honest = self.honest();
        honest[self.dice.below(honest.len())]
    }

    fn hostile_move(&mut self) -> Result<(), String> {
        match self.dice.below(16) {
            0..=6 => self.deliver(),
            7..=9 => {
                self.now = self.now + Span::from_millis(self.dice.below(150) as u64);
                let member = self.someone();
                self.act(member, Input::Tick, true)
            }
            10..=12 => {
                self.betray();
                Ok(())
            }
            13 => {
                let (member, candidate) = (self.someone(), self.candidate());
                self.act(member, Input::Ask(candidate), true)
            }
            14 => {
                let member = self.someone();
                self.crash_or_restart(member);
                Ok(())
            }
            _ => {
                self.cut.clear();
                for _ in 0..self.dice.below(2 * self.members.len()) {
                    let pair = (self.dice.below(self.members.len()), self.dice.below(self.members.len()));
                    self.cut.insert(pair);
                }
                Ok(())
            }
        }
    }

    fn heal(&mut self) -> Result<(), String> {
        (self.loss, self.cut) = (false, BTreeSet::new());
        for member in self.honest() {
            if self.members[member].is_none() {
                self.crash_or_restart(member);
            }
            for candidate in [self.candidate(), self.candidate()] {
                self.act(member, Input::Ask(candidate), true)?;
            }
        }
        Ok(())
    }

    fn good_move(&mut self) -> Result<(), String> {
        if self.dice.one_in(8) {
            self.betray();
        }
        while !self.queue.is_empty() {
            self.deliver()?;
        }
        self.now = self.now + Span::from_millis(50);
        for member in self.honest() {
            self.act(member, Input::Tick, true)?;
        }
        Ok(())
    }

    fn deliver(&mut self) -> Result<(), String> {
        if self.queue.is_empty() {
            return Ok(());
        }
        let index = self.dice.below(self.queue.len());
        let Sent { to, bundle, from } = self.queue.swap_remove(index);
        if self.loss && self.dice.one_in(8) {
            self.queue.push(Sent { to, bundle: bundle.clone(), from });
        }
        if self.loss && self.dice.one_in(5) {
            return Ok(());
        }
        let open = bundle.decided.is_none();
        self.act(to, Input::Heard(Box::new(bundle)), from.is_some())?;
        // Whoever has decided answers with the decision.
        let decided = self.members[to].as_ref().filter(|one| open && one.decided().is_some());
        if let (Some(from), Some(answer)) = (from, decided.map(Instance::bundle)) {
            self.post(from, answer, Some(to));
        }
        Ok(())
    }

    fn clock(&self, member: usize) -> Timestamp {
        self.now + Span::from_millis(self.skews[member])
    }

    /// One input, and its effects in order; in a bad world the member may die between any two of them.
    pub(super) fn act(&mut self, member: usize, input: Input, honest: bool) -> Result<(), String> {
        let time = self.clock(member);
        let heard = matches!(input, Input::Heard(_));
        let Some(instance) = &mut self.members[member] else { return Ok(()) };
        let clock = break_rules(self.broken, instance, &input, time);
        let effects = match instance.step(input, clock) {
            Ok(effects) => effects,
            Err(refused) if heard && honest && self.broken != Broken::TwoThirds => {
                return Err(format!("{member} refuses the truth: {refused}"));
            }
            Err(_) => return Ok(()),
        };
        let own = |vote: &&Vote| usize::from(vote.member) == member && vote.kind == Kind::Prevote;
        for id in instance.state.votes.iter().filter(own).filter_map(|vote| vote.value) {
            self.prevoted.entry(id).or_insert(time);
        }
        for effect in effects {
            if self.loss && self.dice.one_in(24) {
                self.members[member] = None;
                return Ok(());
            }
            match effect {
                Effect::Save(state) => self.save(member, *state),
                Effect::Send(bundle) => self.send(member, *bundle)?,
            }
        }
        Ok(())
    }

    fn save(&mut self, member: usize, mut state: State) {
        match self.broken {
            Broken::NoDisk => return,
            Broken::LockNotStored => (state.locked, state.valid) = (None, None),
            _ => {}
        }
        self.disks[member] = state.to_bytes();
    }

    pub(super) fn crash_or_restart(&mut self, member: usize) {
        self.members[member] = match self.members[member].take() {
            Some(_) => None,
            None => {
                let state = State::from_bytes(&self.disks[member]).unwrap();
                let (seat, manifest) = (Arc::clone(&self.seats[member]), Arc::clone(&self.manifest));
                Some(Instance::restore(seat, manifest, state, self.clock(member)).unwrap())
            }
        };
    }

    /// What an honest member shows is remembered, by us and by the traitors.
    fn send(&mut self, from: usize, bundle: Bundle) -> Result<(), String> {
        self.observe(u8::try_from(from).unwrap(), &bundle)?;
        for to in self.honest().into_iter().filter(|to| *to != from) {
            if !self.cut.contains(&(from, to)) {
                self.post(to, bundle.clone(), Some(from));
            }
        }
        Ok(())
    }

    fn post(&mut self, to: usize, bundle: Bundle, from: Option<usize>) {
        if self.queue.len() >= MAX_QUEUE && self.loss {
            let lost = self.dice.below(self.queue.len());
            self.queue.swap_remove(lost);
        }
        self.queue.push(Sent { to, bundle, from });
    }

    /// Agreement, and that no honest member says two things at one place.
    fn observe(&mut self, from: u8, bundle: &Bundle) -> Result<(), String> {
        for vote in &bundle.votes {
            if vote.member == from {
                self.says((from, vote.round, Some(vote.kind)), vote.value)?;
            }
            if let Some(value) = vote.value {
                let ballots = self.gathered.entry((vote.round, vote.kind, value)).or_default();
                ballots.insert(vote.member, *vote.signature);
            }
        }
        if let Some(one) = &bundle.proposal {
            let proposer = self.seats[0].group().proposer(self.manifest.txid(), one.round);
            if proposer == from {
                self.says((from, one.round, None), Some(one.value.id()))?;
            }
            self.learn(&one.value);
        }
        if let Some(decided) = &bundle.decided {
            // With fewer votes than a quorum it is no certificate; what counts is whether there are two.
            if self.broken != Broken::TwoThirds {
                decided.verify(self.seats[0].group(), &self.manifest, Kind::Precommit)?;
                self.is_valid(&decided.value)?;
            }
            let first = self.decided.get_or_insert_with(|| decided.clone());
            if first.value != decided.value {
                return Err(format!("agreement: {:?} and {:?}", first.value, decided.value));
            }
        }
        if self.history.len() < 256 {
            self.history.push(bundle.clone());
        }
        Ok(())
    }

    /// Somebody honest voted for it, and for a COMMIT in time.
    fn is_valid(&self, value: &Value) -> Result<(), String> {
        let first = self.prevoted.get(&value.id()).ok_or("validity: no honest member prevoted it")?;
        let commit = matches!(value.decision, Decision::Commit { .. });
        if commit && first.as_seconds() > fixtures::DEADLINE {
            return Err("validity: a COMMIT that nobody honest voted for in time".into());
        }
        Ok(())
    }

    fn says(&mut self, place: (u8, u32, Option<Kind>), value: Option<Digest>) -> Result<(), String> {
        match self.said.insert(place, value) {
            Some(before) if before != value => Err(format!("two words of one member: {place:?}")),
            _ => Ok(()),
        }
    }

    fn learn(&mut self, value: &Value) {
        if !self.values.contains(value) {
            self.values.push(value.clone());
        }
    }

    fn candidate(&mut self) -> Candidate {
        if self.dice.one_in(3) {
            let (decision, signatures) = fixtures::abort(&self.manifest);
            return Candidate { decision, signatures };
        }
        Candidate { decision: fixtures::commit(self.dice.below(3) as u8), signatures: vec![] }
    }

    /// A value of the traitors' own, or one that they saw. It is not always valid.
    fn any_value(&mut self) -> Value {
        if !self.values.is_empty() && self.dice.one_in(2) {
            return self.values[self.dice.below(self.values.len())].clone();
        }
        let Candidate { decision, signatures } = self.candidate();
        let at = match self.dice.below(3) {
            0 => Timestamp::from_seconds(fixtures::DEADLINE - 1),
            _ => self.now + Span::from_millis(self.dice.below(1_000) as u64),
        };
        let signatures = if self.dice.one_in(8) { vec![] } else { signatures };
        let value = Value { decision, signatures, at };
        self.learn(&value);
        value
    }

    fn round(&mut self) -> u32 {
        let newest = self.said.keys().map(|(_, round, _)| *round).max().unwrap_or(0);
        newest.saturating_add(1).saturating_sub(self.dice.below(4) as u32)
    }

    pub(super) fn empty(&self) -> Bundle {
        let manifest = self.manifest.as_ref().clone();
        Bundle { manifest, proposal: None, votes: vec![], lock: None, decided: None }
    }

    /// Traitors say different things to different members, keep proofs back, repeat what is old, and sign for others.
    fn betray(&mut self) {
        let traitors: Vec<usize> = self.traitors.iter().copied().collect();
        let traitor = traitors[self.dice.below(traitors.len())];
        let member = u8::try_from(traitor).unwrap();
        let (group, txid) = (self.seats[0].group().clone(), self.manifest.txid());
        let (round, key) = (self.round(), self.keys[traitor].clone());
        for to in self.honest() {
            let mut bundle = self.empty();
            match self.dice.below(7) {
                0 | 1 => {
                    let value = (!self.dice.one_in(4)).then(|| self.any_value().id());
                    let kind = if self.dice.one_in(2) { Kind::Prevote } else { Kind::Precommit };
                    let vote = Vote::sign(&group.id(), txid, (round, kind, value), (member, &key));
                    self.gather(&vote);
                    bundle.votes.push(vote);
                }
                2 => bundle.votes = self.support(round),
                3 if group.proposer(txid, round) == member => {
                    let value = self.any_value();
                    let lock = self.proof(round, &value);
                    bundle.proposal = Some(Proposal::sign(&group.id(), txid, round, (value, lock), &key));
                }
                4 => bundle.lock = self.kept_back(),
                5 if !self.history.is_empty() => {
                    bundle = self.history[self.dice.below(self.history.len())].clone();
                }
                6 => {
                    let other = (member + 1) % u8::try_from(self.members.len()).unwrap();
                    let vote = Vote::sign(&group.id(), txid, (round, Kind::Precommit, None), (member, &key));
                    bundle.votes.push(Vote { member: other, ..vote });
                }
                _ => continue,
            }
            if self.dice.one_in(2) {
                self.post(to, bundle, None);
            }
        }
    }

    fn gather(&mut self, vote: &Vote) {
        if let Some(value) = vote.value {
            let ballots = self.gathered.entry((vote.round, vote.kind, value)).or_default();
            ballots.insert(vote.member, *vote.signature);
        }
    }

    /// All traitors vote for one value in both steps of a round.
    fn support(&mut self, round: u32) -> Vec<Vote> {
        let value = Some(self.any_value().id());
        let (id, txid) = (self.seats[0].group().id(), self.manifest.txid());
        let mut votes = Vec::new();
        for traitor in self.traitors.clone() {
            for kind in [Kind::Prevote, Kind::Precommit] {
                let seat = (u8::try_from(traitor).unwrap(), &self.keys[traitor]);
                votes.push(Vote::sign(&id, txid, (round, kind, value), seat));
            }
        }
        votes.iter().for_each(|vote| self.gather(vote));
        votes
    }

    fn quorum(&self) -> usize {
        let group = self.seats[0].group();
        if self.broken == Broken::TwoThirds { 2 * group.faulty() } else { group.quorum() }
    }

    fn votes(&self, round: u32, ballots: &Ballots) -> Votes {
        let signed = ballots.iter().map(|(member, bytes)| (*member, (*bytes).into()));
        Votes { round, signatures: signed.take(self.quorum()).collect() }
    }

    /// Prevotes of a quorum for this value before `round`, if the traitors have them.
    fn proof(&mut self, round: u32, value: &Value) -> Option<Votes> {
        let id = value.id();
        let mut proofs = self.gathered.iter().filter(|((at, kind, of), ballots)| {
            *at < round && *kind == Kind::Prevote && *of == id && ballots.len() >= self.quorum()
        });
        proofs.next_back().map(|((at, ..), ballots)| self.votes(*at, ballots))
    }

    /// Any proof of lock that the traitors have, of any round.
    fn kept_back(&mut self) -> Option<Certificate> {
        let full = self
            .gathered
            .iter()
            .filter(|((_, kind, _), ballots)| *kind == Kind::Prevote && ballots.len() >= self.quorum());
        let full: Vec<_> = full.map(|((round, _, of), ballots)| (*of, self.votes(*round, ballots))).collect();
        let (of, votes) = full.get(self.dice.below(full.len()))?.clone();
        let value = self.values.iter().find(|value| value.id() == of)?.clone();
        Some(Certificate { value, votes })
    }
}

/// Takes a rule away from a member that should follow it, before it acts. Returns its clock.
fn break_rules(broken: Broken, instance: &mut Instance, input: &Input, clock: Timestamp) -> Timestamp {
    match (broken, input) {
        (Broken::NoLock, _) => instance.state.locked = None,
        (Broken::TwoThirds, _) => instance.quorum = 2 * instance.seat.group().faulty(),
        (Broken::NoClock, Input::Heard(bundle)) => {
            return bundle.proposal.as_ref().map_or(clock, |one| one.value.at);
        }
        _ => {}
    }
    clock
}
