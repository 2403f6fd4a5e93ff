//! Every stored value carries a checksum over itself and its place, because SQLite has none: a flipped bit must not
//! become another input. It is no signature: who may write the file may write checksums too.

use sofie_model::Digest;

/// How many bytes of the digest are kept: 2^-64 that a damaged value passes.
const LENGTH: usize = 8;

/// `bytes` with the checksum behind them. `place` names table, key and all columns beside the value.
pub(super) fn seal(place: &[&[u8]], bytes: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(bytes.len() + LENGTH);
    sealed.extend_from_slice(bytes);
    sealed.extend_from_slice(&checksum(place, bytes));
    sealed
}

/// The value without its checksum; `None` when it is not what was stored at this place.
pub(super) fn open(place: &[&[u8]], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let kept = sealed.split_off(sealed.len().checked_sub(LENGTH)?);
    (kept == checksum(place, &sealed)).then_some(sealed)
}

fn checksum(place: &[&[u8]], bytes: &[u8]) -> [u8; LENGTH] {
    let parts: Vec<&[u8]> = place.iter().copied().chain([bytes]).collect();
    let digest = Digest::of("sofie.journal.v1", &parts);
    let mut short = [0; LENGTH];
    short.copy_from_slice(&digest.as_bytes()[..LENGTH]);
    short
}
