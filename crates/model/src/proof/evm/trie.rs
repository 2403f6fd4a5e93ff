//! The trie over a block's transactions or receipts: item i under the key rlp(i) (Yellow Paper, section 4.4.3).

use alloy_primitives::{B256, Bytes};
use alloy_trie::proof::{ProofRetainer, verify_proof};
use alloy_trie::root::adjust_index_for_rlp;
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles};
use minicbor::bytes::ByteVec;

use super::MAX_ITEM_BYTES;

/// More nodes than this are refused: a key has at most 10 nibbles, one node each.
pub const MAX_NODES: usize = 12;

/// The root over `items`.
#[must_use]
pub fn root<T: AsRef<[u8]>>(items: &[T]) -> B256 {
    build(items, HashBuilder::default()).root()
}

/// The root over `items`, and the nodes that prove the one at `index`.
#[must_use]
pub fn prove<T: AsRef<[u8]>>(items: &[T], index: u32) -> (B256, Vec<ByteVec>) {
    let retainer = ProofRetainer::new(vec![key(index)]);
    let mut builder = build(items, HashBuilder::default().with_proof_retainer(retainer));
    let root = builder.root();
    let nodes = builder.take_proof_nodes().into_nodes_sorted();
    (root, nodes.into_iter().map(|(_, node)| node.to_vec().into()).collect())
}

/// Checks that `item` stands at `index` under `root`.
///
/// # Errors
/// In words, what is wrong.
pub fn verify(root: B256, index: u32, item: &[u8], nodes: &[ByteVec]) -> Result<(), String> {
    // The hash of an empty node is everybody's: nothing is proven by it.
    if root == EMPTY_ROOT_HASH || nodes.is_empty() || nodes.len() > MAX_NODES {
        return Err(format!("{} trie nodes, 1 to {MAX_NODES} are expected", nodes.len()));
    }
    if let Some(long) = nodes.iter().find(|node| node.len() > MAX_ITEM_BYTES + 64) {
        return Err(format!("a trie node of {} bytes is too long", long.len()));
    }
    let nodes: Vec<Bytes> = nodes.iter().map(|node| Bytes::copy_from_slice(node)).collect();
    verify_proof(root, key(index), Some(item.to_vec()), &nodes)
        .map_err(|_| format!("does not stand at index {index} of the block"))
}

fn key(index: u32) -> Nibbles {
    Nibbles::unpack(alloy_rlp::encode(index))
}

fn build<T: AsRef<[u8]>>(items: &[T], mut builder: HashBuilder) -> HashBuilder {
    // Leaves go in by the order of their keys: rlp(0) is 0x80, and sorts behind rlp(127).
    for place in 0..items.len() {
        let index = adjust_index_for_rlp(place, items.len());
        builder.add_leaf(Nibbles::unpack(alloy_rlp::encode(index)), items[index].as_ref());
    }
    builder
}
