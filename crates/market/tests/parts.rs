//! A contract whose sides are on two nodes: what the owner's tells, what the payer's believes, and who closes the escrow.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "the world is shared with the other tests")]

mod world;

use sofie_market::{COURTESY, Contract, Effect, Input, Offer, Part, Phase, Report, Seen, Unmet};
use sofie_model::{Span, Timestamp, Value};
use world::*;

fn owner(steps: usize) -> Contract {
    run(begin().as_part(Part::Owner), good_run().into_iter().take(steps))
}

/// The payer's, once the escrow is armed.
fn payer() -> Contract {
    run(begin().as_part(Part::Payer), [Input::Committed(NOW), Input::Armed])
}

fn proof() -> Seen {
    Seen { observation: reading(NOW), salt: salt(), attestation: attested(&evidence_key(), true) }
}

fn told() -> Report {
    Report { told_at: Some(NOW), outcome: Some("2.04".into()), ..Report::default() }
}

fn reported(contract: Contract, report: &Report) -> Contract {
    run(contract, [Input::Reported(report.clone())])
}

#[test]
fn the_owner_tells_what_it_has_done_and_asks_for_the_payment_at_once() {
    assert_eq!(owner(4).report(), Report::default(), "when it was told is its own field");
    assert_eq!(owner(5).report().outcome.as_deref(), Some("2.04"));
    let attested = owner(7);
    assert_eq!(name(attested.phase()), "settling");
    assert_eq!(attested.report().seen, Some(proof()));
    let denied = run(owner(4), [Input::Denied("the door refuses".into())]);
    assert_eq!(denied.report().outcome.as_deref(), Some("the door refuses"));
    // What the payer's node would say is nothing to the owner's.
    assert!(owner(5).next(&Input::Reported(told()), NOW).is_err());
}

#[test]
fn the_payer_waits_for_the_owner_and_looks_at_the_ledger() {
    let armed = payer();
    assert_eq!(name(armed.phase()), "awaiting");
    assert_eq!(armed.effects(), vec![Effect::Look, Effect::Wake(REFUND_AT)]);
    let watching = reported(armed.clone(), &told());
    assert_eq!((name(watching.phase()), watching.told_at()), ("watching", Some(NOW)));
    assert!(!watching.is_news(&told()), "what was said once is no news");
    // What stands on the ledger counts, whoever brought it about, and whatever was told.
    for contract in [armed, watching] {
        assert_eq!(name(run(contract.clone(), [settled()]).phase()), "settled");
        assert_eq!(name(run(contract, [refunded()]).phase()), "refunded");
    }
}

#[test]
fn the_payer_brings_the_evidence_only_when_the_owner_does_not() {
    let known = reported(payer(), &Report { seen: Some(proof()), ..told() });
    let Phase::Noting { until, .. } = known.phase().clone() else { panic!("{:?}", known.phase()) };
    assert_eq!(known.effects(), vec![Effect::Look, Effect::Wake(until)]);
    assert!(until < REFUND_AT);
    let just_before = Timestamp::from_millis(until.as_millis() - 1);
    assert_eq!(name(known.clone().next(&Input::Woken, just_before).unwrap().phase()), "noting");
    assert_eq!(name(known.clone().next(&Input::Woken, until).unwrap().phase()), "settling");
    assert_eq!(name(run(known, [settled()]).phase()), "settled");
    // Anybody may bring the word.
    let brought = run(payer(), [Input::Attested(attested(&evidence_key(), true))]);
    assert_eq!(name(brought.phase()), "noting");
}

#[test]
fn what_is_reported_before_the_escrow_is_armed_or_after_it_is_paid_is_kept() {
    let whole = Report { seen: Some(proof()), ..told() };
    let early = run(begin().as_part(Part::Payer), [Input::Committed(NOW), Input::Reported(whole.clone())]);
    assert_eq!(name(early.phase()), "committed");
    assert_eq!(name(run(early, [Input::Armed]).phase()), "noting");
    let late = reported(run(payer(), [settled()]), &whole);
    assert_eq!((name(late.phase()), late.report()), ("settled", whole));
}

