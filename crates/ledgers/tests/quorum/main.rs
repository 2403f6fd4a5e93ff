//! A group of four members over real HTTP on loopback: the conformance suite with one of them dead, members that lie, and
//! members that are killed and started again between their votes.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod group;
mod lies;
mod restarts;

use sofie_ledgers::conformance::{failures, run_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_with_a_dead_member_keeps_the_ports_promises() {
    let outcomes = run_all(&group::Surroundings::new()).await.unwrap();
    assert_eq!(outcomes.len(), 10, "{outcomes:?}");
    assert_eq!(failures(&outcomes), "");
}
