//! The contract's arms, one row each, and what holds in any order of honest and dishonest inputs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use proptest::prelude::*;
use sofie_market::{Contract, Effect, Input, Phase, Unfit};
use sofie_model::{
    Digest, Fact, LegId, Observation, Quantity, Salt, Span, ThingId, Timestamp, Txid, Value, canonical,
};
use world::*;

/// What an effect is, without its contents.
fn kinds(contract: &Contract) -> Vec<&'static str> {
    let kind = |effect: &Effect| match effect {
        Effect::Follow => "follow",
        Effect::Arm => "arm",
        Effect::Issue => "issue",
        Effect::Act { .. } => "act",
        Effect::Inspect => "inspect",
        Effect::Watch { .. } => "watch",
        Effect::Attest { .. } => "attest",
        Effect::Notice { .. } => "notice",
        Effect::AttestMissed { .. } => "attest missed",
        Effect::Note { .. } => "note",
        Effect::Present { .. } => "present",
        Effect::Overrule { .. } => "overrule",
        Effect::Settle { .. } => "settle",
        Effect::Refund { .. } => "refund",
        Effect::Look => "look",
        Effect::Receipt => "receipt",
        Effect::Wake(_) => "wake",
        Effect::Alarm(_) => "alarm",
    };
    contract.effects().iter().map(kind).collect()
}

#[test]
fn a_good_run_asks_for_one_thing_after_the_other_and_pays_the_payee() {
    let steps: [(&str, &[&str]); 11] = [
        ("recording", &["follow"]),
        ("committed", &["arm"]),
        ("issuing", &["issue", "wake"]),
        ("ready", &["act", "wake"]),
        ("acting", &["watch", "wake"]),
        ("watching", &["watch", "wake"]),
        ("watching", &["attest", "wake"]),
        ("noting", &["note", "wake"]),
        ("settling", &["settle"]),
        ("settled", &["receipt"]),
        ("settled", &[]),
    ];
    for (count, (phase, wanted)) in steps.into_iter().enumerate() {
        let contract = after(count);
        assert_eq!((name(contract.phase()), kinds(&contract)), (phase, wanted.to_vec()), "step {count}");
        assert_eq!(contract.ended(), count == 10);
        assert_eq!(contract.told_at(), (count >= 4).then_some(NOW));
    }
}

#[test]
fn every_other_arm_leads_where_it_says() {
    let unfulfilled = || Input::Attested(attested(&evidence_key(), false));
    let fulfilled = || Input::Attested(attested(&evidence_key(), true));
    let no = |input: fn(String) -> Input| input("no".into());
    let rows = [
        (0, no(Input::Aborted), "aborted"),
        (1, no(Input::Aborted), "committed"),
        (2, no(Input::Denied), "waiting"),
        (4, no(Input::Denied), "waiting"),
        (5, no(Input::Denied), "watching"),
        (4, no(Input::FateUnknown), "watching"),
        (4, observed(reading(NOW)), "watching"),
        (4, fulfilled(), "noting"),
        (5, fulfilled(), "noting"),
        (4, unfulfilled(), "waiting"),
        (6, unfulfilled(), "waiting"),
        // Once its word is taken, the sensor's owner has no say.
        (7, unfulfilled(), "noting"),
        (8, unfulfilled(), "settling"),
        (9, unfulfilled(), "settled"),
        (7, no(Input::NoteRefused), "settling"),
        (8, no(Input::SettleRefused), "waiting"),
        (4, Input::Acting, "acting"),
        (2, Input::Acting, "issuing"),
        (5, settled(), "settled"),
        (5, refunded(), "refunded"),
        (9, refunded(), "settled"),
        (5, Input::Receipted(Digest::ZERO), "watching"),
    ];
    for (steps, input, expected) in rows {
        let contract = run(after(steps), [input.clone()]);
        assert_eq!(name(contract.phase()), expected, "after {steps} steps: {input:?}");
    }
}

