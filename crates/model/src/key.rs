//! Public keys and signatures of secp256k1 (SEC 2, section 2.4.1) as manifests and decisions carry them.
//!
//! How a signature is made and read back is in [`crate::attestation`].

use std::{fmt, str::FromStr};

use k256::ecdsa::{SigningKey, VerifyingKey};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use serde::{Deserialize, Serialize};

use crate::attestation::{self, BadSignature};
use crate::{Account, Digest, id::BadName};

/// A public key in its compressed form (SEC 1, section 2.3.3): 2 or 3, then the x coordinate. Any 33 bytes fit;
/// [`crate::Manifest::check`] refuses those that are no point of the curve.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 33]);

/// r ‖ s ‖ v of secp256k1 over an EIP-712 digest: v is 27 or 28, s in the lower half (EIP-2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; 65]);

impl PublicKey {
    /// Whether the bytes are a point of the curve, so that a key may stand behind them.
    ///
    /// ```
    /// use sofie_model::PublicKey;
    /// assert!(!PublicKey([0; 33]).is_point());
    /// ```
    #[must_use]
    pub fn is_point(&self) -> bool {
        VerifyingKey::from_sec1_bytes(&self.0).is_ok()
    }

    /// The account of the same key; `None` when it is no point.
    #[must_use]
    pub fn account(&self) -> Option<Account> {
        VerifyingKey::from_sec1_bytes(&self.0).ok().as_ref().map(Account::from)
    }
}

impl From<&VerifyingKey> for PublicKey {
    fn from(key: &VerifyingKey) -> Self {
        let point = key.to_encoded_point(true);
        Self(point.as_bytes().try_into().expect("a compressed point has 33 bytes"))
    }
}

impl Signature {
    /// Signs a digest (RFC 6979: the same digest gives the same signature).
    #[must_use]
    pub fn by(key: &SigningKey, digest: Digest) -> Self {
        Self(attestation::sign(digest, key))
    }

    /// Whose key signed `digest`.
    ///
    /// # Errors
    /// [`BadSignature`], in every case in which the contracts refuse it too.
    pub fn signer(&self, digest: Digest) -> Result<Account, BadSignature> {
        attestation::recover(digest, &self.0)
    }
}

macro_rules! byte_string {
    ($name:ident, $len:literal, $what:literal, $rule:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| BadName {
                    what: $what,
                    rule: $rule,
                    got: text.chars().take(80).collect(),
                })?;
                Ok(Self(bytes))
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                d.bytes()?.try_into().map(Self).map_err(|_| decode::Error::message($rule))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

byte_string!(PublicKey, 33, "public key", "33 bytes, as 66 hexadecimal digits");
byte_string!(Signature, 65, "signature", "65 bytes, as 130 hexadecimal digits");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical;

    #[test]
    fn a_key_and_a_signature_have_one_text_and_one_encoding() {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let public = PublicKey::from(key.verifying_key());
        assert_eq!(public.account(), Some(Account::from(key.verifying_key())));
        assert_eq!(public.to_string().parse(), Ok(public));
        let signature = Signature::by(&key, Digest([1; 32]));
        assert_eq!(signature.signer(Digest([1; 32])), Ok(Account::from(key.verifying_key())));
        assert_eq!(signature.to_string().parse(), Ok(signature));
        assert_eq!(canonical::decode::<Signature>(&canonical::encode(&signature), 80), Ok(signature));
        assert!(canonical::decode::<PublicKey>(&canonical::encode(&signature), 80).is_err());
    }

    #[test]
    fn what_is_no_point_is_no_key() {
        let mut beyond = [0xff; 33];
        beyond[0] = 2;
        let mut uncompressed = [1; 33];
        uncompressed[0] = 4;
        for bytes in [[0; 33], beyond, uncompressed] {
            assert!(!PublicKey(bytes).is_point(), "{bytes:?}");
        }
    }
}
