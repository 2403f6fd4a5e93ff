//! The chain changes its mind: what was seen is gone, and comes back.

use serde_json::json;
use sofie_ledgers::{Ledger, LedgerError, Status};
use sofie_model::{Class, Fact};

use crate::parties::{ALL, DEPTH, open, profile};
use crate::swap::{LEG, Scenario, carry_out, finally, started};

/// The newest `blocks` are taken back; what they held is waiting again.
async fn undo(node: &crate::node::Bitcoind, blocks: u64) {
    let height = node.ask("getblockcount", json!([])).await.as_u64().unwrap();
    let first = node.ask("getblockhash", json!([height + 1 - blocks])).await;
    node.ask("invalidateblock", json!([first])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepare_that_is_undone_is_absent_and_stands_again_later() {
    let Some((node, ledger)) = started(&ALL, 2).await else { return };
    let scenario = Scenario::new(&ledger, 1).await;
    let prepare = scenario.prepare();
    let before = ledger.treasury().unwrap().balance(crate::parties::PAYER.account()).await.unwrap();
    let intent = ledger.intend(&prepare).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    node.mine(1).await;
    assert_eq!(ledger.status(&prepare, Some(&intent)).await, Ok(Status::Pending));

    // One block less, and two others in its place that leave it out.
    undo(&node, 1).await;
    assert_eq!(ledger.status(&prepare, Some(&intent)).await, Ok(Status::Absent));
    assert_eq!(ledger.treasury().unwrap().balance(crate::parties::PAYER.account()).await, Ok(before));
    node.mine_empty().await;
    node.mine_empty().await;
    assert_eq!(ledger.status(&prepare, Some(&intent)).await, Ok(Status::Absent));
    assert_eq!(ledger.hashlocks().unwrap().revealed(&scenario.manifest, LEG).await, Ok(None));

    // The same intent again, and it stands; once.
    ledger.submit(&intent).await.unwrap();
    let evidence = finally(&node, &ledger, &prepare, Some(&intent)).await;
    node.mine(1).await;
    assert_eq!(finally(&node, &ledger, &prepare, None).await, evidence);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_is_undone_still_shows_its_preimages() {
    let Some((node, ledger)) = started(&ALL, 2).await else { return };
    let scenario = Scenario::new(&ledger, 1).await;
    carry_out(&node, &ledger, &scenario.prepare()).await;
    let claim = scenario.claim();
    let intent = ledger.intend(&claim).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    node.mine(1).await;
    undo(&node, 1).await;
    assert_eq!(ledger.status(&claim, Some(&intent)).await, Ok(Status::Absent));
    let seen = ledger.hashlocks().unwrap().revealed(&scenario.manifest, LEG).await.unwrap().unwrap();
    assert_eq!((seen.preimages, seen.finally), (scenario.secrets.clone(), false));
    // Another block, not the one that was called invalid.
    node.mine_empty().await;
    finally(&node, &ledger, &claim, Some(&intent)).await;
}

/// COMMIT holds the one preimage, and the chain takes the lock back beyond its depth: its payment is made again at another
/// fee, so under another name, and what was fixed to claim the first is fixed anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_hash_lock_that_is_undone_after_its_claim_is_fixed_is_made_again_and_claimed() {
    let Some((node, ledger)) = started(&ALL, 2).await else { return };
    let scenario = Scenario::new(&ledger, 1).await.single();
    let (prepare, claim) = (scenario.prepare(), scenario.claim());
    let payment = ledger.intend(&prepare).await.unwrap();
    ledger.submit(&payment).await.unwrap();
    let first = finally(&node, &ledger, &prepare, Some(&payment)).await;
    let early = ledger.intend(&claim).await.unwrap();
    undo(&node, u64::from(DEPTH) + 1).await;
    for _ in 0..DEPTH + 2 {
        node.mine_empty().await;
    }
    assert_eq!(ledger.status(&prepare, Some(&payment)).await, Ok(Status::Absent));
    assert!(matches!(ledger.intend(&claim).await, Err(LedgerError::Transient { .. })), "there is no lock");
    assert_eq!(ledger.status(&claim, Some(&early)).await, Ok(Status::Absent));
    // It waits again, and blocks have left it out: the next fee.
    ledger.submit(&payment).await.unwrap();
    node.mine(1).await;
    assert_eq!(ledger.status(&claim, Some(&early)).await, Ok(Status::Absent), "the new lock is not final");
    let second = finally(&node, &ledger, &prepare, Some(&payment)).await;
    assert_ne!(first.position.reference, second.position.reference);
    assert!(matches!(ledger.submit(&early).await, Err(LedgerError::Transient { .. })), "it spends nothing");
    let status = ledger.status(&claim, Some(&early)).await.unwrap();
    assert!(matches!(&status, Status::Displaced { reason } if reason.contains("its lock is")), "{status:?}");
    let claimed = carry_out(&node, &ledger, &claim).await;
    assert_eq!(claimed.fact, Fact::Applied(scenario.manifest.txid(), LEG));
    let seen = ledger.hashlocks().unwrap().revealed(&scenario.manifest, LEG).await.unwrap().unwrap();
    assert_eq!((seen.preimages, seen.finally), (scenario.secrets.clone(), true));
}

/// The lock is undone, and a block holds another payment of its coin: it can never be made again, which is refused and
/// not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepare_whose_coin_another_spend_took_after_it_was_final_is_refused() {
    let Some((node, ledger)) = started(&ALL, 1).await else { return };
    let prepare = Scenario::new(&ledger, 1).await.prepare();
    let intent = ledger.intend(&prepare).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    finally(&node, &ledger, &prepare, Some(&intent)).await;
    undo(&node, u64::from(DEPTH) + 1).await;
    // The payer has one coin, and a node that knows nothing of the first payment.
    let other = open(&node, &ALL, profile(&[Class::Hashlock])).await.unwrap();
    let rival = other.intend(&Scenario::new(&other, 2).await.prepare()).await.unwrap();
    let rungs: Vec<bitcoin::Transaction> = bitcoin::consensus::deserialize(&rival.0).unwrap();
    node.mine_these(&[bitcoin::consensus::encode::serialize_hex(&rungs[0])]).await;
    assert_eq!(ledger.status(&prepare, Some(&intent)).await, Ok(Status::Absent), "it is not final");
    for _ in 0..DEPTH {
        node.mine_empty().await;
    }
    let status = ledger.status(&prepare, Some(&intent)).await.unwrap();
    assert!(matches!(&status, Status::Refused { reason } if reason.contains("used its coin")), "{status:?}");
    let again = ledger.submit(&intent).await;
    assert!(matches!(&again, Err(LedgerError::Refused { reason, .. }) if reason.contains("spent the same")));
}
