//! The conformance suite of the ledgers over the real custodian, with D on a real Ethereum node: anvil.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use sofie_ledgers::Ledger;
use sofie_ledgers::conformance::{Failure, Harness, Site, failures, run_all};
use sofie_ledgers::evm::{EvmLedger, RpcChain, RpcConfig, rpc_profile};
use sofie_model::{Attestation, Finality, SignedAttestation, Span, Timestamp, custodian};
use sofie_peers::Anvil;
use tokio_postgres::Client;

use crate::cluster::Cluster;
use crate::parties::{AMOUNT, Parties};
use crate::process::{Custodian, endow, key, sum};

struct Real {
    anvil: Anvil,
    d: Arc<EvmLedger>,
    sql: Client,
    parties: Parties,
    custodian: Custodian,
    _cluster: Cluster,
}

impl Real {
    async fn start() -> Option<Self> {
        let (anvil, cluster, parties) = (Anvil::start()?, Cluster::start()?, Parties::new());
        for (account, balance) in parties.balances() {
            anvil.ask("anvil_setBalance", json!([account.to_string(), format!("0x{balance:x}")])).await;
        }
        let url = anvil.url.parse().unwrap();
        let config = RpcConfig { url, chain_id: Anvil::CHAIN, timeout: Duration::from_secs(20), since: 0 };
        let chain = RpcChain::open(config).await.unwrap();
        let profile = rpc_profile("anvil".parse().unwrap(), Finality::Depth(1), Span::from_seconds(1));
        let d = EvmLedger::open(Arc::new(chain), profile, parties.keyring.clone(), parties.operator).await;
        let d = Arc::new(d.unwrap());
        let decides = format!(
            "[[chain]]\nledger = \"anvil\"\nurl = \"{}\"\nchain_id = {}\ncontract = \"{}\"\nconfirmations = 1\n",
            anvil.url,
            Anvil::CHAIN,
            d.decision_address()
        );
        let custodian = Custodian::start(&cluster, &decides);
        let sql = cluster.connect().await;
        endow(&sql, parties.payer, AMOUNT * 10_000).await;
        endow(&sql, parties.payee, 0).await;
        Some(Self { anvil, d, sql, parties, custodian, _cluster: cluster })
    }

    fn d(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.d) as _
    }
}

#[async_trait]
impl Harness for Real {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        let deciders = BTreeMap::from([("anvil".parse().unwrap(), self.d())]);
        Ok(Arc::new(self.custodian.ledger(deciders).await))
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        self.open().await
    }

    fn site(&self) -> Site {
        Site { escrow: custodian::account(&key()), ..self.parties.site(&self.d) }
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        Parties::attest(attestation)
    }

    fn decider(&self) -> Option<Arc<dyn Ledger>> {
        Some(self.d())
    }

    async fn step(&self) -> Result<(), Failure> {
        self.anvil.ask("evm_mine", json!([])).await;
        Ok(())
    }

    /// The custodian's clock never goes back behind its book: a line of SQL moves it.
    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        let update = "update book set at = greatest(at, $1)";
        self.sql.execute(update, &[&(until.as_millis() as i64)]).await.unwrap();
        let now = self.d.head().await.unwrap().time;
        if until > now {
            self.anvil.ask("evm_increaseTime", json!([until.since(now).as_seconds() + 1])).await;
        }
        self.step().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_custodian_over_postgresql_keeps_the_ports_promises() {
    let Some(real) = Real::start().await else { return };
    let before = sum(&real.sql).await;
    let outcomes = run_all(&real).await.unwrap();
    assert_eq!(failures(&outcomes), "");
    assert!(outcomes.len() >= 21, "{}", outcomes.len());
    assert_eq!(sum(&real.sql).await, before, "no unit was made or lost");
}
