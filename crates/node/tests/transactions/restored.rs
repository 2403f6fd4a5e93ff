//! A node that is put back from a backup of a transaction under way: whatever the original did since, nothing is prepared or
//! given away a second time, and no leg ends otherwise than another (P1 to P5; docs/adr/0028-backup-and-restore.md).

use std::path::Path;
use std::sync::atomic::Ordering;

use sofie_ledgers::fake::Fault;
use sofie_model::{Decision, Txid};
use sofie_node::journal::{Machine, PauseAt};
use sofie_node::restored;
use sofie_transaction::{Phase, State};
use tempfile::TempDir;

use super::crashes::{death, life, life_of};
use super::world::*;

/// What the original does after the backup.
#[derive(Debug, Clone, Copy)]
enum Since {
    /// It was lost at that moment.
    Lost,
    /// It goes on to the end of the transaction.
    GoesOn,
    /// It goes on, and is lost after so many writes.
    LostAfter(u64),
}

impl Since {
    /// Until the deadline: what nobody goes on with waits for it.
    const fn seconds(self) -> u64 {
        match self {
            Self::GoesOn => 120,
            Self::Lost | Self::LostAfter(_) => 5,
        }
    }
}

/// A backup of the journal in `folder`, put back in a folder of its own.
fn put_back(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let journal = copy.path().join("journal.sqlite");
    let original = rusqlite::Connection::open(folder.join("journal.sqlite")).unwrap();
    original.execute("VACUUM INTO ?1", [journal.to_str().unwrap()]).unwrap();
    restored::mark(&journal).unwrap();
    copy
}

/// The original runs on after its backup.
fn original(world: &World, folder: &Path, since: Since) {
    let pause = match since {
        Since::Lost => return,
        Since::GoesOn => None,
        Since::LostAfter(writes) => Some(death(PauseAt::Write(writes))),
    };
    life(async {
        let mut node = world.node(folder, pause).await;
        node.transactions.recover().unwrap();
        // Its node may be lost before.
        if let Some(mut handle) = node.transactions.live(begun(&node)) {
            let over = |state: &State| matches!(state.phase(), Phase::Done(_));
            tokio::select! { _ = handle.until(over) => {}, _ = node.failed.recv() => {} }
        }
    });
}

/// The one transaction that the journal holds.
fn begun(node: &Node) -> Txid {
    let records = node.journal.reader().unwrap().machines(Machine::Transaction, true).unwrap();
    sofie_node::transactions::replay(records.last().unwrap()).unwrap().txid()
}

/// How many prepares both ledgers hold.
fn prepares(world: &World) -> usize {
    world.facts().iter().filter(|(_, fact)| fact.starts_with("prepared")).count()
}

/// The restored node's life until the transaction has ended, and what it must not have done.
fn restored_life(world: &World, folder: &Path, what: &str) {
    life(async {
        let prepared = prepares(world);
        let node = world.node(folder, None).await;
        let txid = begun(&node);
        node.transactions.recover().unwrap();
        let state = match node.transactions.live(txid) {
            Some(handle) => ended(handle).await,
            None => node.transactions.state(txid).unwrap().unwrap(),
        };
        let committed = world.facts().iter().any(|(_, fact)| fact.starts_with("committed"));
        assert_eq!(
            matches!(state.phase(), Phase::Done(Decision::Commit { .. })),
            committed,
            "{what}: {state:?}"
        );
        assert_eq!(node.secrets.asked.load(Ordering::SeqCst), 0, "{what}: a secret is given away");
        assert_eq!(prepares(world), prepared, "{what}: a leg is prepared");
        node.audit();
    });
}

/// Whether both legs took effect; or neither did, and the money is where that says.
async fn agree(world: &World, what: &str) -> bool {
    let facts = world.facts();
    if facts.iter().any(|(_, fact)| fact.starts_with("committed")) {
        world.assert_committed().await;
        return true;
    }
    assert!(facts.iter().all(|(_, fact)| !fact.starts_with("applied")), "{what}: {facts:?}");
    assert!(facts.contains(&("evm", "aborted".into())), "{what}: {facts:?}");
    assert_eq!(world.money().await, (ENDOWED, 0), "{what}: {facts:?}");
    false
}

/// Whether there was such a step.
fn at_step(write: u64, since: Since, faults: &[(&'static str, Fault)]) -> bool {
    let what = format!("backed up after write {write}, the original {since:?}, {faults:?}");
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    for (verb, fault) in faults {
        world.evm.script(Some(verb), fault.clone());
        world.log.script(Some(verb), fault.clone());
    }
    if life_of(plan(since.seconds()), &world, folder.path(), PauseAt::Write(write)).is_some() {
        return false;
    }
    let copy = put_back(folder.path());
    original(&world, folder.path(), since);
    restored_life(&world, copy.path(), &what);
    let committed = life(agree(&world, &what));
    assert!(committed || !matches!(since, Since::GoesOn), "{what}");
    true
}

/// Each step of the journal in a world of its own, all at once: what waits for its deadline waits together.
fn at_every_step(since: &[Since], faults: &[(&'static str, Fault)]) -> usize {
    std::thread::scope(|scope| {
        let step = |write, since| scope.spawn(move || at_step(write, since, faults));
        let steps: Vec<_> =
            (1..=14).flat_map(|write| since.iter().map(move |since| (write, *since))).collect();
        let running: Vec<_> = steps.into_iter().map(|(write, since)| step(write, since)).collect();
        running.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
    })
}

#[test]
fn whatever_the_original_did_since_nothing_is_done_a_second_time_and_the_legs_agree() {
    let since = [Since::Lost, Since::GoesOn, Since::LostAfter(1), Since::LostAfter(3)];
    let steps = at_every_step(&since, &[]);
    assert!(steps > 6 * since.len(), "begun and 5 intents at least: {steps}");
}
