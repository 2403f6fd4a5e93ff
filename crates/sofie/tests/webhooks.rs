//! Webhooks of a real node: a receiver that is slow, dead, failing or crashing is told everything, in order, also over a
//! `kill -9` of the node, and nobody else waits for it.

mod common;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::processes::Node;
use common::receiver::{Answer, Receiver, Request};
use ed25519_dalek::VerifyingKey;
use serde_json::{Value, json};
use sofie_node::peers::envelope::keyid;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(20);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|door| door.local_addr()).expect("a free port").port()
}

fn webhook(name: &str, port: u16, more: &str) -> String {
    format!("\n[[webhook]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}/hooks/{name}\"\n{more}\n")
}

/// A transaction that the renter pays by, from its draft to its end.
async fn transaction(node: &Node) -> String {
    let draft = json!({ "deadline": "60s", "legs": [
        { "ledger": "evm", "kind": "transfer", "from": "renter", "to": "locker-co", "amount": "1000" },
        { "ledger": "calendar", "kind": "record", "payload": "a delivery note" },
    ] });
    let (status, begun) = node.post("/api/v1/transactions", &draft).await;
    assert_eq!(status, 202, "{begun}");
    let id = begun["id"].as_str().expect("an id").to_owned();
    let done = until(node, &format!("/api/v1/transactions/{id}"), |shown| shown["phase"] == "done").await;
    assert_eq!(done["decision"], "commit", "{done}");
    id
}

