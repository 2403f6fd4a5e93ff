//! The protocol's arms, one scenario each, and its promises under any order of inputs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod attackers;
mod failures;
mod legs;
mod pivot;
mod promises;
mod quorum;
mod reorganisation;
mod single;
mod world;
