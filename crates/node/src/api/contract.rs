//! A contract: one paid actuation, from the offer to the receipt.

use serde::{Deserialize, Serialize};
use sofie_model::ruling::{Ruling, SignedRuling};
use sofie_model::{Account, LedgerId, Observation, Salt, SignedAttestation, ThingId, Txid, Value};
use utoipa::ToSchema;

use super::{Amount, At};

/// Asks for an actuation and offers to pay for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenContract {
    /// The party who asks and pays.
    pub renter: String,
    /// The thing that shall act.
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
    /// How long the capability is good for, once the decision has fallen: seconds.
    pub open_for_s: u64,
    /// The ledger that holds the money and the decision.
    #[schema(value_type = String)]
    pub ledger: LedgerId,
    /// The ledger that records the intention.
    #[schema(value_type = String)]
    pub record_ledger: LedgerId,
    /// What must be seen, and by whom, before the money moves.
    pub evidence: EvidenceRule,
    /// T_D: seconds from now until the transaction must be decided.
    pub decision_within_s: u64,
    /// T_E: seconds from now until the last instant at which an observation counts.
    pub evidence_within_s: u64,
    /// How long after T_E evidence may still be brought: seconds.
    pub submission_window_s: u64,
    /// What the owner stakes for the act, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<Penalty>,
    /// Who may overrule the evidence before it pays, if anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispute: Option<Dispute>,
    /// The client's name for this request, 1 to 128 visible ASCII characters: sent again under it, it begins nothing new.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

/// The observation that fulfils a contract, or those of several sensors of which so many must attest. The owner of each
/// thing signs for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRule {
    /// The witness: another owner's thing.
    #[schema(value_type = String)]
    pub thing: ThingId,
    /// Which of its properties.
    pub property: String,
    /// The value that fulfils.
    #[schema(value_type = serde_json::Value)]
    pub equals: Value,
    /// The party that signs for it, here or at a peer; needed for a thing that this node has not: its word is brought then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How many of the sensors must attest; needed where there are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u8>,
    /// The other sensors, each of another owner: 16 with the first at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Sensor>,
}

/// One more sensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Sensor {
    /// The witness: another owner's thing.
    #[schema(value_type = String)]
    pub thing: ThingId,
    /// Which of its properties.
    pub property: String,
    /// The value that fulfils.
    #[schema(value_type = serde_json::Value)]
    pub equals: Value,
    /// The party that signs for it, here or at a peer; needed for a thing that this node has not: its word is brought then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl EvidenceRule {
    /// The first sensor.
    pub(crate) fn first(&self) -> Sensor {
        let Self { thing, property, equals, by, .. } = self.clone();
        Sensor { thing, property, equals, by }
    }
}

/// What the owner stakes, in a second escrow: it is paid to who pays the price if the sensors attest, at T_E or later, that
/// what was agreed is not so. Without such a word the owner has it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Penalty {
    /// How much, on the ledger of the price.
    pub amount: Amount,
    /// Until when after T_E a sensor may show it: seconds.
    pub within_s: u64,
}

/// Who may overrule the evidence, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Dispute {
    /// A party here or at a peer, or an account as `0x…`: neither who pays, nor who is paid, nor who attests.
    pub arbiter: String,
    /// How long after the evidence was presented its ruling counts: seconds, no longer than the submission window.
    pub window_s: u64,
}

/// The arbiter of a contract, and what it could rule on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DisputeStatus {
    /// Whose ruling pays the renter back: a party's name, or an account that nobody here has a name for.
    pub arbiter: String,
    /// Its account.
    #[schema(value_type = String)]
    pub account: Account,
    /// How long a ruling counts: seconds.
    pub window_s: u64,
    /// The last second in which one counts, once the evidence is presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<At>,
    /// What the arbiter would sign to overrule the evidence, while it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub ruling: Option<Ruling>,
}

/// Claims that the evidence does not show what was agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Why, for the record and the arbiter: 1 to 512 characters.
    pub reason: String,
}

/// Overrules the evidence of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What the arbiter signed elsewhere; without it, this node signs by the arbiter's key, if that is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub ruling: Option<SignedRuling>,
}

/// Signs a ruling about a contract of other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignRuling {
    /// The arbiter: a party of this node, or its account.
    pub arbiter: String,
    /// What it overrules, as `ruling` of the contract's `dispute` tells it.
    #[schema(value_type = Object)]
    pub ruling: Ruling,
}

/// A penalty of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PenaltyStatus {
    /// How much.
    pub amount: Amount,
    /// `held`, `claimed`, `refused`, `returning`, `paid` (to who pays the price), `returned` (to the owner) or `stuck`.
    pub state: String,
    /// From then on what was agreed is missed.
    pub due: At,
    /// Nothing that is observed later shows it.
    pub until: At,
    /// From then on the owner may take it back.
    pub refund: At,
    /// What happens to it if nobody acts: a sentence for people.
    pub next: String,
}

