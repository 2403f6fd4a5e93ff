//! What a verification found: each check by itself, and what follows from all.

use std::fmt;

use serde::Serialize;
use sofie_model::{Anchor, LedgerId, Txid};

use crate::publication::Printed;

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not: the receipt is refused.
    Failed,
    /// It holds if what it rests on does; the reader has pinned nothing to tell.
    Unanchored,
    /// The receipt holds nothing to check, and its story needs nothing there.
    Absent,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub reason: String,
}

/// What a receipt tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Story {
    /// Committed, fulfilled, and the payee has the money.
    Settled,
    /// Committed, not fulfilled in time, and the payer has the money back.
    Refunded,
    /// Committed, and the arbiter overruled the evidence: the payer has the money back.
    Overruled,
    /// Committed, shown not to be fulfilled, and the payer has the money back and the owner's stake besides.
    Penalised,
    /// Committed; what became of the escrow is not shown, or there is none.
    Committed,
    /// Aborted: nothing took effect.
    Aborted,
}

impl Story {
    /// Whether an escrow has paid for evidence.
    #[must_use]
    pub const fn rests_on_evidence(self) -> bool {
        matches!(self, Self::Settled | Self::Penalised)
    }
}

/// What follows from all checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "reasons")]
pub enum Verdict {
    /// Every check passed, on pinned anchors.
    Verified,
    /// Nothing contradicts; but not all that it rests on is pinned.
    ConsistentUnanchored,
    /// At least one check failed: these.
    Refused(Vec<String>),
}

/// One ledger's anchor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rests {
    /// Which ledger.
    pub ledger: LedgerId,
    /// What its proof rests on.
    pub on: Anchor,
}

/// A verification's findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Report {
    /// Which transaction, if the receipt could be read.
    pub txid: Option<Txid>,
    /// What it tells, if a decision is proven.
    pub story: Option<Story>,
    /// All that the proofs rest on: no other trust is needed, beyond the cryptography.
    pub anchors: Vec<Rests>,
    /// The facts that rest on roots that the reader has from elsewhere, and not on a log's key.
    pub published: Vec<Printed>,
    /// In the order of the story.
    pub checks: Vec<Check>,
}

impl Report {
    /// What follows from the checks.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let failed: Vec<_> = self
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::Failed)
            .map(|check| format!("{}: {}", check.name, check.reason))
            .collect();
        if !failed.is_empty() {
            return Verdict::Refused(failed);
        }
        if self.checks.iter().any(|check| check.outcome == Outcome::Unanchored) {
            return Verdict::ConsistentUnanchored;
        }
        Verdict::Verified
    }

    /// The check `name`.
    #[must_use]
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// Adds a check, or puts it in the place of the one of its name. A failure stays: nothing heals it.
    pub fn set(&mut self, check: Check) {
        match self.checks.iter_mut().find(|known| known.name == check.name) {
            Some(known) if known.outcome == Outcome::Failed => {}
            Some(known) => *known = check,
            None => self.checks.push(check),
        }
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, outcome: Outcome, reason: impl Into<String>) {
        self.checks.push(Check { name: name.into(), outcome, reason: reason.into() });
    }

    /// Adds what a check found: a reason for having passed, or why it failed.
    pub(crate) fn found(&mut self, name: impl Into<String>, result: Result<String, String>) {
        match result {
            Ok(reason) => self.add(name, Outcome::Passed, reason),
            Err(reason) => self.add(name, Outcome::Failed, reason),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Unanchored => "unanchored",
            Self::Absent => "absent",
        })
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Settled => "settled",
            Self::Refunded => "refunded",
            Self::Overruled => "overruled",
            Self::Penalised => "penalised",
            Self::Committed => "committed",
            Self::Aborted => "aborted",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified => f.write_str("verified"),
            Self::ConsistentUnanchored => f.write_str("consistent, anchors not pinned"),
            Self::Refused(reasons) => write!(f, "refused: {}", reasons.join("; ")),
        }
    }
}
