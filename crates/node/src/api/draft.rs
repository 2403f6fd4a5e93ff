//! A transaction as a user asks for it: names in place of keys, spans in place of instants. The node makes the manifest.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sofie_model::{LedgerId, Span, Timestamp};
use utoipa::ToSchema;

use super::{Amount, At};
use crate::config::span;

/// The longest key of a request, in bytes.
pub const MAX_KEY: usize = 128;
/// The longest payload of a record leg, in bytes of its canonical JSON (RFC 8785).
pub const MAX_PAYLOAD: usize = 16 * 1024;

/// Asks for an inter-ledger transaction. Everything that it leaves out the node fills in.
///
/// ```
/// use sofie_node::api::{Draft, LegKind};
/// let draft: Draft = serde_json::from_str(r#"{
///     "deadline": "20s",
///     "legs": [
///         { "ledger": "evm", "kind": "transfer", "from": "alice", "to": "bob", "amount": "1000" },
///         { "ledger": "calendar", "kind": "record", "payload": "paid" }
///     ]
/// }"#)?;
/// assert_eq!((draft.legs.len(), draft.legs[1].kind), (2, LegKind::Record));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// A name of the client's own for this request: sent again, it begins nothing new. The same as the header
    /// `Idempotency-Key`. 1 to 128 visible ASCII characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// One for each ledger that takes part; 1 to 64.
    pub legs: Vec<DraftLeg>,
    /// How many legs make a commit.
    #[serde(default)]
    pub rule: DraftRule,
    /// The decision ledger D. Without it: where a contract checks the decision, else the first ledger that can decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub decision: Option<LedgerId>,
    /// The most that the decision may cost in fees; without it, the ledger's `fee_limit` in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_fee_limit: Option<Amount>,
    /// T_D: no COMMIT later than this.
    #[schema(value_type = String, example = "30s")]
    pub deadline: When,
    /// How long after T_D a claim that was seen may still be decided; only with a hashlock leg. Without it: the
    /// shortest that is safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "60s")]
    pub grace: Option<For>,
    /// Who must agree by releasing a secret, and may abort, by name. Without it: everybody who pays or is paid, and the
    /// operator where nobody is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub participants: Vec<String>,
}

/// One leg of a draft. Which fields belong to it depends on its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DraftLeg {
    /// Where.
    #[schema(value_type = String)]
    pub ledger: LedgerId,
    /// What.
    pub kind: LegKind,
    /// Who pays. Not for a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Who is paid. Not for a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How much. Not for a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// What a record says: any JSON. The ledger sees a salted commitment to it only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub payload: Option<serde_json::Value>,
    /// Whose word an escrow pays for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<DraftEvidence>,
    /// T_p of a hashlock: from then on its payer may take it back. Without it: the earliest that is safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "60s")]
    pub timelock: Option<When>,
    /// Whose secret alone opens a hashlock, as in an ILP packet. Without it: everybody's are needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<DraftOpener>,
    /// When the ledger's facts must count as final: `instant`, `finalized`, `safe` or `depth:N`, as the ledger is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finality: Option<String>,
    /// Under a rule of k: whether nothing happens without this leg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// The most that one ledger transaction of this leg may cost in fees; without it, the ledger's `fee_limit` in the
    /// configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_limit: Option<Amount>,
}

/// What a leg does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LegKind {
    /// Pays at COMMIT.
    Transfer,
    /// Armed at COMMIT: pays when the evidence is brought in time, else pays back.
    Escrow,
    /// Pays whoever shows its secrets before a time; at most one leg of a transaction.
    Hashlock,
    /// Records a commitment to data.
    Record,
}

/// Who opens a hashlock alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DraftOpener {
    /// Who is paid.
    Claimant,
}

/// How many legs make a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DraftRule {
    /// Every leg.
    #[default]
    All,
    /// Every required leg, and this many in all.
    AtLeast(u16),
}

/// What an escrow waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DraftEvidence {
    /// The party whose signature counts; neither who pays nor who is paid.
    pub by: String,
    /// Other parties, each with a sensor of its own; 16 with the first at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// How many of them all must sign; needed where there are others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u8>,
    /// T_E: nothing that is observed later counts.
    #[schema(value_type = String, example = "60s")]
    pub until: When,
    /// How long after T_E the signature may still be brought.
    #[serde(default)]
    #[schema(value_type = String, example = "10s")]
    pub window: For,
    /// Who may overrule it, and for how long: the escrow must then be on a ledger that runs contracts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispute: Option<DraftDispute>,
}

/// Who may overrule an escrow's evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DraftDispute {
    /// A party here or at a peer, or an account as `0x…`: neither who pays, nor who is paid, nor who attests.
    pub arbiter: String,
    /// How long after the evidence was presented a ruling counts: whole seconds, shorter than the evidence's window.
    #[schema(value_type = String, example = "10s")]
    pub window: For,
}

/// An instant, or how long from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// From the moment at which the node takes the draft.
    In(Span),
    /// At this instant.
    At(Timestamp),
}

/// A span of time: `250ms`, `2s`, `5m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct For(pub Span);

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not {wanted}")]
pub struct NotATime {
    /// The text, cut to 80 characters.
    pub got: String,
    /// What was expected.
    pub wanted: &'static str,
}

impl FromStr for When {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        const WANTED: &str = "a span such as \"30s\", or an instant such as \"2026-11-24T22:18:18Z\"";
        let at = |text: &str| text.parse().map(|At(at)| Self::At(at)).ok();
        span(text).map(Self::In).or_else(|| at(text)).ok_or_else(|| not_a_time(text, WANTED))
    }
}

impl FromStr for For {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        span(text)
            .map(Self)
            .ok_or_else(|| not_a_time(text, "a span such as \"250ms\", \"2s\", \"5m\" or \"1h\""))
    }
}

fn not_a_time(text: &str, wanted: &'static str) -> NotATime {
    NotATime { got: text.chars().take(80).collect(), wanted }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(span) => For(*span).fmt(f),
            Self::At(at) => At(*at).fmt(f),
        }
    }
}

impl fmt::Display for For {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0.as_millis())
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

as_text!(When);
as_text!(For);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_one_text_that_reads_back() {
        let at = When::At(Timestamp::from_millis(1_764_022_698_007));
        for (text, when) in [
            ("250ms", When::In(Span::from_millis(250))),
            ("2s", When::In(Span::from_seconds(2))),
            ("1h", When::In(Span::from_seconds(3600))),
            ("2025-11-24T22:18:18.007Z", at),
        ] {
            assert_eq!(text.parse(), Ok(when));
            assert_eq!(when.to_string().parse(), Ok(when));
        }
        for text in ["", "soon", "5", "-1s", "1.5s", "99999999999999999999s", "2025-13-01T00:00:00Z"] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }
}
