//! An escrow whose evidence an arbiter may overrule: presented, disputable, then paid or overruled; whoever acts.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "the world is shared with the other tests")]

mod world;

use sofie_market::{
    Agreement, COURTESY, Contract, Effect, Input, Offer, Part, Phase, Report, Seen, Stake, Unmet,
};
use sofie_model::manifest::Dispute;
use sofie_model::ruling::{Ruling, SignedRuling};
use sofie_model::{Account, Evidence, Fact, Manifest, Span, Terms, Timestamp, canonical};
use world::*;

const WINDOW: Span = Span::from_seconds(20);
/// When the evidence was presented, the last second of a ruling, and the first of the payment.
const PRESENTED: Timestamp = Timestamp::from_seconds(1_050);
const UNTIL: Timestamp = Timestamp::from_seconds(1_070);
const PAYS: Timestamp = Timestamp::from_seconds(1_071);

fn dispute() -> Dispute {
    Dispute { arbiter: Account::from(key(7).verifying_key()), window: WINDOW }
}

fn agreed() -> Agreement {
    Agreement { dispute: Some(dispute()), ..agreement() }
}

fn with(change: impl Fn(&mut Option<Dispute>)) -> Manifest {
    let mut manifest = manifest();
    let Terms::Escrow(terms) = &mut manifest.legs[0].terms else { unreachable!() };
    terms.dispute = Some(dispute());
    change(&mut terms.dispute);
    manifest
}

fn new(part: Part) -> Contract {
    Contract::begin(agreed(), &with(|_| {})).unwrap().as_part(part)
}

fn word() -> sofie_model::SignedAttestation {
    new(Part::Both).attestation(&reading(NOW), &salt()).sign(&evidence_key())
}

fn ruling() -> Ruling {
    Ruling::on(&word().attestation)
}

fn ruled(by: u8) -> Input {
    Input::Ruled(ruling().sign(&key(by)))
}

fn fact(kind: fn(sofie_model::Txid, sofie_model::LegId) -> Fact) -> Evidence {
    Evidence { at: PRESENTED, ..seen(kind(new(Part::Both).txid(), LEG)) }
}

fn presented() -> Input {
    Input::Presented(fact(Fact::Presented))
}

fn overruled() -> Input {
    Input::Overruled(fact(Fact::Overruled))
}

fn paid() -> Input {
    Input::Settled(fact(Fact::Settled))
}

/// The inputs until the evidence is known, by part.
fn known(part: Part) -> Vec<Input> {
    let told = [Input::Committed(NOW), Input::Armed];
    match part {
        Part::Payer => told.into_iter().chain([Input::Attested(word())]).collect(),
        Part::Both => {
            let device = [Input::Issued(TOKEN.into()), Input::Acting, Input::Attested(word()), noted()];
            told.into_iter().chain(device).collect()
        }
        Part::Owner => {
            let device = [Input::Issued(TOKEN.into()), Input::Acting, Input::Attested(word())];
            told.into_iter().chain(device).collect()
        }
    }
}

/// One that this node has presented.
fn disputable(part: Part) -> Contract {
    let mut contract = run(new(part), known(part));
    if let Phase::Noting { until, .. } = contract.phase().clone() {
        contract = contract.next(&Input::Woken, until).unwrap();
    }
    assert_eq!(name(contract.phase()), "presenting", "{part:?}");
    run(contract, [presented()])
}

const PARTS: [Part; 3] = [Part::Both, Part::Owner, Part::Payer];

#[test]
fn a_contract_begins_only_on_the_arbiter_that_is_agreed() {
    assert!(Contract::begin(agreement(), &with(|_| {})).is_none(), "none is agreed");
    assert!(Contract::begin(agreed(), &manifest()).is_none(), "none may overrule");
    let changes: [fn(&mut Dispute); 2] =
        [|dispute| dispute.arbiter = account(9), |dispute| dispute.window = Span::from_seconds(21)];
    for change in changes {
        let other = with(|dispute| dispute.iter_mut().for_each(change));
        assert!(Contract::begin(agreed(), &other).is_none());
    }
}

