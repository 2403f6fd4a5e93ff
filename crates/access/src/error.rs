//! Why a capability could not be made, and why one was refused.

use sofie_model::{Span, ThingId, Timestamp, Txid, canonical};

use crate::{Affordance, PublicKey};

/// Why a capability, a proof or a list could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name that a token cannot carry.
    #[error(
        "{got:?} cannot be granted: a name of a {what} is short and has no quotes, backslashes or control characters"
    )]
    Name {
        /// What it names.
        what: &'static str,
        /// The name, cut to 80 characters.
        got: String,
    },
    /// The grant or its narrowing makes no sense.
    #[error("grant.{field}: {why}")]
    Grant {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The token to narrow or to pass on is not one of ours.
    #[error("the token cannot be read: {why}; it must come whole, as it was issued")]
    Token {
        /// What the decoder says.
        why: String,
    },
    /// The token would become larger or deeper than any door takes.
    #[error("the token would have {got} {what}, at most {limit} are allowed")]
    TooMuch {
        /// Bytes, blocks, caveats, revocations.
        what: &'static str,
        /// How many there would be.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Only the holder passes a capability on.
    #[error("key {got} does not hold this capability, {holder} does")]
    NotTheHolder {
        /// Who tried.
        got: PublicKey,
        /// Who could.
        holder: PublicKey,
    },
    /// A signed list or a stored book was refused.
    #[error("{what} cannot be read: {source}")]
    Stored {
        /// What was being read.
        what: &'static str,
        /// Why not.
        source: canonical::Error,
    },
    /// A revocation list that its owner did not sign.
    #[error("the revocation list is not signed by {owner}; fetch it again from the owner's ledger")]
    Unsigned {
        /// Whose list it says it is.
        owner: PublicKey,
    },
    /// An older list than the one at hand.
    #[error("revocation list {got} is older than list {known}, which is kept")]
    Rollback {
        /// Its number.
        got: u64,
        /// The number of the list at hand.
        known: u64,
    },
    /// No randomness.
    #[error("the operating system gives no randomness: {why}")]
    Randomness {
        /// Its word.
        why: String,
    },
}

/// Why the door stays shut. Each refusal is a record of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More bytes than a door reads.
    #[error("the token has {got} bytes, at most {limit} are read")]
    TooLarge {
        /// How many came.
        got: usize,
        /// How many are read.
        limit: usize,
    },
    /// Narrowed or passed on more often than a door follows, or than the grant allows.
    #[error("the token has {got} {what}, at most {limit} are allowed")]
    TooDeep {
        /// Blocks, or delegations.
        what: &'static str,
        /// How many it has.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Not a token, or not one in the profile of ADR 0007.
    #[error("not a capability: {why}")]
    Malformed {
        /// What is wrong with it.
        why: String,
    },
    /// Signed by another than the owner of this thing.
    #[error("the token is not signed by this thing's owner {owner}")]
    UnknownKey {
        /// Whose signature is needed.
        owner: PublicKey,
    },
    /// A signature inside the token does not hold.
    #[error("the token was changed: {why}")]
    Tampered {
        /// Which signature.
        why: String,
    },
    /// Passed on by another key than the holder's.
    #[error("delegation {index} is not signed by the holder {holder}")]
    WrongDelegator {
        /// Which delegation, from 1.
        index: usize,
        /// Whose signature is needed.
        holder: PublicKey,
    },
    /// One of the token's parts was revoked.
    #[error("part {index} of the capability was revoked")]
    Revoked {
        /// Which block, 0 is the grant itself.
        index: usize,
    },
    /// The door's revocation list is too old, from the future, or of another owner: nobody is let in.
    #[error("the owner's revocation list cannot be relied on: {why}; fetch a new one")]
    StaleRevocations {
        /// When it was issued.
        issued_at: Timestamp,
        /// The door's time.
        now: Timestamp,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Too early.
    #[error("the capability is valid only in {} from now", .not_before.since(*.now))]
    NotYet {
        /// When it starts.
        not_before: Timestamp,
        /// The door's time.
        now: Timestamp,
    },
    /// Too late.
    #[error("the capability expired {} ago; ask the owner for a new one", .now.since(*.expires))]
    Expired {
        /// When it ended: from this instant on it is void.
        expires: Timestamp,
        /// The door's time.
        now: Timestamp,
    },
    /// Another thing than the granted ones.
    #[error("the capability is not for {asked}")]
    OtherThing {
        /// What was asked for.
        asked: ThingId,
    },
    /// Another operation than the granted ones.
    #[error("the capability does not allow {asked}")]
    OtherAffordance {
        /// What was asked for.
        asked: Affordance,
    },
    /// Granted for another transaction.
    #[error("the capability was issued for transaction {granted}, not for this one")]
    OtherTransaction {
        /// The transaction it was issued for.
        granted: Txid,
    },
    /// Used as often as it may be.
    #[error("the capability was used {used} times, {limit} are allowed")]
    UsedUp {
        /// How often it was.
        used: u64,
        /// How often it may be.
        limit: u64,
    },
    /// The token came without a proof that its bearer is its holder.
    #[error("no proof of possession; sign the request with the holder's key {holder}")]
    ProofMissing {
        /// Whose signature is needed.
        holder: PublicKey,
    },
    /// A proof by another key, for another request, door, token or time.
    #[error("the proof of possession is not {holder}'s signature over this request at this door")]
    ProofWrong {
        /// Whose signature is needed.
        holder: PublicKey,
    },
    /// A proof of another time.
    #[error("the proof is {} away from the door's clock, at most {window} are allowed; sign the request anew", apart(*.at, *.now))]
    ProofStale {
        /// When it was made.
        at: Timestamp,
        /// The door's time.
        now: Timestamp,
        /// How far both may differ.
        window: Span,
    },
    /// The same proof a second time.
    #[error("this proof was used before; sign the request anew")]
    Replayed,
    /// The door remembers as much as it can; it forgets nothing that would open it twice.
    #[error("the door remembers {limit} {what} and can take no more; try again in {window}")]
    Busy {
        /// Proofs, or capabilities.
        what: &'static str,
        /// How many it remembers.
        limit: usize,
        /// When it will have forgotten some.
        window: Span,
    },
    /// The token's own checks, or the limits of their evaluation, say no.
    #[error("the token's checks refuse: {why}")]
    Checks {
        /// The engine's word.
        why: String,
    },
}

impl Refusal {
    /// A stable word for logs, counters and audit records.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::TooDeep { .. } => "too-deep",
            Self::Malformed { .. } => "malformed",
            Self::UnknownKey { .. } => "unknown-key",
            Self::Tampered { .. } => "tampered",
            Self::WrongDelegator { .. } => "wrong-delegator",
            Self::Revoked { .. } => "revoked",
            Self::StaleRevocations { .. } => "stale-revocations",
            Self::NotYet { .. } => "not-yet",
            Self::Expired { .. } => "expired",
            Self::OtherThing { .. } => "other-thing",
            Self::OtherAffordance { .. } => "other-affordance",
            Self::OtherTransaction { .. } => "other-transaction",
            Self::UsedUp { .. } => "used-up",
            Self::ProofMissing { .. } => "proof-missing",
            Self::ProofWrong { .. } => "proof-wrong",
            Self::ProofStale { .. } => "proof-stale",
            Self::Replayed => "replayed",
            Self::Busy { .. } => "busy",
            Self::Checks { .. } => "checks",
        }
    }
}

/// The time between two instants, whichever is first.
fn apart(one: Timestamp, other: Timestamp) -> Span {
    one.since(other).max(other.since(one))
}
