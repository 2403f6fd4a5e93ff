//! An inter-ledger transaction, as the journal holds it.

use serde::{Deserialize, Serialize};
use sofie_model::{Class, Evidence, LedgerId, LegId, Txid};
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
}
