//! On a real Ethereum node: anvil.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use sofie_ledgers::conformance::{Failure, Harness, MAX_POLLS, Site, failures, run_all};
use sofie_ledgers::evm::{EvmLedger, OpenLedgerError, RpcChain, RpcConfig, rpc_profile};
use sofie_ledgers::{Ledger, Status};
use sofie_model::{Attestation, Finality, SignedAttestation, Span, Timestamp, contract};
use url::Url;

use crate::parties::Parties;
use crate::scenario;

pub(crate) const CHAIN: u64 = sofie_peers::Anvil::CHAIN;

pub(crate) struct Anvil {
    node: sofie_peers::Anvil,
    pub(crate) url: Url,
}

impl Anvil {
    /// One that makes a block a second.
    pub(crate) fn start() -> Option<Self> {
        let node = sofie_peers::Anvil::start()?;
        Some(Self { url: node.url.parse().unwrap(), node })
    }

    pub(crate) async fn ask(&self, method: &'static str, params: Value) -> Result<Value, Failure> {
        self.node.asked(method, params).await.map_err(Failure::Harness)
    }

    pub(crate) async fn fund(&self, parties: &Parties) -> Result<(), Failure> {
        for (account, balance) in parties.balances() {
            self.ask("anvil_setBalance", json!([account.to_string(), format!("0x{balance:x}")])).await?;
        }
        Ok(())
    }

    pub(crate) async fn chain(&self) -> Arc<RpcChain> {
        let config =
            RpcConfig { url: self.url.clone(), chain_id: CHAIN, timeout: Duration::from_secs(20), since: 0 };
        Arc::new(RpcChain::open(config).await.unwrap())
    }

    pub(crate) async fn ledger(
        &self,
        parties: &Parties,
        finality: Finality,
    ) -> Result<EvmLedger, OpenLedgerError> {
        let profile = rpc_profile("anvil".parse().unwrap(), finality, Span::from_seconds(1));
        EvmLedger::open(self.chain().await, profile, parties.keyring.clone(), parties.operator).await
    }
}

/// The suite's blocks come when it steps, and once a second besides: waiting for all of them would take minutes.
pub(crate) struct Behind {
    anvil: Anvil,
    pub(crate) parties: Parties,
    finality: Finality,
    site: Mutex<Option<Site>>,
}

impl Behind {
    pub(crate) fn start(finality: Finality) -> Option<Self> {
        let anvil = Anvil::start()?;
        Some(Self { anvil, parties: Parties::new(), finality, site: Mutex::default() })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.anvil.url
    }
}

