//! The known failures of the systems before this one, as far as the pure machine can show them. Two workers on one
//! account's nonce are a ledger's matter: `crates/ledgers/tests/evm/nonces.rs`.

use sofie_model::{Decision, Digest, LegId, Rule, Step, canonical};
use sofie_transaction::{Edge, Effect, Input, Look, Phase, Task};

use crate::world::*;

#[test]
fn a_late_lock_that_is_mined_after_the_abort_is_undone() {
    let state = at(two_legs(), DEADLINE, &Input::Woken);
    let input = decided(&state, Decision::Abort { by: account(1) });
    let state = run(state, [input]);
    let late = prepared(&state, 0);
    assert!(tasks(&run(state, [late])).contains(&Task::Revert(LegId(0))));
}

#[test]
fn a_restart_forgets_nothing_of_what_was_in_flight() {
    let start = releasing(&[0, 1]);
    let journal = [
        prepared(&start, 1),
        prepared(&start, 0),
        Input::Released(0, SECRETS[0]),
        Input::Undone(LegId(1), "reorganised".into()),
        prepared(&start, 1),
        Input::Released(1, SECRETS[1]),
        decided(&start, commit(0b11)),
        closed(&start, 0, true),
    ];
    for stop in 0..=journal.len() {
        let before = run(node(&[0, 1]), journal[..stop].to_vec());
        let read =
            journal[..stop].iter().map(|one| canonical::decode(&canonical::encode(one), 4096).unwrap());
        let after = run(node(&[0, 1]), read);
        assert_eq!(after, before, "after {stop} inputs");
        assert_eq!(after.effects(), before.effects(), "after {stop} inputs");
    }
}

#[test]
fn a_commit_that_fails_is_not_taken_for_final() {
    let state = two_legs();
    let inputs = [
        prepared(&state, 0),
        prepared(&state, 1),
        Input::Released(0, SECRETS[0]),
        Input::Released(1, SECRETS[1]),
        Input::DecideRefused("out of gas".into()),
    ];
    let state = run(state, inputs);
    assert!(matches!(state.phase(), Phase::Aborting { .. }));
    assert_eq!(state.decided(), None);
    assert!(state.clone().next(&closed(&state, 0, true), NOW).is_err(), "no leg applies without D");
}

#[test]
fn when_one_of_n_fails_the_successes_are_undone() {
    let state = begin(manifest(vec![escrow(), record(1, true), record(2, true)], Rule::All));
    let inputs = [prepared(&state, 0), prepared(&state, 1), Input::PrepareRefused(LegId(2), "full".into())];
    let state = run(state, inputs);
    assert_eq!(tasks(&state), [Task::Decide(false)]);
    let input = decided(&state, Decision::Abort { by: account(1) });
    assert_eq!(tasks(&run(state, [input])), [Task::Revert(LegId(0)), Task::Revert(LegId(1))]);
}

#[test]
fn an_event_that_arrives_twice_counts_once_and_one_between_two_polls_is_found_by_the_next() {
    let state = two_legs();
    let once = run(state.clone(), [prepared(&state, 0), prepared(&state, 1)]);
    let twice = run(once.clone(), [prepared(&state, 0), prepared(&state, 1)]);
    assert_eq!(once, twice);
    let input = decided(&state, commit(0b11));
    let committed = run(once.clone(), [input.clone()]);
    assert_eq!(run(committed.clone(), [input]), committed);
    // Nothing rests on an event: what stands is asked for until it is known.
    assert!(once.effects().contains(&Effect::Observe(Look::Open)));
}

#[test]
fn a_reorganisation_that_undoes_a_prepare_is_followed_by_the_prepare() {
    let state = two_legs();
    let inputs = [prepared(&state, 0), prepared(&state, 1), Input::Undone(LegId(0), "reorganised".into())];
    assert_eq!(tasks(&run(state, inputs)), [Task::Prepare(LegId(0))]);
}

#[test]
fn a_winner_who_sleeps_through_its_timelock_is_warned_and_claimed_for() {
    let state = releasing(&[0, 1]);
    let input = decided(&state, commit(0b11));
    let state = run(state, [input]);
    // Whoever runs a node is asked to claim, and shown what is left.
    assert!(matches!(step(&state, PIVOT), Some(Step::Claim(_))));
    let left = |seconds| {
        let when = sofie_model::Timestamp::from_seconds(seconds);
        state.slack(when).into_iter().find(|one| one.edge == Edge::Claim).map(|one| one.alarm)
    };
    assert_eq!((left(1090), left(1106)), (Some(false), Some(true)));
    assert_ne!(state.txid().0, Digest::ZERO);
}
