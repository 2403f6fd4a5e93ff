//! The CoAP adapter, judged by the locker, by a bad network, and by libcoap's server.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use sofie_adapters::{
    Adapter, AdapterError, Binding, Outcome, Request,
    binding::{ActionMethod, WriteBinding},
    coap::{CoapAdapter, CoapConfig, exchange::Transmission},
    conformance::{self, Scene},
    port::{Description, Refuser},
};
use sofie_model::{Digest, Value};
use sofie_testkit::devices::door::{Door, Mode};
use tokio::time::timeout;

use crate::{Open, PATIENCE, accepted, clock, locker, peer, quick, relay};

async fn adapter(address: &str) -> CoapAdapter {
    let config = CoapConfig::new("locker-co", &format!("coap://{address}"), clock());
    let config = CoapConfig { gate: Arc::new(Open), transmission: quick(), ..config };
    CoapAdapter::open(config).await.expect("a good address")
}

async fn shut(address: &str) -> CoapAdapter {
    let config = CoapConfig::new("locker-co", &format!("coap://{address}"), clock());
    CoapAdapter::open(CoapConfig { transmission: quick(), ..config }).await.expect("a good address")
}

async fn described(adapter: &CoapAdapter) -> Description {
    let things = adapter.introspect().await.expect("it tells of itself");
    assert_eq!(things.len(), 1, "one server, one thing");
    things.into_iter().next().expect("one thing")
}

fn open_for(thing: &Description, seconds: u64, name: &str) -> Request {
    Request {
        thing: thing.thing.clone(),
        action: "lock".into(),
        input: json!({"open_for_s": seconds}),
        message: Digest::sha256(name.as_bytes()),
        capability: Vec::new(),
    }
}

fn a_door(mode: Mode) -> (tempfile::TempDir, Door) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let door = Door::create(&folder.path().join("door.json"), mode).expect("a door");
    (folder, door)
}

async fn suite(separate: bool) {
    let (folder, door) = a_door(Mode::Normal);
    let device = locker(&folder.path().join("door.json"), separate).await;
    let changer = adapter(&device.address()).await;
    let thing = described(&changer).await;
    let runtime = tokio::runtime::Handle::current();
    let scene = Scene {
        adapter: Arc::new(adapter(&device.address()).await),
        shut: Arc::new(shut(&device.address()).await),
        property: "locked".into(),
        action: Some(("lock".into(), json!({"open_for_s": 600}))),
        change: Some(Box::new(move || {
            runtime.spawn(async move { changer.invoke(&open_for(&thing, 300, "another")).await });
        })),
    };
    conformance::run(scene).await.expect("the CoAP adapter keeps the port's promises");
    assert!(door.state().expect("a door").open);
}

#[tokio::test]
async fn the_suite_with_piggybacked_responses() {
    suite(false).await;
}

#[tokio::test]
async fn the_suite_with_separate_responses() {
    suite(true).await;
}

#[tokio::test]
async fn the_lockers_description_says_what_is_known_and_how() {
    let (folder, _) = a_door(Mode::Normal);
    let device = locker(&folder.path().join("door.json"), false).await;
    let thing = described(&adapter(&device.address()).await).await;
    let td = &thing.td;
    accepted(td);
    assert_eq!(td["actions"]["lock"]["sofie:awaits"], "owner-policy");
    assert_eq!(td["properties"]["locked"]["type"], "boolean");
    assert_eq!(td["properties"]["closes_in_s"]["type"], "integer");
    assert_eq!(td["properties"]["info"]["type"], "string");
    assert_eq!(td["securityDefinitions"]["unstated"]["scheme"], "auto");
    let message = adapter(&device.address()).await;
    let thing = described(&message).await;
    let read = message.read(&thing.thing, "locked").await.expect("it can be read");
    let locked = read.observations.iter().find(|o| o.property == "locked").expect("it is bound");
    assert_eq!(locked.quantity.value, Value::Bool(true));
}

