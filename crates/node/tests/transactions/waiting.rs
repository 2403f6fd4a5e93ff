//! After a restart, what only waits is not driven, and goes on all the same: by its time, by another's word, by another's
//! deed.

use std::path::Path;

use sofie_model::{Digest, Manifest, Span, Timestamp, Txid};
use sofie_node::clock;
use sofie_transaction::{Input, Plan};

use super::crashes::life;
use super::world::*;

/// The payer's node: the payee's secret is elsewhere.
fn half(nonce: u8, deadline: Span) -> Plan {
    let plan = plan(3_600);
    let deadline = Timestamp::from_millis((clock::now() + deadline).as_millis());
    Plan {
        manifest: Manifest { nonce: Digest([nonce; 32]), deadline, ..plan.manifest },
        acts_for: vec![0],
        ..plan
    }
}

/// A life that ends once every lock stands and its own secrets are out.
fn first_life(world: &World, folder: &Path, plans: &[Plan]) {
    life(async {
        let node = world.node(folder, None).await;
        for plan in plans {
            let mut handle = node.begin(plan.clone()).await.unwrap();
            let released = handle.until(|state| state.preimage(0).is_some() && state.prepared().count() == 2);
            tokio::time::timeout(PATIENCE, released).await.expect("it prepares").expect("its node lives");
        }
    });
}

async fn until(mut holds: impl FnMut() -> bool) {
    let look = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it comes to be");
}

async fn second_life(world: &World, folder: &Path, count: usize) -> Node {
    let node = world.node(folder, None).await;
    assert_eq!(node.journal.reader().unwrap().intents().unwrap(), [], "what is answered is not adopted");
    assert_eq!(node.transactions.recover().unwrap(), count);
    assert_eq!(node.transactions.running(), count);
    until(|| node.transactions.unread() == 0).await;
    node
}

#[test]
fn what_waits_is_not_driven_until_somebody_speaks_of_it() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let plans: Vec<_> = (10..15).map(|nonce| half(nonce, Span::from_seconds(3_600))).collect();
    first_life(&world, folder.path(), &plans);
    life(async {
        let node = second_life(&world, folder.path(), 5).await;
        assert_eq!((node.transactions.waiting(), node.transactions.states().len()), (5, 0));
        let last = node.transactions.waiting_until().unwrap();
        assert!(last < plans[0].manifest.deadline, "the last safe release is before T_D");
        // To look at one changes nothing.
        let txid = plans[2].manifest.txid();
        assert_eq!(node.transactions.state(txid).unwrap().unwrap().prepared().count(), 2);
        assert_eq!(node.transactions.waiting(), 5);
        let handle = node.transactions.live(txid).unwrap();
        assert_eq!((node.transactions.waiting(), node.transactions.states().len()), (4, 1));
        handle.give(Input::Released(1, secret(1))).await.unwrap();
        assert!(committed(&*ended(handle).await));
        until(|| node.transactions.running() == 4).await;
        assert!(node.transactions.live(txid).is_none(), "it has ended");
        assert!(node.transactions.live(Txid(Digest::ZERO)).is_none());
    });
}

#[test]
fn what_waits_is_asked_for_while_the_journal_is_still_being_read() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let plans: Vec<_> = (10..14).map(|nonce| half(nonce, Span::from_seconds(3_600))).collect();
    first_life(&world, folder.path(), &plans);
    life(async {
        let mut node = world.node(folder.path(), None).await;
        assert_eq!(node.transactions.recover().unwrap(), 4);
        for plan in &plans {
            let handle = node.transactions.live(plan.manifest.txid()).unwrap();
            handle.give(Input::Released(1, secret(1))).await.unwrap();
            assert!(committed(&*ended(handle).await));
        }
        until(|| node.transactions.running() == 0).await;
        // Two drives would have written one place of the journal twice, and stopped the node.
        assert!(node.failed.try_recv().is_err());
    });
}

#[test]
fn a_decision_of_others_is_noticed_by_one_that_waits() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let plans: Vec<_> = (10..13).map(|nonce| half(nonce, Span::from_seconds(3_600))).collect();
    first_life(&world, folder.path(), &plans);
    world.decide(&plans[1].manifest, true);
    life(async {
        let node = second_life(&world, folder.path(), 3).await;
        until(|| node.transactions.running() == 2).await;
        let state = node.transactions.state(plans[1].manifest.txid()).unwrap().unwrap();
        assert!(committed(&state), "{:?}", state.phase());
    });
}

/// Its alarm would come late otherwise.
#[test]
fn what_waits_at_a_node_that_takes_long_to_start_is_driven_so_much_earlier() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let plans = [half(10, Span::from_seconds(1_800)), half(11, Span::from_seconds(3_600))];
    first_life(&world, folder.path(), &plans);
    life(async {
        let node = second_life(&world, folder.path(), 2).await;
        assert_eq!(node.transactions.waiting(), 2);
        // Told once it is measured, while others already wait.
        node.transactions.set_detection(Span::from_seconds(2_000));
        until(|| !node.transactions.states().is_empty()).await;
        assert_eq!(node.transactions.states()[0].txid(), plans[0].manifest.txid());
        assert_eq!(node.transactions.waiting(), 1);
    });
}

#[test]
fn one_that_waits_is_driven_again_before_its_time_is_over() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    // A minute before its last safe release it is driven again: that is in about two seconds.
    let plans = [half(10, Span::from_seconds(62)), half(11, Span::from_seconds(3_600))];
    first_life(&world, folder.path(), &plans);
    life(async {
        let node = second_life(&world, folder.path(), 2).await;
        until(|| !node.transactions.states().is_empty()).await;
        assert_eq!(node.transactions.states()[0].txid(), plans[0].manifest.txid());
        assert_eq!(node.transactions.waiting(), 1);
    });
}
