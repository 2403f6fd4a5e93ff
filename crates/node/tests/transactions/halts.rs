//! P3: ledgers that undo, beyond their declared depth, what was final: the decision while legs follow it or after they have,
//! a lock that COMMIT includes, what closed a leg.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, mem};

use sofie_ledgers::fake::{Fake, Fault};
use sofie_ledgers::{Intent, Ledger, Profile};
use sofie_model::{Class, Digest, Fact, Finality, LegId, Span};
use sofie_node::clock;
use sofie_node::drive::Handle;
use sofie_transaction::{Leg, Phase, Plan, State};
use tokio::task::JoinHandle;

use super::crashes::life;
use super::pivot::{PIVOT, account, held, pivot_plan};
use super::world::*;

/// Everything the ledger holds and waits for.
const ALL: usize = usize::MAX;

/// A ledger that makes blocks, final at the one after.
fn deep(id: &str, class: Class, decides: bool) -> Fake {
    let profile = Profile { finality: Finality::Depth(1), ..profile(id, class, decides) };
    Fake::new(profile, if decides { 7 } else { 0 }, clock::clock())
}

fn verb(ledger: &Fake, intent: &Intent) -> &'static str {
    ledger.operation(intent).unwrap().verb()
}

/// Makes a ledger's blocks until it is dropped; operations of one verb wait until they are let go.
pub(crate) struct Miner {
    task: JoinHandle<()>,
    held: Arc<AtomicBool>,
}

