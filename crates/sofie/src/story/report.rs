//! What a story prints as data (design: "The command line").

use std::collections::BTreeMap;

use serde::Serialize;
use sofie_node::api::{At, ContractState, Step};

/// How a story ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Both ledgers took it, and the money went where the evidence said.
    Committed,
    /// Neither took it.
    Aborted,
    /// Both took it, no evidence came, and the payer has the money back.
    Refunded,
    /// It was not begun, or an operator must look.
    Refused,
}

/// One object, printed by `-o json`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<String>,
    pub(crate) transaction: String,
    pub(crate) label: String,
    pub(crate) receipt: String,
    pub(crate) anchors: String,
    pub(crate) verify: String,
    /// What `sofie verify` says of the receipt.
    pub(crate) verified: String,
    pub(crate) console: String,
    pub(crate) steps: Vec<ReportStep>,
    pub(crate) balances: Balances,
    /// The least time that any leg had left, in milliseconds, where that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) least_slack_ms: Option<u64>,
    /// How often the node was killed and started again.
    pub(crate) restarts: u32,
    #[serde(skip)]
    pub(crate) as_promised: bool,
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ReportStep {
    pub(crate) name: String,
    pub(crate) at: At,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ledger: Option<String>,
    pub(crate) ok: bool,
    pub(crate) detail: String,
}

/// What everybody held, in the smallest unit, by ledger and party. Fees are a party.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Balances {
    pub(crate) before: Held,
    pub(crate) after: Held,
}

/// By ledger, by party.
pub(crate) type Held = BTreeMap<String, BTreeMap<String, u128>>;

impl Balances {
    /// Whether nothing was lost or made on any ledger.
    pub(crate) fn add_up(&self) -> bool {
        let sum = |held: &BTreeMap<String, u128>| held.values().sum::<u128>();
        let after = |ledger| self.after.get(ledger).map(sum);
        self.before.iter().all(|(ledger, held)| after(ledger) == Some(sum(held)))
    }
}

impl Outcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::Refunded => "refunded",
            Self::Refused => "refused",
        }
    }
}

impl From<ContractState> for Outcome {
    fn from(state: ContractState) -> Self {
        match state {
            ContractState::Settled => Self::Committed,
            ContractState::Aborted => Self::Aborted,
            ContractState::Refunded => Self::Refunded,
            _ => Self::Refused,
        }
    }
}

impl From<Step> for ReportStep {
    fn from(step: Step) -> Self {
        let ledger = step.ledger.map(Into::into);
        Self { name: step.name, at: step.at, ledger, ok: step.ok, detail: step.detail }
    }
}

impl ReportStep {
    /// A step that the story itself takes, now.
    pub(crate) fn own(name: &str, detail: impl Into<String>) -> Self {
        let at = At(sofie_node::clock::now());
        Self { name: name.into(), at, ledger: None, ok: true, detail: detail.into() }
    }
}
