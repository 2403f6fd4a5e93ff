//! After a restart each ledger adopts what an earlier run intended beside all else: one that is away holds up nothing but
//! what is done on it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use sofie_ledgers::fake::Fake;
use sofie_ledgers::{Head, Intent, Ledger, LedgerError, Profile, Status};
use sofie_model::{Class, Digest, Evidence, LedgerId, Manifest, Operation, Proof, Timestamp};
use sofie_node::clock;
use sofie_node::executor::{Ended, Executor, Key, Ledgers};
use sofie_node::journal::Entry;
use tokio::sync::watch;

use super::world::*;

/// Intents of the earlier run: more than one ledger adopts at once.
const INTENDED: u8 = 200;

/// Away for whoever wants intents adopted, until it is back.
struct Away {
    fake: Fake,
    back: watch::Receiver<bool>,
    /// Adoptions under way, and the most of them at once.
    under_way: AtomicU32,
    most: AtomicU32,
    adopted: AtomicU32,
    fixed: AtomicU32,
}

impl Away {
    fn new(fake: &Fake) -> (Arc<Self>, watch::Sender<bool>) {
        let (opens, back) = watch::channel(false);
        let count = AtomicU32::default;
        let (under_way, most, adopted, fixed) = (count(), count(), count(), count());
        (Arc::new(Self { fake: fake.clone(), back, under_way, most, adopted, fixed }), opens)
    }
}

#[async_trait]
impl Ledger for Away {
    fn profile(&self) -> &Profile {
        self.fake.profile()
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        assert_eq!(
            self.adopted.load(Ordering::SeqCst),
            u32::from(INTENDED),
            "an intent before all are adopted"
        );
        self.fixed.fetch_add(1, Ordering::SeqCst);
        self.fake.intend(operation).await
    }

    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.back.clone().wait_for(|back| *back).await.unwrap();
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        self.fake.adopt(intent).await?;
        self.adopted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.fake.submit(intent).await
    }

    async fn status(&self, operation: &Operation, intent: Option<&Intent>) -> Result<Status, LedgerError> {
        self.fake.status(operation, intent).await
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        self.fake.head().await
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        self.fake.prove(manifest, facts).await
    }
}

fn note(byte: u8) -> (Key, Operation) {
    let id = Digest([byte; 32]);
    (Key { id, task: "note".into() }, Operation::Note { topic: id, commitment: Digest([7; 32]) })
}

/// A run that fixed notes for `ledger` and ended before any had left.
async fn earlier(ledger: &Fake, folder: &Path) {
    let journal = open(&folder.join("journal.sqlite"), None);
    for byte in 0..INTENDED {
        let (Key { id, task }, note) = note(byte);
        let bytes = ledger.intend(&note).await.unwrap().0;
        let entry = Entry::Intent { id, task, ledger: ledger.profile().id.to_string(), bytes };
        journal.keep(vec![entry], Timestamp::from_seconds(1)).await.unwrap();
    }
}

async fn operates(executor: &Executor, ledger: &LedgerId, byte: u8) -> Ended {
    let (key, note) = note(byte);
    tokio::time::timeout(PATIENCE, executor.operate(key, ledger, &note)).await.expect("it ends").unwrap()
}

#[tokio::test]
async fn a_ledger_that_is_away_at_the_start_holds_up_only_what_is_done_on_it() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    earlier(&world.log, folder.path()).await;
    let (away, opens) = Away::new(&world.log);
    let log = away.profile().id.clone();
    let other = Fake::new(profile("other", Class::Record, false), 0, clock::clock());
    let ledgers: [Arc<dyn Ledger>; 2] = [away.clone(), Arc::new(other.clone())];
    let ledgers: Ledgers = ledgers.into_iter().map(|one| (one.profile().id.clone(), one)).collect();
    let journal = open(&folder.path().join("journal.sqlite"), None);
    let executor = Executor::new(Arc::new(ledgers), journal).adopt().unwrap();

    let ended = operates(&executor, &other.profile().id, 1).await;
    assert!(matches!(ended, Ended::Final(_)), "{ended:?}");
    let new = tokio::spawn({
        let (executor, log) = (executor.clone(), log.clone());
        async move { operates(&executor, &log, INTENDED).await }
    });
    while away.under_way.load(Ordering::SeqCst) < 128 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.log.facts(), [], "nothing is done on it yet");
    assert!(!new.is_finished());

    opens.send_replace(true);
    assert!(matches!(new.await.unwrap(), Ended::Final(_)));
    assert_eq!(away.most.load(Ordering::SeqCst), 128, "so many at once, and no more");
    // What was fixed then is what is brought now.
    let ended = operates(&executor, &log, 0).await;
    assert!(matches!(ended, Ended::Final(_)), "{ended:?}");
    assert_eq!(away.fixed.load(Ordering::SeqCst), 1, "the new one alone was fixed");
}
