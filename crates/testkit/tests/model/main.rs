//! The inter-ledger protocol as a small model, checked in every state that it can reach: three legs (verifying,
//! hashlock pivot, record), one crash, one reorganisation, and every set of hostile participants.
//!
//! It is written from docs/specs/inter-ledger.md, not from the code; the page says which part of
//! `crates/transaction/src/state.rs` keeps which rule, and what the checker found. Time is in ticks; each bound of P5
//! is a small number of them, and a tick does not pass while a bound would be broken. So P6, a promise about time, is
//! a property of states too, and no fairness has to be assumed.
//!
//! Left out: k of N, a D that reorganises past its depth (the protocol halts), fees, more than one pivot.

// How many states there were is the measure, and the counterexamples are what a person wants to read.
#![allow(clippy::print_stdout)]

mod broken;
mod promises;
mod protocol;
mod single;
mod state;
mod times;

use std::collections::BTreeSet;

use stateright::{Checker as _, HasDiscoveries, Model as _};

use broken::Broken;
use promises::{P1, P2, P4};
use protocol::Protocol;
use state::{Set, Who};
use times::Times;

/// The machines that run it have two cores or more.
const THREADS: usize = 2;

/// Visits every state; what must hold holds in all of them, and what must be reachable is.
fn holds(name: &str, protocol: Protocol) {
    let checker = protocol.checker().threads(THREADS).spawn_bfs().join();
    println!("{name}: {} states, {} steps", checker.unique_state_count(), checker.state_count());
    checker.assert_properties();
}

/// A way to break `promise`, as the actions that lead there.
fn counterexample(protocol: Protocol, promise: &'static str) -> Option<String> {
    let until = HasDiscoveries::AnyOf(BTreeSet::from([promise]));
    let checker = protocol.checker().threads(THREADS).finish_when(until).spawn_bfs().join();
    let path = checker.discovery(promise)?;
    let steps: Vec<_> = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
    Some(steps.join(", "))
}

/// Panics unless the checker finds that `protocol` breaks `promise`.
fn fails(name: &str, protocol: Protocol, promise: &'static str) {
    let path = counterexample(protocol, promise);
    println!("{name}: {}", path.as_deref().unwrap_or("nothing was found"));
    assert!(path.is_some(), "{name}: the checker found no way to break {promise}");
}

fn tight() -> Protocol {
    Protocol::sound(Times::tight(1, 0))
}

#[test]
fn the_promises_hold_in_every_state() {
    holds("detection 1, no skew", tight());
}

#[test]
fn the_promises_hold_with_skewed_clocks_and_slow_detection() {
    holds("detection 2, skew 1", Protocol::sound(Times::tight(2, 1)));
}

/// An ILP packet's lock (design "Secrets").
fn single() -> Protocol {
    Protocol { single: true, ..tight() }
}

#[test]
fn the_promises_hold_with_a_single_hash() {
    holds("a single hash", single());
}

#[test]
fn the_promises_hold_with_a_single_hash_skewed_clocks_and_slow_detection() {
    let times = Times::tight(2, 1);
    holds("a single hash, detection 2, skew 1", Protocol { single: true, ..Protocol::sound(times) });
}

#[test]
fn every_broken_rule_of_a_single_hash_is_found() {
    for broken in broken::SINGLE {
        fails(&format!("{broken:?}"), Protocol { broken: Some(broken), ..single() }, P1);
    }
}

const fn promise_of(broken: Broken) -> &'static str {
    match broken {
        Broken::ReleaseBeforeFinal => P2,
        Broken::NewIntent => P4,
        _ => P1,
    }
}

#[test]
fn every_broken_rule_is_found() {
    for broken in broken::ALL {
        fails(&format!("{broken:?}"), Protocol { broken: Some(broken), ..tight() }, promise_of(broken));
    }
}

#[test]
fn one_tick_less_than_p5_is_too_little() {
    let times = tight().times;
    let early = Times { timelock: times.timelock - 1, ..times };
    fails("T_p one tick earlier", Protocol { times: early, ..tight() }, P1);
    let early = Times { grace_end: times.grace_end - 1, ..times };
    fails("G one tick earlier", Protocol { times: early, ..tight() }, P1);
}

/// P5's first inequality, when it counts the claim's inclusion and not its finality.
#[test]
fn a_claim_that_is_not_final_at_the_timelock_is_undone() {
    let times = tight().times;
    let times = Times { timelock: times.claim_recorded_by(), ..times };
    let hurried = Protocol { times, ..tight() };
    fails("T_p without finality(p)", hurried.clone(), P1);
    // Nothing else is wrong with it.
    assert_eq!(counterexample(Protocol { reorgs: 0, ..hurried }, P1), None);
}

/// P5's second inequality, when whoever refunds is restarting as T_p passes.
#[test]
fn a_refund_that_waits_for_a_restart_needs_a_detection_of_its_own() {
    let times = tight().times;
    let times = Times { grace_end: times.decided_by_at_once(), ..times };
    let hurried = Protocol { times, ..tight() };
    fails("G with one detection", hurried.clone(), P1);
    // A watcher that refunds at once mends it.
    assert_eq!(counterexample(Protocol { refund_within: 0, ..hurried }, P1), None);
}

/// Secrets: COMMIT may come a detection later than the claim that published the last preimage.
#[test]
fn a_claim_that_publishes_needs_time_for_the_commit_after_it() {
    let publish_claim_until = tight().times.release_until();
    fails("the claim published last", Protocol { publish_claim_until, ..tight() }, P1);
}

/// Only the guard can have a late claim decided.
#[test]
fn a_guard_that_stays_away_breaks_the_agreement() {
    fails("the guard dies for good", Protocol { guard_may_die: true, ..tight() }, P1);
}

/// A guard that keeps its signature back loses its own money only, unless it is one with the claimant.
#[test]
fn a_guard_in_league_with_the_claimant_breaks_the_agreement() {
    let hostile = vec![Set::of(&[Who::Alice, Who::Bob])];
    fails("guard and claimant collude", Protocol { hostile, ..tight() }, P1);
}
