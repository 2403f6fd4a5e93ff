//! The node's state, and its ledgers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sofie_model::{Class, Digest, LedgerId};
use utoipa::{IntoParams, ToSchema};

use super::{Amount, At};

/// The node at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Its name in the configuration.
    pub name: String,
    /// The product's version.
    pub version: String,
    /// When it started.
    pub started_at: At,
    /// The console's URL; `null` when it is switched off.
    pub console: Option<String>,
    /// Its ledgers, in the order of the configuration.
    pub ledgers: Vec<LedgerStatus>,
    /// Its webhooks, in the order of the configuration.
    pub webhooks: Vec<WebhookStatus>,
}

/// One receiver of events, as the node knows it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Scheme, host and port: the path may hold a secret.
    pub to: String,
    /// How many events it has taken since the node started.
    pub delivered: u64,
    /// How many records of the audit log it has not been told of yet, or need not be.
    pub behind: u64,
    /// Whether it took the last event that it was sent, or was sent none yet.
    pub ok: bool,
    /// Why it did not.
    pub error: Option<String>,
}

/// One ledger, as the node sees it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerStatus {
    /// Its name.
    #[schema(value_type = String)]
    pub id: LedgerId,
    /// Its kind in the configuration: `evm-embedded`, `evm-rpc`, `calendar`, `file`, `custodian`.
    pub kind: String,
    /// What legs it carries.
    #[schema(value_type = Vec<String>)]
    pub classes: Vec<Class>,
    /// Of a calendar of this node: the log's name and key, which other nodes pin; `null` otherwise.
    pub log: Option<String>,
    /// Its head; `null` when it does not answer.
    pub height: Option<u64>,
    /// Its clock; `null` when it does not answer.
    pub time: Option<At>,
    /// One party can rewrite it: transactions decided here are custodial.
    pub single_operator: bool,
    /// Whether it answers, and is not in quarantine.
    pub ok: bool,
    /// Why not.
    pub error: Option<String>,
}

/// The root of a calendar's seconds, to be published where nobody can change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedSeconds {
    /// Which ledger.
    #[schema(value_type = String)]
    pub ledger: LedgerId,
    /// The log's name and key: `name+id+key`.
    pub log: String,
    /// Of how many seconds the root is: those in which the log grew.
    pub size: u64,
    /// The RFC 6962 root of their tree.
    #[schema(value_type = String)]
    pub root: Digest,
    /// The last of them.
    pub until: At,
    /// The signed checkpoint (C2SP tlog-checkpoint): its first three lines are what is printed.
    pub note: String,
}

/// Which proof is to be put under which published root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExtendTo {
    /// At how many entries the proof ends.
    pub size: u64,
    /// Their root: 64 hexadecimal digits.
    #[param(value_type = String)]
    pub root: Digest,
    /// Of how many seconds the published root is.
    pub seconds: u64,
}

/// What the parties hold on one ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balances {
    /// Which ledger.
    #[schema(value_type = String)]
    pub ledger: LedgerId,
    /// At which height.
    pub height: u64,
    /// By the party's name.
    pub balances: BTreeMap<String, Amount>,
}

/// What the parties paid in fees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fees {
    /// All of them together.
    pub fees: Amount,
}
