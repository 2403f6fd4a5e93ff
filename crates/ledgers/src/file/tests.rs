//! The record file keeps the port's promises; torn, changed and foreign files are told by name.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use sofie_model::{Account, Attestation, SignedAttestation};

use super::*;
use crate::conformance::{Failure, Harness, Site, failures, no_manifest, run_all};

struct Place {
    folder: tempfile::TempDir,
    opened: AtomicU64,
    now: Arc<AtomicU64>,
}

impl Place {
    fn new() -> Self {
        let (opened, now) = (AtomicU64::new(0), Arc::new(AtomicU64::new(1_800_000_000_000)));
        Self { folder: tempfile::tempdir().unwrap(), opened, now }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(format!("{}.records", self.opened.load(Ordering::SeqCst)))
    }

    fn open(&self) -> io::Result<RecordFile> {
        let now = Arc::clone(&self.now);
        let clock: Clock = Arc::new(move || Timestamp::from_millis(now.load(Ordering::SeqCst)));
        RecordFile::open(
            &self.path(),
            profile("file".parse().unwrap()),
            SigningKey::from_bytes(&[3; 32]),
            clock,
        )
    }
}

#[async_trait]
impl Harness for Place {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(self.open().unwrap()))
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        Ok(Arc::new(self.open().unwrap()))
    }

    fn site(&self) -> Site {
        Site {
            chain_id: 0,
            decision: Account::ZERO,
            escrow: Account::ZERO,
            payer: Account([1; 20]),
            payee: Account([2; 20]),
            evidence_key: Account([3; 20]),
            amount: 1,
            others: vec![],
        }
    }

    fn attest(&self, _: Attestation) -> SignedAttestation {
        unreachable!("a record waits for no evidence")
    }

    async fn step(&self) -> Result<(), Failure> {
        self.now.fetch_add(20, Ordering::SeqCst);
        Ok(())
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        self.now.fetch_max(until.as_millis(), Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_file_keeps_the_ports_promises() {
    let outcomes = run_all(&Place::new()).await.unwrap();
    assert_eq!(failures(&outcomes), "");
    assert!(outcomes.len() >= 16, "{}", outcomes.len());
}

async fn note(file: &RecordFile, number: u8) -> Evidence {
    let operation = Operation::Note { topic: Digest::ZERO, commitment: Digest([number; 32]) };
    let intent = file.intend(&operation).await.unwrap();
    file.submit(&intent).await.unwrap();
    match file.status(&operation, None).await.unwrap() {
        Status::Final(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_crash_at_any_byte_of_the_last_line_costs_that_line_alone() {
    let place = Place::new();
    let file = place.open().unwrap();
    let first = note(&file, 1).await;
    let kept = std::fs::read(place.path()).unwrap().len();
    note(&file, 2).await;
    drop(file);
    let bytes = std::fs::read(place.path()).unwrap();
    for cut in kept..bytes.len() {
        std::fs::write(place.path(), &bytes[..cut]).unwrap();
        let file = place.open().unwrap();
        assert_eq!(file.book().lines.len(), 1, "cut at {cut}");
        assert_eq!(note(&file, 1).await, first, "cut at {cut}");
        assert_eq!(std::fs::metadata(place.path()).unwrap().len(), kept as u64, "cut at {cut}");
        // It goes on from there.
        note(&file, 3).await;
        drop(file);
        assert_eq!(place.open().unwrap().book().lines.len(), 2, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_changed_byte_or_a_lost_line_is_damage_and_nothing_is_changed() {
    let place = Place::new();
    let file = place.open().unwrap();
    for number in 0..3 {
        note(&file, number).await;
    }
    drop(file);
    let bytes = std::fs::read(place.path()).unwrap();
    let mut cases: Vec<Vec<u8>> = (0..bytes.len() - 1)
        .map(|index| {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0x04;
            damaged
        })
        .collect();
    let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    cases.push(bytes[second..].to_vec());
    for damaged in cases {
        std::fs::write(place.path(), &damaged).unwrap();
        let opened = place.open().map(drop);
        assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(std::fs::read(place.path()).unwrap(), damaged);
    }
}

#[tokio::test]
async fn another_process_and_another_key_are_kept_out() {
    let place = Place::new();
    let file = place.open().unwrap();
    note(&file, 1).await;
    assert_eq!(place.open().map(drop).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(file);
    let clock: Clock = Arc::new(Timestamp::default);
    for (id, secret) in [("file", 4), ("other", 3)] {
        let key = SigningKey::from_bytes(&[secret; 32]);
        let opened =
            RecordFile::open(&place.path(), profile(id.parse().unwrap()), key, Arc::clone(&clock)).map(drop);
        assert!(opened.unwrap_err().to_string().starts_with("line 1 "));
    }
}

#[tokio::test]
async fn what_it_does_not_hold_it_does_not_prove() {
    let place = Place::new();
    let file = place.open().unwrap();
    let mut fact = note(&file, 1).await;
    fact.position.height = 2;
    let answer = file.prove(&no_manifest(), &[fact]).await;
    assert!(matches!(answer, Err(LedgerError::Nonsense { .. })), "{answer:?}");
}
