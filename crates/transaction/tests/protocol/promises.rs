//! P1, P2 and P6 under any order of honest and dishonest inputs.

use proptest::prelude::*;
use sofie_model::{Account, Decide, Decision, LegId, Span, canonical};
use sofie_transaction::{Effect, Input, Phase, State};

use crate::world::*;

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
        Input::RevertRefused(LegId(0), "no".into()),
        Input::Resumed,
    ];
    proptest::sample::select(lies.to_vec())
}

/// What honest and dishonest others, and this node's own effects, can say to a node of the pivot's payer.
fn any_pivot_input() -> impl Strategy<Value = Input> {
    let state = node(&[0]);
    let (signed, foreign) = (renounced(&state, 0), renounced(&state, 1));
    let all = [
        prepared(&state, 0),
        prepared(&state, 1),
        Input::Undone(LegId(0), "reorganised".into()),
        Input::Undone(LegId(1), "reorganised".into()),
        Input::PrepareRefused(LegId(1), "no".into()),
        Input::Released(0, SECRETS[0]),
        Input::Released(1, SECRETS[1]),
        Input::Withheld(0, "no".into()),
        signed,
        foreign,
        revealed(false),
        revealed(true),
        Input::PermitRefused("no".into()),
        Input::Woken,
        Input::DecideRefused("no".into()),
        decided(&state, commit(3)),
        decided(&state, Decision::Abort { by: Account::ZERO }),
        Input::Undecided("gone".into()),
        closed(&state, 0, true),
        closed(&state, 0, false),
        closed(&state, 1, true),
        closed(&state, 1, false),
        Input::CloseRefused(LegId(0), "no".into()),
        Input::RevertRefused(LegId(0), "no".into()),
        Input::Resumed,
    ];
    proptest::sample::select(all.to_vec())
}

/// An honest node answers for its own participant only what it was asked, and there is no claim without its secret.
fn possible(state: &State, input: &Input) -> bool {
    match input {
        Input::Released(0, _) => state.effects().contains(&Effect::Release(0)),
        Input::Renounced(0, _) => state.effects().contains(&Effect::Renounce(0)),
        Input::Revealed { .. } => state.preimage(0).is_some(),
        _ => true,
    }
}

proptest! {
    /// With a pivot: what D would refuse is never asked of it, a late COMMIT only under the guard's signature, and who
    /// has released signs no ABORT.
    #[test]
    fn no_order_of_inputs_asks_d_for_what_the_pivot_forbids(
        inputs in proptest::collection::vec((any_pivot_input(), 0_u64..40), 0..40)
    ) {
        let (mut state, mut now) = (node(&[0]), NOW);
        let mut journal = Vec::new();
        for (input, later) in inputs {
            now = now + Span::from_seconds(later);
            // What the guard is asked for it may give at once.
            let given = permit(&state).filter(|_| later % 2 == 0).map(Input::Permitted);
            for input in given.into_iter().chain([input]) {
                if !possible(&state, &input) { continue }
                let Ok(next) = state.clone().next(&input, now) else { continue };
                state = next;
                journal.push((canonical::encode(&input), now));
            }
            match asked(&state) {
                Some(Decide::Commit { included, preimages, .. }) => {
                    prop_assert!(state.manifest().quorum().allows(included), "P2");
                    prop_assert_eq!(preimages, SECRETS.to_vec());
                }
                Some(Decide::Abort { signatures, .. }) => {
                    let over = now > GRACE_END;
                    prop_assert!(over || signatures.len() == 2, "ABORT before G without every signature");
                    prop_assert!(over || state.preimage(0).is_none(), "signed and released");
                }
                None => {}
            }
            let released = state.preimage(0).is_some();
            let asks = state.effects().iter().any(|effect| matches!(effect, Effect::Renounce(_)));
            prop_assert!(!(released && asks), "{:?}", state);
            prop_assert!(matches!(state.phase(), Phase::Done(_)) || !state.effects().is_empty(), "P6: {:?}", state);
        }
        let replayed = journal.iter().fold(node(&[0]), |state, (bytes, now)| {
            state.next(&canonical::decode(bytes, 4096).unwrap(), *now).unwrap()
        });
        prop_assert_eq!(&replayed, &state);
    }

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
