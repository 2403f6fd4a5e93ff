//! The chain changes its mind: what was seen is gone, and comes back.

use serde_json::json;
use sofie_ledgers::{Ledger, Status};

use crate::parties::ALL;
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