#[test]
fn evidence_is_presented_then_stands_until_the_window_is_over_and_pays() {
    for part in PARTS {
        let contract = disputable(part);
        let late = if part == Part::Payer { COURTESY } else { Span::ZERO };
        let from = PAYS + late;
        assert_eq!((contract.disputable_until(), contract.pays_from()), (Some(UNTIL), Some(from)));
        assert_eq!(contract.effects(), vec![Effect::Look, Effect::Wake(from)], "{part:?}");
        let last =
            contract.clone().next(&Input::Woken, Timestamp::from_millis(from.as_millis() - 1)).unwrap();
        assert_eq!(name(last.phase()), "disputable", "{part:?}");
        // The refund's time is nothing to it.
        let due = contract.clone().next(&Input::Woken, from).unwrap();
        assert_eq!(due.effects(), vec![Effect::Settle { leg: LEG, attestation: word() }], "{part:?}");
        let ended = run(due, [paid()]);
        assert_eq!((name(ended.phase()), ended.effects()), ("settled", vec![Effect::Receipt]));
        // Or the other side has had it paid.
        assert_eq!(name(run(contract, [paid()]).phase()), "settled");
    }
}

#[test]
fn the_arbiters_ruling_goes_to_the_escrow_and_no_other_does() {
    let other = |change: fn(&mut Ruling)| {
        let mut ruling = ruling();
        change(&mut ruling);
        Input::Ruled(ruling.sign(&key(7)))
    };
    for part in PARTS {
        let contract = disputable(part);
        assert_eq!(contract.ruling(), Some(ruling()));
        let refused = [
            (ruled(8), "only the arbiter"),
            (other(|r| r.observation = sofie_model::Digest::ZERO), "another observation"),
            (other(|r| r.leg = sofie_model::LegId(1)), "another escrow"),
            (other(|r| r.chain_id += 1), "another escrow"),
        ];
        for (input, why) in refused {
            let said = contract.clone().next(&input, NOW).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
        let ruling_taken = run(contract.clone(), [ruled(7)]);
        let signed: SignedRuling = ruling().sign(&key(7));
        assert_eq!(ruling_taken.effects(), vec![Effect::Overrule { leg: LEG, ruling: signed }]);
        assert_eq!(run(ruling_taken.clone(), [ruled(7)]), ruling_taken, "the same word twice");
        let back = run(ruling_taken.clone(), [overruled()]);
        assert_eq!((name(back.phase()), back.effects()), ("overruled", vec![Effect::Receipt]));
        assert_eq!(run(back.clone(), [paid(), presented(), ruled(7)]), back, "it ended");
        // Too late for the ledger: the evidence stands.
        let late = run(ruling_taken, [Input::OverruleRefused("the window is over".into())]);
        assert_eq!(late, contract);
        // The other side brought it.
        assert_eq!(name(run(contract, [overruled()]).phase()), "overruled");
    }
}

#[test]
fn nothing_is_overruled_before_it_is_presented_or_after_its_time() {
    let before = run(new(Part::Owner), known(Part::Owner));
    let said = before.next(&ruled(7), NOW).unwrap_err().to_string();
    assert!(said.contains("no evidence has been presented"), "{said}");
    let due = disputable(Part::Owner).next(&Input::Woken, PAYS).unwrap();
    let said = due.next(&ruled(7), PAYS).unwrap_err().to_string();
    assert!(said.contains("the dispute window is over"), "{said}");
    let without = after(5).next(&ruled(7), NOW).unwrap_err().to_string();
    assert!(without.contains("no arbiter"), "{without}");
    assert!(after(5).next(&presented(), NOW).is_err(), "of another contract");
}

#[test]
fn evidence_that_the_escrow_does_not_take_leaves_the_refund_and_what_it_took_does_not() {
    let no = || Input::SettleRefused("no".into());
    let presenting = run(new(Part::Owner), known(Part::Owner));
    assert_eq!(name(run(presenting, [no()]).phase()), "waiting");
    for (part, then) in [(Part::Both, "stuck"), (Part::Owner, "stuck"), (Part::Payer, "disputable")] {
        let contract = disputable(part);
        let due = contract.clone().next(&Input::Woken, contract.pays_from().unwrap()).unwrap();
        let refused = run(due, [no()]);
        assert_eq!(name(refused.phase()), then, "{part:?}");
        // What the ledger says stands all the same.
        assert_eq!(name(run(refused, [paid()]).phase()), "settled");
    }
}

#[test]
fn what_the_other_side_presented_is_paid_once_its_word_is_known_here() {
    let armed = [Input::Committed(NOW), Input::Armed];
    let seen = Seen { observation: reading(NOW), salt: salt(), attestation: word() };
    let report = Report { told_at: Some(NOW), seen: Some(seen.clone()), ..Report::default() };
    let hears = [Input::Attested(word()), Input::Brought(seen), Input::Reported(report)];
    for hears in hears {
        let unknown = run(new(Part::Payer), armed.iter().cloned().chain([presented()]));
        assert_eq!((name(unknown.phase()), unknown.ruling()), ("disputable", None));
        assert_eq!(unknown.effects(), vec![Effect::Look]);
        // The arbiter may know more than this node.
        assert_eq!(name(run(unknown.clone(), [ruled(7)]).phase()), "overruling");
        let known = run(unknown, [hears]);
        assert_eq!((name(known.phase()), known.ruling()), ("disputable", Some(ruling())));
        assert_eq!(known.effects(), vec![Effect::Look, Effect::Wake(PAYS + COURTESY)]);
    }
    // Presented by somebody else while the refund was waited for, or asked.
    let denied = run(new(Part::Both), known(Part::Both).into_iter().take(4));
    let waits = run(denied, [Input::Denied("the door refuses".into())]);
    let asks = waits.clone().next(&Input::Woken, REFUND_AT).unwrap();
    for contract in [waits, asks] {
        assert_eq!(name(run(contract, [presented()]).phase()), "disputable");
    }
}

/// A restart is a replay of what is journaled: in every phase it wants the same.
#[test]
fn a_restart_in_any_phase_goes_on() {
    for end in [vec![ruled(7), overruled()], vec![Input::Woken, paid()]] {
        let mut inputs = known(Part::Owner);
        inputs.push(presented());
        inputs.extend(end);
        let encoded: Vec<_> = inputs.iter().map(canonical::encode).collect();
        let mut phases = Vec::new();
        for count in 0..=inputs.len() {
            let told = |contract: Contract, input: &Input| {
                let now = if *input == Input::Woken { PAYS } else { NOW };
                contract.next(input, now).unwrap()
            };
            let lived = inputs[..count].iter().fold(new(Part::Owner), told);
            let replayed = encoded[..count].iter().fold(new(Part::Owner), |contract, bytes| {
                told(contract, &canonical::decode(bytes, 64 * 1024).unwrap())
            });
            let replayed = replayed.after_restart();
            phases.push(name(replayed.phase()));
            if phases.last() != Some(&"acting") {
                assert_eq!((&replayed, replayed.effects()), (&lived, lived.effects()), "after {count}");
            }
        }
        assert!(["presenting", "disputable"].iter().all(|phase| phases.contains(phase)), "{phases:?}");
    }
}

#[test]
fn an_offer_fixes_the_arbiter_and_takes_none_beside_a_penalty() {
    let agreed = agreement();
    let offer = Offer {
        thing: agreed.thing,
        action: agreed.action,
        input: agreed.input,
        owner: agreed.owner,
        price: agreed.price,
        ledger: "evm".parse().unwrap(),
        evidence: agreed.evidence,
        evidence_key: Account::from(evidence_key().verifying_key()),
        witnesses: None,
        penalty: None,
        dispute: Some(dispute()),
        decision_within: Span::from_seconds(60),
        evidence_within: Span::from_seconds(540),
        submission_window: Span::from_seconds(30),
        until: Timestamp::from_seconds(2_000),
    };
    let deadline = NOW + offer.decision_within;
    let agreement = offer.agreement(account(1), NOW, deadline);
    assert_eq!(offer.met_by(&agreement, deadline, NOW), Ok(()));
    assert_eq!(offer.escrow(account(0xe5), account(1), deadline).dispute, agreement.dispute);
    let none = Agreement { dispute: None, ..agreement.clone() };
    assert_eq!(offer.met_by(&none, deadline, NOW), Err(Unmet::Agreement));
    let stake = Stake { amount: 1, within: Span::from_seconds(60) };
    let both = Offer { penalty: Some(stake), ..offer };
    let agreement = both.agreement(account(1), NOW, deadline);
    assert_eq!(both.met_by(&agreement, deadline, NOW), Err(Unmet::Both));
}
