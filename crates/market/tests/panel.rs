//! A contract of several sensors: two of three of different owners must attest, each for its own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "the world is shared with the other tests")]

mod world;

use proptest::prelude::*;
use sofie_market::{
    Agreement, BadWitnesses, Contract, Effect, EvidenceRule, Input, Part, Phase, Report, Seen, Voice,
    Witness, Witnesses,
};
use sofie_model::attestation::BadPanel;
use sofie_model::{
    Account, Attestation, Manifest, Observation, Quantity, SignedAttestation, Span, Terms, Timestamp, Value,
    canonical,
};
use world::*;

/// Whose the sensors are, in the agreement's order.
const KEYS: [u8; 3] = [3, 4, 5];
const SENSORS: [(&str, &str, bool); 3] =
    [("urn:door:7", "open", true), ("urn:bolt:7", "shut", false), ("urn:lamp:7", "lit", true)];

fn holder(byte: u8) -> Account {
    Account::from(key(byte).verifying_key())
}

fn rule(sensor: usize) -> EvidenceRule {
    let (thing, property, equals) = SENSORS[sensor];
    EvidenceRule { thing: thing.parse().unwrap(), property: property.into(), equals: Value::Bool(equals) }
}

fn witnesses(threshold: u8) -> Witnesses {
    let witness = |sensor: usize| Witness { rule: rule(sensor), key: holder(KEYS[sensor]) };
    Witnesses { threshold, key: holder(KEYS[0]), others: vec![witness(1), witness(2)] }
}

fn several() -> Agreement {
    Agreement { witnesses: Some(witnesses(2)), ..agreement() }
}

fn of_panel() -> Manifest {
    let mut manifest = manifest();
    let Terms::Escrow(terms) = &mut manifest.legs[0].terms else { unreachable!() };
    terms.evidence_key = witnesses(2).panel().unwrap().account();
    manifest
}

fn new() -> Contract {
    Contract::begin(several(), &of_panel()).unwrap()
}

/// The device has been told.
fn told() -> Contract {
    run(new(), [Input::Committed(NOW), Input::Armed, Input::Issued(TOKEN.into()), Input::Acting])
}

fn saw(sensor: usize) -> Observation {
    let EvidenceRule { thing, property, equals } = rule(sensor);
    Observation { thing, property, quantity: Quantity::unitless(equals), ..reading(NOW) }
}

/// The word of a sensor's owner, or of whoever has the key.
fn word(by: u8, sensor: usize, fulfilled: bool) -> SignedAttestation {
    let said = new().attestation(&saw(sensor), &salt());
    Attestation { fulfilled, ..said }.sign(&key(by))
}

fn attests(sensor: usize) -> Input {
    Input::Attested(word(KEYS[sensor], sensor, true))
}

fn contradicts(sensor: usize) -> Input {
    Input::Attested(word(KEYS[sensor], sensor, false))
}

fn seen(sensor: usize) -> Seen {
    Seen { observation: saw(sensor), salt: salt(), attestation: word(KEYS[sensor], sensor, true) }
}

fn voices(contract: &Contract) -> Vec<Voice> {
    contract.voices().map(|(_, voice)| voice).collect()
}

#[test]
fn each_sensor_is_watched_and_its_owner_signs_for_it_alone() {
    let watched = |sensor| Effect::Watch { sensor };
    let asked = |sensor| Effect::Attest { sensor, observation: saw(sensor), salt: salt() };
    let wake = Effect::Wake(REFUND_AT);
    let told = told();
    assert_eq!(told.effects(), vec![watched(0), watched(1), watched(2), wake.clone()]);
    let one = run(told, [observed(saw(1))]);
    assert_eq!(one.effects(), vec![watched(0), asked(1), watched(2), wake.clone()]);
    let signed = run(one, [attests(1), observed(saw(2))]);
    assert_eq!((name(signed.phase()), signed.proven()), ("watching", false));
    assert_eq!(signed.effects(), vec![watched(0), asked(2), wake]);
    assert_eq!(voices(&signed), [Voice::Silent, Voice::Attests, Voice::Seen]);
    let enough = run(signed, [attests(2)]);
    let Phase::Noting { attestation, .. } = enough.phase() else { panic!("{:?}", enough.phase()) };
    assert_eq!(attestation.speaks_for(enough.escrow().1), Ok(()));
    assert!(enough.proven());
    assert_eq!(enough.seen().collect::<Vec<_>>(), [seen(1), seen(2)]);
    // A reading that fulfils another sensor's rule only, or nobody's.
    let strange = Observation { property: "lit".into(), ..saw(0) };
    assert_eq!(voices(&run(self::told(), [observed(strange)])), [Voice::Silent; 3]);
}

