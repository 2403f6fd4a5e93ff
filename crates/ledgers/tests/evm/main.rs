//! The EVM ledger under the conformance suite, on the embedded chain and on a real anvil; and what only one of them has.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod anvil;
mod embedded;
mod fees;
mod given_up;
mod logs;
mod nonces;
mod parties;
mod proxy;
mod records;
mod records_kill;
mod scenario;
mod tries;
mod workers;
