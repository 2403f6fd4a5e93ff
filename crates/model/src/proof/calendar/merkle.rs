//! Merkle trees over a log: hashes (RFC 6962, section 2.1), inclusion proofs (section 2.1.1) and consistency proofs
//! (section 2.1.2), checked as RFC 9162 writes it down (sections 2.1.3.2 and 2.1.4.2).
//!
//! [`Tree`] makes the proofs. It keeps the hash of every complete subtree, two a leaf, so that an append costs one hash
//! on average, and a root or a proof of any earlier size a number that grows with the logarithm of the size.

use sha2::{Digest as _, Sha256};

use crate::Digest;

/// No path is longer: a size has 64 bits.
pub const MAX_PATH: usize = 64;

/// The hash of a leaf: SHA-256(0x00 ‖ leaf).
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest(Sha256::new_with_prefix([0]).chain_update(leaf).finalize().into())
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: Digest, right: Digest) -> Digest {
    Digest(Sha256::new_with_prefix([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// The root of no leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Digest {
    Digest::sha256(&[])
}

/// The root of a tree of `size` leaves in which `leaf` stands at `index` by `path`; nothing when the path has another
/// length than such a tree has there.
///
/// ```
/// use sofie_model::proof::calendar::merkle::{Tree, included_root, leaf_hash};
/// let leaves: Vec<_> = [b"a", b"b", b"c"].map(|text| leaf_hash(text)).into();
/// let tree: Tree = leaves.iter().copied().collect();
/// let path = tree.inclusion(1, 3).unwrap();
/// assert_eq!(included_root(1, 3, leaves[1], &path), tree.root(3));
/// assert_ne!(included_root(1, 3, leaves[0], &path), tree.root(3));
/// ```
#[must_use]
pub fn included_root(index: u64, size: u64, leaf: Digest, path: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(*sibling, hash);
            // A right edge without a sibling on these levels: the node rises.
            let rise = place.trailing_zeros();
            (place, last) = (place >> rise, last >> rise);
        } else {
            hash = node_hash(hash, *sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    (last == 0).then_some(hash)
}

/// Whether a tree of `size` leaves with `root` goes on from one of `old_size` leaves with `old_root`.
#[must_use]
pub fn is_consistent(old_size: u64, size: u64, old_root: Digest, root: Digest, path: &[Digest]) -> bool {
    if old_size == 0 || old_size >= size {
        let same = old_size == size && old_root == root;
        let from_nothing = old_size == 0 && old_root == empty_root();
        return path.is_empty() && (same || from_nothing);
    }
    let start = if old_size.is_power_of_two() { Some(old_root) } else { None };
    let mut nodes = start.into_iter().chain(path.iter().copied());
    let Some(first) = nodes.next() else { return false };
    let rise = (old_size - 1).trailing_ones();
    let (mut place, mut last) = ((old_size - 1) >> rise, (size - 1) >> rise);
    let (mut old, mut new) = (first, first);
    for node in nodes {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            (old, new) = (node_hash(node, old), node_hash(node, new));
            let rise = if place == 0 { 0 } else { place.trailing_zeros() };
            (place, last) = (place >> rise, last >> rise);
        } else {
            new = node_hash(new, node);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && old == old_root && new == root
}

/// An append-only tree, with every root and proof of its past.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// `levels[k][i]`: the hash of leaves `i·2^k ..(i+1)·2^k`, all of which are there.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Appends a leaf by its hash.
    pub fn append(&mut self, leaf: Digest) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let nodes = &mut self.levels[level];
            nodes.push(hash);
            match nodes[..] {
                [.., left, right] if nodes.len().is_multiple_of(2) => hash = node_hash(left, right),
                _ => return,
            }
        }
    }

    /// The hash of the leaf at `index`.
    #[must_use]
    pub fn leaf(&self, index: u64) -> Option<Digest> {
        self.levels.first()?.get(usize::try_from(index).ok()?).copied()
    }

    /// The root when there were `size` leaves; nothing for more than there are.
    #[must_use]
    pub fn root(&self, size: u64) -> Option<Digest> {
        (size <= self.size()).then(|| self.hash(0, size))
    }

    /// The path of leaf `index` in the tree of `size` leaves.
    #[must_use]
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Digest>> {
        (index < size && size <= self.size()).then(|| {
            let (mut start, mut end, mut path) = (0, size, Vec::new());
            while end - start > 1 {
                let middle = start + split(end - start);
                if index < middle {
                    path.push(self.hash(middle, end));
                    end = middle;
                } else {
                    path.push(self.hash(start, middle));
                    start = middle;
                }
            }
            path.reverse();
            path
        })
    }

    /// The proof that the tree of `size` leaves goes on from the one of `old_size`.
    #[must_use]
    pub fn consistency(&self, old_size: u64, size: u64) -> Option<Vec<Digest>> {
        (old_size <= size && size <= self.size()).then(|| {
            let (mut start, mut end, mut path) = (0, size, Vec::new());
            if old_size == 0 {
                return path;
            }
            while end > old_size {
                let middle = start + split(end - start);
                if old_size <= middle {
                    path.push(self.hash(middle, end));
                    end = middle;
                } else {
                    path.push(self.hash(start, middle));
                    start = middle;
                }
            }
            // The reader knows the old root itself.
            if start != 0 {
                path.push(self.hash(start, end));
            }
            path.reverse();
            path
        })
    }

    /// The hash over the leaves `start..end`, where `start` is what the splits of RFC 6962 lead to.
    fn hash(&self, start: u64, end: u64) -> Digest {
        let count = end - start;
        if count == 0 {
            return empty_root();
        }
        if count.is_power_of_two() {
            let level = count.trailing_zeros();
            return self.levels[level as usize][(start >> level) as usize];
        }
        let middle = start + split(count);
        node_hash(self.hash(start, middle), self.hash(middle, end))
    }
}

impl FromIterator<Digest> for Tree {
    fn from_iter<I: IntoIterator<Item = Digest>>(leaves: I) -> Self {
        let mut tree = Self::default();
        leaves.into_iter().for_each(|leaf| tree.append(leaf));
        tree
    }
}

/// The right edge of a tree: all that an append and a new root need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// The complete subtrees that make up the tree, the largest first: one for each bit of the size.
    peaks: Vec<Digest>,
}

impl Edge {
    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash.
    pub fn append(&mut self, leaf: Digest) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(left, hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Digest {
        let from_the_right = self.peaks.iter().rev().copied();
        from_the_right.reduce(|right, left| node_hash(left, right)).unwrap_or_else(empty_root)
    }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves of the log that Certificate Transparency's reference implementations are tested with, and its roots
    /// at sizes 1 to 8 (github.com/google/certificate-transparency, `merkle_tree_test.cc`).
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        // RFC 6962, section 2.1: the hash of an empty list is that of an empty string.
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(empty_root().to_string(), empty);
        assert_eq!(Tree::default().root(0), Some(empty_root()));
        let tree: Tree = LEAVES.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())).collect();
        for (size, root) in (1..).zip(ROOTS) {
            assert_eq!(tree.root(size).unwrap().to_string(), root, "size {size}");
        }
        assert_eq!(tree.root(9), None);
    }

    #[test]
    fn paths_are_those_of_certificate_transparency() {
        // The same source: the paths of leaf 0 at size 8 and of leaf 2 at size 3, the proof from size 6 to 8.
        let tree: Tree = LEAVES.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())).collect();
        let text = |path: Vec<Digest>| path.iter().map(Digest::to_string).collect::<Vec<_>>();
        assert_eq!(
            text(tree.inclusion(0, 8).unwrap()),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            text(tree.inclusion(2, 3).unwrap()),
            ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]
        );
        assert_eq!(
            text(tree.consistency(6, 8).unwrap()),
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
    }

    /// The largest size for which all proofs are tried.
    const ALL_SIZES: u64 = 130;

    fn tree() -> Tree {
        (0..ALL_SIZES).map(|index| leaf_hash(&index.to_be_bytes())).collect()
    }

    /// RFC 6962's recursive definition, without any stored node.
    fn by_definition(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node_hash(by_definition(left), by_definition(right))
            }
        }
    }

    #[test]
    fn every_leaf_of_every_size_is_included_at_its_place_only() {
        let tree = tree();
        for size in 1..=ALL_SIZES {
            let root = tree.root(size).unwrap();
            assert_eq!(root, by_definition(&tree.levels[0][..size as usize]), "size {size}");
            for index in 0..size {
                let path = tree.inclusion(index, size).unwrap();
                let leaf = tree.leaf(index).unwrap();
                assert_eq!(included_root(index, size, leaf, &path), Some(root), "{index} of {size}");
                let elsewhere = (index + 1) % size;
                assert!(size == 1 || included_root(elsewhere, size, leaf, &path) != Some(root));
                let longer: Vec<_> = path.iter().copied().chain([root]).collect();
                assert_eq!(included_root(index, size, leaf, &longer), None);
                if let Some((_, shorter)) = path.split_last() {
                    assert_eq!(included_root(index, size, leaf, shorter), None);
                }
            }
            assert_eq!(included_root(size, size, root, &[]), None);
        }
    }

    proptest::proptest! {
        /// Numbers and paths by a stranger are answered, never followed into the void.
        #[test]
        fn no_claim_is_too_strange(
            a in proptest::prelude::any::<u64>(),
            b in proptest::prelude::any::<u64>(),
            bytes in proptest::collection::vec(proptest::array::uniform32(0_u8..), 0..70),
        ) {
            let path: Vec<_> = bytes.into_iter().map(Digest).collect();
            for (a, b) in [(a, b), (b, a), (a, u64::MAX), (a >> 60, b >> 60), (u64::MAX, u64::MAX), (0, a)] {
                proptest::prop_assert_ne!(included_root(a, b, Digest::ZERO, &path), Some(Digest::ZERO));
                let same = a == b && path.is_empty();
                proptest::prop_assert_eq!(is_consistent(a, b, Digest::ZERO, Digest::ZERO, &path), same);
            }
        }
    }

    #[test]
    fn the_edge_has_the_root_of_the_tree() {
        let (tree, mut edge) = (tree(), Edge::default());
        for size in 0..ALL_SIZES {
            assert_eq!((edge.size(), Some(edge.root())), (size, tree.root(size)));
            edge.append(tree.leaf(size).unwrap());
        }
    }

    #[test]
    fn every_size_goes_on_from_every_smaller_one() {
        let tree = tree();
        for size in 0..=ALL_SIZES {
            let root = tree.root(size).unwrap();
            for old_size in 0..=size {
                let old_root = tree.root(old_size).unwrap();
                let path = tree.consistency(old_size, size).unwrap();
                assert!(is_consistent(old_size, size, old_root, root, &path), "{old_size} to {size}");
                let longer: Vec<_> = path.iter().copied().chain([root]).collect();
                assert!(!is_consistent(old_size, size, old_root, root, &longer));
                if let Some((_, shorter)) = path.split_last() {
                    assert!(!is_consistent(old_size, size, old_root, root, shorter));
                }
                for changed in 0..path.len() {
                    let mut path = path.clone();
                    path[changed].0[0] ^= 1;
                    assert!(!is_consistent(old_size, size, old_root, root, &path));
                }
                assert!(!is_consistent(old_size, size, Digest::ZERO, root, &path));
                assert!(old_size == 0 || !is_consistent(old_size, size, old_root, Digest::ZERO, &path));
            }
        }
    }
}