#[test]
fn without_evidence_the_payer_is_paid_back_after_the_window_and_not_before() {
    assert_eq!(begin().refund_at(), REFUND_AT);
    let just_before = Timestamp::from_millis(REFUND_AT.as_millis() - 1);
    for steps in 2..=6 {
        let waiting = after(steps);
        let name_before = name(waiting.phase());
        let early = waiting.clone().next(&Input::Woken, just_before).unwrap();
        assert_eq!(name(early.phase()), name_before);
        let due = waiting.next(&Input::Woken, REFUND_AT).unwrap();
        assert_eq!((name(due.phase()), kinds(&due)), ("refunding", vec!["refund"]), "from {name_before}");
        let back = run(due.clone(), [refunded()]);
        assert_eq!(back.phase(), &Phase::Refunded { reason: "no evidence came before the deadline".into() });
        let stuck = run(due, [Input::RefundRefused("paused".into())]);
        assert_eq!((name(stuck.phase()), kinds(&stuck)), ("stuck", vec!["alarm"]));
        // Somebody else's call can still end it.
        assert_eq!(name(run(stuck, [settled()]).phase()), "settled");
    }
    // A record ledger that is away does not keep the payee's money: half of the time is for the payment.
    let noting = after(7);
    let until = Timestamp::from_seconds(1_315);
    assert_eq!(noting.effects().last(), Some(&Effect::Wake(until)));
    let early = Timestamp::from_millis(until.as_millis() - 1);
    assert_eq!(noting.clone().next(&Input::Woken, early).unwrap(), noting);
    for late in [until, REFUND_AT] {
        let settling = noting.clone().next(&Input::Woken, late).unwrap();
        assert_eq!((name(settling.phase()), kinds(&settling)), ("settling", vec!["settle"]));
    }
    // While the escrow is asked to settle, no clock interferes.
    assert_eq!(name(after(8).next(&Input::Woken, REFUND_AT).unwrap().phase()), "settling");
    assert_eq!(name(after(1).next(&Input::Woken, REFUND_AT).unwrap().phase()), "committed");
}

#[test]
fn why_it_is_paid_back_is_remembered() {
    let denied = run(after(4), [Input::Denied("the capability has expired".into())]);
    let due = denied.next(&Input::Woken, REFUND_AT).unwrap();
    assert_eq!(
        run(due, [refunded()]).phase(),
        &Phase::Refunded { reason: "the capability has expired".into() }
    );
    let by_others = run(after(5), [refunded()]);
    let expected = Phase::Refunded { reason: "another party had the escrow pay back".into() };
    assert_eq!(by_others.phase(), &expected);
}

#[test]
fn a_device_of_unknown_fate_is_looked_at_and_never_told_again() {
    for (steps, wanted) in [(3, vec!["act", "wake"]), (4, vec!["watch", "inspect", "wake"])] {
        let restarted = after(steps).after_restart();
        assert_eq!(kinds(&restarted), wanted, "{}", name(restarted.phase()));
    }
    let looked = run(after(4).after_restart(), [Input::FateUnknown("it shows open = true".into())]);
    assert_eq!(kinds(&looked), ["watch", "wake"]);
    assert_eq!(name(run(looked, [observed(reading(NOW))]).phase()), "watching");
}

#[test]
fn a_word_that_nobody_waits_for_is_rejected_and_not_taken_silently() {
    let denied = || run(after(4), [Input::Denied("the capability has expired".into())]);
    let refunding = || denied().next(&Input::Woken, REFUND_AT).unwrap();
    let aborted = run(begin(), [Input::Aborted("no".into())]);
    let rows = [
        (begin(), "not told yet"),
        (after(2), "not told yet"),
        (after(3), "not told yet"),
        (denied(), "the capability has expired"),
        (refunding(), "the capability has expired"),
        (run(refunding(), [refunded()]), "the capability has expired"),
        (run(refunding(), [Input::RefundRefused("paused".into())]), "paused"),
        (aborted, "no evidence is awaited any more: no"),
    ];
    for (contract, why) in rows {
        for fulfilled in [true, false] {
            let word = Input::Attested(attested(&evidence_key(), fulfilled));
            let rejected = contract.clone().next(&word, NOW).unwrap_err();
            assert!(rejected.to_string().contains(why), "{}: {rejected}", name(contract.phase()));
        }
    }
}

