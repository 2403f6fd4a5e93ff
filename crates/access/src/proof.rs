//! Proof of possession: the holder signs each request, so that a token that was seen on the way opens nothing.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sofie_model::{Digest, Timestamp, canonical};

use crate::{PublicKey, Request, SecretKey};

/// What the holder signs, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Claim {
    /// Keeps the signature from being anything else: [`DOMAIN`].
    #[n(0)]
    domain: String,
    /// Which door it is for.
    #[n(1)]
    audience: String,
    /// SHA-256 of the token.
    #[n(2)]
    token: Digest,
    /// [`Request::digest`].
    #[n(3)]
    request: Digest,
    /// Random, never twice.
    #[n(4)]
    nonce: Digest,
    /// When it was signed, by the holder's clock.
    #[n(5)]
    at: Timestamp,
}

/// The first field of what is signed.
pub const DOMAIN: &str = "sofie.possession.v1";

/// The holder's signature over one request to one door.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Proof {
    /// Random, never twice.
    #[n(0)]
    pub nonce: Digest,
    /// When it was signed, by the holder's clock.
    #[n(1)]
    pub at: Timestamp,
    /// Ed25519, R ‖ S.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: Vec<u8>,
}

/// Signs `request` for the door `audience`. The nonce is random, from the caller.
#[must_use]
pub fn sign(
    holder: &SecretKey,
    audience: &str,
    token: &[u8],
    request: &Request,
    nonce: Digest,
    at: Timestamp,
) -> Proof {
    let message = message(audience, token, request, nonce, at);
    Proof { nonce, at, signature: holder.sign(&message) }
}

impl Proof {
    /// Whether `holder` signed this request for this door with this token.
    #[must_use]
    pub fn verify(&self, holder: &PublicKey, audience: &str, token: &[u8], request: &Request) -> bool {
        let message = message(audience, token, request, self.nonce, self.at);
        holder.verifies(&message, &self.signature)
    }

    /// Names this proof in the door's memory of proofs it has seen.
    pub(crate) fn name(&self, holder: &PublicKey) -> Digest {
        Digest::of("sofie.possession-name.v1", &[holder.0.as_bytes(), self.nonce.as_bytes()])
    }
}

fn message(audience: &str, token: &[u8], request: &Request, nonce: Digest, at: Timestamp) -> Vec<u8> {
    canonical::encode(&Claim {
        domain: DOMAIN.to_owned(),
        audience: audience.to_owned(),
        token: Digest::sha256(token),
        request: request.digest(),
        nonce,
        at,
    })
}
