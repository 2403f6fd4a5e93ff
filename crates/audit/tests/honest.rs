//! True receipts, with and without anchors.

#![allow(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod tale;

use sofie_audit::{
    Anchors, Check, Outcome, Receipt, Report, Story, Verdict, anchors::PinnedCheckpoint, receipt::Unreadable,
    verify,
};
use sofie_model::{Account, Digest};
use tale::*;

fn tales() -> [Tale; 3] {
    [Tale::settled(), Tale::refunded(), Tale::aborted()]
}

fn outcome(report: &Report, name: &str) -> Outcome {
    report.check(name).unwrap_or_else(|| panic!("{name} was not checked")).outcome
}

#[test]
fn with_its_anchors_a_receipt_is_verified() {
    for tale in tales() {
        let receipt = tale.receipt();
        let report = verify(&receipt.to_bytes(), Some(&anchors(&receipt)));
        assert_eq!(report.verdict(), Verdict::Verified, "{:#?}", report.checks);
        assert_eq!((report.story, report.txid), (Some(tale.story), Some(tale.manifest().txid())));
        assert_eq!(outcome(&report, "decision"), Outcome::Passed);
        assert_eq!(report.anchors.len(), 2);
    }
}

/// Two nodes reach no record ledger together: the nonce binds what was agreed, and no note of the evidence is asked for.
#[test]
fn between_two_nodes_the_nonce_binds_the_agreement() {
    let receipt = Tale::between_nodes().receipt();
    let report = verify(&receipt.to_bytes(), Some(&anchors(&receipt)));
    assert_eq!(report.verdict(), Verdict::Verified, "{:#?}", report.checks);
    for (name, expected) in
        [("agreement", Outcome::Passed), ("observation", Outcome::Passed), ("note", Outcome::Absent)]
    {
        assert_eq!(outcome(&report, name), expected, "{name}");
    }
    let other = Tale { bound_to: Some(Digest([1; 32])), ..Tale::between_nodes() }.receipt();
    let report = verify(&other.to_bytes(), Some(&anchors(&other)));
    assert_eq!(outcome(&report, "agreement"), Outcome::Failed, "{:#?}", report.checks);
    assert!(matches!(report.verdict(), Verdict::Refused(_)));
}

/// Each word is held against its own sensor's rule, and two of them are what the escrow was paid for, whichever they are.
#[test]
fn the_readings_of_as_many_sensors_as_were_agreed_on_prove_a_payment() {
    for two_nodes in [false, true] {
        for (shown, paid_for) in [(vec![0, 1], [0, 1]), (vec![2, 0], [0, 2]), (vec![0, 1, 2], [1, 2])] {
            let receipt = Tale { shown, paid_for, ..Tale::of_panel(two_nodes) }.receipt();
            let report = verify(&receipt.to_bytes(), Some(&anchors(&receipt)));
            assert_eq!(report.verdict(), Verdict::Verified, "{:#?}", report.checks);
            let told = &report.check("attestation").unwrap().reason;
            assert_eq!(told, "signed by 2 of the panel's 3 keys");
        }
    }
}

/// The stake is the owner's again, or the renter's besides his money.
#[test]
fn a_penalty_that_was_paid_or_given_back_is_proven() {
    let by_two = |tale| Tale { shown: vec![0, 1], ..tale };
    for (tale, told) in [
        (Tale::kept(), "300 paid back to"),
        (Tale::missed(), "300 paid to"),
        (by_two(Tale::kept()), "300 paid back to"),
        (by_two(Tale::missed()), "300 paid to"),
    ] {
        let receipt = tale.receipt();
        let report = verify(&receipt.to_bytes(), Some(&anchors(&receipt)));
        assert_eq!(report.verdict(), Verdict::Verified, "{:#?}", report.checks);
        assert_eq!(report.story, Some(tale.story));
        let said = &report.check("settlement").unwrap().reason;
        assert!(said.contains(told), "{said}");
    }
}

/// Nothing undoes what was appended: its reader looks at D, finds no COMMIT, and is told what that means.
#[test]
fn a_record_that_nobody_closed_is_told_to_be_without_effect_under_an_abort() {
    for (closed, told) in [
        (None, "1 locks undone; 1 records stand that nobody closed, without effect for want of a COMMIT"),
        (Some(false), "nothing took effect; 2 locks undone"),
    ] {
        let receipt = Tale { entered: Some(closed), ..Tale::aborted() }.receipt();
        let report = verify(&receipt.to_bytes(), Some(&anchors(&receipt)));
        assert_eq!(
            (report.verdict(), report.story),
            (Verdict::Verified, Some(Story::Aborted)),
            "{:#?}",
            report.checks
        );
        let said = &report.check("reverted").unwrap().reason;
        assert!(said.ends_with(told), "{said}");
    }
}

