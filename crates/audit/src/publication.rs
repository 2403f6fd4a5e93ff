//! What a reader holds that was published: roots of logs' seconds, and what leads to them from an older proof
//! (docs/adr/0050-a-published-root-of-seconds.md).

use serde::Serialize;
use sofie_model::proof::calendar::{Extension, PublishedRoot};
use sofie_model::{Digest, LedgerId};

/// More roots, or more extensions, are not taken.
pub const MAX_ROOTS: usize = 16;

/// Published roots. The receipt must have a proof of each one's log, and every such proof must stand under it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Publication {
    /// As they were printed.
    pub roots: Vec<PublishedRoot>,
    /// What may lead there. Those of other proofs are left aside.
    pub extensions: Vec<Extension>,
}

/// One ledger's facts that rest on a published root, whoever holds the log's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Printed {
    /// Which ledger.
    pub ledger: LedgerId,
    /// Its log.
    pub log: String,
    /// Of how many seconds the root is.
    pub size: u64,
    /// The root.
    pub root: Digest,
    /// The second, since the Unix epoch, at whose end all of them stood in the log, by its operator's clock.
    pub second: u64,
    /// The checks that look at these facts, in the order of the report.
    pub checks: Vec<String>,
}
