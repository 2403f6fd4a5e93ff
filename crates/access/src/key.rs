//! Ed25519 keys (RFC 8032): of owners who grant, and of holders who ask.

use std::{fmt, str::FromStr};

use biscuit_auth::{Algorithm, PrivateKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sofie_model::{Digest, digest::NotADigest};
use zeroize::Zeroizing;

use crate::Error;

/// The 32 bytes of an Ed25519 public key, as hexadecimal digits in text.
///
/// ```
/// use sofie_access::{PublicKey, SecretKey};
/// let key = SecretKey::generate()?.public();
/// assert_eq!(key.to_string().parse(), Ok(key));
/// # Ok::<(), sofie_access::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct PublicKey(#[n(0)] pub Digest);

impl PublicKey {
    /// Whether `signature` (R ‖ S) is this key's over `message`, by the strict rules: no small-order keys, no second
    /// form of a signature.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = VerifyingKey::from_bytes(self.0.as_bytes());
        let signature = Signature::from_slice(signature);
        matches!((key, signature), (Ok(key), Ok(signature)) if key.verify_strict(message, &signature).is_ok())
    }

    /// The first four bytes: the hint by which a token says whose root key signed it.
    pub(crate) fn hint(&self) -> u32 {
        let [a, b, c, d, ..] = *self.0.as_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    pub(crate) fn biscuit(&self) -> Option<biscuit_auth::PublicKey> {
        biscuit_auth::PublicKey::from_bytes(self.0.as_bytes(), Algorithm::Ed25519).ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        text.parse().map(Self)
    }
}

/// A private key. Its bytes are wiped when it is dropped, and never printed.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// From its 32 bytes (the seed of RFC 8032).
    #[must_use]
    pub fn from_bytes(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// A new one, from the operating system's randomness.
    ///
    /// # Errors
    /// [`Error::Randomness`] where the system has none.
    pub fn generate() -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|e| Error::Randomness { why: e.to_string() })?;
        Ok(Self::from_bytes(&seed))
    }

    /// The seed, to be kept in a file that only its owner can read.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(Digest(self.0.verifying_key().to_bytes()))
    }

    /// Signs `message`: R ‖ S, 64 bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).to_bytes().to_vec()
    }

    pub(crate) fn biscuit(&self) -> PrivateKey {
        PrivateKey::from_bytes(self.to_bytes().as_slice(), Algorithm::Ed25519)
            .expect("any 32 bytes are an Ed25519 seed")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(… of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_8032_test_1() {
        let hex = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60".parse::<Digest>();
        let key = SecretKey::from_bytes(&Zeroizing::new(hex.expect("64 digits").0));
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(key.public().to_string(), public);
        let signature = key.sign(b"");
        assert_eq!(signature[..4], [0xe5, 0x56, 0x43, 0x00]);
        assert!(key.public().verifies(b"", &signature));
        assert!(!key.public().verifies(b"x", &signature));
        assert!(!key.public().verifies(b"", &signature[..63]));
    }

    #[test]
    fn a_secret_key_is_not_printed() {
        let key = SecretKey::from_bytes(&Zeroizing::new([0x5a; 32]));
        assert!(!format!("{key:?}").contains("5a5a"));
    }
}