async fn until(node: &Node, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let shown = node.get(path).await;
        if wanted(&shown) {
            return shown;
        }
        assert!(began.elapsed() < PATIENCE, "{path}: {shown:#}");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn records(node: &Node) -> u64 {
    let measures = node.text("/metrics").await;
    let line = measures.lines().find_map(|line| line.strip_prefix("sofie_audit_records_total "));
    line.expect("it is measured").parse().expect("a number")
}

async fn key(node: &Node) -> VerifyingKey {
    let own = node.get("/api/v1/peers").await["own"]["key"].as_str().expect("a key").to_owned();
    let bytes = hex::decode(own).expect("hexadecimal digits");
    VerifyingKey::from_bytes(&bytes.try_into().expect("32 bytes")).expect("a key")
}

/// The whole log from its first record on: each at least once, never one before its predecessor was taken.
#[track_caller]
fn whole(taken: &[Request], records: u64) {
    let mut known = 0;
    for request in taken {
        let sequence = request.sequence();
        assert!(sequence <= known + 1, "{sequence} comes after {known}");
        known = known.max(sequence);
    }
    assert_eq!(known, records);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_in_every_way_is_told_everything_and_nobody_waits_for_it() {
    let (bad, good) = (free_port(), free_port());
    let steady = webhook("steady", good, "kinds = [\"decided\", \"applied\"]\nparty = \"renter\"");
    let node = Node::with(&(webhook("erp", bad, "") + &steady));
    let fails = [Answer::Crash, Answer::Status(500), Answer::Status(307), Answer::Silence];
    // Each of the first four events at its first time.
    let mut pending = fails.to_vec();
    pending.reverse();
    let pending = std::sync::Mutex::new((0, pending));
    let erp = Receiver::open(bad, move |_, event| {
        let sequence =
            event["sequence"].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a number");
        let mut pending = pending.lock().expect("nobody panics with it");
        let first = sequence > pending.0;
        pending.0 = pending.0.max(sequence);
        if first { pending.1.pop().unwrap_or(Answer::Take) } else { Answer::Take }
    });
    let steady = Receiver::open(good, |_, _| Answer::Take);
    let (erp, steady) = tokio::join!(erp, steady);

    let id = transaction(&node).await;
    // The first is still busy with its first events, each of which costs a pause or a time limit.
    steady.until("told of the decision and both legs", |came| came.len() == 3).await;
    let failing = erp.all().iter().filter(|request| request.answer != Answer::Take).count();
    assert!(failing < fails.len(), "the other one did not wait for it");

    let records = records(&node).await;
    let told = |came: &[Request]| {
        came.last().is_some_and(|last| last.answer == Answer::Take && last.sequence() == records)
    };
    erp.until("told everything", told).await;
    whole(&erp.taken(), records);
    let all = erp.all();
    let failed: Vec<_> = all.iter().filter(|request| request.answer != Answer::Take).collect();
    assert_eq!(failed.iter().map(|request| request.answer).collect::<Vec<_>>(), fails);
    for request in failed {
        let again = all.iter().filter(|other| other.event == request.event).count();
        assert_eq!(again, 2, "what failed once is sent a second time, the same: {request:?}");
    }
    let operator = key(&node).await;
    assert!(
        steady.all().iter().all(|request| request.keyid() != keyid(&operator)),
        "the renter's key signs there"
    );
    all.iter().for_each(|request| request.genuine(&operator));
    let names: Vec<_> = steady.all().iter().map(|request| request.event["data"]["name"].clone()).collect();
    assert_eq!(names, ["decided", "applied", "applied"]);
    assert!(steady.all().iter().all(|request| request.event["subject"] == id.as_str()));
    let shown = until(&node, "/api/v1/status", |status| status["webhooks"][0]["behind"] == 0).await;
    assert_eq!((&shown["webhooks"][0]["ok"], &shown["webhooks"][0]["error"]), (&json!(true), &Value::Null));
    let measures = node.text("/metrics").await;
    for line in [
        "sofie_webhook_up{webhook=\"erp\"} 1",
        "sofie_webhook_failures_total{webhook=\"erp\"} 4",
        "sofie_webhook_delivered_total{webhook=\"steady\"} 3",
    ] {
        assert!(measures.lines().any(|known| known == line), "{line}: {measures}");
    }
}

/// The stream of server-sent events tells the same, from wherever its reader left off before the node was killed.
async fn streamed(node: &Node, taken: &[Request]) {
    let refused = node.answer("/api/v1/events?after=1000000").await;
    assert_eq!(refused.status(), 409);
    let from = taken.len() / 2;
    let (after, wanted) = (taken[from - 1].sequence(), &taken[from..]);
    let mut answer = node.answer(&format!("/api/v1/events?after={after}")).await;
    let mut told = String::new();
    while told.matches("\n\n").count() < wanted.len() {
        told += std::str::from_utf8(&answer.chunk().await.expect("it goes on").expect("a chunk"))
            .expect("a text");
    }
    let events = told.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = events.map(|data| serde_json::from_str(data).expect("JSON")).collect();
    assert_eq!(events, wanted.iter().map(|request| request.event.clone()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_away_and_a_node_that_is_killed_lose_nothing() {
    let port = free_port();
    let mut node = Node::with(&webhook("erp", port, ""));
    transaction(&node).await;
    let away = until(&node, "/api/v1/status", |status| status["webhooks"][0]["ok"] == false).await;
    let away = &away["webhooks"][0];
    assert_eq!((&away["name"], &away["delivered"]), (&json!("erp"), &json!(0)), "{away}");
    assert_eq!(away["to"], format!("http://127.0.0.1:{port}"), "the path is nobody's business");
    assert!(away["error"].as_str().is_some_and(|error| !error.contains("hooks")), "{away}");
    assert!(node.text("/metrics").await.contains("sofie_webhook_up{webhook=\"erp\"} 0"));

    // Killed before it could tell anything, and again in the middle of it.
    node.restart();
    let erp = Receiver::open(port, |before, _| if before < 3 { Answer::Take } else { Answer::Silence }).await;
    erp.until("stuck after three", |came| came.len() > 3).await;
    node.kill();
    let mut taken = erp.taken();
    assert_eq!(taken.len(), 3);
    drop(erp);
    node.restart();
    let erp = Receiver::open(port, |_, _| Answer::Take).await;
    transaction(&node).await;
    let records = records(&node).await;
    erp.until("told everything", |came| came.last().is_some_and(|last| last.sequence() == records)).await;
    let operator = key(&node).await;
    taken.extend(erp.taken());
    taken.iter().for_each(|request| request.genuine(&operator));
    whole(&taken, records);
    streamed(&node, &taken).await;
    // Told again, it is the same event under the same id.
    for request in &taken {
        let same = taken.iter().filter(|other| other.sequence() == request.sequence());
        assert!(same.clone().all(|other| other.event == request.event), "{request:?}");
        let id = &request.event["id"];
        assert_eq!(taken.iter().filter(|other| other.event["id"] == *id).count(), same.count());
    }
}
