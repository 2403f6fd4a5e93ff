//! The custodian as an operator would run it: a process of its own over a real PostgreSQL, which each test starts for
//! itself in a folder of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod books;
mod cluster;
mod conforms;
#[allow(dead_code, reason = "the group's own tests use more of it")]
#[path = "../../../../crates/ledgers/tests/quorum/group.rs"]
mod group;
mod notaries;
#[path = "../../../../crates/ledgers/tests/evm/parties.rs"]
mod parties;
mod process;
