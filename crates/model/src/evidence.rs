//! Evidence: what a ledger recorded, where, and when. Small enough to journal; the proof itself is fetched when a
//! receipt is made ([`crate::proof`]).

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Account, Digest, LedgerId, LegId, Timestamp, Txid, canonical};

/// The decision that D holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "decision")]
pub enum Decision {
    /// The transaction takes effect on the included legs.
    #[n(0)]
    Commit {
        /// Bit i: leg i takes effect.
        #[n(0)]
        included: u64,
        /// What the committer saw prepared.
        #[n(1)]
        evidence_root: Digest,
        /// Every participant's secret.
        #[n(2)]
        preimages: Vec<Digest>,
    },
    /// The transaction takes effect nowhere.
    #[n(1)]
    Abort {
        /// Who aborted.
        #[n(0)]
        by: Account,
    },
}

impl Decision {
    /// Whether this decision lets `leg` take effect.
    #[must_use]
    pub fn includes(&self, leg: LegId) -> bool {
        match self {
            Self::Commit { included, .. } => leg.0 < 64 && included >> leg.0 & 1 == 1,
            Self::Abort { .. } => false,
        }
    }
}

/// What a ledger says happened.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fact {
    /// The leg's value is locked, or its record appended.
    #[n(0)]
    Prepared(#[n(0)] Txid, #[n(1)] LegId),
    /// The leg took effect.
    #[n(1)]
    Applied(#[n(0)] Txid, #[n(1)] LegId),
    /// The leg's lock was undone.
    #[n(2)]
    Reverted(#[n(0)] Txid, #[n(1)] LegId),
    /// The escrow paid its payee.
    #[n(3)]
    Settled(#[n(0)] Txid, #[n(1)] LegId),
    /// The escrow paid its payer back.
    #[n(4)]
    Refunded(#[n(0)] Txid, #[n(1)] LegId),
    /// D's record.
    #[n(5)]
    Decided(#[n(0)] Txid, #[n(1)] Decision),
    /// A note stands on the ledger: its topic and commitment.
    #[n(6)]
    Noted(#[n(0)] Digest, #[n(1)] Digest),
    /// The escrow's evidence was presented: its dispute window runs.
    #[n(7)]
    Presented(#[n(0)] Txid, #[n(1)] LegId),
    /// The arbiter overruled it: the escrow paid its payer back.
    #[n(8)]
    Overruled(#[n(0)] Txid, #[n(1)] LegId),
}

/// Where on its ledger a fact stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Position {
    /// Block number, or the size of the log that first contained it.
    #[n(0)]
    pub height: u64,
    /// Where in it: the leaf index, or on a chain the transaction's and the log's place
    /// ([`crate::proof::evm::log_index`]).
    #[n(1)]
    pub index: u64,
    /// Hash of the ledger transaction, or of the leaf.
    #[n(2)]
    pub reference: Digest,
}

/// A final fact of one ledger.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Evidence {
    /// Whose.
    #[n(0)]
    pub ledger: LedgerId,
    /// What.
    #[n(1)]
    pub fact: Fact,
    /// Where.
    #[n(2)]
    pub position: Position,
    /// When, by the ledger's own clock.
    #[n(3)]
    pub at: Timestamp,
}

/// One digest over the prepare evidence of a transaction's legs, in the order of the legs. COMMIT carries it.
#[must_use]
pub fn root<'a>(evidence: impl IntoIterator<Item = &'a Evidence>) -> Digest {
    let encoded: Vec<_> = evidence.into_iter().map(canonical::encode).collect();
    let parts: Vec<&[u8]> = encoded.iter().map(Vec::as_slice).collect();
    Digest::of("sofie.evidence-root.v1", &parts)
}
