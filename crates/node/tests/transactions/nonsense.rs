//! A ledger that answers nonsense, to who would do something there, to who only looks, and under whole transactions; or that
//! something else was quicker.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use sofie_ledgers::fake::{Fake, Fault};
use sofie_ledgers::{Head, Intent, Ledger, LedgerError, Profile, Status};
use sofie_model::{Digest, Evidence, Manifest, Operation, Proof, Terms};
use sofie_node::executor::{Ended, Executor, Key, Ledgers};
use sofie_transaction::{Phase, Plan};

use super::world::*;

/// What is answered the so-manieth time that a status is asked for; `None`: what is true.
type Says = fn(u32) -> Option<Result<Status, LedgerError>>;

/// Says of a status what it likes, and counts what it was asked.
struct Mad {
    fake: Fake,
    says: Says,
    asked: Arc<AtomicU32>,
    fixed: Arc<AtomicU32>,
}

impl Mad {
    /// An executor that knows no other ledger, with its journal in `folder`; and the counts of both questions.
    fn executor(world: &World, folder: &Path, says: Says) -> (Executor, Arc<AtomicU32>, Arc<AtomicU32>) {
        let (asked, fixed): (Arc<AtomicU32>, Arc<AtomicU32>) = Default::default();
        let mad = Self { fake: world.log.clone(), says, asked: asked.clone(), fixed: fixed.clone() };
        let ledgers = Ledgers::from([(mad.profile().id.clone(), Arc::new(mad) as Arc<dyn Ledger>)]);
        let executor = Executor::new(Arc::new(ledgers), open(&folder.join("journal.sqlite"), None));
        (executor, asked, fixed)
    }
}

fn note(byte: u8) -> (Key, Operation) {
    let id = Digest([byte; 32]);
    (Key { id, task: "note".into() }, Operation::Note { topic: id, commitment: Digest::ZERO })
}

#[async_trait]
impl Ledger for Mad {
    fn profile(&self) -> &Profile {
        self.fake.profile()
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        self.fixed.fetch_add(1, Ordering::SeqCst);
        self.fake.intend(operation).await
    }

    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.fake.adopt(intent).await
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.fake.submit(intent).await
    }

    async fn status(&self, operation: &Operation, intent: Option<&Intent>) -> Result<Status, LedgerError> {
        match (self.says)(self.asked.fetch_add(1, Ordering::SeqCst)) {
            Some(said) => said,
            None => self.fake.status(operation, intent).await,
        }
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
    let (executor, asked, _) = Mad::executor(&world, folder.path(), |_| {
        let reason = "block 7 is its own parent".into();
        Some(Err(LedgerError::Nonsense { ledger: "log".parse().unwrap(), reason }))
    });
    let id = world.log.profile().id.clone();
    for byte in [1, 2] {
        let (key, note) = note(byte);
        let Ended::Refused(why) = executor.operate(key, &id, &note).await.unwrap() else {
            panic!("nothing of it is believed")
        };
        assert!(why.contains("ledger log is in quarantine") && why.contains("its own parent"), "{why}");
        assert_eq!(asked.load(Ordering::SeqCst), 3, "one bad answer may be a proxy's; then nothing is asked");
    }
    executor.trust(&id);
    let (key, note) = note(3);
    executor.operate(key, &id, &note).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 6);
}

fn displaced() -> Option<Result<Status, LedgerError>> {
    Some(Ok(Status::Displaced { reason: "nonce 7 is another's".into() }))
}

/// What was fixed can never stand: the operation is fixed anew, written ahead in the first one's place, and stands.
#[tokio::test]
async fn what_something_else_took_the_place_of_is_fixed_anew_and_stands() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let (executor, _, fixed) =
        Mad::executor(&world, folder.path(), |time| (time < 3).then(displaced).flatten());
    let (key, note) = note(1);
    let ended = executor.operate(key.clone(), &world.log.profile().id, &note).await.unwrap();
    assert!(matches!(ended, Ended::Final(_)), "{ended:?}");
    assert_eq!(fixed.load(Ordering::SeqCst), 4, "the first, and one for each that was displaced");
    let intents = executor.journal().reader().unwrap().intents().unwrap();
    assert_eq!(intents.len(), 1, "the journal holds the newest one alone");
    assert!(executor.has_begun(&key).unwrap());
}

