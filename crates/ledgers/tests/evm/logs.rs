//! How logs are followed on a real node: what is asked of it, seen by a proxy that allows few blocks for one question.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sofie_ledgers::evm::{EvmLedger, RpcChain, RpcConfig, rpc_profile};
use sofie_ledgers::{Ledger, Status};
use sofie_model::{Finality, Span};
use sofie_peers::proxy::{deliver, message};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::anvil::{Anvil, CHAIN};
use crate::parties::Parties;
use crate::scenario::{Scenario, carry_out};

/// The most blocks that this node gives logs of at once.
const ALLOWED: u64 = 40;
/// More than the follower reads block by block, and more than it remembers of hashes.
const FAR: u64 = 400;

/// Notes each question for logs: `Some` of how many blocks, `None` of one by its hash.
struct Strict {
    url: Url,
    task: tokio::task::JoinHandle<()>,
    asked: Arc<Mutex<Vec<Option<u64>>>>,
}

impl Strict {
    async fn before(node: &Url) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let node = node.port().unwrap();
        let asked: Arc<Mutex<Vec<Option<u64>>>> = Arc::default();
        let noted = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let noted = Arc::clone(&noted);
                tokio::spawn(async move {
                    let _ = serve(client, node, &noted).await;
                });
            }
        });
        Self { url, task, asked }
    }

    async fn ledger(&self, parties: &Parties, finality: Finality) -> EvmLedger {
        let (url, timeout) = (self.url.clone(), Duration::from_secs(20));
        let chain = RpcChain::open(RpcConfig { url, chain_id: CHAIN, timeout, since: 0 }).await.unwrap();
        let profile = rpc_profile("anvil".parse().unwrap(), finality, Span::from_seconds(1));
        EvmLedger::open(Arc::new(chain), profile, parties.keyring.clone(), parties.operator).await.unwrap()
    }

    /// What was asked since the last look.
    fn asked(&self) -> Vec<Option<u64>> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, node: u16, asked: &Mutex<Vec<Option<u64>>>) -> std::io::Result<()> {
    loop {
        let request = message(&mut client).await?;
        let body = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_default() + 4;
        let question: Value = serde_json::from_slice(&request[body..])?;
        let blocks = of_logs(&question);
        if let Some(blocks) = blocks {
            asked.lock().unwrap().push(blocks);
        }
        let answer = match blocks {
            Some(Some(blocks)) if blocks > ALLOWED => {
                let error = json!({ "code": -32_602, "message": "exceed maximum block range" });
                let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "error": error }).to_string();
                let length = answer.len();
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}").into_bytes()
            }
            _ => deliver(node, &request).await?,
        };
        client.write_all(&answer).await?;
    }
}

/// Whether logs are asked for, and of how many blocks if by their numbers.
fn of_logs(question: &Value) -> Option<Option<u64>> {
    if question["method"] != "eth_getLogs" {
        return None;
    }
    let filter = &question["params"][0];
    if !filter["blockHash"].is_null() {
        return Some(None);
    }
    let number = |name: &str| filter[name].as_str().map(|text| u64::from_str_radix(&text[2..], 16).unwrap());
    Some(Some(number("toBlock").unwrap_or(u64::MAX) - number("fromBlock").unwrap_or(0) + 1))
}

/// A restart reads the past in ranges that the node allows; then nothing is asked for twice, however often it is polled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_is_read_once_in_ranges_that_the_node_allows() {
    let Some(anvil) = Anvil::start() else { return };
    anvil.ask("evm_setIntervalMining", json!([0])).await.unwrap();
    let parties = Parties::new();
    anvil.fund(&parties).await.unwrap();
    let mine =
        async |blocks: u64| drop(anvil.ask("anvil_mine", json!([format!("0x{blocks:x}")])).await.unwrap());
    let strict = Strict::before(&anvil.url).await;
    anvil.ask("evm_setAutomine", json!([true])).await.unwrap();
    let ledger = strict.ledger(&parties, Finality::Depth(1)).await;
    anvil.ask("evm_setAutomine", json!([false])).await.unwrap();
    let scenario = Scenario::new(&ledger, &parties, 1).await;
    let prepared = carry_out(&ledger, &scenario.prepare(), || mine(1)).await;
    let committed = carry_out(&ledger, &scenario.commit(), || mine(1)).await;
    mine(FAR).await;
    drop(ledger);
    strict.asked();

    let ledger = strict.ledger(&parties, Finality::Depth(1)).await;
    for (operation, evidence) in [(scenario.prepare(), &prepared), (scenario.commit(), &committed)] {
        assert_eq!(ledger.status(&operation, None).await, Ok(Status::Final(evidence.clone())));
    }
    let asked = strict.asked();
    let read: u64 = asked.iter().flatten().filter(|blocks| **blocks <= ALLOWED).sum();
    let height = committed.position.height + FAR;
    assert!(
        (height - FAR / 2..=height).contains(&read),
        "each block once, and the newest by their headers: {asked:?}"
    );

    for _ in 0..20 {
        assert_eq!(ledger.status(&scenario.apply(), None).await, Ok(Status::Absent));
    }
    assert_eq!(strict.asked(), [], "there is no new block");
    mine(3).await;
    assert_eq!(ledger.status(&scenario.apply(), None).await, Ok(Status::Absent));
    assert_eq!(strict.asked(), [], "the new blocks say by their bloom filters that they hold nothing");
    let applied = carry_out(&ledger, &scenario.apply(), || mine(1)).await;
    assert_eq!(strict.asked(), [None], "one block has something");
    assert!(ledger.prove(&scenario.manifest, &[committed, applied]).await.is_ok());
}

/// What a reorganisation undoes is taken back from what is remembered, and what comes instead is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_chain_undoes_is_taken_back() {
    let Some(anvil) = Anvil::start() else { return };
    let parties = Parties::new();
    anvil.fund(&parties).await.unwrap();
    let strict = Strict::before(&anvil.url).await;
    let ledger = strict.ledger(&parties, Finality::Depth(30)).await;
    anvil.ask("evm_setIntervalMining", json!([0])).await.unwrap();
    let mine =
        async |blocks: u64| drop(anvil.ask("anvil_mine", json!([format!("0x{blocks:x}")])).await.unwrap());
    let scenario = Scenario::new(&ledger, &parties, 1).await;
    let prepare = scenario.prepare();
    let intent = ledger.intend(&prepare).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    mine(1).await;
    assert_eq!(ledger.status(&prepare, Some(&intent)).await, Ok(Status::Pending));
    // Back to before the block that holds it, and as many new ones: the height says nothing.
    mine(4).await;
    assert_eq!(ledger.status(&prepare, None).await, Ok(Status::Pending));
    anvil.ask("anvil_rollback", json!([5])).await.unwrap();
    assert_eq!(ledger.status(&prepare, None).await, Ok(Status::Absent));
    mine(5).await;
    assert_eq!(ledger.status(&prepare, None).await, Ok(Status::Absent));
    ledger.submit(&intent).await.unwrap();
    mine(1).await;
    assert_eq!(ledger.status(&prepare, None).await, Ok(Status::Pending));
    mine(30).await;
    assert!(matches!(ledger.status(&prepare, None).await, Ok(Status::Final(_))));
}
