//! Names. Each is a type of its own, checked when it is made, so that one cannot stand for another.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use serde::{Deserialize, Serialize};

use crate::Digest;

/// The name of an inter-ledger transaction: a digest of its manifest ([`crate::Manifest::txid`]). Every record of the
/// transaction on every ledger carries it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Txid(#[n(0)] pub Digest);

impl fmt::Display for Txid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Txid {
    type Err = crate::digest::NotADigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A leg by its place in the manifest, from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct LegId(#[n(0)] pub u16);

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leg {}", self.0)
    }
}

/// A text that breaks the rule of the name it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not a {what}: {rule}")]
pub struct BadName {
    /// What it was meant to be.
    pub what: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
    /// The text, cut to 80 characters.
    pub got: String,
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) {
                    Ok(Self(text))
                } else {
                    Err(BadName { what: $what, rule: $rule, got: text.chars().take(80).collect() })
                }
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                Self::try_from(d.str()?.to_owned()).map_err(decode::Error::custom)
            }
        }
    };
}

text_name!(
    /// A ledger, as the configuration names it: `evm`, `calendar`, `anvil`.
    LedgerId,
    "ledger name",
    "1 to 32 of a-z, 0-9 and '-', a letter first",
    |text| {
        (1..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

text_name!(
    /// A thing: the `id` of its Thing Description, a URI (TD 1.1, section 5.3.1.1).
    ThingId,
    "thing id",
    "a URI of at most 256 printable ASCII characters with a scheme",
    |text| {
        text.len() <= 256
            && text.bytes().all(|b| b.is_ascii_graphic())
            && text.split_once(':').is_some_and(|(scheme, rest)| {
                !rest.is_empty()
                    && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            })
    }
);

/// A party on value ledgers: the last 20 bytes of the Keccak-256 of its secp256k1 public key (Ethereum's account).
///
/// ```
/// use sofie_model::Account;
/// let account: Account = "0x00000000000000000000000000000000000000ff".parse()?;
/// assert_eq!(account.to_string(), "0x00000000000000000000000000000000000000ff");
/// # Ok::<(), sofie_model::id::BadName>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Account(pub [u8; 20]);

impl Account {
    /// Nobody: where a term allows the absence of a party.
    pub const ZERO: Self = Self([0; 20]);
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Account {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let mut bytes = [0; 20];
        match text.strip_prefix("0x").map(|digits| hex::decode_to_slice(digits, &mut bytes)) {
            Some(Ok(())) => Ok(Self(bytes)),
            _ => Err(BadName {
                what: "account",
                rule: "0x and 40 hexadecimal digits",
                got: text.chars().take(80).collect(),
            }),
        }
    }
}

impl<C> Encode<C> for Account {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Account {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.bytes()?.try_into().map(Self).map_err(|_| decode::Error::message("an account has 20 bytes"))
    }
}

impl Serialize for Account {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_rules() {
        for (text, good) in
            [("evm", true), ("a-1", true), ("", false), ("Evm", false), ("1a", false), ("a b", false)]
        {
            assert_eq!(text.parse::<LedgerId>().is_ok(), good, "{text}");
        }
        for (text, good) in
            [("urn:dev:1", true), ("coap://h/x", true), ("x", false), (":x", false), ("a: b", false)]
        {
            assert_eq!(text.parse::<ThingId>().is_ok(), good, "{text}");
        }
    }
}
