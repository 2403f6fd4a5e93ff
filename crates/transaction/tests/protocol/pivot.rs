//! The pivot: who releases when, what a claim makes possible, who may abort, and what P5 leaves.

use sofie_model::{Decide, Decision, LegId, Span, Step, Timestamp};
use sofie_transaction::{
    Aborter, Edge, Effect, Input, Look, News, Phase, PivotClock, Plan, State, Task, slack,
};

use crate::world::*;

#[test]
fn p5_names_the_edge_that_is_too_tight() {
    let (second, clock) = (Span::from_seconds, clock());
    let manifest = with_pivot();
    // T_D 1060 + 1 + 24 + 5 + 30 + 40 + 20 = 1180 ≤ T_p 1200; 1200 + 5 + 30 + 40 + 5 + 12 + 24 + 20 = 1336 ≤ G 1660
    let margins = slack(&manifest, clock).unwrap().unwrap();
    assert_eq!((margins.claim, margins.settle), (second(20), second(324)));
    let slow = PivotClock { inclusion_p: second(60), ..clock };
    assert_eq!(
        slack(&manifest, slow).unwrap_err().to_string(),
        "the pivot's timelock must be 1210000 or later, it is 10 s too early"
    );
    assert_eq!(slack(&two_legs().manifest().as_ref().clone(), clock), Ok(None));
}

#[test]
fn the_pivot_is_prepared_last_and_its_claimant_releases_last() {
    let state = node(&[0, 1]);
    assert_eq!(tasks(&state), [Task::Prepare(LegId(1))]);
    let input = prepared(&state, 1);
    let state = run(state, [input]);
    assert_eq!(tasks(&state), [Task::Prepare(PIVOT)]);
    let input = prepared(&state, 0);
    let state = run(state, [input]);
    assert_eq!(state.effects()[0], Effect::Release(0));
    assert!(!state.effects().contains(&Effect::Release(1)));
    let state = run(state, [Input::Released(0, SECRETS[0])]);
    assert_eq!(state.effects()[0], Effect::Release(1));
}

#[test]
fn a_plan_whose_times_are_too_tight_locks_nothing_and_names_the_edge() {
    let tight = PivotClock { finality_p: Span::from_seconds(100), ..clock() };
    for (pivot, why) in
        [(Some(tight), "the pivot's timelock must be"), (None, "nothing of the pivot's clock")]
    {
        let plan = Plan { manifest: with_pivot(), acts_for: vec![0, 1], decision_time: Span::ZERO, pivot };
        assert!(plan.check().unwrap_err().to_string().contains(why));
        let state = State::begin(plan);
        assert!(matches!(state.phase(), Phase::Aborting { reason, .. } if reason.contains(why)));
        assert_eq!(tasks(&state), []);
        // Nor after ABORT: nothing of unknown fate is there to be undone.
        let abort = Decision::Abort { by: owner(1) };
        let input = decided(&state, abort.clone());
        assert_eq!(run(state, [input]).phase(), &Phase::Done(abort));
    }
}

#[test]
fn release_is_refused_once_the_slack_is_gone() {
    // 1060 − 36 − 10 of skew.
    let last = Timestamp::from_seconds(1014);
    let state = releasing(&[0, 1]);
    let input = Input::Released(0, SECRETS[0]);
    assert_eq!(at(state.clone(), last, &input).phase(), &Phase::Releasing);
    let late = at(state, last + Span::from_millis(1), &input);
    assert!(matches!(late.phase(), Phase::Aborting { .. }));
    assert_eq!(late.preimage(0), None);
}

#[test]
fn another_nodes_lock_is_waited_for_and_not_made() {
    let state = node(&[1]);
    let input = prepared(&state, 1);
    let state = run(state, [input]);
    assert_eq!(tasks(&state), []);
    assert!(state.effects().contains(&Effect::Await(PIVOT)));
    // After ABORT there is nothing of ours to undo there.
    let abort = Decision::Abort { by: owner(1) };
    let input = decided(&state, abort.clone());
    let state = run(state, [input]);
    assert_eq!(tasks(&state), [Task::Revert(LegId(1))]);
    let input = closed(&state, 1, false);
    assert_eq!(run(state, [input]).phase(), &Phase::Done(abort));
}

#[test]
fn a_pivot_whose_turn_never_came_is_not_locked_to_be_undone() {
    let state = node(&[0, 1]);
    let input = decided(&state, Decision::Abort { by: owner(1) });
    assert_eq!(tasks(&run(state, [input])), [Task::Revert(LegId(1))]);
}

