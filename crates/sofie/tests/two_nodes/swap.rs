//! A token for bitcoin: Alice pays Bob on the chain that decides, he pays her in bitcoin, each from the own node.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bitcoin::{Bitcoin, FEE};
use super::{AMOUNT, Anvil, Company, PATIENCE, PAUSE, changed, companies, held, leg};

/// What Bob pays, in satoshi.
const SATOSHI: u64 = 1_000_000;
/// What is locked in vain comes back after T_D, T_p and G, one after the other.
const LONGER: Duration = Duration::from_secs(240);

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
        let bitcoin = Bitcoin::start(&[bob.bitcoin_key(0)]).await?;
        for company in [&mut alice, &mut bob] {
            company.ledgers =
                format!("{}skew = \"1s\"\n{}", company.ledgers, bitcoin.ledger(bitcoin.node.url.as_str()));
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
    let had = stage.bitcoin.held(stage.bob.bitcoin_key(0)).await;
    let id = stage.proposed("swap", 180);
    stage.bob.one(&["agree", &id[..8]]);
    assert_eq!((stage.alice.ends(&id), stage.bob.ends(&id)), ("commit".into(), "commit".into()));
    let after = stage.tokens().await;
    changed(before[0], after[0], -1);
    changed(before[1], after[1], 1);
    let got = stage.bitcoin.held(stage.alice.bitcoin_key(0)).await;
    assert!((SATOSHI - FEE..=SATOSHI).contains(&got), "{got} satoshi");
    let left = stage.bitcoin.held(stage.bob.bitcoin_key(0)).await;
    assert!((had - SATOSHI - FEE..=had - SATOSHI).contains(&left), "{left} of {had} satoshi");
}

/// Bob locks, and his node is killed before the lock is in a block: Alice has her token back without him, and he his coin
/// once his node runs again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_whose_node_is_killed_after_its_lock_costs_alice_nothing_but_time() {
    let Some(mut stage) = Stage::new().await else { return };
    let before = stage.tokens().await;
    let had = stage.bitcoin.held(stage.bob.bitcoin_key(0)).await;
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
    assert_eq!(stage.bitcoin.held(stage.alice.bitcoin_key(0)).await, 0);
    // His own lock waits for his own node.
    stage.bob.start(&[]);
    assert_eq!((stage.bob.ends(&id), stage.alice.ends(&id)), ("abort".into(), "abort".into()));
    let left = stage.bitcoin.held(stage.bob.bitcoin_key(0)).await;
    assert!((had - 2 * FEE..=had).contains(&left), "{left} of {had} satoshi");
}
