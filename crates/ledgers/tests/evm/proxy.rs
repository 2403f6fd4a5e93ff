//! The conformance suite through a proxy that delays, cuts, drops answers after delivery, and delivers twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sofie_ledgers::Ledger;
use sofie_ledgers::conformance::{Failure, Harness, MAX_TRIES, Patient, Site, failures, run_all};
use sofie_ledgers::evm::{EvmLedger, RpcChain, RpcConfig, rpc_profile};
use sofie_model::{Attestation, Finality, SignedAttestation, Span, Timestamp};
use sofie_peers::{Faults, Proxy};

use crate::anvil::{Behind, CHAIN};

/// The suite's node, seen through the proxy; the suite's own clock and blocks go past it.
struct Through {
    behind: Behind,
    proxy: Proxy,
}

impl Through {
    async fn ledger(&self) -> Result<Arc<dyn Ledger>, Failure> {
        let mut last = String::new();
        for _ in 0..MAX_TRIES {
            match self.open_once().await {
                Ok(ledger) => return Ok(Arc::new(Patient(ledger))),
                Err(why) => last = why,
            }
        }
        Err(Failure::Harness(last))
    }

    async fn open_once(&self) -> Result<EvmLedger, String> {
        let config = RpcConfig {
            url: format!("http://{}", self.proxy.at).parse().unwrap(),
            chain_id: CHAIN,
            timeout: Duration::from_secs(20),
            since: 0,
        };
        let chain = RpcChain::open(config).await.map_err(|error| error.to_string())?;
        let profile = rpc_profile("anvil".parse().unwrap(), Finality::Depth(1), Span::from_seconds(1));
        let parties = &self.behind.parties;
        EvmLedger::open(Arc::new(chain), profile, parties.keyring.clone(), parties.operator)
            .await
            .map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Harness for Through {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        // Funds the parties, and deploys the contracts at the first time.
        drop(self.behind.open().await?);
        self.ledger().await
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        self.ledger().await
    }

    fn site(&self) -> Site {
        self.behind.site()
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        self.behind.attest(attestation)
    }

    async fn step(&self) -> Result<(), Failure> {
        self.behind.step().await
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        self.behind.pass(until).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_is_kept_through_a_proxy_that_delays_drops_and_doubles() {
    let Some(behind) = Behind::start(Finality::Depth(1)) else { return };
    let faults = Faults { seed: 4, one_in: 16 };
    let proxy = Proxy::start(behind.url().port().unwrap(), faults).await;
    let through = Through { behind, proxy };
    let outcomes = run_all(&through).await.unwrap();
    assert!(outcomes.len() >= 20, "{}", outcomes.len());
    assert_eq!(failures(&outcomes), "", "{faults:?}");
    let suffered = through.proxy.suffered();
    assert!(suffered.iter().all(|count| *count > 0), "delayed, cut, unanswered, doubled: {suffered:?}");
}
