//! What notes on a record ledger are about, and what they commit to.

use sofie_model::{Digest, SignedAttestation, ThingId, Txid, canonical};

/// The topic of a thing's description: `Digest::of("sofie.topic.td.v1", id)`. The note's commitment is the
/// description's digest ([`description`]).
#[must_use]
pub fn thing(id: &ThingId) -> Digest {
    Digest::of("sofie.topic.td.v1", &[id.as_str().as_bytes()])
}

/// The digest of a Thing Description from its canonical text (RFC 8785), without what a directory adds to it.
#[must_use]
pub fn description(text: &str) -> Digest {
    Digest::of("sofie.thing-description.v1", &[text.as_bytes()])
}

/// The topic of a transaction's attestation: `Digest::of("sofie.topic.attestation.v1", txid)`. The note's commitment is
/// [`attested`].
#[must_use]
pub fn attestation(txid: Txid) -> Digest {
    Digest::of("sofie.topic.attestation.v1", &[txid.0.as_bytes()])
}

/// What the note about an attestation commits to: `Digest::of("sofie.attestation.v1", canonical(signed attestation))`.
#[must_use]
pub fn attested(signed: &SignedAttestation) -> Digest {
    Digest::of("sofie.attestation.v1", &[&canonical::encode(signed)])
}
