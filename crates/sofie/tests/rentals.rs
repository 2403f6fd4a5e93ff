//! Several rentals of one locker on one node: a reading of an earlier rental, a retained message and a sensor that only
//! repeats itself settle nothing; a change after the rental's own actuation does.

mod common;

use common::processes::{Contract, Devices, Node};
use sofie_testkit::devices::door::{Door, Mode};

const NO_CHANGE: &str = "the value did not change";

fn actuated(contract: &Contract) -> bool {
    contract.has("actuated")
}

#[tokio::test]
async fn only_a_change_after_its_own_actuation_settles_a_rental() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let door = Door::create(&folder.path().join("door.json"), Mode::Normal).expect("a door");
    let mut devices = Devices::start(folder.path().join("door.json"));
    let node = Node::start();
    let things = node.join(&devices).await;

    // The first rental opens the door.
    let first = node.rent(&things, 20).await;
    node.until(&first, "settled", |contract| contract.is("settled")).await;
    assert!(door.state().expect("a door").open);

    // The second finds it open: its locker is told, and nothing moves.
    let second = node.rent(&things, 30).await;
    node.until(&second, "actuated", actuated).await;
    // A sensor that starts anew says "open", now, and not retained: still no change.
    devices.restart_sensor();
    let contract =
        node.until(&second, "a reading", |contract| contract.says("reading-ignored", NO_CHANGE) > 0).await;
    assert!(contract.is("actuated"), "{:#}", contract.0);
    // Nor does it count that the door shuts.
    door.bolt(false).expect("it shuts");
    let shut = |contract: &Contract| contract.says("reading-ignored", "the value is false") > 0;
    let contract = node.until(&second, "seen shut", shut).await;
    assert!(contract.is("actuated") && !contract.has("observed"), "{:#}", contract.0);
    // That it opens again does.
    door.bolt(true).expect("it opens");
    let contract = node.until(&second, "settled", |contract| contract.is("settled")).await;
    assert_eq!(contract.says("observed", ""), 1, "{:#}", contract.0);
}

#[tokio::test]
async fn a_retained_message_settles_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let door = Door::create(&folder.path().join("door.json"), Mode::Normal).expect("a door");
    door.bolt(true).expect("it opens");
    // The broker keeps "open" for whoever subscribes; nobody knows since when.
    let devices = Devices::start(folder.path().join("door.json"));
    let node = Node::start();
    let things = node.join(&devices).await;
    let rental = node.rent(&things, 6).await;
    let ended = |contract: &Contract| contract.is("refunded") || contract.is("settled");
    let contract = node.until(&rental, "ended", ended).await;
    assert!(contract.is("refunded") && actuated(&contract) && !contract.has("observed"), "{:#}", contract.0);
}

#[tokio::test]
async fn what_the_sensor_says_while_the_node_is_dead_is_heard() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let door = Door::create(&folder.path().join("door.json"), Mode::Stuck).expect("a door");
    let devices = Devices::start(folder.path().join("door.json"));
    let mut node = Node::start();
    let things = node.join(&devices).await;
    let rental = node.rent(&things, 30).await;
    node.until(&rental, "actuated", actuated).await;
    node.kill();
    // The door gives way while nobody listens.
    Door::create(&devices.door, Mode::Normal).expect("a door");
    door.bolt(true).expect("it opens");
    node.restart();
    let contract = node.until(&rental, "settled", |contract| contract.is("settled")).await;
    assert_eq!((contract.says("asked", ""), contract.says("settled", "")), (1, 1), "{:#}", contract.0);
}
