//! The promises as properties of every state, and what must be reachable for them to say anything.

use stateright::Property;

use crate::{
    protocol::Protocol,
    state::{PREPARES, Set, State, Tx, Who},
};

pub(crate) const P1: &str = "P1: no leg and no honest reader applies what another reverts";
pub(crate) const P2: &str = "P2: COMMIT implies final prepares before the last honest release, before T_D";
pub(crate) const P4: &str = "P4: no leg is locked twice";
pub(crate) const P6: &str = "P6: a decision falls in time, and every live leg follows";
pub(crate) const NOT_STUCK: &str = "what is overdue can be done";

/// What became of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Open,
    Applied,
    Reverted,
}

/// What a reader who waits for a final decision takes a prepared leg for. A leg of a COMMIT that is not there does not
/// take effect.
fn by_decision(state: &State, prepare: Tx) -> Outcome {
    match (state.is_final(Tx::Commit), state.is_final(Tx::Abort)) {
        (true, _) if state.is_recorded(prepare) => Outcome::Applied,
        (true, _) | (_, true) => Outcome::Reverted,
        _ => Outcome::Open,
    }
}

fn verifying(state: &State) -> Outcome {
    if state.back_by_time { Outcome::Reverted } else { by_decision(state, Tx::LockVerifying) }
}

fn pivot(state: &State) -> Outcome {
    let never_locked = state.is_final(Tx::Commit) && state.is_absent(Tx::LockPivot);
    match (state.is_final(Tx::Claim), state.is_final(Tx::Refund) || never_locked) {
        (true, _) => Outcome::Applied,
        (_, true) => Outcome::Reverted,
        _ => Outcome::Open,
    }
}

fn record(state: &State) -> Outcome {
    match state.misread {
        Some(true) => Outcome::Applied,
        Some(false) => Outcome::Reverted,
        None => by_decision(state, Tx::AppendRecord),
    }
}

/// A guard that signs no COMMIT for a claim of what it has locked itself parts its own leg, and takes nothing from anybody.
fn agrees(_: &Protocol, state: &State) -> bool {
    let own = state.lost && state.hostile.has(Who::Alice) && pivot(state) == Outcome::Applied;
    let pivot = if own { Outcome::Open } else { pivot(state) };
    let legs = [verifying(state), pivot, record(state)];
    !(legs.contains(&Outcome::Applied) && legs.contains(&Outcome::Reverted))
}

fn is_valid(protocol: &Protocol, state: &State) -> bool {
    let locked = !protocol.single || state.is_final(Tx::LockPivot);
    !state.is_recorded(Tx::Commit) || (state.released_well && locked)
}

fn is_live(protocol: &Protocol, state: &State) -> bool {
    let decided = state.is_final(Tx::Commit) || state.is_final(Tx::Abort);
    let open = state.is_recorded(Tx::LockPivot) && pivot(state) == Outcome::Open;
    state.now <= protocol.times.end() || (decided && !open)
}

fn is_not_stuck(protocol: &Protocol, state: &State) -> bool {
    use stateright::Model as _;
    let mut actions = Vec::new();
    protocol.actions(state, &mut actions);
    state.now > protocol.times.end() || state.is_over() || !actions.is_empty()
}

fn done(state: &State, outcome: Outcome) -> bool {
    [verifying(state), pivot(state), record(state)] == [outcome; 3]
}

/// Safety of every state, then what a sound model must reach: each attacker of design "Promises" has struck.
pub(crate) fn properties() -> Vec<Property<Protocol>> {
    vec![
        Property::always(P1, agrees),
        Property::always(P2, is_valid),
        Property::always(P4, |_, state: &State| !state.twice),
        Property::always(P6, is_live),
        Property::always(NOT_STUCK, is_not_stuck),
        Property::sometimes("all legs apply", |_, state: &State| done(state, Outcome::Applied)),
        Property::sometimes("all legs revert", |_, state: &State| {
            PREPARES.iter().all(|tx| state.is_recorded(*tx)) && done(state, Outcome::Reverted)
        }),
        Property::sometimes(
            "the last to release claims without deciding, and all apply",
            |_, state: &State| {
                state.hostile.has(Who::Bob) && state.guard_signed && done(state, Outcome::Applied)
            },
        ),
        Property::sometimes(
            "a claim comes after T_p, before the refund",
            |protocol: &Protocol, state: &State| {
                let after = i16::from(protocol.times.timelock) - i16::from(state.ahead);
                state.seen(Tx::Claim).is_some_and(|at| i16::from(at) > after) && state.is_final(Tx::Claim)
            },
        ),
        Property::sometimes("silence after the others released is an abort", |_, state: &State| {
            state.hostile == Set::of(&[Who::Bob])
                && state.released == Set::of(&[Who::Alice, Who::Carol])
                && done(state, Outcome::Reverted)
        }),
        Property::sometimes("who committed dies, and others finish", |_, state: &State| {
            !state.is_up(Who::Bob) && done(state, Outcome::Applied)
        }),
        Property::sometimes("a COMMIT is lost, and the claim brings it back", |_, state: &State| {
            state.lost && state.guard_signed && done(state, Outcome::Applied)
        }),
        Property::sometimes("a preimage of 33 bytes was given, and nothing applies", |_, state: &State| {
            state.odd.is_some_and(|who| state.released.has(who)) && done(state, Outcome::Reverted)
        }),
        Property::sometimes(
            "colluding claimants commit at the last moment",
            |protocol: &Protocol, state: &State| {
                state.hostile == Set::of(&[Who::Bob, Who::Carol])
                    && state.final_at(Tx::Commit) == Some(protocol.times.deadline + protocol.times.finality_d)
                    && state.is_final(Tx::Commit)
            },
        ),
        Property::sometimes(
            "every participant signs an early ABORT",
            |protocol: &Protocol, state: &State| {
                state.is_final(Tx::Abort) && state.now < protocol.times.grace_end
            },
        ),
    ]
}
