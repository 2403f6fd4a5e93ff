//! The conformance suite on a real bitcoind: its hashlock legs, and its record legs.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use sofie_ledgers::Ledger;
use sofie_ledgers::bitcoin::BitcoinLedger;
use sofie_ledgers::conformance::{Failure, Harness, Site, failures, run_all};
use sofie_model::{Account, Attestation, Class, PublicKey, SignedAttestation, Timestamp};

use crate::node::Bitcoind;
use crate::parties::{ALL, CLAIMANT, OPERATOR, PAYER, Party, endow, open_since, profile};
use crate::swap::{AMOUNT, FEE_LIMIT};

/// As many coins as intents that are in flight at once, and some for the cases before.
const COINS: u32 = 80;

struct Regtest {
    node: Bitcoind,
    class: Class,
    /// The cases begin here: what is older is asked of the node.
    since: u64,
}

impl Regtest {
    async fn start(class: Class, rich: Party) -> Option<Self> {
        let node = Bitcoind::start().await?;
        endow(&node, &[rich], COINS).await;
        let since = node.ask("getblockcount", json!([])).await.as_u64().unwrap();
        Some(Self { node, class, since })
    }

    async fn of(&self, parties: &[Party]) -> Result<BitcoinLedger, Failure> {
        let ledger = open_since(&self.node, parties, profile(&[self.class]), self.since).await;
        ledger.map_err(|error| Failure::Harness(error.to_string()))
    }
}

#[async_trait]
impl Harness for Regtest {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        Ok(Arc::new(self.of(&ALL).await?))
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        self.open().await
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
        Ok(Some(Arc::new(self.of(&[OPERATOR]).await?)))
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
    let Some(regtest) = Regtest::start(Class::Hashlock, PAYER).await else { return };
    let outcomes = run_all(&regtest).await.unwrap();
    assert!(outcomes.len() >= 20, "{}", outcomes.len());
    assert_eq!(failures(&outcomes), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bitcoind_keeps_the_ports_promises_for_record_legs() {
    let Some(regtest) = Regtest::start(Class::Record, OPERATOR).await else { return };
    let outcomes = run_all(&regtest).await.unwrap();
    assert!(outcomes.len() >= 16, "{}", outcomes.len());
    assert_eq!(failures(&outcomes), "");
}