#[test]
fn without_anchors_it_is_consistent_and_the_decision_unanchored() {
    for tale in tales() {
        let report = verify(&tale.receipt().to_bytes(), None);
        assert_eq!(report.verdict(), Verdict::ConsistentUnanchored);
        assert_eq!(report.verdict().to_string(), "consistent, anchors not pinned");
        let unanchored: Vec<_> = report
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::Unanchored)
            .map(|check| check.name.as_str())
            .collect();
        assert_eq!(unanchored, ["parties", "anchor evm", "anchor calendar", "contracts", "decision"]);
    }
}

/// Each pin that is missing leaves its own check open, and the decision when it rests on it.
#[test]
fn each_missing_pin_is_told() {
    let receipt = Tale::settled().receipt();
    type Change = fn(&mut Anchors);
    let table: [(&str, Change, &[&str]); 5] = [
        ("no block", |a| a.chain.clear(), &["anchor evm", "contracts", "decision"]),
        ("no log", |a| a.calendar.clear(), &["anchor calendar"]),
        ("no decision contract", |a| a.chain[0].decision = None, &["contracts", "decision"]),
        ("no escrow contract", |a| a.chain[0].escrow = None, &["contracts", "decision"]),
        ("no operator", |a| a.accounts.retain(|name, _| name != "operator"), &["parties"]),
    ];
    for (name, change, expected) in table {
        let mut anchors = anchors(&receipt);
        change(&mut anchors);
        let report = verify(&receipt.to_bytes(), Some(&anchors));
        let open: Vec<_> = report
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::Unanchored)
            .map(|check| check.name.as_str())
            .collect();
        assert_eq!(open, expected, "{name}");
        assert_eq!(report.verdict(), Verdict::ConsistentUnanchored, "{name}");
    }
}

#[test]
fn each_other_pin_refuses() {
    let receipt = Tale::settled().receipt();
    let other = Account([9; 20]);
    let checkpoint = || PinnedCheckpoint { size: 5, root: Digest([1; 32]) };
    type Change = Box<dyn Fn(&mut Anchors)>;
    let table: [(&str, Change); 6] = [
        ("anchor evm", Box::new(|a| a.chain[0].block = Digest([1; 32]))),
        ("anchor calendar", Box::new(|a| a.calendar[0].key = Digest([1; 32]))),
        ("anchor calendar", Box::new(move |a| a.calendar[0].checkpoint = Some(checkpoint()))),
        ("contracts", Box::new(move |a| a.chain[0].decision = Some(other))),
        ("contracts", Box::new(move |a| a.chain[0].escrow = Some(other))),
        ("parties", Box::new(move |a| a.accounts.extend([("sensor-co".to_owned(), other)]))),
    ];
    for (name, change) in table {
        let mut anchors = anchors(&receipt);
        change(&mut anchors);
        let report = verify(&receipt.to_bytes(), Some(&anchors));
        let Verdict::Refused(reasons) = report.verdict() else { panic!("{name} was not refused") };
        assert!(reasons.len() == 1 && reasons[0].starts_with(name), "{name}: {reasons:?}");
    }
}

