//! The node: what turns the rooms into a running service. It alone reads the clock, opens files and listens.

pub mod api;
pub mod auditor;
mod budget;
pub mod clock;
pub mod config;
mod console;
pub mod continuity;
pub mod contracts;
mod drafts;
pub mod drive;
pub mod executor;
mod federation;
pub mod gate;
pub mod http;
pub mod journal;
pub mod keys;
pub mod offline;
pub mod opening;
pub mod parties;
pub mod peers;
pub mod platforms;
pub mod readings;
mod receipts;
pub mod runtime;
mod slack;
pub mod telemetry;
pub mod transactions;
