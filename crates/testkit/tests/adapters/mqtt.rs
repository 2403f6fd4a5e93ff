//! The MQTT adapter, judged by the embedded broker with the door sensor, and by mosquitto.

use std::{sync::Arc, time::Duration};

use rumqttc::{AsyncClient, Event, Incoming, LastWill, MqttOptions, QoS};
use sofie_adapters::{
    Adapter, AdapterError, Binding, Gate,
    binding::{ActionMethod, WriteBinding},
    conformance::{self, Scene},
    mqtt::{MqttAdapter, MqttConfig, codec::MAX_PAYLOAD},
    port::{Closed, Description, Message, QUEUE},
};
use sofie_model::Value;
use sofie_testkit::devices::door::{Door, Mode};
use tokio::{sync::mpsc, time::timeout};

use crate::{Open, PATIENCE, accepted, broker, clock, peer, sensor};

const TOPIC: &str = "site/7/door/42/state";

fn config(address: &str) -> MqttConfig {
    MqttConfig { gate: Arc::new(Open), ..MqttConfig::new("sensor-co", &format!("mqtt://{address}"), clock()) }
}

fn adapter(address: &str) -> MqttAdapter {
    MqttAdapter::open(config(address)).expect("a good address")
}

async fn door_thing(adapter: &MqttAdapter) -> Description {
    let things = adapter.introspect().await.expect("it tells of itself");
    things.into_iter().find(|thing| thing.td["title"] == format!("MQTT {TOPIC}")).expect("the sensor's topic")
}

async fn next(messages: &mut mpsc::Receiver<Message>) -> Message {
    timeout(PATIENCE, messages.recv()).await.expect("a message in time").expect("the adapter goes on")
}

fn is_open(message: &Message) -> Option<bool> {
    message.observations.iter().find(|o| o.property == "open").map(|o| o.quantity.value == Value::Bool(true))
}

/// Somebody else's client.
async fn publish(address: &str, topic: &str, retain: bool, payload: Vec<u8>) {
    let (host, port) = address.rsplit_once(':').expect("host:port");
    let mut options = MqttOptions::new("somebody", host, port.parse().expect("a port"));
    options.set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = AsyncClient::new(options, 4);
    client.publish(topic, QoS::AtLeastOnce, retain, payload).await.expect("there is room");
    loop {
        if let Event::Incoming(Incoming::PubAck(_)) = events.poll().await.expect("the broker takes it") {
            return;
        }
    }
}

/// The whole way of a reading, through any broker.
async fn the_story(address: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("door.json");
    let door = Door::create(&path, Mode::Normal).expect("a door");
    let _sensor = sensor(address, TOPIC, &path).await;

    let hand = door.clone();
    let scene = Scene {
        adapter: Arc::new(adapter(address)),
        shut: Arc::new(adapter(address)),
        property: "open".into(),
        action: None,
        change: Some(Box::new(move || {
            hand.bolt(true).expect("it moves");
        })),
    };
    conformance::run(scene).await.expect("the MQTT adapter keeps the port's promises");

    let adapter = adapter(address);
    let thing = door_thing(&adapter).await;
    accepted(&thing.td);
    let kept = adapter.read(&thing.thing, "open").await.expect("the broker keeps the last state");
    assert!(kept.retained && kept.observations.iter().all(|o| o.retained), "kept, not new: {kept:?}");
    assert_eq!(is_open(&kept), Some(true));

    let mut messages = adapter.observe().await.expect("it can be observed");
    let before = crate::now();
    door.bolt(false).expect("it moves");
    let live = loop {
        let message = next(&mut messages).await;
        if !message.retained {
            break message;
        }
    };
    assert_eq!(is_open(&live), Some(false));
    let open = live.observations.iter().find(|o| o.property == "open").expect("it is bound");
    assert!(open.observed_at.as_millis() >= before, "the sensor's own time");
    assert!(open.observed_at <= live.arrived);
}