#[test]
fn anchors_are_a_file() {
    let receipt = Tale::settled().receipt();
    let mut anchors = anchors(&receipt);
    anchors.keys.insert("locker-co".into(), Digest([1; 32]));
    assert_eq!(Anchors::parse(&anchors.to_toml()), Ok(anchors));
    for (text, expected) in [
        ("[[chains]]", "unknown field `chains`"),
        ("[[chain]]\nid = 1", "missing field `block`"),
        ("[[chain]]\nid = 1\nblock = \"12\"", "is not a digest"),
        ("[accounts]\noperator = \"0x12\"", "is not a account"),
        ("chain", "line 1"),
    ] {
        let error = Anchors::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(Anchors::parse(&"#".repeat(300_000)).is_err());
}

#[test]
fn what_the_proofs_rest_on_can_be_pinned() {
    let receipt = Tale::settled().receipt();
    let first = verify(&receipt.to_bytes(), None);
    let mut pinned = Anchors::default();
    first.anchors.iter().for_each(|rests| pinned.pin(&rests.on));
    pinned.know_contracts(DECISION, ESCROW);
    pinned.accounts = anchors(&receipt).accounts;
    assert_eq!(verify(&receipt.to_bytes(), Some(&pinned)).verdict(), Verdict::Verified);
}

#[test]
fn the_capability_is_judged_by_who_knows_it() {
    let receipt = Tale::settled().receipt();
    let mut report = verify(&receipt.to_bytes(), Some(&anchors(&receipt)));
    assert_eq!(outcome(&report, "capability"), Outcome::Absent);
    let check = |outcome| Check { name: "capability".into(), outcome, reason: "as the door said".into() };
    report.set(check(Outcome::Failed));
    assert!(matches!(report.verdict(), Verdict::Refused(_)));
    report.set(check(Outcome::Passed));
    assert!(matches!(report.verdict(), Verdict::Refused(_)), "a failure stays");
}

#[test]
fn a_receipt_is_read_back() {
    let mut receipt = Tale::settled().receipt();
    receipt.add_signature(&renter());
    let bytes = receipt.to_bytes();
    assert_eq!(Receipt::from_bytes(&bytes).as_ref(), Ok(&receipt));
    assert_eq!(verify(&bytes, Some(&anchors(&receipt))).verdict(), Verdict::Verified);
    assert!(bytes.len() < 16_000, "{} bytes", bytes.len());
}

#[test]
fn a_receipt_keeps_its_limits() {
    let mut later = Tale::settled().body();
    later.version = 2;
    let later = later.sign(&operator());
    assert_eq!(Receipt::from_bytes(&later.to_bytes()), Err(Unreadable::Version { got: 2 }));
    let mut large = Tale::settled().body();
    large.things[0].text = Some("x".repeat(70_000));
    let error = Receipt::from_bytes(&large.sign(&operator()).to_bytes()).unwrap_err().to_string();
    assert!(error.contains("things' descriptions has 70000"), "{error}");
}

/// The room that makes agreements and the one that reads them agree on every byte.
#[test]
fn an_agreement_is_read_as_the_market_wrote_it() {
    let written = sofie_model::canonical::encode(&Tale::settled().agreement());
    let read: sofie_audit::Agreement = sofie_model::canonical::decode(&written, 4096).unwrap();
    assert_eq!(read.evidence.property, "door");
    assert_eq!(read.price, PRICE);
}

#[test]
fn what_stood_undisputed_and_what_was_overruled_are_told() {
    for (story, why) in
        [(Story::Settled, "for this observation"), (Story::Overruled, "overruled the evidence")]
    {
        let receipt = Tale::disputable(story).receipt();
        let report = verify(&receipt.to_bytes(), Some(&anchors(&receipt)));
        assert_eq!((report.verdict(), report.story), (Verdict::Verified, Some(story)), "{report:#?}");
        let check = report.check("settlement").unwrap();
        assert!(check.reason.contains(why), "{check:?}");
    }
}

#[test]
fn an_unfinished_story_is_told_as_such() {
    let mut tale = Tale::new(Story::Committed);
    tale.records.truncate(7);
    let receipt = tale.receipt();
    let report = verify(&receipt.to_bytes(), Some(&anchors(&receipt)));
    assert_eq!((report.verdict(), report.story), (Verdict::Verified, Some(Story::Committed)));
    assert_eq!(outcome(&report, "settlement"), Outcome::Absent);
}

/// Evidence that came too late, or by a key without authority, does not contradict the refund that it could not stop.
#[test]
fn evidence_that_did_not_count_is_told_and_the_refund_stands() {
    for (name, change) in [
        ("evidence time", (|t| t.observed_at = EVIDENCE_DEADLINE + 5) as fn(&mut Tale)),
        ("attestation", |t| t.attestor = key(7)),
    ] {
        let (mut tale, mut late) = (Tale::refunded(), Tale::settled());
        change(&mut late);
        change(&mut tale);
        let mut body = tale.body();
        body.evidence = late.body().evidence;
        let receipt = body.sign(&operator());
        let report = verify(&receipt.to_bytes(), Some(&anchors(&receipt)));
        assert_eq!((report.verdict(), report.story), (Verdict::Verified, Some(Story::Refunded)), "{name}");
        let check = report.check(name).unwrap();
        assert!(
            check.outcome == Outcome::Absent && check.reason.starts_with("it did not count"),
            "{check:?}"
        );
    }
}
