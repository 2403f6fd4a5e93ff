//! What sensors say of contracts between two companies, by commands, both at once: two of three attest and Bob is paid;
//! one shows, once the door was to be open, that it is shut, and Alice has her money back and his stake besides.

use serde_json::{Value, json};
use sofie_node::api::At;
use sofie_node::clock;
use sofie_testkit::devices::door::{Door, Mode};

use crate::AMOUNT;
use crate::common::processes::Devices;
use crate::contracts::{Story, joined, verified};

/// Seconds until the decision of the contract with a stake: its story lasts so long.
const DECISION: u64 = 16;
/// What Bob stakes.
const STAKE: u128 = 2 * AMOUNT;

#[tokio::test]
async fn two_of_three_sensors_have_the_owner_paid_and_one_that_shows_a_miss_has_his_stake_paid_out() {
    let Some(story) = Story::begin(Mode::Normal).await else { return };
    let (alice, bob) = (&story.alice, &story.bob);
    let seen = |thing: &str| json!({ "thing": thing, "property": "open", "equals": true });
    // Another sensor at the same door; and another door, which is stuck, with a locker and a sensor of its own.
    let twin = Devices::start(story.folder.path().join("door.json"));
    let twin_sensor = joined(bob, "bolt-co", "mqtt", &twin.broker, &[]);
    let stuck_door = story.folder.path().join("stuck.json");
    Door::create(&stuck_door, Mode::Stuck).expect("a door");
    let mut stuck = Devices::start(stuck_door);
    let locker = joined(bob, "bob", "coap", &stuck.locker, &["--allow", "lock"]);
    let sensor = joined(bob, "door-co", "mqtt", &stuck.broker, &[]);

    let mut panel = seen(&story.things[1]);
    let camera =
        json!({ "thing": "urn:example:camera:9", "property": "person", "equals": true, "by": "judge" });
    (panel["threshold"], panel["others"]) = (json!(2), json!([seen(&twin_sensor), camera]));
    let of_three = story.publishes([json!({ "evidence": panel })]);
    assert_eq!(of_three["evidence_by"], "2 of door-co, bolt-co, judge");
    let staked = story.publishes([json!({
        "thing": locker, "evidence": seen(&sensor), "decision_within_s": DECISION, "evidence_within_s": 1,
        "submission_window_s": 1, "penalty": { "amount": STAKE.to_string(), "within_s": 60 },
    })]);
    let id_of = |offer: &Value| offer["id"].as_str().expect("an id").to_owned();
    let before = story.held().await;
    let missed = story.agrees(&id_of(&staked), "missed");
    let opened = story.agrees(&id_of(&of_three), "opened");
    // What Bob would stake is more than his rule allows: a person decides.
    let asked = bob.contract_until(&missed, &["proposed"]);
    assert!(asked["reason"].as_str().is_some_and(|why| why.contains(&STAKE.to_string())), "{asked}");
    bob.data(&["tx", "agree", &missed]);

    for company in [alice, bob] {
        company.contract_until(&opened, &["settled"]);
        let told = verified(company, &opened);
        assert!(told.contains(&format!("{AMOUNT} paid to")), "{told}");
        let shown = company.data(&["contract", "show", &opened]);
        let says: Vec<_> = (0..3).map(|sensor| &shown["sensors"][sensor]["says"]).collect();
        assert_eq!(says, ["attests", "attests", "silent"], "{shown}");
    }

    let waits = alice.contract_shows(&missed, "armed", |shown| {
        matches!(shown["state"].as_str(), Some("armed" | "actuated"))
    });
    assert_eq!(waits["penalty"]["state"], "held", "{waits}");
    let due: At = serde_json::from_value(waits["penalty"]["due"].clone()).expect("a time");
    clock::until(due.0).await;
    // It speaks when something changes, or when it starts.
    stuck.restart_sensor();
    for company in [alice, bob] {
        company.contract_shows(&missed, "paid back, the stake paid out", |shown| {
            shown["state"] == "refunded" && shown["penalty"]["state"] == "paid"
        });
        let told = verified(company, &missed);
        for part in [format!("{STAKE} paid to"), format!("{AMOUNT} paid back to")] {
            assert!(told.contains(&part), "{told}");
        }
    }
    story.moved(before, [1, -1]).await;
}
