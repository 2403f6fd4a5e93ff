//! The oneM2M adapter, judged by ACME, a CSE of another maker.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value as Json, json};
use sofie_adapters::{
    Adapter, AdapterError, Binding, Outcome, Request,
    binding::{ActionBinding, ActionMethod, Format},
    conformance::{self, Scene},
    onem2m::{Onem2mAdapter, Onem2mConfig},
    port::{Confidence, Description, Message, Refuser},
};
use sofie_model::{Digest, ThingId, Value};
use sofie_peers::Acme;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{Open, PATIENCE, accepted, clock, loopback};

fn config(url: &str) -> Onem2mConfig {
    let config = Onem2mConfig::new("site-co", url, Acme::ADMIN, clock());
    Onem2mConfig { gate: Arc::new(Open), notified_at: Some(loopback()), ..config }
}

fn adapter(config: Onem2mConfig) -> Onem2mAdapter {
    Onem2mAdapter::open(config).expect("a good address")
}

async fn described(adapter: &Onem2mAdapter) -> Description {
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

/// The next reading of `property`.
async fn reading(messages: &mut mpsc::Receiver<Message>, property: &str) -> (Value, Message) {
    loop {
        let message = next(messages).await;
        if let Some(seen) = message.observations.iter().find(|o| o.property == property) {
            return (seen.quantity.value.clone(), message);
        }
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

/// The owner's word: the action `cool` makes a content instance in the container `temp`.
fn with_an_action(description: &Description) -> Binding {
    let mut binding = description.binding.clone();
    let target = "/cse-in/Sensor/temp".into();
    binding
        .actions
        .insert("cool".into(), ActionBinding { target, method: ActionMethod::Post, format: Format::Json });
    Binding { things: vec![binding] }
}

#[tokio::test]
async fn the_suite_with_acme() {
    let Some(acme) = Acme::start().await else { return };
    acme.furnish().await;
    let found = described(&adapter(config(&acme.url()))).await;
    let binding = with_an_action(&found);
    let acme = Arc::new(acme);
    for notified_at in [Some(loopback()), None] {
        let (runtime, hand) = (tokio::runtime::Handle::current(), Arc::clone(&acme));
        let open = Onem2mConfig { binding: binding.clone(), notified_at, ..config(&acme.url()) };
        let shut = Onem2mConfig {
            binding: binding.clone(),
            ..Onem2mConfig::new("site-co", &acme.url(), Acme::ADMIN, clock())
        };
        let scene = Scene {
            adapter: Arc::new(adapter(open)),
            shut: Arc::new(adapter(shut)),
            property: "temp".into(),
            action: Some(("cool".into(), json!(-20))),
            change: Some(Box::new(move || {
                runtime.spawn(async move { hand.measure("-17.25").await });
            })),
        };
        conformance::run(scene).await.expect("the oneM2M adapter keeps the port's promises");
    }
    assert_eq!(acme.instances("/cse-in/Sensor/temp").await, 5, "a shut gate and a known name make nothing");
    let shut = Onem2mConfig::new("site-co", &acme.url(), Acme::ADMIN, clock());
    let (open, shut) = (adapter(config(&acme.url())), adapter(shut));
    let written = conformance::writing(&open, &shut, "temp", text("-19.25"), Value::Bool(true)).await;
    written.expect("a content that is one value is written as the next one");
    assert_eq!(acme.instances("/cse-in/Sensor/temp").await, 6);
}

#[tokio::test]
async fn what_stands_on_acme_is_described_with_what_it_rests_on() {
    let Some(acme) = Acme::start().await else { return };
    acme.furnish().await;
    let adapter = adapter(config(&acme.url()));
    let thing = described(&adapter).await;
    accepted(&thing.td);
    assert_eq!(thing.td["title"], "Cold room");
    assert_eq!(
        (&thing.td["sofie:application"], &thing.td["sofie:labels"]),
        (&json!("Norg.example.sensor"), &json!(["site/7"]))
    );
    let kinds = thing.td["properties"].as_object().expect("properties").iter();
    let kinds: Vec<_> =
        kinds.map(|(name, schema)| (name.as_str(), schema["type"].as_str().expect("a type"))).collect();
    assert_eq!(
        kinds,
        [("air_curT0", "number"), ("door_count", "integer"), ("door_open", "boolean"), ("temp", "number")]
    );
    let temp = &thing.td["properties"]["temp"];
    assert_eq!(
        (&temp["readOnly"], &thing.td["properties"]["door_open"]["readOnly"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(temp["forms"][1]["sofie:awaits"], "owner-policy");
    assert_eq!(temp["sofie:source"], "container /cse-in/Sensor/temp, 1 content instance");
    assert_eq!(temp["forms"][0]["href"], format!("{}/Sensor/temp/la", acme.url()));
    let sure =
        |name: &str| thing.origins.iter().find(|origin| origin.name == name).expect("an origin").confidence;
    assert_eq!((sure("temp"), sure("air_curT0")), (Confidence::Inferred, Confidence::Stated));
    let lacking = thing.td["sofie:unmapped"].as_array().expect("some");
    assert_eq!(lacking.iter().map(|one| &one["name"]).collect::<Vec<_>>(), ["/cse-in/Sensor/empty"]);
    assert_eq!(thing.td["securityDefinitions"]["originator"]["scheme"], "apikey");
    assert!(thing.td.get("actions").is_none(), "nothing is known to act");
    assert!(!thing.td.to_string().contains(Acme::ADMIN), "as whom this node reads is not for others");
    let air = adapter.read(&thing.thing, "air_curT0").await.expect("it answers");
    assert_eq!((air.observations[0].quantity.value.clone(), air.retained), (text("21.5"), true));
    assert_eq!(acme.discovered(23).await, BTreeSet::new(), "introspection subscribes to nothing");
    // The CSE's name is found where the owner gives none.
    let nameless = self::adapter(config(&acme.authority()));
    assert_eq!(described(&nameless).await.td["properties"]["temp"]["forms"], temp["forms"]);
}

/// Told of each content once, with the CSE's own time; what came while nobody listened is fetched; nothing is left behind.
#[tokio::test]
async fn each_content_is_heard_once() {
    let Some(acme) = Acme::start().await else { return };
    acme.furnish().await;
    let thing = described(&adapter(config(&acme.url()))).await;
    let binding = Binding { things: vec![thing.binding] };
    let named =
        || Onem2mConfig { binding: binding.clone(), subscriber: Some("one".into()), ..config(&acme.url()) };
    let adapter = adapter(named());
    let mut messages = adapter.observe().await.expect("it can be observed");
    let (first, message) = reading(&mut messages, "temp").await;
    assert_eq!((first, message.retained), (text("-18.5"), true), "what was there before is old");
    let subscriptions = acme.discovered(23).await;
    assert_eq!(subscriptions.len(), 3, "{subscriptions:?}");
    for written in ["-18.4", "-18.3", "-18.4"] {
        acme.measure(written).await;
        let (read, message) = reading(&mut messages, "temp").await;
        assert_eq!((read, message.retained, message.deviations.len()), (text(written), false, 0));
        let observed = message.observations[0].observed_at;
        assert!(observed <= message.arrived, "{observed:?} is the CSE's time, {:?} ours", message.arrived);
    }
    // A node that died left its subscription behind. The next one takes it over.
    let heir = self::adapter(named());
    let mut inherited = heir.observe().await.expect("it can be observed");
    assert_eq!(acme.discovered(23).await, subscriptions, "no second subscription beside the first");
    assert_eq!(reading(&mut inherited, "temp").await.0, text("-18.4"));
    acme.measure("-18.2").await;
    assert_eq!(reading(&mut inherited, "temp").await.0, text("-18.2"));
    drop((messages, inherited));
    let gone = async {
        while !acme.discovered(23).await.is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("its subscriptions are taken back");
}

/// A subscription that somebody took away, and a CSE that forgot everything: what came meanwhile is fetched, once.
#[tokio::test]
async fn an_observer_outlives_its_subscriptions_and_its_cse() {
    let Some(mut acme) = Acme::start().await else { return };
    acme.furnish().await;
    let thing = described(&adapter(config(&acme.url()))).await;
    let binding = Binding { things: vec![thing.binding] };
    let adapter = adapter(Onem2mConfig { binding, look: Duration::from_secs(1), ..config(&acme.url()) });
    let mut messages = adapter.observe().await.expect("it can be observed");
    assert_eq!(reading(&mut messages, "temp").await.0, text("-18.5"));
    for subscription in acme.discovered(23).await {
        acme.ask("DELETE", &format!("/{subscription}"), Acme::ADMIN, None).await.expect("it answers");
    }
    let written = ["-18.4", "-18.3", "-18.4", "-18.2"];
    for one in written {
        acme.measure(one).await;
    }
    for one in written {
        assert_eq!(reading(&mut messages, "temp").await.0, text(one), "each, in its order");
    }
    acme.restart().await;
    acme.furnish().await;
    let (read, message) = reading(&mut messages, "temp").await;
    assert_eq!((read, message.retained), (text("-18.5"), false), "another instance than the first one");
    acme.measure("-17").await;
    assert_eq!(reading(&mut messages, "temp").await.0, text("-17"));
    assert!(adapter.counters().reconnects >= 1, "{:?}", adapter.counters());
}

#[tokio::test]
async fn a_cse_that_does_not_let_us_in_is_told_by_name() {
    let Some(mut acme) = Acme::start().await else { return };
    acme.furnish().await;
    let thing = described(&adapter(config(&acme.url()))).await;
    let binding = with_an_action(&thing);
    let stranger = adapter(Onem2mConfig { originator: "Cstranger".into(), binding, ..config(&acme.url()) });
    let error = stranger.read(&thing.thing, "temp").await.expect_err("it may not read").to_string();
    assert!(error.contains("4103") && error.contains("site-co"), "{error}");
    let outcome = stranger.invoke(&ask(&thing.thing, "cool", json!(1), "1")).await.expect("it was sent");
    assert!(
        matches!(&outcome, Outcome::Refused(Refuser::Device { code, .. }) if code == "4103"),
        "{outcome:?}"
    );
    assert!(matches!(stranger.observe().await, Err(AdapterError::Permanent { .. })));
    let elsewhere =
        adapter(config(&format!("{}/nothing", acme.url()))).introspect().await.expect_err("no such base");
    assert!(elsewhere.to_string().contains("4004"), "{elsewhere}");
    acme.end();
    let away = stranger.introspect().await.expect_err("nobody answers");
    assert!(matches!(away, AdapterError::Transient { .. }), "{away:?}");
}

#[test]
fn an_originator_is_checked() {
    for bad in ["", "a b", "a\r\nX-Evil: 1", &"C".repeat(200)] {
        let config = Onem2mConfig { originator: bad.into(), ..config("http://127.0.0.1:1/cse") };
        assert!(Onem2mAdapter::open(config).is_err(), "{bad:?}");
    }
}
