//! A node that dies at any write, and comes back on the same journal: the outcome is that of a good run.
//!
//! Known failures: a restart forgets what was in flight.

use std::path::Path;
use std::sync::Arc;

use sofie_ledgers::fake::Fault;
use sofie_node::journal::{Pause, PauseAt};
use sofie_transaction::{Phase, Plan, State};

use super::world::*;

/// Runs one life of a node; when it returns, nothing of the node is left.
pub(crate) fn life<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap().block_on(work)
}

/// The journal's thread dies at this step, after the write and before anybody is told of it.
pub(crate) fn death(at: PauseAt) -> Pause {
    Pause { at, reached: Box::new(|| std::panic::resume_unwind(Box::new("the end of this life"))) }
}

/// A life that dies at `at`. `Some` when it outlived the transaction.
fn first_life(world: &World, folder: &Path, at: PauseAt) -> Option<Arc<State>> {
    life_of(plan(60), world, folder, at)
}

/// The same of this plan.
pub(crate) fn life_of(plan: Plan, world: &World, folder: &Path, at: PauseAt) -> Option<Arc<State>> {
    life(async {
        let mut node = world.node(folder, Some(death(at))).await;
        let mut handle = node.begin(plan).await.ok()?;
        let done = handle.until(|state| matches!(state.phase(), Phase::Done(_))).await;
        if done.is_none() {
            let error = node.failed.recv().await.expect("the drive tells why it stops").to_string();
            assert!(error.contains("journal.sqlite: closed after an earlier failure"), "{error}");
        }
        done
    })
}

/// A life without accidents on what the one before has left.
fn second_life(world: &World, folder: &Path) {
    life(async {
        let node = world.node(folder, None).await;
        let records =
            node.journal.reader().unwrap().machines(sofie_node::journal::Machine::Transaction, true);
        let record = records.unwrap().pop().expect("the journal holds what was begun");
        let txid = sofie_node::transactions::replay(&record).unwrap().txid();
        let resumed = node.transactions.recover().unwrap();
        assert_eq!(resumed, usize::from(!record.ended));
        let state = match node.transactions.live(txid) {
            Some(handle) => ended(handle).await,
            None => node.transactions.state(txid).unwrap().unwrap(),
        };
        assert!(committed(&state), "{:?}", state.phase());
        node.audit();
        world.assert_committed().await;
    });
}

#[test]
fn a_crash_at_every_write_of_the_journal_changes_nothing() {
    for count in 1.. {
        let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
        let outlived = first_life(&world, folder.path(), PauseAt::Write(count));
        if outlived.is_some() {
            // What is answered together is kept in one write: only these are always writes of their own.
            assert!(count > 6, "begun and 5 intents at least; it died only until write {count}");
            break;
        }
        second_life(&world, folder.path());
    }
}

#[test]
fn a_node_that_has_lost_a_ledger_of_an_unfinished_transaction_continues_nothing() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let died = first_life(&world, folder.path(), PauseAt::Intent("commit".into()));
    assert!(died.is_none());
    life(async {
        let node = world.node_without_log(folder.path()).await;
        let error = node.transactions.recover().unwrap_err().to_string();
        assert!(error.contains("needs ledger log") && error.contains("add the [[ledger]]"), "{error}");
        assert_eq!(node.transactions.running(), 0);
    });
    second_life(&world, folder.path());
}

#[test]
fn a_crash_between_an_intent_and_its_submission_changes_nothing() {
    for task in ["prepare 0", "prepare 1", "commit", "apply 0", "apply 1"] {
        let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
        let outlived = first_life(&world, folder.path(), PauseAt::Intent(task.into()));
        assert!(outlived.is_none(), "{task} is never intended");
        second_life(&world, folder.path());
    }
}

#[test]
fn crashes_on_ledgers_that_lose_and_delay_change_nothing() {
    for count in (2..14).step_by(3) {
        for fault in [Fault::FailAfter, Fault::Delay(12), Fault::Lose] {
            let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
            for verb in ["prepare", "commit", "apply"] {
                world.evm.script(Some(verb), fault.clone());
                world.log.script(Some(verb), fault.clone());
            }
            if first_life(&world, folder.path(), PauseAt::Write(count)).is_none() {
                second_life(&world, folder.path());
            }
            life(world.assert_committed());
        }
    }
}

#[test]
fn a_node_that_dies_again_and_again_comes_to_the_same_end() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    assert!(first_life(&world, folder.path(), PauseAt::Write(1)).is_none());
    for _ in 0..20 {
        life(async {
            let mut node = world.node(folder.path(), Some(death(PauseAt::Write(1)))).await;
            if node.transactions.recover().unwrap() > 0 {
                node.failed.recv().await.expect("it dies at its first write");
            }
        });
    }
    second_life(&world, folder.path());
}