/// With a client identifier, what comes while nobody listens is kept for us; and two observers do not chase each other.
async fn the_absence(address: &str) {
    publish(address, TOPIC, true, br#"{"open":false,"seq":1}"#.to_vec()).await;
    let config = MqttConfig { client_id: Some("sofie-test".into()), ..config(address) };
    let adapter = MqttAdapter::open(config).expect("a good address");
    door_thing(&adapter).await;
    let mut first = adapter.observe().await.expect("it can be observed");
    let mut second = adapter.observe().await.expect("it can be observed twice");
    publish(address, TOPIC, false, br#"{"open":true,"seq":2}"#.to_vec()).await;
    for messages in [&mut first, &mut second] {
        let live = loop {
            let message = next(messages).await;
            if !message.retained {
                break message;
            }
        };
        assert_eq!(is_open(&live), Some(true));
        assert!(live.deviations.is_empty(), "{live:?}");
    }
    drop((first, second));
    // The name is free when the broker has let it go.
    let named = adapter.observe().await.expect("it can be observed again");
    drop(named);
    publish(address, TOPIC, false, br#"{"open":true,"seq":3}"#.to_vec()).await;
    let mut back = adapter.observe().await.expect("it can be observed again");
    let third = loop {
        let message = next(&mut back).await;
        if message.raw == br#"{"open":true,"seq":3}"# {
            break message;
        }
    };
    assert!(!third.retained, "{third:?}");
}

#[tokio::test]
async fn the_story_through_the_embedded_broker() {
    let broker = broker().await;
    the_story(&broker.address()).await;
}

#[tokio::test]
async fn the_absence_at_the_embedded_broker() {
    let broker = broker().await;
    the_absence(&broker.address()).await;
}

#[tokio::test]
async fn the_absence_at_mosquitto() {
    let Some((_peer, address)) = mosquitto(peer::free_tcp_port()).await else { return };
    the_absence(&address).await;
}

#[tokio::test]
async fn a_payload_over_the_limit_is_refused_and_counted_and_the_connection_stays() {
    let broker = broker().await;
    let address = broker.address();
    publish(&address, TOPIC, true, br#"{"open":false}"#.to_vec()).await;
    let adapter = adapter(&address);
    door_thing(&adapter).await;
    let mut messages = adapter.observe().await.expect("it can be observed");
    publish(&address, TOPIC, false, vec![b' '; MAX_PAYLOAD + 1]).await;
    publish(&address, TOPIC, false, br#"{"open":"wide"}"#.to_vec()).await;
    publish(&address, TOPIC, false, br#"{"open":true}"#.to_vec()).await;
    let broken = loop {
        let message = next(&mut messages).await;
        if !message.retained {
            break message;
        }
    };
    assert!(broken.observations.is_empty(), "{broken:?}");
    assert_eq!(broken.raw, br#"{"open":"wide"}"#);
    let told = |expected: &str| broken.deviations.iter().any(|d| d.expected == expected);
    assert!(told("a message within the limits") && told("true or false"), "{broken:?}");
    assert_eq!(is_open(&next(&mut messages).await), Some(true));
    let counters = adapter.counters();
    assert_eq!((counters.oversize, counters.reconnects), (1, 0), "{counters:?}");
}

/// So many more messages than the observer's queue holds.
const EXTRA: usize = 44;

#[tokio::test]
async fn a_slow_reader_makes_the_broker_wait_and_loses_nothing() {
    let broker = broker().await;
    let address = broker.address();
    publish(&address, TOPIC, true, br#"{"seq":0}"#.to_vec()).await;
    let adapter = adapter(&address);
    door_thing(&adapter).await;
    let mut messages = adapter.observe().await.expect("it can be observed");
    for seq in 1..=QUEUE + EXTRA {
        publish(&address, TOPIC, false, format!(r#"{{"seq":{seq}}}"#).into_bytes()).await;
    }
    for seq in 0..=QUEUE + EXTRA {
        let message = next(&mut messages).await;
        assert_eq!(message.raw, format!(r#"{{"seq":{seq}}}"#).into_bytes());
        assert!(message.deviations.is_empty(), "{message:?}");
    }
    assert_eq!(adapter.counters().dropped, 0);
}

#[tokio::test]
async fn a_slow_reader_loses_the_newest_of_what_nobody_confirms_and_is_told() {
    let Some((_peer, address)) = mosquitto(peer::free_tcp_port()).await else { return };
    publish(&address, TOPIC, true, br#"{"seq":0}"#.to_vec()).await;
    let adapter = adapter(&address);
    door_thing(&adapter).await;
    let mut messages = adapter.observe().await.expect("it can be observed");
    // Slow from here on. QoS 0: delivered at most once.
    let (host, port) = address.rsplit_once(':').expect("host:port");
    let options = MqttOptions::new("hasty", host, port.parse().expect("a port"));
    let (client, mut events) = AsyncClient::new(options, QUEUE + EXTRA + 1);
    for seq in 1..=QUEUE + EXTRA {
        let payload = format!(r#"{{"seq":{seq}}}"#);
        client.try_publish(TOPIC, QoS::AtMostOnce, false, payload).expect("there is room");
    }
    let full = timeout(PATIENCE, async {
        // The kept message took one place.
        while usize::try_from(adapter.counters().dropped).expect("few") < EXTRA + 1 {
            let _ = timeout(Duration::from_millis(10), events.poll()).await;
        }
    });
    full.await.expect("the queue is bounded");
    for _ in 0..QUEUE {
        let message = next(&mut messages).await;
        assert!(message.deviations.is_empty(), "{message:?}");
    }
    publish(&address, TOPIC, false, br#"{"seq":1000}"#.to_vec()).await;
    let told = next(&mut messages).await;
    assert!(told.deviations.iter().any(|d| d.got.starts_with("45 were lost")), "{told:?}");
}

#[tokio::test]
async fn what_its_reader_had_not_kept_comes_again() {
    let Some((_peer, address)) = mosquitto(peer::free_tcp_port()).await else { return };
    publish(&address, TOPIC, true, br#"{"seq":0}"#.to_vec()).await;
    let named = || MqttConfig { client_id: Some("node-7".into()), ..config(&address) };
    let first = MqttAdapter::open(named()).expect("a good address");
    door_thing(&first).await;
    let mut messages = first.observe().await.expect("it can be observed");
    assert!(next(&mut messages).await.retained);
    for seq in 1..=3 {
        publish(&address, TOPIC, false, format!(r#"{{"seq":{seq}}}"#).into_bytes()).await;
    }
    // The first is kept; the reader dies with the other two in its hands.
    drop(next(&mut messages).await);
    for _ in 2..=3 {
        next(&mut messages).await.receipt.withhold();
    }
    drop((messages, first));
    let second = MqttAdapter::open(named()).expect("a good address");
    door_thing(&second).await;
    let mut messages = second.observe().await.expect("it can be observed");
    let mut again = Vec::new();
    while again.last().is_none_or(|last| last != r#"{"seq":3}"#) {
        let message = next(&mut messages).await;
        if !message.retained {
            again.push(String::from_utf8(message.raw).expect("text"));
        }
    }
    // Whether the broker still heard of the first, nobody knows.
    again.retain(|text| text != r#"{"seq":1}"#);
    assert_eq!(again, [r#"{"seq":2}"#, r#"{"seq":3}"#]);
}

#[tokio::test]
async fn nobody_at_the_address_is_a_transient_error() {
    let adapter = adapter(&format!("127.0.0.1:{}", peer::free_tcp_port()));
    let error = adapter.introspect().await;
    assert!(matches!(error, Err(AdapterError::Transient { .. })), "{error:?}");
}

/// mosquitto 2.0: another implementation of the standard, in C.
async fn mosquitto(port: u16) -> Option<(peer::Peer, String)> {
    let program = sofie_peers::installed("mosquitto")?;
    let running = peer::spawn(&program, &["-p", &port.to_string()]);
    let address = format!("127.0.0.1:{port}");
    let up = timeout(PATIENCE, async {
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    up.await.expect("mosquitto starts");
    Some((running, address))
}

#[tokio::test]
async fn the_story_through_mosquitto() {
    let Some((_peer, address)) = mosquitto(peer::free_tcp_port()).await else { return };
    the_story(&address).await;
}

#[tokio::test]
async fn a_broker_that_comes_back_is_subscribed_to_again_and_the_gap_is_told() {
    let port = peer::free_tcp_port();
    let Some((first, address)) = mosquitto(port).await else { return };
    publish(&address, TOPIC, true, br#"{"open":false}"#.to_vec()).await;
    let adapter = adapter(&address);
    door_thing(&adapter).await;
    let mut messages = adapter.observe().await.expect("it can be observed");
    assert!(next(&mut messages).await.retained);
    drop(first);
    let _second = mosquitto(port).await.expect("it was there before");
    let message = timeout(PATIENCE, async {
        loop {
            // Until the adapter is back, nobody hears.
            publish(&address, TOPIC, false, br#"{"open":true}"#.to_vec()).await;
            if let Ok(message) = messages.try_recv() {
                return message;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let message = message.await.expect("it is heard again");
    assert_eq!(is_open(&message), Some(true));
    assert!(message.deviations.iter().any(|d| d.expected == "an unbroken connection"), "{message:?}");
    assert!(adapter.counters().reconnects >= 1);
}

/// Where its owner names a topic to publish to. What a broker takes, nobody has done yet.
#[tokio::test]
async fn a_property_is_written_where_its_owner_says_so() {
    let Some((_peer, address)) = mosquitto(peer::free_tcp_port()).await else { return };
    publish(&address, TOPIC, true, br#"{"open":false}"#.to_vec()).await;
    let mut thing = door_thing(&adapter(&address)).await.binding;
    let open = thing.properties.get_mut("open").expect("the door's property");
    open.write = Some(WriteBinding { target: TOPIC.into(), method: ActionMethod::Put });
    let binding = Binding { things: vec![thing] };
    let at = |gate: Arc<dyn Gate>| {
        let config = MqttConfig { binding: binding.clone(), gate, ..config(&address) };
        MqttAdapter::open(config).expect("a good address")
    };
    let (open, shut) = (at(Arc::new(Open)), at(Arc::new(Closed)));
    let mut messages = open.observe().await.expect("it can be observed");
    assert!(next(&mut messages).await.retained);
    let (value, unfit) = (Value::Bool(true), Value::Integer(1));
    conformance::writing(&open, &shut, "open", value, unfit).await.expect("it keeps the port's promises");
    let message = next(&mut messages).await;
    assert_eq!((message.raw.as_slice(), message.retained), (&br#"{"open":true}"#[..], false));
}

#[tokio::test]
async fn the_brokers_word_for_a_dead_device_is_noted_not_observed() {
    let Some((_peer, address)) = mosquitto(peer::free_tcp_port()).await else { return };
    publish(&address, TOPIC, true, b"online".to_vec()).await;
    let plain = adapter(&address);
    let mut thing = door_thing(&plain).await.binding;
    for property in thing.properties.values_mut() {
        property.last_will = Some("offline".into());
    }
    let binding = Binding { things: vec![thing] };
    let adapter = MqttAdapter::open(MqttConfig { binding, ..config(&address) }).expect("a good address");
    let mut messages = adapter.observe().await.expect("it can be observed");
    assert!(next(&mut messages).await.retained);
    let (host, port) = address.rsplit_once(':').expect("host:port");
    let mut options = MqttOptions::new("mortal", host, port.parse().expect("a port"));
    options.set_last_will(LastWill::new(TOPIC, "offline", QoS::AtLeastOnce, false));
    let (_client, mut events) = AsyncClient::new(options, 1);
    events.poll().await.expect("it connects");
    drop(events);
    let will = next(&mut messages).await;
    assert!(will.observations.is_empty() && !will.deviations.is_empty(), "{will:?}");
}
