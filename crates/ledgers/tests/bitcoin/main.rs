//! The Bitcoin ledger on a real bitcoind in regtest: the conformance suite, and what only Bitcoin has.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod node;
mod parties;
mod presigned;
mod proven;
mod reorganised;
mod stuck;
mod suite;
mod swap;
