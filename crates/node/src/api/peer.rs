//! Other companies' nodes, as people see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sofie_model::{Account, Txid};
use utoipa::ToSchema;

use super::{Amount, At};

/// This node among others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Neighbours {
    /// What the others write under `[[peer]]` for this node.
    pub own: Own,
    /// In the order of the configuration.
    pub peers: Vec<Neighbour>,
    /// What was proposed and has not begun.
    pub proposals: Vec<Proposed>,
}

/// This node, as others must know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Own {
    /// Its name.
    pub name: String,
    /// Host and port for which messages must be made.
    pub authority: String,
    /// The key of its operator: 64 hexadecimal digits.
    pub key: String,
    /// Its parties and their accounts.
    #[schema(value_type = BTreeMap<String, String>)]
    pub parties: BTreeMap<String, Account>,
}

/// A node of another company.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Neighbour {
    /// What it is called here.
    pub name: String,
    /// Where it is reached.
    pub url: String,
    /// Its pinned key: 64 hexadecimal digits.
    pub key: String,
    /// The parties whose keys are there, and their accounts.
    #[schema(value_type = BTreeMap<String, String>)]
    pub parties: BTreeMap<String, Account>,
    /// What this node's parties may pay without asking a person, in all transactions with it that have not ended, by
    /// ledger.
    #[schema(value_type = BTreeMap<String, String>)]
    pub automatic: BTreeMap<String, Amount>,
}

/// A transaction that was proposed and has not begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proposed {
    /// Its id.
    #[schema(value_type = String)]
    pub txid: Txid,
    /// The peer who proposes it; absent for this node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Why it waits.
    pub why: String,
    /// Its deadline: after it nothing can begin.
    pub deadline: At,
    /// What each leg does, in a line.
    pub legs: Vec<String>,
    /// What to do.
    pub next: String,
}
