//! Published roots: what stands under one by whatever way, and every way to pretend.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;

use super::super::merkle::{Tree, leaf_hash};
use super::super::{Entry, Included};
use super::*;
use crate::Timestamp;

const LOG: &str = "example.com/log";

/// A log that grows in seconds, under one key.
struct History {
    key: SigningKey,
    log: &'static str,
    leaves: Vec<Leaf>,
    seconds: Vec<Second>,
}

fn leaf(second: u64, text: &[u8]) -> Leaf {
    let entry = Entry::Note { topic: Digest::ZERO, commitment: Digest::sha256(text) };
    Leaf { at: Timestamp::from_seconds(second), entry }
}

fn hashes<T: Encode<()>>(all: &[T]) -> Tree {
    all.iter().map(|one| leaf_hash(&canonical::encode(one))).collect()
}

impl History {
    /// So many entries, three a second.
    fn of(entries: u64) -> Self {
        let leaves = (0..entries).map(|n| leaf(1_000 + n / 3, &n.to_be_bytes())).collect();
        Self::with(leaves)
    }

    fn with(leaves: Vec<Leaf>) -> Self {
        let tree = hashes(&leaves);
        let sizes: BTreeMap<_, _> =
            (1..).zip(&leaves).map(|(size, leaf)| (leaf.at.as_seconds(), size)).collect();
        let second = |(second, size)| Second { second, size, root: tree.root(size).unwrap() };
        let seconds = sizes.into_iter().map(second).collect();
        Self { key: SigningKey::from_bytes(&[5; 32]), log: LOG, leaves, seconds }
    }

    fn sign(&self, origin: String, size: u64, root: Digest) -> String {
        Checkpoint { origin, size, root }.sign(&self.key)
    }

    fn seconds_note(&self, size: u64) -> String {
        self.sign(format!("{}{SECONDS}", self.log), size, hashes(&self.seconds).root(size).unwrap())
    }

    fn published(&self, size: u64) -> PublishedRoot {
        self.seconds_note(size).parse().unwrap()
    }

    /// Of the entry at `index`, when the log had `size` of them; with the path to the root of so many seconds.
    fn proof(&self, index: u64, size: u64, seconds: Option<u64>) -> LogProof {
        let tree = hashes(&self.leaves);
        let leaf = canonical::encode(&self.leaves[usize::try_from(index).unwrap()]);
        let place = self.seconds.iter().position(|one| one.size == size);
        let published = seconds.map(|seconds| {
            let index = place.unwrap() as u64;
            let path = hashes(&self.seconds).inclusion(index, seconds).unwrap();
            let second = self.seconds[place.unwrap()].second;
            Published { second, index, path, checkpoint: self.seconds_note(seconds) }
        });
        LogProof {
            key: Digest(self.key.verifying_key().to_bytes()),
            checkpoint: self.sign(self.log.into(), size, tree.root(size).unwrap()),
            leaves: vec![Included { index, leaf, path: tree.inclusion(index, size).unwrap() }],
            published,
            cosigned: None,
        }
    }

    /// From a log of `size` entries to the root of so many seconds, if they cover it.
    fn extension(&self, size: u64, seconds: u64) -> Option<Extension> {
        let tree = hashes(&self.leaves);
        let place = self.seconds.iter().position(|one| one.size >= size).unwrap();
        let index = place as u64;
        (index < seconds).then(|| Extension {
            version: VERSION,
            size,
            root: tree.root(size).unwrap(),
            goes_on: tree.consistency(size, self.seconds[place].size).unwrap(),
            second: self.seconds[place],
            index,
            path: hashes(&self.seconds).inclusion(index, seconds).unwrap(),
            checkpoint: self.seconds_note(seconds),
        })
    }
}

#[test]
fn whatever_stood_before_a_root_was_published_is_extended_to_it_and_nothing_younger_is() {
    let history = History::of(31);
    let all = history.seconds.len() as u64;
    assert_eq!(all, 11);
    for seconds in 1..=all {
        let root = history.published(seconds);
        for size in 1..=31 {
            let (proof, covered) = (history.proof(size - 1, size, None), size <= seconds * 3);
            assert_eq!(proof.under(&root, &[]), Err(NotUnder::Nothing { size, seconds }));
            let Some(extension) = history.extension(size, seconds) else {
                assert!(!covered, "{size} of {seconds} seconds");
                continue;
            };
            let under = proof.under(&root, std::slice::from_ref(&extension)).unwrap();
            assert!(covered && under.extension == Some(0));
            assert_eq!(under.second, 1_000 + (size - 1) / 3);
            assert_eq!(Extension::from_bytes(&extension.to_bytes()), Ok(extension));
        }
    }
}

