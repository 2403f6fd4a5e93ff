//! Money for a story on a development chain: its node holds unlocked accounts (`eth_accounts`), and the first of them
//! gives each party something. A chain of the world has none, and says so.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sofie_node::config::{Config, LedgerKind};
use sofie_node::keys::PartyKeys;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::peers;
use crate::failure::Failure;

/// What each party is given: 0.1 ether.
const GIFT: u128 = 100_000_000_000_000_000;
/// How long a development node may take to start.
const START: Duration = Duration::from_secs(20);

/// Makes sure that each chain behind JSON-RPC answers and that the parties can pay there. Returns the development nodes
/// that were started; dropping one ends it.
pub(crate) async fn prepare(config: &Config, folder: &Path) -> Result<Vec<Child>, Failure> {
    let mut started = Vec::new();
    for ledger in &config.ledgers {
        let LedgerKind::EvmRpc { url, .. } = &ledger.kind else { continue };
        if let Some(address) = loopback(url.reveal())
            && TcpStream::connect(address).await.is_err()
        {
            started.push(start_anvil(address, folder, &["--block-time", "1"]).await?);
        }
        let mut accounts = Vec::new();
        for party in &config.parties {
            let keys = PartyKeys::load_or_create(party)
                .map_err(|e| Failure::lacking("make the parties' keys", e, ""))?;
            accounts.push(keys.account().to_string());
        }
        // One after the other: the chain's node gives each gift of the same account its nonce.
        for account in accounts {
            fund(url.reveal().as_str(), &account).await?;
        }
    }
    Ok(started)
}

fn loopback(url: &url::Url) -> Option<SocketAddr> {
    let address = url.socket_addrs(|| Some(8545)).ok()?.into_iter().next()?;
    address.ip().is_loopback().then_some(address)
}

/// Starts a development chain that answers there; its log is in `folder`.
pub(crate) async fn start_anvil(
    address: SocketAddr,
    folder: &Path,
    settings: &[&str],
) -> Result<Child, Failure> {
    let tried = format!("start a development chain at {address}");
    let next =
        "see whether the program is whole: remove it from the peers' folder to have it installed again";
    let program = peers::anvil().await?;
    let log = std::fs::File::create(folder.join("anvil.log")).map_err(|e| Failure::lacking(&tried, e, ""))?;
    let child = Command::new(program)
        .args(["--host", &address.ip().to_string(), "--port", &address.port().to_string()])
        .args(["--slots-in-an-epoch", "1"])
        .args(settings)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Failure::lacking(&tried, e, next))?;
    let answers = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(START, answers).await;
    waited
        .map_err(|_| Failure::lacking(&tried, "it does not answer", "see anvil.log in the story's folder"))?;
    Ok(child)
}

async fn fund(url: &str, account: &str) -> Result<(), Failure> {
    let held = call(url, "eth_getBalance", json!([account, "latest"])).await?;
    if held.as_str().is_some_and(|held| held != "0x0") {
        return Ok(());
    }
    let tried = format!("give {account} something to spend");
    let next = "send it some ether yourself, or use a development chain";
    let accounts = call(url, "eth_accounts", json!([])).await?;
    let Some(rich) = accounts.get(0).and_then(Value::as_str) else {
        return Err(Failure::lacking(&tried, "the chain's node holds no account", next));
    };
    let gift = json!([{ "from": rich, "to": account, "value": format!("{GIFT:#x}") }]);
    let hash = call(url, "eth_sendTransaction", gift).await?;
    let mined = async {
        loop {
            match call(url, "eth_getTransactionReceipt", json!([hash])).await {
                Ok(Value::Null) => tokio::time::sleep(Duration::from_millis(100)).await,
                other => return other.map(drop),
            }
        }
    };
    tokio::time::timeout(START, mined).await.map_err(|_| Failure::lacking(&tried, "it is not mined", next))?
}

pub(crate) async fn call(url: &str, method: &str, params: Value) -> Result<Value, Failure> {
    let tried = format!("call {method} of the development chain");
    let next = "see whether it runs, and its url in the configuration";
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let client = reqwest::Client::builder().no_proxy().timeout(START).build();
    let client = client.map_err(|e| Failure::lacking(&tried, e, next))?;
    let answer = client
        .post(url)
        .json(&body)
        .send()
        .await
        .map_err(|e| Failure::lacking(&tried, e.without_url(), next))?;
    let answer: Value = answer.json().await.map_err(|e| Failure::lacking(&tried, e.without_url(), next))?;
    match answer.get("result") {
        Some(result) => Ok(result.clone()),
        None => Err(Failure::lacking(&tried, answer["error"]["message"].to_string(), next)),
    }
}
