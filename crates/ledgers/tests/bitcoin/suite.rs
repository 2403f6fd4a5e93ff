//! The conformance suite on a real bitcoind: its hashlock legs, and its record legs; and both of them behind a bad proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde_json::json;
use sofie_ledgers::Ledger;
use sofie_ledgers::bitcoin::BitcoinConfig;
use sofie_ledgers::conformance::{Failure, Harness, MAX_TRIES, Patient, Site, failures, run_all};
use sofie_model::{Account, Attestation, Class, PublicKey, SignedAttestation, Timestamp};
use sofie_peers::{Faults, Proxy};

use crate::node::Bitcoind;
use crate::parties::{ALL, CLAIMANT, OPERATOR, PAYER, Party, config, endow, open_with, profile};
use crate::swap::{AMOUNT, FEE_LIMIT};

/// As many coins as intents that are in flight at once, and some for the cases before.
const COINS: u32 = 80;

struct Regtest {
    node: Bitcoind,
    classes: &'static [Class],
    /// The case began here: what is older is asked of the node.
    since: AtomicU64,
    /// What the ledgers speak through. The suite's own clock and blocks go past it.
    proxy: Option<Proxy>,
}

impl Regtest {
    async fn start(classes: &'static [Class], rich: &[Party]) -> Option<Self> {
        let node = Bitcoind::start().await?;
        endow(&node, rich, COINS).await;
        Some(Self { node, classes, since: AtomicU64::new(0), proxy: None })
    }

    async fn behind(self, faults: Faults) -> Self {
        let proxy = Proxy::start(self.node.url.port().unwrap(), faults).await;
        Self { proxy: Some(proxy), ..self }
    }

    fn config(&self) -> BitcoinConfig {
        let direct = BitcoinConfig { since: self.since.load(Ordering::SeqCst), ..config(&self.node) };
        match &self.proxy {
            Some(proxy) => BitcoinConfig { url: format!("http://{}", proxy.at).parse().unwrap(), ..direct },
            None => direct,
        }
    }

    /// Behind a proxy, whoever starts it and whoever asks it tries again.
    async fn of(&self, parties: &[Party]) -> Result<Arc<dyn Ledger>, Failure> {
        let tries = if self.proxy.is_some() { MAX_TRIES } else { 1 };
        let mut last = String::new();
        for _ in 0..tries {
            match open_with(self.config(), parties, profile(self.classes)).await {
                Ok(ledger) if self.proxy.is_some() => return Ok(Arc::new(Patient(ledger))),
                Ok(ledger) => return Ok(Arc::new(ledger)),
                Err(error) => last = error.to_string(),
            }
        }
        Err(Failure::Harness(last))
    }
}

#[async_trait]
impl Harness for Regtest {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        let height = self.node.ask("getblockcount", json!([])).await.as_u64().unwrap();
        self.since.store(height, Ordering::SeqCst);
        self.of(&ALL).await
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        self.of(&ALL).await
    }

    fn site(&self) -> Site {
        Site {
            chain_id: 0,
            decision: Account::ZERO,
            escrow: Account::ZERO,
            payer: PAYER.account(),
            payee: CLAIMANT.account(),
            evidence_key: Account([7; 20]),
            amount: AMOUNT.into(),
            others: vec![OPERATOR.account()],
        }
    }

    fn attest(&self, _: Attestation) -> SignedAttestation {
        unreachable!("no case attests on a ledger without escrows")
    }

    fn keys(&self) -> [PublicKey; 2] {
        [PAYER.public(), CLAIMANT.public()]
    }

    fn fee_limit(&self) -> u128 {
        FEE_LIMIT.into()
    }

    async fn stranger(&self) -> Result<Option<Arc<dyn Ledger>>, Failure> {
        self.of(&[OPERATOR]).await.map(Some)
    }

    async fn step(&self) -> Result<(), Failure> {
        self.node.mine(1).await;
        Ok(())
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        self.node.pass(until.as_seconds()).await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bitcoind_keeps_the_ports_promises_for_hashlock_legs() {
    let Some(regtest) = Regtest::start(&[Class::Hashlock], &[PAYER]).await else { return };
    let outcomes = run_all(&regtest).await.unwrap();
    assert!(outcomes.len() >= 20, "{}", outcomes.len());
    assert_eq!(failures(&outcomes), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bitcoind_keeps_the_ports_promises_for_record_legs() {
    let Some(regtest) = Regtest::start(&[Class::Record], &[OPERATOR]).await else { return };
    let outcomes = run_all(&regtest).await.unwrap();
    assert!(outcomes.len() >= 16, "{}", outcomes.len());
    assert_eq!(failures(&outcomes), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bitcoind_keeps_them_for_both_through_a_proxy_that_delays_drops_and_doubles() {
    let both = &[Class::Hashlock, Class::Record];
    let Some(regtest) = Regtest::start(both, &[PAYER, OPERATOR]).await else { return };
    // A proof takes dozens of exchanges in a row, and begins again after one that fails.
    let faults = Faults { seed: 4, one_in: 64 };
    let regtest = regtest.behind(faults).await;
    let outcomes = run_all(&regtest).await.unwrap();
    assert!(outcomes.len() >= 26, "{}", outcomes.len());
    assert_eq!(failures(&outcomes), "", "{faults:?}");
    let suffered = regtest.proxy.as_ref().unwrap().suffered();
    assert!(suffered.iter().all(|count| *count > 0), "delayed, cut, unanswered, doubled: {suffered:?}");
}