#[test]
fn a_word_about_another_time_than_the_acts_is_rejected() {
    let second = |at: Timestamp, seconds: i64| at.as_seconds().saturating_add_signed(seconds);
    let rows = [
        (second(NOW, -1), Some("before the device was told")),
        (second(NOW, 0), None),
        (second(EVIDENCE_DEADLINE, 0), None),
        (second(EVIDENCE_DEADLINE, 1), Some("after the evidence deadline")),
    ];
    for (at, why) in rows {
        let said = sofie_model::Attestation {
            observed_at: Timestamp::from_seconds(at),
            ..begin().attestation(&reading(NOW), &salt())
        };
        for steps in [4, 5, 6] {
            let moved = after(steps).next(&Input::Attested(said.sign(&evidence_key())), NOW);
            match why {
                None => assert_eq!(name(moved.unwrap().phase()), "noting"),
                Some(why) => assert!(moved.unwrap_err().to_string().contains(why), "{at}"),
            }
        }
    }
}

#[test]
fn the_device_is_told_only_while_its_act_could_be_proven() {
    // D's clock may be ahead of ours, and the node may have been away until after T_E.
    let ahead = Timestamp::from_millis(NOW.as_millis() + 1);
    let ready = |decided_at| {
        let steps = [Input::Committed(decided_at), Input::Armed, Input::Issued(TOKEN.into())];
        run(begin(), steps)
    };
    let late = Timestamp::from_millis(EVIDENCE_DEADLINE.as_millis() + 1);
    assert_eq!((ready(ahead).tell_from(), ready(NOW).tell_until()), (ahead, EVIDENCE_DEADLINE));
    for (decided_at, now, good) in [
        (NOW, NOW, true),
        (ahead, NOW, false),
        (ahead, ahead, true),
        (NOW, EVIDENCE_DEADLINE, true),
        (NOW, late, false),
        (NOW, REFUND_AT, false),
    ] {
        let told = ready(decided_at).next(&Input::Acting, now);
        assert_eq!(told.as_ref().is_ok_and(|told| told.told_at() == Some(now)), good, "{told:?}");
    }
    // Then only the payer's money comes back.
    let due = ready(NOW).next(&Input::Woken, REFUND_AT).unwrap();
    assert_eq!(name(due.phase()), "refunding");
}

#[test]
fn what_is_not_what_it_claims_is_rejected_and_says_why() {
    let other_txid = Txid(Digest([8; 32]));
    let mine = begin().attestation(&reading(NOW), &salt());
    let signed = |attestation: sofie_model::Attestation| Input::Attested(attestation.sign(&evidence_key()));
    let mut broken = attested(&evidence_key(), true);
    broken.signature[64] = 0;
    let rows = [
        (Input::Attested(attested(&key(2), true)), "has authority"),
        (Input::Attested(attested(&key(2), false)), "has authority"),
        (signed(sofie_model::Attestation { chain_id: 1, ..mine }), "another escrow"),
        (signed(sofie_model::Attestation { contract: account(1), ..mine }), "another escrow"),
        (signed(sofie_model::Attestation { txid: other_txid, ..mine }), "another escrow"),
        (signed(sofie_model::Attestation { leg: LegId(1), ..mine }), "another escrow"),
        (Input::Attested(broken), "v is 0"),
        (Input::Settled(seen(Fact::Settled(other_txid, LEG))), "is not Settled"),
        (Input::Settled(seen(Fact::Refunded(txid(), LEG))), "is not Settled"),
        (Input::Refunded(seen(Fact::Refunded(txid(), LegId(1)))), "is not Refunded"),
    ];
    for (input, why) in rows {
        let rejected = after(5).next(&input, NOW).unwrap_err();
        assert_eq!(rejected.txid, txid());
        assert!(rejected.to_string().contains(why), "{rejected}");
    }
}

