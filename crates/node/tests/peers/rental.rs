//! Bob's company offers to open its locker, Alice's pays, on a ledger in memory; the sensor is Carol's, whom both know, and
//! the judge may overrule what she says. A node is killed by dropping it, or dies at a step of its journal.

use serde_json::{Value as Json, json};
use sofie_market::{Contract, Phase, Seen};
use sofie_model::{Digest, Observation, Quantity, Salt, Span, Txid, Value};
use sofie_node::api::{AgreeToOffer, Federation, JoinPlatform, PublishOffer};
use sofie_node::clock;
use sofie_node::config::Config;
use sofie_node::journal::PauseAt;
use sofie_testkit::devices::door::{Door, Mode};

use crate::devices::{self, Running};
use crate::market::{ANYTHING, Life, Market, until};
use crate::world::Who;

/// What Alice pays, of the 100 that she has.
pub(crate) const PRICE: u128 = 5;
/// So long the judge has.
pub(crate) const WINDOW: Span = Span::from_seconds(2);

/// Who takes part, and the devices, which outlive every node.
pub(crate) struct Rental {
    pub(crate) market: Market,
    pub(crate) carol: Who,
    pub(crate) judge: Who,
    pub(crate) door: Door,
    locker: Running,
    broker: Running,
    sensor: Option<Running>,
    folder: tempfile::TempDir,
    /// The devices run here.
    outside: tokio::runtime::Runtime,
}

impl Rental {
    pub(crate) fn new(mode: Mode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("door.json");
        let door = Door::create(&file, mode).unwrap();
        let outside = tokio::runtime::Runtime::new().unwrap();
        let locker = outside.block_on(devices::locker(&file));
        let broker = outside.block_on(devices::broker());
        let (market, carol, judge) = (Market::new(), Who::new("carol"), Who::new("judge"));
        let mut rental = Self { market, carol, judge, door, locker, broker, sensor: None, folder, outside };
        rental.restart_sensor();
        rental
    }

    /// The sensor's battery is changed: it starts anew and says how the door is.
    pub(crate) fn restart_sensor(&mut self) {
        self.sensor = None;
        let door = self.folder.path().join("door.json");
        self.sensor = Some(self.outside.block_on(devices::sensor(&self.broker.address(), "doors/1", &door)));
    }

    /// `who` knows these peers on the market's ledgers.
    fn config(&self, who: &Who, peers: &[&Who]) -> Config {
        who.config_on(&self.market.ledgers(), peers, ANYTHING)
    }

    pub(crate) fn alice(&self) -> Life {
        let Market { alice, bob, .. } = &self.market;
        self.market.open(alice, self.config(alice, &[bob, &self.carol, &self.judge]), None)
    }

    /// Bob's node, which dies at this step, if at any.
    pub(crate) fn bob(&self, dies: Option<PauseAt>) -> Life {
        let Market { alice, bob, .. } = &self.market;
        self.market.open(bob, self.config(bob, &[alice, &self.carol, &self.judge]), dies)
    }

    /// Carol's node, which has peers but no part in it.
    pub(crate) fn carol(&self) -> Life {
        let Market { alice, bob, .. } = &self.market;
        self.market.open(&self.carol, self.config(&self.carol, &[alice, bob, &self.judge]), None)
    }

    /// Her sensor, joined.
    pub(crate) fn joined(&self, carol: &Life) -> String {
        let node = carol.node();
        let url = format!("mqtt://{}", self.broker.address());
        let join: JoinPlatform =
            serde_json::from_value(json!({ "owner": "carol", "kind": "mqtt", "url": url })).unwrap();
        node.run(Federation::join_platform(&node.runtime, join)).unwrap().things[0].to_string()
    }

    /// The judge may overrule it.
    pub(crate) fn disputable() -> Json {
        json!({ "dispute": { "arbiter": "judge", "window_s": WINDOW.as_seconds() }, "submission_window_s": 10 })
    }

    /// Bob's node offers to open the locker, if `sensor` sees it, with these fields besides or instead; Alice's agrees.
    pub(crate) fn agreed(&self, alice: &Life, bob: &Life, sensor: &str, instead: Json) -> Txid {
        let bob = bob.node();
        let join: JoinPlatform = serde_json::from_value(json!({
            "owner": "bob", "kind": "coap", "url": format!("coap://{}", self.locker.address()), "allow": ["lock"],
        }))
        .unwrap();
        let locker = bob.run(Federation::join_platform(&bob.runtime, join)).unwrap();
        let mut offer = json!({
            "thing": locker.things[0], "action": "lock", "input": { "open_for_s": 600 }, "price": PRICE.to_string(),
            "ledger": "chain", "evidence": { "thing": sensor, "property": "open", "equals": true, "by": "carol" },
            "decision_within_s": 60, "evidence_within_s": 60, "submission_window_s": 1, "valid_for_s": 3600,
        });
        offer.as_object_mut().unwrap().extend(instead.as_object().unwrap().clone());
        let offer: PublishOffer = serde_json::from_value(offer).unwrap();
        let offer = bob.run(Federation::publish_offer(&bob.runtime, offer)).unwrap();
        let alice = alice.node();
        let asked = AgreeToOffer { payer: "alice".into(), idempotency_key: None };
        alice.run(Federation::agree_to_offer(&alice.runtime, offer.id, asked)).unwrap().id
    }

    /// What Carol signs of what her sensor saw just now.
    pub(crate) fn word(&self, contract: &Contract) -> Seen {
        let rule = contract.agreement().evidence.clone();
        let observation = Observation {
            thing: rule.thing,
            property: rule.property,
            quantity: Quantity::unitless(Value::Bool(true)),
            observed_at: clock::now(),
            message_id: Digest::ZERO,
            retained: false,
        };
        let salt = Salt::new([7; 32]);
        let attestation = contract.attestation(&observation, &salt).sign(self.carol.keys.secp256k1());
        Seen { observation, salt, attestation }
    }

    /// Brings it to the node.
    pub(crate) fn bring(&self, to: &Life, txid: Txid, seen: Seen) {
        let Seen { observation, salt, attestation } = seen;
        let (node, reading) = (to.node(), Some((observation, salt)));
        node.run(node.runtime.contracts().bring(txid, attestation, reading)).unwrap();
    }
}

/// The contract as the node knows it, if it does.
pub(crate) fn contract(life: &Life, txid: Txid) -> Option<Contract> {
    let driven = life.node().runtime.contracts().state(txid).unwrap()?;
    Some(driven.contract.clone())
}

/// Waits until the contract is where it is wanted.
#[track_caller]
pub(crate) fn reach(life: &Life, txid: Txid, wanted: fn(&Phase) -> bool) -> Contract {
    let there = || contract(life, txid).filter(|contract| wanted(contract.phase()));
    until(&format!("{:?}", contract(life, txid).map(|one| one.phase().clone())), || there().is_some());
    contract(life, txid).unwrap()
}
