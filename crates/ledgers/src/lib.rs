//! Ledgers: what SOFIE asks of one ([`port`]), how every backend is judged ([`conformance`]), and one folder a ledger.

pub mod bitcoin;
pub mod calendar;
pub mod conformance;
mod decide;
mod entry;
pub mod escrow;
pub mod evm;
pub mod fake;
pub mod file;
mod http;
pub mod port;
pub mod quorum;
mod sqlite;

pub use port::{
    Clock, Coins, Hashlocks, Head, Intent, Ledger, LedgerError, Presigned, Profile, Revealed, Spend, Status,
    Treasury,
};
