//! A servient that the configuration names: joined, described, heard, and heard again by the next life of the node.

use sofie_model::Value;
use sofie_node::api::{JoinPlatform, PlatformKind, WriteOutcome, WriteProperty};
use sofie_node::config::Config;
use sofie_testkit::devices::servient::{Lamp, Mood};

use crate::world::{eventually, life, open, within};

#[test]
fn a_servient_is_joined_by_its_kind_and_heard() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tokio::runtime::Runtime::new().unwrap();
    let lamp = outside.block_on(Lamp::start("127.0.0.1:0".parse().unwrap())).unwrap();
    let text = format!(
        "[[party]]\nname = \"operator\"\n[[party]]\nname = \"lamp-co\"\n[[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n\
         [[platform]]\nowner = \"lamp-co\"\nkind = \"wot\"\nurl = \"http://{}\"\n",
        lamp.address()
    );
    let config = Config::parse(&text, &folder.path().join("sofie.toml")).unwrap();
    let thing = life(async {
        let (node, _failed) = open(&config).await;
        eventually(|| node.platforms().list().len() == 1).await;
        let thing = node.platforms().list()[0].things[0].clone();
        assert!(node.platforms().directory(|things| things.get(&thing).is_some()));
        let mut readings = node.platforms().readings(&thing, node.started_at());
        lamp.switch_by_hand(true);
        loop {
            let seen = within(readings.next()).await.observation;
            if seen.property == "on" && seen.quantity.value == Value::Bool(true) {
                return thing;
            }
        }
    });
    lamp.switch_by_hand(false);
    life(async {
        let (node, _failed) = open(&config).await;
        let mut readings = node.platforms().readings(&thing, node.started_at());
        loop {
            let seen = within(readings.next()).await.observation;
            if seen.property == "on" && seen.quantity.value == Value::Bool(false) {
                break;
            }
        }
        assert_eq!(node.platforms().list().len(), 1, "nothing is joined twice");
    });
}

#[test]
fn what_joining_would_register_is_shown_and_is_not_registered() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tokio::runtime::Runtime::new().unwrap();
    let lamp = outside.block_on(Lamp::start("127.0.0.1:0".parse().unwrap())).unwrap();
    let text = "[node]\noperator = \"lamp-co\"\n[[party]]\nname = \"lamp-co\"\n[[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n";
    let config = Config::parse(text, &folder.path().join("sofie.toml")).unwrap();
    life(async {
        let (node, _failed) = open(&config).await;
        let url = format!("http://{}", lamp.address());
        let ask = |owner: &str| JoinPlatform {
            owner: owner.into(),
            kind: PlatformKind::Wot,
            url: url.clone(),
            allow: Vec::new(),
            allow_writes: Vec::new(),
            originator: None,
        };
        let found = node.platforms().introspect(&ask("lamp-co")).await.unwrap();
        let [td] = found.things.as_slice() else { panic!("{found:?}") };
        assert_eq!(td["properties"]["on"]["sofie:confidence"], "stated");
        assert!(td["sofie:unmapped"].as_array().is_some_and(|all| !all.is_empty()), "{td}");
        assert!(node.platforms().list().is_empty());
        assert_eq!(node.platforms().directory(|things| things.len()), 0);
        let error = node.platforms().introspect(&ask("nobody")).await.unwrap_err();
        assert!(error.to_string().contains("nobody"), "{error}");
        let joined = node.platforms().join(&ask("lamp-co")).await.unwrap();
        assert_eq!(td["id"], joined.things[0].as_str());
        // It may be looked at again.
        assert_eq!(node.platforms().introspect(&ask("lamp-co")).await.unwrap(), found);
    });
    assert_eq!(lamp.deeds(), 0);
}

