//! Several nodes that do not trust each other: real doors, real signatures, one real Ethereum node (anvil) that all of
//! them reach. Those with a hashlock leg are on ledgers in memory.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod alarms;
mod calendar;
#[allow(dead_code, reason = "the platforms' tests use more of it")]
#[path = "../platforms/world.rs"]
mod devices;
mod drafts;
mod honest;
mod hostile;
mod liar;
mod market;
mod messages;
mod pivot_crashes;
mod pivots;
mod quorum;
mod rental;
mod reorganised;
mod testimony;
mod waiting;
mod watchers;
mod windows;
mod world;
