//! The words that every room of SOFIE shares: names, quantities, time, the transaction's manifest, the operations that
//! ledgers carry out, and the formats of evidence and proofs with their pure verification.
//!
//! Nothing here does I/O, reads a clock or draws randomness. Whatever is signed, hashed or stored is encoded by
//! [`canonical`]: one value has exactly one encoding, so that any changed byte is noticed.

pub mod attestation;
pub mod calendar;
pub mod canonical;
pub mod commitment;
pub mod contract;
pub mod custodian;
pub mod digest;
pub mod evidence;
pub mod id;
pub mod key;
pub mod manifest;
pub mod map;
pub mod observation;
pub mod operation;
pub mod proof;
pub mod quantity;
pub mod quorum;
pub mod ruling;
pub mod time;

pub use attestation::{Attestation, SignedAttestation};
pub use commitment::Salt;
pub use digest::Digest;
pub use evidence::{Decision, Evidence, Fact, Position};
pub use id::{Account, LedgerId, LegId, ThingId, Txid};
pub use key::{PublicKey, Signature};
pub use manifest::{Class, Finality, Leg, Manifest, Quorum, Rule, Terms};
pub use observation::Observation;
pub use operation::{Decide, Operation, Step};
pub use proof::{Anchor, Cosigner, Proof, Proven};
pub use quantity::{Quantity, Value};
pub use ruling::{Ruling, SignedRuling};
pub use time::{Span, Timestamp};
