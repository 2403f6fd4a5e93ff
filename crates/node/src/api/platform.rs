//! Parties, and the platforms that they own.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sofie_model::{Account, LedgerId, ThingId};
use utoipa::ToSchema;

use super::Amount;

/// Joins a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinPlatform {
    /// The party who owns it.
    pub owner: String,
    /// Its protocol.
    pub kind: PlatformKind,
    /// Where it answers: `coap://…`, `mqtt://…`, or `http://…` of a servient, with the path of a Thing Description where it
    /// lists none, or of a oneM2M CSE, with the path of its base.
    #[schema(example = "coap://127.0.0.1:5683")]
    pub url: String,
    /// The owner's policy: actions that others may ask for, stated or inferred.
    #[serde(default)]
    pub allow: Vec<String>,
    /// The owner's policy: properties that may be written through this node, stated or inferred.
    #[serde(default)]
    pub allow_writes: Vec<String>,
    /// As whom a oneM2M CSE knows this node: the AE-ID or CSE-ID of its requests. No other kind has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub originator: Option<String>,
}

/// The protocols that the node's adapters speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlatformKind {
    /// CoAP (RFC 7252); described by its `/.well-known/core` links.
    Coap,
    /// MQTT 3.1.1 through a broker.
    Mqtt,
    /// W3C Web of Things over HTTP; described by its own Thing Descriptions.
    Wot,
    /// oneM2M over HTTP; described by what its CSE lets this node discover.
    Onem2m,
}

impl FromStr for PlatformKind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| format!("no kind is called {word:?}"))
    }
}

impl PlatformKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Coap, Self::Mqtt, Self::Wot, Self::Onem2m];

    /// The word that the configuration, the command line and the API have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coap => "coap",
            Self::Mqtt => "mqtt",
            Self::Wot => "wot",
            Self::Onem2m => "onem2m",
        }
    }

    /// The scheme of its addresses, and the port that one without a port means.
    #[must_use]
    pub const fn scheme(self) -> (&'static str, u16) {
        match self {
            Self::Coap => ("coap", 5683),
            Self::Mqtt => ("mqtt", 1883),
            Self::Wot | Self::Onem2m => ("http", 80),
        }
    }
}

/// A joined platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Platform {
    /// Its name in this node.
    pub id: String,
    /// The party who owns it.
    pub owner: String,
    /// Its protocol.
    pub kind: PlatformKind,
    /// Where it answers.
    pub url: String,
    /// The things that were found there.
    #[schema(value_type = Vec<String>)]
    pub things: Vec<ThingId>,
}

/// What introspection finds at a platform. Nothing of it is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Introspected {
    /// Its protocol.
    pub kind: PlatformKind,
    /// Where it answers.
    pub url: String,
    /// The Thing Descriptions that joining would register, with where each affordance comes from (`sofie:source`), how sure
    /// that is (`sofie:confidence`) and what could not be mapped (`sofie:unmapped`).
    #[schema(value_type = Vec<Object>)]
    pub things: Vec<serde_json::Value>,
}

/// What a joined platform tells of itself now, beside what it told when it was joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Probed {
    /// The platform's name in this node.
    pub platform: String,
    /// What differs; nothing where it is empty.
    pub drift: Vec<Drift>,
}

/// One thing, property or action that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drift {
    /// Of which thing.
    #[schema(value_type = String)]
    pub thing: ThingId,
    /// How it differs.
    pub kind: DriftKind,
    /// `property NAME` or `action NAME`; `null` for the whole thing.
    pub affordance: Option<String>,
    /// What it was, in words.
    pub was: Option<String>,
    /// What it is.
    pub is: Option<String>,
}

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DriftKind {
    /// It was not there.
    New,
    /// It is told of no longer. Of an MQTT broker: it was not heard.
    Missing,
    /// It is told of otherwise.
    Changed,
}

impl DriftKind {
    /// Its word in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Missing => "missing",
            Self::Changed => "changed",
        }
    }
}

/// A party whose keys this node holds, and what it has on each of the node's ledgers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holder {
    /// Its name in the configuration.
    pub name: String,
    /// Its account on value ledgers.
    #[schema(value_type = String, example = "0x00000000000000000000000000000000000000ff")]
    pub account: Account,
    /// On each ledger, in the order of their names.
    pub ledgers: Vec<Holding>,
}

/// What a party has on one ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holding {
    /// Which ledger.
    #[schema(value_type = String)]
    pub ledger: LedgerId,
    /// Where the party is paid, as the ledger's own tools write it; `null` where nobody is paid.
    pub address: Option<String>,
    /// What it holds; `null` when the ledger does not say.
    pub amount: Option<Amount>,
    /// What of that is coins which a next payment can use; `null` on a ledger that keeps accounts.
    pub coins: Option<FreeCoins>,
    /// What the party lacks to pay here, or why that cannot be said; `null` when nothing is missing.
    pub missing: Option<String>,
}

/// Confirmed coins that no payment under way uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FreeCoins {
    /// How many; each payment under way takes at least one.
    pub count: u64,
    /// What they are worth together.
    pub worth: Amount,
}

/// A party whose keys this node holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Party {
    /// Its name in the configuration.
    pub name: String,
    /// Its account on value ledgers.
    #[schema(value_type = String, example = "0x00000000000000000000000000000000000000ff")]
    pub account: Account,
}