#[test]
fn commit_claims_the_pivot_with_every_preimage_and_abort_refunds_it() {
    let state = releasing(&[0, 1]);
    let input = decided(&state, commit(0b11));
    let committed = run(state.clone(), [input]);
    assert_eq!(step(&committed, PIVOT), Some(Step::Claim(SECRETS.to_vec())));
    let input = decided(&state, Decision::Abort { by: owner(1) });
    assert_eq!(step(&run(state, [input]), PIVOT), Some(Step::Revert));
}

#[test]
fn early_abort_needs_every_participants_signature() {
    let state = releasing(&[0, 1]);
    let state = run(state, [Input::Withheld(0, "changed its mind".into())]);
    assert_eq!(asked(&state), None);
    assert_eq!(state.effects()[..2], [Effect::Renounce(0), Effect::Renounce(1)]);
    let first = renounced(&state, 0);
    let state = run(state, [first]);
    assert_eq!(asked(&state), None);
    assert!(!state.effects().contains(&Effect::Renounce(0)));
    let second = renounced(&state, 1);
    let state = run(state, [second]);
    let Some(Decide::Abort { signatures, .. }) = asked(&state) else { panic!("{:?}", state.effects()) };
    assert_eq!(signatures.len(), 2);
    let other = releasing(&[0, 1]);
    let Input::Renounced(_, of_zero) = renounced(&other, 0) else { unreachable!() };
    assert!(other.next(&Input::Renounced(1, of_zero), NOW).is_err(), "a signature of another");
}

#[test]
fn whoever_has_released_signs_no_abort_and_waits_for_the_end_of_grace() {
    let state = releasing(&[0]);
    let state = run(state, [Input::Released(0, SECRETS[0])]);
    let late = DEADLINE + Span::from_millis(1);
    let state = at(state, late, &Input::Woken);
    assert!(matches!(state.phase(), Phase::Aborting { by: Aborter::Together, .. }));
    assert!(!state.effects().iter().any(|effect| matches!(effect, Effect::Renounce(_))));
    assert_eq!(asked(&state), None, "ABORT is not valid before G");
    let state = at(state, GRACE_END + Span::from_seconds(2), &Input::Woken);
    assert!(matches!(asked(&state), Some(Decide::Abort { signatures, .. }) if signatures.is_empty()));
}

#[test]
fn a_foreign_decision_and_a_claim_are_looked_for_while_undecided() {
    for state in [node(&[0, 1]), releasing(&[0, 1]), run(releasing(&[0]), [Input::Withheld(0, "no".into())])]
    {
        assert!(state.effects().contains(&Effect::Observe(Look::Open)), "{:?}", state.effects());
    }
}

#[test]
fn the_refund_does_not_wait_for_abort() {
    let state = run(releasing(&[0]), [Input::Released(0, SECRETS[0])]);
    let state = at(state, DEADLINE + Span::from_millis(1), &Input::Woken);
    let due = TIMELOCK + Span::from_millis(1);
    assert!(state.effects().contains(&Effect::Wake(due)));
    assert_eq!(tasks(&state), []);
    let state = at(state, due, &Input::Woken);
    assert_eq!(step(&state, PIVOT), Some(Step::Revert));
    let refunded = closed(&state, 0, false);
    let state = at(state, due, &refunded);
    assert_eq!(tasks(&state), []);
    // With the value back, COMMIT breaks agreement: the other legs follow it, then an operator looks.
    let input = decided(&state, commit(0b11));
    let state = run(state, [input]);
    assert_eq!(tasks(&state), [Task::Apply(LegId(1))]);
    let input = closed(&state, 1, true);
    let halted = run(state, [input]);
    assert!(
        matches!(halted.phase(), Phase::Halted { reason } if reason.contains("P1")),
        "{:?}",
        halted.phase()
    );
    assert!(halted.next(&Input::Resumed, NOW).is_err(), "no driving on can mend that");
}

#[test]
fn a_claim_stops_the_refund_until_it_is_decided() {
    let state = run(releasing(&[0]), [Input::Released(0, SECRETS[0])]);
    let due = TIMELOCK + Span::from_millis(1);
    let state = at(state, due, &Input::Woken);
    let state = at(at(state, due, &Input::Woken), due, &Input::RevertRefused(PIVOT, "claimed".into()));
    assert_eq!(step(&state, PIVOT), None);
    assert_eq!(at(state, due, &revealed(false)).phase(), &Phase::Late);
}

