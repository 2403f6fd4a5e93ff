//! What a reorganisation undoes: a prepare before the decision, the decision itself.

use sofie_model::{Decide, Decision, Leg, LegId, Manifest, Rule};
use sofie_transaction::{Effect, Input, Look, Phase, Plan, State, Task};

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

/// COMMIT of everything stands, and nothing has followed it yet.
fn committed(manifest: Manifest, acts_for: &[u16]) -> State {
    let plan = Plan { manifest, acts_for: acts_for.to_vec(), ..plan() };
    let state = State::begin(plan);
    let locks = [prepared(&state, 1), prepared(&state, 0)];
    let state = run(state, locks);
    let commit = decided(&state, commit(0b11));
    run(state, [commit])
}

fn plan() -> Plan {
    let (manifest, decision_time) = (with_pivot(), sofie_model::Span::from_seconds(36));
    Plan { manifest, acts_for: vec![0, 1], decision_time, pivot: Some(clock()) }
}

fn two() -> Manifest {
    manifest(vec![escrow(), record(1, true)], Rule::All)
}

fn reason(state: &State) -> &str {
    match state.phase() {
        Phase::Halted { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lock_that_is_gone_after_commit_is_made_again_by_who_made_it_and_applied() {
    for (name, manifest, acts_for, again) in [
        ("an escrow", two(), &[0, 1][..], Some(Task::Prepare(LegId(0)))),
        ("a hashlock", with_pivot(), &[0, 1], Some(Task::Prepare(PIVOT))),
        ("an escrow of another node's payer", two(), &[1], None),
        ("a watched hashlock", with_pivot(), &[], None),
    ] {
        let state = committed(manifest, acts_for);
        assert_eq!(tasks(&state), [Task::Apply(LegId(0)), Task::Apply(LegId(1))], "{name}");
        let gone = run(state.clone(), [undone(0)]);
        let expected: Vec<_> = again.into_iter().chain([Task::Apply(LegId(1))]).collect();
        assert_eq!(tasks(&gone), expected, "{name}");
        assert_eq!(gone.effects().contains(&Effect::Await(LegId(0))), again.is_none(), "{name}");
        let back = prepared(&gone, 0);
        let back = run(gone, [back]);
        assert_eq!(tasks(&back), [Task::Apply(LegId(0)), Task::Apply(LegId(1))], "{name}");
        let closing = [closed(&state, 1, true), closed(&state, 0, true)];
        assert_eq!(run(back, closing).phase(), &Phase::Done(commit(0b11)), "{name}");
    }
}

#[test]
fn a_lock_that_cannot_be_made_again_halts_once_the_others_have_followed() {
    for manifest in [two(), with_pivot()] {
        let state = committed(manifest, &[0, 1]);
        let refused = Input::PrepareRefused(LegId(0), "it is decided".into());
        let stuck = run(state.clone(), [undone(0), refused]);
        assert_eq!(tasks(&stuck), [Task::Apply(LegId(1))]);
        let halted = run(stuck, [closed(&state, 1, true)]);
        assert!(reason(&halted).contains("its lock is gone, and is not made again: it is decided"));
        assert!(matches!(halted.effects().as_slice(), [Effect::Alarm(_)]));
        assert!(!halted.is_broken());
        // The operator has it back.
        let resumed = run(halted, [Input::Resumed]);
        assert_eq!(tasks(&resumed), [Task::Apply(LegId(0))]);
        assert_eq!(run(resumed, [closed(&state, 0, true)]).phase(), &Phase::Done(commit(0b11)));
    }
}

#[test]
fn a_lock_that_is_undone_again_and_again_is_left_to_the_operator() {
    let state = committed(two(), &[0, 1]);
    let again = |state: State| {
        let lock = prepared(&state, 0);
        run(state, [undone(0), lock])
    };
    let worn = (0..16).fold(state.clone(), |state, _| again(state));
    let stuck = run(worn, [undone(0)]);
    assert_eq!(tasks(&stuck), [Task::Apply(LegId(1))]);
    let halted = run(stuck, [closed(&state, 1, true)]);
    assert!(reason(&halted).contains("undone again and again"), "{}", reason(&halted));
}

#[test]
fn what_is_undone_after_the_decision_and_was_not_its_own_changes_nothing() {
    let state = committed(two(), &[0, 1]);
    assert!(state.clone().next(&undone(9), NOW).is_err());
    let applied = run(state.clone(), [closed(&state, 0, true)]);
    assert_eq!(run(applied.clone(), [undone(0)]), applied, "one more look comes after the end");
    let aborted = run(two_legs(), [decided(&state, Decision::Abort { by: account(1) })]);
    assert_eq!(run(aborted.clone(), [undone(0)]), aborted, "an ABORT wants no lock");
}

#[test]
fn after_the_end_a_decision_that_is_lost_or_changed_halts() {
    let state = committed(two(), &[0, 1]);
    let done = run(state.clone(), [closed(&state, 0, true), closed(&state, 1, true)]);
    assert_eq!(done.phase(), &Phase::Done(commit(0b11)));
    assert_eq!(run(done.clone(), [decided(&state, commit(0b11))]), done, "it stands");
    let lost = run(done.clone(), [Input::Undecided("it holds none".into())]);
    assert!(reason(&lost).contains("no longer holds its final decision (P3)"));
    assert_eq!(run(lost, [Input::Resumed]).phase(), &Phase::Done(commit(0b11)), "it came back");
    let other = run(done, [decided(&state, Decision::Abort { by: account(1) })]);
    assert!(reason(&other).contains("changed its final decision (P3)") && other.is_broken());
    assert!(other.next(&Input::Resumed, NOW).is_err());
}

#[test]
fn after_the_end_a_leg_that_its_ledger_lost_is_done_again() {
    let state = committed(two(), &[0, 1]);
    let done = run(state.clone(), [closed(&state, 0, true), closed(&state, 1, true)]);
    let lost = run(done, [undone(0)]);
    assert_eq!((lost.phase(), tasks(&lost)), (&Phase::Closing(commit(0b11)), vec![Task::Prepare(LegId(0))]));
    let stands = prepared(&state, 0);
    let stands = run(lost, [stands]);
    assert_eq!(tasks(&stands), [Task::Apply(LegId(0))]);
    assert_eq!(run(stands, [closed(&state, 0, true)]).phase(), &Phase::Done(commit(0b11)));

    let abort = Decision::Abort { by: account(1) };
    let start = two_legs();
    let locked = prepared(&start, 0);
    let reverting = run(start.clone(), [locked, decided(&start, abort.clone())]);
    let done = run(reverting, [closed(&start, 0, false), closed(&start, 1, false)]);
    assert_eq!(done.phase(), &Phase::Done(abort.clone()));
    let lost = run(done, [undone(0)]);
    assert_eq!(tasks(&lost), [Task::Revert(LegId(0))], "the lock stands, and nothing is locked anew");
    assert_eq!(run(lost, [closed(&start, 0, false)]).phase(), &Phase::Done(abort));
}
