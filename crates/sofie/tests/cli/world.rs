//! A running node on embedded ledgers, with a locker, a door sensor and a broker beside it, all processes of the binary.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Nothing that is waited for here takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a node may take to end after SIGTERM.
const STOPS: Duration = Duration::from_secs(15);

/// The guide's own example, on a free port.
const CONFIG: &str = concat!(
    "[node]\nname = \"cli\"\nlisten = \"127.0.0.1:0\"\n\n",
    include_str!("../../../../examples/node/platforms.toml")
);

#[derive(Debug)]
pub(crate) struct World {
    home: tempfile::TempDir,
    devices: Vec<Child>,
    node: Option<Child>,
    url: String,
    locker: String,
    broker: String,
    lamp: sofie_testkit::devices::servient::Lamp,
    transaction: Option<String>,
}

impl World {
    /// Starts it; no platform is joined yet.
    pub(crate) async fn start() -> Self {
        let home = tempfile::tempdir().expect("a folder for the world");
        std::fs::write(home.path().join("sofie.toml"), CONFIG).expect("it can be written");
        let door = home.path().join("door.json");
        let door = door.to_str().expect("the path is text");
        sofie_testkit::devices::door::Door::create(
            Path::new(door),
            sofie_testkit::devices::door::Mode::Normal,
        )
        .expect("a door can be hung");
        let (broker, told) = spawn(home.path(), &["device", "broker"]).await;
        let broker_at = listening(&told);
        let (locker, told) = spawn(home.path(), &["device", "locker", "--door", door]).await;
        let locker_at = listening(&told);
        let (sensor, _) =
            spawn(home.path(), &["device", "door-sensor", "--door", door, "--broker", &broker_at]).await;
        let lamp = sofie_testkit::devices::servient::Lamp::start("127.0.0.1:0".parse().expect("an address"));
        let lamp = lamp.await.expect("a free port");
        let (node, told) = spawn(home.path(), &["up", "-o", "json"]).await;
        let url = told["ready"].as_str().expect("the node is ready").to_owned();
        let devices = vec![broker, locker, sensor];
        let (locker, broker) = (format!("coap://{locker_at}"), format!("mqtt://{broker_at}"));
        Self { home, devices, node: Some(node), url, locker, broker, lamp, transaction: None }
    }

    pub(crate) fn env(&self) -> Vec<(String, String)> {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let data = self.home.path().join("sofie-data").display().to_string();
        vec![
            own("SOFIE_NODE", &self.url),
            own("LOCKER", &self.locker),
            own("BROKER", &self.broker),
            own("LAMP", &format!("http://{}", self.lamp.address())),
            own("TXID", self.transaction.as_deref().unwrap_or_default()),
            own("DATA", &data),
            own("CONFIG", &self.home.path().join("sofie.toml").display().to_string()),
        ]
    }

    /// What is named in the outputs.
    pub(crate) fn ids(&self) -> Vec<(String, &'static str)> {
        let home = (self.home.path().display().to_string(), "WORLD");
        let short = |id: &String| id.chars().take(12).collect();
        let id = self.transaction.iter().flat_map(|id| [(id.clone(), "TXID"), (short(id), "TXID12")]);
        [home].into_iter().chain(id).collect()
    }

    pub(crate) fn transaction(&self) -> Option<&str> {
        self.transaction.as_deref()
    }

    /// Joins both platforms.
    pub(crate) async fn join(&self) {
        for (owner, kind, url) in [("locker-co", "coap", &self.locker), ("sensor-co", "mqtt", &self.broker)] {
            let asked = json!({ "owner": owner, "kind": kind, "url": url, "allow": ["lock"] });
            let joined = client().post(format!("{}/api/v1/platforms", self.url)).json(&asked).send().await;
            assert_eq!(joined.expect("the node answers").status(), 201, "{url}");
        }
    }

    /// A request that is good once both platforms are joined.
    pub(crate) async fn good_request(&self) -> Value {
        let things = self.get("/things").await;
        let with = |kind: &str, name: &str| {
            let all = things.as_array().expect("a list of things");
            let found = all.iter().find(|thing| thing[kind].get(name).is_some());
            found.unwrap_or_else(|| panic!("no thing has the {name}"))["id"].clone()
        };
        json!({
            "renter": "renter", "thing": with("actions", "lock"), "action": "lock", "input": { "open_for_s": 600 },
            "price": "1000000", "open_for_s": 600, "ledger": "evm", "record_ledger": "calendar",
            "evidence": { "thing": with("properties", "open"), "property": "open", "equals": true },
            "decision_within_s": 20, "evidence_within_s": 40, "submission_window_s": 1,
        })
    }

