//! An inter-ledger transaction, as the journal holds it.

use serde::{Deserialize, Serialize};
use sofie_model::{Class, Evidence, LedgerId, LegId, Salt, Txid};
use utoipa::ToSchema;

use super::{At, Step};

/// A transaction and its legs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transaction {
    /// 64 hexadecimal digits.
    #[schema(value_type = String)]
    pub id: Txid,
    /// How far it is: `preparing`, `collecting`, `deciding`, `applying`, `done`, `halted`.
    pub phase: String,
    /// What its outcome rests on (design, P7).
    pub label: String,
    /// What D holds; `null` while it holds nothing.
    pub decision: Option<Verdict>,
    /// T_D.
    pub deadline: At,
    /// G, the last instant of any decision to commit; the same as T_D without a hashlock leg.
    pub grace_end: At,
    /// Its legs, in order.
    pub legs: Vec<LegStatus>,
    /// What has happened.
    pub steps: Vec<Step>,
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
    /// How far it is: `intended`, `prepared`, `applied`, `reverted`, `settled`, `refunded`, `refused`.
    pub state: String,
    /// The ledger's facts about it, the newest last.
    #[schema(value_type = Vec<Object>)]
    pub evidence: Vec<Evidence>,
    /// T_p of a hashlock leg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timelock: Option<At>,
    /// How much time it has left; not there while it rests on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<LegSlack>,
    /// What opens the commitment of a record that was submitted here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
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
