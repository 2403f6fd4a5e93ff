//! Salted commitments: the only thing a ledger ever sees of data.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::Digest;

/// 256 random bits that keep a committed value from being guessed. Destroying it erases the value's trace.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Salt(#[n(0)] Digest);

impl Salt {
    /// Takes 32 random bytes from the caller: this room draws none.
    #[must_use]
    pub const fn new(random: [u8; 32]) -> Self {
        Self(Digest(random))
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}

/// The commitment to `payload` under `salt`.
///
/// ```
/// use sofie_model::{Salt, commitment};
/// let salt = Salt::new([7; 32]);
/// assert_ne!(commitment::commit(&salt, b"open"), commitment::commit(&salt, b"shut"));
/// ```
#[must_use]
pub fn commit(salt: &Salt, payload: &[u8]) -> Digest {
    Digest::of("sofie.commitment.v1", &[salt.as_bytes(), payload])
}
