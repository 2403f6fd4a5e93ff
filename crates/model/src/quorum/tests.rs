//! The consensus in hostile worlds, from seeds and by one known schedule; and that each broken member is found out there.

pub(crate) mod fixtures;
mod split;
mod world;

use std::sync::Arc;

use super::{Input, Instance, Kind, Seat, Vote};
use crate::{Span, Timestamp};
use world::{Broken, World};

#[track_caller]
fn assert_holds(count: u8, seeds: u64) {
    for seed in 0..seeds {
        let got = World::new(count, seed, Broken::Nothing).run();
        assert_eq!(got, Ok(()), "seed {seed} of {count} members");
    }
}

#[test]
fn four_members_agree_in_a_hostile_world_and_decide_in_a_good_one() {
    assert_holds(4, 40);
}

#[test]
fn seven_members_with_two_traitors_agree() {
    assert_holds(7, 12);
}

#[test]
fn five_members_are_no_multiple_of_three_and_one_more() {
    assert_holds(5, 20);
}

#[test]
fn a_vote_that_is_not_stored_is_found_out() {
    let why = (0..50).find_map(|seed| World::new(4, seed, Broken::NoDisk).run().err());
    let why = why.expect("it is found out");
    assert!(why.starts_with("two words of one member"), "{why}");
}

#[test]
fn a_threshold_of_two_f_is_found_out() {
    assert_eq!(split::equivocate(Broken::Nothing), Ok(()));
    let why = split::equivocate(Broken::TwoThirds).expect_err("it is found out");
    assert!(why.starts_with("agreement"), "{why}");
}

/// The schedule is the same; the broken member is the only difference.
#[track_caller]
fn assert_splits(broken: Broken, restart: bool, late: bool, promise: &str) {
    assert_eq!(split::run(Broken::Nothing, restart, late), Ok(()));
    let why = split::run(broken, restart, late).expect_err("it is found out");
    assert!(why.starts_with(promise), "{broken:?}: {why}");
}

#[test]
fn a_lock_that_is_not_carried_is_found_out() {
    assert_splits(Broken::NoLock, false, false, "agreement");
}

#[test]
fn a_lock_that_is_not_stored_is_found_out() {
    assert_splits(Broken::LockNotStored, true, false, "agreement");
}

#[test]
fn a_member_without_a_clock_is_found_out() {
    assert_splits(Broken::NoClock, false, true, "validity");
}

#[test]
fn a_vote_of_ones_own_key_that_one_never_gave_is_seen() {
    let (group, keys) = (fixtures::group(4), fixtures::keys(4));
    let manifest = Arc::new(fixtures::manifest(&group, 1));
    let open = || {
        let seat = Seat::new(group.clone(), keys[0].clone(), Span::from_millis(100)).unwrap();
        Instance::open(Arc::new(seat), Arc::clone(&manifest), Timestamp::from_seconds(1)).unwrap()
    };
    let (mut voter, blank) = (open(), open());
    voter.step(Input::Tick, Timestamp::from_seconds(2)).unwrap();
    let shown = voter.bundle();
    assert_eq!(shown.votes.len(), 1, "a prevote for none");
    assert_eq!(voter.foreign_vote(&shown), None);
    assert_eq!(blank.foreign_vote(&shown), Some(shown.votes[0].clone()));
    let mut forged = shown.clone();
    forged.votes[0].round = 7;
    assert_eq!(voter.foreign_vote(&forged), None, "nobody signed that");
    let said = (0, Kind::Prevote, Some(crate::Digest([5; 32])));
    forged.votes[0] = Vote::sign(&group.id(), manifest.txid(), said, (0, &keys[0]));
    assert_eq!(voter.foreign_vote(&forged), Some(forged.votes[0].clone()), "another vote in the same round");
    let value = super::Value { decision: fixtures::commit(1), signatures: vec![], at: Timestamp::default() };
    let of = |members: &[u8]| fixtures::certificate(&manifest, value.clone(), Kind::Precommit, 3, members);
    for (members, strange) in [(&[0, 1, 2], true), (&[1, 2, 3], false)] {
        let decided = super::Bundle { decided: Some(of(members)), votes: vec![], ..shown.clone() };
        assert_eq!(voter.foreign_vote(&decided).is_some(), strange);
    }
}
