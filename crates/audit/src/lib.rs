//! What happened, so that a third party can decide who was right: hash-linked records, and receipts that prove a whole
//! story offline.
//!
//! [`record`] and [`chain`] are the log that a node keeps; storing it is the node's job. [`receipt`] is one file with
//! the proofs of one transaction (`docs/adr/0004-receipt-format.md`); [`verify::verify`] checks it without a node, a
//! network or a clock, and without more trust than the [`Anchors`] that its report prints.
//!
//! Left out: the capability inside a receipt is opaque here, because rooms do not know each other; whoever knows
//! `access` too puts its verdict into the [`Report`] by [`Report::set`].

pub mod agreement;
pub mod anchors;
pub mod chain;
pub mod directory;
pub mod publication;
pub mod receipt;
pub mod record;
pub mod report;
pub mod topic;
pub mod verify;

pub use agreement::Agreement;
pub use anchors::Anchors;
pub use chain::{Chain, Extract};
pub use publication::Publication;
pub use receipt::{Body, Receipt};
pub use record::{Draft, Record};
pub use report::{Check, Outcome, Report, Story, Verdict};
pub use verify::{verify, verify_under};
