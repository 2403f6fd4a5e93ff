//! The protocol with one rule broken, each of which the checker must find.

/// Which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// D takes COMMIT between T_D and G without the guard.
    NoGuard,
    /// The guard signs for a claim that is recorded, not final.
    GuardSignsEarly,
    /// D takes ABORT from a participant before G, although there is a pivot.
    AbortBeforeGrace,
    /// A participant signs ABORT although it has released its secret.
    SignsAbortAfterRelease,
    /// The pivot's claimant gives its secret away by message.
    ClaimantReleasesByMessage,
    /// The pivot's script takes a preimage of any length; D does not.
    AnyLength,
    /// A secret is released although a prepare may still be undone.
    ReleaseBeforeFinal,
    /// A secret is released until T_D, too late for COMMIT to stand by then.
    ReleaseLate,
    /// A reader takes an undecided transaction for aborted once T_D has passed.
    PresumesAbort,
    /// A reader believes a COMMIT that is not final.
    ReadsBeforeFinal,
    /// After a restart a prepare is submitted with a new intent.
    NewIntent,
    /// On D the last record counts, not the first.
    LastRecordCounts,
    /// The verifying leg goes back by time before there is a decision.
    EscrowRefundsByTime,
    /// The payer waits for ABORT before it refunds.
    RefundsLate,
    /// Only the claimant can claim: there is no pre-signed spend.
    NobodyElseClaims,
    /// A claimant whose COMMIT is lost waits for ABORT.
    LostCommitIsLeft,
    /// The payer of a pivot with a single hash locks it before it holds every other secret.
    LocksBeforeReleases,
    /// It gives its own secret away before the lock is final.
    PayerReleasesEarly,
    /// It signs ABORT while its lock stands.
    SignsAbortAfterLocking,
}

pub(crate) const ALL: [Broken; 16] = [
    Broken::NoGuard,
    Broken::GuardSignsEarly,
    Broken::AbortBeforeGrace,
    Broken::SignsAbortAfterRelease,
    Broken::ClaimantReleasesByMessage,
    Broken::AnyLength,
    Broken::ReleaseBeforeFinal,
    Broken::ReleaseLate,
    Broken::PresumesAbort,
    Broken::ReadsBeforeFinal,
    Broken::NewIntent,
    Broken::LastRecordCounts,
    Broken::EscrowRefundsByTime,
    Broken::RefundsLate,
    Broken::NobodyElseClaims,
    Broken::LostCommitIsLeft,
];

/// Those that only a pivot with a single hash can break.
pub(crate) const SINGLE: [Broken; 3] =
    [Broken::LocksBeforeReleases, Broken::PayerReleasesEarly, Broken::SignsAbortAfterLocking];
