//! Ledgers: what SOFIE asks of one ([`port`]), how every backend is judged ([`conformance`]), and one folder a ledger.

pub mod bitcoin;
pub mod calendar;
pub mod conformance;
pub mod escrow;
pub mod evm;
pub mod fake;
pub mod file;
pub mod port;

pub use port::{
    Clock, Hashlocks, Head, Intent, Ledger, LedgerError, Presigned, Profile, Revealed, Spend, Status,
    Treasury,
};
