//! What a reorganisation undoes: a prepare before the decision, the decision itself.

use sofie_model::{Decide, Decision, Leg, LegId, Rule};
use sofie_transaction::{Effect, Input, Look, Phase, State, Task};

use crate::world::*;

fn undone(leg: u16) -> Input {
    Input::Undone(LegId(leg), "reorganised".into())
}

#[test]
fn a_prepare_that_is_undone_before_the_decision_is_prepared_again() {
    let state = two_legs();
    let inputs = [prepared(&state, 0), prepared(&state, 1), undone(0)];
    let state = run(state, inputs);
    assert_eq!(state.phase(), &Phase::Preparing);
    assert_eq!(tasks(&state), [Task::Prepare(LegId(0))]);
    let again = prepared(&state, 0);
    assert_eq!(run(state, [again]).phase(), &Phase::Releasing);
}

#[test]
fn a_secret_that_is_out_is_kept_and_commit_waits_until_all_stands_again() {
    let state = two_legs();
    let inputs = [prepared(&state, 0), prepared(&state, 1), Input::Released(0, SECRETS[0]), undone(1)];
    let state = run(state, inputs);
    assert_eq!(tasks(&state), [Task::Prepare(LegId(1))]);
    let state = run(state, [Input::Released(1, SECRETS[1])]);
    assert_eq!(asked(&state), None, "not while a prepare is missing");
    let again = prepared(&state, 1);
    let state = run(state, [again]);
    assert!(matches!(asked(&state), Some(Decide::Commit { included: 0b11, .. })));
}

#[test]
fn a_prepare_that_does_not_come_back_before_the_deadline_aborts() {
    let state = two_legs();
    let inputs = [prepared(&state, 0), prepared(&state, 1), Input::Released(0, SECRETS[0]), undone(1)];
    let state = at(run(state, inputs), DEADLINE, &Input::Woken);
    assert!(matches!(asked(&state), Some(Decide::Abort { .. })));
}

#[test]
fn an_undone_prepare_changes_nothing_once_commit_is_asked_for() {
    let state = two_legs();
    let inputs = [prepared(&state, 0), prepared(&state, 1)];
    let state = run(run(state, inputs), [Input::Released(0, SECRETS[0]), Input::Released(1, SECRETS[1])]);
    assert_eq!(run(state.clone(), [undone(0)]), state);
    assert!(two_legs().next(&undone(9), NOW).is_err());
}

#[test]
fn while_the_legs_follow_the_decision_is_looked_at_again_and_its_loss_halts() {
    let state = two_legs();
    let input = decided(&state, commit(0b11));
    let state = run(state, [input]);
    assert!(state.effects().contains(&Effect::Observe(Look::Stands)));
    let lost = run(state.clone(), [Input::Undecided("it holds none".into())]);
    assert!(matches!(lost.phase(), Phase::Halted { reason } if reason.contains("P3")), "{:?}", lost.phase());
    // It came back, the same: an operator drives on.
    assert_eq!(tasks(&run(lost.clone(), [Input::Resumed])), [Task::Apply(LegId(0)), Task::Apply(LegId(1))]);
    let other = decided(&state, Decision::Abort { by: account(1) });
    assert!(run(state, [other]).next(&Input::Resumed, NOW).is_err());
}

#[test]
fn a_record_that_commit_includes_and_a_reorganisation_undid_is_entered_again() {
    let missing = || Input::CloseRefused(LegId(1), "it holds none".into());
    let optional = begin(manifest(vec![escrow(), record(1, false)], Rule::AtLeast(1)));
    let committed = decided(&optional, commit(0b11));
    let start = run(optional, [committed]);
    let once = run(start.clone(), [missing()]);
    assert_eq!(tasks(&once), [Task::Apply(LegId(0)), Task::Prepare(LegId(1))]);
    let again = prepared(&once, 1);
    let entered = run(once.clone(), [again]);
    assert_eq!(tasks(&entered), [Task::Apply(LegId(0)), Task::Apply(LegId(1))]);
    let done = [closed(&start, 0, true), closed(&start, 1, true)];
    assert_eq!(run(entered, done).phase(), &Phase::Done(commit(0b11)));

    // Another has entered it meanwhile.
    let by_another = run(once, [Input::PrepareRefused(LegId(1), "it is there".into())]);
    assert_eq!(tasks(&by_another), [Task::Apply(LegId(0)), Task::Apply(LegId(1))]);

    // A ledger that never keeps it is left to an operator; the other leg follows before.
    let turn = |state: State| {
        let again = prepared(&state, 1);
        run(state, [missing(), again])
    };
    let worn = (0..16).fold(start.clone(), |state, _| turn(state));
    assert_eq!(tasks(&worn), [Task::Apply(LegId(0)), Task::Apply(LegId(1))]);
    let stuck = run(worn, [missing()]);
    assert_eq!(tasks(&stuck), [Task::Apply(LegId(0))]);
    let halted = run(stuck, [closed(&start, 0, true)]);
    assert!(matches!(halted.phase(), Phase::Halted { .. }), "{:?}", halted.phase());
    assert_eq!(tasks(&run(halted, [Input::Resumed])), [Task::Apply(LegId(1))]);
}

#[test]
fn a_lock_that_was_never_made_and_is_committed_does_not_hold_up_the_others() {
    let optional = Leg { required: false, ..escrow() };
    let start = begin(manifest(vec![optional, escrow(), record(1, true)], Rule::AtLeast(2)));
    let refused = Input::CloseRefused(LegId(0), "leg 0 is absent".into());
    let state = run(start.clone(), [decided(&start, commit(0b111)), refused]);
    assert_eq!(tasks(&state), [Task::Apply(LegId(1)), Task::Apply(LegId(2))]);
}
