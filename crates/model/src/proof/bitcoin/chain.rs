//! Headers, their work and their clock; Merkle branches.

use minicbor::bytes::ByteVec;

use super::transaction::twice;
use super::{MAX_HEADERS, ensure};
use crate::Digest;

/// A header's bytes.
pub const HEADER_BYTES: usize = 80;
/// A block's clock is the median of so many headers' times, its own included (BIP 113).
pub const MEDIAN_OF: usize = 11;
/// No block has a deeper tree: 4 MB hold fewer than 2^17 transactions.
const MAX_BRANCH: usize = 17;

/// What a header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) hash: Digest,
    pub(super) root: Digest,
    parent: Digest,
    time: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let bytes: &[u8; HEADER_BYTES] =
            bytes.try_into().map_err(|_| format!("{} bytes, {HEADER_BYTES} are expected", bytes.len()))?;
        let word = |at: usize| Digest(bytes[at..at + 32].try_into().expect("32 bytes"));
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let header = Self { hash: twice(bytes), root: word(36), parent: word(4), time: number(68) };
        let target = target(number(72)).ok_or("its bits are no target")?;
        // Both are compared as printed, the most significant byte first.
        ensure(display(header.hash).0 <= target, || "it has less work than its bits ask for".into())?;
        Ok(header)
    }
}

/// The target of a header's bits, the most significant byte first (`SetCompact` of Bitcoin Core).
fn target(bits: u32) -> Option<[u8; 32]> {
    let (exponent, mantissa) = ((bits >> 24) as usize, bits & 0x00ff_ffff);
    if mantissa == 0 || bits & 0x0080_0000 != 0 || !(3..=32).contains(&exponent) {
        return None;
    }
    let mut target = [0; 32];
    let from = 32 - exponent;
    target[from..from + 3].copy_from_slice(&mantissa.to_be_bytes()[1..]);
    Some(target)
}

/// Each the next one's parent; an error names the first that is not.
pub(super) fn linked(headers: &[ByteVec]) -> Result<Vec<Header>, (usize, String)> {
    ensure(headers.len() <= MAX_HEADERS, || format!("{} are too many", headers.len()))
        .map_err(|why| (0, why))?;
    let mut linked: Vec<Header> = Vec::with_capacity(headers.len());
    for (at, bytes) in headers.iter().enumerate() {
        let header = Header::read(bytes).map_err(|why| (at, why))?;
        if linked.last().is_some_and(|before| before.hash != header.parent) {
            return Err((at, "its parent is another block".into()));
        }
        linked.push(header);
    }
    Ok(linked)
}

/// The block's median time past, in seconds; the first header has height `first`.
pub(super) fn clock(headers: &[Header], at: usize, first: u64) -> Result<u64, String> {
    let from = (at + 1).saturating_sub(MEDIAN_OF);
    ensure(at + 1 >= MEDIAN_OF || first == 0, || format!("{MEDIAN_OF} headers make a block's time"))?;
    let mut times: Vec<u32> = headers[from..=at].iter().map(|header| header.time).collect();
    times.sort_unstable();
    Ok(times[times.len() / 2].into())
}

/// Whether `leaf` stands at `index` under `root`.
pub(super) fn stands(leaf: Digest, index: u32, branch: &[Digest], root: Digest) -> Result<(), String> {
    ensure(climb(leaf, index, branch)? == root, || "it does not stand in its block".into())
}

/// The root over `leaf` at `index`.
pub(super) fn climb(leaf: Digest, index: u32, branch: &[Digest]) -> Result<Digest, String> {
    ensure(branch.len() <= MAX_BRANCH && u64::from(index) >> branch.len() == 0, || {
        format!("place {index} under {} levels", branch.len())
    })?;
    let up = |node: Digest, (level, other): (usize, &Digest)| match index >> level & 1 {
        0 => twice(&[node.0, other.0].concat()),
        _ => twice(&[other.0, node.0].concat()),
    };
    Ok(branch.iter().enumerate().fold(leaf, up))
}

/// The branch from the leaf at `index` to the root of a block's tree; an odd last node is paired with itself.
///
/// ```
/// use sofie_model::{Digest, proof::bitcoin::branch};
/// let leaves = [Digest([1; 32]), Digest([2; 32]), Digest([3; 32])];
/// assert_eq!(branch(&leaves, 2)[0], leaves[2]);
/// assert_eq!(branch(&leaves, 0).len(), 2);
/// ```
#[must_use]
pub fn branch(leaves: &[Digest], index: usize) -> Vec<Digest> {
    let mut level = leaves.to_vec();
    let (mut branch, mut at) = (Vec::new(), index);
    while level.len() > 1 {
        if level.len() % 2 == 1 {
            level.extend(level.last().copied());
        }
        branch.extend(level.get(at ^ 1).copied());
        level = level.chunks(2).map(|pair| twice(&[pair[0].0, pair[1].0].concat())).collect();
        at /= 2;
    }
    branch
}

/// A hash in the order in which everybody prints it.
#[must_use]
pub fn display(hash: Digest) -> Digest {
    let mut bytes = hash.0;
    bytes.reverse();
    Digest(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first block of Bitcoin's main chain.
    const FIRST: &str = concat!(
        "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f61",
        "7fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c",
    );

    #[test]
    fn a_well_known_header_has_its_hash_and_its_work() {
        let bytes = hex::decode(FIRST).unwrap();
        let header = Header::read(&bytes).unwrap();
        let name = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
        assert_eq!(display(header.hash).to_string(), name);
        for at in 0..HEADER_BYTES {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Header::read(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn targets_are_those_of_the_bits() {
        let first = |bits| target(bits).map(|bytes| bytes.iter().position(|byte| *byte != 0));
        assert_eq!(first(0x1d00_ffff), Some(Some(4)));
        assert_eq!(first(0x207f_ffff), Some(Some(0)));
        for bad in [0, 0x1d00_0000, 0x1d80_ffff, 0x2100_ffff, 0x0200_ffff] {
            assert_eq!(target(bad), None, "{bad:x}");
        }
    }

    #[test]
    fn every_leaf_of_every_tree_climbs_to_the_root() {
        for count in 1..=9_u8 {
            let leaves: Vec<Digest> = (0..count).map(|byte| Digest([byte; 32])).collect();
            let root = climb(leaves[0], 0, &branch(&leaves, 0)).unwrap();
            for (index, leaf) in (0..).zip(&leaves) {
                let branch = branch(&leaves, index as usize);
                assert_eq!(stands(*leaf, index, &branch, root), Ok(()), "{index} of {count}");
                assert!(stands(*leaf, index + 32, &branch, root).is_err());
                assert!(stands(Digest([0xee; 32]), index, &branch, root).is_err());
            }
        }
    }
}