/// Only what its owner allows, once by its name, also over a restart; and the log says what became of it.
#[test]
fn a_property_is_written_as_its_owner_allows_and_every_write_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tokio::runtime::Runtime::new().unwrap();
    let lamp = outside.block_on(Lamp::start("127.0.0.1:0".parse().unwrap())).unwrap();
    let text = format!(
        "[node]\noperator = \"lamp-co\"\n[[party]]\nname = \"lamp-co\"\n[[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n\
         [[platform]]\nowner = \"lamp-co\"\nkind = \"wot\"\nurl = \"http://{}\"\n",
        lamp.address()
    );
    let config = |policy: &str| {
        Config::parse(&format!("{text}[platform.policy]\n{policy}\n"), &folder.path().join("sofie.toml"))
            .unwrap()
    };
    let asked = |value: bool, key: Option<&str>| WriteProperty {
        value: Value::Bool(value),
        unit: None,
        idempotency_key: key.map(Into::into),
    };
    let thing = life(async {
        let (node, _failed) = open(&config("writes = []")).await;
        eventually(|| node.platforms().list().len() == 1).await;
        let thing = node.platforms().list()[0].things[0].clone();
        let refused = node.platforms().write(&thing, "on", &asked(true, Some("k"))).await.unwrap_err();
        assert!(refused.to_string().contains("policy.writes"), "{refused}");
        thing
    });
    assert_eq!(lamp.deeds(), 0, "a description that says so is no policy");
    life(async {
        let (node, _failed) = open(&config("writes = [\"on\"]")).await;
        eventually(|| node.platforms().owner_of(&thing).is_some()).await;
        let all = node.platforms();
        // Its name is free again, for nothing was sent.
        let first = all.write(&thing, "on", &asked(true, Some("k"))).await.unwrap();
        assert_eq!((first.outcome, first.detail.as_str()), (WriteOutcome::Done, "the device answers 204"));
        assert_eq!(all.write(&thing, "on", &asked(true, Some("k"))).await.unwrap(), first);
        assert_eq!(lamp.deeds(), 1);
        let other = all.write(&thing, "on", &asked(false, Some("k"))).await.unwrap_err();
        assert!(other.to_string().contains("another value"), "{other}");
        lamp.set_mood(Mood::Speechless);
        let lost = all.write(&thing, "on", &asked(true, Some("lost"))).await.unwrap();
        assert_eq!((lost.outcome, lamp.deeds()), (WriteOutcome::Unknown, 2));
        lamp.set_mood(Mood::Refusing);
        let refused = all.write(&thing, "on", &asked(true, None)).await.unwrap();
        assert_eq!(
            (refused.outcome, refused.detail.as_str()),
            (WriteOutcome::Refused, "the device refuses: 403 not now")
        );
        lamp.set_mood(Mood::Fair);
        for (property, thing) in [("nothing", &thing), ("on", &"urn:x:nowhere".parse().unwrap())] {
            assert!(all.write(thing, property, &asked(true, None)).await.is_err(), "{property} of {thing}");
        }
    });
    life(async {
        let (node, _failed) = open(&config("writes = [\"on\"]")).await;
        eventually(|| node.platforms().owner_of(&thing).is_some()).await;
        let lost = node.platforms().write(&thing, "on", &asked(true, Some("lost"))).await.unwrap();
        assert_eq!((lost.outcome, lamp.deeds()), (WriteOutcome::Unknown, 2), "it is never sent again");
    });
    let journal = sofie_node::journal::Journal::open(&folder.path().join("sofie-data/journal.sqlite"), None);
    let records = journal.unwrap().reader().unwrap().audit().unwrap();
    let kinds: Vec<_> = records
        .iter()
        .map(|bytes| sofie_node::auditor::decode(folder.path(), bytes).unwrap())
        .filter(|record| {
            record.kind.contains("writ") || record.kind.contains("door") || record.kind == "admitted"
        })
        .map(|record| (record.kind, record.ok))
        .collect();
    let told = |kind: &str, ok| (kind.to_owned(), ok);
    let (asked, refused, admitted) =
        (told("write-asked", true), told("write-refused", false), told("admitted", true));
    let expected = [
        asked.clone(),
        told("refused-at-door", false),
        refused.clone(),
        asked.clone(),
        admitted.clone(),
        told("written", true),
        asked.clone(),
        admitted.clone(),
        told("write-unknown", false),
        asked.clone(),
        admitted,
        refused.clone(),
        asked,
        refused,
    ];
    assert_eq!(kinds, expected);
}
