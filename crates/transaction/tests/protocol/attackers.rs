//! The attackers that the design names (docs/specs/inter-ledger.md, "Pivot"), one test each. Participant 0 is honest and
//! pays on the pivot; participant 1 claims it.

use sofie_model::{Account, Decide, Decision, Digest, LegId, Span, Step, Timestamp, canonical};
use sofie_transaction::{Edge, Effect, Input, Look, Phase, PivotClock, Plan, Remaining, State, Task};

use crate::world::*;

/// The payer's node, which has released.
fn payer() -> State {
    run(releasing(&[0]), [Input::Released(0, SECRETS[0])])
}

fn after(seconds: u64) -> Timestamp {
    DEADLINE + Span::from_seconds(seconds)
}

#[test]
fn one_who_gathers_the_last_preimage_and_claims_without_deciding_makes_everyone_commit() {
    for watcher in [releasing(&[]), payer()] {
        let state = run(watcher, [revealed(false)]);
        let Some(Decide::Commit { included, preimages, guard, .. }) = asked(&state) else {
            panic!("{:?}", state.effects())
        };
        assert_eq!((included, preimages, guard), (0b11, SECRETS.to_vec(), None));
    }
}

#[test]
fn one_who_claims_at_the_last_moment_is_committed_by_the_guard_once_the_claim_is_final() {
    let state = at(payer(), after(1), &Input::Woken);
    let state = at(state, after(100), &revealed(false));
    assert_eq!(state.phase(), &Phase::Late);
    assert_eq!(permit(&state), None, "a claim that is not final may be undone");
    assert!(state.effects().contains(&Effect::Observe(Look::Claim)));
    let state = at(state, after(200), &revealed(true));
    let signature = permit(&state).unwrap();
    let state = at(state, after(201), &Input::Permitted(signature));
    assert!(matches!(asked(&state), Some(Decide::Commit { guard: Some(by), .. }) if by == signature));
}

#[test]
fn a_late_commit_is_asked_of_nobody_but_the_guard() {
    let state = at(payer(), after(1), &Input::Woken);
    let state = at(state, after(2), &revealed(true));
    let strangers = sofie_model::Signature::by(&key(1), Digest([5; 32]));
    assert!(state.clone().next(&Input::Permitted(strangers), after(3)).is_err());
    let refused = at(state, after(3), &Input::PermitRefused("its key is not here".into()));
    assert_eq!(permit(&refused), None);
    // P6: what nobody permits is aborted after G.
    let state = at(refused, GRACE_END + Span::from_seconds(2), &Input::Woken);
    assert!(matches!(asked(&state), Some(Decide::Abort { .. })));
}

#[test]
fn a_commit_that_missed_the_deadline_turns_to_the_guard() {
    let state = run(payer(), [revealed(true)]);
    let state = at(state, after(1), &Input::DecideRefused("too late".into()));
    assert_eq!(state.phase(), &Phase::Late);
    assert!(permit(&state).is_some());
}

/// The claimant's node, which has published COMMIT: it died before COMMIT had arrived, and comes back after T_D.
fn exposed() -> State {
    let state = run(releasing(&[1]), [Input::Released(0, SECRETS[0]), Input::Released(1, SECRETS[1])]);
    assert!(matches!(asked(&state), Some(Decide::Commit { .. })));
    at(state, after(1), &Input::DecideRefused("the deadline is over, and the guard does not sign".into()))
}

/// The payer has every secret by then, and as the guard it could take the pivot back at T_p and permit COMMIT after that.
#[test]
fn one_who_takes_the_pivot_back_and_then_commits_comes_after_the_claim() {
    let state = exposed();
    assert_eq!(state.phase(), &Phase::Late);
    assert_eq!(step(&state, PIVOT), Some(Step::Claim(SECRETS.to_vec())));
    let told = state.slack(after(1));
    assert!(matches!(told[..], [Remaining { leg: Some(PIVOT), edge: Edge::Claim, .. }]), "{told:?}");
    // Seen on its way it is still driven; final, it waits for the guard.
    let seen = at(state.clone(), after(2), &revealed(false));
    assert_eq!(step(&seen, PIVOT), Some(Step::Claim(SECRETS.to_vec())));
    for input in [closed(&state, 0, true), revealed(true)] {
        let state = at(seen.clone(), after(3), &input);
        assert_eq!((state.phase(), step(&state, PIVOT)), (&Phase::Late, None));
        assert!(permit(&state).is_some());
    }
}