#[test]
fn a_proofs_own_path_is_enough_under_its_own_root_and_under_no_other() {
    let history = History::of(31);
    let proof = history.proof(7, 9, Some(5));
    assert_eq!(proof.under(&history.published(5), &[]), Ok(Under { second: 1_002, extension: None }));
    assert_eq!(proof.under(&history.published(6), &[]), Err(NotUnder::Nothing { size: 9, seconds: 6 }));
    let extension = history.extension(9, 6).unwrap();
    let extended = proof.under(&history.published(6), &[history.extension(3, 6).unwrap(), extension]);
    assert_eq!(extended, Ok(Under { second: 1_002, extension: Some(1) }));
}

/// The operator, or whoever stole the key, writes history anew: all is signed, and nothing leads to what was printed.
#[test]
fn a_history_that_was_rewritten_after_its_root_was_published_is_refused_though_the_right_key_signs_it() {
    let history = History::of(31);
    let root = history.published(8);
    let mut leaves = history.leaves.clone();
    leaves[7] = leaf(1_002, b"forged");
    let forged = History::with(leaves);
    for seconds in [3, 8, 9, 11] {
        let proof = forged.proof(7, 9, Some(seconds));
        assert_ne!(proof.leaves, history.proof(7, 9, None).leaves);
        assert!(proof.under(&root, &[]).is_err(), "its own path, {seconds}");
        for from in [&history, &forged] {
            let Some(extension) = from.extension(9, seconds) else { continue };
            // As it is; as if it began at the forged log; as if it led to the printed root.
            let from_here = Extension { root: forged.extension(9, 8).unwrap().root, ..extension.clone() };
            let to_there = Extension { checkpoint: history.seconds_note(8), ..from_here.clone() };
            for lie in [extension, from_here, to_there] {
                assert!(proof.under(&root, &[lie]).is_err());
            }
        }
    }
    assert_eq!(
        forged.proof(7, 9, Some(8)).under(&root, &[]),
        Err(NotUnder::Split { got: forged.published(8).root, seconds: 8, expected: root.root })
    );
    let to_there =
        Extension { root: forged.extension(9, 8).unwrap().root, ..history.extension(9, 8).unwrap() };
    assert_eq!(
        forged.proof(7, 9, None).under(&root, &[to_there]),
        Err(NotUnder::Fork { size: 9, second: 9 })
    );
    // A second of the forger's own, which is not in the printed tree.
    let inside = Extension { checkpoint: history.seconds_note(8), ..forged.extension(9, 8).unwrap() };
    let refused = forged.proof(7, 9, None).under(&root, &[inside]);
    assert_eq!(refused, Err(NotUnder::Second { second: 1_002, seconds: 8 }));
}

#[test]
fn an_entry_that_was_appended_after_publication_is_not_under_the_root_however_it_is_dated() {
    let history = History::of(12);
    let root = history.published(4);
    let mut leaves = history.leaves.clone();
    leaves.push(leaf(1_003, b"dated back"));
    let later = History::with(leaves);
    // The last second is closed once more, with the entry in it.
    let proof = later.proof(12, 13, Some(4));
    assert!(matches!(proof.under(&root, &[later.extension(13, 4).unwrap()]), Err(NotUnder::Split { .. })));
    let lie = Extension {
        size: 13,
        root: later.extension(13, 4).unwrap().root,
        ..history.extension(12, 4).unwrap()
    };
    assert_eq!(proof.under(&root, &[lie]), Err(NotUnder::Fork { size: 13, second: 12 }));
}

#[test]
fn a_root_of_another_log_is_no_root_of_this_one() {
    let history = History::of(31);
    let other = History { log: "example.com/other", ..History::of(31) };
    let foreign = NotUnder::Foreign { got: LOG.into(), expected: "example.com/other".into() };
    let proof = history.proof(7, 9, Some(5));
    assert_eq!(proof.under(&other.published(5), &[]), Err(foreign));
    // The other's path and signature under this one's name.
    let lie = Extension { checkpoint: other.seconds_note(5), ..history.extension(9, 5).unwrap() };
    assert!(matches!(
        history.proof(7, 9, None).under(&history.published(5), &[lie]),
        Err(NotUnder::Foreign { .. })
    ));
    // Of the same name, by another key.
    let usurper = History { key: SigningKey::from_bytes(&[6; 32]), ..History::of(31) };
    let lie = Extension { checkpoint: usurper.seconds_note(5), ..history.extension(9, 5).unwrap() };
    let refused = history.proof(7, 9, None).under(&history.published(5), &[lie]);
    assert!(matches!(refused, Err(NotUnder::Checkpoint(BadCheckpoint::ForeignKey(_)))), "{refused:?}");
}

#[test]
fn a_second_that_ends_before_an_entry_below_it_is_refused() {
    let mut history = History::of(12);
    history.seconds[3].second = 1_002;
    let proof = history.proof(11, 12, Some(4));
    assert_eq!(proof.under(&history.published(4), &[]), Err(NotUnder::Late { second: 1_002 }));
    let proof = history.proof(11, 12, None);
    let extended = proof.under(&history.published(4), &[history.extension(12, 4).unwrap()]);
    assert_eq!(extended, Err(NotUnder::Late { second: 1_002 }));
}

