//! Instants and money as JSON carries them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sofie_model::Timestamp;
use utoipa::ToSchema;

/// An instant: RFC 3339, UTC, milliseconds.
///
/// ```
/// use sofie_model::Timestamp;
/// use sofie_node::api::At;
/// let at = At(Timestamp::from_millis(1_764_022_698_007));
/// assert_eq!(serde_json::to_string(&at)?, r#""2025-11-24T22:18:18.007Z""#);
/// assert_eq!(serde_json::from_str::<At>(r#""2025-11-24T23:18:18.007+01:00""#)?, at);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-24T22:18:18.007Z")]
pub struct At(pub Timestamp);

/// An amount in the ledger's smallest unit: a decimal text.
///
/// ```
/// use sofie_node::api::Amount;
/// assert_eq!("1000000000000000000".parse(), Ok(Amount(10u128.pow(18))));
/// assert!("1.5".parse::<Amount>().is_err() && "+1".parse::<Amount>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, ToSchema)]
#[schema(value_type = String, pattern = "^[0-9]{1,39}$", example = "1000000000000000000")]
pub struct Amount(pub u128);

/// A text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not an amount: digits alone, in the ledger's smallest unit, less than 2^128")]
pub struct NotAnAmount {
    /// The text, cut to 80 characters.
    pub got: String,
}

impl From<Timestamp> for At {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX);
        let instant = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{instant:.3}")
    }
}

impl FromStr for At {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let instant: jiff::Timestamp = text.parse()?;
        let millis = u64::try_from(instant.as_millisecond()).unwrap_or(0);
        Ok(Self(Timestamp::from_millis(millis)))
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Amount {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(amount) if digits => Ok(Self(amount)),
            _ => Err(NotAnAmount { got: text.chars().take(80).collect() }),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
