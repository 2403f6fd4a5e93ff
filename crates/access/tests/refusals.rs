//! Each refusal for its reason, and only for that.

#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod world;

use sofie_access::{
    Affordance, Book, Caveat, Door, Limits, Op, Presented, Refusal, Revocations, SignedRevocations, Verdict,
    token, verdict::Repeated,
};
use sofie_model::{Digest, Span, Timestamp};
use world::*;

type Change = fn(&mut World);

/// The plain request, with one thing changed, and the code of the refusal; the last ones succeed.
const TABLE: &[(&str, Change, Option<&str>)] = &[
    ("nothing is changed", |_| {}, None),
    ("too large", |w| w.token = vec![0; 4097], Some("too-large")),
    ("no token", |w| w.token = Vec::new(), Some("malformed")),
    ("noise", |w| w.token = vec![0xff; 64], Some("malformed")),
    ("a trailing byte", |w| w.token.push(0), Some("malformed")),
    ("an unknown field", |w| w.token.extend([0x78, 1]), Some("malformed")),
    ("another owner's token", |w| w.token = token::issue(&friend(), &grant()).unwrap(), Some("unknown-key")),
    (
        "another owner's door",
        |w| w.door = Door::new(friend().public(), DOOR, Limits::default()),
        Some("unknown-key"),
    ),
    ("cut off", |w| w.token.truncate(200), Some("malformed")),
    (
        "too many parts",
        |w| {
            for _ in 0..9 {
                w.token = token::attenuate(&w.token, &owner().public(), &[]).unwrap();
            }
        },
        Some("too-deep"),
    ),
    (
        "passed on although the grant forbids it",
        |w| {
            let to = friend().public();
            w.token = token::delegate(&w.token, &owner().public(), &renter(), to, &[]).unwrap();
            w.signer = friend();
        },
        Some("too-deep"),
    ),
    (
        "revoked",
        |w| {
            let id = token::inspect(&w.token, &owner().public()).unwrap().revocation_ids[0];
            w.revocations = w.revocations.with([id], at(160)).unwrap();
        },
        Some("revoked"),
    ),
    (
        "an old revocation list",
        |w| {
            w.door = Door::new(
                owner().public(),
                DOOR,
                Limits { revocations_for: Span::from_seconds(49), ..Limits::default() },
            );
        },
        Some("stale-revocations"),
    ),
    (
        "a revocation list from the future",
        |w| w.revocations = Revocations::none(owner().public(), at(231)),
        Some("stale-revocations"),
    ),
    (
        "another owner's revocation list",
        |w| w.revocations = Revocations::none(friend().public(), at(150)),
        Some("stale-revocations"),
    ),
    (
        "a moment too early",
        |w| (w.now, w.signed_at, w.revocations) = (before(100), before(100), none(90)),
        Some("not-yet"),
    ),
    ("the first moment", |w| (w.now, w.signed_at, w.revocations) = (at(100), at(100), none(90)), None),
    ("the last moment", |w| (w.now, w.signed_at) = (before(700), before(700)), None),
    ("a moment too late", |w| (w.now, w.signed_at) = (at(700), at(700)), Some("expired")),
    ("another thing", |w| w.request.thing = locker(2), Some("other-thing")),
    (
        "another action",
        |w| w.request.affordance = Affordance::action("close").unwrap(),
        Some("other-affordance"),
    ),
    (
        "another operation of that name",
        |w| w.request.affordance = Affordance::new(Op::WriteProperty, "open").unwrap(),
        Some("other-affordance"),
    ),
    ("proof by another key", |w| w.signer = friend(), Some("proof-wrong")),
    ("an old proof", |w| w.signed_at = before(170), Some("proof-stale")),
    ("a proof at the edge of the window", |w| w.signed_at = at(170), None),
    ("a proof from the future", |w| w.signed_at = at(231), Some("proof-stale")),
    ("a proof from before the door opened", |w| w.book = Book::new(at(201)), Some("proof-stale")),
    (
        "a full memory of proofs",
        |w| w.door = Door::new(owner().public(), DOOR, Limits { max_proofs: 0, ..Limits::default() }),
        Some("busy"),
    ),
];

fn none(issued: u64) -> Revocations {
    Revocations::none(owner().public(), at(issued))
}

fn before(seconds: u64) -> Timestamp {
    Timestamp::from_millis(at(seconds).as_millis() - 1)
}

#[test]
fn each_refusal_for_its_reason() {
    for (name, change, expected) in TABLE {
        let mut world = World::new(issued(&grant()));
        change(&mut world);
        let outcome = world.ask();
        assert_eq!(outcome.as_ref().err().map(Refusal::code), *expected, "{name}: {outcome:?}");
    }
}

#[test]
fn a_refusal_is_a_sentence_for_people() {
    let (now, earlier, later) = (at(200), at(188), at(212));
    let (not_before, expires, window) = (later, earlier, Span::from_seconds(5));
    for (refusal, sentence) in [
        (Refusal::NotYet { not_before, now }, "valid only in 12 s from now"),
        (Refusal::Expired { expires, now }, "expired 12 s ago"),
        (Refusal::ProofStale { at: earlier, now, window }, "12 s away from the door's clock, at most 5 s"),
        (Refusal::ProofStale { at: later, now, window }, "12 s away from the door's clock, at most 5 s"),
    ] {
        let text = refusal.to_string();
        assert!(text.contains(sentence) && !text.contains("Timestamp"), "{text}");
    }
}

#[test]
fn a_request_without_proof_is_refused() {
    let mut world = World::new(issued(&grant()));
    assert_eq!(world.ask_with(None), Err(Refusal::ProofMissing { holder: renter().public() }));
}

