//! A bitcoind of the test's own: in regtest, without a wallet, in a temporary folder, on free ports of this machine.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sofie_ledgers::bitcoin::Auth;
use url::Url;

/// How long it may take to answer first: it verifies nothing, but the machine may be busy.
const START: Duration = Duration::from_secs(60);
/// How long one call may take: a bound on waiting, not a measure.
const CALL: Duration = Duration::from_secs(30);
/// Ports are chosen before the node binds them; another process may be faster.
const TRIES: u32 = 3;

pub(crate) struct Bitcoind {
    process: Child,
    folder: tempfile::TempDir,
    pub(crate) url: Url,
    client: reqwest::Client,
}

impl Bitcoind {
    /// Starts one; `None` where bitcoind is left out.
    pub(crate) async fn start() -> Option<Self> {
        let program = sofie_peers::program("bitcoind")?;
        for _ in 0..TRIES {
            if let Some(node) = Self::once(&program).await {
                return Some(node);
            }
        }
        panic!("{} does not start", program.display())
    }

    async fn once(program: &PathBuf) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = File::create(folder.path().join("out.log")).unwrap();
        let mut command = Command::new(program);
        command.arg("-regtest").arg(format!("-datadir={}", folder.path().display()));
        command.arg(format!("-rpcport={port}")).args([
            "-rpcbind=127.0.0.1",
            "-rpcallowip=127.0.0.1",
            "-server",
            "-listen=0",
            "-dnsseed=0",
            "-disablewallet",
            "-printtoconsole=0",
            "-fallbackfee=0.0001",
        ]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().unwrap();
        let url = format!("http://127.0.0.1:{port}").parse().unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(CALL).build().unwrap();
        let mut node = Self { process, folder, url, client };
        let until = Instant::now() + START;
        while Instant::now() < until {
            if node.process.try_wait().unwrap().is_some() {
                return None;
            }
            if node.asked("getblockchaininfo", json!([])).await.is_ok() {
                return Some(node);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }

    pub(crate) fn cookie(&self) -> PathBuf {
        self.folder.path().join("regtest/.cookie")
    }

    pub(crate) fn auth(&self) -> Auth {
        Auth::Cookie(self.cookie())
    }

    pub(crate) async fn asked(&self, method: &str, params: Value) -> Result<Value, String> {
        let cookie = std::fs::read_to_string(self.cookie()).map_err(|error| error.to_string())?;
        let (user, password) = cookie.trim().split_once(':').ok_or("no cookie")?;
        let body = json!({ "id": 0, "method": method, "params": params });
        let request = self.client.post(self.url.clone()).basic_auth(user, Some(password)).json(&body);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        if answer["error"].is_null() {
            Ok(answer["result"].clone())
        } else {
            Err(answer["error"].to_string())
        }
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        self.asked(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Blocks whose reward goes to this script.
    pub(crate) async fn mine_to(&self, blocks: u32, script: &str) {
        self.ask("generatetodescriptor", json!([blocks, format!("raw({script})")])).await;
    }

    /// Blocks whose reward goes to nobody.
    pub(crate) async fn mine(&self, blocks: u32) {
        self.mine_to(blocks, NOBODY).await;
    }

    /// A block that leaves out what waits.
    pub(crate) async fn mine_empty(&self) {
        self.mine_these(&[]).await;
    }

    /// A block that holds these transactions, in hexadecimal, and no other.
    pub(crate) async fn mine_these(&self, transactions: &[String]) {
        self.ask("generateblock", json!([format!("raw({NOBODY})"), transactions])).await;
    }

    /// The median time past of the newest block, in seconds.
    pub(crate) async fn clock(&self) -> u64 {
        self.ask("getblockchaininfo", json!([])).await["mediantime"].as_u64().unwrap()
    }

    /// Moves the chain's clock to `until` or later.
    pub(crate) async fn pass(&self, until: u64) {
        if self.clock().await >= until {
            return;
        }
        self.ask("setmocktime", json!([until + 1])).await;
        // More than half of the eleven blocks whose times make the median.
        self.mine(6).await;
        assert!(self.clock().await >= until);
    }
}

/// A script that everybody can spend: OP_TRUE.
const NOBODY: &str = "51";

impl Drop for Bitcoind {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
