//! What a transaction wants done. Each effect names the inputs that answer it, and failure is one of those answers.

use sofie_model::{LedgerId, LegId, Operation, Timestamp};

/// What an operation is for: at most one operation of a task is under way at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Answered by `Prepared` or `PrepareRefused`.
    Prepare(LegId),
    /// Answered by `Decided` or `DecideRefused`. The flag is true for COMMIT.
    Decide(bool),
    /// Answered by `Closed` or `CloseRefused`.
    Apply(LegId),
    /// Answered by `Closed` or `CloseRefused`.
    Revert(LegId),
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
    /// Ask this participant (by index), whose secret this node holds, to check the prepares itself and to release.
    /// Answered by `Released` or `Withheld`.
    Release(u16),
    /// Answered by `Woken` at this time or soon after.
    Wake(Timestamp),
    /// Tell the operator: a promise is broken or cannot be kept. Needs no answer.
    Alarm(String),
}
