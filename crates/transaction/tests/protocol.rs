//! The protocol's arms, one scenario each, and its promises under any order of inputs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use sofie_model::manifest::{DecisionSite, EscrowTerms, HashlockTerms, Participant};
use sofie_model::{
    Account, Class, Decide, Decision, Digest, Evidence, Fact, Finality, Leg, LegId, Manifest, Operation,
    Position, Rule, Span, Terms, Timestamp, canonical, evidence,
};
use sofie_transaction::{Aborter, Effect, Input, Label, Phase, PivotClock, Plan, State, Task, label, slack};

const NOW: Timestamp = Timestamp::from_seconds(1000);
const DEADLINE: Timestamp = Timestamp::from_seconds(1060);
const SECRETS: [Digest; 2] = [Digest([1; 32]), Digest([2; 32])];

fn account(byte: u8) -> Account {
    Account([byte; 20])
}

fn escrow() -> Leg {
    let terms = EscrowTerms {
        contract: account(9),
        payer: account(1),
        payee: account(2),
        amount: 5,
        evidence_key: account(3),
        evidence_deadline: Timestamp::from_seconds(2000),
        submission_window: Span::from_seconds(10),
    };
    Leg {
        ledger: "evm".parse().unwrap(),
        class: Class::Verifying,
        finality: Finality::Instant,
        required: true,
        terms: Terms::Escrow(terms),
        fee_limit: 0,
    }
}

fn record(byte: u8, required: bool) -> Leg {
    Leg {
        ledger: "calendar".parse().unwrap(),
        class: Class::Record,
        finality: Finality::Instant,
        required,
        terms: Terms::Record(Digest([byte; 32])),
        fee_limit: 0,
    }
}

