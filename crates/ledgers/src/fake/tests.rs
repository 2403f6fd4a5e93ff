//! The fake ledger keeps the port's promises, and its scripted faults do what they say.

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
    broken: Option<Broken>,
    breach: Option<Breach>,
}

/// A promise that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// A restart finds nothing.
    Forgets,
    /// A restart finds what was final undone.
    Reorganises,
    /// What is submitted never arrives.
    Loses,
    /// What is submitted is refused for no reason.
    Refuses,
}

const BLOCK_TIME: u64 = 100;

impl Surroundings {
    fn new(classes: &[Class], decides: bool, finality: Finality) -> Self {
        let now = Arc::new(AtomicU64::new(1_800_000_000_000));
        let current = Mutex::new(None);
        Self { classes: classes.to_vec(), decides, finality, now, current, broken: None, breach: None }
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
        if let Some(breach) = self.breach {
            fake.breach(breach);
        }
        fake.mine();
        for _ in 0..200 {
            match self.broken {
                Some(Broken::Loses) => fake.script(Some("prepare"), Fault::Lose),
                Some(Broken::Refuses) => fake.script(Some("prepare"), Fault::Refuse("no".into())),
                _ => {}
            }
        }
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
        let current = self.current.lock().unwrap().clone().unwrap();
        match self.broken {
            Some(Broken::Forgets) => return self.open().await,
            Some(Broken::Reorganises) => current.reorg(50),
            _ => {}
        }
        Ok(Arc::new(current))
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

    async fn stranger(&self) -> Result<Option<Arc<dyn Ledger>>, Failure> {
        let current = self.current.lock().unwrap();
        Ok(current.as_ref().map(|fake| Arc::new(fake.held_by([])) as Arc<dyn Ledger>))
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
    for (classes, decides, at_least) in [
        (&[Class::Record][..], false, 16),
        (&[Class::Verifying][..], true, 27),
        (&[][..], true, 9),
        (&[Class::Hashlock][..], false, 20),
    ] {
        for finality in [Finality::Instant, Finality::Depth(0), Finality::Depth(3), Finality::Tag] {
            let outcomes =
                conformance::run_all(&Surroundings::new(classes, decides, finality)).await.unwrap();
            assert_eq!(conformance::failures(&outcomes), "", "{classes:?} {finality:?}");
            assert!(outcomes.len() >= at_least, "{} cases for {classes:?}", outcomes.len());
        }
    }
}

#[tokio::test]
async fn a_ledger_that_breaks_a_promise_does_not_conform() {
    let restarted = ["a restart after submit", "it survives a restart"];
    for (broken, expected) in [
        (Broken::Forgets, &restarted[..]),
        (Broken::Reorganises, &restarted),
        (Broken::Loses, &["a prepare becomes final", "many intents at once", "it survives a restart"]),
        (Broken::Refuses, &["a prepare becomes final", "the same intent twice", "COMMIT arms"]),
    ] {
        let surroundings = Surroundings::new(&[Class::Verifying], true, Finality::Depth(1));
        let surroundings = Surroundings { broken: Some(broken), ..surroundings };
        let outcomes = conformance::run_all(&surroundings).await.unwrap();
        let failures = conformance::failures(&outcomes);
        for name in expected {
            assert!(failures.contains(name), "{broken:?} should fail {name:?}, and failed only:\n{failures}");
        }
    }
}

#[tokio::test]
async fn a_hashlock_that_breaks_a_rule_does_not_conform() {
    for (breach, expected) in [
        (Breach::EarlyRefund, "hashlock: a refund waits until T_p"),
        (Breach::Preimages, "hashlock: a claim with a preimage missing"),
    ] {
        let surroundings = Surroundings::new(&[Class::Hashlock], false, Finality::Depth(1));
        let surroundings = Surroundings { breach: Some(breach), ..surroundings };
        let outcomes = conformance::run_all(&surroundings).await.unwrap();
        assert!(conformance::failures(&outcomes).contains(expected), "{breach:?}");
    }
}

#[tokio::test]
async fn a_miner_chooses_what_waits_and_what_is_forgotten() {
    let fake = log(Finality::Depth(0));
    let mut intents = Vec::new();
    for text in [b"a", b"b", b"c"] {
        let intent = fake.intend(&note(text)).await.unwrap();
        fake.submit(&intent).await.unwrap();
        intents.push(intent);
    }
    let fate =
        |one: &Intent| [Some(true), Some(false), None][intents.iter().position(|of| of == one).unwrap()];
    fake.mine_some(fate);
    assert_eq!(fake.facts().len(), 1, "one is mined");
    fake.mine();
    assert_eq!(fake.facts().len(), 2, "one had waited, one is forgotten");
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
