//! All legs needed, no pivot: prepare, release, decide, apply, and what can go wrong between.

use sofie_model::{Account, Class, Decide, Decision, Digest, Fact, LegId, Operation, Rule, evidence};
use sofie_transaction::{Aborter, Effect, Input, Label, Phase, Task, label};

use crate::world::*;

#[test]
fn a_good_run_prepares_releases_commits_and_applies() {
    let state = two_legs();
    assert_eq!(tasks(&state), [Task::Prepare(LegId(0)), Task::Prepare(LegId(1))]);
    let inputs = [prepared(&state, 0), prepared(&state, 1)];
    let state = run(state, inputs);
    assert_eq!(state.phase(), &Phase::Releasing);
    assert_eq!(state.effects()[..2], [Effect::Release(0), Effect::Release(1)]);
    let state = run(state, [Input::Released(1, SECRETS[1]), Input::Released(0, SECRETS[0])]);
    let effects = state.effects();
    let [Effect::Operate { operation: Operation::Decide { decide, .. }, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let root = evidence::root(state.prepared().map(|(_, e)| e));
    assert_eq!(
        decide,
        &Decide::Commit { included: 0b11, evidence_root: root, preimages: SECRETS.to_vec(), guard: None }
    );
    let input = decided(&state, commit(0b11));
    let state = run(state, [input]);
    assert_eq!(tasks(&state), [Task::Apply(LegId(0)), Task::Apply(LegId(1))]);
    let inputs = [closed(&state, 1, true), closed(&state, 0, true)];
    let state = run(state, inputs);
    assert_eq!(state.phase(), &Phase::Done(commit(0b11)));
    assert_eq!(state.effects(), []);
}

#[test]
fn a_ledger_that_refuses_makes_an_abort_and_the_other_leg_is_undone() {
    let state = two_legs();
    let inputs = [prepared(&state, 0), Input::PrepareRefused(LegId(1), "read-only".into())];
    let state = run(state, inputs);
    assert_eq!(
        state.phase(),
        &Phase::Aborting { reason: "leg 1 on calendar: read-only".into(), by: Aborter::Participant(0) }
    );
    assert_eq!(tasks(&state), [Task::Decide(false)]);
    let abort = Decision::Abort { by: account(1) };
    let input = decided(&state, abort.clone());
    let state = run(state, [input]);
    assert_eq!(tasks(&state), [Task::Revert(LegId(0))]);
    let input = closed(&state, 0, false);
    assert_eq!(run(state, [input]).phase(), &Phase::Done(abort));
}

#[test]
fn an_abort_learns_the_fate_of_a_lock_before_it_undoes_it() {
    // The failure of those before us: the late lock is mined after the abort, and the asset exists twice.
    let state = two_legs();
    let state = state.next(&Input::Woken, DEADLINE).unwrap();
    assert!(
        matches!(state.phase(), Phase::Aborting { reason, .. } if reason.contains("leg 0 on evm, leg 1 on calendar"))
    );
    let input = decided(&state, Decision::Abort { by: account(1) });
    let state = run(state, [input]);
    assert_eq!(tasks(&state), [Task::Prepare(LegId(0)), Task::Revert(LegId(1))]);
    let late = prepared(&state, 0);
    let state = run(state, [late]);
    assert_eq!(tasks(&state), [Task::Revert(LegId(0)), Task::Revert(LegId(1))]);
}

#[test]
fn an_abort_that_no_participant_can_pay_for_is_made_by_anyone_after_grace() {
    let refused = || Input::DecideRefused("lack of funds".into());
    let state = run(two_legs(), [Input::PrepareRefused(LegId(0), "lack of funds".into())]);
    assert_eq!(aborter(&state), account(1));
    let state = run(state, [refused()]);
    assert_eq!(aborter(&state), account(2));
    let state = run(state, [refused()]);
    let [Effect::Observe(_), Effect::Wake(at)] = state.effects()[..] else { panic!("{:?}", state.effects()) };
    assert!(at > DEADLINE);
    let early = state.clone().next(&Input::Woken, DEADLINE).unwrap();
    assert_eq!(early, state, "before G it is not anybody's to abort");
    let state = state.next(&Input::Woken, at).unwrap();
    assert_eq!(aborter(&state), Account::ZERO);
    assert!(matches!(run(state, [refused()]).phase(), Phase::Halted { .. }));
}

#[test]
fn commit_that_others_made_overrides_our_abort() {
    let state = two_legs();
    let inputs = [prepared(&state, 0), prepared(&state, 1), Input::Withheld(0, "changed its mind".into())];
    let state = run(state, inputs);
    assert_eq!(tasks(&state), [Task::Decide(false)]);
    let input = decided(&state, commit(0b11));
    let state = run(state, [input]);
    assert_eq!(tasks(&state), [Task::Apply(LegId(0)), Task::Apply(LegId(1))]);
}

#[test]
fn nothing_is_released_so_late_that_commit_could_miss_the_deadline() {
    let state = two_legs();
    let late = DEADLINE;
    let first = prepared(&state, 0);
    let second = prepared(&state, 1);
    let aborted = state.clone().next(&first, NOW).unwrap().next(&second, late).unwrap();
    assert!(matches!(aborted.phase(), Phase::Aborting { .. }), "{:?}", aborted.phase());
    let releasing = run(state, [first, second]);
    let aborted = releasing.next(&Input::Released(0, SECRETS[0]), late).unwrap();
    assert!(matches!(aborted.phase(), Phase::Aborting { .. }), "{:?}", aborted.phase());
}

#[test]
fn inputs_that_lie_are_rejected() {
    let state = two_legs();
    let foreign = Input::Prepared(LegId(0), seen(&state, "calendar", Fact::Prepared(state.txid(), LegId(0))));
    let other_leg =
        Input::Prepared(LegId(1), seen(&state, "calendar", Fact::Prepared(state.txid(), LegId(0))));
    let no_leg = Input::Prepared(LegId(9), seen(&state, "evm", Fact::Prepared(state.txid(), LegId(9))));
    let wrong = Input::Released(0, Digest([9; 32]));
    let nobody = Input::Released(7, SECRETS[0]);
    let elsewhere = Input::Decided(seen(&state, "calendar", Fact::Decided(state.txid(), commit(3))));
    let undecided = closed(&state, 0, true);
    for input in [foreign, other_leg, no_leg, wrong, nobody, elsewhere, undecided] {
        assert!(state.clone().next(&input, NOW).is_err(), "{input:?}");
    }
    let input = decided(&state, Decision::Abort { by: account(1) });
    let aborted = run(state, [input]);
    assert!(
        aborted.clone().next(&closed(&aborted, 0, true), NOW).is_err(),
        "an aborted leg cannot apply (P1)"
    );
}

#[test]
fn a_decision_that_changes_halts_and_alarms() {
    let state = two_legs();
    let inputs = [decided(&state, commit(3)), decided(&state, Decision::Abort { by: account(1) })];
    let state = run(state, inputs);
    assert!(matches!(state.phase(), Phase::Halted { reason } if reason.contains("P3")));
    assert!(matches!(state.effects().as_slice(), [Effect::Alarm(_)]));
}

#[test]
fn a_leg_that_was_refused_here_and_committed_by_others_is_applied() {
    let state = two_legs();
    let inputs = [prepared(&state, 0), Input::PrepareRefused(LegId(1), "another was faster".into())];
    let state = run(state, inputs);
    let committed = decided(&state, commit(0b11));
    let state = run(state, [committed]);
    assert_eq!(tasks(&state), [Task::Apply(LegId(0)), Task::Apply(LegId(1))]);
    let inputs = [closed(&state, 1, true), closed(&state, 0, true)];
    assert_eq!(run(state, inputs).phase(), &Phase::Done(commit(0b11)));
}

#[test]
fn an_operator_drives_a_halted_transaction_on_but_not_past_a_broken_promise() {
    let start = two_legs();
    let abort = Decision::Abort { by: account(1) };
    let refused = Input::CloseRefused(LegId(0), "this node has no ledger evm".into());
    let stuck = run(start.clone(), [decided(&start, commit(0b11)), refused]);
    assert_eq!(tasks(&stuck), [Task::Apply(LegId(1))], "the others follow all the same");
    let resumed = run(stuck.clone(), [Input::Resumed]);
    assert_eq!(tasks(&resumed), [Task::Apply(LegId(0)), Task::Apply(LegId(1))]);
    let halted = run(stuck, [closed(&start, 1, true)]);
    assert!(matches!(halted.phase(), Phase::Halted { reason } if reason.contains("no ledger evm")));
    assert_eq!(tasks(&halted), []);
    let resumed = run(halted, [Input::Resumed]);
    assert_eq!(tasks(&resumed), [Task::Apply(LegId(0))]);
    assert_eq!(run(resumed, [closed(&start, 0, true)]).phase(), &Phase::Done(commit(0b11)));

    let no = || Input::DecideRefused("no participant's key is here".into());
    let waiting = run(start.clone(), [Input::Withheld(0, "no".into()), no(), no()]);
    let [Effect::Observe(_), Effect::Wake(after_grace)] = waiting.effects()[..] else {
        panic!("{:?}", waiting.effects())
    };
    let undecided = run(waiting.next(&Input::Woken, after_grace).unwrap(), [no()]);
    assert!(matches!(undecided.phase(), Phase::Halted { .. }));
    assert_eq!(tasks(&run(undecided, [Input::Resumed])), [Task::Decide(false)]);

    let broken = run(start.clone(), [decided(&start, commit(0b11)), decided(&start, abort)]);
    let rejected = broken.next(&Input::Resumed, NOW).unwrap_err();
    assert!(rejected.to_string().contains("P3"), "{rejected}");
    // Nothing else is moved by it.
    assert_eq!(run(start.clone(), [Input::Resumed]), start);
}

#[test]
fn the_label_is_that_of_the_weakest_part() {
    let two = manifest(vec![escrow(), record(1, true)], Rule::All);
    assert_eq!(label(&two, |_| false), Label::Verified);
    let mut grouped = two.clone();
    (grouped.decision.chain_id, grouped.decision.contract) = (0, Account([9; 20]));
    grouped.legs.retain(|leg| leg.class == Class::Record);
    assert_eq!(label(&grouped, |_| false), Label::Quorum);
    assert_eq!(label(&grouped, |ledger| *ledger == grouped.decision.ledger), Label::Custodial);
    assert_eq!(label(&two, |ledger| ledger.as_str() == "calendar"), Label::Custodial);
    assert_eq!(label(&with_pivot(), |_| false).to_string(), "swap-safe(600 s)");
}