fn manifest(legs: Vec<Leg>, rule: Rule) -> Manifest {
    let participants = [(1, 0), (2, 1)].map(|(who, i): (u8, usize)| Participant {
        account: account(who),
        hashlock: Digest::sha256(&SECRETS[i].0),
    });
    Manifest {
        version: 1,
        legs,
        rule,
        decision: DecisionSite {
            ledger: "evm".parse().unwrap(),
            chain_id: 1,
            contract: account(8),
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: DEADLINE,
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: participants.to_vec(),
        nonce: Digest([7; 32]),
    }
}

fn begin(manifest: Manifest) -> State {
    State::begin(Plan { manifest, acts_for: vec![0, 1], decision_time: Span::from_seconds(2) })
}

fn two_legs() -> State {
    let manifest = manifest(vec![escrow(), record(1, true)], Rule::All);
    manifest.check(NOW).unwrap();
    begin(manifest)
}

fn seen(state: &State, ledger: &str, fact: Fact) -> Evidence {
    let position = Position { height: 1, index: 0, reference: state.txid().0 };
    Evidence { ledger: ledger.parse().unwrap(), fact, position, at: NOW }
}

fn prepared(state: &State, leg: u16) -> Input {
    let ledger = state.manifest().legs[usize::from(leg)].ledger.as_str();
    Input::Prepared(LegId(leg), seen(state, ledger, Fact::Prepared(state.txid(), LegId(leg))))
}

fn decided(state: &State, decision: Decision) -> Input {
    Input::Decided(seen(state, "evm", Fact::Decided(state.txid(), decision)))
}

fn commit(included: u64) -> Decision {
    Decision::Commit { included, evidence_root: Digest::ZERO, preimages: SECRETS.to_vec() }
}

fn closed(state: &State, leg: u16, applied: bool) -> Input {
    let ledger = state.manifest().legs[usize::from(leg)].ledger.as_str();
    let fact = if applied { Fact::Applied } else { Fact::Reverted };
    Input::Closed(LegId(leg), seen(state, ledger, fact(state.txid(), LegId(leg))))
}

fn tasks(state: &State) -> Vec<Task> {
    state
        .effects()
        .iter()
        .filter_map(|effect| if let Effect::Operate { task, .. } = effect { Some(*task) } else { None })
        .collect()
}

fn run(state: State, inputs: impl IntoIterator<Item = Input>) -> State {
    inputs.into_iter().fold(state, |state, input| state.next(&input, NOW).unwrap())
}

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

fn aborter(state: &State) -> Account {
    let effects = state.effects();
    match effects.as_slice() {
        [Effect::Operate { operation: Operation::Decide { decide: Decide::Abort { by, .. }, .. }, .. }] => {
            *by
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_abort_that_no_participant_can_pay_for_is_made_by_anyone_after_grace() {
    let refused = || Input::DecideRefused("lack of funds".into());
    let state = run(two_legs(), [Input::PrepareRefused(LegId(0), "lack of funds".into())]);
    assert_eq!(aborter(&state), account(1));
    let state = run(state, [refused()]);
    assert_eq!(aborter(&state), account(2));
    let state = run(state, [refused()]);
    let [Effect::Wake(at)] = state.effects()[..] else { panic!("{:?}", state.effects()) };
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
    let halted = run(start.clone(), [decided(&start, commit(0b11)), refused]);
    assert_eq!(tasks(&halted), []);
    let resumed = run(halted, [Input::Resumed]);
    assert_eq!(tasks(&resumed), [Task::Apply(LegId(0)), Task::Apply(LegId(1))]);

    let no = || Input::DecideRefused("no participant's key is here".into());
    let waiting = run(start.clone(), [Input::Withheld(0, "no".into()), no(), no()]);
    let [Effect::Wake(after_grace)] = waiting.effects()[..] else { panic!("{:?}", waiting.effects()) };
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

fn with_pivot() -> Manifest {
    let terms = HashlockTerms {
        payer: account(1),
        claimant: account(2),
        amount: 1,
        timelock: Timestamp::from_seconds(1200),
        payer_key: "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap(),
        claimant_key: "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5".parse().unwrap(),
    };
    let pivot = Leg {
        ledger: "bitcoin".parse().unwrap(),
        class: Class::Hashlock,
        finality: Finality::Depth(1),
        required: true,
        terms: Terms::Hashlock(terms),
        fee_limit: 0,
    };
    let mut manifest = manifest(vec![pivot, record(1, true)], Rule::All);
    manifest.grace = Span::from_seconds(600);
    manifest.guard = account(1);
    manifest.check(NOW).unwrap();
    manifest
}

#[test]
fn the_pivot_is_prepared_last_and_its_claimant_releases_last() {
    let state = begin(with_pivot());
    assert_eq!(tasks(&state), [Task::Prepare(LegId(1))]);
    let input = prepared(&state, 1);
    let state = run(state, [input]);
    assert_eq!(tasks(&state), [Task::Prepare(LegId(0))]);
    let input = prepared(&state, 0);
    let state = run(state, [input]);
    assert_eq!(state.effects()[0], Effect::Release(0));
    assert!(!state.effects().contains(&Effect::Release(1)));
    let state = run(state, [Input::Released(0, SECRETS[0])]);
    assert_eq!(state.effects()[0], Effect::Release(1));
}

#[test]
fn p5_names_the_edge_that_is_too_tight() {
    let second = Span::from_seconds;
    let clock = PivotClock {
        inclusion_d: second(12),
        finality_d: second(24),
        inclusion_p: second(30),
        finality_p: second(40),
        detection: second(5),
        skew: second(10),
    };
    let manifest = with_pivot();
    // T_D 1060 + 24 + 5 + 30 + 40 + 20 = 1179 ≤ T_p 1200; 1200 + 5 + 30 + 40 + 5 + 12 + 24 + 20 = 1336 ≤ G 1660
    let margins = slack(&manifest, clock).unwrap().unwrap();
    assert_eq!((margins.claim, margins.settle), (second(21), second(324)));
    let slow = PivotClock { inclusion_p: second(60), ..clock };
    assert_eq!(
        slack(&manifest, slow).unwrap_err().to_string(),
        "the pivot's timelock must be 1209000 or later, it is 9 s too early"
    );
    assert_eq!(slack(&two_legs().manifest().as_ref().clone(), clock), Ok(None));
}

#[test]
fn the_label_is_that_of_the_weakest_part() {
    let two = manifest(vec![escrow(), record(1, true)], Rule::All);
    assert_eq!(label(&two, |_| false), Label::Verified);
    assert_eq!(label(&two, |ledger| ledger.as_str() == "calendar"), Label::Custodial);
    assert_eq!(label(&with_pivot(), |_| false).to_string(), "swap-safe(600 s)");
}

fn any_input(state: &State) -> impl Strategy<Value = Input> + use<> {
    let lies = [
        prepared(state, 0),
        prepared(state, 1),
        Input::PrepareRefused(LegId(0), "no".into()),
        Input::PrepareRefused(LegId(1), "no".into()),
        Input::Released(0, SECRETS[0]),
        Input::Released(1, SECRETS[1]),
        Input::Withheld(1, "no".into()),
        Input::Woken,
        decided(state, commit(3)),
        decided(state, Decision::Abort { by: account(1) }),
        Input::DecideRefused("late".into()),
        closed(state, 0, true),
        closed(state, 1, true),
        closed(state, 0, false),
        closed(state, 1, false),
        Input::CloseRefused(LegId(0), "no".into()),
        Input::Resumed,
    ];
    proptest::sample::select(lies.to_vec())
}

proptest! {
    /// P1 and P2 in any order of honest and dishonest inputs, and a replay gives the same state.
    #[test]
    fn no_order_of_inputs_applies_one_leg_and_reverts_another(
        inputs in proptest::collection::vec((any_input(&two_legs()), 0_u64..80), 0..40)
    ) {
        let mut state = two_legs();
        let mut journal = Vec::new();
        for (input, late) in inputs {
            let now = NOW + Span::from_seconds(late);
            let Ok(next) = state.clone().next(&input, now) else { continue };
            if *next.phase() == Phase::Committing && *state.phase() != Phase::Committing {
                prop_assert_eq!(next.prepared().count(), 2, "P2");
                prop_assert!(now + Span::from_seconds(2) <= DEADLINE, "P2");
            }
            state = next;
            journal.push((canonical::encode(&input), now));
            let applied: Vec<_> = state.legs().iter()
                .filter_map(|leg| if let sofie_transaction::Leg::Closed { applied, .. } = leg { Some(*applied) } else { None })
                .collect();
            prop_assert!(applied.windows(2).all(|pair| pair[0] == pair[1]), "P1: {:?}", state);
            prop_assert!(applied.is_empty() || state.decided().is_some(), "P1");
            prop_assert!(matches!(state.phase(), Phase::Done(_)) || !state.effects().is_empty(), "P6: {:?}", state);
        }
        let replayed = journal.iter().fold(two_legs(), |state, (bytes, now)| {
            state.next(&canonical::decode(bytes, 4096).unwrap(), *now).unwrap()
        });
        prop_assert_eq!(&replayed, &state);
        prop_assert_eq!(replayed.effects(), state.effects());
    }
}
