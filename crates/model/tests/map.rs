//! Maps: the definition, written down a second time, and what no proof may show.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use sofie_model::Digest;
use sofie_model::map::{BadMapProof, Entry, MAX_PROOF, MAX_SIBLINGS, Map, MapProof, Shown};

fn bit(key: &Digest, at: usize) -> bool {
    key.0[at / 8] & (0x80 >> (at % 8)) != 0
}

fn hash(prefix: u8, left: &Digest, right: &Digest) -> Digest {
    Digest::sha256(&[&[prefix], &left.0[..], &right.0[..]].concat())
}

fn key(byte: u8) -> Digest {
    Digest::sha256(&[byte])
}

fn entry(byte: u8) -> Entry {
    Entry { key: key(byte), value: Digest([byte; 32]) }
}

/// The definition, without any stored node.
fn by_definition(entries: &[Entry], depth: usize) -> Digest {
    match entries {
        [] => Digest::ZERO,
        [one] => hash(0, &one.key, &one.value),
        many => {
            let half =
                |right| many.iter().copied().filter(|e| bit(&e.key, depth) == right).collect::<Vec<_>>();
            hash(1, &by_definition(&half(false), depth + 1), &by_definition(&half(true), depth + 1))
        }
    }
}

#[test]
fn small_maps_are_what_the_definition_says() {
    assert_eq!(Map::of([]).root(), Digest::ZERO);
    let low = Entry { key: Digest([0; 32]), value: Digest([1; 32]) };
    assert_eq!(Map::of([low]).root(), hash(0, &low.key, &low.value));
    let high = Entry { key: Digest([0x80; 32]), value: Digest([2; 32]) };
    let (a, b) = (hash(0, &low.key, &low.value), hash(0, &high.key, &high.value));
    assert_eq!(Map::of([high, low]).root(), hash(1, &a, &b));
    // Two keys that differ in their last bit stand as deep as can be.
    let last = Entry { key: Digest(std::array::from_fn(|at| u8::from(at == 31))), value: Digest([3; 32]) };
    let map = Map::of([low, last]);
    let proof = map.prove(&last.key);
    assert_eq!(proof.siblings.len(), MAX_SIBLINGS);
    assert!(proof.to_bytes().len() <= MAX_PROOF);
    assert_eq!(MapProof::from_bytes(&proof.to_bytes()), Ok(proof.clone()));
    assert_eq!(proof.shows(&last.key, &map.root()), Ok(Shown::Present(last.value)));
    let longer = MapProof { siblings: vec![Digest::ZERO; 257], end: None };
    assert_eq!(MapProof::from_bytes(&longer.to_bytes()), Err(BadMapProof::Path { got: 257 }));
    assert_eq!(longer.shows(&last.key, &map.root()), Err(BadMapProof::Path { got: 257 }));
}

#[test]
fn every_key_is_proven_there_or_not_and_never_otherwise() {
    for count in 0..40_u8 {
        let map = Map::of((0..count).map(entry));
        assert_eq!(map.root(), by_definition(map.entries(), 0), "{count}");
        for other in 0..60 {
            let proof = map.prove(&key(other));
            let shown = if other < count { Shown::Present(Digest([other; 32])) } else { Shown::Absent };
            assert_eq!(proof.shows(&key(other), &map.root()), Ok(shown), "{other} of {count}");
            assert_eq!(map.get(&key(other)).is_some(), other < count);
            // The proof of one key says of another what is so, or nothing.
            for third in 0..60 {
                let expected =
                    if third < count { Shown::Present(Digest([third; 32])) } else { Shown::Absent };
                if let Ok(shown) = proof.shows(&key(third), &map.root()) {
                    assert_eq!(shown, expected, "{other} and {third} of {count}");
                }
            }
        }
    }
}

#[test]
fn no_changed_proof_says_something_else() {
    let map = Map::of((0..20).map(entry));
    for other in 0..30 {
        let bytes = map.prove(&key(other)).to_bytes();
        let shown = map.prove(&key(other)).shows(&key(other), &map.root()).unwrap();
        for at in 0..bytes.len() {
            for change in [1, 0x20, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                if let Ok(proof) = MapProof::from_bytes(&changed)
                    && let Ok(now) = proof.shows(&key(other), &map.root())
                {
                    panic!("byte {at} of the proof of {other} shows {now:?}, not {shown:?}");
                }
            }
            assert!(MapProof::from_bytes(&bytes[..at]).is_err());
        }
    }
}

proptest! {
    #[test]
    fn the_order_of_entries_does_not_matter(mut all in prop::collection::vec(any::<u8>(), 0..30), seed: u64) {
        let map = Map::of(all.iter().copied().map(entry));
        all.sort_by_key(|byte| u64::from(*byte).wrapping_mul(seed | 1));
        prop_assert_eq!(Map::of(all.iter().copied().map(entry)), map);
    }

    /// Nothing that was put together at random leads to a root.
    #[test]
    fn no_claim_is_too_strange(
        siblings in prop::collection::vec(prop::array::uniform32(0_u8..), 0..300),
        end in prop::option::of((prop::array::uniform32(0_u8..), prop::array::uniform32(0_u8..))),
    ) {
        let siblings = siblings.into_iter().map(Digest).collect();
        let end = end.map(|(key, value)| Entry { key: Digest(key), value: Digest(value) });
        let proof = MapProof { siblings, end };
        let key = end.map_or(Digest::ZERO, |end| end.key);
        prop_assert!(proof.shows(&key, &Digest([7; 32])).is_err());
        let _ = MapProof::from_bytes(&proof.to_bytes());
    }
}
