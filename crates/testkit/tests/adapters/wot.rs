//! The WoT adapter, judged by a double of a servient and by node-wot.

use std::{collections::BTreeSet, net::SocketAddr, process::Stdio, sync::Arc};

use serde_json::{Value as Json, json};
use sofie_adapters::{
    Adapter, AdapterError, Binding, Outcome, Request, Write,
    conformance::{self, Scene},
    port::{Description, Message, Refuser},
    wot::{WotAdapter, WotConfig},
};
use sofie_model::{Digest, ThingId, Value};
use sofie_testkit::devices::servient::{ELSEWHERE, Lamp, Mood};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::timeout,
};

use crate::{Open, PATIENCE, accepted, clock, loopback, peer};

fn config(url: &str) -> WotConfig {
    WotConfig { gate: Arc::new(Open), ..WotConfig::new("lamp-co", url, clock()) }
}

fn adapter(url: &str) -> WotAdapter {
    WotAdapter::open(config(url)).expect("a good address")
}

async fn lamp() -> (Lamp, String) {
    let lamp = Lamp::start(loopback()).await.expect("a free port");
    let url = format!("http://{}", lamp.address());
    (lamp, url)
}

async fn described(adapter: &WotAdapter) -> Description {
    let mut things = adapter.introspect().await.expect("it tells of itself");
    assert_eq!(things.len(), 1, "{things:?}");
    things.remove(0)
}

fn ask(thing: &ThingId, action: &str, input: Json, name: &str) -> Request {
    let (thing, action) = (thing.clone(), action.into());
    Request { thing, action, input, message: Digest::sha256(name.as_bytes()), capability: Vec::new() }
}

async fn next(messages: &mut mpsc::Receiver<Message>) -> Message {
    timeout(PATIENCE, messages.recv()).await.expect("a message in time").expect("the adapter goes on")
}

/// The next reading of `property`, and what deviations came with it.
async fn reading(messages: &mut mpsc::Receiver<Message>, property: &str) -> (Value, Message) {
    loop {
        let message = next(messages).await;
        if let Some(seen) = message.observations.iter().find(|o| o.property == property) {
            return (seen.quantity.value.clone(), message);
        }
    }
}

/// The whole suite, for a property that is asked for its next change, one that tells a stream, and one that is read again
/// and again.
#[tokio::test]
async fn the_suite_with_a_double() {
    for property in ["on", "now", "seldom"] {
        let (lamp, url) = lamp().await;
        let hand = lamp.clone();
        let scene = Scene {
            adapter: Arc::new(adapter(&url)),
            shut: Arc::new(
                WotAdapter::open(WotConfig::new("lamp-co", &url, clock())).expect("a good address"),
            ),
            property: property.into(),
            action: Some(("switch".into(), json!(false))),
            change: Some(Box::new(move || hand.switch_by_hand(true))),
        };
        conformance::run(scene).await.expect("the WoT adapter keeps the port's promises");
        assert_eq!(lamp.deeds(), 1, "a shut gate and a known name send nothing");
    }
}

#[tokio::test]
async fn a_property_of_a_double_is_written_once_and_what_became_of_it_is_never_guessed() {
    let (lamp, url) = lamp().await;
    let shut = WotAdapter::open(WotConfig::new("lamp-co", &url, clock())).expect("a good address");
    let (on, unfit) = (Value::Bool(true), Value::Integer(1));
    conformance::writing(&adapter(&url), &shut, "on", on, unfit).await.expect("it keeps the port's promises");
    assert_eq!(lamp.deeds(), 1, "a shut gate, a bad value and a known name send nothing");
    let adapter = adapter(&url);
    let thing = described(&adapter).await.thing;
    for (mood, expected) in
        [(Mood::Refusing, "not"), (Mood::Pointing, "not"), (Mood::Failing, "?"), (Mood::Speechless, "?")]
    {
        lamp.set_mood(mood);
        let got = match adapter.write(&put(&thing, "on", Value::Bool(false), &format!("{mood:?}"))).await {
            Ok(Outcome::Answered { .. }) => "done",
            Ok(Outcome::Refused(_)) => "not",
            Ok(Outcome::Unknown { .. }) => "?",
            Err(error) => panic!("{mood:?}: {error}"),
        };
        assert_eq!(got, expected, "{mood:?}");
    }
    let refused =
        adapter.write(&put(&thing, "now", Value::Bool(true), "now")).await.expect_err("it is readOnly");
    assert!(refused.to_string().contains("now"), "{refused}");
}

fn put(thing: &ThingId, property: &str, value: Value, name: &str) -> Write {
    let message = Digest::sha256(name.as_bytes());
    let (thing, property) = (thing.clone(), property.into());
    Write { thing, property, value, unit: None, message, capability: Vec::new() }
}