#[test]
fn any_two_of_three_settle_in_any_order_and_one_never_does() {
    for order in [[0, 1], [1, 0], [0, 2], [2, 0], [1, 2], [2, 1]] {
        let first = run(told(), [attests(order[0]), attests(order[0])]);
        assert_eq!(name(first.phase()), "acting", "one voice, said twice");
        assert_eq!(name(run(first, [attests(order[1])]).phase()), "noting", "{order:?}");
    }
}

#[test]
fn a_sensor_that_contradicts_is_named_and_two_of_them_end_it() {
    let one = run(told(), [contradicts(0)]);
    assert_eq!((name(one.phase()), voices(&one)[0]), ("acting", Voice::Contradicts));
    // Its first word stands; the others are enough.
    assert_eq!(name(run(one.clone(), [attests(0), attests(1)]).phase()), "acting");
    assert_eq!(name(run(one.clone(), [attests(1), attests(2)]).phase()), "noting");
    let two = run(one, [contradicts(2)]);
    let Phase::Waiting { reason } = two.phase() else { panic!("{:?}", two.phase()) };
    assert!(reason.contains("urn:door:7 and urn:lamp:7"), "{reason}");
    assert_eq!(name(two.next(&Input::Woken, REFUND_AT).unwrap().phase()), "refunding");
    // Silence is no word, and the time refunds.
    assert_eq!(name(run(told(), [attests(1)]).next(&Input::Woken, REFUND_AT).unwrap().phase()), "refunding");
}

#[test]
fn a_strangers_word_or_one_of_another_time_or_escrow_is_rejected() {
    for by in [1, 2, 9] {
        let refused = told().next(&Input::Attested(word(by, 0, true)), NOW).unwrap_err();
        assert!(refused.why.contains("signed the attestation, only"), "{refused}");
    }
    let late = Timestamp::from_seconds(EVIDENCE_DEADLINE.as_seconds() + 1);
    let told_at = NOW.as_seconds();
    for (change, why) in [
        (Attestation { observed_at: late, ..word(3, 0, true).attestation }, "after the evidence deadline"),
        (
            Attestation { observed_at: Timestamp::from_seconds(told_at - 1), ..word(3, 0, true).attestation },
            "before",
        ),
        (Attestation { chain_id: 1, ..word(3, 0, true).attestation }, "another escrow"),
    ] {
        let refused = told().next(&Input::Attested(change.sign(&key(3))), NOW).unwrap_err();
        assert!(refused.why.contains(why), "{refused}");
    }
    // What is brought with a reading must be what the sensor's own rule names.
    let others = Seen { attestation: word(KEYS[1], 0, true), ..seen(0) };
    assert!(told().next(&Input::Brought(others), NOW).is_err());
    let early = run(new(), [Input::Committed(NOW)]);
    assert!(early.next(&attests(0), NOW).is_err());
}

#[test]
fn a_word_from_outside_is_one_word_and_its_reading_is_kept() {
    let bare = run(told(), [attests(0), attests(1)]);
    assert_eq!((name(bare.phase()), bare.proven()), ("noting", false), "nothing to show in a receipt");
    let shown = run(told(), [Input::Brought(seen(0)), observed(saw(1)), attests(1)]);
    assert!(shown.proven());
    assert_eq!(shown.seen().collect::<Vec<_>>(), [seen(0), seen(1)]);
    // A whole certificate is as good as its words.
    let together = witnesses(2).panel().unwrap().attest(&[word(3, 0, true), word(5, 2, true)]).unwrap();
    let whole = run(told(), [Input::Attested(together.clone())]);
    assert_eq!(voices(&whole), [Voice::Attests, Voice::Silent, Voice::Attests]);
    let Phase::Noting { attestation, .. } = whole.phase() else { panic!("{:?}", whole.phase()) };
    assert_eq!(attestation, &together);
    let against = witnesses(2).panel().unwrap().attest(&[word(3, 0, false), word(5, 2, false)]).unwrap();
    assert_eq!(name(run(told(), [Input::Attested(against)]).phase()), "waiting");
}

#[test]
fn the_payers_node_believes_as_many_words_as_are_agreed_on() {
    let payer = || run(new().as_part(Part::Payer), [Input::Committed(NOW), Input::Armed]);
    let owner = run(told().as_part(Part::Owner), [Input::Acted("2.04".into()), Input::Brought(seen(0))]);
    let first = Report { told_at: owner.told_at(), ..owner.report() };
    let one = run(payer(), [Input::Reported(first.clone())]);
    assert_eq!((name(one.phase()), one.is_news(&first)), ("watching", false));
    let owner = run(owner, [Input::Brought(seen(2))]);
    assert_eq!(name(owner.phase()), "settling");
    let both = Report { told_at: owner.told_at(), ..owner.report() };
    assert_eq!(both.all_seen().count(), 2);
    assert!(one.is_news(&both));
    let two = run(one, [Input::Reported(both.clone())]);
    assert_eq!((name(two.phase()), two.proven(), two.is_news(&both)), ("noting", true, false));
    // One bad word spoils the report, and nothing of it counts.
    let lie = Seen { attestation: word(9, 1, true), ..seen(1) };
    let lying = Report { others: Some(vec![lie]), ..first };
    assert!(payer().next(&Input::Reported(lying), NOW).is_err());
}

