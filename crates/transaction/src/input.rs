//! What can happen to a transaction. Inputs are stored, in order, as the transaction's journal.

use minicbor::{Decode, Encode};
use sofie_model::{Digest, Evidence, LegId, Manifest, Span};

/// What this node knows and does for one transaction, fixed when it begins so that a replay needs nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Plan {
    /// The agreed manifest.
    #[n(0)]
    pub manifest: Manifest,
    /// The manifest's participants, by index, whose keys and secrets this node holds.
    #[n(1)]
    pub acts_for: Vec<u16>,
    /// inclusion(D) + finality(D): no release is made later than this before T_D (design: "Secrets").
    #[n(2)]
    pub decision_time: Span,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Input {
    /// The leg's prepare is final. Answers [`crate::Task::Prepare`].
    #[n(0)]
    Prepared(#[n(0)] LegId, #[n(1)] Evidence),
    /// The leg's ledger refuses the prepare for good. Answers [`crate::Task::Prepare`].
    #[n(1)]
    PrepareRefused(#[n(0)] LegId, #[n(1)] String),
    /// A participant gave its secret away. Answers [`crate::Effect::Release`].
    #[n(2)]
    Released(#[n(0)] u16, #[n(1)] Digest),
    /// A participant will not commit. Answers [`crate::Effect::Release`], or comes unasked.
    #[n(3)]
    Withheld(#[n(0)] u16, #[n(1)] String),
    /// The time of [`crate::Effect::Wake`] has come.
    #[n(4)]
    Woken,
    /// D holds a final decision, whoever made it. Answers [`crate::Task::Decide`], or comes unasked.
    #[n(5)]
    Decided(#[n(0)] Evidence),
    /// D refuses the decision that this node asked for, and holds none. Answers [`crate::Task::Decide`].
    #[n(6)]
    DecideRefused(#[n(0)] String),
    /// The leg took effect, or was undone, finally. Answers [`crate::Task::Apply`] and [`crate::Task::Revert`].
    #[n(7)]
    Closed(#[n(0)] LegId, #[n(1)] Evidence),
    /// The leg's ledger refuses for good what the decision demands: the promise is at stake.
    /// Answers [`crate::Task::Apply`] and [`crate::Task::Revert`].
    #[n(8)]
    CloseRefused(#[n(0)] LegId, #[n(1)] String),
    /// An operator has looked at a halted transaction and wants it driven on.
    #[n(9)]
    Resumed,
}
