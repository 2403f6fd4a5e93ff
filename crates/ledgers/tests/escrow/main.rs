//! The escrow ledger under the conformance suite and against hostile custodians: a double of a custodian in this process,
//! with D on the embedded chain. The real one, over PostgreSQL, is examples/custodian with tests of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod double;
mod hostile;
#[path = "../evm/parties.rs"]
mod parties;
mod surroundings;

use sofie_ledgers::conformance::{failures, run_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_escrow_ledger_keeps_the_ports_promises_over_a_double() {
    let outcomes = run_all(&surroundings::Surroundings::new()).await.unwrap();
    assert!(outcomes.len() >= 21, "{}", outcomes.len());
    assert_eq!(failures(&outcomes), "");
}
