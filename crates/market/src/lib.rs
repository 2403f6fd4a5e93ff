//! What business platforms are built from: the terms that two companies agree on, and what becomes of the escrow after
//! the inter-ledger transaction has committed: the actuation, the evidence, the settlement or the refund.
//!
//! Pure, like the room `transaction`: [`Contract::next`] takes an input and its time, [`Contract::effects`] says what
//! is outstanding. Every effect names the inputs that answer it.
//!
//! Left out yet: penalties, several sensors, disputes, negotiation between two nodes.

mod agreement;
mod contract;
mod effect;

pub use agreement::{Agreement, EvidenceRule, Unfit};
pub use contract::{Contract, Phase, Rejected};
pub use effect::{Effect, Input};
