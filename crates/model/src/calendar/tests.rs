//! What a reader believes, and what it does not.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::canonical;
use crate::proof::calendar::merkle::{Tree, leaf_hash};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn log() -> LogKey {
    LogKey { origin: "example.com/log".into(), key: Digest(key().verifying_key().to_bytes()) }
}

/// A log whose leaf `index` is `history(index)`.
fn tree(size: u64, history: impl Fn(u64) -> u8) -> Tree {
    let mut tree = Tree::default();
    (0..size).for_each(|index| tree.append(leaf_hash(&[history(index)])));
    tree
}

fn head(tree: &Tree) -> Checkpoint {
    Checkpoint { origin: log().origin, size: tree.size(), root: tree.root(tree.size()).unwrap() }
}

fn answer(head: &Checkpoint, path: Vec<Digest>) -> Answer {
    Answer { checkpoint: head.sign(&key()), path, at: Timestamp::default(), found: Found::Nothing }
}

#[test]
fn a_log_goes_on_from_every_size_that_it_had_and_from_no_other_history() {
    const SIZE: u64 = 12;
    let own = tree(SIZE, |index| index as u8);
    for old in 0..=SIZE {
        let seen = if old == 0 { log().beginning() } else { head(&tree(old, |index| index as u8)) };
        let path = own.consistency(old, SIZE).unwrap();
        let answer = answer(&head(&own), path.clone());
        assert_eq!(answer.head(&log(), &seen), Ok(head(&own)), "from {old}");
        // The same from a history that differs in one entry, which the one who was there has seen.
        for changed in 0..old {
            let other = head(&tree(old, |index| if index == changed { 99 } else { index as u8 }));
            assert_eq!(answer.head(&log(), &other), Err(Untrue::Fork { size: SIZE, seen: old }));
        }
        for shorter in 0..old {
            let old_copy = self::answer(&head(&tree(shorter, |index| index as u8)), vec![]);
            assert_eq!(old_copy.head(&log(), &seen), Err(Untrue::Older { size: shorter, seen: old }));
        }
    }
}

#[test]
fn another_key_or_name_is_another_log() {
    let own = tree(3, |index| index as u8);
    let note = head(&own).sign(&SigningKey::from_bytes(&[8; 32]));
    assert!(matches!(log().head(&note), Err(Untrue::Checkpoint(BadCheckpoint::ForeignKey(_)))));
    let renamed = Checkpoint { origin: "example.com/other".into(), ..head(&own) };
    assert!(matches!(log().head(&renamed.sign(&key())), Err(Untrue::Foreign { .. })));
}

#[test]
fn witnesses_count_once_and_only_those_that_are_pinned() {
    let own = head(&tree(3, |index| index as u8));
    let keys: Vec<_> = (1..=3).map(|byte| SigningKey::from_bytes(&[byte; 32])).collect();
    let name = |index: usize| format!("witness.example/{index}");
    let pinned: Vec<_> = (0..2)
        .map(|index| WitnessKey { name: name(index), key: Digest(keys[index].verifying_key().to_bytes()) })
        .collect();
    let by = |index: usize| Cosignature::sign(&name(index), &keys[index], &own, Timestamp::from_seconds(9));
    let count = |cosigned: &[Cosignature]| match is_witnessed(&own, cosigned, &pinned, 9) {
        Err(Untrue::Witnesses { signed, needed: 9, size: 3 }) => signed,
        other => panic!("{other:?}"),
    };
    assert_eq!(count(&[]), 0);
    assert_eq!(count(&[by(0), by(0), by(2)]), 1);
    assert_eq!(count(&[by(2), by(1), by(0)]), 2);
    let mut forged = by(0);
    forged.at += 1;
    assert_eq!(count(&[forged.clone(), by(1)]), 1);
    assert_eq!(count(&[forged, by(0)]), 1, "a forged one beside the right one takes nothing away");
    assert_eq!(is_witnessed(&own, &[by(0), by(1)], &pinned, 2), Ok(()));
    assert_eq!(is_witnessed(&own, &[], &[], 0), Ok(()));
}

#[test]
fn a_log_key_has_one_text() {
    let text = log().to_string();
    assert_eq!(text.parse(), Ok(log()));
    for index in 0..text.len() {
        let mut other = text.clone().into_bytes();
        other[index] ^= 1;
        if let Ok(other) = String::from_utf8(other) {
            assert_ne!(other.parse(), Ok(log()), "{other}");
        }
    }
    for bad in ["", "a", "a+b", "a+b+c", "a b+00000000+AAAA", &format!("{text} ")] {
        assert_eq!(bad.parse::<LogKey>(), Err(BadLogKey), "{bad}");
    }
    let witness = "witness.example/w1+87d46c1a+BID6PsBd3tQJdh7KXGkTs7Pdwc+lD7bPih3h+IiOoW0C";
    assert_eq!(witness.parse::<LogKey>(), Err(BadLogKey), "a witness's key is no log's");
}

proptest! {
    /// Whatever comes in is answered, and has one encoding.
    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(request) = canonical::decode::<Request>(&bytes, MAX_REQUEST) {
            prop_assert_eq!(canonical::encode(&request), bytes.clone());
        }
        if let Ok(answer) = canonical::decode::<Answer>(&bytes, MAX_ANSWER) {
            prop_assert!(answer.head(&log(), &log().beginning()).is_err());
        }
    }
}