#[tokio::test]
async fn what_is_displaced_again_and_again_is_refused_with_the_reason() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let (executor, _, fixed) = Mad::executor(&world, folder.path(), |_| displaced());
    let (key, note) = note(1);
    let ended = executor.operate(key, &world.log.profile().id, &note).await.unwrap();
    assert_eq!(ended, Ended::Refused("nonce 7 is another's".into()));
    assert_eq!(fixed.load(Ordering::SeqCst), 65);
}

/// A look counts like a deed, and one sound answer clears it of one bad one.
#[tokio::test]
async fn a_ledger_that_answers_looks_with_nonsense_is_in_quarantine_too() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let id = world.log.profile().id.clone();
    let ledgers = Ledgers::from([(id.clone(), Arc::new(world.log.clone()) as Arc<dyn Ledger>)]);
    let executor = Executor::new(Arc::new(ledgers), open(&folder.path().join("journal.sqlite"), None));
    let (_, note) = note(1);
    let look = || executor.look(&world.log, &note);
    for _ in 0..3 {
        world.log.script(None, Fault::Mad(2));
        for _ in 0..2 {
            assert!(matches!(look().await, Err(LedgerError::Nonsense { .. })));
        }
        assert_eq!(look().await, Ok(Status::Absent));
    }
    assert_eq!(executor.quarantined(&id), None, "never three in a row");
    world.log.script(None, Fault::Mad(3));
    for _ in 0..3 {
        assert!(look().await.is_err());
    }
    // It answers soundly now, and is not asked.
    let why = executor.quarantined(&id).expect("it is in quarantine");
    assert!(why.contains("ledger log is in quarantine") && why.contains("its own parent"), "{why}");
    assert!(matches!(look().await, Err(LedgerError::Nonsense { .. })));
    executor.trust(&id);
    assert_eq!(look().await, Ok(Status::Absent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_over_a_mad_log_aborts_and_says_why() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    world.log.script(None, Fault::Mad(u32::MAX));
    let node = world.node(folder.path(), None).await;
    let state = node.run(plan(60)).await;
    assert!(aborted(&state), "{:?}", state.phase());
    assert_eq!(world.money().await, (ENDOWED, 0));
    let told = node.told("prepare-refused");
    assert!(told.iter().any(|why| why.contains("ledger log is in quarantine")), "{told:?}");
}

/// D carries no leg here: nothing but looks meets it before the decision.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_d_that_answers_only_looks_with_nonsense_gets_no_secret_and_halts_what_it_should_decide() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let Plan { mut manifest, .. } = plan(2);
    manifest.legs.retain(|leg| matches!(leg.terms, Terms::Record(_)));
    world.evm.script(None, Fault::Mad(u32::MAX));
    let node = world.node(folder.path(), None).await;
    let mut handle = node.begin(Plan { manifest, ..plan(2) }).await.unwrap();
    let halted = handle.until(|state| matches!(state.phase(), Phase::Halted { .. }));
    let halted = tokio::time::timeout(PATIENCE, halted).await.expect("it halts").expect("its node lives");
    let Phase::Halted { reason } = halted.phase() else { panic!("it has halted") };
    assert!(reason.contains("ledger evm is in quarantine"), "{reason}");
    assert_eq!(node.secrets.asked.load(Ordering::SeqCst), 0, "a secret was given to a mad ledger");
    assert!(node.told("halted").contains(reason), "{:?}", node.told("halted"));
    // It is mended, and the operator says so.
    world.evm.script(None, Fault::Mad(0));
    node.transactions.resume(halted.txid()).await.unwrap();
    let done = handle.until(|state| matches!(state.phase(), Phase::Done(_)));
    let done = tokio::time::timeout(PATIENCE, done).await.expect("it ends").expect("its node lives");
    assert!(aborted(&done), "{:?}", done.phase());
}
