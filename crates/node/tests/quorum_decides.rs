//! Four nodes whose members decide the transactions of a fifth, over HTTP on loopback: one member is away from the beginning,
//! another one goes and comes back. The receipt is verified offline, and a member that was put back from a backup stays out.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod place;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sofie_audit::{Anchors, Outcome, Story, verify};
use sofie_model::{Anchor, Digest};
use sofie_node::config::Config;
use sofie_node::http::{self, Options};
use sofie_node::runtime::{Runtime, StartError};
use sofie_node::{backup, clock};
use tokio::sync::oneshot;

use crate::place::Place;

/// A bound on waiting, not a measure.
const PATIENCE: Duration = Duration::from_secs(180);

impl Place {
    /// Writes the configuration; of a member with what its `[[member]]` says.
    fn write(&self, group: &[&Place], member: Option<&str>) -> Config {
        let members: String =
            group.iter().map(|one| format!("{} = \"http://{}\"\n", one.key(), one.authority())).collect();
        let member =
            member.map(|more| format!("[[member]]\nledger = \"notaries\"\npace = \"100ms\"\n{more}"));
        let text = format!(
            "[node]\nlisten = \"{}\"\ndata_dir = \"data\"\n\n[[party]]\nname = \"operator\"\nkey_file = \
             \"operator.key\"\n\n[[ledger]]\nid = \"notaries\"\nkind = \"quorum\"\ninclusion = \"5s\"\n[ledger.members]\n\
             {members}\n[[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n\n{}",
            self.authority(),
            member.unwrap_or_default()
        );
        std::fs::write(self.file(), text).unwrap();
        Config::load(&self.file()).unwrap()
    }
}

/// A node that runs, with a runtime of its own.
struct Node {
    threads: tokio::runtime::Runtime,
    stop: oneshot::Sender<()>,
    runtime: Runtime,
}

impl Node {
    fn start(config: &Config) -> Result<Self, StartError> {
        let threads =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel();
        let config = config.clone();
        let opened = threads.block_on(async move {
            // Spawned, since opening blocks in place.
            tokio::spawn(async move {
                let bound = http::bind(config.node.listen).await.unwrap();
                let (runtime, failed) = Runtime::open(config, None).await?;
                let served = Arc::new(runtime.clone());
                tokio::spawn(async move {
                    let _failed = failed;
                    bound.serve(served, Options::default(), async { drop(stopped.await) }).await
                });
                Ok(runtime)
            })
            .await
            .unwrap()
        });
        opened.map(|runtime| Self { threads, stop, runtime })
    }

