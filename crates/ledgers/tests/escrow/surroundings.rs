//! The double, D on the embedded chain, and a clock for both.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ed25519_dalek::SigningKey;
use sofie_ledgers::conformance::{Failure, Harness, Site};
use sofie_ledgers::escrow::{Config, Escrow, OpenError, profile};
use sofie_ledgers::evm::embedded::DEFAULT_BASE_FEE;
use sofie_ledgers::evm::{EmbeddedChain, EvmLedger, Genesis, embedded_profile};
use sofie_ledgers::{Clock, Ledger};
use sofie_model::{Attestation, Digest, SignedAttestation, Timestamp, custodian};
use url::Url;

use crate::double::{Books, Double, serve};
use crate::parties::{AMOUNT, Parties};

const CHAIN: u64 = 424_242;

/// A custodian that is being served, and D beside it.
pub(crate) struct Opened {
    pub(crate) url: Url,
    pub(crate) double: Arc<Double>,
    pub(crate) d: Arc<dyn Ledger>,
    site: Site,
    _folder: tempfile::TempDir,
}

pub(crate) struct Surroundings {
    now: Arc<AtomicU64>,
    parties: Parties,
    opened: Mutex<Option<Arc<Opened>>>,
}

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

pub(crate) fn public() -> Digest {
    Digest(key().verifying_key().to_bytes())
}

impl Surroundings {
    pub(crate) fn new() -> Self {
        let now = Arc::new(AtomicU64::new(1_800_000_000_000));
        Self { now, parties: Parties::new(), opened: Mutex::default() }
    }

    pub(crate) fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Arc::new(move || Timestamp::from_millis(now.load(Ordering::SeqCst)))
    }

    pub(crate) fn opened(&self) -> Arc<Opened> {
        self.opened.lock().unwrap().clone().expect("a ledger was opened")
    }

    /// Begins a custodian and a chain with nothing on them.
    pub(crate) async fn begin(&self) -> Arc<Opened> {
        let folder = tempfile::tempdir().unwrap();
        let balances = self.parties.balances();
        let genesis = Genesis { chain_id: CHAIN, base_fee: DEFAULT_BASE_FEE, balances: balances.clone() };
        let chain = EmbeddedChain::open(&folder.path().join("chain.db"), &genesis, self.clock()).unwrap();
        let (keyring, operator) = (self.parties.keyring.clone(), self.parties.operator);
        let profile = embedded_profile("evm".parse().unwrap());
        let d = EvmLedger::open(Arc::new(chain), profile, keyring, operator).await.unwrap();
        let escrow = custodian::account(&public());
        let site = Site { escrow, amount: AMOUNT, ..self.parties.site(&d) };
        let d: Arc<dyn Ledger> = Arc::new(d);
        let books = Mutex::new(Books::new(balances.into_iter().collect::<BTreeMap<_, _>>()));
        let (ledger, clock) = ("bank".parse().unwrap(), self.clock());
        let double = Arc::new(Double { ledger, key: key(), clock, d: Arc::clone(&d), books });
        let url = serve(Arc::clone(&double)).await;
        let opened = Arc::new(Opened { url, double, d, site, _folder: folder });
        *self.opened.lock().unwrap() = Some(Arc::clone(&opened));
        opened
    }

    pub(crate) async fn connect(&self, key: Digest) -> Result<Escrow, OpenError> {
        let opened = self.opened();
        let deciders = BTreeMap::from([("evm".parse().unwrap(), Arc::clone(&opened.d))]);
        let timeout = Duration::from_secs(20);
        let config = Config { url: opened.url.clone(), key, timeout };
        Escrow::open(config, profile("bank".parse().unwrap()), self.parties.keyring.clone(), deciders).await
    }
}

#[async_trait]
impl Harness for Surroundings {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        self.begin().await;
        let ledger = self.connect(public()).await.map_err(|error| Failure::Harness(error.to_string()))?;
        Ok(Arc::new(ledger))
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        let ledger = self.connect(public()).await.map_err(|error| Failure::Harness(error.to_string()))?;
        Ok(Arc::new(ledger))
    }

    fn site(&self) -> Site {
        self.opened().site.clone()
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        Parties::attest(attestation)
    }

    fn decider(&self) -> Option<Arc<dyn Ledger>> {
        Some(Arc::clone(&self.opened().d))
    }

    async fn step(&self) -> Result<(), Failure> {
        self.now.fetch_add(1_000, Ordering::SeqCst);
        Ok(())
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        self.now.fetch_max(until.as_millis(), Ordering::SeqCst);
        Ok(())
    }
}
