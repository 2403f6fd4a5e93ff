//! Other executors, elsewhere, that drive the same transaction.

use std::sync::atomic::Ordering;

use sofie_ledgers::fake::Fault;
use sofie_model::{Leg, Terms};
use sofie_transaction::{Phase, Plan};

use super::world::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_or_abort_of_others_that_is_faster_than_ours_stands() {
    for commit in [true, false] {
        let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
        let other = world.clone();
        // After this node's last look at D, before its own COMMIT.
        let first = Box::new(move |state: &sofie_transaction::State| other.decide(state.manifest(), commit));
        let node = world.node_with(folder.path(), None, first).await;
        let state = node.run(plan(60)).await;
        if commit {
            assert!(committed(&state), "{:?}", state.phase());
            world.assert_committed().await;
        } else {
            assert!(aborted(&state), "{:?}", state.phase());
            assert_eq!(world.money().await, (ENDOWED, 0));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_that_stands_already_is_met_by_the_prepare() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let plan = plan(60);
    world.decide(&plan.manifest, false);
    let node = world.node(folder.path(), None).await;
    let state = node.run(plan).await;
    assert!(aborted(&state), "{:?}", state.phase());
    assert_eq!(node.secrets.asked.load(Ordering::SeqCst), 0);
    assert_eq!(world.money().await, (ENDOWED, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_released_once_d_has_decided() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    // A leg that knows nothing of D: only the look at D before the release can tell.
    let Plan { mut manifest, .. } = plan(60);
    let is_record = |leg: &Leg| matches!(leg.terms, Terms::Record(_));
    manifest.legs.retain(is_record);
    let plan = Plan { manifest, ..plan(60) };
    world.decide(&plan.manifest, false);
    let node = world.node(folder.path(), None).await;
    let state = node.run(plan).await;
    assert!(aborted(&state), "{:?}", state.phase());
    assert_eq!(node.secrets.asked.load(Ordering::SeqCst), 0, "a secret was given away for nothing");
    assert!(world.facts().contains(&("log", "reverted 0".into())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_of_others_is_noticed_although_a_ledger_is_away() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let plan = plan(60);
    world.log.script(None, Fault::Away(u32::MAX));
    let node = world.node(folder.path(), None).await;
    let mut handle = node.begin(plan.clone()).await.unwrap();
    world.decide(&plan.manifest, false);
    let decided = handle.until(|state| state.decided().is_some());
    tokio::time::timeout(PATIENCE, decided).await.expect("it is noticed").expect("its node lives");
}

/// Known failures: a reorganisation undoes a prepare. On one thread, so that the second participant looks after it.
#[tokio::test]
async fn known_failure_a_prepare_that_a_reorganisation_undid_is_made_again_before_the_secret_goes() {
    let (world, folder) = (World::with_blocks(), tempfile::tempdir().unwrap());
    let log = world.log.clone();
    let miner = tokio::spawn(async move {
        loop {
            log.mine();
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    });
    let other = world.clone();
    let reorganises = Box::new(move |_: &sofie_transaction::State| other.log.reorg(usize::MAX));
    let node = world.node_with(folder.path(), None, reorganises).await;
    let state = node.run(plan(60)).await;
    assert!(committed(&state), "{:?}", state.phase());
    let kinds = node.audit();
    assert!(kinds.contains(&"undone".to_owned()), "{kinds:?}");
    world.assert_committed().await;
    // One for the prepare, submitted again as it was, and one for its end: another could come to stand beside the first.
    assert_eq!(world.log.tries(), 2);
    miner.abort();
}

/// Known failures: two workers drive one transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_failure_two_nodes_that_drive_one_transaction_do_everything_once() {
    for _ in 0..5 {
        let world = World::new();
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let plan = plan(60);
        let one = world.node(folders[0].path(), None).await;
        let two = world.node(folders[1].path(), None).await;
        let (a, b) = tokio::join!(one.run(plan.clone()), two.run(plan));
        assert!(committed(&a) && committed(&b), "{:?} {:?}", a.phase(), b.phase());
        world.assert_committed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_driven_once_however_often_it_is_resumed() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let mut node = world.node(folder.path(), None).await;
    let handle = node.begin(plan(60)).await.unwrap();
    let txid = handle.state().txid();
    for _ in 0..50 {
        node.transactions.resume(txid).await.unwrap();
        assert!(node.transactions.running() <= 1);
        tokio::task::yield_now().await;
    }
    let state = ended(handle).await;
    assert!(matches!(state.phase(), Phase::Done(_)));
    node.transactions.resume(txid).await.unwrap();
    // Two drives would have written one place of the journal twice, and stopped the node.
    assert!(node.failed.try_recv().is_err());
    world.assert_committed().await;
}
