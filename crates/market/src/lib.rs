//! What business platforms are built from: the terms that two companies agree on, and what becomes of the escrow after
//! the inter-ledger transaction has committed: the actuation, the evidence, the settlement or the refund.
//!
//! Pure, like the room `transaction`: [`Contract::next`] takes an input and its time, [`Contract::effects`] says what
//! is outstanding. Every effect names the inputs that answer it.
//!
//! The sides of a contract may be on two nodes: see [`Part`]. What is for sale is an [`Offer`].
//!
//! Left out yet: a dispute about a penalty.

mod agreement;
mod contract;
mod effect;
mod offer;
mod part;
mod witness;

pub use agreement::{Agreement, Penalty, Unfit};
pub use contract::{Bond, BondPhase, COURTESY, Contract, Phase, Rejected, WORD_PATIENCE};
pub use effect::{Effect, Input};
pub use offer::{CLOCK_SKEW, ContractTerms, Offer, Stake, Unmet};
pub use part::{Part, Report, Seen};
pub use witness::{BadWitnesses, EvidenceRule, Voice, Witness, Witnesses};
