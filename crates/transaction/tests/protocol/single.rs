//! A pivot with a single hash, as an ILP packet has it: participant 0 pays on it, 1 claims it, 2 has no part in it.

use sofie_model::manifest::{OpenedBy, Participant};
use sofie_model::{Decide, Decision, Digest, LegId, Step, Terms};
use sofie_transaction::{Effect, Input, News, Phase, Plan, State, Task};

use crate::world::*;

const ALL: [Digest; 3] = [SECRETS[0], SECRETS[1], Digest([3; 32])];

/// A node that holds the keys of these participants.
fn node(acts_for: &[u16]) -> State {
    let mut manifest = with_pivot();
    if let Terms::Hashlock(terms) = &mut manifest.legs[0].terms {
        terms.opened_by = Some(OpenedBy::Claimant);
    }
    manifest.participants.push(Participant { account: owner(2), hashlock: Digest::sha256(&ALL[2].0) });
    manifest.check(NOW).unwrap();
    State::begin(Plan {
        manifest,
        acts_for: acts_for.to_vec(),
        decision_time: sofie_model::Span::from_seconds(36),
        pivot: Some(clock()),
    })
}

fn released(who: u16) -> Input {
    Input::Released(who, ALL[usize::from(who)])
}

/// The record is there, and so many have released.
fn told(acts_for: &[u16], who: &[u16]) -> State {
    let state = node(acts_for);
    let record = prepared(&state, 1);
    run(state, std::iter::once(record).chain(who.iter().copied().map(released)))
}

/// The pivot is locked, too.
fn locked(acts_for: &[u16]) -> State {
    let state = told(acts_for, &[2, 0]);
    let pivot = prepared(&state, 0);
    run(state, [pivot])
}

fn releases(state: &State) -> Vec<u16> {
    let effects = state.effects();
    effects.iter().filter_map(|one| if let Effect::Release(who) = one { Some(*who) } else { None }).collect()
}

fn claim(finally: bool) -> Input {
    Input::Revealed { preimages: vec![ALL[1]], finally }
}

fn said(state: &State) -> Vec<(u16, News)> {
    state.news().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn it_is_locked_once_its_payer_holds_every_other_secret() {
    let state = node(&[0, 1, 2]);
    assert_eq!((tasks(&state), releases(&state)), (vec![Task::Prepare(LegId(1))], vec![]));
    let state = told(&[0, 1, 2], &[]);
    assert_eq!((tasks(&state), releases(&state)), (vec![], vec![2]), "the payer only after the others");
    let state = told(&[0, 1, 2], &[2]);
    assert_eq!((tasks(&state), releases(&state)), (vec![], vec![0]));
    let state = told(&[0, 1, 2], &[2, 0]);
    assert_eq!((tasks(&state), releases(&state)), (vec![Task::Prepare(PIVOT)], vec![]));
    let state = locked(&[0, 1, 2]);
    assert_eq!((tasks(&state), releases(&state)), (vec![], vec![1]), "the claimant last");
    let state = run(state, [released(1)]);
    assert!(matches!(state.phase(), Phase::Committing));
}

#[test]
fn whoever_waits_for_the_lock_waits_from_the_start_and_the_payer_not_at_all() {
    let other = told(&[2], &[]);
    assert!(other.effects().contains(&Effect::Await(PIVOT)), "{:?}", other.effects());
    let claimant = told(&[1], &[2]);
    assert!(claimant.effects().contains(&Effect::Await(PIVOT)));
    assert!(releases(&claimant).is_empty(), "not before the lock");
    let payer = told(&[0], &[]);
    assert!(!payer.effects().contains(&Effect::Await(PIVOT)) && tasks(&payer).is_empty());
}

#[test]
fn the_payers_secret_is_told_to_nobody_before_its_lock_is_final() {
    assert_eq!(said(&told(&[2], &[2])), [(2, News::Released)]);
    assert!(said(&told(&[0], &[2, 0])).is_empty());
    let state = locked(&[0]);
    assert_eq!(said(&state), [(0, News::Released)]);
    // Undone by a reorganisation, it is locked again; the secret is out.
    let undone = run(state, [Input::Undone(PIVOT, "gone".into())]);
    assert_eq!(tasks(&undone), [Task::Prepare(PIVOT)]);
}

#[test]
fn a_claim_shows_one_secret_and_its_payer_commits_with_all() {
    for payer in [told(&[0], &[2, 0]), locked(&[0])] {
        let seen = run(payer, [claim(false)]);
        // COMMIT names what is finally prepared.
        let state = match seen.phase() {
            Phase::Preparing => run(seen.clone(), [prepared(&seen, 0)]),
            _ => seen,
        };
        let Some(Decide::Commit { preimages, .. }) = asked(&state) else { panic!("{:?}", state.phase()) };
        assert_eq!(preimages, ALL);
    }
    let late = at(locked(&[0]), DEADLINE + sofie_model::Span::from_seconds(1), &claim(true));
    assert!(matches!(late.phase(), Phase::Late) && permit(&late).is_some());
}

#[test]
fn whoever_lacks_the_payers_secret_waits_for_its_commit() {
    let state = told(&[2], &[2]);
    let pivot = prepared(&state, 0);
    for inputs in [[pivot.clone(), claim(false)], [claim(false), pivot]] {
        let waits = run(state.clone(), inputs);
        assert_eq!((waits.phase(), asked(&waits)), (&Phase::Releasing, None));
        let told = run(waits.clone(), [released(0)]);
        assert!(matches!(asked(&told), Some(Decide::Commit { preimages, .. }) if preimages == ALL));
        // Also when it is told late: the claim stands.
        let late = at(waits, DEADLINE + sofie_model::Span::from_millis(1), &released(0));
        assert!(matches!(late.phase(), Phase::Late), "{:?}", late.phase());
    }
}

#[test]
fn a_claim_that_shows_another_secret_or_more_is_none() {
    let state = locked(&[0]);
    for preimages in [vec![], vec![ALL[0]], ALL.to_vec(), vec![Digest([9; 32])]] {
        let rejected = state.clone().next(&Input::Revealed { preimages, finally: true }, NOW).unwrap_err();
        assert!(rejected.why.contains("the pivot's lock"), "{rejected}");
    }
}

#[test]
fn commit_claims_it_with_the_claimants_secret_alone() {
    let state = locked(&[1]);
    let commit = Decision::Commit { included: 0b11, evidence_root: Digest::ZERO, preimages: ALL.to_vec() };
    let input = decided(&state, commit);
    assert_eq!(step(&run(state, [input]), PIVOT), Some(Step::Claim(vec![ALL[1]])));
    // Also where D has refused the COMMIT that published it, and the guard is elsewhere.
    let state = run(locked(&[1]), [released(1), Input::DecideRefused("too late".into())]);
    assert!(matches!(state.phase(), Phase::Late));
    assert_eq!(step(&state, PIVOT), Some(Step::Claim(vec![ALL[1]])));
}

#[test]
fn a_payer_that_may_have_locked_signs_no_abort() {
    let asks = |state: &State| state.effects().iter().any(|one| matches!(one, Effect::Renounce(_)));
    let no = || Input::Withheld(2, "changed its mind".into());
    assert!(asks(&run(told(&[0], &[]), [no()])), "nothing is out");
    assert!(!asks(&run(told(&[0], &[2, 0]), [no()])), "the lock may be on its way");
}