    /// Asks for a contract by a body of any sort.
    pub(crate) async fn ask(&self, body: String) -> (u16, Value) {
        let url = format!("{}/api/v1/contracts", self.url);
        let asked = client().post(url).header("content-type", "application/json").body(body).send().await;
        let answer = asked.expect("the node answers");
        (answer.status().as_u16(), answer.json().await.expect("in JSON"))
    }

    /// Submits a draft.
    pub(crate) async fn submit(&self, draft: &Value) -> (u16, Value) {
        let url = format!("{}/api/v1/transactions", self.url);
        let answer = client().post(url).json(draft).send().await.expect("the node answers");
        (answer.status().as_u16(), answer.json().await.expect("in JSON"))
    }

    /// All transactions.
    pub(crate) async fn transactions(&self) -> Vec<Value> {
        self.get("/api/v1/transactions").await.as_array().expect("a list").clone()
    }

    /// SIGKILL, and a new start.
    pub(crate) async fn crash(&mut self) {
        self.node.take().expect("it runs").kill().await.expect("it is our child");
        let (node, told) = spawn(self.home.path(), &["up", "-o", "json"]).await;
        self.url = told["ready"].as_str().expect("the node is ready").to_owned();
        self.node = Some(node);
    }

    /// All contracts.
    pub(crate) async fn contracts(&self) -> Vec<Value> {
        self.get("/api/v1/contracts").await.as_array().expect("a list").clone()
    }

    /// Opens a contract on the joined platforms, and waits until it is settled.
    pub(crate) async fn rent(&mut self) {
        let mut asked = self.good_request().await;
        asked["idempotency_key"] = json!("rent");
        let (_, opened) = self.ask(asked.to_string()).await;
        let id = opened["id"].as_str().unwrap_or_else(|| panic!("no contract: {opened}")).to_owned();
        // Sent again it begins nothing new; another contract is not had under the same key.
        let (status, again) = self.ask(asked.to_string()).await;
        assert_eq!((status, &again["id"]), (202, &opened["id"]), "{again}");
        asked["price"] = json!("1000001");
        let (status, refused) = self.ask(asked.to_string()).await;
        assert!(status == 409 && refused["title"] == "the key is used", "{status}: {refused}");
        assert_eq!(self.ended(&id).await["state"], "settled");
        self.transaction = Some(id);
    }

    /// A contract once it has ended: its stream ends when it does.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        let path = format!("/api/v1/contracts/{id}");
        let followed = async {
            let events = client().get(format!("{}{path}/events", self.url)).send().await;
            events.expect("the node answers").bytes().await.expect("the stream ends in order");
        };
        tokio::time::timeout(PATIENCE, followed).await.expect("the contract ends");
        self.get(&path).await
    }

    /// What each party holds.
    pub(crate) async fn balances(&self) -> Value {
        self.get("/api/v1/ledgers/evm/balances").await["balances"].clone()
    }

    /// SIGTERM; the node must end by itself, in order and in time.
    pub(crate) async fn stop(&mut self) {
        let Some(mut node) = self.node.take() else { return };
        let id = node.id().expect("it runs").to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(asked.expect("kill is there").success());
        let ended = tokio::time::timeout(STOPS, node.wait()).await.expect("the node ends after SIGTERM");
        assert_eq!(ended.expect("it is our child").code(), Some(0));
        self.devices.clear();
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// An answer as it is.
    pub(crate) async fn bytes(&self, path: &str) -> Vec<u8> {
        let answer = client().get(format!("{}{path}", self.url)).send().await.expect("the node answers");
        assert_eq!(answer.status(), 200, "{path}");
        answer.bytes().await.expect("a body").to_vec()
    }

    /// Puts a document.
    pub(crate) async fn put(&self, path: &str, body: Value) {
        let answer = client().put(format!("{}{path}", self.url)).json(&body).send().await;
        assert_eq!(answer.expect("the node answers").status(), 201, "{path}");
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = client().get(format!("{}{path}", self.url)).send().await.expect("the node answers");
        answer.json().await.expect("in JSON")
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client")
}

fn listening(told: &Value) -> String {
    told["listening"].as_str().expect("it says where it listens").to_owned()
}

/// Starts the binary, and gives back the first line that it tells.
async fn spawn(home: &Path, args: &[&str]) -> (Child, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sofie"))
        .args(args)
        .current_dir(home)
        // A device ends when nobody holds its stdin any more.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut lines: Lines<BufReader<ChildStdout>> =
        BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
    let line = line.unwrap_or_else(|_| panic!("{args:?} tells nothing")).expect("its output is read");
    let line = line.unwrap_or_else(|| panic!("{args:?} ended"));
    // What it tells later is read by nobody, and must not block it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, serde_json::from_str(&line).expect("a line of JSON"))
}
