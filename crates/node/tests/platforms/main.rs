//! Platforms that the configuration names, with devices of other makers: joined in the background, waited for when they
//! are away, and heard again when they come back.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod cse;
mod servient;
mod world;

use std::io::Write;
use std::sync::{Arc, Mutex};

use sofie_directory::ThingDescription;
use sofie_directory::store::EventKind;
use sofie_model::{ThingId, Value};
use sofie_node::config::Config;
use sofie_node::runtime::Runtime;
use sofie_testkit::devices::door::{Door, Mode};
use world::*;

/// The program's log, for a look at what it says.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn says(&self, what: &[&str]) -> bool {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        text.lines().any(|line| what.iter().all(|part| line.contains(part)))
    }
}

const MAPPING: &str = r#"
[[things]]
thing = "urn:example:door-42"

[things.properties.open]
source = "site/7/door/42/state"
pointer = "/open"
kind = "boolean"
time = { pointer = "/at", format = "epoch-millis" }
"#;

/// All in one test: the log is the process's.
#[test]
fn a_node_starts_without_its_platforms_says_which_and_hears_them_when_they_come() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let folder = tempfile::tempdir().unwrap();
    let door_file = folder.path().join("door.json");
    let door = Door::create(&door_file, Mode::Normal).unwrap();
    std::fs::write(folder.path().join("mapping.toml"), MAPPING).unwrap();
    let outside = tokio::runtime::Runtime::new().unwrap();
    let locker = outside.block_on(locker(&door_file));
    let broker = outside.block_on(broker());
    let _sensor = outside.block_on(sensor(&broker.address(), "site/7/door/42/state", &door_file));
    let line = Line::new(&broker.address());
    let config = config(folder.path(), &locker.address(), &line.address());
    let door_42: ThingId = "urn:example:door-42".parse().unwrap();
    let url = format!("mqtt://{}", line.address());

    // The broker cannot be reached: the node starts, joins the locker, and goes on trying.
    life(async {
        let (node, _failed) = open(&config).await;
        eventually(|| node.platforms().list().len() == 1).await;
        assert_eq!(node.platforms().list()[0].owner, "locker-co");
        eventually(|| log.says(&["WARN", "a configured platform is not joined yet", "sensor-co", &url]))
            .await;
        line.connect(&outside);
        eventually(|| node.platforms().list().len() == 2).await;
        eventually(|| log.says(&["INFO", "joined", "sensor-co", &url])).await;
        // The owner's words stand in place of what introspection would have called it.
        assert_eq!(node.platforms().owner_of(&door_42).as_deref(), Some("sensor-co"));
        assert!(node.platforms().properties_of(&door_42).contains_key("open"));
        assert!(node.platforms().directory(|things| things.get(&door_42).is_some()));
    });

    // Started again without the broker: it is known, waited for, and heard.
    line.cut();
    door.bolt(true).unwrap();
    life(async {
        let (node, _failed) = open(&config).await;
        let ids: Vec<_> = node.platforms().list().into_iter().map(|platform| platform.id).collect();
        assert_eq!(ids, ["locker-co-1", "sensor-co-2"]);
        eventually(|| log.says(&["WARN", "no messages yet", "sensor-co-2", &url])).await;
        line.connect(&outside);
        let mut readings = node.platforms().readings(&door_42, node.started_at());
        let seen = within(readings.next()).await.observation;
        assert_eq!((seen.property.as_str(), &seen.quantity.value), ("open", &Value::Bool(true)));
        // Lost while it runs, and back: the door's next move is heard.
        line.cut();
        door.bolt(false).unwrap();
        line.connect(&outside);
        while within(readings.next()).await.observation.quantity.value != Value::Bool(false) {}
        assert_eq!(node.platforms().list().len(), 2, "nothing is joined twice");
    });
}

#[test]
fn a_mapping_that_is_none_is_named_and_nothing_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mapping.toml");
    let config = config(folder.path(), "127.0.0.1:9", "127.0.0.1:9");
    for (text, told) in [
        (None, "No such file"),
        (Some("[[things]]\nthing = 7\n"), "invalid type: integer `7`"),
        (Some("[[thing]]\n"), "unknown field `thing`"),
    ] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let error = life(async { Runtime::open(config.clone(), None).await.unwrap_err().to_string() });
        assert!(error.starts_with(&format!("{}: not a mapping: ", file.display())), "{error}");
        assert!(error.contains(told) && error.contains("docs/guide/mapping.md shows one"), "{error}");
    }
}

/// A reader that has seen event n asks for those after n, whatever was restarted meanwhile.
#[test]
fn events_of_the_directory_go_on_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[party]]\nname = \"operator\"\n[[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n";
    let config = Config::parse(text, &folder.path().join("sofie.toml")).unwrap();
    let lamp: ThingId = "urn:lamp".parse().unwrap();
    let thing = || {
        ThingDescription::from_value(serde_json::json!({
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "id": "urn:lamp", "title": "Lamp",
            "securityDefinitions": { "none": { "scheme": "nosec" } }, "security": "none",
        }))
        .unwrap()
    };
    let told = |runtime: &Runtime| -> Vec<(u64, EventKind)> {
        runtime.platforms().directory(|directory| {
            directory.events_after(0).unwrap().map(|event| (event.seq, event.kind)).collect()
        })
    };
    let put = async |runtime: &Runtime| {
        let put = runtime.platforms().change(|all, now| all.put(&lamp, thing(), "operator", now));
        put.await.unwrap();
    };
    world::life(async {
        let (runtime, _fatal) = open(&config).await;
        put(&runtime).await;
        put(&runtime).await;
        assert_eq!(told(&runtime), [(1, EventKind::Created), (2, EventKind::Updated)]);
    });
    world::life(async {
        let (runtime, _fatal) = open(&config).await;
        put(&runtime).await;
        let all = [(1, EventKind::Created), (2, EventKind::Updated), (3, EventKind::Updated)];
        assert_eq!(told(&runtime), all, "a restart is no event, and numbers go on");
    });
}