#[test]
fn a_claim_that_comes_after_the_refund_gives_way_to_abort() {
    let state = exposed();
    let state = at(state, TIMELOCK, &Input::CloseRefused(PIVOT, "spent by a refund".into()));
    assert!(matches!(state.phase(), Phase::Aborting { .. }));
    assert_eq!(step(&state, PIVOT), None);
    let due = TIMELOCK + Span::from_millis(1);
    assert_eq!(step(&at(state, due, &Input::Woken), PIVOT), Some(Step::Revert));
}

/// A payer who does not permit COMMIT has lost what it had locked, and nothing else: the other legs go back.
#[test]
fn a_guard_who_lets_a_claimed_pivot_be_aborted_stops_no_other_leg() {
    let state = exposed();
    let state =
        run(state.clone(), [closed(&state, 0, true), Input::PermitRefused("its key is not here".into())]);
    let state = at(state, GRACE_END + Span::from_seconds(2), &Input::Woken);
    assert!(matches!(asked(&state), Some(Decide::Abort { .. })));
    let abort = decided(&state, Decision::Abort { by: owner(0) });
    let state = run(state, [abort, Input::RevertRefused(PIVOT, "claimed".into())]);
    assert_eq!(tasks(&state), [Task::Revert(LegId(1))]);
    let state = run(state.clone(), [closed(&state, 1, false)]);
    assert!(matches!(state.phase(), Phase::Halted { reason } if reason.contains("P1")));
}

/// Who guards the pivot itself is robbed by nobody: it aborts.
#[test]
fn a_node_of_both_claims_nothing_that_d_did_not_take() {
    let released = [Input::Released(0, SECRETS[0]), Input::Released(1, SECRETS[1])];
    let state = run(releasing(&[0, 1]), released);
    let state = at(state, after(1), &Input::DecideRefused("too late".into()));
    assert!(matches!(state.phase(), Phase::Aborting { .. }));
}

#[test]
fn one_who_stays_silent_after_the_others_released_gains_nothing() {
    let state = at(payer(), after(1), &Input::Woken);
    let state = at(state, TIMELOCK + Span::from_millis(1), &Input::Woken);
    assert_eq!(step(&state, PIVOT), Some(Step::Revert), "the payer takes its value back");
    let state = at(state, GRACE_END + Span::from_seconds(2), &Input::Woken);
    assert!(matches!(asked(&state), Some(Decide::Abort { .. })), "and D is decided");
}

#[test]
fn one_who_dies_after_commit_is_not_needed_any_more() {
    // A node that took no part in releasing finds COMMIT on D and has all that the legs ask for.
    let state = node(&[]);
    let input = decided(&state, commit(0b11));
    let state = run(state, [input]);
    assert_eq!(step(&state, PIVOT), Some(Step::Claim(SECRETS.to_vec())));
    let next = LegId(1);
    assert_eq!(step(&state, next), Some(Step::Apply));
}

/// Whoever locked may be gone: who acts for nobody learns the fate of every leg, and undoes what stands.
#[test]
fn a_watcher_undoes_also_the_locks_that_it_had_not_seen() {
    let abort = Decision::Abort { by: Account::ZERO };
    let state = node(&[]);
    let input = decided(&state, abort.clone());
    let state = run(state, [input]);
    let next = LegId(1);
    assert_eq!(tasks(&state), [Task::Prepare(PIVOT), Task::Revert(next)]);
    let inputs = [prepared(&state, 0), closed(&state, 1, false)];
    let locked = run(state.clone(), inputs);
    assert_eq!(tasks(&locked), [Task::Revert(PIVOT)]);
    let inputs = [Input::PrepareRefused(PIVOT, "never made".into()), closed(&state, 1, false)];
    assert_eq!(run(state, inputs).phase(), &Phase::Done(abort));
}