impl Miner {
    pub(crate) fn of(ledger: &Fake, holds: &'static str) -> Self {
        let (ledger, held) = (ledger.clone(), Arc::new(AtomicBool::new(true)));
        let holding = held.clone();
        let task = tokio::spawn(async move {
            loop {
                let held = holding.load(Ordering::SeqCst);
                ledger.mine_some(|intent| Some(!held || verb(&ledger, intent) != holds));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        Self { task, held }
    }

    pub(crate) fn let_go(&self) {
        self.held.store(false, Ordering::SeqCst);
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn until(handle: &mut Handle<State>, wanted: impl FnMut(&State) -> bool) -> Arc<State> {
    tokio::time::timeout(PATIENCE, handle.until(wanted)).await.expect("it comes").expect("its node lives")
}

async fn eventually(holds: impl Fn() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it comes to be");
}

fn closed(state: &State, leg: LegId) -> bool {
    matches!(state.legs()[usize::from(leg.0)], Leg::Closed { .. })
}

fn reason(state: &State) -> &str {
    match state.phase() {
        Phase::Halted { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn take(&self) -> String {
        String::from_utf8(mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// D on its own chain with an escrow, a record on a log: both make blocks.
fn chains() -> World {
    let world = World { evm: deep("evm", Class::Verifying, true), log: deep("log", Class::Record, false) };
    world.evm.endow(PAYER, ENDOWED);
    world
}

/// One thread, so that the log of all of it is read.
#[tokio::test]
async fn a_decision_that_d_undoes_while_legs_follow_halts_and_alarms() {
    let (world, folder, lines) = (chains(), tempfile::tempdir().unwrap(), Lines::default());
    let writer = lines.clone();
    let logged = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let _logged = tracing::subscriber::set_default(logged);
    let (blocks, log) = (Miner::of(&world.evm, "apply"), Miner::of(&world.log, "apply"));
    let node = world.node(folder.path(), None).await;
    let mut handle = node.begin(plan(60)).await.unwrap();
    let txid = handle.state().txid();
    until(&mut handle, |state| state.decided().is_some()).await;
    // The locks stay where they are, what applies the escrow waits.
    let (evm, mut commit) = (world.evm.clone(), None);
    world.evm.fork(ALL, |intent| match verb(&evm, intent) {
        "commit" => {
            commit = Some(intent.clone());
            None
        }
        "apply" => Some(ALL),
        _ => Some(0),
    });
    let halted = until(&mut handle, |state| matches!(state.phase(), Phase::Halted { .. })).await;
    assert!(reason(&halted).contains("evm no longer holds its final decision (P3)"), "{}", reason(&halted));
    assert_eq!(node.audit().iter().filter(|kind| *kind == "halted").count(), 1, "{:?}", node.audit());
    assert_eq!(node.transactions.halted(), 1);
    let told = lines.take();
    let alarm = told.lines().find(|line| line.contains("waits for its operator")).expect("it is logged");
    for part in ["ERROR", &txid.to_string(), "no longer holds", "`sofie tx resume`"] {
        assert!(alarm.contains(part), "{part} is missing in {alarm}");
    }
    // D comes to hold it again: the operator drives it on.
    world.evm.submit(&commit.expect("it was decided")).await.unwrap();
    let decided =
        || world.evm.record().iter().any(|(one, last)| *last && matches!(one.fact, Fact::Decided(..)));
    eventually(decided).await;
    node.transactions.resume(txid).await.unwrap();
    blocks.let_go();
    log.let_go();
    let done = until(&mut handle, |state| !matches!(state.phase(), Phase::Closing(_))).await;
    assert!(committed(&done), "{:?}", done.phase());
    world.assert_committed().await;
    assert!(node.audit().contains(&"resumed".to_owned()), "{:?}", node.audit());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_d_that_comes_to_hold_another_decision_halts_for_good() {
    let (world, folder) = (chains(), tempfile::tempdir().unwrap());
    let (blocks, _log) = (Miner::of(&world.evm, "abort"), Miner::of(&world.log, "apply"));
    let node = world.node(folder.path(), None).await;
    let mut handle = node.begin(plan(60)).await.unwrap();
    let decided = until(&mut handle, |state| state.decided().is_some()).await;
    // It waits for a block, and is in the first of the other branch.
    world.decide(decided.manifest(), false);
    let evm = world.evm.clone();
    world.evm.fork(ALL, |intent| (verb(&evm, intent) == "abort").then_some(0));
    let halted = until(&mut handle, |state| matches!(state.phase(), Phase::Halted { .. })).await;
    assert!(reason(&halted).contains("evm changed its final decision (P3)"), "{}", reason(&halted));
    let why = node.transactions.resume(halted.txid()).await.unwrap_err();
    assert!(why.contains("P3"), "{why}");
    assert!(matches!(handle.state().phase(), Phase::Halted { .. }));
    drop(blocks);
}

/// Once more after the end, without a task for each.
#[test]
fn a_decision_that_d_undoes_after_the_end_halts_all_the_same_also_after_a_restart() {
    let (world, folder) = (chains(), tempfile::tempdir().unwrap());
    let txid = life(async {
        let (_blocks, log) = (Miner::of(&world.evm, ""), Miner::of(&world.log, "apply"));
        let node = world.node(folder.path(), None).await;
        let mut handle = node.begin(plan(60)).await.unwrap();
        until(&mut handle, |state| closed(state, LegId(0))).await;
        // It does not answer until it has undone the decision.
        world.evm.script(None, Fault::Away(u32::MAX));
        log.let_go();
        let done = ended(handle).await;
        assert!(committed(&done), "{:?}", done.phase());
        world.evm.fork(ALL, |_| None);
        world.evm.script(None, Fault::Away(0));
        eventually(|| node.transactions.halted() == 1).await;
        let state = node.transactions.state(done.txid()).unwrap().unwrap();
        assert!(reason(&state).contains("no longer holds its final decision (P3)"), "{}", reason(&state));
        assert_eq!(node.audit().last().unwrap(), "halted");
        assert_eq!(node.transactions.looked_at_later(), 0);
        done.txid()
    });
    life(async {
        let node = world.node(folder.path(), None).await;
        assert_eq!(node.transactions.recover().unwrap(), 1, "it has not ended");
        let handle = node.transactions.live(txid).unwrap();
        assert!(matches!(handle.state().phase(), Phase::Halted { .. }));
    });
}

/// A swap whose coin's chain makes blocks, and what its node needs.
fn coin() -> Fake {
    let coin = deep("coin", Class::Hashlock, false);
    coin.endow(account(0), ENDOWED);
    coin
}

fn swap() -> Plan {
    let deadline = (clock::now() + Span::from_seconds(60)).whole_second();
    pivot_plan(deadline, Span::from_millis(10), &[0, 1])
}

/// The ledger transaction by which the pivot is locked.
fn lock(state: &State) -> Option<Digest> {
    let found = state.prepared().find(|(leg, _)| *leg == PIVOT);
    found.map(|(_, evidence)| evidence.position.reference)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_its_chain_undoes_after_commit_is_made_again_by_the_same_transaction_and_claimed() {
    let (world, coin, folder) = (World::new(), coin(), tempfile::tempdir().unwrap());
    let blocks = Miner::of(&coin, "claim");
    let node = node_on(&[&world.evm, &world.log, &coin], folder.path(), None, held(|| {})).await;
    let mut handle = node.begin(swap()).await.unwrap();
    let state = until(&mut handle, |state| state.decided().is_some()).await;
    let before = lock(&state).expect("it is locked");
    coin.fork(ALL, |_| None);
    eventually(|| node.audit().contains(&"undone".to_owned())).await;
    blocks.let_go();
    let done = ended(handle).await;
    assert!(committed(&done), "{:?}", done.phase());
    let is_lock = |fact: &Fact| *fact == Fact::Prepared(done.txid(), PIVOT);
    let locks: Vec<_> = coin.record().into_iter().filter(|(one, _)| is_lock(&one.fact)).collect();
    assert_eq!(locks.len(), 1);
    assert_eq!(locks[0].0.position.reference, before, "another lock could come to stand beside it (P4)");
    assert_eq!((coin.holds(account(0)), coin.holds(account(1))), (ENDOWED - AMOUNT, AMOUNT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_cannot_be_made_again_after_commit_halts_once_the_other_leg_has_followed() {
    let (world, folder) = (chains(), tempfile::tempdir().unwrap());
    let (blocks, log) = (Miner::of(&world.evm, "apply"), Miner::of(&world.log, "apply"));
    let node = world.node(folder.path(), None).await;
    let mut handle = node.begin(plan(60)).await.unwrap();
    until(&mut handle, |state| state.decided().is_some()).await;
    // The decision stays, the lock before it does not: its contract takes none any more.
    let evm = world.evm.clone();
    world.evm.fork(ALL, |intent| (verb(&evm, intent) != "prepare").then_some(0));
    blocks.let_go();
    eventually(|| node.audit().contains(&"undone".to_owned())).await;
    log.let_go();
    let halted = ended(handle).await;
    assert!(reason(&halted).contains("leg 0 refuses what was decided: its lock is gone"), "{halted:?}");
    assert!(closed(&halted, LegId(1)), "the other leg follows first");
    let kinds = node.audit();
    let at = |wanted: &str| kinds.iter().rposition(|kind| kind == wanted).expect("it is told");
    assert!(at("undone") < at("applied") && at("applied") < at("halted"), "{kinds:?}");
    assert_eq!(world.money().await, (ENDOWED, 0), "nothing is locked, and nothing is paid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_its_chain_undoes_after_the_end_is_made_again() {
    let (world, coin, folder) = (World::new(), coin(), tempfile::tempdir().unwrap());
    let world = World { log: deep("log", Class::Record, false), ..world };
    let (blocks, log) = (Miner::of(&coin, ""), Miner::of(&world.log, "apply"));
    let node = node_on(&[&world.evm, &world.log, &coin], folder.path(), None, held(|| {})).await;
    let mut handle = node.begin(swap()).await.unwrap();
    until(&mut handle, |state| closed(state, PIVOT)).await;
    coin.script(None, Fault::Away(u32::MAX));
    log.let_go();
    let done = ended(handle).await;
    assert!(committed(&done), "{:?}", done.phase());
    let chain = coin.clone();
    coin.fork(ALL, |intent| (verb(&chain, intent) != "claim").then_some(0));
    assert_eq!(coin.holds(account(1)), 0);
    coin.script(None, Fault::Away(0));
    eventually(|| coin.holds(account(1)) > 0 && node.transactions.running() == 0).await;
    let state = node.transactions.state(done.txid()).unwrap().unwrap();
    assert!(committed(&state), "{:?}", state.phase());
    let kinds = node.audit();
    assert_eq!(kinds.iter().filter(|kind| *kind == "applied").count(), 3, "{kinds:?}");
    assert!(kinds.contains(&"undone".to_owned()), "{kinds:?}");
    drop(blocks);
}

/// Where nothing is ever undone, nothing is looked at again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_on_ledgers_that_undo_nothing_waits_for_no_look() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let node = world.node(folder.path(), None).await;
    assert!(committed(&*node.run(plan(60)).await));
    eventually(|| node.transactions.running() == 0).await;
    assert_eq!(node.transactions.looked_at_later(), 0);
}
