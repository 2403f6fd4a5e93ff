//! D's rules: who may record what, until when, and that the first valid record stands.

use alloy_primitives::{B256, Bytes, U256};
use sofie_model::{
    Account, Digest, Rule, Span,
    attestation::typed_digest,
    contract::{
        self, ABORTED, COMMITTED,
        Decision::{self, DecisionErrors},
        UNDECIDED, address, word,
    },
};

use crate::world::{DEADLINE, Decided, GRACE_END, Party, START, World, evidence_root, high_s};

/// What D answers for the world's transaction.
fn standing(world: &mut World) -> (u8, u64, u64) {
    let call = Decision::decisionOfCall { txid: word(world.txid()) };
    let answer = world.chain.view(world.decision, &call);
    (answer.kind, answer.decidedAt, answer.included)
}

#[track_caller]
fn check(got: Decided, expected: Result<(), DecisionErrors>, case: &str) {
    assert_eq!(got.map(drop), expected, "{case}");
}

fn too_late(until: u64, time: u64) -> DecisionErrors {
    DecisionErrors::TooLate(Decision::TooLate { until: U256::from(until), blockTime: U256::from(time) })
}

fn too_early(not_before: u64, time: u64) -> DecisionErrors {
    DecisionErrors::TooEarly(Decision::TooEarly {
        notBefore: U256::from(not_before),
        blockTime: U256::from(time),
    })
}

fn wrong_signer(expected: &Party, got: &Party) -> DecisionErrors {
    DecisionErrors::WrongSigner(Decision::WrongSigner {
        expected: address(expected.account),
        got: address(got.account),
    })
}

/// The guard's permission for one COMMIT, on one chain, at one contract.
fn permission(
    world: &World,
    by: &Party,
    included: u64,
    root: Digest,
    chain_id: u64,
    contract: Account,
) -> Bytes {
    let message = contract::Commit { txid: word(world.txid()), included, evidenceRoot: word(root) };
    by.sign(typed_digest(&message, chain_id, contract))
}

fn good_permission(world: &World) -> Bytes {
    permission(world, &world.guard, 0b11, evidence_root(), world.chain.id, world.decision)
}

/// Every participant's word to abort, in the order of the manifest.
fn renunciations(world: &World) -> Vec<Bytes> {
    let digest = renunciation_digest(world);
    vec![world.renter.sign(digest), world.locker.sign(digest)]
}

fn renunciation_digest(world: &World) -> Digest {
    typed_digest(&contract::Abort { txid: word(world.txid()) }, world.chain.id, world.decision)
}

#[test]
fn a_commit_stands_with_its_time_and_its_legs() {
    let mut world = World::new();
    assert_eq!(standing(&mut world), (UNDECIDED, 0, 0));
    world.chain.time = START + 7;
    let call = world.committing(0b11);
    let done = world.commit(&call).unwrap();
    let expected = Decision::Committed {
        txid: word(world.txid()),
        included: 0b11,
        evidenceRoot: word(evidence_root()),
        preimages: world.secrets.iter().copied().map(word).collect(),
    };
    assert_eq!(done.event::<Decision::Committed>(), expected);
    assert_eq!(standing(&mut world), (COMMITTED, START + 7, 0b11));
}

#[test]
fn an_abort_stands_with_its_sender() {
    let mut world = World::new();
    world.chain.time = START + 9;
    let done = world.abort(world.locker.account, vec![]).unwrap();
    let expected = Decision::Aborted { txid: word(world.txid()), by: address(world.locker.account) };
    assert_eq!(done.event::<Decision::Aborted>(), expected);
    assert_eq!(standing(&mut world), (ABORTED, START + 9, 0));
}

