//! A token for bitcoin: Alice pays Bob on the chain that decides, he pays her in bitcoin, each from the own node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sofie_model::PublicKey;
use sofie_node::config::Config;
use sofie_node::keys::PartyKeys;
use tokio::task::JoinHandle;

use super::bitcoind::Bitcoind;
use super::{AMOUNT, Anvil, Company, PATIENCE, PAUSE, changed, companies, held, leg};

/// What Bob pays, in satoshi.
const SATOSHI: u64 = 1_000_000;
/// The most that one transaction on Bitcoin may cost.
const FEE: u64 = 20_000;
/// A reward can be spent under so many blocks.
const MATURITY: u32 = 100;
/// The first blocks are dated so far back that the chain's clock is not ahead of the true one.
const PAST_S: u64 = 3_600;
/// What is locked in vain comes back after T_D, T_p and G, one after the other.
const LONGER: Duration = Duration::from_secs(240);

/// A bitcoind with a block a second, unless it is told to stop.
struct Bitcoin {
    node: Arc<Bitcoind>,
    mines: Arc<AtomicBool>,
    miner: JoinHandle<()>,
}

impl Drop for Bitcoin {
    fn drop(&mut self) {
        self.miner.abort();
    }
}

impl Bitcoin {
    /// Starts one on which `rich` has a coin to spend; `None`, loudly, where there is none.
    async fn start(rich: PublicKey) -> Option<Self> {
        let node = Arc::new(Bitcoind::start().await?);
        let now = sofie_node::clock::now().as_seconds();
        node.ask("setmocktime", json!([now - PAST_S])).await;
        node.ask("generatetodescriptor", json!([1, format!("wpkh({rich})")])).await;
        node.mine(MATURITY).await;
        node.ask("setmocktime", json!([0])).await;
        let mines = Arc::new(AtomicBool::new(true));
        let (chain, goes) = (node.clone(), mines.clone());
        let miner = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if goes.load(Ordering::SeqCst) {
                    chain.mine(1).await;
                }
            }
        });
        Some(Self { node, mines, miner })
    }

    /// What the key holds, in satoshi.
    async fn held(&self, key: PublicKey) -> u64 {
        let found = self.node.ask("scantxoutset", json!(["start", [format!("wpkh({key})")]])).await;
        let total = found["total_amount"].to_string();
        let (whole, part) = total.split_once('.').unwrap_or((&total, "0"));
        format!("{whole}{part:0<8}").parse().expect("an amount with eight places")
    }

    async fn waiting(&self) -> usize {
        self.node.ask("getrawmempool", json!([])).await.as_array().expect("a list").len()
    }

    /// As examples/swap/node.toml has it: times that fit a block a second.
    fn ledger(&self) -> String {
        format!(
            "\n[[ledger]]\nid = \"bitcoin\"\nkind = \"bitcoin-rpc\"\nurl = \"{}\"\ncookie = \"{}\"\nnetwork = \"regtest\"\n\
             finality = \"depth:1\"\ninclusion = \"3s\"\nfinalises = \"2s\"\npoll = \"250ms\"\nskew = \"7s\"\n\
             fee_limit = {FEE}\n",
            self.node.url,
            self.node.cookie().display()
        )
    }
}

/// The key of its party, which locks and spends its bitcoin.
fn key(company: &Company) -> PublicKey {
    let config =
        Config::parse(&company.text(), &company.folder.path().join("sofie.toml")).expect("it is good");
    let keys = PartyKeys::load_or_create(&config.parties[0]).expect("they were made");
    PublicKey::from(keys.secp256k1().verifying_key())
}

struct Stage {
    chain: Anvil,
    bitcoin: Bitcoin,
    alice: Company,
    bob: Company,
}

impl Stage {
    async fn new() -> Option<Self> {
        let chain = Anvil::start()?;
        let (mut alice, mut bob) = companies(&chain).await;
        let bitcoin = Bitcoin::start(key(&bob)).await?;
        for company in [&mut alice, &mut bob] {
            company.ledgers = format!("{}skew = \"1s\"\n{}", company.ledgers, bitcoin.ledger());
            company.start(&[]);
        }
        Some(Self { chain, bitcoin, alice, bob })
    }

    /// Alice submits the swap at her node, and Bob's node shows it to him.
    fn proposed(&self, name: &str, seconds: u64) -> String {
        let legs = [
            leg("ethereum", "transfer", "alice", "bob", AMOUNT),
            leg("bitcoin", "hashlock", "bob", "alice", SATOSHI.into()),
        ];
        let id = self.alice.proposes(name, &self.alice.written(name, seconds, &legs));
        let shown = self.bob.until(&id, "proposed", |shown| shown["phase"] == "proposed");
        let why = shown["proposal"]["why"].as_str().expect("a reason");
        assert_eq!(why, "with it 1000000 is paid on bitcoin, where nothing is automatic");
        id
    }

    async fn tokens(&self) -> [u128; 2] {
        held(&self.chain, [&self.alice, &self.bob]).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_swapped_for_bitcoin_between_two_nodes() {
    let Some(stage) = Stage::new().await else { return };
    let before = stage.tokens().await;
    let had = stage.bitcoin.held(key(&stage.bob)).await;
    let id = stage.proposed("swap", 180);
    stage.bob.one(&["agree", &id[..8]]);
    assert_eq!((stage.alice.ends(&id), stage.bob.ends(&id)), ("commit".into(), "commit".into()));
    let after = stage.tokens().await;
    changed(before[0], after[0], -1);
    changed(before[1], after[1], 1);
    let got = stage.bitcoin.held(key(&stage.alice)).await;
    assert!((SATOSHI - FEE..=SATOSHI).contains(&got), "{got} satoshi");
    let left = stage.bitcoin.held(key(&stage.bob)).await;
    assert!((had - SATOSHI - FEE..=had - SATOSHI).contains(&left), "{left} of {had} satoshi");
}

/// Bob locks, and his node is killed before the lock is in a block: Alice has her token back without him, and he his coin
/// once his node runs again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_whose_node_is_killed_after_its_lock_costs_alice_nothing_but_time() {
    let Some(mut stage) = Stage::new().await else { return };
    let before = stage.tokens().await;
    let had = stage.bitcoin.held(key(&stage.bob)).await;
    let id = stage.proposed("silent", 60);
    stage.bitcoin.mines.store(false, Ordering::SeqCst);
    stage.bob.one(&["agree", &id[..8]]);
    let since = Instant::now();
    while stage.bitcoin.waiting().await == 0 {
        assert!(since.elapsed() < PATIENCE, "bob's lock does not come");
        tokio::time::sleep(PAUSE).await;
    }
    stage.bob.kill();
    stage.bitcoin.mines.store(true, Ordering::SeqCst);
    let is_back = |shown: &Value| shown["decision"] == "abort" && shown["legs"][0]["state"] == "reverted";
    stage.alice.until_within(LONGER, &id, "aborted, with her token back", is_back);
    changed(before[0], stage.tokens().await[0], 0);
    assert_eq!(stage.bitcoin.held(key(&stage.alice)).await, 0);
    // His own lock waits for his own node.
    stage.bob.start(&[]);
    assert_eq!((stage.bob.ends(&id), stage.alice.ends(&id)), ("abort".into(), "abort".into()));
    let left = stage.bitcoin.held(key(&stage.bob)).await;
    assert!((had - 2 * FEE..=had).contains(&left), "{left} of {had} satoshi");
}