#[test]
fn a_proof_is_for_one_request_at_one_door_with_one_token() {
    let wrong = Err(Refusal::ProofWrong { holder: renter().public() });
    let proof = World::new(issued(&grant())).proof();

    let mut other_token = World::new(issued(&grant()));
    assert_eq!(other_token.ask_with(Some(&proof)), wrong, "the same grant, issued twice, is two tokens");

    let changes: [fn(&mut World); 4] = [
        |w| w.request.input = Digest([1; 32]),
        |w| w.request.transaction = Some(txid(1)),
        |w| w.door = Door::new(owner().public(), "locker-co/door-2", Limits::default()),
        |w| w.token = token::attenuate(&w.token, &owner().public(), &[]).unwrap(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut world = World::new(issued(&grant()));
        let proof = world.proof();
        change(&mut world);
        assert_eq!(world.ask_with(Some(&proof)), wrong, "change {index}");
    }

    let mut world = World::new(issued(&grant()));
    for byte in 0..64 {
        let mut proof = world.proof();
        proof.signature[byte] ^= 1;
        assert_eq!(world.ask_with(Some(&proof)), wrong, "byte {byte}");
    }
    assert!(world.ask().is_ok());
}

#[test]
fn a_proof_is_taken_once() {
    let mut world = World::new(issued(&grant()));
    assert!(world.ask().is_ok());
    assert_eq!(world.ask(), Err(Refusal::Replayed));

    let stored = world.book.to_bytes();
    world.book = Book::from_bytes(&stored).unwrap();
    assert_eq!(world.ask(), Err(Refusal::Replayed), "a restart remembers");
    world.book = Book::new(at(201));
    assert_eq!(world.ask().unwrap_err().code(), "proof-stale", "a lost book refuses what it cannot know");

    world.book = Book::from_bytes(&stored).unwrap();
    world.now = at(231);
    assert_eq!(world.ask().unwrap_err().code(), "proof-stale", "after the window the time says no");
    assert!(Book::from_bytes(&stored[1..]).is_err());
}

#[test]
fn a_refused_request_leaves_no_trace_in_the_book() {
    let mut world = World::new(issued(&grant()));
    world.request.thing = locker(2);
    assert!(world.ask().is_err());
    world.request.thing = locker(1);
    assert!(world.ask().is_ok(), "the nonce was not burnt");
}

#[test]
fn uses_are_counted_for_each_part_of_the_token() {
    let mut world = World::new(issued(&sofie_access::Grant { uses: Some(3), ..grant() }));
    let wide = world.token.clone();
    let narrow = token::attenuate(&wide, &owner().public(), &[Caveat::Uses(1)]).unwrap();

    assert!(world.ask().is_ok());
    world.token = narrow;
    assert!(world.again().is_ok());
    assert_eq!(world.again(), Err(Refusal::UsedUp { used: 1, limit: 1 }), "the narrow part is used up");
    world.token = wide;
    assert!(world.again().is_ok());
    world.wait(Span::from_seconds(400));
    assert_eq!(world.again(), Err(Refusal::UsedUp { used: 3, limit: 3 }), "and so is the grant");
}

#[test]
fn a_grant_for_a_transaction_serves_no_other() {
    let grant = sofie_access::Grant { transaction: Some(txid(1)), ..grant() };
    for (asked, code) in
        [(Some(txid(1)), None), (Some(txid(2)), Some("other-transaction")), (None, Some("other-transaction"))]
    {
        let mut world = World::new(issued(&grant));
        world.request.transaction = asked;
        assert_eq!(world.ask().as_ref().err().map(Refusal::code), code);
    }
}

#[test]
fn revocation_lists_are_signed_and_never_go_back() {
    let id = token::inspect(&issued(&grant()), &owner().public()).unwrap().revocation_ids[0];
    let list = none(10).with([id], at(20)).unwrap();
    let bytes = list.clone().sign(&owner()).unwrap().to_bytes();
    assert_eq!(SignedRevocations::open(&bytes, &owner().public()).unwrap(), list);
    assert!(SignedRevocations::open(&bytes, &friend().public()).is_err());
    assert!(none(10).sign(&friend()).is_err());
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 0x10;
        assert!(SignedRevocations::open(&changed, &owner().public()).is_err(), "byte {index}");
    }
    let mut current = list.clone();
    assert!(current.replace(none(30)).is_err(), "an older number");
    assert!(current.replace(list.with([], at(30)).unwrap()).is_ok());
    assert!(current.contains(id));
}

#[test]
fn a_verdict_is_repeated_offline() {
    let mut world = World::new(issued(&grant()));
    let proof = world.proof();
    let outcome = world.ask();
    let presented = Presented { token: &world.token, request: &world.request, proof: Some(&proof) };
    let verdict = Verdict::of(&world.door, &presented, world.now, &outcome);
    assert!(matches!(verdict.repeat(&world.token, Limits::default()), Repeated::LetIn(_)));

    let mut refused = verdict.clone();
    refused.refused = Some("expired".into());
    assert!(matches!(refused.repeat(&world.token, Limits::default()), Repeated::Differs { .. }));
    refused.refused = Some("replayed".into());
    assert_eq!(refused.repeat(&world.token, Limits::default()), Repeated::NotVisible);

    let mut late = verdict;
    late.at = at(700);
    assert!(matches!(late.repeat(&world.token, Limits::default()), Repeated::Differs { .. }));
    late.refused = Some("expired".into());
    assert!(matches!(late.repeat(&world.token, Limits::default()), Repeated::Refused(_)));
}
