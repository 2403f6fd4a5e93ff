//! ACME, a oneM2M CSE, for one test: on a port of this machine, its resources in memory, ended with the test.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::Port;

/// A bound on waiting, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is started.
const ATTEMPTS: usize = 3;
/// What it prints, in its folder.
const OUTPUT: &str = "output";

/// A CSE that is nobody else's.
#[derive(Debug)]
pub struct Acme {
    process: Child,
    port: Port,
    http: reqwest::Client,
    folder: TempDir,
}

impl Acme {
    /// As whom everything may be read.
    pub const ADMIN: &str = "CAdmin";
    /// As whom [`Acme::furnish`] writes.
    pub const DEVICE: &str = "Csensor";

    /// One with nothing on it. `None` where ACME is left out.
    ///
    /// # Panics
    /// Where it is missing, or does not start.
    pub async fn start() -> Option<Self> {
        let program = crate::program("acme/bin/acmecse")?;
        let mut told = String::new();
        // One that ends at once, or never answers, is started again, elsewhere.
        for _ in 0..ATTEMPTS {
            let mut acme = Self::spawn(&program);
            if timeout(PATIENCE, acme.answers()).await == Ok(true) {
                return Some(acme);
            }
            acme.end();
            told = std::fs::read_to_string(acme.folder.path().join(OUTPUT)).unwrap_or_default();
        }
        panic!("ACME does not come up; it says: {told}");
    }

    fn spawn(program: &Path) -> Self {
        let (port, folder) = (Port::free(), tempfile::tempdir().expect("a folder"));
        let configuration = format!(
            "[basic.config]\ncseType=IN\ncseID=id-in\ncseName=cse-in\nadminID={}\ndataDirectory={}\n\
             networkInterface=127.0.0.1\ncseHost=127.0.0.1\nhttpPort={port}\ndatabaseType=memory\nlogLevel=off\n\
             consoleTheme=dark\n",
            Self::ADMIN,
            folder.path().display()
        );
        std::fs::write(folder.path().join("acme.ini"), configuration).expect("it can be written");
        let process = run(program, &folder);
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Self { process, port, http, folder }
    }

    /// Waits for its first answer; false where it has ended.
    async fn answers(&mut self) -> bool {
        while self.ask("GET", "/cse-in", Self::ADMIN, None).await.is_none_or(|(status, _)| status != 200) {
            if matches!(self.process.try_wait(), Ok(Some(_)) | Err(_)) {
                return false;
            }
            sleep(Duration::from_millis(100)).await;
        }
        true
    }

    /// `http://host:port`.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The address of its base.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/cse-in", self.authority())
    }

    /// One request of a oneM2M client: status and body; `None` where nobody answers. What is made has a resource type.
    ///
    /// # Panics
    /// Where `method` is none.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        from: &str,
        body: Option<(u8, Value)>,
    ) -> Option<(u16, Value)> {
        let method = method.parse().expect("a method");
        let request = self.http.request(method, format!("{}{path}", self.authority()));
        let request = request.header("X-M2M-Origin", from).header("X-M2M-RI", "1").header("X-M2M-RVI", "3");
        let mut request = request.header("Accept", "application/json");
        if let Some((kind, body)) = body {
            let kind = format!("application/json;ty={kind}");
            request = request.header("Content-Type", kind).body(body.to_string());
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or_default()))
    }

    /// Makes a resource, as the device.
    ///
    /// # Panics
    /// Where the CSE does not make it.
    pub async fn make(&self, parent: &str, kind: u8, resource: Value) {
        let made = self.ask("POST", parent, Self::DEVICE, Some((kind, resource))).await;
        assert!(matches!(made, Some((201, _))), "{made:?}");
    }

    /// A cold room: an application entity with a container each for temperature and door, one that holds nothing, and a
    /// flexContainer for the air.
    pub async fn furnish(&self) {
        let entity = json!({
            "rn": "Sensor", "api": "Norg.example.sensor", "apn": "Cold room", "rr": false, "srv": ["3"], "lbl": ["site/7"],
        });
        self.make("/cse-in", 2, json!({ "m2m:ae": entity })).await;
        for container in ["temp", "door", "empty"] {
            self.make("/cse-in/Sensor", 3, json!({"m2m:cnt": {"rn": container}})).await;
        }
        self.measure("-18.5").await;
        self.tell("/cse-in/Sensor/door", r#"{"open":false,"count":3}"#).await;
        let model = "org.onem2m.common.moduleclass.temperature";
        self.make("/cse-in/Sensor", 28, json!({"cod:tempe": {"rn": "air", "cnd": model, "curT0": 21.50}}))
            .await;
    }

    /// The cold room's thermometer writes.
    pub async fn measure(&self, temperature: &str) {
        self.tell("/cse-in/Sensor/temp", temperature).await;
    }

    /// A new content instance.
    pub async fn tell(&self, container: &str, content: &str) {
        self.make(container, 4, json!({"m2m:cin": {"con": content}})).await;
    }

    /// How many content instances a container has.
    ///
    /// # Panics
    /// Where there is no such container.
    pub async fn instances(&self, container: &str) -> u64 {
        let read = self.ask("GET", container, Self::ADMIN, None).await;
        read.and_then(|(_, read)| read["m2m:cnt"]["cni"].as_u64()).expect("a count")
    }

    /// The resources of a type, by their paths.
    ///
    /// # Panics
    /// Where that is no list.
    pub async fn discovered(&self, kind: u8) -> BTreeSet<String> {
        let query = format!("/cse-in?fu=1&drt=1&ty={kind}");
        let found = self.ask("GET", &query, Self::ADMIN, None).await;
        let found = found.and_then(|(_, found)| serde_json::from_value(found["m2m:uril"].clone()).ok());
        found.expect("a list")
    }

    /// Starts it again where it was, with nothing on it.
    ///
    /// # Panics
    /// Where it does not come up.
    pub async fn restart(&mut self) {
        self.end();
        let program = crate::program("acme/bin/acmecse").expect("it was there");
        self.process = run(&program, &self.folder);
        assert_eq!(timeout(PATIENCE, self.answers()).await, Ok(true), "ACME comes up again");
    }

    /// Ends it now; its port stays.
    pub fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(program: &Path, folder: &TempDir) -> Child {
    let output = File::create(folder.path().join(OUTPUT)).expect("it can be made");
    let errors = output.try_clone().expect("it can be shared");
    let mut command = Command::new(program);
    command.args(["--headless", "--config", "acme.ini", "-dir"]).arg(folder.path());
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    command.spawn().expect("ACME starts")
}

impl Drop for Acme {
    fn drop(&mut self) {
        self.end();
    }
}
