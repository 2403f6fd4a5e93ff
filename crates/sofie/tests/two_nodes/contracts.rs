//! An actuation contract between two companies, by commands, as docs/guide/two-nodes.md tells it: Bob's company owns a
//! locker and offers to open it, Alice's pays, the sensor of a third party is the evidence. And each way in which it can
//! stop half-way.

use serde_json::{Value, json};
use sofie_testkit::devices::door::{Door, Mode};

use crate::common::processes::{Devices, Process};
use crate::common::{sofie, text};
use crate::{AMOUNT, Anvil, Company, changed, held};

/// Seconds until the decision, and from then until the last observation.
const DECISION: u64 = 40;
const EVIDENCE: u64 = 20;

pub(crate) struct Story {
    chain: Anvil,
    pub(crate) alice: Company,
    pub(crate) bob: Company,
    door: Door,
    _devices: Devices,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) things: [String; 2],
}

impl Story {
    /// Both nodes, and Bob's platforms joined.
    pub(crate) async fn begin(mode: Mode) -> Option<Self> {
        let chain = Anvil::start()?;
        let mut alice = Company::new("alice", &["judge"], &chain).await;
        let mut bob = Company::new("bob", &["door-co", "bolt-co"], &chain).await;
        alice.knows(&bob, 0);
        bob.knows(&alice, 0);
        alice.start(&[]);
        bob.start(&[]);
        let folder = tempfile::tempdir().expect("a folder");
        let door = Door::create(&folder.path().join("door.json"), mode).expect("a door");
        let devices = Devices::start(folder.path().join("door.json"));
        let locker = joined(&bob, "bob", "coap", &devices.locker, &["--allow", "lock"]);
        let sensor = joined(&bob, "door-co", "mqtt", &devices.broker, &[]);
        Some(Self { chain, alice, bob, door, _devices: devices, folder, things: [locker, sensor] })
    }

    /// Bob offers to open the locker; gives the offer's id.
    fn offers(&self, ask: bool, spans: [u64; 2]) -> String {
        self.offers_with(ask, spans, 10, None)
    }

    /// The same, with an arbiter who has `window` seconds, if any.
    fn offers_with(
        &self,
        ask: bool,
        [decision, evidence]: [u64; 2],
        submission: u64,
        window: Option<u64>,
    ) -> String {
        let dispute = window.map(|window| json!({ "dispute": { "arbiter": "judge", "window_s": window } }));
        let instead = json!({
            "decision_within_s": decision, "evidence_within_s": evidence, "submission_window_s": submission,
            "ask": ask,
        });
        let published = self.publishes([instead].into_iter().chain(dispute));
        assert_eq!((&published["owner"], &published["evidence_by"]), (&json!("bob"), &json!("door-co")));
        published["id"].as_str().expect("an id").to_owned()
    }

    /// Bob publishes an offer with these fields, each in place of what it would say; gives what is published.
    pub(crate) fn publishes(&self, instead: impl IntoIterator<Item = Value>) -> Value {
        let [locker, sensor] = &self.things;
        let mut offer = json!({
            "thing": locker, "action": "lock", "input": { "open_for_s": 600 }, "price": AMOUNT.to_string(),
            "ledger": "ethereum", "evidence": { "thing": sensor, "property": "open", "equals": true },
            "decision_within_s": DECISION, "evidence_within_s": EVIDENCE, "submission_window_s": 10,
            "valid_for_s": 3600,
        });
        let fields = offer.as_object_mut().expect("an object");
        for fields_of in instead {
            fields.extend(fields_of.as_object().expect("an object").clone());
        }
        let file = self.bob.folder.path().join("offer.json");
        std::fs::write(&file, offer.to_string()).expect("it is written");
        self.bob.data(&["offer", "publish", &file.display().to_string()])
    }

    /// Alice agrees to it; gives the contract's id.
    pub(crate) fn agrees(&self, offer: &str, key: &str) -> String {
        let args = ["agree", &offer[..12], "--payer", "alice", "--key", key];
        let proposed = self.alice.data(&args);
        let id = proposed["id"].as_str().expect("an id").to_owned();
        // Said again it is the same.
        assert_eq!(self.alice.data(&args)["id"], proposed["id"]);
        id
    }

    pub(crate) async fn held(&self) -> [u128; 2] {
        held(&self.chain, [&self.alice, &self.bob]).await
    }

