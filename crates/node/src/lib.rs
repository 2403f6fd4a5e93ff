//! The node: what turns the rooms into a running service. It alone reads the clock, opens files and listens.

pub mod api;
pub mod auditor;
pub mod clock;
pub mod config;
mod console;
pub mod drive;
pub mod executor;
pub mod http;
pub mod journal;
pub mod keys;
pub mod telemetry;
pub mod transactions;
