//! A ledger that answers nonsense.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use sofie_ledgers::fake::Fake;
use sofie_ledgers::{Head, Intent, Ledger, LedgerError, Profile, Status};
use sofie_model::{Digest, Evidence, Manifest, Operation, Proof};
use sofie_node::executor::{Ended, Executor, Key, Ledgers};

use super::world::*;

/// Says nonsense of every status, and counts how often it was asked.
struct Mad {
    fake: Fake,
    asked: Arc<AtomicU32>,
}

#[async_trait]
impl Ledger for Mad {
    fn profile(&self) -> &Profile {
        self.fake.profile()
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        self.fake.intend(operation).await
    }

    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.fake.adopt(intent).await
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.fake.submit(intent).await
    }

    async fn status(&self, _: &Operation, _: Option<&Intent>) -> Result<Status, LedgerError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let ledger = self.profile().id.clone();
        Err(LedgerError::Nonsense { ledger, reason: "block 7 is its own parent".into() })
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        self.fake.head().await
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        self.fake.prove(manifest, facts).await
    }
}

#[tokio::test]
async fn a_ledger_that_answers_nonsense_is_in_quarantine_by_name_until_it_is_trusted_again() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let asked = Arc::new(AtomicU32::new(0));
    let id = world.log.profile().id.clone();
    let mad = Mad { fake: world.log.clone(), asked: asked.clone() };
    let ledgers = Ledgers::from([(id.clone(), Arc::new(mad) as Arc<dyn Ledger>)]);
    let executor = Executor::new(Arc::new(ledgers), open(&folder.path().join("journal.sqlite"), None));
    let note = |byte| Operation::Note { topic: Digest([byte; 32]), commitment: Digest::ZERO };
    let key = |byte| Key { id: Digest([byte; 32]), task: "note".into() };
    for byte in [1, 2] {
        let Ended::Refused(why) = executor.operate(key(byte), &id, &note(byte)).await.unwrap() else {
            panic!("nothing of it is believed")
        };
        assert!(why.contains("ledger log is in quarantine") && why.contains("its own parent"), "{why}");
        assert_eq!(asked.load(Ordering::SeqCst), 3, "one bad answer may be a proxy's; then nothing is asked");
    }
    executor.trust(&id);
    executor.operate(key(3), &id, &note(3)).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 6);
}
