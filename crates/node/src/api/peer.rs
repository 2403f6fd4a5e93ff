//! Other companies' nodes, as people see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sofie_model::Account;
use utoipa::ToSchema;

use super::Amount;

/// This node among others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Neighbours {
    /// What the others write under `[[peer]]` for this node.
    pub own: Own,
    /// In the order of the configuration.
    pub peers: Vec<Neighbour>,
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
    /// The parties of this node that it may enquire after.
    pub publish: Vec<String>,
    /// What this node's parties may pay without asking a person, in all transactions with it that have not ended, by
    /// ledger.
    #[schema(value_type = BTreeMap<String, String>)]
    pub automatic: BTreeMap<String, Amount>,
}

/// The owner's no to what a peer proposes, or to what this node itself has proposed.
///
/// ```
/// use sofie_node::api::Decline;
/// let why: Decline = serde_json::from_str(r#"{ "reason": "not this week" }"#)?;
/// assert_eq!(why.reason, "not this week");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decline {
    /// What the peer is told; its first 512 characters count.
    #[serde(default)]
    pub reason: String,
}
