//! What SOFIE writes into an OP_RETURN output: four bytes that say that it is SOFIE's, and a digest.
//!
//! The digest alone: a stranger learns that a transaction of SOFIE's was here, not which. Who knows the manifest
//! computes the mark and finds it (docs/specs/inter-ledger.md, "Bitcoin").

use crate::{Digest, LegId, Txid};

/// The first bytes of every mark; the last is the layout's version.
pub const PREFIX: [u8; 4] = *b"SOF\x01";
/// A mark's bytes.
pub const MARK_BYTES: usize = 36;

/// OP_RETURN, then a push of exactly a mark.
const SCRIPT_HEAD: [u8; 2] = [0x6a, MARK_BYTES as u8];

/// The bytes of an OP_RETURN output of SOFIE's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub [u8; MARK_BYTES]);

impl Mark {
    /// Beside a hashlock leg's lock.
    #[must_use]
    pub fn lock(txid: Txid, leg: LegId) -> Self {
        Self::of("sofie.bitcoin.lock.v1", &[txid.0.as_bytes(), &leg.0.to_be_bytes()])
    }

    /// A record leg's entry: inert until COMMIT stands on D.
    #[must_use]
    pub fn record(txid: Txid, leg: LegId, commitment: Digest) -> Self {
        let parts: [&[u8]; 3] = [txid.0.as_bytes(), &leg.0.to_be_bytes(), commitment.as_bytes()];
        Self::of("sofie.bitcoin.record.v1", &parts)
    }

    /// What closes a record leg's entry: the word of whoever drove the leg.
    #[must_use]
    pub fn closed(txid: Txid, leg: LegId, applied: bool) -> Self {
        let parts: [&[u8]; 3] = [txid.0.as_bytes(), &leg.0.to_be_bytes(), &[u8::from(applied)]];
        Self::of("sofie.bitcoin.closed.v1", &parts)
    }

    /// A note that stands outside any transaction.
    #[must_use]
    pub fn note(topic: Digest, commitment: Digest) -> Self {
        Self::of("sofie.bitcoin.note.v1", &[topic.as_bytes(), commitment.as_bytes()])
    }

    fn of(domain: &str, parts: &[&[u8]]) -> Self {
        let mut bytes = [0; MARK_BYTES];
        bytes[..4].copy_from_slice(&PREFIX);
        bytes[4..].copy_from_slice(Digest::of(domain, parts).as_bytes());
        Self(bytes)
    }

    /// The output script that holds it.
    ///
    /// ```
    /// use sofie_model::{Digest, proof::bitcoin::Mark};
    /// let mark = Mark::note(Digest::ZERO, Digest::ZERO);
    /// assert_eq!(Mark::read(&mark.script()), Some(mark));
    /// ```
    #[must_use]
    pub fn script(&self) -> Vec<u8> {
        [SCRIPT_HEAD.as_slice(), &self.0].concat()
    }

    /// The mark that an output script holds, if it is one.
    #[must_use]
    pub fn read(script: &[u8]) -> Option<Self> {
        let bytes: [u8; MARK_BYTES] = script.strip_prefix(&SCRIPT_HEAD)?.try_into().ok()?;
        bytes.starts_with(&PREFIX).then_some(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_leg_and_content_has_a_mark_of_its_own() {
        let txid = |byte| Txid(Digest([byte; 32]));
        let marks = [
            Mark::lock(txid(1), LegId(0)),
            Mark::lock(txid(1), LegId(1)),
            Mark::lock(txid(2), LegId(0)),
            Mark::record(txid(1), LegId(0), Digest::ZERO),
            Mark::record(txid(1), LegId(0), Digest([1; 32])),
            Mark::closed(txid(1), LegId(0), true),
            Mark::closed(txid(1), LegId(0), false),
            Mark::note(Digest::ZERO, Digest::ZERO),
        ];
        let different: std::collections::BTreeSet<_> = marks.iter().collect();
        assert_eq!(different.len(), marks.len());
        assert!(marks.iter().all(|mark| Mark::read(&mark.script()) == Some(*mark)));
    }

    #[test]
    fn other_scripts_hold_none() {
        let script = Mark::note(Digest::ZERO, Digest::ZERO).script();
        let longer = [script.as_slice(), &[0]].concat();
        let foreign = [&[0x6a, 36][..], &[7; 36]].concat();
        for other in [&script[..37], &longer, &foreign, &[]] {
            assert_eq!(Mark::read(other), None);
        }
    }
}