#[tokio::test]
async fn a_description_says_what_it_rests_on_and_what_is_missing() {
    let (lamp, url) = lamp().await;
    let adapter = adapter(&url);
    let thing = described(&adapter).await;
    let td = &thing.td;
    accepted(td);
    assert_eq!((&td["title"], &td["sofie:id"]), (&json!("Lamp"), &json!("urn:x:lamp")));
    assert_ne!(thing.thing.as_str(), "urn:x:lamp", "an id is a claim");
    assert_eq!(td["securityDefinitions"]["open"], json!({"scheme": "nosec", "sofie:stated": true}));
    let on = &td["properties"]["on"];
    assert_eq!(on["forms"][0]["href"], format!("{url}/lamp/on"));
    assert_eq!((&on["forms"][2]["subprotocol"], &on["observable"]), (&json!("longpoll"), &json!(true)));
    let write = &on["forms"][1];
    assert_eq!((&write["op"], &write["htv:methodName"]), (&json!("writeproperty"), &json!("PUT")));
    assert_eq!((&on["readOnly"], &td["properties"]["now"]["readOnly"]), (&json!(false), &json!(true)));
    assert!(on["sofie:source"].as_str().expect("a source").contains(ELSEWHERE), "the overlay shows: {on}");
    assert_eq!(td["actions"]["switch"]["input"], json!({"type": "boolean"}));
    let secret = &td["properties"]["secret"];
    assert_eq!(secret["forms"][0]["security"], json!(["login"]));
    let unmapped: Vec<_> =
        td["sofie:unmapped"].as_array().expect("some").iter().map(|one| &one["name"]).collect();
    assert_eq!(unmapped, ["inside", "broken"]);
    assert!(td["sofie:unmapped"][0]["reason"].as_str().expect("a reason").contains("169.254.169.254"));

    let locked = adapter.read(&thing.thing, "secret").await.expect_err("it has no credentials").to_string();
    assert!(locked.contains("basic") && locked.contains("lamp-co"), "{locked}");
    let locked = adapter.invoke(&ask(&thing.thing, "unlock", Json::Null, "1")).await.expect_err("nor here");
    assert!(locked.to_string().contains("basic"), "{locked}");
    let only = ["GET /", "GET /lamp"];
    assert!(
        lamp.asked().iter().all(|asked| only.contains(&asked.as_str())),
        "introspection reads: {:?}",
        lamp.asked()
    );
}