    /// Alice's and Bob's balances have changed by so many [`AMOUNT`]s, but for fees.
    pub(crate) async fn moved(&self, before: [u128; 2], [hers, his]: [i128; 2]) {
        let after = self.held().await;
        changed(before[0], after[0], hers);
        changed(before[1], after[1], his);
    }
}

#[tokio::test]
async fn an_arbiter_overrules_what_was_presented() {
    let Some(story) = Story::begin(Mode::Normal).await else { return };
    let (alice, bob) = (&story.alice, &story.bob);
    let before = story.held().await;
    let offer = story.offers_with(false, [DECISION, EVIDENCE], 70, Some(60));
    let id = story.agrees(&offer, "overruled");
    let hers = alice.contract_shows(&id, "disputable", |shown| shown["dispute"]["ruling"].is_object());
    assert_eq!((&hers["state"], &hers["dispute"]["arbiter"]), (&json!("disputable"), &json!("judge")));
    let [case, ruling] =
        ["case.json", "ruling.json"].map(|file| alice.folder.path().join(file).display().to_string());
    alice.data(&["contract", "dispute", &id, "--reason", "it is the wrong door", "--case", &case]);
    bob.contract_until(&id, &["disputable"]);
    let (code, _, said) = bob.run(&["contract", "rule", &id]);
    assert!(code == 1 && said.contains("the key of the arbiter judge is not on this node"), "{said}");
    let (code, _, said) = alice.run(&["contract", "sign", &case, &ruling]);
    assert_eq!(code, 0, "{said}");
    bob.data(&["contract", "rule", &id, "--ruling", &ruling]);
    for company in [alice, bob] {
        company.contract_until(&id, &["overruled"]);
        assert!(verified(company, &id).contains("overruled the evidence"));
    }
    story.moved(before, [0, 0]).await;
}

/// Joins a device at Bob's node, for one of his parties; gives its thing.
pub(crate) fn joined(bob: &Company, owner: &str, kind: &str, device: &Process, allow: &[&str]) -> String {
    let url = format!("{kind}://{}", device.address());
    let args = [&["platform", "add", "--owner", owner, "--kind", kind, &url], allow].concat();
    bob.data(&args)["things"][0].as_str().expect("a thing").to_owned()
}

fn steps(shown: &Value) -> Vec<&str> {
    shown["steps"].as_array().expect("steps").iter().filter_map(|step| step["name"].as_str()).collect()
}

/// What the node's receipt of it says, offline.
pub(crate) fn verified(company: &Company, id: &str) -> String {
    company.contract_shows(id, "proven", |shown| steps(shown).contains(&"receipt"));
    let file = company.folder.path().join("receipt.cbor").display().to_string();
    let (code, _, said) = company.run(&["contract", "receipt", id, &file]);
    assert_eq!(code, 0, "{said}");
    let output = sofie(&["verify", &file]).output().expect("it runs");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test]
async fn what_one_company_offers_the_other_pays_for_once_it_is_seen() {
    let Some(story) = Story::begin(Mode::Normal).await else { return };
    let (alice, bob) = (&story.alice, &story.bob);
    // The judge has two seconds, and says nothing.
    let offer = story.offers_with(false, [DECISION, EVIDENCE], 10, Some(2));
    let seen = alice.data(&["offer", "ls"]);
    assert_eq!(seen["offers"][0]["id"], json!(offer), "{seen}");
    assert_eq!(seen["offers"][0]["peer"], "bob-co", "{seen}");
    let before = story.held().await;
    let id = story.agrees(&offer, "open-1");
    let hers = alice.contract_until(&id, &["settled"]);
    let his = bob.contract_until(&id, &["settled"]);
    assert!(story.door.state().expect("a door").open);
    story.moved(before, [-1, 1]).await;
    for name in ["proposed", "agreed", "offered", "accepted", "prepared", "decided", "armed", "settled"] {
        assert!(steps(&hers).contains(&name), "{name}: {hers:#}");
    }
    for name in
        ["accepted", "armed", "capability-issued", "asked", "observed", "attested", "presented", "settled"]
    {
        assert!(steps(&his).contains(&name), "{name}: {his:#}");
    }
    assert_eq!((&hers["renter"], &hers["owner"]), (&json!("alice"), &json!("bob")));
    for company in [alice, bob] {
        let told = verified(company, &id);
        for check in ["agreement", "attestation", "observation", "settlement"] {
            assert!(told.contains(check), "{told}");
        }
    }
    // What is over is not cancelled, and the next contract of the offer may begin.
    let (code, _, said) = alice.run(&["contract", "cancel", &id]);
    assert!(code == 1 && said.contains("it is too late to cancel"), "{said}");
    bob.run(&["offer", "withdraw", &offer[..12]]);
    assert_eq!(alice.data(&["offer", "ls"])["offers"], json!([]));
    let (code, _, said) = alice.run(&["agree", &offer, "--payer", "alice"]);
    assert!(code == 1 && said.contains("no peer offers"), "{said}");
}

