//! Contracts of several sensors, whose things no platform of this node has: their owners bring their words.

use serde_json::{Value as Json, json};
use sofie_market::{Seen, Voice, Witness, Witnesses};
use sofie_model::{Observation, Quantity};

use super::*;

/// What is seen of each sensor.
fn rule(sensor: usize) -> EvidenceRule {
    let thing = format!("urn:door:{}", sensor + 1).parse().expect("a name");
    EvidenceRule { thing, property: "open".into(), equals: Value::Bool(true) }
}

/// A plan of the payer's node: both of two sensors must attest, the doors' owner's and the operator's.
fn plan(world: &World) -> Plan {
    let witness = Witness { rule: rule(1), key: world.party("operator").account() };
    let witnesses =
        Witnesses { threshold: 2, key: world.party("sensor-co").account(), others: vec![witness] };
    let mut plan = world.plan();
    let Terms::Escrow(terms) = &mut plan.manifest.legs[0].terms else { unreachable!() };
    terms.evidence_key = witnesses.panel().expect("two keys").account();
    plan.agreement.witnesses = Some(witnesses);
    plan.manifest.legs[1].terms = Terms::Record(plan.agreement.commitment(&plan.salt));
    Plan { part: Some(Part::Payer), ..plan }
}

/// What a sensor's owner brings.
fn brings(world: &World, contract: &Contract, sensor: usize) -> Seen {
    let EvidenceRule { thing, property, equals } = rule(sensor);
    let observation = Observation {
        thing,
        property,
        quantity: Quantity::unitless(equals),
        observed_at: clock::now(),
        message_id: Digest::ZERO,
        retained: false,
    };
    let (salt, owner) = (Salt::new([7; 32]), ["sensor-co", "operator"][sensor]);
    let attestation = contract.attestation(&observation, &salt).sign(world.party(owner).secp256k1());
    Seen { observation, salt, attestation }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_enough_sensors_settle_and_each_is_in_the_journal() {
    let world = World::open();
    let mut contract = world.begin_with(plan(&world)).await;
    reach(&mut contract, |phase| *phase == Phase::Awaiting).await;
    let txid = contract.state().contract.txid();
    let bring = async |sensor| {
        let Seen { observation, salt, attestation } = brings(&world, &contract.state().contract, sensor);
        world.contracts.bring(txid, attestation, Some((observation, salt))).await
    };
    bring(0).await.expect("one word");
    let driven = contract.state();
    let voices: Vec<_> = driven.contract.voices().map(|(_, voice)| voice).collect();
    assert_eq!((driven.contract.phase(), voices), (&Phase::Awaiting, vec![Voice::Attests, Voice::Silent]));
    let next = crate::federation::view::next(&driven);
    let told = "urn:door:1 attests it, urn:door:2 is silent; unless 2 of 2 attest, this node has the renter paid back";
    assert!(next.contains(told), "{next}");
    // What a restart finds.
    let record = world.contracts.executor().journal().reader().expect("a reader");
    let record = record.machine(Driven::KIND, txid.0).expect("a journal").expect("it has begun");
    assert_eq!(replay(&record).expect("it is whole").contract, driven.contract);

    let stranger =
        driven.contract.attestation(&brings(&world, &driven.contract, 1).observation, &Salt::new([1; 32]));
    let refused = world.contracts.bring(txid, stranger.sign(world.party("renter").secp256k1()), None).await;
    assert!(refused.is_err_and(|why| why.contains("has authority")));
    bring(1).await.expect("the other");
    let over = |phase: &Phase| matches!(phase, Phase::Settled | Phase::Refunded { .. });
    assert_eq!(reach(&mut contract, over).await, Phase::Settled);
    assert!(contract.state().contract.proven());
    let paid = world.evm.treasury().expect("money").balance(world.party("locker-co").account()).await;
    assert_eq!(paid, Ok(PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn sensors_that_cannot_attest_together_are_told_their_field() {
    let world = World::open();
    let parties = [world.party("renter").account(), world.party("locker-co").account()];
    let resolve = |asked: Json| {
        let asked: crate::api::EvidenceRule = serde_json::from_value(asked).expect("a rule");
        world.contracts.sensors_of(&asked, &parties).map(|sensors| sensors.key)
    };
    let other = |sensor: usize, by: &str| json!({ "thing": format!("urn:door:{sensor}"), "property": "open", "equals": true, "by": by });
    let rule = |threshold: Json, others: Vec<Json>| {
        let mut first = other(1, "sensor-co");
        (first["threshold"], first["others"]) = (threshold, others.into());
        first
    };
    let good = resolve(rule(json!(2), vec![other(2, "operator")])).expect("two of two");
    assert_ne!(good, resolve(rule(json!(1), vec![other(2, "operator")])).expect("one of two"));
    let alone = resolve(rule(Json::Null, vec![])).expect("one");
    assert_eq!(alone, world.party("sensor-co").account());
    let crowd = (2..18).map(|sensor| other(sensor, "operator")).collect();
    for (asked, told) in [
        (
            rule(Json::Null, vec![other(2, "operator")]),
            "evidence.threshold: is missing: how many of the 2 sensors must attest",
        ),
        (
            rule(json!(3), vec![other(2, "operator")]),
            "evidence.threshold: 3 of 2 cannot attest; 1 to 2 are expected",
        ),
        (
            rule(json!(0), vec![other(2, "operator")]),
            "evidence.threshold: 0 of 2 cannot attest; 1 to 2 are expected",
        ),
        (rule(json!(2), vec![]), "evidence.threshold: 2 of 1 cannot attest; 1 to 1 are expected"),
        (
            rule(json!(2), vec![other(2, "sensor-co")]),
            "evidence.others[0].thing: sensor-co signs for urn:door:1 already: each sensor needs another owner",
        ),
        (
            rule(json!(2), vec![other(1, "operator")]),
            "evidence.others[0].property: stands twice among the sensors",
        ),
        (
            rule(json!(2), vec![other(2, "operator"), other(3, "renter")]),
            "evidence.others[1].thing: renter pays or is paid, and would sign for this sensor",
        ),
        (
            rule(json!(2), vec![other(2, "locker-co")]),
            "evidence.others[0].thing: locker-co pays or is paid, and would sign for this sensor",
        ),
        (rule(json!(2), crowd), "evidence.others: 17 sensors; at most 16 attest together"),
        (
            rule(json!(2), vec![other(2, "nobody")]),
            "evidence.others[0].by: this node has no party \"nobody\"; it has locker-co, operator, renter, sensor-co",
        ),
    ] {
        assert_eq!(resolve(asked).expect_err(told).to_string(), told);
    }
}