/// A reading that does not count, and why.
fn unfit() -> Vec<(Observation, Unfit)> {
    let good = reading(NOW);
    let door = "urn:door:7 open".to_owned();
    let other = |got: &str| Unfit::Other { got: got.into(), expected: door.clone() };
    let number = Value::Integer(1);
    vec![
        (Observation { thing: "urn:door:8".parse().unwrap(), ..good.clone() }, other("urn:door:8 open")),
        (Observation { property: "locked".into(), ..good.clone() }, other("urn:door:7 locked")),
        (Observation { retained: true, ..good.clone() }, Unfit::Retained),
        (
            Observation { quantity: Quantity::unitless(Value::Bool(false)), ..good.clone() },
            Unfit::Value { got: Value::Bool(false), expected: Value::Bool(true) },
        ),
        (
            Observation { quantity: Quantity::unitless(number.clone()), ..good.clone() },
            Unfit::Value { got: number, expected: Value::Bool(true) },
        ),
        (reading(Timestamp::from_millis(NOW.as_millis() - 1)), Unfit::TooEarly),
        (reading(EVIDENCE_DEADLINE + Span::from_millis(1)), Unfit::TooLate),
    ]
}

#[test]
fn a_reading_that_does_not_fulfil_says_why_and_moves_nothing() {
    for edge in [NOW, EVIDENCE_DEADLINE] {
        assert_eq!(agreement().evidence.fulfilled_by(&reading(edge), NOW, EVIDENCE_DEADLINE), Ok(()));
    }
    for (observation, why) in unfit() {
        assert_eq!(agreement().evidence.fulfilled_by(&observation, NOW, EVIDENCE_DEADLINE), Err(why));
        for steps in [4, 5] {
            let watching = after(steps);
            assert_eq!(run(watching.clone(), [observed(observation.clone())]), watching);
        }
    }
    // A good one counts only while it is watched for.
    for steps in [0, 1, 2, 3, 6, 7, 8, 9, 10] {
        let contract = after(steps);
        assert_eq!(run(contract.clone(), [observed(reading(NOW))]), contract, "after {steps} steps");
    }
}

#[test]
fn an_agreement_and_its_evidence_read_the_same_in_the_room_that_audits() {
    let mine = agreement();
    let bytes = canonical::encode(&mine);
    let theirs: sofie_audit::Agreement = canonical::decode(&bytes, 16 * 1024).unwrap();
    assert_eq!(canonical::encode(&theirs), bytes);
    assert_eq!((&theirs.thing, &theirs.action), (&mine.thing, &mine.action));
    assert_eq!((theirs.renter, theirs.owner, theirs.price), (mine.renter, mine.owner, mine.price));
    assert_eq!((theirs.not_before, theirs.not_after), (mine.not_before, mine.not_after));
    assert_eq!(theirs.evidence.equals, mine.evidence.equals);
    assert_ne!(mine.commitment(&Salt::new([1; 32])), mine.commitment(&Salt::new([2; 32])));

    let signed = attested(&evidence_key(), true);
    let contract = run(after(5), [Input::Attested(signed.clone())]);
    let Some(Effect::Note { topic, commitment }) = contract.effects().into_iter().next() else {
        panic!("{:?}", contract.effects())
    };
    assert_eq!(topic, sofie_audit::topic::attestation(txid()));
    assert_eq!(commitment, sofie_audit::topic::attested(&signed));
}

#[test]
fn both_rooms_judge_a_reading_alike_but_for_its_time() {
    let bytes = canonical::encode(&agreement());
    let theirs: sofie_audit::Agreement = canonical::decode(&bytes, 16 * 1024).unwrap();
    assert_eq!(theirs.evidence.check(&reading(NOW)), Ok(()));
    for (observation, why) in unfit() {
        let told = theirs.evidence.check(&observation);
        let of_time = matches!(why, Unfit::TooEarly | Unfit::TooLate);
        assert_eq!(told.is_ok(), of_time, "{observation:?}: {told:?}");
    }
}

fn any_reading() -> impl Strategy<Value = Observation> {
    let thing = prop_oneof![Just("urn:door:7"), Just("urn:door:8")];
    (thing, any::<bool>(), any::<bool>(), 990_u64..1_700).prop_map(|(thing, open, retained, at)| {
        Observation {
            thing: thing.parse::<ThingId>().unwrap(),
            quantity: Quantity::unitless(Value::Bool(open)),
            retained,
            ..reading(Timestamp::from_seconds(at))
        }
    })
}

