//! Inter-ledger transactions over fake ledgers: faults, crashes at every step, and executors that race.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod adopting;
mod crashes;
mod faults;
mod halts;
mod nonsense;
mod others;
mod pivot;
mod quorum;
mod restored;
mod waiting;
mod world;
