//! Devices and a node as processes of their own, and the node's HTTP API.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::sofie;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// A process that ends with this.
pub(crate) struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
    /// The first line that it told.
    pub(crate) told: Value,
}

impl Process {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::try_start(args).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same, unless it ends or says something else.
    pub(crate) fn try_start(args: &[&str]) -> Result<Self, String> {
        let mut child = sofie(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        out.read_line(&mut line).expect("it tells");
        match serde_json::from_str(&line) {
            Ok(told) => Ok(Self { child, out, told }),
            Err(error) => {
                // It has ended, or is of no use.
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("{args:?} tells {line:?}: {error}"))
            }
        }
    }

    /// Waits until the node says that it stands still.
    pub(crate) fn paused(&mut self) {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("it tells");
        assert!(line.contains("paused"), "it tells {line:?}");
    }

    pub(crate) fn address(&self) -> &str {
        self.told["listening"].as_str().expect("it listens")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL; it may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A door with its locker, its sensor and the sensor's broker.
pub(crate) struct Devices {
    pub(crate) door: PathBuf,
    pub(crate) locker: Process,
    pub(crate) broker: Process,
    pub(crate) sensor: Process,
}

impl Devices {
    pub(crate) fn start(door: PathBuf) -> Self {
        let path = door.display().to_string();
        let locker = Process::start(&["device", "locker", "--door", &path]);
        let broker = Process::start(&["device", "broker"]);
        let sensor = sensor(&door, &broker);
        Self { door, locker, broker, sensor }
    }

    /// The sensor's battery is changed: it starts anew and says how the door is.
    pub(crate) fn restart_sensor(&mut self) {
        self.sensor = sensor(&self.door, &self.broker);
    }
}

fn sensor(door: &Path, broker: &Process) -> Process {
    let path = door.display().to_string();
    Process::start(&["device", "door-sensor", "--door", &path, "--broker", broker.address()])
}

/// A node on embedded ledgers.
pub(crate) struct Node {
    process: Option<Process>,
    base: String,
    http: reqwest::Client,
    folder: TempDir,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// The same with `more` in its configuration.
    pub(crate) fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = include_str!("../../../../examples/locker/embedded.toml");
        let config = config.replace("[node]\n", "[node]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"data\"\n");
        std::fs::write(folder.path().join("sofie.toml"), config + more).expect("it is written");
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let mut node = Self { process: None, base: String::new(), http, folder };
        node.restart();
        node
    }

    /// Kills it, if it runs, and starts it on the same journal.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let config = self.folder.path().join("sofie.toml").display().to_string();
        let process = Process::start(&["up", "-o", "json", "-c", &config]);
        self.base = process.told["ready"].as_str().expect("it is ready").to_owned();
        self.process = Some(process);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).expect("JSON")
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        let answer = self.answer(path).await;
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        answer.text().await.expect("a text")
    }

    pub(crate) async fn answer(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("{}{path}", self.base)).send().await.expect("it answers")
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let asked = self.http.post(format!("{}{path}", self.base)).json(body);
        let answer = asked.send().await.expect("it answers");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// Joins both platforms; gives the locker's and the sensor's names.
    pub(crate) async fn join(&self, devices: &Devices) -> Things {
        let join = async |owner: &str, kind: &str, device: &Process, allow: &[&str]| {
            let url = format!("{kind}://{}", device.address());
            let body = json!({ "owner": owner, "kind": kind, "url": url, "allow": allow });
            let (status, platform) = self.post("/api/v1/platforms", &body).await;
            assert_eq!(status, 201, "{platform}");
            platform["things"].as_array().expect("things").clone()
        };
        let locker = join("locker-co", "coap", &devices.locker, &["lock"]).await;
        let sensor = join("sensor-co", "mqtt", &devices.broker, &[]).await;
        let first = |things: &[Value]| things[0].as_str().expect("a name").to_owned();
        Things { locker: first(&locker), sensor: first(&sensor) }
    }

    /// Rents the locker; gives the contract's id.
    pub(crate) async fn rent(&self, things: &Things, evidence_within_s: u64) -> String {
        let body = json!({
            "renter": "renter", "thing": things.locker, "action": "lock", "input": { "open_for_s": 600 },
            "price": "1000000000000", "open_for_s": 600, "ledger": "evm", "record_ledger": "calendar",
            "evidence": { "thing": things.sensor, "property": "open", "equals": true },
            "decision_within_s": evidence_within_s / 2, "evidence_within_s": evidence_within_s,
            "submission_window_s": 1,
        });
        let (status, contract) = self.post("/api/v1/contracts", &body).await;
        assert_eq!(status, 202, "{contract}");
        contract["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until `wanted` holds of the contract.
    pub(crate) async fn until(&self, id: &str, what: &str, wanted: impl Fn(&Contract) -> bool) -> Contract {
        let began = Instant::now();
        loop {
            let contract = Contract(self.get(&format!("/api/v1/contracts/{id}")).await);
            if wanted(&contract) {
                return contract;
            }
            assert!(began.elapsed() < PATIENCE, "not {what}: {:#}", contract.0);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The two things of the story.
pub(crate) struct Things {
    pub(crate) locker: String,
    pub(crate) sensor: String,
}

/// A contract as the API shows it.
pub(crate) struct Contract(pub(crate) Value);

impl Contract {
    pub(crate) fn is(&self, state: &str) -> bool {
        self.0["state"] == state
    }

    /// How many steps of this name say this.
    pub(crate) fn says(&self, name: &str, detail: &str) -> usize {
        let steps = self.0["steps"].as_array().expect("steps");
        let says = |step: &&Value| step["detail"].as_str().is_some_and(|said| said.contains(detail));
        steps.iter().filter(|step| step["name"] == name).filter(says).count()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.says(name, "") > 0
    }
}
