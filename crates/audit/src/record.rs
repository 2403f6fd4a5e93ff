//! One line of the audit log.

use minicbor::{Decode, Encode};
use serde::Serialize;
use sofie_model::{Digest, Evidence, LedgerId, Position, Timestamp, canonical};

/// A longer encoded record is refused when it is read.
pub const MAX_RECORD: usize = 8 * 1024;
/// A longer detail is cut when a record is made, in characters.
pub const MAX_DETAIL: usize = 1024;
/// A longer actor or kind is cut when a record is made, in characters.
pub const MAX_NAME: usize = 128;

/// What is to be recorded; [`crate::Chain::append`] links it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What it is about: a txid, or the digest of what was refused.
    pub subject: Digest,
    /// What happened, in the words of the timeline: `prepared`, `decided`, `actuated`, `refused`, ….
    pub kind: String,
    /// Who did it.
    pub actor: String,
    /// On which ledger.
    pub ledger: Option<LedgerId>,
    /// Whether it went as it should. A refusal is a record, too, with `false`.
    pub ok: bool,
    /// A sentence for people.
    pub detail: String,
}

/// A linked record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Record {
    /// Place in the chain, from 0.
    #[n(0)]
    pub seq: u64,
    /// By the node's clock.
    #[n(1)]
    pub at: Timestamp,
    /// What it is about.
    #[n(2)]
    pub subject: Digest,
    /// What happened.
    #[n(3)]
    pub kind: String,
    /// Who did it.
    #[n(4)]
    pub actor: String,
    /// On which ledger.
    #[n(5)]
    pub ledger: Option<LedgerId>,
    /// Whether it went as it should.
    #[n(6)]
    pub ok: bool,
    /// A sentence for people.
    #[n(7)]
    pub detail: String,
    /// The hash of the record before it; [`Digest::ZERO`] before the first.
    #[n(8)]
    pub previous: Digest,
}

impl Draft {
    /// A record by the node itself.
    #[must_use]
    pub fn about(subject: Digest, kind: &str, ok: bool, detail: impl Into<String>) -> Self {
        let actor = "node".to_owned();
        Self { subject, kind: kind.to_owned(), actor, ledger: None, ok, detail: detail.into() }
    }

    /// A record of what a ledger holds.
    #[must_use]
    pub fn on_ledger(subject: Digest, kind: &str, evidence: &Evidence) -> Self {
        let Position { height, index, .. } = evidence.position;
        let detail = format!("at height {height}, index {index}");
        Self { ledger: Some(evidence.ledger.clone()), ..Self::about(subject, kind, true, detail) }
    }

    /// The same, done by `actor`.
    #[must_use]
    pub fn by(mut self, actor: impl Into<String>) -> Self {
        self.actor = actor.into();
        self
    }
}

impl Record {
    /// What the record says, without its link: enough for a reader of its neighbours, and nothing of its content.
    #[must_use]
    pub fn body(&self) -> Digest {
        let mut unlinked = canonical::encode(self);
        // The link is the record's last field, and a digest ends with its bytes.
        let link = unlinked.len() - Digest::ZERO.as_bytes().len();
        unlinked[link..].fill(0);
        Digest::of("sofie.audit-body.v1", &[&unlinked])
    }

    /// What the next record links to.
    #[must_use]
    pub fn hash(&self) -> Digest {
        link(&self.previous, &self.body())
    }

    /// For storage.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// From storage.
    ///
    /// # Errors
    /// [`canonical::Error`] says what is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, canonical::Error> {
        canonical::decode(bytes, MAX_RECORD)
    }
}

/// The hash of a record, from its link and its body.
pub(crate) fn link(previous: &Digest, body: &Digest) -> Digest {
    Digest::of("sofie.audit.v1", &[previous.as_bytes(), body.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_record_without_its_link() {
        let of = |previous| Record {
            seq: 3,
            at: Timestamp::from_seconds(5),
            subject: Digest([1; 32]),
            kind: "prepared".into(),
            actor: "node".into(),
            ledger: "evm".parse().ok(),
            ok: true,
            detail: "at height 1".into(),
            previous,
        };
        let expected = Digest::of("sofie.audit-body.v1", &[&canonical::encode(&of(Digest::ZERO))]);
        assert_eq!((of(Digest::ZERO).body(), of(Digest([7; 32])).body()), (expected, expected));
    }
}