#[test]
fn a_refund_that_a_claim_forestalled_is_no_refusal_of_the_commit() {
    let state = run(releasing(&[0]), [Input::Released(0, SECRETS[0])]);
    let due = TIMELOCK + Span::from_millis(1);
    let state = at(at(state, due, &Input::Woken), due, &Input::Woken);
    assert_eq!(step(&state, PIVOT), Some(Step::Revert));
    let input = decided(&state, commit(0b11));
    let late = Input::RevertRefused(PIVOT, "the lock is spent already".into());
    let state = run(state, [input, late.clone()]);
    assert!(matches!(state.phase(), Phase::Closing(_)));
    // It is one where D has left the leg out.
    let state = run(releasing(&[0]), [Input::Released(0, SECRETS[0])]);
    let input = decided(&state, Decision::Abort { by: owner(1) });
    let state = run(state, [input, late]);
    assert_eq!(tasks(&state), [Task::Revert(LegId(1))], "the other legs follow D all the same");
    let state = run(state.clone(), [closed(&state, 1, false)]);
    assert!(matches!(state.phase(), Phase::Halted { reason } if reason.contains("P1")));
}

#[test]
fn slack_is_told_by_edge_and_alarms_before_it_is_gone() {
    let told = |state: &State, when: Timestamp| -> Vec<_> {
        let told = state.slack(when);
        told.iter().map(|one| (one.edge, one.leg, one.left.as_millis() / 1000, one.alarm)).collect()
    };
    let state = releasing(&[0, 1]);
    // 1014 − 1000; T_p 1200 − 30 − 40 − 20 − 1000.
    assert_eq!(told(&state, NOW), [(Edge::Release, None, 14, false), (Edge::Claim, Some(PIVOT), 110, false)]);
    let close = Timestamp::from_seconds(1010);
    assert_eq!(told(&state, close)[0], (Edge::Release, None, 4, true));
    let late = at(state.clone(), DEADLINE + Span::from_seconds(1), &revealed(false));
    // G 1660 − 12 − 24 − 20 − 1600.
    assert_eq!(told(&late, Timestamp::from_seconds(1600)), [(Edge::Settle, Some(PIVOT), 4, true)]);
    let input = decided(&state, commit(0b11));
    let state = run(state, [input]);
    assert_eq!(told(&state, Timestamp::from_seconds(1109)), [(Edge::Claim, Some(PIVOT), 1, true)]);
    let input = closed(&state, 0, true);
    assert_eq!(told(&run(state, [input]), NOW), []);
}

#[test]
fn the_claimants_own_commit_gives_the_last_secret_away_and_no_other() {
    let state = releasing(&[0, 1]);
    assert!(!state.commit_releases());
    let state = run(state, [Input::Released(0, SECRETS[0]), Input::Released(1, SECRETS[1])]);
    assert!(matches!(state.phase(), Phase::Committing) && state.commit_releases());
    // A claim shows every secret: whoever commits then gives nothing away.
    let claimed = run(releasing(&[0, 1]), [revealed(false)]);
    assert!(matches!(claimed.phase(), Phase::Committing) && !claimed.commit_releases());
    for input in [Input::DecideRefused("too late".into()), Input::Withheld(1, "too late".into())] {
        let refused = run(state.clone(), [input]);
        assert!(matches!(refused.phase(), Phase::Aborting { by: Aborter::Together, .. }));
        assert!(!refused.effects().iter().any(|effect| matches!(effect, Effect::Renounce(1))));
    }
    // Of another it is no news: COMMIT is on its way.
    assert_eq!(run(state.clone(), [Input::Withheld(0, "no".into())]), state);
}

#[test]
fn the_claimant_says_nothing_and_who_aborts_says_its_signature() {
    let said = |state: &State| state.news().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let both = run(releasing(&[0, 1]), [Input::Released(0, SECRETS[0])]);
    assert_eq!(said(&both), [(0, News::Released)]);
    let state = releasing(&[0]);
    assert_eq!(said(&state), []);
    let aborts = run(state.clone(), [renounced(&state, 0)]);
    assert_eq!(said(&aborts), [(0, News::Renounced)]);
    // Nobody signs ABORT whose secret is out.
    let late =
        at(run(state, [Input::Released(0, SECRETS[0])]), DEADLINE + Span::from_millis(1), &Input::Woken);
    assert!(matches!(late.phase(), Phase::Aborting { .. }));
    assert_eq!(said(&late), []);
    assert!(!late.is_silent());
    let input = decided(&late, commit(0b11));
    assert!(run(late, [input]).is_silent());
}