/// One of several sensors of a contract, and what its owner has said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SensorStatus {
    /// The sensor.
    #[schema(value_type = String)]
    pub thing: ThingId,
    /// Which of its properties.
    pub property: String,
    /// Who signs for it: a party's name, or an account that nobody here has a name for.
    pub by: String,
    /// `silent`, `seen` (not signed yet), `attests` or `contradicts`.
    pub says: String,
}

/// Brings the signed word of a sensor's owner. It counts by its signature, whoever brings it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BringEvidence {
    /// What was signed (EIP-712), and the signature.
    #[schema(value_type = Object)]
    pub attestation: SignedAttestation,
    /// The reading that it is about, for the receipt; without it, the receipt shows no evidence for this word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<BroughtReading>,
}

/// A reading that an attestation is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BroughtReading {
    /// What was observed.
    #[schema(value_type = Object)]
    pub observation: Observation,
    /// What opens the attestation's digest: 64 hexadecimal digits.
    #[schema(value_type = String)]
    pub salt: Salt,
}

/// How far a contract is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContractState {
    /// One node has proposed it, the other has not agreed; nothing has begun.
    Proposed,
    /// The legs are being prepared; nothing has moved for good.
    Preparing,
    /// Decided: the payment is escrowed, the intention recorded.
    Committed,
    /// The escrow waits for evidence; the thing is to act.
    Armed,
    /// The thing has answered that it acted; the evidence is awaited.
    Actuated,
    /// The evidence is presented, and may be overruled by the arbiter; then it pays.
    Disputable,
    /// The evidence was there: the payee is paid. An end.
    Settled,
    /// No evidence came in time: the payer has its money back. An end.
    Refunded,
    /// The arbiter overruled the evidence: the payer has its money back. An end.
    Overruled,
    /// Decided not to happen: nothing moved. An end.
    Aborted,
    /// Refused before anything was prepared. An end.
    Refused,
    /// The other company's node, or its owner, did not agree. An end.
    Declined,
    /// Its own proposer took it back before it began. An end.
    Cancelled,
    /// Nobody agreed until its deadline. An end.
    Expired,
}

impl ContractState {
    /// Whether the contract goes nowhere from here.
    #[must_use]
    pub const fn is_end(self) -> bool {
        match self {
            Self::Proposed | Self::Preparing | Self::Committed | Self::Armed | Self::Actuated => false,
            Self::Disputable => false,
            Self::Settled | Self::Overruled | Self::Refunded | Self::Aborted | Self::Refused => true,
            Self::Declined | Self::Cancelled | Self::Expired => true,
        }
    }
}

/// The instants that a contract keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deadlines {
    /// T_D: decided by then.
    pub decision: At,
    /// T_E: observed by then.
    pub evidence: At,
    /// From then on the payer may take the money back.
    pub refund: At,
}

/// A contract as anybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Contract {
    /// The transaction's id: 64 hexadecimal digits.
    #[schema(value_type = String)]
    pub id: Txid,
    /// How far it is.
    pub state: ContractState,
    /// Why it was refused, aborted or refunded.
    pub reason: Option<String>,
    /// The thing that acts.
    #[schema(value_type = String)]
    pub thing: ThingId,
    /// The action.
    pub action: String,
    /// Who pays.
    pub renter: String,
    /// Who owns the thing, and is paid.
    pub owner: String,
    /// The price.
    pub price: Amount,
    /// What the outcome rests on (design, P7): `verified`, `quorum`, `swap-safe(…)`, `custodial`.
    pub label: String,
    /// Its instants.
    pub deadlines: Deadlines,
    /// What happens if nobody acts: a sentence for people.
    pub next: String,
    /// Its sensors and what their owners have said, where several are agreed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensors: Vec<SensorStatus>,
    /// What the owner stakes, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<PenaltyStatus>,
    /// Who may overrule the evidence, if anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispute: Option<DisputeStatus>,
    /// What has happened.
    pub steps: Vec<Step>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// Its number in this contract, from 1, without gaps.
    pub seq: u64,
    /// What: `offered`, `accepted`, `prepared`, `decided`, `applied`, `capability-issued`, `actuated`, `observed`,
    /// `attested`, `noted`, `settled`, `refunded`, `receipt`, ….
    pub name: String,
    /// When; where a ledger says so, by the ledger's clock.
    pub at: At,
    /// On which ledger, if on one.
    #[schema(value_type = Option<String>)]
    pub ledger: Option<LedgerId>,
    /// Whether it went as it should.
    pub ok: bool,
    /// A sentence for people.
    pub detail: String,
}
