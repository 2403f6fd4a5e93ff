//! A servient that the configuration names: joined, described, heard, and heard again by the next life of the node.

use sofie_model::Value;
use sofie_node::api::{JoinPlatform, PlatformKind};
use sofie_node::config::Config;
use sofie_testkit::devices::servient::Lamp;

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