#[test]
fn a_report_that_lies_changes_nothing() {
    let other = |change: fn(&mut Seen)| {
        let mut seen = proof();
        change(&mut seen);
        seen
    };
    for (what, seen) in [
        ("another key", other(|seen| seen.attestation = attested(&key(9), true))),
        ("not fulfilled", other(|seen| seen.attestation = attested(&evidence_key(), false))),
        ("another observation", other(|seen| seen.observation.quantity.value = Value::Bool(false))),
        ("another salt", other(|seen| seen.salt = sofie_model::Salt::new([1; 32]))),
        ("a retained message", other(|seen| seen.observation.retained = true)),
    ] {
        let armed = payer();
        let said = Input::Reported(Report { seen: Some(seen), ..told() });
        assert!(armed.clone().next(&said, NOW).is_err(), "{what}");
    }
    // That the device was told after it was seen to act is the owner's own harm.
    let later =
        Report { told_at: Some(NOW + Span::from_seconds(5)), seen: Some(proof()), ..Report::default() };
    assert_eq!(name(reported(payer(), &later).phase()), "watching");
}

#[test]
fn the_payer_has_the_money_paid_back_first() {
    for contract in [payer(), reported(payer(), &told())] {
        assert_eq!(name(contract.next(&Input::Woken, REFUND_AT).unwrap().phase()), "refunding");
    }
    for steps in [2, 3, 4, 5, 6] {
        let waits = owner(steps);
        let before = name(waits.phase());
        assert!(waits.effects().contains(&Effect::Look), "{before}");
        let due = REFUND_AT + COURTESY;
        assert_eq!(name(waits.clone().next(&Input::Woken, REFUND_AT).unwrap().phase()), before);
        assert_eq!(name(waits.next(&Input::Woken, due).unwrap().phase()), "refunding");
    }
}

fn offer() -> Offer {
    let agreed = agreement();
    Offer {
        thing: agreed.thing,
        action: agreed.action,
        input: agreed.input,
        owner: agreed.owner,
        price: agreed.price,
        ledger: "evm".parse().unwrap(),
        evidence: agreed.evidence,
        evidence_key: sofie_model::Account::from(evidence_key().verifying_key()),
        witnesses: None,
        penalty: None,
        dispute: None,
        decision_within: Span::from_seconds(60),
        evidence_within: Span::from_seconds(540),
        submission_window: Span::from_seconds(30),
        until: NOW + Span::from_seconds(3_600),
    }
}

#[test]
fn an_offer_makes_one_agreement_and_one_escrow_for_a_payer_and_a_time() {
    let (offer, deadline) = (offer(), NOW + Span::from_seconds(60));
    assert_eq!(offer.agreement(account(1), NOW, deadline), agreement());
    let contract = begin();
    let (_, terms) = contract.escrow();
    assert_eq!(&offer.escrow(terms.contract, account(1), deadline), terms);
    assert_ne!(Offer { price: 1, ..offer.clone() }.id(), offer.id());

    let met = |agreed, deadline, now| offer.met_by(&agreed, deadline, now);
    assert_eq!(met(agreement(), deadline, NOW), Ok(()));
    let ended = NOW + Span::from_seconds(3_601);
    assert_eq!(met(agreement(), deadline, ended), Err(Unmet::Ended { until: offer.until }));
    let far = NOW + Span::from_seconds(91);
    let agreed = offer.agreement(account(1), NOW, far);
    assert_eq!(met(agreed, far, NOW), Err(Unmet::TooFar { within: offer.decision_within }));
    let later = offer.agreement(account(1), NOW + Span::from_seconds(31), deadline);
    assert_eq!(met(later, deadline, NOW), Err(Unmet::NotNow));
    let cheap = sofie_market::Agreement { price: 1, ..agreement() };
    assert_eq!(met(cheap, deadline, NOW), Err(Unmet::Agreement));
}
