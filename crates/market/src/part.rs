//! Whose contract it is here: one node may hold the keys of both sides, or of one.

use minicbor::{Decode, Encode};
use sofie_model::{Observation, Salt, SignedAttestation, Timestamp};

/// Which sides of a contract this node acts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Part {
    /// Payer and owner.
    #[default]
    #[n(0)]
    Both,
    /// The owner alone: it tells its device, and brings the evidence.
    #[n(1)]
    Owner,
    /// The payer alone: it looks at the ledger, takes the evidence that it is shown, and has the money paid back by time.
    #[n(2)]
    Payer,
}

/// What an owner's node says of a contract. What the device did is its word alone; the evidence counts by its signature.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(array)]
pub struct Report {
    /// When the device was about to be told.
    #[n(0)]
    pub told_at: Option<Timestamp>,
    /// What it answered, or why it was not told.
    #[n(1)]
    pub outcome: Option<String>,
    /// What was seen, by one sensor.
    #[n(2)]
    pub seen: Option<Seen>,
    /// What others saw, where several sensors are agreed on.
    #[n(3)]
    pub others: Option<Vec<Seen>>,
    /// What showed, once it was due, that it was not as agreed.
    #[n(4)]
    pub missed: Option<Vec<Seen>>,
}

/// An observation with its owner's word.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Seen {
    /// What the sensor reported.
    #[n(0)]
    pub observation: Observation,
    /// The salt of its digest.
    #[n(1)]
    pub salt: Salt,
    /// The signature over the digest.
    #[n(2)]
    pub attestation: SignedAttestation,
}

impl Report {
    /// What every sensor saw of which it tells.
    pub fn all_seen(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter().chain(self.others.iter().flatten())
    }

    /// The same, told with what these sensors saw.
    #[must_use]
    pub(crate) fn with_seen(
        self,
        all: impl IntoIterator<Item = Seen>,
        missed: impl IntoIterator<Item = Seen>,
    ) -> Self {
        let some = |all: Vec<_>| (!all.is_empty()).then_some(all);
        let mut all = all.into_iter();
        let (seen, others) = (all.next(), some(all.collect()));
        Self { seen, others, missed: some(missed.into_iter().collect()), ..self }
    }
}