/// Nothing has begun, and nothing is paid: not even a fee.
#[tokio::test]
async fn what_nobody_agrees_to_is_cancelled_declined_or_expires() {
    let Some(story) = Story::begin(Mode::Normal).await else { return };
    let (alice, bob) = (&story.alice, &story.bob);
    let before = story.held().await;
    let offer = story.offers(true, [3_000, EVIDENCE]);
    let id = story.agrees(&offer, "cancelled");
    let waits = bob.contract_until(&id, &["proposed"]);
    assert!(waits["next"].as_str().is_some_and(|next| next.contains("without a word it expires")), "{waits}");
    assert_eq!(alice.data(&["contract", "cancel", &id, "--reason", "too dear"])["state"], "cancelled");
    assert_eq!(
        alice.data(&["contract", "cancel", &id])["state"],
        "cancelled",
        "said again, it changes nothing"
    );
    let told = bob.contract_until(&id, &["declined"]);
    assert!(told["reason"].as_str().is_some_and(|why| why.contains("too dear")), "{told}");
    let (code, _, said) = bob.run(&["tx", "agree", &id]);
    assert_eq!(code, 1, "{said}");

    let id = story.agrees(&offer, "declined");
    bob.contract_until(&id, &["proposed"]);
    assert_eq!(bob.data(&["contract", "cancel", &id, "--reason", "not this week"])["state"], "declined");
    let told = alice.contract_until(&id, &["declined"]);
    assert!(told["reason"].as_str().is_some_and(|why| why.contains("not this week")), "{told}");

    let brief = story.offers(true, [10, EVIDENCE]);
    let id = story.agrees(&brief, "expired");
    bob.contract_until(&id, &["expired"]);
    alice.contract_until(&id, &["expired"]);
    assert_eq!(story.held().await, before);
}

/// Bob's locker answers and nothing is seen, or his node is gone once the escrow is armed: Alice's node takes the money back.
#[tokio::test]
async fn without_evidence_the_payers_node_has_the_money_back_by_time() {
    let Some(mut story) = Story::begin(Mode::Stuck).await else { return };
    for killed in [false, true] {
        let before = story.held().await;
        let offer = story.offers(false, [DECISION, 5]);
        let id = story.agrees(&offer, if killed { "killed" } else { "stuck" });
        let armed = story.alice.contract_until(&id, &["armed", "actuated"]);
        assert!(
            armed["next"].as_str().is_some_and(|next| next.contains("has the renter paid back at")),
            "{armed}"
        );
        if killed {
            story.bob.kill();
        }
        story.alice.contract_until(&id, &["refunded"]);
        if killed {
            story.bob.start(&[]);
        }
        let his = story.bob.contract_until(&id, &["refunded"]);
        assert!(!steps(&his).contains(&"settled"), "{his:#}");
        story.moved(before, [0, 0]).await;
        for company in [&story.alice, &story.bob] {
            assert!(verified(company, &id).contains("paid back"), "the receipt of {}", company.name);
        }
    }
}

/// Alice's node is gone once the escrow is armed: Bob's is paid without it. When hers is back and his is gone, it learns of
/// it from the ledger; its receipt waits for the evidence, which his has.
#[tokio::test]
async fn without_the_payers_node_the_owners_settles_alone() {
    let Some(mut story) = Story::begin(Mode::Stuck).await else { return };
    let before = story.held().await;
    let offer = story.offers(false, [DECISION, 60]);
    let id = story.agrees(&offer, "alone");
    story.bob.contract_until(&id, &["actuated"]);
    story.alice.kill();
    // The door gives way only now.
    Door::create(&story.folder.path().join("door.json"), Mode::Normal)
        .expect("a door")
        .bolt(true)
        .expect("it opens");
    story.bob.contract_until(&id, &["settled"]);
    story.moved(before, [-1, 1]).await;
    story.bob.kill();
    story.alice.start(&[]);
    let hers = story.alice.contract_until(&id, &["settled"]);
    assert!(steps(&hers).contains(&"armed") && !steps(&hers).contains(&"attested"), "{hers:#}");
    story.bob.start(&[]);
    assert!(verified(&story.alice, &id).contains("settlement"));
}
