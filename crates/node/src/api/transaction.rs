//! An inter-ledger transaction, as the journal holds it.

use serde::{Deserialize, Serialize};
use sofie_model::{Class, Evidence, LedgerId, LegId, Salt, Txid};
use utoipa::ToSchema;

use super::{Amount, At, LegKind, Step};

/// A transaction and its legs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transaction {
    /// 64 hexadecimal digits.
    #[schema(value_type = String)]
    pub id: Txid,
    /// How far it is: `preparing`, `collecting`, `deciding`, `applying`, `done`, `halted`; a proposal that has not begun is
    /// `proposed`, and one that never will is `declined` or `expired`.
    pub phase: String,
    /// Why it aborts, was aborted or is halted; not there where it does none of these, or this node was not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What happens if nobody acts.
    pub next: String,
    /// What its outcome rests on (design, P7).
    pub label: String,
    /// Whether it is a contract's, which `GET /api/v1/contracts/{id}` shows; told where one transaction is asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contract: bool,
    /// Who proposes it and what it waits for; not there once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Proposal>,
    /// D, the ledger that decides.
    #[schema(value_type = String)]
    pub decision_ledger: LedgerId,
    /// What D holds; `null` while it holds nothing.
    pub decision: Option<Verdict>,
    /// D's final record, as its evidence tells it; not there while D holds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub decided: Option<Evidence>,
    /// T_D.
    pub deadline: At,
    /// G, the last instant of any decision to commit; the same as T_D without a hashlock leg.
    pub grace_end: At,
    /// Its legs, in order.
    pub legs: Vec<LegStatus>,
    /// This node's watchers, and what of it each has; not there where this node acts for nobody or has no watcher.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watchers: Vec<Watcher>,
    /// What has happened.
    pub steps: Vec<Step>,
}

/// What a watcher has of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Watcher {
    /// The peer's name.
    pub name: String,
    /// What it has taken, of `manifest`, `claim` and `refund`; the latter two are signed ahead for a hashlock leg.
    pub has: Vec<String>,
    /// Why it lacks what it needs now; `null` when it lacks nothing.
    pub lacks: Option<String>,
}

/// What a transaction is before every node has agreed to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proposal {
    /// The peer who proposes it; absent for this node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Who must agree, and release a secret.
    pub participants: Vec<String>,
    /// Why it waits, or why it did not begin.
    pub why: String,
    /// What to do.
    pub next: String,
}

/// A decision, without its proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It takes effect.
    Commit,
    /// It takes effect nowhere.
    Abort,
}

/// One leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LegStatus {
    /// Its place in the manifest, from 0.
    #[schema(value_type = u16)]
    pub leg: LegId,
    /// Its ledger.
    #[schema(value_type = String)]
    pub ledger: LedgerId,
    /// As what.
    #[schema(value_type = String)]
    pub class: Class,
    /// What it does at COMMIT.
    pub kind: LegKind,
    /// How far it is: `proposed`, `intended`, `prepared`, `applied`, `reverted`, `refused`; while it is only proposed, what
    /// the proposal is: `proposed`, `declined`, `expired`.
    pub state: String,
    /// Why its ledger refused it; not there while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who pays whom how much; not there for a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Payment>,
    /// The ledger's facts about it, the newest last.
    #[schema(value_type = Vec<Object>)]
    pub evidence: Vec<Evidence>,
    /// T_p of a hashlock leg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timelock: Option<At>,
    /// How much time it has left; not there while it rests on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<LegSlack>,
    /// What opens the commitment of a record that was submitted or shown here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
}

/// What a leg pays at COMMIT, or once its evidence or its secrets are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Payment {
    /// A party's name, or an account that nobody here has a name for.
    pub from: String,
    /// The same, of who is paid.
    pub to: String,
    /// How much.
    pub amount: Amount,
}

/// How much time a leg has left before it is too late for what must come next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LegSlack {
    /// What must be sent by then: `prepare`, `decide`, `claim`, `settle`.
    pub due: String,
    /// The last instant at which it is still in time.
    pub until: At,
    /// From now until then, in milliseconds; 0 when it is over.
    pub left_ms: u64,
    /// Less is left than the node may need to notice and act, a restart included.
    pub alarm: bool,
}

/// A payload and its salt: SHA-256 of the domain, the salt and the payload is what the ledger holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Opening {
    /// The recorded JSON, canonical (RFC 8785).
    pub payload: String,
    /// 64 hexadecimal digits.
    #[schema(value_type = String)]
    pub salt: Salt,
}
