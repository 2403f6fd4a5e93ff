//! On the embedded chain.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sofie_ledgers::conformance::{Failure, Harness, Site, failures, run_all};
use sofie_ledgers::evm::embedded::DEFAULT_BASE_FEE;
use sofie_ledgers::evm::{EmbeddedChain, EvmLedger, Genesis, embedded_profile};
use sofie_ledgers::{Clock, Ledger, Profile, Status};
use sofie_model::{Attestation, Finality, SignedAttestation, Timestamp};

use crate::parties::Parties;
use crate::scenario::Scenario;

const CHAIN: u64 = 424_242;

/// A clock that the test moves.
#[derive(Clone)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_800_000_000_000)))
    }

    pub(crate) fn clock(&self) -> Clock {
        let hand = Arc::clone(&self.0);
        Arc::new(move || Timestamp::from_millis(hand.load(Ordering::SeqCst)))
    }

    pub(crate) fn advance(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    fn reach(&self, until: Timestamp) {
        self.0.fetch_max(until.as_millis(), Ordering::SeqCst);
    }
}

pub(crate) fn genesis(parties: &Parties) -> Genesis {
    Genesis { chain_id: CHAIN, base_fee: DEFAULT_BASE_FEE, balances: parties.balances() }
}

struct Embedded {
    folder: tempfile::TempDir,
    hand: Hand,
    parties: Parties,
    finality: Finality,
    opened: Mutex<(u32, Option<Site>)>,
}

impl Embedded {
    fn new(finality: Finality) -> Self {
        let (hand, parties) = (Hand::new(), Parties::new());
        let folder = tempfile::tempdir().unwrap();
        Self { folder, hand, parties, finality, opened: Mutex::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(format!("chain-{}.db", self.opened.lock().unwrap().0))
    }

    async fn ledger(&self) -> Result<Arc<dyn Ledger>, Failure> {
        let harness = |error: &dyn std::fmt::Display| Failure::Harness(error.to_string());
        let chain = EmbeddedChain::open(&self.path(), &genesis(&self.parties), self.hand.clock());
        let chain = Arc::new(chain.map_err(|e| harness(&e))?);
        let profile = Profile { finality: self.finality, ..embedded_profile("evm".parse().unwrap()) };
        let (keyring, operator) = (self.parties.keyring.clone(), self.parties.operator);
        let ledger = EvmLedger::open(chain, profile, keyring, operator).await.map_err(|e| harness(&e))?;
        self.opened.lock().unwrap().1 = Some(self.parties.site(&ledger));
        Ok(Arc::new(ledger))
    }
}

#[async_trait]
impl Harness for Embedded {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        self.opened.lock().unwrap().0 += 1;
        self.ledger().await
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        self.ledger().await
    }

    fn site(&self) -> Site {
        self.opened.lock().unwrap().1.clone().expect("a ledger was opened")
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        Parties::attest(attestation)
    }

    async fn step(&self) -> Result<(), Failure> {
        self.hand.advance(1_000);
        Ok(())
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        self.hand.reach(until);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_chain_keeps_the_ports_promises() {
    let outcomes = run_all(&Embedded::new(Finality::Instant)).await.unwrap();
    assert!(outcomes.len() >= 20, "{}", outcomes.len());
    assert_eq!(failures(&outcomes), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_is_final_only_under_as_many_blocks_as_the_profile_says() {
    let embedded = Embedded::new(Finality::Depth(2));
    let chain = EmbeddedChain::open(&embedded.path(), &genesis(&embedded.parties), embedded.hand.clock());
    let profile = Profile { finality: Finality::Depth(2), ..embedded_profile("evm".parse().unwrap()) };
    let (keyring, operator) = (embedded.parties.keyring.clone(), embedded.parties.operator);
    let ledger = EvmLedger::open(Arc::new(chain.unwrap()), profile, keyring, operator).await.unwrap();
    let mut prepares = Vec::new();
    for nonce in 0..4 {
        let prepare = Scenario::new(&ledger, &embedded.parties, nonce).await.prepare();
        let intent = ledger.intend(&prepare).await.unwrap();
        ledger.submit(&intent).await.unwrap();
        prepares.push((prepare, intent));
    }
    let mut finals = Vec::new();
    for (prepare, intent) in &prepares {
        finals.push(match ledger.status(prepare, Some(intent)).await.unwrap() {
            Status::Final(_) => true,
            Status::Pending => false,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(finals, [true, true, false, false]);
}