/// It has agreed to nothing, so that no time is too short for it.
#[test]
fn a_watcher_follows_also_what_it_would_not_have_begun() {
    let plan = |acts_for: &[u16]| Plan {
        manifest: with_pivot(),
        acts_for: acts_for.to_vec(),
        decision_time: Span::ZERO,
        pivot: Some(PivotClock { detection: Span::from_seconds(10_000), ..clock() }),
    };
    assert!(matches!(State::begin(plan(&[0])).phase(), Phase::Aborting { .. }));
    assert_eq!(State::begin(plan(&[])).phase(), &Phase::Preparing);
}

#[test]
fn a_preimage_of_33_bytes_is_neither_a_secret_nor_an_input() {
    let long = [1_u8; 33];
    let mut manifest = with_pivot();
    manifest.participants[1].hashlock = Digest::sha256(&long);
    let plan =
        Plan { manifest, acts_for: vec![0, 1], decision_time: Span::from_seconds(36), pivot: Some(clock()) };
    let state = State::begin(plan);
    let inputs = [prepared(&state, 1), prepared(&state, 0), Input::Released(0, SECRETS[0])];
    let state = run(state, inputs);
    let cut = Digest(long[..32].try_into().unwrap());
    assert!(state.clone().next(&Input::Released(1, cut), NOW).is_err());
    let seen = Input::Revealed { preimages: vec![SECRETS[0], cut], finally: true };
    assert!(state.next(&seen, NOW).is_err());
    // [2, [1, 33 bytes]]: what such a message would look like.
    let bytes = [&[0x82, 0x02, 0x82, 0x01, 0x58, 33][..], &long].concat();
    assert!(canonical::decode::<Input>(&bytes, 64).is_err());
    let bytes = [&[0x82, 0x02, 0x82, 0x01, 0x58, 32][..], &long[..32]].concat();
    assert_eq!(canonical::decode::<Input>(&bytes, 64), Ok(Input::Released(1, cut)));
}

#[test]
fn colluding_claimants_get_no_abort_while_they_can_still_claim() {
    // All others sign ABORT and mean to claim with the payer's secret.
    let state = payer();
    let signed = renounced(&state, 1);
    let state = run(state, [signed]);
    assert!(!state.effects().iter().any(|effect| matches!(effect, Effect::Renounce(_))));
    assert_eq!(asked(&state), None, "the payer, who has released, does not sign");
    // And what they claim is committed.
    assert!(matches!(asked(&run(state, [revealed(false)])), Some(Decide::Commit { .. })));
    // A payer who did sign releases nothing any more.
    let state = run(releasing(&[0]), [Input::Withheld(0, "no".into())]);
    let signed = renounced(&state, 0);
    let state = run(state, [signed, Input::Released(0, SECRETS[0])]);
    assert_eq!(state.preimage(0), None);
}

#[test]
fn a_claimant_does_not_release_by_message() {
    let other = payer();
    let why = other.clone().next(&Input::Released(1, SECRETS[1]), NOW).unwrap_err();
    assert!(why.to_string().contains("only by publishing"), "{why}");
    assert_eq!(other.claimant(), Some(1));
    // On its own node the secret goes into COMMIT.
    let own = run(releasing(&[1]), [Input::Released(0, SECRETS[0]), Input::Released(1, SECRETS[1])]);
    assert!(matches!(asked(&own), Some(Decide::Commit { .. })));
}

#[test]
fn a_claim_after_an_abort_was_asked_for_still_commits() {
    let state = run(releasing(&[0]), [Input::Withheld(0, "no".into()), revealed(false)]);
    assert!(matches!(asked(&state), Some(Decide::Commit { .. })));
    let input = decided(&state, Decision::Abort { by: owner(0) });
    assert!(
        matches!(run(state, [input]).phase(), Phase::Closing(Decision::Abort { .. })),
        "D has the last word"
    );
}
