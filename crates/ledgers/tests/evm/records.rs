//! Batches of records: under the conformance suite on both chains, through crashes between their steps, and through a
//! reorganisation.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;
use async_trait::async_trait;
use serde_json::json;
use sofie_ledgers::conformance::{Failure, Harness, MAX_POLLS, Site, failures, run_all};
use sofie_ledgers::evm::chain::{Call, Chain};
use sofie_ledgers::evm::{
    EmbeddedChain, EvmLedger, EvmRecords, RecordsConfig, RecordsOpenError, embedded_profile, records_profile,
};
use sofie_ledgers::{Clock, Ledger, LedgerError, Status};
use sofie_model::contract::{self, NOTARY, Notary};
use sofie_model::proof::batch::MAX_COUNT;
use sofie_model::{
    Attestation, Digest, Evidence, Finality, Manifest, Operation, Proof, SignedAttestation, Span, Timestamp,
};

use crate::anvil::Anvil;
use crate::embedded::{Hand, genesis};
use crate::nonces::Moody;
use crate::parties::Parties;
use crate::scenario::Scenario;

/// How long a batch that is not full waits.
const INTERVAL: Span = Span::from_seconds(1);
/// In wei.
const FEE_LIMIT: u128 = 1_000_000_000_000_000_000;

pub(crate) fn config(path: PathBuf, interval: Span, most: u32) -> RecordsConfig {
    RecordsConfig { path, interval, most, fee_limit: FEE_LIMIT }
}

pub(crate) async fn beside(evm: Arc<EvmLedger>, config: RecordsConfig, clock: Clock) -> Arc<EvmRecords> {
    let profile = records_profile("records".parse().unwrap(), evm.profile(), config.interval);
    Arc::new(EvmRecords::open(config, profile, evm, clock).await.unwrap())
}

/// How many records the contract has counted, of whomever.
pub(crate) async fn total(chain: &dyn Chain) -> u64 {
    let (from, to) = (Address::ZERO, contract::address(NOTARY));
    let data = Notary::totalCall {}.abi_encode().into();
    let call = Call { from, to, value: U256::ZERO, data, gas: 100_000, max_fee: 0 };
    Notary::totalCall::abi_decode_returns(&chain.call(&call).await.unwrap()).unwrap()
}

pub(crate) fn note(number: u64) -> Operation {
    Operation::Note { topic: Digest::ZERO, commitment: Digest::sha256(&number.to_be_bytes()) }
}

async fn append(records: &EvmRecords, numbers: impl Iterator<Item = u64>) {
    for number in numbers {
        let intent = records.intend(&note(number)).await.unwrap();
        records.submit(&intent).await.unwrap();
    }
}

async fn stands(records: &EvmRecords, number: u64) -> Evidence {
    match records.status(&note(number), None).await.unwrap() {
        Status::Final(evidence) => evidence,
        other => panic!("note {number}: {other:?}"),
    }
}

async fn any_manifest(evm: &EvmLedger, parties: &Parties) -> Arc<Manifest> {
    Scenario::new(evm, parties, 1).await.manifest
}

enum Ground {
    Embedded,
    Anvil(Anvil),
}

/// The suite's surroundings: batches go when it steps.
struct Batched {
    ground: Ground,
    folder: tempfile::TempDir,
    hand: Hand,
    parties: Parties,
    opened: AtomicU32,
    current: Mutex<(Weak<EvmRecords>, Option<Site>)>,
}

impl Batched {
    fn on(ground: Ground) -> Self {
        let (folder, hand, parties) = (tempfile::tempdir().unwrap(), Hand::new(), Parties::new());
        Self { ground, folder, hand, parties, opened: AtomicU32::new(0), current: Mutex::default() }
    }

    fn path(&self, what: &str) -> PathBuf {
        self.folder.path().join(format!("{}-{what}", self.opened.load(Ordering::SeqCst)))
    }

