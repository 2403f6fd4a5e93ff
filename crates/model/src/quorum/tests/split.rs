//! The schedule that a lock is for: one member decides and is cut off, the others go on with a traitor as proposer.

use super::fixtures;
use super::world::{Broken, World};
use crate::quorum::{Bundle, Candidate, Input, Kind, Proposal, Value, Vote};
use crate::{Digest, Span, Timestamp};

/// The members by their parts; the traitor is the proposer of round 1.
struct Parts {
    first: usize,
    others: [usize; 2],
    traitor: usize,
}

fn parts(world: &World) -> Parts {
    let (group, txid) = (world.seats[0].group(), world.manifest.txid());
    let [first, traitor] = [0, 1].map(|round| usize::from(group.proposer(txid, round)));
    let rest: Vec<_> = (0..4).filter(|member| ![first, traitor].contains(member)).collect();
    Parts { first, others: [rest[0], rest[1]], traitor }
}

impl World {
    fn tell(&mut self, to: usize, bundle: Bundle) -> Result<(), String> {
        self.act(to, Input::Heard(Box::new(bundle)), false)
    }

    /// What a member shows, without its precommits.
    fn prevotes(&self, of: usize) -> Bundle {
        let mut bundle = self.shown(of);
        (bundle.lock, bundle.votes) =
            (None, bundle.votes.into_iter().filter(|vote| vote.kind == Kind::Prevote).collect());
        bundle
    }

    fn shown(&self, of: usize) -> Bundle {
        self.members[of].as_ref().map(|one| one.bundle()).unwrap()
    }

    fn vote(&self, as_member: usize, round: u32, kind: Kind, value: Option<Digest>) -> Vote {
        let seat = (u8::try_from(as_member).unwrap(), &self.keys[as_member]);
        Vote::sign(&self.seats[0].group().id(), self.manifest.txid(), (round, kind, value), seat)
    }

    /// Time passes for these members.
    fn pass(&mut self, members: &[usize], span: Span) -> Result<(), String> {
        self.now = self.now + span;
        members.iter().try_for_each(|member| self.act(*member, Input::Tick, true))
    }
}

/// In round 0 all lock one value and one decides. Then the others, restarted if so asked, get another value from the
/// traitor, `late` or in time, and its votes.
pub(super) fn run(broken: Broken, restart: bool, late: bool) -> Result<(), String> {
    let mut world = World::new(4, 1, broken);
    let Parts { first, others, traitor } = parts(&world);
    (world.traitors, world.loss) = ([traitor].into(), false);
    world.skews.fill(0);
    world.now = Timestamp::from_seconds(fixtures::DEADLINE - 5);
    if !late {
        lock_in_round_0(&mut world, first, others)?;
    }
    for member in others {
        let none = Some(world.vote(traitor, 0, Kind::Prevote, None)).filter(|_| late);
        let votes = none.into_iter().chain([world.vote(traitor, 0, Kind::Precommit, None)]).collect();
        world.tell(member, Bundle { votes, ..world.empty() })?;
    }
    to_round_1(&mut world, first, others, late)?;
    if restart {
        others.iter().chain(&others).for_each(|member| world.crash_or_restart(*member));
    }
    let at = if late { Timestamp::from_seconds(fixtures::DEADLINE) } else { world.now };
    if late {
        world.now = Timestamp::from_seconds(fixtures::DEADLINE + 2);
    }
    let bundle = proposed(&world, traitor, 1, 2, at);
    for member in others {
        world.tell(member, bundle.clone())?;
    }
    for _ in 0..2 {
        for [from, to] in [others, [others[1], others[0]]] {
            world.tell(to, world.shown(from))?;
        }
    }
    Ok(())
}

/// In round 0 the proposer tells each of two members another value, with its own votes for it.
pub(super) fn equivocate(broken: Broken) -> Result<(), String> {
    let mut world = World::new(4, 1, broken);
    let Parts { first, others, .. } = parts(&world);
    (world.traitors, world.loss) = ([first].into(), false);
    for (root, member) in (1..).zip(others) {
        world.tell(member, proposed(&world, first, 0, root, world.now))?;
    }
    Ok(())
}

fn lock_in_round_0(world: &mut World, first: usize, others: [usize; 2]) -> Result<(), String> {
    let candidate = Candidate { decision: fixtures::commit(1), signatures: vec![] };
    world.act(first, Input::Ask(candidate), true)?;
    for member in others {
        world.tell(member, world.shown(first))?;
    }
    for member in others {
        world.tell(first, world.prevotes(member))?;
    }
    for member in others {
        world.tell(member, world.prevotes(first))?;
    }
    for member in others {
        world.tell(first, world.shown(member))?;
    }
    let decided = world.members[first].as_ref().is_some_and(|one| one.decided().is_some());
    if decided { Ok(()) } else { Err("the first member did not decide in round 0".into()) }
}

/// The others exchange what they have until they are in round 1.
fn to_round_1(world: &mut World, first: usize, others: [usize; 2], late: bool) -> Result<(), String> {
    // Without a decision the first member is one of those who go on.
    let all = if late { vec![first, others[0], others[1]] } else { others.to_vec() };
    let arrived = |world: &World, member: &usize| world.members[*member].as_ref().unwrap().state.round == 1;
    for _ in 0..8 {
        if others.iter().all(|member| arrived(world, member)) {
            return Ok(());
        }
        world.pass(&all, Span::from_millis(110))?;
        for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to))) {
            if from != to && !others.iter().all(|member| arrived(world, member)) {
                world.tell(to, world.shown(from))?;
            }
        }
    }
    Err("round 1 was not reached".into())
}

/// A traitor's proposal of a COMMIT with this evidence root, and its votes for it.
fn proposed(world: &World, traitor: usize, round: u32, root: u8, at: Timestamp) -> Bundle {
    let value = Value { decision: fixtures::commit(root), signatures: vec![], at };
    let (group, txid) = (world.seats[0].group().id(), world.manifest.txid());
    let voted = |kind| world.vote(traitor, round, kind, Some(value.id()));
    let votes = [Kind::Prevote, Kind::Precommit].map(voted).to_vec();
    let proposal = Proposal::sign(&group, txid, round, (value, None), &world.keys[traitor]);
    Bundle { proposal: Some(proposal), votes, ..world.empty() }
}
