//! A bitcoind with a block a second, for stories of nodes that are processes.

#![allow(dead_code, reason = "not every file uses all of it")]

#[allow(dead_code, clippy::unwrap_used, reason = "the ledgers' tests use more of it")]
#[path = "../../../ledgers/tests/bitcoin/node.rs"]
mod bitcoind;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use sofie_model::PublicKey;
use tokio::task::JoinHandle;

use bitcoind::Bitcoind;

/// What a block brings its miner, in satoshi: the first 150 of a regtest chain.
pub(crate) const REWARD: u64 = 5_000_000_000;
/// The most that one transaction on Bitcoin may cost.
pub(crate) const FEE: u64 = 20_000;
/// A reward can be spent under so many blocks.
const MATURITY: u32 = 100;
/// A script that everybody can spend, OP_TRUE.
const NOBODY: &str = "raw(51)";
/// The first blocks are dated so far back that the chain's clock is not ahead of the true one.
const PAST_S: u64 = 3_600;

/// A bitcoind with a block a second, unless it is told to stop.
pub(crate) struct Bitcoin {
    pub(crate) node: Arc<Bitcoind>,
    pub(crate) mines: Arc<AtomicBool>,
    miner: JoinHandle<()>,
}

impl Drop for Bitcoin {
    fn drop(&mut self) {
        self.miner.abort();
    }
}

impl Bitcoin {
    /// Starts one on which each of `rich` has a reward to spend, as often as it stands there; `None`, loudly, where there is none.
    pub(crate) async fn start(rich: &[PublicKey]) -> Option<Self> {
        let node = Arc::new(Bitcoind::start().await?);
        let now = sofie_node::clock::now().as_seconds();
        node.ask("setmocktime", json!([now - PAST_S])).await;
        for key in rich {
            node.ask("generatetodescriptor", json!([1, format!("wpkh({key})")])).await;
        }
        node.mine(MATURITY).await;
        node.ask("setmocktime", json!([0])).await;
        let mines = Arc::new(AtomicBool::new(true));
        let (chain, goes) = (node.clone(), mines.clone());
        let miner = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if goes.load(Ordering::SeqCst) {
                    // One that is not answered is made up for by the next.
                    let _ = chain.asked("generatetodescriptor", json!([1, NOBODY])).await;
                }
            }
        });
        Some(Self { node, mines, miner })
    }

    /// What the key holds, in satoshi.
    pub(crate) async fn held(&self, key: PublicKey) -> u64 {
        let found = self.node.ask("scantxoutset", json!(["start", [format!("wpkh({key})")]])).await;
        let total = found["total_amount"].to_string();
        let (whole, part) = total.split_once('.').unwrap_or((&total, "0"));
        format!("{whole}{part:0<8}").parse().expect("an amount with eight places")
    }

    pub(crate) async fn waiting(&self) -> usize {
        self.node.ask("getrawmempool", json!([])).await.as_array().expect("a list").len()
    }

    /// What all transactions of the chain have cost, in satoshi.
    pub(crate) async fn fees(&self) -> u64 {
        let height = self.node.ask("getblockcount", json!([])).await.as_u64().expect("a height");
        let mut fees = 0;
        for block in 1..=height {
            let stats = self.node.ask("getblockstats", json!([block, ["totalfee"]])).await;
            fees += stats["totalfee"].as_u64().expect("an amount");
        }
        fees
    }

    /// As examples/swap/node.toml has it, asked at `url`: times that fit a block a second.
    pub(crate) fn ledger(&self, url: &str) -> String {
        format!(
            "\n[[ledger]]\nid = \"bitcoin\"\nkind = \"bitcoin-rpc\"\nurl = \"{url}\"\ncookie = \"{}\"\nnetwork = \"regtest\"\n\
             finality = \"depth:1\"\ninclusion = \"3s\"\nfinalises = \"2s\"\npoll = \"250ms\"\nskew = \"7s\"\n\
             fee_limit = {FEE}\n",
            self.node.cookie().display()
        )
    }
}
