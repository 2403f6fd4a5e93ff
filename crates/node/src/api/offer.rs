//! Offers: what one company's node has for sale, and what another's agrees to.

use serde::{Deserialize, Serialize};
use sofie_model::{Digest, LedgerId, ThingId};
use utoipa::ToSchema;

use super::{Amount, At, Dispute, EvidenceRule, Penalty};

/// Offers an actuation to the owners of other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishOffer {
    /// The thing that acts. Its owner is paid.
    #[schema(value_type = String)]
    pub thing: ThingId,
    /// The action's name in its Thing Description.
    pub action: String,
    /// The action's input, as its Thing Description wants it.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<serde_json::Value>,
    /// The price.
    pub price: Amount,
    /// The ledger that holds the money and the decision. Both nodes must reach it, and call it so.
    #[schema(value_type = String)]
    pub ledger: LedgerId,
    /// What must be seen, and by whom, before the money moves.
    pub evidence: EvidenceRule,
    /// Seconds from the agreement until the transaction must be decided, a person's word included.
    pub decision_within_s: u64,
    /// Seconds from then until the last instant at which an observation counts.
    pub evidence_within_s: u64,
    /// How long after that evidence may still be brought: seconds.
    pub submission_window_s: u64,
    /// What the owner stakes, if anything: it counts against `automatic` of the peer who takes the offer up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<Penalty>,
    /// Who may overrule the evidence before it pays, if anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispute: Option<Dispute>,
    /// How long the offer stands: seconds from now.
    pub valid_for_s: u64,
    /// Which peers may see it; left out: all of them.
    #[serde(default)]
    pub to: Vec<String>,
    /// A person here decides about each contract; else the offer is the owner's word.
    #[serde(default)]
    pub ask: bool,
}

/// An offer of this node or of a peer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Offer {
    /// The digest of what it says: 64 hexadecimal digits.
    #[schema(value_type = String)]
    pub id: Digest,
    /// The peer who offers it; absent for this node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The thing that acts.
    #[schema(value_type = String)]
    pub thing: ThingId,
    /// The action.
    pub action: String,
    /// Its input: JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<serde_json::Value>,
    /// Who is paid.
    pub owner: String,
    /// The price.
    pub price: Amount,
    /// The ledger that holds the money and the decision.
    #[schema(value_type = String)]
    pub ledger: LedgerId,
    /// What must be seen.
    pub evidence: EvidenceRule,
    /// Whose signature counts: a party's name, or an account that nobody here has a name for; `2 of a, b, c` where several
    /// sensors are named.
    pub evidence_by: String,
    /// Seconds from the agreement until the transaction must be decided.
    pub decision_within_s: u64,
    /// Seconds from then until the last instant at which an observation counts.
    pub evidence_within_s: u64,
    /// How long after that evidence may still be brought: seconds.
    pub submission_window_s: u64,
    /// What the owner stakes, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<Penalty>,
    /// Who may overrule the evidence before it pays, if anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispute: Option<Dispute>,
    /// Nobody can agree to it after this.
    pub until: At,
    /// Which peers may see it; none named: all. Told of this node's own only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Whether a person decides about each contract. Told of this node's own only.
    #[serde(default)]
    pub ask: bool,
}

/// What is for sale here, and at the peers that answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Offers {
    /// This node's own first.
    pub offers: Vec<Offer>,
    /// The peers that did not answer, and why.
    pub silent: Vec<String>,
}

/// Takes up an offer of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgreeToOffer {
    /// The party of this node who pays.
    pub payer: String,
    /// The client's name for this request, 1 to 128 visible ASCII characters: sent again under it, it begins nothing new.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}