#[tokio::test]
async fn what_became_of_an_action_is_never_guessed() {
    for (mood, deeds) in
        [(Mood::Fair, 1), (Mood::Refusing, 0), (Mood::Speechless, 1), (Mood::Failing, 1), (Mood::Pointing, 0)]
    {
        let (lamp, url) = lamp().await;
        let adapter = adapter(&url);
        let thing = described(&adapter).await.thing;
        lamp.set_mood(mood);
        let request = ask(&thing, "switch", json!(true), "once");
        let outcome = adapter.invoke(&request).await.expect("it was sent");
        let as_expected = match mood {
            Mood::Fair => matches!(&outcome, Outcome::Answered { code, .. } if code == "204"),
            Mood::Refusing => {
                matches!(&outcome, Outcome::Refused(Refuser::Device { code, diagnostic }) if code == "403" && diagnostic == "not now")
            }
            Mood::Pointing => {
                matches!(&outcome, Outcome::Refused(Refuser::Device { code, .. }) if code == "307")
            }
            Mood::Speechless | Mood::Failing => matches!(&outcome, Outcome::Unknown { .. }),
        };
        assert!(as_expected, "{mood:?}: {outcome:?}");
        lamp.set_mood(Mood::Fair);
        assert_eq!(adapter.invoke(&request).await, Ok(outcome), "{mood:?}: one name, one outcome");
        assert_eq!(lamp.deeds(), deeds, "{mood:?}");
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_a_transient_error_and_leaves_the_name_free() {
    let (lamp, url) = lamp().await;
    let adapter = adapter(&url);
    let thing = described(&adapter).await.thing;
    let at = lamp.address();
    drop(lamp);
    let request = ask(&thing, "switch", json!(true), "later");
    let away = adapter.invoke(&request).await;
    assert!(matches!(away, Err(AdapterError::Transient { .. })), "{away:?}");
    assert!(matches!(adapter.introspect().await, Err(AdapterError::Transient { .. })));
    let lamp = back(at).await;
    let outcome = adapter.invoke(&request).await.expect("it is back");
    assert!(matches!(outcome, Outcome::Answered { .. }), "{outcome:?}");
    assert_eq!(lamp.deeds(), 1);
}

/// Its server has let go of the port.
async fn back(at: SocketAddr) -> Lamp {
    let back = timeout(PATIENCE, async {
        loop {
            match Lamp::start(at).await {
                Ok(lamp) => return lamp,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    back.await.expect("the port is free again")
}

#[tokio::test]
async fn a_bad_answer_is_bounded_noted_and_not_followed() {
    let (_lamp, url) = lamp().await;
    let adapter = adapter(&url);
    let thing = described(&adapter).await.thing;
    let odd = adapter.read(&thing, "odd").await.expect("it answers");
    assert!(odd.observations.is_empty() && odd.raw == b"\"neither\"", "{odd:?}");
    assert_eq!(odd.deviations[0].property.as_deref(), Some("odd"));
    for (property, told) in [("away", "302"), ("endless", "65536 bytes")] {
        let error = adapter.read(&thing, property).await.expect_err(property);
        assert!(matches!(error, AdapterError::Permanent { .. }), "{error:?}");
        assert!(error.to_string().contains(told), "{error}");
    }
    assert_eq!(adapter.counters().oversize, 1);
}

#[tokio::test]
async fn a_description_of_which_nothing_can_be_used_is_refused_with_the_reasons() {
    let (_lamp, url) = lamp().await;
    for (path, words) in [
        (
            "/traps",
            &[
                "nothing that it describes can be used: ",
                "property a: its address is on 127.0.0.1, which is not the platform",
                "property d\u{fffd}[31m: ",
                "; and 1 more",
            ][..],
        ),
        ("/nested", &["/nested is not JSON: "]),
        ("/lamp/odd", &["/lamp/odd is neither a Thing Description nor a list of them"]),
    ] {
        let error = adapter(&format!("{url}{path}")).introspect().await.expect_err(path);
        assert!(matches!(error, AdapterError::Permanent { .. }), "{error:?}");
        let told = error.to_string();
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
        assert!(!told.contains(char::is_control), "{told}");
    }
}

/// A node that starts again has the binding alone; and a servient that goes and comes is heard again, once.
#[tokio::test]
async fn an_observer_outlives_its_servient() {
    let (lamp, url) = lamp().await;
    let thing = described(&adapter(&url)).await;
    let binding = Binding { things: vec![thing.binding] };
    let adapter = WotAdapter::open(WotConfig { binding, ..config(&url) }).expect("a good address");
    let mut messages = adapter.observe().await.expect("it can be observed");
    assert_eq!(reading(&mut messages, "on").await.0, Value::Bool(false));
    let at = lamp.address();
    drop(lamp);
    let lamp = back(at).await;
    lamp.switch_by_hand(true);
    let (on, message) = reading(&mut messages, "on").await;
    assert_eq!(on, Value::Bool(true));
    assert!(message.deviations.iter().any(|d| d.expected == "an unbroken connection"), "{message:?}");
    lamp.switch_by_hand(false);
    let (on, message) = reading(&mut messages, "on").await;
    assert_eq!((on, message.deviations.len()), (Value::Bool(false), 0), "nothing between");
    assert!(adapter.counters().reconnects >= 1, "{:?}", adapter.counters());
    assert!(lamp.asked().iter().any(|asked| asked == "GET /lamp/on/next"), "{:?}", lamp.asked());
}

/// A stream tells each change in its order; one that has ended is opened again.
#[tokio::test]
async fn a_stream_of_events_is_followed_and_opened_again() {
    let (lamp, url) = lamp().await;
    let adapter = adapter(&url);
    let thing = described(&adapter).await;
    accepted(&thing.td);
    assert_eq!(thing.td["properties"]["now"]["forms"][1]["subprotocol"], "sse");
    let mut messages = adapter.observe().await.expect("it can be observed");
    assert_eq!(reading(&mut messages, "now").await.0, Value::Bool(false));
    for on in [true, false, true] {
        lamp.switch_by_hand(on);
        assert_eq!(reading(&mut messages, "now").await.0, Value::Bool(on));
    }
    let at = lamp.address();
    assert!(lamp.asked().iter().any(|asked| asked == "GET /lamp/now/events"), "{:?}", lamp.asked());
    drop(lamp);
    let lamp = back(at).await;
    let (now, message) = reading(&mut messages, "now").await;
    assert_eq!(now, Value::Bool(false), "it was switched off meanwhile");
    assert!(message.deviations.iter().any(|d| d.expected == "an unbroken connection"), "{message:?}");
    lamp.switch_by_hand(true);
    assert_eq!(reading(&mut messages, "now").await.0, Value::Bool(true));
}

/// A servient of node-wot, another implementation of the specifications, with a counter; it ends with this.
struct NodeWot {
    _process: Child,
    url: String,
}

async fn node_wot() -> Option<NodeWot> {
    let core = sofie_peers::program("npm/node-wot/node_modules/@node-wot/core/package.json")?;
    let node = sofie_peers::installed("node")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/adapters/servient.cjs");
    let mut command = Command::new(node);
    command.arg(script).arg(core).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.kill_on_drop(true).spawn().expect("node starts");
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    let line =
        timeout(PATIENCE, lines.next_line()).await.expect("it is ready in time").expect("it can be read");
    let line: Json = serde_json::from_str(&line.expect("a line")).expect("one JSON line");
    // This version's list of its things is always empty: its owner gives the description's address.
    let url = format!("http://{}/counter", line["listening"].as_str().expect("an address"));
    Some(NodeWot { _process: process, url })
}

#[tokio::test]
async fn the_suite_with_node_wot() {
    let Some(servient) = node_wot().await else { return };
    let changer = adapter(&servient.url);
    let thing = described(&changer).await.thing;
    let runtime = tokio::runtime::Handle::current();
    let scene = Scene {
        adapter: Arc::new(adapter(&servient.url)),
        shut: Arc::new(
            WotAdapter::open(WotConfig::new("lamp-co", &servient.url, clock())).expect("a good address"),
        ),
        property: "count".into(),
        action: Some(("increment".into(), json!(2))),
        change: Some(Box::new(move || {
            runtime
                .spawn(async move { changer.invoke(&ask(&thing, "increment", json!(3), "another")).await });
        })),
    };
    conformance::run(scene).await.expect("the WoT adapter keeps the port's promises");
}

#[tokio::test]
async fn a_property_of_node_wot_is_written_and_read_back() {
    let Some(servient) = node_wot().await else { return };
    let shut = WotAdapter::open(WotConfig::new("lamp-co", &servient.url, clock())).expect("a good address");
    let adapter = adapter(&servient.url);
    let (level, unfit) = (Value::Text("-12.25".into()), Value::Bool(true));
    conformance::writing(&adapter, &shut, "level", level, unfit).await.expect("it keeps the port's promises");
    let thing = described(&adapter).await;
    accepted(&thing.td);
    let range = &thing.td["properties"]["range_from"];
    assert_eq!(range["readOnly"], true, "an object is not written by one of its members");
    let count = adapter.write(&put(&thing.thing, "count", Value::Integer(9), "count")).await;
    assert!(matches!(count, Err(AdapterError::Permanent { .. })), "{count:?}");
}

#[tokio::test]
async fn a_counter_of_node_wot_is_described_read_told_and_watched() {
    let Some(servient) = node_wot().await else { return };
    let adapter = adapter(&servient.url);
    let thing = described(&adapter).await;
    accepted(&thing.td);
    let names =
        |group: &str| thing.td[group].as_object().expect("a group").keys().cloned().collect::<BTreeSet<_>>();
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(names("properties"), set(&["count", "level", "range_from", "range_to", "status_ready"]));
    assert_eq!(names("actions"), set(&["break", "increment"]));
    let unmapped = thing.td["sofie:unmapped"].as_array().expect("some").iter();
    let unmapped: BTreeSet<_> = unmapped.filter_map(|one| one["name"].as_str().map(Into::into)).collect();
    assert_eq!(unmapped, set(&["history", "range", "status_history", "overflow"]));
    let ready = adapter.read(&thing.thing, "status_ready").await.expect("it answers");
    assert_eq!(ready.observations[0].quantity.value, Value::Bool(true));

    let mut messages = adapter.observe().await.expect("it can be observed");
    assert_eq!(reading(&mut messages, "count").await.0, Value::Integer(0));
    let by_five = ask(&thing.thing, "increment", json!(5), "by five");
    let outcome = adapter.invoke(&by_five).await.expect("it was sent");
    assert_eq!(outcome, Outcome::Answered { code: "200".into(), payload: b"5".to_vec() });
    assert_eq!(reading(&mut messages, "count").await.0, Value::Integer(5));
    let broken =
        adapter.invoke(&ask(&thing.thing, "break", Json::Null, "broken")).await.expect("it was sent");
    assert!(matches!(broken, Outcome::Unknown { .. }), "a 500 does not say that it was not done: {broken:?}");
}

#[tokio::test]
async fn nobody_there_is_told_by_name() {
    let url = format!("http://127.0.0.1:{}", peer::free_tcp_port());
    let error = adapter(&url).introspect().await.expect_err("nobody listens").to_string();
    assert!(error.contains("lamp-co") && error.contains(&url), "{error}");
}
