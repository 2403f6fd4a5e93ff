//! A bitcoind of a story's own: in regtest, without a wallet, on a free port of this machine, with a block each second.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sofie_model::PublicKey;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::peers;
use crate::failure::Failure;

/// How long it may take to answer first: it verifies nothing, but the machine may be busy.
const START: Duration = Duration::from_secs(60);
/// How often another port is tried where one cannot be had.
const TRIES: u32 = 3;
/// How long one call may take.
const CALL: Duration = Duration::from_secs(20);
/// Between two blocks.
const BLOCK: Duration = Duration::from_secs(1);
/// A reward can be spent under so many blocks.
const MATURITY: u32 = 100;
/// The first blocks are dated so far back that the chain's clock is not ahead of the true one when the story begins.
const PAST_S: u64 = 3_600;
/// A script that everybody can spend, OP_TRUE: the rewards of the story's blocks are nobody's.
const NOBODY: &str = "raw(51)";

/// The running node; it ends with this.
pub(crate) struct Bitcoind {
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
    rpc: Rpc,
    /// Held while blocks are mined or undone: one at a time.
    chain: Arc<Mutex<()>>,
    _miner: Miner,
}

/// Calls the node.
#[derive(Clone)]
struct Rpc {
    url: String,
    cookie: PathBuf,
    http: reqwest::Client,
}

/// Mines until it is dropped.
struct Miner(tokio::task::JoinHandle<()>);

impl Drop for Miner {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Bitcoind {
    /// Starts one in `folder/bitcoin`; each of `rich` holds a reward that can be spent.
    pub(crate) async fn start(folder: &Path, rich: &[PublicKey]) -> Result<Self, Failure> {
        let lacking =
            |e: std::io::Error| Failure::lacking("start a bitcoind", e, "free some space, or set TMPDIR");
        let folder = folder.join("bitcoin");
        std::fs::create_dir_all(&folder).map_err(lacking)?;
        let http = reqwest::Client::builder().no_proxy().timeout(CALL).build();
        let http = http.map_err(|e| Failure::lacking("make an HTTP client", e, "run sofie doctor"))?;
        let mut tries = 1;
        let (port, rpc, process) = loop {
            let port = free_port().map_err(lacking)?;
            let (url, cookie) = (format!("http://127.0.0.1:{port}"), folder.join("regtest/.cookie"));
            let rpc = Rpc { url, cookie, http: http.clone() };
            match spawn(&folder, port, &rpc).await? {
                Started::Answers(process) => break (port, rpc, process),
                // Another program may have taken the port since it was found free.
                Started::Ended(_) if tries < TRIES => tries += 1,
                Started::Ended(status) => return Err(has_ended(&rpc, status)),
            }
        };
        let now = sofie_node::clock::now().as_seconds();
        rpc.call("setmocktime", json!([now - PAST_S])).await?;
        for key in rich {
            rpc.mine(1, &format!("wpkh({key})")).await?;
        }
        rpc.mine(MATURITY, NOBODY).await?;
        rpc.call("setmocktime", json!([0])).await?;
        let chain = Arc::new(Mutex::new(()));
        let miner = Miner(tokio::spawn(mine(rpc.clone(), Arc::clone(&chain))));
        Ok(Self { folder, port, process: Some(process), rpc, chain, _miner: miner })
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> &str {
        &self.rpc.url
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have gone by itself.
            let _ = process.kill().await;
        }
    }

    /// Starts it again on its own data.
    pub(crate) async fn start_again(&mut self) -> Result<(), Failure> {
        match spawn(&self.folder, self.port, &self.rpc).await? {
            Started::Answers(process) => self.process = Some(process),
            Started::Ended(status) => return Err(has_ended(&self.rpc, status)),
        }
        Ok(())
    }

    /// No block is mined or undone until the guard is dropped.
    pub(crate) async fn hold(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.chain).lock_owned().await
    }

