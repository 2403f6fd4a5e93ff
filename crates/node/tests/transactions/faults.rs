//! Ledgers that lose, delay, double or refuse.

use sofie_ledgers::fake::{Fake, Fault};
use sofie_ledgers::{Ledger as _, Profile};
use sofie_model::{Class, Finality, Leg};
use sofie_node::clock;

use super::world::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_run_is_recorded_everywhere_once_and_audited() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let node = world.node(folder.path(), None).await;
    let state = node.run(plan(60)).await;
    assert!(committed(&state), "{:?}", state.phase());
    world.assert_committed().await;
    let mut kinds = node.audit();
    assert_eq!(kinds.split_off(5), ["applied", "applied"]);
    assert_eq!(kinds, ["prepared", "prepared", "released", "released", "decided"]);
    // The end is journaled: nothing is resumed, no intent is left, and the state can still be read.
    assert_eq!(node.transactions.recover().unwrap(), 0);
    assert_eq!(node.journal.reader().unwrap().intents().unwrap(), []);
    assert_eq!(node.transactions.state(state.txid()).unwrap(), Some(state));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_on_the_way_the_outcome_is_the_same_and_nothing_stands_twice() {
    let faults = [
        Fault::FailBefore,
        Fault::FailAfter,
        Fault::Lose,
        Fault::Duplicate,
        Fault::Delay(3),
        Fault::Delay(20),
        Fault::Away(6),
    ];
    for fault in faults {
        for (on_evm, verb) in
            [(true, "prepare"), (true, "commit"), (true, "apply"), (false, "prepare"), (false, "apply")]
        {
            let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
            let ledger = if on_evm { &world.evm } else { &world.log };
            ledger.script(Some(verb), fault.clone());
            let state = world.node(folder.path(), None).await.run(plan(60)).await;
            assert!(committed(&state), "{fault:?} {verb}: {:?}", state.phase());
            world.assert_committed().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_refuses_makes_an_abort_and_the_payer_gets_all_back() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    world.log.script(Some("prepare"), Fault::Refuse("read-only".into()));
    let node = world.node(folder.path(), None).await;
    let state = node.run(plan(60)).await;
    assert!(aborted(&state), "{:?}", state.phase());
    assert_eq!(world.money().await, (ENDOWED, 0));
    let expected = ["aborted", "prepared 0", "reverted 0"].map(|fact| ("evm", fact.to_owned()));
    assert_eq!(world.facts(), expected);
    let kinds = node.audit();
    assert!(kinds.contains(&"prepare-refused".into()) && kinds.contains(&"reverted".into()), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_without_money_is_refused_and_nothing_moves() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let mut plan = plan(60);
    let sofie_model::Terms::Escrow(terms) = &mut plan.manifest.legs[0].terms else { panic!("an escrow") };
    terms.amount = ENDOWED + 1;
    let state = world.node(folder.path(), None).await.run(plan).await;
    assert!(aborted(&state), "{:?}", state.phase());
    assert_eq!(world.money().await, (ENDOWED, 0));
}

/// Known failures: a responder times out, the initiator aborts, the late transaction is still mined, and the asset
/// exists twice. Here it is mined after the deadline and after ABORT, on a ledger that does not look at D.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_failure_a_lock_that_arrives_after_the_abort_is_no_second_asset() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    let in_blocks = Profile { finality: Finality::Depth(0), ..profile("bank", Class::Escrow, false) };
    let bank = Fake::new(in_blocks, 0, clock::clock());
    bank.endow(PAYER, ENDOWED);
    let mut plan = plan(2);
    let (ledger, finality) = (bank.profile().id.clone(), bank.profile().finality);
    let held = plan.manifest.legs[0].clone();
    plan.manifest.legs[0] = Leg { ledger, finality, class: Class::Escrow, ..held };
    let node = node_on(&[&world.evm, &world.log, &bank], folder.path(), None, Held::default()).await;
    let mut handle = node.begin(plan).await.unwrap();
    let decided = handle.until(|state| state.decided().is_some());
    tokio::time::timeout(PATIENCE, decided).await.expect("it is decided").expect("its node lives");
    assert!(world.facts().contains(&("evm", "aborted".into())));
    assert_eq!(bank.facts(), [], "the lock is still under way");

    let on_bank = || bank.facts().iter().map(told).collect::<Vec<_>>();
    bank.mine();
    assert_eq!((on_bank(), bank.holds(PAYER)), (vec!["prepared 0".to_owned()], ENDOWED - AMOUNT));
    let miner = tokio::spawn({
        let bank = bank.clone();
        async move {
            loop {
                bank.mine();
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        }
    });
    let state = ended(handle).await;
    miner.abort();
    assert!(aborted(&state), "{:?}", state.phase());
    assert_eq!((on_bank(), bank.holds(PAYER)), (vec!["prepared 0".into(), "reverted 0".into()], ENDOWED));
    assert!(node.audit().contains(&"deadline".into()));
}

/// Known failures: the result of a commit is ignored and the state says final. Here D refuses the COMMIT.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_failure_a_commit_that_d_refuses_is_not_taken_for_one() {
    let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
    world.evm.script(Some("commit"), Fault::Refuse("no".into()));
    let state = world.node(folder.path(), None).await.run(plan(60)).await;
    assert!(aborted(&state), "{:?}", state.phase());
    assert_eq!(world.money().await, (ENDOWED, 0));
    assert!(world.facts().contains(&("log", "reverted 1".into())));
}
