//! Directories: what a reader compares, and what he remembers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use sofie_audit::directory::{Contradiction, Seen, Verdict, compare};
use sofie_model::map::{Entry, anchor::key};
use sofie_model::{Digest, ThingId};

fn seen(number: u64) -> Seen {
    Seen {
        directory: "urn:a".parse().unwrap(),
        log: "log".into(),
        key: Digest([1; 32]),
        number,
        state: Digest::sha256(&number.to_be_bytes()),
        index: number * 10,
        size: number * 10 + 1,
        root: Digest::sha256(&[1, number as u8]),
    }
}

#[test]
fn a_state_goes_on_from_an_older_one_only() {
    for (number, next) in [(1, 1), (1, 2), (3, 9)] {
        assert_eq!(seen(number).goes_on(&seen(next)), Ok(()));
    }
    assert_eq!(seen(5).goes_on(&seen(4)), Err(Contradiction::Old { got: 4, seen: 5 }));
    let other = Seen { state: Digest::ZERO, ..seen(5) };
    assert_eq!(seen(5).goes_on(&other), Err(Contradiction::Two { number: 5 }));
    let turned = Seen { index: 3, ..seen(6) };
    assert!(matches!(seen(5).goes_on(&turned), Err(Contradiction::Rewritten { .. })));
    let moved = Seen { index: 51, ..seen(5) };
    assert!(matches!(seen(5).goes_on(&moved), Err(Contradiction::Rewritten { .. })));
    let another = Seen { size: 51, root: Digest::ZERO, ..seen(6) };
    assert!(matches!(seen(5).goes_on(&another), Err(Contradiction::Rewritten { .. })));
    let key = Seen { key: Digest::ZERO, ..seen(6) };
    assert!(matches!(seen(5).goes_on(&key), Err(Contradiction::OtherLog { .. })));
    let directory = Seen { directory: "urn:b".parse().unwrap(), ..seen(6) };
    assert!(matches!(seen(5).goes_on(&directory), Err(Contradiction::OtherDirectory { .. })));
}

#[test]
fn what_is_listed_twice_is_compared_twice() {
    let lamp: ThingId = "urn:lamp".parse().unwrap();
    let entry = Entry { key: key(&lamp), value: Digest([1; 32]) };
    let listed = [(lamp.clone(), Digest([1; 32])), (lamp, Digest([2; 32]))];
    let found: Vec<_> = compare(&listed, &[entry]).iter().map(|one| one.verdict).collect();
    assert_eq!(found, [Verdict::Present, Verdict::Forged]);
}