    /// Gone, whatever it was about to do.
    fn stop(self) {
        drop(self.stop);
        drop(self.runtime);
        self.threads.shutdown_timeout(Duration::from_secs(10));
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

/// Submits a record and says how it ended.
async fn records(authority: &str, what: &str) -> Value {
    let (url, http) = (format!("http://{authority}/api/v1/transactions"), client());
    let leg = json!({ "ledger": "calendar", "kind": "record", "payload": { "what": what } });
    let draft = json!({ "deadline": "150s", "decision": "notaries", "legs": [leg] });
    let answer = http.post(&url).json(&draft).send().await.unwrap();
    let begun: Value = answer.json().await.unwrap();
    let id = begun["id"].as_str().unwrap_or_else(|| panic!("{begun}")).to_owned();
    let begun = Instant::now();
    loop {
        let shown: Value = http.get(format!("{url}/{id}")).send().await.unwrap().json().await.unwrap();
        if ["done", "halted"].contains(&shown["phase"].as_str().unwrap()) {
            return shown;
        }
        assert!(begun.elapsed() < PATIENCE, "{shown:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn assert_committed(shown: &Value) {
    assert_eq!((&shown["phase"], &shown["decision"]), (&json!("done"), &json!("commit")), "{shown:#}");
    assert_eq!(shown["legs"][0]["state"], "applied", "{shown:#}");
}

async fn assert_receipt(place: &Place, shown: &Value) {
    let id = shown["id"].as_str().unwrap();
    let url = format!("http://{}/api/v1/transactions/{id}/receipt", place.authority());
    let receipt = client().get(url).send().await.unwrap().bytes().await.unwrap();
    let report = verify(&receipt, None);
    assert_eq!(report.story, Some(Story::Committed), "{report:#?}");
    let groups: Vec<&Anchor> =
        report.anchors.iter().map(|one| &one.on).filter(|on| matches!(on, Anchor::Quorum { .. })).collect();
    let [Anchor::Quorum { ledger, group }] = groups[..] else { panic!("{report:#?}") };
    let with = |group: Digest| {
        let mut anchors = Anchors::default();
        report.anchors.iter().for_each(|one| match &one.on {
            Anchor::Quorum { .. } => anchors.pin(&Anchor::Quorum { ledger: ledger.clone(), group }),
            other => anchors.pin(other),
        });
        let report = verify(&receipt, Some(&anchors));
        ["anchor notaries", "decision"]
            .map(|name| report.check(name).unwrap_or_else(|| panic!("{report:#?}")).outcome)
    };
    assert_eq!(report.check("anchor notaries").unwrap().outcome, Outcome::Unanchored);
    assert_eq!(with(*group), [Outcome::Passed; 2]);
    assert_eq!(with(Digest([7; 32])), [Outcome::Failed, Outcome::Unanchored], "another group");
}

#[test]
fn a_group_of_nodes_decides_the_transactions_of_a_fifth() {
    let places: Vec<Place> = (0..5).map(|_| Place::new()).collect();
    let group: Vec<&Place> = places[..4].iter().collect();
    // Member 0 is away from the beginning.
    let configs: Vec<Config> = group.iter().map(|place| place.write(&group, Some(""))).collect();
    let mut members: Vec<Node> = configs[1..].iter().map(|config| Node::start(config).unwrap()).collect();
    let user = Node::start(&places[4].write(&group, None)).unwrap();
    let test = tokio::runtime::Runtime::new().unwrap();
    let first = test.block_on(records(&places[4].authority(), "with a member away"));
    assert_committed(&first);
    assert_eq!(first["label"], "custodial", "its record is on a calendar of one operator");
    test.block_on(assert_receipt(&places[4], &first));
    // Another goes in the middle and comes back; two of four decide nothing meanwhile.
    members.pop().unwrap().stop();
    let second = test.spawn({
        let authority = places[4].authority();
        async move { records(&authority, "with a member that restarts").await }
    });
    members.push(Node::start(&configs[3]).unwrap());
    assert_committed(&test.block_on(second).unwrap());
    // One key, one process.
    let twin = places[3].write(&group, Some(""));
    let elsewhere = Config {
        node: sofie_node::config::Node {
            data_dir: places[3].folder.path().join("twin"),
            listen: "127.0.0.1:0".parse().unwrap(),
            ..twin.node.clone()
        },
        ..twin
    };
    let why = Node::start(&elsewhere).err().expect("its key is in use").to_string();
    assert!(why.contains("in use by another node's member"), "{why}");
    user.stop();
    members.into_iter().for_each(Node::stop);
    assert_restored_stays_out(&places[3], &group, &configs[3]);
}

fn assert_restored_stays_out(place: &Place, group: &[&Place], config: &Config) {
    let copy = place.folder.path().join("copy");
    backup::backup(config, &place.file(), &copy, clock::now()).unwrap();
    std::fs::rename(&config.node.data_dir, place.folder.path().join("lost")).unwrap();
    backup::restore(Path::new(&copy), config).unwrap();
    let why = Node::start(config).err().expect("it may have voted since").to_string();
    let word = why.split("restored = \"").nth(1).and_then(|rest| rest.split('"').next());
    let word = word.unwrap_or_else(|| panic!("{why}"));
    assert!(Node::start(&place.write(group, Some("restored = \"000000000000\"\n"))).is_err());
    Node::start(&place.write(group, Some(&format!("restored = \"{word}\"\n")))).unwrap().stop();
    // As a node without a member it starts in any case.
    Node::start(&place.write(group, None)).unwrap().stop();
}