    async fn ledger(&self) -> Result<Arc<dyn Ledger>, Failure> {
        let harness = |error: &dyn std::fmt::Display| Failure::Harness(error.to_string());
        let evm = match &self.ground {
            Ground::Embedded => {
                let chain =
                    EmbeddedChain::open(&self.path("chain"), &genesis(&self.parties), self.hand.clock());
                let (keyring, operator) = (self.parties.keyring.clone(), self.parties.operator);
                let profile = embedded_profile("evm".parse().unwrap());
                EvmLedger::open(Arc::new(chain.map_err(|e| harness(&e))?), profile, keyring, operator).await
            }
            Ground::Anvil(anvil) => anvil.ledger(&self.parties, Finality::Depth(1)).await,
        };
        let evm = evm.map_err(|e| harness(&e))?;
        let site = self.parties.site(&evm);
        let config = config(self.path("batches"), INTERVAL, MAX_COUNT);
        let records = beside(Arc::new(evm), config, self.hand.clock()).await;
        *self.current.lock().unwrap() = (Arc::downgrade(&records), Some(site));
        Ok(records)
    }
}

#[async_trait]
impl Harness for Batched {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        if let Ground::Anvil(anvil) = &self.ground {
            anvil.fund(&self.parties).await?;
        }
        self.ledger().await
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        self.ledger().await
    }

    fn site(&self) -> Site {
        self.current.lock().unwrap().1.clone().expect("a ledger was opened")
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        Parties::attest(attestation)
    }

    async fn step(&self) -> Result<(), Failure> {
        self.hand.advance(INTERVAL.as_millis());
        if let Ground::Anvil(anvil) = &self.ground {
            anvil.ask("evm_mine", json!([])).await?;
        }
        let records = self.current.lock().unwrap().0.upgrade();
        let records = records.ok_or_else(|| Failure::Harness("no ledger is open".into()))?;
        records.drive().await.map_err(|error| Failure::Harness(error.to_string()))
    }

    async fn pass(&self, _: Timestamp) -> Result<(), Failure> {
        self.step().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_on_the_embedded_chain_keep_the_ports_promises() {
    let outcomes = run_all(&Batched::on(Ground::Embedded)).await.unwrap();
    assert!(outcomes.len() >= 16, "{}", outcomes.len());
    assert_eq!(failures(&outcomes), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_on_anvil_keep_the_ports_promises_at_depth_one() {
    let Some(anvil) = Anvil::start() else { return };
    let outcomes = run_all(&Batched::on(Ground::Anvil(anvil))).await.unwrap();
    assert!(outcomes.len() >= 16, "{}", outcomes.len());
    assert_eq!(failures(&outcomes), "");
}

/// One chain, and the ledgers of one process after another.
struct Setting {
    folder: tempfile::TempDir,
    chain: Arc<Moody>,
    hand: Hand,
    parties: Parties,
}

impl Setting {
    fn new() -> Self {
        let (folder, hand, parties) = (tempfile::tempdir().unwrap(), Hand::new(), Parties::new());
        let chain = EmbeddedChain::open(&folder.path().join("chain"), &genesis(&parties), hand.clock());
        Self { folder, chain: Arc::new(Moody::new(chain.unwrap())), hand, parties }
    }

    async fn evm(&self) -> Arc<EvmLedger> {
        let (keyring, operator) = (self.parties.keyring.clone(), self.parties.operator);
        let (chain, profile) =
            (Arc::clone(&self.chain) as Arc<dyn Chain>, embedded_profile("evm".parse().unwrap()));
        Arc::new(EvmLedger::open(chain, profile, keyring, operator).await.unwrap())
    }

    async fn records(&self, most: u32) -> (Arc<EvmLedger>, Arc<EvmRecords>) {
        let evm = self.evm().await;
        let config = config(self.folder.path().join("batches"), INTERVAL, most);
        (Arc::clone(&evm), beside(evm, config, self.hand.clock()).await)
    }

    /// A ledger whose contract stands, with a first batch of one record behind it.
    async fn begun(&self) -> (Arc<EvmLedger>, Arc<EvmRecords>) {
        let (evm, records) = self.records(MAX_COUNT).await;
        append(&records, 0..1).await;
        self.hand.advance(INTERVAL.as_millis());
        records.drive().await.unwrap();
        stands(&records, 0).await;
        self.chain.brought.lock().unwrap().clear();
        (evm, records)
    }

    fn brought(&self) -> usize {
        self.chain.brought.lock().unwrap().len()
    }
}

#[tokio::test]
async fn a_batch_that_was_signed_and_never_sent_goes_by_the_very_same_transaction() {
    let setting = Setting::new();
    let (evm, records) = setting.begun().await;
    append(&records, 1..4).await;
    setting.hand.advance(INTERVAL.as_millis());
    setting.chain.is_away.store(true, Ordering::SeqCst);
    assert!(matches!(records.drive().await, Err(LedgerError::Transient { .. })));
    let status = records.status(&note(1), None).await;
    assert!(
        matches!(&status, Err(LedgerError::Transient { reason, .. }) if reason.contains("fishing")),
        "{status:?}"
    );
    drop((evm, records));
    setting.chain.is_away.store(false, Ordering::SeqCst);
    let (evm, records) = setting.records(MAX_COUNT).await;
    // What is intended in the meantime takes another nonce.
    let commit = Scenario::new(&evm, &setting.parties, 1).await.commit();
    let other = evm.intend(&commit).await.unwrap();
    records.drive().await.unwrap();
    for number in 1..4 {
        assert_eq!(stands(&records, number).await.position.index, number);
    }
    evm.submit(&other).await.unwrap();
    assert!(matches!(evm.status(&commit, Some(&other)).await, Ok(Status::Final(_))));
    let brought = setting.chain.brought.lock().unwrap().clone();
    assert_eq!((brought.len(), &brought[0]), (3, &brought[1]));
    assert_eq!(total(&*setting.chain).await, 4);
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_found_by_its_root_and_not_sent_again() {
    let setting = Setting::new();
    let (evm, records) = setting.begun().await;
    append(&records, 1..4).await;
    setting.hand.advance(INTERVAL.as_millis());
    setting.chain.drops_answer.store(true, Ordering::SeqCst);
    assert!(matches!(records.drive().await, Err(LedgerError::Transient { .. })));
    drop((evm, records));
    let (_evm, records) = setting.records(MAX_COUNT).await;
    assert_eq!(records.status(&note(3), None).await, Ok(Status::Absent), "it was not looked for yet");
    records.drive().await.unwrap();
    assert_eq!(stands(&records, 3).await.position.index, 3);
    assert_eq!((setting.brought(), total(&*setting.chain).await), (1, 4));
}

#[tokio::test]
async fn a_refused_transaction_is_signed_anew_and_doubles_nothing() {
    let setting = Setting::new();
    let (_evm, records) = setting.begun().await;
    append(&records, 1..3).await;
    setting.hand.advance(INTERVAL.as_millis());
    setting.chain.refuses.store(true, Ordering::SeqCst);
    assert!(matches!(records.drive().await, Err(LedgerError::Refused { .. })));
    records.drive().await.unwrap();
    stands(&records, 2).await;
    assert_eq!((setting.brought(), total(&*setting.chain).await), (2, 3));
}

#[tokio::test]
async fn a_batch_whose_nonce_another_transaction_took_is_signed_anew() {
    let setting = Setting::new();
    let (evm, records) = setting.begun().await;
    append(&records, 1..3).await;
    setting.hand.advance(INTERVAL.as_millis());
    setting.chain.is_away.store(true, Ordering::SeqCst);
    assert!(records.drive().await.is_err());
    setting.chain.is_away.store(false, Ordering::SeqCst);
    // Another node with the same operator's key, which knows nothing of the batch.
    let stranger = setting.evm().await;
    let commit = Scenario::new(&evm, &setting.parties, 1).await.commit();
    stranger.submit(&stranger.intend(&commit).await.unwrap()).await.unwrap();
    records.drive().await.unwrap();
    stands(&records, 2).await;
    assert_eq!(total(&*setting.chain).await, 3);
}

#[tokio::test]
async fn full_batches_go_at_once_and_the_rest_after_its_interval() {
    let setting = Setting::new();
    let (evm, records) = setting.records(8).await;
    append(&records, 0..20).await;
    records.drive().await.unwrap();
    for number in 0..16 {
        let position = stands(&records, number).await.position;
        assert_eq!(position.index, number);
    }
    assert_eq!(records.status(&note(16), None).await, Ok(Status::Absent));
    setting.hand.advance(INTERVAL.as_millis() - 1);
    records.drive().await.unwrap();
    assert_eq!(records.status(&note(16), None).await, Ok(Status::Absent));
    setting.hand.advance(1);
    records.drive().await.unwrap();
    let manifest = any_manifest(&evm, &setting.parties).await;
    let mut facts = Vec::new();
    for number in 0..20 {
        facts.push(stands(&records, number).await);
    }
    let proof = records.prove(&manifest, &facts).await.unwrap();
    let Proof::Batch(proven) = &proof else { panic!("{proof:?}") };
    assert_eq!(proven.records.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 4]);
    assert_eq!(proof.verify(&"records".parse().unwrap(), &manifest).unwrap().evidence, facts);
}

#[tokio::test]
async fn a_file_of_another_chains_batches_is_refused() {
    let (setting, other) = (Setting::new(), Setting::new());
    drop(setting.begun().await);
    let path = setting.folder.path().join("batches");
    let mut genesis = genesis(&other.parties);
    genesis.chain_id += 1;
    let chain = EmbeddedChain::open(&other.folder.path().join("other"), &genesis, other.hand.clock());
    let (keyring, operator) = (other.parties.keyring.clone(), other.parties.operator);
    let profile = embedded_profile("evm".parse().unwrap());
    let evm = EvmLedger::open(Arc::new(chain.unwrap()), profile.clone(), keyring, operator).await.unwrap();
    let profile = records_profile("records".parse().unwrap(), &profile, INTERVAL);
    let config = config(path, INTERVAL, MAX_COUNT);
    let error = EvmRecords::open(config, profile, Arc::new(evm), other.hand.clock()).await.err().unwrap();
    assert!(matches!(error, RecordsOpenError::OtherChain { .. }), "{error}");
}

/// Nobody drives it by hand here: it sends by itself, and a full batch does not wait for the next poll.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_started_ledger_sends_by_itself_and_ends_with_its_last_owner() {
    let setting = Setting::new();
    let evm = setting.evm().await;
    let config = config(setting.folder.path().join("batches"), Span::ZERO, 4);
    let long = Span::from_seconds(3_600);
    let profile = sofie_ledgers::Profile {
        poll: long,
        ..records_profile("records".parse().unwrap(), evm.profile(), long)
    };
    let clock = setting.hand.clock();
    let records = EvmRecords::open(config.clone(), profile, Arc::clone(&evm), Arc::clone(&clock)).await;
    let records = Arc::new(records.unwrap());
    records.start();
    append(&records, 0..4).await;
    while !matches!(records.status(&note(3), None).await, Ok(Status::Final(_))) {
        tokio::task::yield_now().await;
    }
    let weak = Arc::downgrade(&records);
    drop(records);
    while weak.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
    stands(&*beside(evm, config, clock).await, 3).await;
}

/// The batch of a reorganised block is brought again, and every record is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reorganised_batch_is_sent_again() {
    let Some(anvil) = Anvil::start() else { return };
    let (parties, hand) = (Parties::new(), Hand::new());
    anvil.fund(&parties).await.unwrap();
    let evm = Arc::new(anvil.ledger(&parties, Finality::Depth(5)).await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path().join("batches"), Span::ZERO, MAX_COUNT);
    let records = beside(Arc::clone(&evm), config.clone(), hand.clock()).await;
    let mine = || async { drop(anvil.ask("evm_mine", json!([])).await.unwrap()) };
    // The contract first, deep enough to stay.
    append(&records, 0..1).await;
    for _ in 0..MAX_POLLS {
        records.drive().await.unwrap();
        mine().await;
        if matches!(records.status(&note(0), None).await, Ok(Status::Final(_))) {
            break;
        }
    }
    stands(&records, 0).await;
    anvil.ask("evm_setIntervalMining", json!([0])).await.unwrap();
    append(&records, 1..4).await;
    records.drive().await.unwrap();
    mine().await;
    records.drive().await.unwrap();
    assert_eq!(records.status(&note(1), None).await, Ok(Status::Pending));
    anvil.ask("anvil_reorg", json!([1, []])).await.unwrap();
    // A node that starts now knows only what it had synced.
    drop(records);
    let records = beside(Arc::clone(&evm), config, hand.clock()).await;
    for _ in 0..MAX_POLLS {
        records.drive().await.unwrap();
        mine().await;
        if matches!(records.status(&note(1), None).await, Ok(Status::Final(_))) {
            break;
        }
    }
    let facts = [stands(&records, 1).await, stands(&records, 2).await, stands(&records, 3).await];
    let manifest = any_manifest(&evm, &parties).await;
    assert!(records.prove(&manifest, &facts).await.is_ok());
    assert_eq!(total(&*anvil.chain().await).await, 4);
}