#[test]
fn every_changed_or_missing_byte_of_an_extension_is_refused() {
    let history = History::of(31);
    let (root, proof) = (history.published(10), history.proof(9, 10, None));
    let bytes = history.extension(10, 10).unwrap().to_bytes();
    let holds = |bytes: &[u8]| {
        Extension::from_bytes(bytes).is_ok_and(|extension| proof.under(&root, &[extension]).is_ok())
    };
    assert!(holds(&bytes));
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << bit;
            assert!(!holds(&changed), "byte {place}, bit {bit}");
        }
        assert!(!holds(&bytes[..place]), "cut at {place}");
    }
    assert!(!holds(&[&bytes[..], &[0]].concat()));
}

#[test]
fn a_longer_extension_than_there_can_be_is_refused_and_the_longest_is_not() {
    let longest = |hashes: usize| Extension {
        version: VERSION,
        size: u64::MAX,
        root: Digest([0xff; 32]),
        goes_on: vec![Digest([0xff; 32]); hashes],
        second: Second { second: u64::MAX, size: u64::MAX, root: Digest([0xff; 32]) },
        index: u64::MAX,
        path: vec![Digest([0xff; 32]); hashes],
        checkpoint: "x".repeat(MAX_NOTE),
    };
    let bytes = longest(MAX_PATH).to_bytes();
    assert!(bytes.len() <= MAX_EXTENSION, "{} bytes", bytes.len());
    assert!(Extension::from_bytes(&bytes).is_ok());
    assert_eq!(Extension::from_bytes(&longest(MAX_PATH + 1).to_bytes()), Err(BadExtension::Path));
    let huge = Extension::from_bytes(&longest(1_000).to_bytes());
    assert!(matches!(huge, Err(BadExtension::Malformed(canonical::Error::TooLong { .. }))));
    let later = Extension { version: 2, ..longest(1) };
    assert_eq!(Extension::from_bytes(&later.to_bytes()), Err(BadExtension::Version(2)));
}

#[test]
fn a_root_is_read_as_it_is_printed_and_as_it_is_copied() {
    let history = History::of(31);
    let (note, root) = (history.seconds_note(5), history.published(5));
    assert_eq!((root.log.as_str(), root.size), (LOG, 5));
    let printed = root.to_string();
    assert!(note.starts_with(&printed) && note != printed);
    let by_hand = format!("  {}\n\n", printed.trim_end().replace('\n', " \r\n"));
    for text in [&note, &printed, printed.trim_end(), &by_hand, &format!("{note}\u{2014} witness AAAA\n")] {
        assert_eq!(text.parse().as_ref(), Ok(&root), "{text:?}");
    }
    let digits = STANDARD.encode(root.root.0);
    for (text, why) in [
        (String::new(), "no line"),
        ("x".repeat(MAX_NOTE + 1), "too long"),
        (format!("{LOG}\n5\n{digits}\n"), "ends in /seconds"),
        (format!("/seconds\n5\n{digits}\n"), "ends in /seconds"),
        (format!("a b/seconds\n5\n{digits}\n"), "ends in /seconds"),
        (format!("{LOG}{SECONDS}\n"), "one line"),
        (format!("{LOG}{SECONDS}\n5\n"), "two lines"),
        (format!("{LOG}{SECONDS}\n0\n{digits}\n"), "number of seconds"),
        (format!("{LOG}{SECONDS}\n05\n{digits}\n"), "number of seconds"),
        (format!("{LOG}{SECONDS}\n+5\n{digits}\n"), "number of seconds"),
        (format!("{LOG}{SECONDS}\n{}0\n{digits}\n", u64::MAX), "number of seconds"),
        (format!("{LOG}{SECONDS}\n5\n{}\n", &digits[1..]), "root hash"),
        (format!("{LOG}{SECONDS}\n5\n{}\n", root.root), "root hash"),
        (format!("{printed}and more\n"), "something else"),
    ] {
        let refused = text.parse::<PublishedRoot>();
        assert!(refused.as_ref().is_err_and(|bad| bad.to_string().contains(why)), "{text:?}: {refused:?}");
    }
}

proptest::proptest! {
    /// Whatever is copied is read or refused, and what is read is written alike.
    #[test]
    fn no_text_is_too_strange(lines in proptest::collection::vec("[ -~\u{2014}/s0-9]{0,60}", 0..6), text in ".{0,80}") {
        for text in [lines.join("\n"), text] {
            if let Ok(root) = text.parse::<PublishedRoot>() {
                proptest::prop_assert_eq!(root.to_string().parse(), Ok(root));
            }
        }
    }
}
