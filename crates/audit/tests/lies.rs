//! Receipts that lie. Each is refused, and for its own reason.

#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod tale;

use proptest::prelude::*;
use sofie_audit::{Body, Receipt, Story, Verdict, receipt::Seen, verify};
use sofie_model::{Account, Digest, LegId, Span, Txid, Value};
use tale::*;

fn refusal(receipt: &Receipt) -> Vec<String> {
    match verify(&receipt.to_bytes(), Some(&anchors(receipt))).verdict() {
        Verdict::Refused(reasons) => reasons,
        other => panic!("{other}"),
    }
}

/// One of the reasons begins with `name` and contains `why`.
fn is_told(reasons: &[String], name: &str, why: &str) -> bool {
    reasons.iter().any(|reason| reason.starts_with(name) && reason.contains(why))
}

type PanelLie = (&'static str, fn(&Tale, &mut Vec<Seen>), &'static str, &'static str);

/// Of two sensors of three.
#[test]
fn words_of_too_few_of_strangers_or_of_other_properties_are_refused() {
    let lies: [PanelLie; 8] = [
        ("one word", |_, seen| seen.truncate(1), "attestation", "1 of the panel attested, 2 must"),
        (
            "one word twice",
            |_, seen| seen[1] = seen[0].clone(),
            "attestation",
            "1 of the panel attested, 2 must",
        ),
        (
            "a stranger's",
            |_, seen| seen[1].attestation = seen[1].attestation.attestation.sign(&key(7)),
            "attestation",
            "is not in the panel",
        ),
        (
            "a stranger's besides",
            |tale, seen| {
                let mut other = tale.seen(2);
                other.attestation = other.attestation.attestation.sign(&key(7));
                seen.push(other);
            },
            "attestation",
            "is not in the panel",
        ),
        (
            "another property",
            |tale, seen| {
                let mut other = tale.seen(1);
                other.observation.property = "bell".into();
                other.attestation.attestation.observation = other.observation.digest(&other.salt);
                other.attestation = other.attestation.attestation.sign(&owner_of(1));
                seen[1] = other;
            },
            "observation",
            "is agreed",
        ),
        (
            "the first sensor's reading under the second's key",
            |tale, seen| {
                let mut other = tale.seen(0);
                other.attestation = other.attestation.attestation.sign(&owner_of(1));
                seen[1] = other;
            },
            "observation",
            "is agreed",
        ),
        (
            "another reading",
            |_, seen| seen[1].observation.quantity.value = Value::Text("ajar".into()),
            "observation",
            "not the one",
        ),
        (
            "what the escrow was not paid for",
            |tale, seen| seen[1] = tale.seen(2),
            "settlement",
            "no words of enough",
        ),
    ];
    for two_nodes in [false, true] {
        for (name, tell, check, why) in lies {
            let reasons = refusal(&Tale { tell, ..Tale::of_panel(two_nodes) }.receipt());
            assert!(is_told(&reasons, check, why), "{name}: {reasons:#?}");
        }
        let lower = Tale { of_panel: |all| all.threshold = 1, ..Tale::of_panel(two_nodes) }.receipt();
        let reasons = refusal(&lower);
        assert!(is_told(&reasons, "agreement", "the panel of sensors of leg 0"), "{reasons:#?}");
        let mut nameless = Tale::of_panel(two_nodes).body();
        nameless.parties.retain(|party| party.name != "other-2");
        let reasons = refusal(&nameless.sign(&operator()));
        assert!(is_told(&reasons, "parties", "has no name"), "{reasons:#?}");
    }
}

#[test]
fn a_penalty_that_was_not_due_or_not_agreed_is_refused() {
    let lies: [Lie; 9] = [
        ("the door was open", |t| t.value = Value::Text("open".into()), "observation", "as agreed"),
        (
            "seen before it was due",
            |t| t.observed_at = EVIDENCE_DEADLINE - 1,
            "evidence time",
            "before it was due",
        ),
        (
            "seen too late",
            |t| (t.observed_at, t.settled_at, t.refunded_at) = (181, 182, 183),
            "evidence time",
            "after the evidence deadline",
        ),
        ("a retained reading", |t| t.retained = true, "observation", "retained"),
        ("the renter's own word", |t| t.attestor = renter(), "attestation", "has authority"),
        ("for the price", |t| t.attest = |a| a.leg = LegId(0), "observation", "its value is shut"),
        (
            "another stake",
            |t| t.of_stake = |terms| terms.amount += 1,
            "agreement",
            "does not hold the agreed penalty",
        ),
        (
            "to somebody else",
            |t| t.of_stake = |terms| terms.payee = account(&operator()),
            "agreement",
            "does not hold",
        ),
        (
            "the price back too early",
            |t| (t.settled_at, t.refunded_at) = (131, 140),
            "settlement",
            "before the submission window",
        ),
    ];
    for (name, change, check, why) in lies {
        let mut tale = Tale::missed();
        change(&mut tale);
        let reasons = refusal(&tale.receipt());
        assert!(is_told(&reasons, check, why), "{name}: {reasons:#?}");
    }
    let early = Tale { returned_at: STAKE_UNTIL, ..Tale::kept() };
    assert!(is_told(&refusal(&early.receipt()), "settlement", "before the submission window"));
}

type Lie = (&'static str, fn(&mut Tale), &'static str, &'static str);

/// What an operator could tell whose ledgers and signatures are all real, or who runs a ledger alone.
const SETTLED: &[Lie] = &[
    (
        "seen before the decision",
        |t| (t.told_at, t.observed_at) = (4, 4),
        "evidence time",
        "before the decision",
    ),
    (
        "told before the decision",
        |t| (t.decided_at, t.told_at) = (30, 8),
        "evidence time",
        "before the decision",
    ),
    ("seen before the act", |t| t.told_at = 11, "evidence time", "before the device was told"),
    (
        "seen too late",
        |t| t.observed_at = EVIDENCE_DEADLINE + 1,
        "evidence time",
        "after the evidence deadline",
    ),
    ("another time attested", |t| t.attest = |a| a.observed_at = at(11), "evidence time", "another time"),
    ("a foreign key", |t| t.attestor = key(7), "attestation", "has authority"),
    ("the payee's key", |t| t.attestor = locker_co(), "attestation", "has authority"),
    ("not fulfilled", |t| t.attest = |a| a.fulfilled = false, "attestation", "does not hold"),
    ("another chain", |t| t.attest = |a| a.chain_id = 1, "attestation", "of chain 1"),
    ("another contract", |t| t.attest = |a| a.contract = DECISION, "attestation", "for contract"),
    ("another rental", |t| t.attest = |a| a.txid = Txid(Digest([1; 32])), "attestation", "about transaction"),
    ("another leg", |t| t.attest = |a| a.leg = LegId(1), "attestation", "leg 1 is no escrow"),
    ("another observation", |t| t.attest = |a| a.observation = Digest([1; 32]), "observation", "not the one"),
    ("a retained reading", |t| t.retained = true, "observation", "retained"),
    ("a shut door", |t| t.value = Value::Text("shut".into()), "observation", "its value is shut"),
    ("the locker's own word", |t| t.observed_thing = locker(), "observation", "is agreed"),
    ("another price", |t| t.price = 1, "agreement", "the amount of leg 0"),
    ("other prepares", |t| t.root = Some(Digest([1; 32])), "evidence root", "the COMMIT names"),
    ("prepared on the chain too late", |t| t.prepared_on_chain_at = 6, "prepared", "only after the decision"),
    ("prepared in the log too late", |t| t.prepared_in_log_at = 21, "prepared", "only after the decision"),
    ("a wrong preimage", |t| t.preimages[1] = Digest::ZERO, "decision", "does not open its hashlock"),
    ("a missing preimage", |t| t.preimages.truncate(1), "decision", "1 preimages, 2 are expected"),
    ("some legs only", |t| t.included = 1, "decision", "breaks the manifest's rule"),
    ("legs that there are not", |t| t.included = 0b111, "decision", "breaks the manifest's rule"),
    ("decided too late", |t| t.decided_at = DEADLINE + 1, "decision", "was the last second"),
    ("decided twice", |t| t.second_decision = true, "decision", "more than one"),
    ("applied before the decision", |t| t.applied_on_chain_at = Some(4), "applied", "before the decision"),
    ("not applied on the chain", |t| t.applied_on_chain_at = None, "applied", "no proof shows that leg 0"),
    ("not applied in the log", |t| t.applied_in_log_at = None, "applied", "no proof shows that leg 1"),
    ("paid unarmed", |t| t.applied_on_chain_at = None, "settlement", "before it was applied"),
    (
        "paid for something else",
        |t| t.settled_for = Some(Digest([1; 32])),
        "settlement",
        "another observation",
    ),
    ("paid too late", |t| t.settled_at = 151, "settlement", "after the submission window"),
    ("paid both ways", |t| t.both_ways = true, "settlement", "both ways"),
    ("not noted", |t| t.noted_at = None, "note", "no proof shows"),
    ("noted after the payment", |t| t.noted_at = Some(30), "note", "only after the payment"),
    ("undescribed things", |t| t.things_noted_at = None, "thing urn:example:locker:1", "no proof shows"),
    ("described later", |t| t.things_noted_at = Some(21), "thing urn:example:sensor:1", "after the decision"),
    ("no records", |t| t.records.clear(), "audit log", "shows no record"),
    ("acted first, decided then", |t| t.records.swap(3, 6), "order", "older than the one before"),
    (
        "applied first, decided then",
        |t| t.records[3..5].copy_from_slice(&[("applied", 5), ("decided", 5)]),
        "order",
        "applied was recorded before decided",
    ),
];

const REFUNDED: &[Lie] = &[
    ("refunded too early", |t| t.refunded_at = 150, "settlement", "before the submission window was over"),
    ("refunded unarmed", |t| t.applied_on_chain_at = None, "settlement", "before it was applied"),
];

/// With an arbiter; each begins with [`Tale::disputable`].
const UNDISPUTED: &[Lie] = &[
    ("paid in the window's last second", |t| t.settled_at = 22, "settlement", "before the dispute window"),
    ("paid unpresented", |t| t.dispute = Some((10, None)), "settlement", "was presented before"),
    (
        "presented after the payment",
        |t| (t.dispute, t.settled_at) = (Some((10, Some(40))), 39),
        "settlement",
        "before the dispute window",
    ),
    (
        "presented too late to be disputed",
        |t| (t.dispute, t.settled_at) = (Some((10, Some(141))), 152),
        "settlement",
        "too late to be disputed",
    ),
    ("overruled, too", |t| t.overruled_at = Some(14), "settlement", "both ways"),
    ("no arbiter is agreed on", |t| t.agreed_dispute = Some(None), "agreement", "arbiter or dispute window"),
];

const OVERRULED: &[Lie] = &[
    ("overruled too late", |t| t.overruled_at = Some(23), "settlement", "after the dispute window"),
    ("overruled unpresented", |t| t.dispute = Some((10, None)), "settlement", "was presented before"),
    ("overruled without an arbiter", |t| t.dispute = None, "settlement", "has no arbiter"),
    (
        "overruled for something else",
        |t| t.settled_for = Some(Digest([1; 32])),
        "settlement",
        "another observation",
    ),
    ("overruled and refunded", |t| t.both_ways = true, "settlement", "paid back twice"),
];

const ABORTED: &[Lie] = &[
    ("a lock that stays", |t| t.applied_on_chain_at = None, "reverted", "the lock of leg 0 was undone"),
    (
        "a record that applies",
        |t| t.entered = Some(Some(true)),
        "reverted",
        "leg 1 was applied in spite of ABORT",
    ),
];

#[test]
fn each_lie_is_refused_for_its_reason() {
    for (story, lies) in [(Story::Settled, SETTLED), (Story::Refunded, REFUNDED), (Story::Aborted, ABORTED)] {
        for (name, lie, check, why) in lies {
            let mut tale = Tale::new(story);
            lie(&mut tale);
            let reasons = refusal(&tale.receipt());
            assert!(is_told(&reasons, check, why), "{name}: {reasons:#?}");
        }
    }
}

#[test]
fn each_lie_about_a_dispute_is_refused_for_its_reason() {
    for (story, lies) in [(Story::Settled, UNDISPUTED), (Story::Overruled, OVERRULED)] {
        for (name, lie, check, why) in lies {
            let mut tale = Tale::disputable(story);
            lie(&mut tale);
            let reasons = refusal(&tale.receipt());
            assert!(is_told(&reasons, check, why), "{name}: {reasons:#?}");
        }
    }
    let mut tale = Tale::disputable(Story::Refunded);
    assert!(is_told(&refusal(&tale.receipt()), "settlement", "although its evidence was presented"));
    tale.dispute = Some((10, None));
    let receipt = tale.receipt();
    assert_eq!(verify(&receipt.to_bytes(), Some(&anchors(&receipt))).verdict(), Verdict::Verified);
}

fn decided_before_prepared(tale: &mut Tale) {
    let place =
        |tale: &Tale, kind: &str| tale.records.iter().position(|(told, _)| *told == kind).expect(kind);
    let (prepared, decided) = (place(tale, "prepared"), place(tale, "decided"));
    let names = (tale.records[prepared].0, tale.records[decided].0);
    (tale.records[decided].0, tale.records[prepared].0) = names;
}

/// A lock that was under way may arrive after ABORT, and is undone; a COMMIT has seen every prepare.
#[test]
fn only_an_abort_may_come_before_a_prepare() {
    let mut tale = Tale::new(Story::Aborted);
    decided_before_prepared(&mut tale);
    let receipt = tale.receipt();
    assert_eq!(verify(&receipt.to_bytes(), Some(&anchors(&receipt))).verdict(), Verdict::Verified);
    let mut tale = Tale::settled();
    decided_before_prepared(&mut tale);
    assert!(is_told(&refusal(&tale.receipt()), "order", "decided was recorded before prepared"));
}

/// Two clocks may differ by less than the skew, and the story still holds.
#[test]
fn clocks_of_two_ledgers_may_differ_a_little() {
    let mut tale = Tale::settled();
    (tale.prepared_in_log_at, tale.applied_in_log_at, tale.noted_at) = (19, Some(19), Some(20));
    let receipt = tale.receipt();
    assert_eq!(verify(&receipt.to_bytes(), Some(&anchors(&receipt))).verdict(), Verdict::Verified);
}

/// Bodies that an operator with a signing key might put together.
#[test]
fn each_forged_body_is_refused_for_its_reason() {
    type Forgery = fn(&mut Body);
    let table: [(&str, Forgery, &str, &str); 22] = [
        ("another txid", |b| b.txid = Txid(Digest([1; 32])), "transaction", "the receipt says"),
        ("another nonce", |b| b.manifest.nonce = Digest([1; 32]), "proof evm", "of another transaction"),
        ("grace without a pivot", |b| b.manifest.grace = Span::from_seconds(9), "manifest", "grace"),
        ("a proof twice", |b| b.proofs.push(b.proofs[0].clone()), "proof evm", "two histories"),
        (
            "a foreign ledger",
            |b| b.proofs[1].ledger = "other".parse().unwrap(),
            "proof other",
            "does not name",
        ),
        ("no chain", |b| drop(b.proofs.remove(0)), "decision", "no proof shows one"),
        ("no log", |b| drop(b.proofs.pop()), "prepared", "leg 1 was prepared on calendar"),
        ("proofs exchanged", |b| b.proofs[1].ledger = evm(), "proof evm", "two histories"),
        ("no evidence", |b| b.evidence = None, "attestation", "holds no evidence"),
        ("no agreement", |b| b.agreement = None, "agreement", "holds no agreement"),
        (
            "another salt",
            |b| b.agreement.as_mut().unwrap().salt = Tale { nonce: 1, ..Tale::settled() }.salt(),
            "agreement",
            "opens neither",
        ),
        ("another payload", |b| b.agreement.as_mut().unwrap().payload[40] ^= 1, "agreement", "opens neither"),
        ("another device time", |b| b.actuation.as_mut().unwrap().told_at = at(11), "evidence time", "told"),
        (
            "a longer description",
            |b| b.things[0].text.as_mut().unwrap().push(' '),
            "thing urn:example:locker:1",
            "not the one of this digest",
        ),
        (
            "an unknown thing",
            |b| b.things[0].id = "urn:example:other".parse().unwrap(),
            "thing urn:example:other",
            "no proof shows",
        ),
        ("an unnamed payer", |b| drop(b.parties.remove(0)), "parties", "has no name"),
        ("a name twice", |b| b.parties[1].name = "renter".into(), "parties", "stands twice"),
        ("an account twice", |b| b.parties[1].account = b.parties[0].account, "parties", "stands twice"),
        ("another renter", |b| b.parties[0].account = Account([9; 20]), "parties", "has no name"),
        (
            "an unknown operator",
            |b| b.operator = "nobody".into(),
            "signatures",
            "the operator nobody did not sign",
        ),
        (
            "another signature",
            |b| b.evidence.as_mut().unwrap().attestation.signature[3] ^= 1,
            "attestation",
            "",
        ),
        ("an upper s", |b| b.evidence.as_mut().unwrap().attestation.signature[32] = 0xff, "attestation", ""),
    ];
    for (name, change, check, why) in table {
        let mut body = Tale::settled().body();
        change(&mut body);
        let reasons = refusal(&body.sign(&operator()));
        assert!(is_told(&reasons, check, why), "{name}: {reasons:#?}");
    }
}

/// A receipt whose body was changed and signed again by somebody else.
#[test]
fn a_receipt_signed_again_without_authority_is_refused() {
    let thief = key(66);
    let body = Tale::settled().body();

    let reasons = refusal(&body.clone().sign(&thief));
    assert!(is_told(&reasons, "signatures", "is no party"), "{reasons:?}");

    let mut posing = body.clone().sign(&thief);
    posing.signatures[0].by = account(&operator());
    assert!(is_told(&refusal(&posing), "signatures", "does not hold"));

    let by_another_party = body.clone().sign(&locker_co());
    assert!(is_told(&refusal(&by_another_party), "signatures", "the operator operator did not sign"));

    let mut twice = body.clone().sign(&operator());
    twice.add_signature(&operator());
    assert!(is_told(&refusal(&twice), "signatures", "signed twice"));

    let mut unsigned = body.clone().sign(&operator());
    unsigned.signatures.clear();
    assert!(is_told(&refusal(&unsigned), "signatures", "did not sign"));

    // Who also takes the operator's name is found out by whoever knows the operator.
    let mut usurped = body;
    usurped.parties[3].account = account(&thief);
    let usurped = usurped.sign(&thief);
    assert!(is_told(&refusal(&usurped), "parties", "the receipt says"));
    assert_eq!(verify(&usurped.to_bytes(), None).verdict(), Verdict::ConsistentUnanchored);
}

/// Two true receipts of the same parties: no piece of one serves in the other.
#[test]
fn a_splice_of_two_receipts_is_refused() {
    let (first, second) = (Tale::settled(), Tale { nonce: 1, ..Tale::settled() });
    type Splice = fn(&mut Body, Body);
    let table: [(&str, Splice, &str); 8] = [
        ("the chain's proof", |a, b| a.proofs[0] = b.proofs[0].clone(), "proof evm"),
        ("the log's proof", |a, b| a.proofs[1] = b.proofs[1].clone(), "proof calendar"),
        ("both proofs", |a, b| a.proofs = b.proofs, "proof evm"),
        ("the manifest", |a, b| a.manifest = b.manifest, "transaction"),
        ("manifest and txid", |a, b| (a.manifest, a.txid) = (b.manifest, b.txid), "proof evm"),
        ("the agreement", |a, b| a.agreement = b.agreement, "agreement"),
        ("the evidence", |a, b| a.evidence = b.evidence, "attestation"),
        ("the records", |a, b| a.audit = b.audit, "audit log"),
    ];
    for (name, splice, check) in table {
        let mut spliced = first.receipt();
        splice(&mut spliced.body, second.body());
        assert!(is_told(&refusal(&spliced), "signatures", "does not hold"), "{name}");
        let reasons = refusal(&spliced.body.sign(&operator()));
        assert!(is_told(&reasons, check, ""), "{name}, signed anew by the operator: {reasons:#?}");
    }
    let mut signatures = first.receipt();
    signatures.signatures = second.receipt().signatures;
    assert!(is_told(&refusal(&signatures), "signatures", "does not hold"));
}

#[test]
fn a_receipt_cut_anywhere_is_refused() {
    let bytes = Tale::settled().receipt().to_bytes();
    for length in (0..bytes.len()).step_by(31).chain([bytes.len() - 1]) {
        assert!(matches!(verify(&bytes[..length], None).verdict(), Verdict::Refused(_)), "{length}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(verify(&longer, None).verdict(), Verdict::Refused(_)));
}

/// Every twenty-third byte, so that the runs of all fields are met; the offset moves with the tale.
#[test]
fn a_receipt_flipped_at_any_byte_is_refused() {
    for (offset, tale) in [Tale::settled(), Tale::refunded(), Tale::aborted()].into_iter().enumerate() {
        let bytes = tale.receipt().to_bytes();
        for index in (offset..bytes.len()).step_by(23) {
            let mut flipped = bytes.clone();
            flipped[index] ^= 1 << (index % 8);
            let verdict = verify(&flipped, None).verdict();
            assert!(matches!(verdict, Verdict::Refused(_)), "byte {index} of {}", bytes.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(matches!(verify(&bytes, None).verdict(), Verdict::Refused(_)));
    }

    /// Pieces of a true receipt, cut, doubled or overwritten.
    #[test]
    fn a_mangled_receipt_is_refused(
        place in any::<proptest::sample::Index>(), length in 1usize..80,
        with in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let bytes = Tale::settled().receipt().to_bytes();
        let start = place.index(bytes.len());
        let end = (start + length).min(bytes.len());
        let mangled = [&bytes[..start], &with, &bytes[end..]].concat();
        prop_assume!(mangled != bytes);
        prop_assert!(matches!(verify(&mangled, None).verdict(), Verdict::Refused(_)));
    }
}
