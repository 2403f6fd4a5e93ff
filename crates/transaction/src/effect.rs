//! What a transaction wants done. Each effect names the inputs that answer it, and failure is one of those answers.

use sofie_model::{Digest, LedgerId, LegId, Operation, Timestamp};

/// What an operation is for: at most one operation of a task is under way at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Answered by `Prepared` or `PrepareRefused`.
    Prepare(LegId),
    /// Answered by `Decided` or `DecideRefused`. The flag is true for COMMIT.
    Decide(bool),
    /// Answered by `Closed`, `CloseRefused`, or `Undone` where its lock is gone. A hashlock leg is claimed.
    Apply(LegId),
    /// Answered by `Closed` or `CloseRefused`. A hashlock leg is refunded.
    Revert(LegId),
}

/// What to keep an eye on. It begins only after a first poll interval, so that a transaction that goes well pays nothing
/// for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Look {
    /// D, and the pivot's ledger for a claim. Answered by `Decided` or `Revealed`.
    Open,
    /// D, and whether the claim that was seen is final. Answered by `Decided` or a final `Revealed`.
    Claim,
    /// D alone. Answered by `Decided`.
    Decision,
    /// Whether D still holds its final decision (P3). Answered by `Undecided`, or by a `Decided` that differs.
    Stands,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Carry `operation` out on `ledger` and report when it is final or refused for good; retry what is transient
    /// without end. Answered as [`Task`] says.
    Operate {
        /// What it is for.
        task: Task,
        /// Where.
        ledger: LedgerId,
        /// What.
        operation: Operation,
    },
    /// Wait until the lock that another node's party makes for this leg is final. Answered by `Prepared`.
    Await(LegId),
    /// Ask this participant (by index), whose secret this node holds, to check the prepares itself and to release.
    /// Answered by `Released`, `Withheld`, `Undone` or `Decided`.
    Release(u16),
    /// Ask this participant (by index), whose key this node holds and whose secret was never released, to sign ABORT:
    /// it releases nothing any more. Answered by `Renounced` or `Withheld`.
    Renounce(u16),
    /// Ask the guard for its signature under this COMMIT between T_D and G. It sees for itself that the claim is final.
    /// Answered by `Permitted` or `PermitRefused`.
    Permit {
        /// The legs that the COMMIT includes.
        included: u64,
        /// Its evidence root.
        evidence_root: Digest,
    },
    /// Keep looking, and tell what is seen. Nothing is lost when it is dropped.
    Observe(Look),
    /// Answered by `Woken` at this time or soon after.
    Wake(Timestamp),
    /// Tell the operator: a promise is broken or cannot be kept. Needs no answer.
    Alarm(String),
}
