use std::sync::atomic::{AtomicU64, Ordering};

use k256::ecdsa::SigningKey;
use sofie_model::{Attestation, SignedAttestation, Span};

use super::*;
use crate::conformance::{self, Failure, Harness, Site};

/// A fake ledger, and the clock it reads.
struct Surroundings {
    classes: Vec<Class>,
    decides: bool,
    finality: Finality,
    now: Arc<AtomicU64>,
    current: Mutex<Option<Fake>>,
}

const BLOCK_TIME: u64 = 100;

impl Surroundings {
    fn new(classes: &[Class], decides: bool, finality: Finality) -> Self {
        let now = Arc::new(AtomicU64::new(1_800_000_000_000));
        Self { classes: classes.to_vec(), decides, finality, now, current: Mutex::new(None) }
    }

    fn fake(&self) -> Fake {
        let profile = Profile {
            id: "fake".parse().unwrap(),
            classes: self.classes.clone(),
            decides: self.decides,
            finality: self.finality,
            inclusion: Span::from_millis(BLOCK_TIME),
            finalises: Span::from_millis(3 * BLOCK_TIME),
            single_operator: true,
            poll: Span::from_millis(BLOCK_TIME),
        };
        let now = Arc::clone(&self.now);
        let clock: Clock = Arc::new(move || Timestamp::from_millis(now.load(Ordering::Relaxed)));
        let fake = Fake::new(profile, 7, clock);
        fake.endow(self.site().payer, 1_000_000);
        fake.mine();
        fake
    }
}

fn evidence_key() -> SigningKey {
    SigningKey::from_slice(&[3; 32]).unwrap()
}

#[async_trait]
impl Harness for Surroundings {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        let fake = self.fake();
        *self.current.lock().unwrap() = Some(fake.clone());
        Ok(Arc::new(fake))
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        Ok(Arc::new(self.current.lock().unwrap().clone().unwrap()))
    }

    fn site(&self) -> Site {
        Site {
            chain_id: 7,
            decision: Account([0xd; 20]),
            escrow: Account([0xe; 20]),
            payer: Account([1; 20]),
            payee: Account([2; 20]),
            evidence_key: Account::from(evidence_key().verifying_key()),
            amount: 10,
            others: vec![],
        }
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        attestation.sign(&evidence_key())
    }

    fn proves(&self) -> bool {
        false
    }

    async fn step(&self) -> Result<(), Failure> {
        self.now.fetch_add(BLOCK_TIME, Ordering::Relaxed);
        self.current.lock().unwrap().as_ref().unwrap().mine();
        Ok(())
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        self.now.fetch_max(until.as_millis(), Ordering::Relaxed);
        self.step().await
    }
}

#[tokio::test]
async fn it_conforms_in_every_class_and_finality() {
    for (classes, decides, at_least) in
        [(&[Class::Record][..], false, 16), (&[Class::Verifying][..], true, 27), (&[][..], true, 9)]
    {
        for finality in [Finality::Instant, Finality::Depth(0), Finality::Depth(3), Finality::Tag] {
            let outcomes =
                conformance::run_all(&Surroundings::new(classes, decides, finality)).await.unwrap();
            assert_eq!(conformance::failures(&outcomes), "", "{classes:?} {finality:?}");
            assert!(outcomes.len() >= at_least, "{} cases for {classes:?}", outcomes.len());
        }
    }
}

fn note(text: &[u8]) -> Operation {
    Operation::Note { topic: Digest::ZERO, commitment: Digest::sha256(text) }
}

fn log(finality: Finality) -> Fake {
    Surroundings::new(&[Class::Record], false, finality).fake()
}

#[tokio::test]
async fn faults_come_once_and_by_script() {
    let fake = log(Finality::Instant);
    let operation = note(b"a");
    let intent = fake.intend(&operation).await.unwrap();
    let status = async || fake.status(&operation, Some(&intent)).await;

    fake.script(Some("prepare"), Fault::Lose);
    fake.script(Some("note"), Fault::Refuse("closed".into()));
    fake.script(None, Fault::FailBefore);
    fake.script(Some("note"), Fault::Lose);
    fake.script(Some("note"), Fault::Delay(2));
    assert!(
        matches!(fake.submit(&intent).await, Err(LedgerError::Refused { reason, .. }) if reason == "closed")
    );
    assert!(matches!(fake.submit(&intent).await, Err(LedgerError::Transient { .. })));
    fake.submit(&intent).await.unwrap();
    assert_eq!(status().await, Ok(Status::Absent), "lost");
    fake.submit(&intent).await.unwrap();
    assert_eq!(status().await, Ok(Status::Absent), "late");
    assert_eq!(status().await, Ok(Status::Absent), "late");
    assert!(matches!(status().await, Ok(Status::Final(_))), "here");

    fake.script(None, Fault::Away(1));
    assert!(matches!(status().await, Err(LedgerError::Transient { .. })));
    assert!(matches!(status().await, Ok(Status::Final(_))));
}

#[tokio::test]
async fn what_fails_after_arrival_or_arrives_twice_is_recorded_once() {
    let fake = log(Finality::Instant);
    for (text, fault) in [(b"a", Fault::FailAfter), (b"b", Fault::Duplicate)] {
        let operation = note(text);
        let intent = fake.intend(&operation).await.unwrap();
        fake.script(None, fault.clone());
        assert_eq!(fake.submit(&intent).await.is_err(), fault == Fault::FailAfter);
        assert!(matches!(fake.status(&operation, Some(&intent)).await, Ok(Status::Final(_))));
    }
    assert_eq!(fake.facts().len(), 2);
}

#[tokio::test]
async fn a_reorganisation_takes_back_what_was_not_final() {
    let fake = log(Finality::Depth(2));
    let operation = note(b"a");
    let intent = fake.intend(&operation).await.unwrap();
    fake.submit(&intent).await.unwrap();
    fake.mine();
    assert_eq!(fake.status(&operation, Some(&intent)).await, Ok(Status::Pending));
    fake.reorg(1);
    assert_eq!(fake.status(&operation, Some(&intent)).await, Ok(Status::Absent));
    fake.mine();
    fake.mine();
    assert_eq!(fake.status(&operation, Some(&intent)).await, Ok(Status::Pending));
    fake.mine();
    assert!(matches!(fake.status(&operation, Some(&intent)).await, Ok(Status::Final(_))));
}