#[test]
fn the_first_decision_stands_and_is_told_to_the_second() {
    let commit = |world: &mut World| {
        let call = world.committing(0b11);
        world.commit(&call)
    };
    let abort = |world: &mut World| world.abort(world.renter.account, vec![]);
    type First = (&'static str, fn(&mut World) -> Decided, u8, u64);
    let actions: [First; 2] = [("commit", commit, COMMITTED, 0b11), ("abort", abort, ABORTED, 0)];
    for (first_name, first, kind, included) in actions {
        for (second_name, second, ..) in actions {
            for time in [START + 1, DEADLINE, DEADLINE + 1, DEADLINE + 1_000_000] {
                let mut world = World::new();
                first(&mut world).unwrap();
                world.chain.time = time;
                let txid = word(world.txid());
                let stands = Decision::AlreadyDecided { txid, kind, decidedAt: START, included };
                let stands = DecisionErrors::AlreadyDecided(stands);
                check(second(&mut world), Err(stands), &format!("{first_name}, {second_name} at {time}"));
                assert_eq!(standing(&mut world), (kind, START, included));
            }
        }
    }
}

#[test]
fn a_commit_without_a_guard_is_valid_until_the_deadline() {
    let times = [
        (START, Ok(())),
        (DEADLINE, Ok(())),
        (DEADLINE + 1, Err(too_late(DEADLINE, DEADLINE + 1))),
        (GRACE_END + 1, Err(too_late(DEADLINE, GRACE_END + 1))),
    ];
    for (time, expected) in times {
        let mut world = World::new();
        world.chain.time = time;
        let call = world.committing(0b11);
        check(world.commit(&call), expected, &format!("at {time}"));
    }
}

/// No manifest passes with a grace and no guard; if one is locked nevertheless, nobody's signature stands for nobody.
#[test]
fn without_a_guard_no_grace_counts() {
    let mut world = World::with(|manifest| manifest.grace = Span::from_seconds(GRACE_END - DEADLINE));
    world.chain.time = DEADLINE + 1;
    let nobodys = [&[0; 64][..], &[27]].concat().into();
    for signature in [Bytes::new(), good_permission(&world), nobodys] {
        let mut call = world.committing(0b11);
        call.guardSignature = signature;
        check(world.commit(&call), Err(too_late(DEADLINE, DEADLINE + 1)), "no guard");
    }
}

#[test]
fn a_commit_between_deadline_and_grace_end_needs_the_guard() {
    let bad = || DecisionErrors::BadSignature(Decision::BadSignature {});
    type Sign = fn(&World) -> Bytes;
    let none: Sign = |_| Bytes::new();
    let by_stranger: Sign = |w| permission(w, &w.stranger, 0b11, evidence_root(), w.chain.id, w.decision);
    let late = || Some(too_late(GRACE_END, GRACE_END + 1));
    let stranger = || Some(wrong_signer(&Party::new("guard"), &Party::new("stranger")));
    let cases: [(&str, u64, Sign, Option<DecisionErrors>); 14] = [
        ("not needed at T_D", DEADLINE, none, None),
        ("needed after T_D", DEADLINE + 1, none, Some(bad())),
        ("the guard's after T_D", DEADLINE + 1, good_permission, None),
        ("the guard's at G", GRACE_END, good_permission, None),
        ("the guard's after G", GRACE_END + 1, good_permission, late()),
        ("nobody's after G", GRACE_END + 1, none, late()),
        ("a stranger's", DEADLINE + 1, by_stranger, stranger()),
        ("high s", DEADLINE + 1, |w| high_s(&good_permission(w)), Some(bad())),
        ("64 bytes", DEADLINE + 1, |w| good_permission(w).slice(..64), Some(bad())),
        ("66 bytes", DEADLINE + 1, |w| [&good_permission(w)[..], &[0]].concat().into(), Some(bad())),
        ("v less 27", DEADLINE + 1, |w| with_v(&good_permission(w), |v| v - 27), Some(bad())),
        ("v 29", DEADLINE + 1, |w| with_v(&good_permission(w), |_| 29), Some(bad())),
        ("r and s zero", DEADLINE + 1, |_| [&[0; 64][..], &[27]].concat().into(), Some(bad())),
        (
            "r past the field",
            DEADLINE + 1,
            |_| [&[0xff; 32][..], &[1; 32], &[27]].concat().into(),
            Some(bad()),
        ),
    ];
    for (case, time, sign, refusal) in cases {
        let mut world = World::guarded();
        world.chain.time = time;
        let mut call = world.committing(0b11);
        call.guardSignature = sign(&world);
        check(world.commit(&call), refusal.map_or(Ok(()), Err), case);
    }
}

fn with_v(signature: &Bytes, change: fn(u8) -> u8) -> Bytes {
    let mut changed = signature.to_vec();
    changed[64] = change(changed[64]);
    changed.into()
}

#[test]
fn the_guards_permission_is_for_one_commit_at_one_place() {
    type Sign = fn(&World) -> Bytes;
    let others: [(&str, Sign); 6] = [
        ("other legs", |w| permission(w, &w.guard, 0b01, evidence_root(), w.chain.id, w.decision)),
        ("another root", |w| permission(w, &w.guard, 0b11, Digest::ZERO, w.chain.id, w.decision)),
        ("another chain", |w| permission(w, &w.guard, 0b11, evidence_root(), 1, w.decision)),
        ("another contract", |w| permission(w, &w.guard, 0b11, evidence_root(), w.chain.id, w.escrow)),
        ("an abort", |w| w.guard.sign(renunciation_digest(w))),
        ("another transaction", |_| {
            let other = World::with(|manifest| manifest.nonce = Digest::ZERO);
            good_permission(&other)
        }),
    ];
    for (case, sign) in others {
        let mut world = World::guarded();
        world.chain.time = DEADLINE + 1;
        let mut call = world.committing(0b11);
        call.guardSignature = sign(&world);
        // The signature is someone's, but not the guard's over this.
        let refusal = world.commit(&call).map(drop).unwrap_err();
        let guard = address(world.guard.account);
        let named =
            matches!(&refusal, DecisionErrors::WrongSigner(e) if e.expected == guard && e.got != guard);
        assert!(named, "{case}: {refusal:?}");
        assert_eq!(standing(&mut world).0, UNDECIDED, "{case}");
    }
}

#[test]
fn who_may_abort_and_when() {
    type Who = fn(&World) -> Account;
    type Signed = fn(&World) -> Vec<Bytes>;
    let (renter, stranger, guard): (Who, Who, Who) =
        (|w| w.renter.account, |w| w.stranger.account, |w| w.guard.account);
    let (none, all): (Signed, Signed) = (|_| vec![], renunciations);
    let nobody = || {
        let sender = address(Party::new("stranger").account);
        Some(DecisionErrors::NotParticipant(Decision::NotParticipant { sender }))
    };
    let early = |time| Some(too_early(GRACE_END + 1, time));
    type Case = (&'static str, bool, u64, Who, Signed, Option<DecisionErrors>);
    let cases: [Case; 14] = [
        ("participant", false, START, renter, none, None),
        ("participant at T_D", false, DEADLINE, renter, none, None),
        ("stranger", false, START, stranger, none, nobody()),
        ("stranger at G", false, DEADLINE, stranger, none, nobody()),
        ("stranger after G", false, DEADLINE + 1, stranger, none, None),
        ("stranger with all words", false, START, stranger, all, None),
        ("guarded: participant", true, START, renter, none, early(START)),
        ("guarded: participant at G", true, GRACE_END, renter, none, early(GRACE_END)),
        ("guarded: guard", true, START, guard, none, early(START)),
        ("guarded: stranger at G", true, GRACE_END, stranger, none, early(GRACE_END)),
        ("guarded: stranger after G", true, GRACE_END + 1, stranger, none, None),
        ("guarded: participant with all words", true, START, renter, all, None),
        ("guarded: stranger with all words", true, GRACE_END, stranger, all, None),
        ("guarded: words do not matter after G", true, GRACE_END + 1, stranger, |_| vec![Bytes::new()], None),
    ];
    for (case, guarded, time, who, signed, refusal) in cases {
        let mut world = if guarded { World::guarded() } else { World::new() };
        world.chain.time = time;
        let (by, signatures) = (who(&world), signed(&world));
        check(world.abort(by, signatures), refusal.map_or(Ok(()), Err), case);
    }
}

#[test]
fn an_early_abort_needs_every_participants_own_word() {
    type Signed = fn(&World) -> Vec<Bytes>;
    let count = |got: u8| {
        DecisionErrors::WrongCount(Decision::WrongCount { expected: U256::from(2), got: U256::from(got) })
    };
    let bad = || DecisionErrors::BadSignature(Decision::BadSignature {});
    let [renter, locker, stranger] = ["renter", "locker-co", "stranger"].map(Party::new);
    let cases: [(&str, Signed, DecisionErrors); 6] = [
        ("one is missing", |w| renunciations(w)[..1].to_vec(), count(1)),
        ("one too many", |w| [renunciations(w), renunciations(w)].concat()[..3].to_vec(), count(3)),
        ("swapped", |w| renunciations(w).into_iter().rev().collect(), wrong_signer(&renter, &locker)),
        (
            "the second forged",
            |w| vec![w.renter.sign(renunciation_digest(w)), w.stranger.sign(renunciation_digest(w))],
            wrong_signer(&locker, &stranger),
        ),
        ("the second empty", |w| vec![renunciations(w)[0].clone(), Bytes::new()], bad()),
        ("the first with high s", |w| vec![high_s(&renunciations(w)[0]), renunciations(w)[1].clone()], bad()),
    ];
    for (case, signed, refusal) in cases {
        let mut world = World::guarded();
        let signatures = signed(&world);
        check(world.abort(world.renter.account, signatures), Err(refusal), case);
        assert_eq!(standing(&mut world).0, UNDECIDED, "{case}");
    }
}

#[test]
fn a_commit_reveals_every_participants_secret() {
    type Change = fn(&mut Vec<B256>);
    let wrong =
        |index: u8| DecisionErrors::WrongPreimage(Decision::WrongPreimage { index: U256::from(index) });
    let count = |got: u8| {
        DecisionErrors::WrongCount(Decision::WrongCount { expected: U256::from(2), got: U256::from(got) })
    };
    let cases: [(&str, Change, DecisionErrors); 6] = [
        ("none", Vec::clear, count(0)),
        ("one is missing", |p| p.truncate(1), count(1)),
        ("one too many", |p| p.push(B256::ZERO), count(3)),
        ("the first is wrong", |p| p[0] = B256::ZERO, wrong(0)),
        ("the second is wrong", |p| p[1].0[31] ^= 1, wrong(1)),
        ("swapped", |p| p.swap(0, 1), wrong(0)),
    ];
    for (case, change, refusal) in cases {
        let mut world = World::new();
        let mut call = world.committing(0b11);
        change(&mut call.preimages);
        check(world.commit(&call), Err(refusal), case);
        assert_eq!(standing(&mut world).0, UNDECIDED, "{case}");
    }
}

#[test]
fn a_secret_of_33_bytes_opens_nothing() {
    // Bitcoin would take its preimage under OP_SHA256 without a length check; D takes words of 32 bytes.
    let long = [0x5a; 33];
    let mut world = World::with(|manifest| manifest.participants[1].hashlock = Digest::sha256(&long));
    for kept in [&long[..32], &long[1..]] {
        let mut call = world.committing(0b11);
        call.preimages[1] = B256::from_slice(kept);
        let refusal = DecisionErrors::WrongPreimage(Decision::WrongPreimage { index: U256::from(1) });
        check(world.commit(&call), Err(refusal), "32 of the 33 bytes");
    }
}

#[test]
fn a_commit_includes_what_the_rule_allows() {
    type Ruled<'a> = (&'a str, Rule, &'a [bool], &'a [u64], &'a [u64]);
    let rules: [Ruled; 4] = [
        ("all of 2", Rule::All, &[true, true], &[0b11], &[0, 0b01, 0b10, 0b111, 1 << 63]),
        ("all, though marked optional", Rule::All, &[false, false], &[0b11], &[0b01, 0b10]),
        (
            "2 of 3, the first required",
            Rule::AtLeast(2),
            &[true, false, false],
            &[0b011, 0b101, 0b111],
            &[0, 0b001, 0b110, 0b1001, 0b1011],
        ),
        ("1 of 3", Rule::AtLeast(1), &[false; 3], &[0b001, 0b010, 0b100, 0b110, 0b111], &[0, 0b1000]),
    ];
    for (case, rule, required, allowed, refused) in rules {
        let make = || {
            World::with(|manifest| {
                let record = manifest.legs[1].clone();
                manifest.legs.resize(required.len(), record);
                manifest.legs.iter_mut().zip(required).for_each(|(leg, required)| leg.required = *required);
                manifest.rule = rule;
            })
        };
        for &included in allowed {
            let mut world = make();
            let call = world.committing(included);
            check(world.commit(&call), Ok(()), &format!("{case}: {included:#b}"));
        }
        for &included in refused {
            let mut world = make();
            let call = world.committing(included);
            let quorum = world.manifest.quorum();
            let refusal = DecisionErrors::WrongLegs(Decision::WrongLegs {
                included,
                required: quorum.required,
                optional: quorum.optional,
                atLeast: quorum.at_least,
            });
            check(world.commit(&call), Err(refusal), &format!("{case}: {included:#b}"));
        }
    }
}

#[test]
fn other_terms_are_another_transaction() {
    type Change = fn(&mut contract::Terms);
    let changes: [Change; 12] = [
        |t| t.body.0[0] ^= 1,
        |t| t.required ^= 1,
        |t| t.optional ^= 1,
        |t| t.atLeast ^= 1,
        |t| t.deadline += 1_000,
        |t| t.graceEnd += 1_000,
        |t| t.guard = address(Account([9; 20])),
        |t| t.participants[0].account = address(Account([9; 20])),
        |t| t.participants[1].hashlock = word(Digest::ZERO),
        |t| t.participants.swap(0, 1),
        |t| t.participants.truncate(1),
        |t| {
            t.participants
                .push(contract::Participant { account: address(Account([9; 20])), hashlock: B256::ZERO })
        },
    ];
    let mut world = World::new();
    let mut seen = std::collections::BTreeSet::from([word(world.txid())]);
    for (index, change) in changes.into_iter().enumerate() {
        let mut terms = world.terms();
        change(&mut terms);
        let txid = world.chain.view(world.decision, &Decision::txidOfCall { terms });
        assert!(seen.insert(txid), "change {index}");
    }
    // The same terms on another chain are another transaction as well.
    world.chain.id += 1;
    let terms = world.terms();
    let txid = world.chain.view(world.decision, &Decision::txidOfCall { terms });
    assert!(seen.insert(txid), "another chain");
}
