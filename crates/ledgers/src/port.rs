//! The ledger port: the few things that the rest of SOFIE asks of a ledger.
//!
//! The order of calls for one operation is `intend`, *persist the intent*, `submit`, then `status` until it is final.
//! After a restart it is `adopt` for every intent whose fate the journal does not know, then `status`; `submit` again
//! is allowed only with the very same intent. The intent fixes the inputs or the nonce, so that any retry conflicts
//! with the first try (P4).

use std::sync::Arc;

use async_trait::async_trait;
use sofie_model::{
    Account, Class, Evidence, Finality, LedgerId, Manifest, Operation, Proof, Span, Timestamp,
};

/// Where an embedded ledger takes the time from: this room reads no clock by itself.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a ledger is, as its operator configured it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name in the configuration and in manifests.
    pub id: LedgerId,
    /// What legs it can carry.
    pub classes: Vec<Class>,
    /// Whether it can hold the one decision.
    pub decides: bool,
    /// When its facts are final.
    pub finality: Finality,
    /// The longest time from `submit` until a fact is recorded, censorship included.
    pub inclusion: Span,
    /// The longest time from recorded until final.
    pub finalises: Span,
    /// One party can rewrite it: its transactions are labelled custodial (P7).
    pub single_operator: bool,
    /// How long to wait between two `status` calls.
    pub poll: Span,
}

/// The bytes of one prepared try: a signed ledger transaction, or a log entry. Opaque to all but its ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent(pub Vec<u8>);

/// What a ledger knows of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Nothing. It may still arrive if it was submitted.
    Absent,
    /// Recorded, but it may still be undone.
    Pending,
    /// Recorded and final. For a decision: whichever decision D holds, not only the one that was asked for.
    Final(Evidence),
    /// The ledger's rules refuse it for good, finally: this intent will never be recorded.
    Refused {
        /// The ledger's reason, as it gave it.
        reason: String,
    },
}

/// The ledger's own view of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Block number, or log size.
    pub height: u64,
    /// The ledger's clock: a block's or a checkpoint's time.
    pub time: Timestamp,
}

/// Why a call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Try again later: the ledger is away, slow or busy. Whether a submitted intent arrived is unknown.
    #[error("ledger {ledger} does not answer: {reason}")]
    Transient {
        /// Which ledger.
        ledger: LedgerId,
        /// What happened.
        reason: String,
    },
    /// The ledger will not do this, now or later.
    #[error("ledger {ledger} refuses: {reason}")]
    Refused {
        /// Which ledger.
        ledger: LedgerId,
        /// Its reason.
        reason: String,
    },
    /// The operation is not one that this ledger can carry out.
    #[error("ledger {ledger} cannot {verb}: {reason}")]
    Unsupported {
        /// Which ledger.
        ledger: LedgerId,
        /// [`Operation::verb`].
        verb: &'static str,
        /// What it lacks.
        reason: String,
    },
    /// What the ledger answered breaks its own rules: it must not be trusted further.
    #[error("ledger {ledger} answers nonsense: {reason}")]
    Nonsense {
        /// Which ledger.
        ledger: LedgerId,
        /// What was wrong.
        reason: String,
    },
}

/// A ledger. All methods may be called from many tasks at once.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// What this ledger is. Does not change while it is open.
    fn profile(&self) -> &Profile;

    /// Fixes the bytes that would carry `operation` out. Nothing leaves the process; no record is made.
    ///
    /// # Errors
    /// [`LedgerError::Unsupported`] for an operation that this ledger cannot carry; [`LedgerError::Refused`] when its
    /// rules already speak against it; [`LedgerError::Transient`] when it must be asked first and is away.
    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError>;

    /// Takes over an intent that an earlier run of this node fixed and may or may not have submitted, so that no later
    /// intent takes its nonce. Called before any `intend` after a restart.
    ///
    /// # Errors
    /// [`LedgerError::Nonsense`] when the bytes are not an intent of this ledger.
    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError>;

    /// Brings a persisted intent to the ledger. Submitting the same intent again is harmless. Returning `Ok` says only
    /// that the ledger took it for consideration.
    ///
    /// # Errors
    /// [`LedgerError::Transient`]: its fate is unknown. [`LedgerError::Refused`]: it was not taken and never will be.
    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError>;

    /// What the ledger records of `operation`, by whomever; `intent` tells which try was ours, if there was one.
    ///
    /// # Errors
    /// [`LedgerError::Transient`], [`LedgerError::Unsupported`], [`LedgerError::Nonsense`].
    async fn status(&self, operation: &Operation, intent: Option<&Intent>) -> Result<Status, LedgerError>;

    /// The ledger's head and clock.
    ///
    /// # Errors
    /// [`LedgerError::Transient`], [`LedgerError::Nonsense`].
    async fn head(&self) -> Result<Head, LedgerError>;

    /// Proves final facts of this ledger, all under one head, for a receipt.
    ///
    /// # Errors
    /// [`LedgerError::Transient`]; [`LedgerError::Nonsense`] when the ledger no longer holds one of them.
    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError>;

    /// The ledger's money, if it moves any.
    fn treasury(&self) -> Option<&dyn Treasury> {
        None
    }
}

/// Money on a ledger, in its smallest unit. Only shown, never decided upon.
#[async_trait]
pub trait Treasury: Send + Sync {
    /// What `account` holds at the head.
    ///
    /// # Errors
    /// [`LedgerError::Transient`], [`LedgerError::Nonsense`].
    async fn balance(&self, account: Account) -> Result<u128, LedgerError>;

    /// What `payers` paid in fees in the blocks `from..=to`.
    ///
    /// # Errors
    /// [`LedgerError::Transient`], [`LedgerError::Nonsense`].
    async fn fees(&self, payers: &[Account], from: u64, to: u64) -> Result<u128, LedgerError>;
}