    /// Undoes the block at `from` and all above it, and mines one more on another branch. How many were undone.
    pub(crate) async fn reorganise(&self, from: u64) -> Result<u64, Failure> {
        let _chain = self.chain.lock().await;
        let height = self.rpc.call("getblockcount", json!([])).await?.as_u64().unwrap_or_default();
        let first = self.rpc.call("getblockhash", json!([from])).await?;
        let depth = (height + 1).saturating_sub(from);
        self.rpc.call("invalidateblock", json!([first])).await?;
        for _ in 0..=depth {
            // What was undone waits again, and is left out at first: the other branch knew nothing of it.
            self.rpc.call("generateblock", json!([NOBODY, []])).await?;
        }
        Ok(depth)
    }
}

impl Rpc {
    async fn call(&self, method: &str, params: Value) -> Result<Value, Failure> {
        let tried = format!("call {method} of the bitcoind");
        let lacking = |why: String| Failure::lacking(&tried, why, "see bitcoind.log in the story's folder");
        // Written anew at each start of the node.
        let cookie = std::fs::read_to_string(&self.cookie).map_err(|e| lacking(e.to_string()))?;
        let (user, password) = cookie.trim().split_once(':').ok_or_else(|| lacking("no cookie".into()))?;
        let body = json!({ "id": 0, "method": method, "params": params });
        let request = self.http.post(&self.url).basic_auth(user, Some(password)).json(&body);
        let answer = request.send().await.map_err(|e| lacking(e.without_url().to_string()))?;
        let answer: Value = answer.json().await.map_err(|e| lacking(e.without_url().to_string()))?;
        match &answer["error"] {
            Value::Null => Ok(answer["result"].clone()),
            error => Err(lacking(error.to_string())),
        }
    }

    async fn mine(&self, blocks: u32, to: &str) -> Result<(), Failure> {
        self.call("generatetodescriptor", json!([blocks, to])).await.map(drop)
    }
}

/// A block each second, as long as the node answers.
async fn mine(rpc: Rpc, chain: Arc<Mutex<()>>) {
    loop {
        tokio::time::sleep(BLOCK).await;
        let _chain = chain.lock().await;
        // Away in a story of that: tried again.
        let _ = rpc.mine(1, NOBODY).await;
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// What became of a start.
enum Started {
    /// It answers.
    Answers(Child),
    /// It has ended by itself.
    Ended(ExitStatus),
}

fn has_ended(rpc: &Rpc, status: ExitStatus) -> Failure {
    let tried = format!("start a bitcoind at {}", rpc.url);
    Failure::lacking(&tried, format!("it ended with {status}"), "see bitcoind.log in the story's folder")
}

async fn spawn(folder: &Path, port: u16, rpc: &Rpc) -> Result<Started, Failure> {
    let tried = format!("start a bitcoind at {}", rpc.url);
    let next = "see whether the program is whole: remove it from the peers' folder to have it unpacked again";
    let program = peers::bitcoind().await?;
    let log = std::fs::File::options().create(true).append(true).open(folder.join("bitcoind.log"));
    let log = log.map_err(|e| Failure::lacking(&tried, e, ""))?;
    let mut child = Command::new(program)
        .args(["-regtest", "-server", "-listen=0", "-dnsseed=0", "-disablewallet", "-printtoconsole=0"])
        .args(["-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1", "-fallbackfee=0.0001"])
        .arg(format!("-datadir={}", folder.display()))
        .arg(format!("-rpcport={port}"))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Failure::lacking(&tried, e, next))?;
    let answers = async {
        while rpc.call("getblockcount", json!([])).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(START, async {
        tokio::select! {
            () = answers => Ok(None),
            ended = child.wait() => ended.map(Some),
        }
    });
    let ended = ended.await.map_err(|_| Failure::lacking(&tried, "it does not answer", next))?;
    match ended.map_err(|e| Failure::lacking(&tried, e, next))? {
        None => Ok(Started::Answers(child)),
        Some(status) => Ok(Started::Ended(status)),
    }
}