/// An adapter that needs no introspection, so that the first datagram is the request.
async fn bound(address: &str, thing: &Description, transmission: Transmission) -> CoapAdapter {
    let config = CoapConfig {
        binding: Binding { things: vec![thing.binding.clone()] },
        gate: Arc::new(Open),
        transmission,
        ..CoapConfig::new("locker-co", &format!("coap://{address}"), clock())
    };
    CoapAdapter::open(config).await.expect("a good address")
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again_and_a_door_opens_once() {
    let first_two_lost: relay::Plan = |n| usize::from(n >= 2);
    for (name, to_server, to_client, sent_again) in [
        ("nothing lost", relay::fair as relay::Plan, relay::fair as relay::Plan, false),
        ("two requests lost", first_two_lost, relay::fair, true),
        ("two answers lost", relay::fair, first_two_lost, true),
        ("everything twice", |_| 2, |_| 2, false),
    ] {
        for separate in [false, true] {
            let (folder, door) = a_door(Mode::Normal);
            let device = locker(&folder.path().join("door.json"), separate).await;
            let thing = described(&adapter(&device.address()).await).await;
            let address = relay::start(&device.address(), to_server, to_client).await;
            let adapter = bound(&address, &thing, quick()).await;
            let outcome = adapter.invoke(&open_for(&thing, 60, "open")).await.expect("it was sent");
            assert!(matches!(outcome, Outcome::Answered { .. }), "{name}: {outcome:?}");
            assert_eq!(door.state().expect("a door").moves, 1, "{name}");
            let counters = adapter.counters();
            assert!(!sent_again || counters.retransmissions > 0, "{name}: {counters:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_leaves_the_fate_unknown_and_is_not_tried_again() {
    let (folder, door) = a_door(Mode::Normal);
    let device = locker(&folder.path().join("door.json"), false).await;
    let thing = described(&adapter(&device.address()).await).await;
    let address = relay::start(&device.address(), relay::fair, |_| 0).await;
    let hasty = Transmission { ack_timeout: Duration::from_millis(40), ..quick() };
    let deaf = bound(&address, &thing, hasty).await;
    let request = open_for(&thing, 60, "open");
    let outcome = deaf.invoke(&request).await.expect("it was sent");
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    assert!(door.state().expect("a door").open, "it did arrive");
    let sent = deaf.counters();
    assert_eq!(sent.retransmissions, 4);
    assert_eq!(deaf.invoke(&request).await, Ok(outcome));
    assert_eq!(deaf.counters(), sent, "nothing was sent again");
    let asked = deaf.read(&thing.thing, "locked").await;
    assert!(matches!(asked, Err(AdapterError::Transient { .. })), "a question may be asked again: {asked:?}");
}

#[tokio::test]
async fn the_devices_own_refusal_is_told_from_a_failure() {
    let (folder, door) = a_door(Mode::Normal);
    let device = locker(&folder.path().join("door.json"), false).await;
    let adapter = adapter(&device.address()).await;
    let thing = described(&adapter).await;
    let outcome = adapter.invoke(&open_for(&thing, 0, "for no time")).await.expect("it was sent");
    let Outcome::Refused(Refuser::Device { code, diagnostic }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(code, "4.00");
    assert!(diagnostic.contains("open_for_s"), "{diagnostic}");
    let long = Request { input: json!("x".repeat(2000)), ..open_for(&thing, 1, "too long") };
    let error = adapter.invoke(&long).await;
    assert!(matches!(error, Err(AdapterError::Permanent { .. })), "{error:?}");
    assert_eq!(door.state().expect("a door").moves, 0);
}

#[tokio::test]
async fn a_stuck_door_stays_shut_though_the_locker_says_yes() {
    let (folder, door) = a_door(Mode::Stuck);
    let device = locker(&folder.path().join("door.json"), false).await;
    let adapter = adapter(&device.address()).await;
    let thing = described(&adapter).await;
    let outcome = adapter.invoke(&open_for(&thing, 60, "open")).await.expect("it was sent");
    assert!(matches!(outcome, Outcome::Answered { .. }), "{outcome:?}");
    assert!(!door.state().expect("a door").open);
}

#[tokio::test]
async fn nobody_at_the_address_is_a_transient_error() {
    let adapter = adapter(&format!("127.0.0.1:{}", peer::free_udp_port())).await;
    assert!(matches!(adapter.introspect().await, Err(AdapterError::Transient { .. })));
}

#[tokio::test]
async fn an_answer_in_blocks_is_refused_by_name() {
    let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = server.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((_, client)) = server.recv_from(&mut buffer).await {
            // 2.05 with the request's id and its token of 8 bytes, Block2 (23): number 0, more, 1024 bytes.
            let answer = [&[0x68, 0x45], &buffer[2..12], b"\xd1\x0a\x0e\xff</a>"].concat();
            let _ = server.send_to(&answer, client).await;
        }
    });
    let error = adapter(&address).await.introspect().await.expect_err("a part is not the whole");
    assert!(matches!(error, AdapterError::Permanent { .. }), "{error:?}");
    assert!(error.to_string().contains("RFC 7959"), "{error}");
}

/// libcoap 4.3.1: another implementation of the RFCs, in C.
#[tokio::test]
async fn libcoaps_server_is_described_read_and_observed() {
    let Some(server) = sofie_peers::installed("coap-server-openssl") else { return };
    let port = peer::free_udp_port();
    let _peer = peer::spawn(&server, &["-A", "127.0.0.1", "-p", &port.to_string()]);
    let adapter = adapter(&format!("127.0.0.1:{port}")).await;
    let found = timeout(PATIENCE, async {
        loop {
            if let Ok(things) = adapter.introspect().await {
                return things;
            }
            // It is not listening yet.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let things = found.await.expect("libcoap's server starts");
    let td = &things[0].td;
    accepted(td);
    assert_eq!(td["properties"]["time"]["observable"], true, "{td:#}");
    assert!(td.get("actions").is_none(), "it names no actuator: {td:#}");
    let read = adapter.read(&things[0].thing, "time").await.expect("its clock can be read");
    assert!(!read.observations.is_empty(), "{read:?}");
    let mut messages = adapter.observe().await.expect("its clock can be observed");
    for _ in 0..3 {
        let message = timeout(PATIENCE, messages.recv()).await.expect("a clock ticks").expect("it goes on");
        assert!(message.observations.iter().any(|o| o.property == "time"), "{message:?}");
    }
}

/// Its example may be written, which its links do not say: its owner does.
#[tokio::test]
async fn what_is_written_to_libcoaps_server_is_read_back() {
    let Some(server) = sofie_peers::installed("coap-server-openssl") else { return };
    let port = peer::free_udp_port();
    let _peer = peer::spawn(&server, &["-A", "127.0.0.1", "-p", &port.to_string()]);
    let address = format!("127.0.0.1:{port}");
    let plain = adapter(&address).await;
    let mut thing = timeout(PATIENCE, async {
        loop {
            if let Ok(mut things) = plain.introspect().await {
                return things.remove(0).binding;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("libcoap's server starts");
    let example = thing.properties.get_mut("example_data").expect("it has an example");
    assert_eq!(example.write, None, "nothing says so");
    example.write = Some(WriteBinding { target: example.source.clone(), method: ActionMethod::Put });
    let binding = Binding { things: vec![thing] };
    let config = CoapConfig::new("locker-co", &format!("coap://{address}"), clock());
    let config = CoapConfig { binding, transmission: quick(), ..config };
    let shut = CoapAdapter::open(config.clone()).await.expect("a good address");
    let open =
        CoapAdapter::open(CoapConfig { gate: Arc::new(Open), ..config }).await.expect("a good address");
    let (text, unfit) = (Value::Text("wär me".into()), Value::Bool(true));
    let kept = conformance::writing(&open, &shut, "example_data", text, unfit).await;
    kept.expect("the CoAP adapter keeps the port's promises");
}

/// libcoap's own client against our locker: the double is a CoAP server for others too.
#[tokio::test]
async fn libcoaps_client_opens_the_locker() {
    let Some(client) = sofie_peers::installed("coap-client-openssl") else { return };
    let (folder, door) = a_door(Mode::Normal);
    let device = locker(&folder.path().join("door.json"), false).await;
    let url = format!("coap://{}/lock", device.address());
    let args = ["-B", "10", "-m", "post", "-t", "50", "-e", r#"{"open_for_s":60}"#, &url];
    let output = tokio::process::Command::new(client).args(args).output().await.expect("it runs");
    assert!(door.state().expect("a door").open, "{output:?}");
}