#[async_trait]
impl Harness for Behind {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        self.anvil.fund(&self.parties).await?;
        let ledger = self.anvil.ledger(&self.parties, self.finality).await;
        let ledger = ledger.map_err(|error| Failure::Harness(error.to_string()))?;
        *self.site.lock().unwrap() = Some(self.parties.site(&ledger));
        Ok(Arc::new(ledger))
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        let ledger = self.anvil.ledger(&self.parties, self.finality).await;
        Ok(Arc::new(ledger.map_err(|error| Failure::Harness(error.to_string()))?))
    }

    fn site(&self) -> Site {
        self.site.lock().unwrap().clone().expect("a ledger was opened")
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        Parties::attest(attestation)
    }

    async fn step(&self) -> Result<(), Failure> {
        self.anvil.ask("evm_mine", json!([])).await.map(drop)
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        let head = self.anvil.ask("eth_getBlockByNumber", json!(["latest", false])).await?;
        let now =
            head["timestamp"].as_str().and_then(|text| u64::from_str_radix(&text[2..], 16).ok()).unwrap();
        if until.as_seconds() > now {
            self.anvil.ask("evm_increaseTime", json!([until.as_seconds() - now])).await?;
        }
        self.step().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anvil_keeps_the_ports_promises_at_depth_one() {
    let Some(behind) = Behind::start(Finality::Depth(1)) else { return };
    let outcomes = run_all(&behind).await.unwrap();
    assert!(outcomes.len() >= 20, "{}", outcomes.len());
    assert_eq!(failures(&outcomes), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_settles_by_anvils_own_blocks_and_its_finalized_tag() {
    let Some(anvil) = Anvil::start() else { return };
    let parties = Parties::new();
    anvil.fund(&parties).await.unwrap();
    let ledger = anvil.ledger(&parties, Finality::Tag).await.unwrap();
    let scenario = scenario::Scenario::new(&ledger, &parties, 1).await;
    for operation in [scenario.prepare(), scenario.commit(), scenario.apply()] {
        scenario::carry_out(&ledger, &operation, || async {}).await;
    }
    let decided = scenario::carry_out(&ledger, &scenario.commit(), || async {}).await;
    let settled = scenario::carry_out(&ledger, &scenario.settle(decided.at), || async {}).await;
    let proof = ledger.prove(&scenario.manifest, &[decided, settled]).await.unwrap();
    assert_eq!(proof.verify(&"anvil".parse().unwrap(), &scenario.manifest).unwrap().evidence.len(), 2);
}

/// One block is an epoch here: the node calls the head's parent safe, and finalises one more behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_is_final_at_the_safe_tag_before_it_is_at_the_finalized_one() {
    let Some(anvil) = Anvil::start() else { return };
    let parties = Parties::new();
    anvil.fund(&parties).await.unwrap();
    let safe = anvil.ledger(&parties, Finality::Safe).await.unwrap();
    let finalized = anvil.ledger(&parties, Finality::Tag).await.unwrap();
    anvil.ask("evm_setIntervalMining", json!([0])).await.unwrap();
    let prepare = scenario::Scenario::new(&safe, &parties, 1).await.prepare();
    let intent = safe.intend(&prepare).await.unwrap();
    safe.submit(&intent).await.unwrap();
    let mut finals = Vec::new();
    for _ in 0..3 {
        anvil.ask("evm_mine", json!([])).await.unwrap();
        let is_final = |status| matches!(status, Status::Final(_));
        finals.push((
            is_final(safe.status(&prepare, None).await.unwrap()),
            is_final(finalized.status(&prepare, None).await.unwrap()),
        ));
    }
    assert_eq!(finals, [(false, false), (true, false), (true, true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_without_the_proxy_is_named() {
    let Some(anvil) = Anvil::start() else { return };
    let parties = Parties::new();
    anvil.fund(&parties).await.unwrap();
    anvil.ask("anvil_setCode", json!([contract::DEPLOYER.to_string(), "0x"])).await.unwrap();
    let error = anvil.ledger(&parties, Finality::Instant).await.err().expect("must be refused");
    assert!(matches!(error, OpenLedgerError::NoProxy { chain_id: CHAIN, .. }), "{error}");
}

/// The transaction of a later nonce waits in the node until the earlier one comes; what a reorganisation drops is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganisation_takes_a_shallow_fact_back() {
    let Some(anvil) = Anvil::start() else { return };
    let parties = Parties::new();
    anvil.fund(&parties).await.unwrap();
    let ledger = anvil.ledger(&parties, Finality::Depth(5)).await.unwrap();
    anvil.ask("evm_setIntervalMining", json!([0])).await.unwrap();
    let scenario = scenario::Scenario::new(&ledger, &parties, 1).await;
    let prepare = scenario.prepare();
    let intent = ledger.intend(&prepare).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    anvil.ask("evm_mine", json!([])).await.unwrap();
    assert_eq!(ledger.status(&prepare, Some(&intent)).await, Ok(Status::Pending));
    anvil.ask("anvil_reorg", json!([1, []])).await.unwrap();
    assert_eq!(
        ledger.status(&prepare, Some(&intent)).await,
        Ok(Status::Absent),
        "another block stands there"
    );
    // The same intent again, and it stands.
    ledger.submit(&intent).await.unwrap();
    let mine = || async { drop(anvil.ask("evm_mine", json!([])).await.unwrap()) };
    for _ in 0..MAX_POLLS {
        mine().await;
        if let Status::Final(evidence) = ledger.status(&prepare, Some(&intent)).await.unwrap() {
            assert!(ledger.prove(&scenario.manifest, &[evidence]).await.is_ok());
            return;
        }
    }
    panic!("the prepare never became final again");
}
