//! A oneM2M CSE that the configuration names: joined as its originator, described, heard, and heard again by the next life
//! of the node through the subscriptions that the first one left.

use std::sync::Arc;

use serde_json::json;
use sofie_adapters::Adapter;
use sofie_adapters::onem2m::{Onem2mAdapter, Onem2mConfig};
use sofie_model::Value;
use sofie_node::api::DriftKind;
use sofie_node::config::Config;
use sofie_node::platforms::Platforms;
use sofie_peers::Acme;

use crate::world::{eventually, life, open, within};

async fn hears(platforms: &Platforms, since: sofie_model::Timestamp, temperature: &str) {
    let thing = platforms.list()[0].things[0].clone();
    let mut readings = platforms.readings(&thing, since);
    loop {
        let seen = within(readings.next()).await.observation;
        if seen.property == "temp" && seen.quantity.value == Value::Text(temperature.into()) {
            assert_eq!(seen.quantity.unit, "Cel");
            return;
        }
    }
}

#[test]
fn a_cse_is_joined_by_its_kind_and_heard() {
    let outside = tokio::runtime::Runtime::new().unwrap();
    let Some(acme) = outside.block_on(Acme::start()) else { return };
    outside.block_on(acme.furnish());
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[[party]]\nname = \"operator\"\n[[party]]\nname = \"site-co\"\n[[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n\
         [[platform]]\nowner = \"site-co\"\nkind = \"onem2m\"\nurl = \"{}\"\noriginator = \"{}\"\n\
         mapping = \"mapping.toml\"\n",
        acme.url(),
        Acme::ADMIN
    );
    // The owner knows the unit of one property, and has no use for the others.
    let config = Onem2mConfig::new("site-co", &acme.url(), Acme::ADMIN, Arc::new(sofie_node::clock::now));
    let found = outside.block_on(Onem2mAdapter::open(config).unwrap().introspect()).unwrap();
    let mapping = format!(
        "version = 1\n[[things]]\nthing = \"{}\"\n[things.properties.temp]\nsource = \"/cse-in/Sensor/temp/la\"\n\
         kind = \"number\"\nunit = \"Cel\"\n",
        found[0].thing
    );
    std::fs::write(folder.path().join("mapping.toml"), mapping).unwrap();
    let config = Config::parse(&text, &folder.path().join("sofie.toml")).unwrap();
    life(async {
        let (node, _failed) = open(&config).await;
        eventually(|| node.platforms().list().len() == 1).await;
        acme.measure("-17.5").await;
        hears(node.platforms(), node.started_at(), "-17.5").await;
    });
    let left = outside.block_on(acme.discovered(23));
    assert_eq!(left.len(), 1, "a life that ends at once takes nothing back: {left:?}");
    outside.block_on(acme.measure("-16.5"));
    life(async {
        let (node, _failed) = open(&config).await;
        hears(node.platforms(), node.started_at(), "-16.5").await;
        acme.measure("-15.5").await;
        hears(node.platforms(), node.started_at(), "-15.5").await;
        assert_eq!(acme.discovered(23).await, left, "the same subscriptions, not others beside them");
        let id = node.platforms().list()[0].id.clone();
        let probe = async || node.platforms().probe(&id).await.unwrap().unwrap().drift;
        assert_eq!(probe().await, [], "the owner's words and new contents are no drift");
        acme.make("/cse-in/Sensor", 3, json!({"m2m:cnt": {"rn": "humidity"}})).await;
        acme.tell("/cse-in/Sensor/humidity", "40").await;
        acme.ask("DELETE", "/cse-in/Sensor/door", Acme::DEVICE, None).await.unwrap();
        let drift = probe().await;
        let told: Vec<_> = drift.iter().map(|one| (one.kind, one.affordance.as_deref().unwrap())).collect();
        let gone = DriftKind::Missing;
        let expected = [
            (gone, "property door_count"),
            (gone, "property door_open"),
            (DriftKind::New, "property humidity"),
        ];
        assert_eq!(told, expected);
        assert!(node.platforms().probe("nobody-1").await.unwrap().is_none());
    });
}