fn any_input() -> impl Strategy<Value = Input> {
    let mut fixed = good_run();
    fixed.extend([
        Input::Aborted("no".into()),
        Input::Denied("no".into()),
        Input::FateUnknown("gone".into()),
        Input::Attested(attested(&key(2), true)),
        Input::Attested(attested(&evidence_key(), false)),
        Input::SettleRefused("no".into()),
        refunded(),
        Input::RefundRefused("no".into()),
        Input::NoteRefused("no".into()),
        Input::Woken,
        Input::Settled(seen(Fact::Settled(Txid(Digest::ZERO), LEG))),
    ]);
    prop_oneof![3 => proptest::sample::select(fixed), 1 => any_reading().prop_map(observed)]
}

/// Mostly forward, so that late phases are reached, with anything in between.
fn any_story() -> impl Strategy<Value = Vec<(Input, u64)>> {
    let noise = proptest::collection::vec((any_input(), 0_u64..900), 0..4).boxed();
    let parts: Vec<_> = good_run().into_iter().map(|step| (noise.clone(), Just(step))).collect();
    (parts, 0_usize..11, noise).prop_map(|(parts, steps, mut last)| {
        let mut story: Vec<_> = parts
            .into_iter()
            .take(steps)
            .flat_map(|(noise, step)| noise.into_iter().chain([(step, 0)]))
            .collect();
        story.append(&mut last);
        story
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn in_any_order_money_goes_one_way_and_a_replay_agrees(story in any_story()) {
        let mut contract = begin();
        let mut journal = Vec::new();
        let mut over: Option<Phase> = None;
        for (input, late) in story {
            let now = NOW + Span::from_seconds(late);
            let before = contract.clone();
            let Ok(next) = contract.clone().next(&input, now) else { continue };
            journal.push((canonical::encode(&input), now));
            prop_assert_eq!(next.effects(), next.effects(), "effects are a function of the state");
            // What is over stays as it is.
            if let Some(over) = &over {
                prop_assert_eq!(next.phase(), over);
            }
            if matches!(next.phase(), Phase::Settled | Phase::Refunded { .. } | Phase::Aborted { .. }) {
                over = Some(next.phase().clone());
                let wanted = if next.ended() { vec![] } else { vec![Effect::Receipt] };
                prop_assert_eq!(next.effects(), wanted);
            }
            // Only the named key's word, about a fulfilling reading, makes the escrow be asked to settle.
            if let (Phase::Settling { attestation }, false) = (next.phase(), matches!(before.phase(), Phase::Settling { .. })) {
                let word = &attestation.attestation;
                prop_assert!(word.fulfilled && word.txid == txid());
                let signer = attestation.signer().unwrap();
                prop_assert_eq!(signer, sofie_model::Account::from(evidence_key().verifying_key()));
            }
            if let Some(Effect::Attest { observation, .. }) = next.effects().first() {
                let told_at = next.told_at().expect("nothing is seen before the device is told");
                let fits = agreement().evidence.fulfilled_by(observation, told_at, EVIDENCE_DEADLINE);
                prop_assert_eq!(fits, Ok(()));
            }
            // No refund is asked for before its time.
            if matches!(next.phase(), Phase::Refunding { .. }) && !matches!(before.phase(), Phase::Refunding { .. }) {
                prop_assert!(now >= REFUND_AT);
            }
            contract = next;
        }
        let replayed = journal.iter().fold(begin(), |contract, (bytes, now)| {
            contract.next(&canonical::decode(bytes, 64 * 1024).unwrap(), *now).unwrap()
        });
        prop_assert_eq!(&replayed, &contract);
        prop_assert_eq!(replayed.effects(), contract.effects());
    }

    #[test]
    fn another_keys_word_never_moves_a_contract(steps in 0_usize..11, secret in 1_u8..=254, fulfilled in any::<bool>()) {
        prop_assume!(secret != 3);
        let contract = after(steps);
        prop_assert!(contract.next(&Input::Attested(attested(&key(secret), fulfilled)), NOW).is_err());
    }
}
