//! Proofs that a fact stands on a ledger, and their offline verification.

pub mod calendar;
pub mod evm;
