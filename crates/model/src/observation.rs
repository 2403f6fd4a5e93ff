//! What an adapter makes of a message: one property of one thing had one value at one time.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Digest, Quantity, Salt, ThingId, Timestamp, canonical};

/// One reading, as the adapter's binding understood it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Observation {
    /// Whose property.
    #[n(0)]
    pub thing: ThingId,
    /// The property's name in the Thing Description.
    #[n(1)]
    pub property: String,
    /// What was read.
    #[n(2)]
    pub quantity: Quantity,
    /// When the device says it was so, or else when the message arrived.
    #[n(3)]
    pub observed_at: Timestamp,
    /// Names the message: the same message read twice is one observation.
    #[n(4)]
    pub message_id: Digest,
    /// The platform kept this message from an earlier time (MQTT retain flag). Never evidence.
    #[n(5)]
    pub retained: bool,
}

impl Observation {
    /// H(thing, property, value, salt): what an attestation and a ledger show of this observation.
    #[must_use]
    pub fn digest(&self, salt: &Salt) -> Digest {
        Digest::of(
            "sofie.observation.v1",
            &[
                self.thing.as_str().as_bytes(),
                self.property.as_bytes(),
                &canonical::encode(&self.quantity),
                salt.as_bytes(),
            ],
        )
    }
}
