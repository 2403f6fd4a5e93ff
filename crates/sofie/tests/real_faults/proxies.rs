//! A node that reaches both chains through proxies which delay, cut, leave unanswered, and deliver twice.

use std::time::Instant;

use sofie_peers::{Anvil, Faults, Proxy};
use url::Url;

use crate::bitcoin::{Bitcoin, REWARD};
use crate::books::add_up;
use crate::common::company::{AMOUNT, Company, PATIENCE};
use crate::{Swap, ledgers, node};

/// The last pays more bitcoin than there is. What they pay tells them apart: no two sums of some of them are the same.
const SWAPS: [Swap; 4] = [
    Swap { name: "one", ether: AMOUNT, satoshi: 1_000_000 },
    Swap { name: "two", ether: 2 * AMOUNT, satoshi: 2_000_000 },
    Swap { name: "four", ether: 4 * AMOUNT, satoshi: 4_000_000 },
    Swap { name: "poor", ether: AMOUNT / 2, satoshi: REWARD * (COINS + 1) },
];
const COINS: u64 = 3;

async fn before(peer: &str, seed: u64) -> Proxy {
    let peer: Url = peer.parse().expect("a URL");
    Proxy::start(peer.port().expect("a port"), Faults { seed, one_in: 16 }).await
}

/// Whoever supervises a node starts it again when its ledgers have failed it at its start.
fn supervised(company: &mut Company) {
    let since = Instant::now();
    while let Err(why) = company.try_start(&[]) {
        assert!(since.elapsed() < PATIENCE, "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_behind_bad_proxies_are_all_or_none_although_the_node_is_killed() {
    let Some(chain) = Anvil::start() else { return };
    let mut company = node(&chain).await;
    let coins = vec![company.bitcoin_key(1); COINS as usize];
    let Some(bitcoin) = Bitcoin::start(&coins).await else { return };
    let proxies = [before(&chain.url, 4).await, before(bitcoin.node.url.as_str(), 5).await];
    let [ether, coin] = proxies.each_ref().map(|proxy| format!("http://{}", proxy.at));
    company.ledgers = ledgers(&ether, &bitcoin, &coin);
    supervised(&mut company);

    let ids = SWAPS.each_ref().map(|swap| swap.submit(&company));
    company.until(&ids[0], "locked", |shown| shown["legs"][0]["state"] == "prepared");
    company.kill();
    supervised(&mut company);
    let ended = SWAPS.iter().zip(&ids).map(|(swap, id)| (swap, swap.ended(&company, id)));
    let ended: Vec<_> = ended.collect();

    let committed: Vec<_> =
        ended.iter().filter(|(_, committed)| *committed).map(|(swap, _)| swap.name).collect();
    assert_eq!(committed, ["one", "two", "four"]);
    for proxy in &proxies {
        let suffered = proxy.suffered();
        assert!(suffered.iter().all(|count| *count > 0), "delayed, cut, unanswered, doubled: {suffered:?}");
    }
    company.kill();
    add_up(&chain, &bitcoin, COINS, &[(&company, ended)]).await;
}
