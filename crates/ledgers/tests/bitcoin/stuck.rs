//! Fees rise, and the leg's limit holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use sofie_ledgers::{Ledger, LedgerError, Status};
use sofie_model::{Class, Operation};

use crate::node::Bitcoind;
use crate::parties::{ALL, open, profile};
use crate::swap::{FEE_LIMIT, Scenario, finally, started};

/// The names and the fees, in satoshi, of what waits in the node's memory.
async fn waiting(node: &Bitcoind) -> Vec<(String, u64)> {
    let waiting = node.ask("getrawmempool", json!([true])).await;
    let entry = |(name, entry): (&String, &serde_json::Value)| {
        (name.clone(), (entry["fees"]["base"].as_f64().unwrap() * 1e8).round() as u64)
    };
    waiting.as_object().unwrap().iter().map(entry).collect()
}

/// Submits again and again while blocks leave the transaction out: each fee that was seen, until none comes.
async fn outbid(node: &Bitcoind, ledger: &impl Ledger, intent: &sofie_ledgers::Intent) -> Vec<u64> {
    let mut fees = Vec::new();
    for _ in 0..20 {
        ledger.submit(intent).await.unwrap();
        let now = waiting(node).await;
        assert_eq!(now.len(), 1, "each took the place of the one before: {now:?}");
        if fees.last() != Some(&now[0].1) {
            fees.push(now[0].1);
        }
        node.mine_empty().await;
    }
    fees
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stuck_is_replaced_up_to_the_limit_and_found_after_a_restart() {
    let Some((node, ledger)) = started(&ALL, 1).await else { return };
    let scenario = Scenario::new(&ledger, 3).await;
    let prepare = scenario.prepare();
    let intent = ledger.intend(&prepare).await.unwrap();
    let fees = outbid(&node, &ledger, &intent).await;
    assert!(fees.len() > 3 && fees.is_sorted(), "{fees:?}");
    assert_eq!(fees.last(), Some(&FEE_LIMIT), "{fees:?}");
    // Another run of this node knows the intent only.
    let ledger = open(&node, &ALL, profile(&[Class::Hashlock])).await.unwrap();
    ledger.adopt(&intent).await.unwrap();
    assert_eq!(ledger.status(&prepare, Some(&intent)).await, Ok(Status::Absent));
    finally(&node, &ledger, &prepare, Some(&intent)).await;

    // The refund's and the claim's too.
    let claim = scenario.claim();
    let intent = ledger.intend(&claim).await.unwrap();
    let fees = outbid(&node, &ledger, &intent).await;
    assert_eq!(fees.last(), Some(&FEE_LIMIT), "{fees:?}");
    finally(&node, &ledger, &claim, Some(&intent)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_nothing_is_refused_by_name_and_so_is_one_that_pays_no_claim() {
    let Some((node, ledger)) = started(&ALL, 1).await else { return };
    let scenario = Scenario::new(&ledger, 4).await;
    let limited = |limit: u128| {
        let mut manifest = (*scenario.manifest).clone();
        manifest.legs[0].fee_limit = limit;
        let Operation::Leg { leg, step, .. } = scenario.prepare() else { unreachable!() };
        Operation::Leg { manifest: Arc::new(manifest), leg, step }
    };
    let refused = ledger.intend(&limited(0)).await;
    assert!(
        matches!(&refused, Err(LedgerError::Refused { reason, .. }) if reason.contains("fee_limit")),
        "{refused:?}"
    );
    // Nobody could claim it at that price: nothing is locked.
    let refused = ledger.intend(&limited(20)).await;
    assert!(
        matches!(&refused, Err(LedgerError::Refused { reason, .. }) if reason.contains("20")),
        "{refused:?}"
    );
    assert_eq!(waiting(&node).await, []);
}

/// P4: the same operation is the same bytes, whoever asks; other legs get other coins; and a process that knows
/// nothing of the first draws the same coin for the same leg.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_leg_has_one_coin_and_no_two_legs_share_one() {
    let Some((node, ledger)) = started(&ALL, 6).await else { return };
    let coins = |intent: &sofie_ledgers::Intent| {
        let rungs: Vec<bitcoin::Transaction> = bitcoin::consensus::deserialize(&intent.0).unwrap();
        let spent = |one: &bitcoin::Transaction| {
            one.input.iter().map(|input| input.previous_output).collect::<Vec<_>>()
        };
        assert!(rungs.iter().all(|one| spent(one) == spent(&rungs[0])));
        spent(&rungs[0])
    };
    let other = open(&node, &ALL, profile(&[Class::Hashlock])).await.unwrap();
    let mut used = BTreeSet::new();
    for nonce in 1..=6 {
        let prepare = Scenario::new(&ledger, nonce).await.prepare();
        let intent = ledger.intend(&prepare).await.unwrap();
        assert_eq!(ledger.intend(&prepare).await.unwrap(), intent);
        assert!(coins(&intent).iter().all(|coin| used.insert(*coin)), "a coin is used twice");
        if nonce == 1 {
            assert_eq!(coins(&other.intend(&prepare).await.unwrap()), coins(&intent));
        }
    }
    // All coins are in use: the next one waits, it is not refused.
    let late = Scenario::new(&ledger, 7).await.prepare();
    assert!(matches!(ledger.intend(&late).await, Err(LedgerError::Transient { .. })));
}
