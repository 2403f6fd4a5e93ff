//! k of N: which legs are waited for, and what becomes of those that come too late.

use sofie_model::{Decide, Decision, LegId, Operation, Rule, Timestamp};
use sofie_transaction::{Effect, Input, Phase, State, Task};

use crate::world::*;

#[test]
fn k_of_n_commits_without_the_leg_that_refused_and_undoes_nothing_twice() {
    let manifest = manifest(vec![escrow(), record(1, false), record(2, false)], Rule::AtLeast(2));
    manifest.check(NOW).unwrap();
    let state = begin(manifest);
    let inputs = [prepared(&state, 0), Input::PrepareRefused(LegId(1), "full".into()), prepared(&state, 2)];
    let state = run(state, inputs);
    let state = run(state, [Input::Released(0, SECRETS[0]), Input::Released(1, SECRETS[1])]);
    let effects = state.effects();
    assert!(
        matches!(
            &effects[..],
            [Effect::Operate {
                operation: Operation::Decide { decide: Decide::Commit { included: 0b101, .. }, .. },
                ..
            }]
        ),
        "{effects:?}"
    );
    let input = decided(&state, commit(0b101));
    let state = run(state, [input]);
    assert_eq!(tasks(&state), [Task::Apply(LegId(0)), Task::Apply(LegId(2))]);
}

fn three() -> State {
    begin(manifest(vec![escrow(), record(1, false), record(2, false)], Rule::AtLeast(2)))
}

#[test]
fn optional_legs_are_waited_for_until_half_of_the_time_before_the_last_safe_release_is_over() {
    let state = three();
    let inputs = [prepared(&state, 0), prepared(&state, 1)];
    let state = run(state, inputs);
    assert_eq!(state.phase(), &Phase::Preparing);
    // Last safe release 1058, enough at 1000.
    let half = Timestamp::from_seconds(1029);
    assert!(state.effects().contains(&Effect::Wake(half)), "{:?}", state.effects());
    assert_eq!(at(state.clone(), NOW, &Input::Woken), state, "not before");
    let state = at(state, half, &Input::Woken);
    assert_eq!(state.phase(), &Phase::Releasing);
    let state = run(state, [Input::Released(0, SECRETS[0]), Input::Released(1, SECRETS[1])]);
    assert!(matches!(asked(&state), Some(Decide::Commit { included: 0b011, .. })));
    // A leg that comes now changes nothing: what is asked of D stays the same.
    let late = prepared(&state, 2);
    assert!(matches!(asked(&run(state, [late])), Some(Decide::Commit { included: 0b011, .. })));
}

#[test]
fn an_optional_leg_that_comes_in_time_is_waited_for_no_longer_and_included() {
    let state = three();
    let inputs = [prepared(&state, 0), prepared(&state, 1), prepared(&state, 2)];
    assert_eq!(run(state, inputs).phase(), &Phase::Releasing);
}

#[test]
fn a_leg_whose_prepare_is_final_only_after_the_commit_that_left_it_out_is_undone() {
    let mut manifest = manifest(vec![record(1, true), escrow()], Rule::AtLeast(1));
    manifest.legs[1].required = false;
    let state = begin(manifest);
    let input = decided(&state, commit(0b01));
    let state = run(state, [input]);
    assert_eq!(tasks(&state), [Task::Apply(LegId(0)), Task::Prepare(LegId(1))]);
    let late = prepared(&state, 1);
    let state = run(state, [late]);
    assert_eq!(tasks(&state), [Task::Apply(LegId(0)), Task::Revert(LegId(1))]);
    let inputs = [closed(&state, 0, true), closed(&state, 1, false)];
    assert_eq!(run(state, inputs).phase(), &Phase::Done(commit(0b01)));
}

#[test]
fn the_pivot_is_not_prepared_before_the_others_are_or_are_given_up() {
    let mut manifest = with_pivot();
    manifest.legs.push(record(2, false));
    manifest.rule = Rule::AtLeast(2);
    let plan = sofie_transaction::Plan {
        manifest,
        acts_for: vec![0, 1],
        decision_time: sofie_model::Span::from_seconds(36),
        pivot: Some(clock()),
    };
    let state = State::begin(plan);
    let input = prepared(&state, 1);
    let state = run(state, [input]);
    assert_eq!(tasks(&state), [Task::Prepare(LegId(2))]);
    // Last safe release 1060 − 36 − 10, enough but for the pivot at 1000.
    let state = at(state, Timestamp::from_seconds(1007), &Input::Woken);
    assert_eq!(tasks(&state), [Task::Prepare(PIVOT), Task::Prepare(LegId(2))]);
    let input = prepared(&state, 0);
    assert_eq!(run(state, [input]).phase(), &Phase::Releasing);
}

#[test]
fn a_success_of_an_aborted_transaction_is_undone_and_a_record_is_told_of_it() {
    let state = three();
    let inputs =
        [prepared(&state, 0), prepared(&state, 1), decided(&state, Decision::Abort { by: account(2) })];
    let state = run(state, inputs);
    let legs = [Task::Revert(LegId(0)), Task::Revert(LegId(1)), Task::Revert(LegId(2))];
    assert_eq!(tasks(&state), legs);
}