#[test]
fn sensors_that_prove_nothing_together_are_refused() {
    let named = witnesses(2).panel().unwrap().account();
    let check = |all: &Witnesses, named| all.check(&rule(0), named, &[account(1), account(2)]);
    assert_eq!(check(&witnesses(2), named), Ok(()));
    let expected = witnesses(3).panel().unwrap().account();
    assert_eq!(check(&witnesses(3), named), Err(BadWitnesses::Account { got: named, expected }));
    let threshold = BadPanel::Threshold { threshold: 4, keys: 3 };
    assert_eq!(check(&witnesses(4), named), Err(threshold.into()));
    let other = |change: fn(&mut Witnesses)| {
        let mut all = witnesses(2);
        change(&mut all);
        let named = all.panel().map_or(Account::ZERO, |panel| panel.account());
        check(&all, named)
    };
    assert_eq!(other(|all| all.others[0].key = all.key), Err(BadPanel::Twice(holder(3)).into()));
    assert_eq!(other(|all| all.others[1].key = account(2)), Err(BadWitnesses::Interested(account(2))));
    let Err(BadWitnesses::Same { thing, .. }) = other(|all| all.others[1].rule = rule(0)) else { panic!() };
    assert_eq!(thing, rule(0).thing);
    // No contract begins whose escrow believes somebody else.
    assert_eq!(Contract::begin(several(), &manifest()), None);
}

#[test]
fn one_sensor_alone_keeps_its_bytes() {
    let fields = |bytes: Vec<u8>| bytes[0] & 0x1f;
    assert_eq!(fields(canonical::encode(&agreement())), 9);
    assert_eq!(fields(canonical::encode(&several())), 10);
    let seen = seen(0);
    let report = Report { told_at: Some(NOW), outcome: None, seen: Some(seen.clone()), ..Report::default() };
    assert_eq!(fields(canonical::encode(&report)), 3);
    assert_eq!(fields(canonical::encode(&Report { others: Some(vec![seen]), ..report })), 4);
    let theirs: sofie_audit::Agreement =
        canonical::decode(&canonical::encode(&several()), 16 * 1024).unwrap();
    assert_eq!(canonical::encode(&theirs), canonical::encode(&several()));
    assert_eq!(theirs.witnesses.unwrap().panel(), witnesses(2).panel());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever comes in whatever order: it is asked to settle by two fulfilled words of different owners, and a replay of
    /// the journal agrees at every point.
    #[test]
    fn fewer_words_than_agreed_never_settle(
        said in proptest::collection::vec((0_usize..3, any::<bool>(), 0_u8..4), 0..9),
    ) {
        let mut contract = told();
        let mut journal = Vec::new();
        let mut first = [None; 3];
        for (sensor, fulfilled, how) in said {
            let input = match (how, fulfilled) {
                (0, _) => observed(saw(sensor)),
                (1, true) => Input::Brought(seen(sensor)),
                (_, true) => attests(sensor),
                (_, false) => contradicts(sensor),
            };
            let waits = matches!(contract.phase(), Phase::Acting | Phase::Watching);
            let Ok(next) = contract.clone().next(&input, NOW) else { continue };
            if waits && how != 0 {
                first[sensor].get_or_insert(fulfilled);
            }
            journal.push(canonical::encode(&input));
            contract = next;
            let count = |verdict| first.iter().filter(|said| **said == Some(verdict)).count();
            let expected = if count(true) >= 2 { "noting" } else if count(false) >= 2 { "waiting" } else { "" };
            match name(contract.phase()) {
                "acting" | "watching" => prop_assert_eq!(expected, ""),
                phase => prop_assert_eq!(phase, expected),
            }
            if let Phase::Noting { attestation, .. } = contract.phase() {
                prop_assert_eq!(attestation.speaks_for(contract.escrow().1), Ok(()));
            }
            let replayed = journal.iter().fold(told(), |contract, bytes| {
                contract.next(&canonical::decode(bytes, 64 * 1024).unwrap(), NOW).unwrap()
            });
            prop_assert_eq!(&replayed, &contract);
        }
        prop_assert!(contract.next(&Input::Woken, REFUND_AT + Span::from_seconds(1)).is_ok());
    }
}
