//! The ledger port: the few things that the rest of SOFIE asks of a ledger.
//!
//! The order of calls for one operation is `intend`, *persist the intent*, `submit`, then `status` until it is final.
//! After a restart it is `adopt` for every intent whose fate the journal does not know, then `status`; `submit` again
//! is allowed only with the very same intent. The intent fixes the inputs or the nonce, so that any retry conflicts
//! with the first try (P4). A new intent is allowed once [`Status::Displaced`] says that the first can never stand.

use std::sync::Arc;

use async_trait::async_trait;
use sofie_model::{
    Account, Class, Digest, Evidence, Finality, LedgerId, LegId, Manifest, Operation, Proof, Span, Timestamp,
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

/// Errors of this ledger, by its name.
impl Profile {
    pub(crate) fn transient(&self, reason: impl Into<String>) -> LedgerError {
        LedgerError::Transient { ledger: self.id.clone(), reason: reason.into() }
    }

    pub(crate) fn refused(&self, reason: impl Into<String>) -> LedgerError {
        LedgerError::Refused { ledger: self.id.clone(), reason: reason.into() }
    }

    pub(crate) fn nonsense(&self, reason: impl Into<String>) -> LedgerError {
        LedgerError::Nonsense { ledger: self.id.clone(), reason: reason.into() }
    }
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
    /// Something else took this intent's place, finally: it will never be recorded, and nothing speaks against the
    /// operation. Only now may the operation be fixed anew (P4). Never answered where no intent was given.
    Displaced {
        /// What took its place.
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

    /// Proves final notes of this ledger, which belong to no transaction, all under one head.
    ///
    /// # Errors
    /// [`LedgerError::Unsupported`] where it proves facts of transactions alone, otherwise as [`Ledger::prove`].
    async fn prove_notes(&self, notes: &[Evidence]) -> Result<Proof, LedgerError> {
        let _ = notes;
        Err(LedgerError::Unsupported {
            ledger: self.profile().id.clone(),
            verb: "prove a note",
            reason: "it proves what belongs to a transaction".into(),
        })
    }

    /// The ledger's money, if it moves any.
    fn treasury(&self) -> Option<&dyn Treasury> {
        None
    }

    /// What only a ledger with hashlock legs can do.
    fn hashlocks(&self) -> Option<&dyn Hashlocks> {
        None
    }
}

/// How a hashlock's value leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spend {
    /// To the claimant, with every preimage: [`sofie_model::Step::Claim`].
    Claim,
    /// Back to the payer, after T_p: [`sofie_model::Step::Revert`].
    Refund,
}

/// A claim that the ledger shows, final or not. Whoever sees it has what COMMIT needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revealed {
    /// Every participant's, in the manifest's order, each checked against its hash.
    pub preimages: Vec<Digest>,
    /// The ledger transaction that claims.
    pub reference: Digest,
    /// Whether the claim is final: only then may the guard sign a late COMMIT.
    pub finally: bool,
}

/// What one key signed so that others can finish: of one lock as it stands on the ledger, at each of the fees up to the
/// leg's limit. It reveals nothing and allows no other payment, so it may be shown to every participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presigned {
    /// What was signed.
    pub spend: Spend,
    /// Opaque to all but its ledger; at most [`MAX_PRESIGNED_BYTES`].
    pub bytes: Vec<u8>,
}

/// A longer [`Presigned`] is refused unread.
pub const MAX_PRESIGNED_BYTES: usize = 4_096;

/// The part of a ledger that carries hashlock legs: what the pivot needs besides its steps.
#[async_trait]
pub trait Hashlocks: Send + Sync {
    /// The claim of this leg, as soon as the ledger shows one: in a block, or before that where transactions wait
    /// in public. `None`: no claim is seen.
    ///
    /// # Errors
    /// [`LedgerError::Transient`], [`LedgerError::Unsupported`], [`LedgerError::Nonsense`].
    async fn revealed(&self, manifest: &Manifest, leg: LegId) -> Result<Option<Revealed>, LedgerError>;

    /// Signs this spend of the leg's lock with the key that is held here. The lock must stand in a block already (its
    /// own name is signed); a lock that is undone and comes back under another name is signed anew.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when that key is not held here; [`LedgerError::Transient`] when no lock is seen.
    async fn presign(&self, manifest: &Manifest, leg: LegId, spend: Spend) -> Result<Presigned, LedgerError>;

    /// Checks what another's key signed, and keeps it while this ledger is open: from now on the spend's step can be
    /// carried out here without that key. The caller stores it, and brings it again after a restart.
    ///
    /// # Errors
    /// [`LedgerError::Refused`] when it is not that key's signature for this lock; [`LedgerError::Transient`] when no
    /// lock is seen.
    async fn accept(&self, manifest: &Manifest, leg: LegId, presigned: &Presigned)
    -> Result<(), LedgerError>;
}

/// What of an account's money can be spent, on a ledger whose money is coins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coins {
    /// How many; a payment takes at least one for itself until it is recorded.
    pub count: u64,
    /// What they are worth together, in the ledger's smallest unit.
    pub worth: u128,
}

/// Money on a ledger, in its smallest unit. Only shown, never decided upon.
#[async_trait]
pub trait Treasury: Send + Sync {
    /// What `account` holds at the head.
    ///
    /// # Errors
    /// [`LedgerError::Transient`], [`LedgerError::Nonsense`].
    async fn balance(&self, account: Account) -> Result<u128, LedgerError>;

    /// Where `account` is paid, as this ledger's own tools write it; `None` when its key is not known here.
    fn address(&self, account: Account) -> Option<String> {
        Some(account.to_string())
    }

    /// The coins that a next payment of `account` can use: confirmed, mature, of no payment under way. `None` on a ledger
    /// that keeps accounts.
    ///
    /// # Errors
    /// [`LedgerError::Transient`], [`LedgerError::Refused`], [`LedgerError::Nonsense`].
    async fn coins(&self, account: Account) -> Result<Option<Coins>, LedgerError> {
        let _ = account;
        Ok(None)
    }

    /// What `payers` paid in fees in the blocks `from..=to`.
    ///
    /// # Errors
    /// [`LedgerError::Transient`], [`LedgerError::Nonsense`].
    async fn fees(&self, payers: &[Account], from: u64, to: u64) -> Result<u128, LedgerError>;
}
