//! What the chains themselves hold and have charged.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sofie_peers::Anvil;

use crate::Swap;
use crate::bitcoin::{Bitcoin, FEE, REWARD};
use crate::common::company::{Company, ENDOWED};

/// The most ledger transactions of a swap on Bitcoin: its lock, and a claim or a refund.
const SPENDS: u64 = 2;

/// A node, and the swaps that it ended, with whether each took place.
pub(crate) type Ended<'a> = (&'a Company, Vec<(&'a Swap, bool)>);

/// Everything adds up: on Ethereum every account holds what its committed swaps and its own gas have left, to the wei; on
/// Bitcoin nothing is lost but fees, to the satoshi, and every Alice was paid for what was committed and for no more.
/// `coins` rewards were there in the beginning.
pub(crate) async fn add_up(chain: &Anvil, bitcoin: &Bitcoin, coins: u64, all: &[Ended<'_>]) {
    let gas = gas(chain).await;
    let mut satoshi = 0;
    for (company, swaps) in all {
        let took_place = || swaps.iter().filter(|(_, committed)| *committed).map(|(swap, _)| swap);
        let ether: u128 = took_place().map(|swap| swap.ether).sum();
        let paid: u64 = took_place().map(|swap| swap.satoshi).sum();
        let (alice, bob) = (&company.account, &company.others[0].1);
        let gas = |account: &String| gas.get(&account.to_lowercase()).copied().unwrap_or(0);
        assert_eq!(chain.balance(alice).await, ENDOWED - ether - gas(alice), "alice, of {swaps:?}");
        assert_eq!(chain.balance(bob).await, ENDOWED + ether - gas(bob), "bob, of {swaps:?}");
        let [got, left] =
            [bitcoin.held(company.bitcoin_key(0)).await, bitcoin.held(company.bitcoin_key(1)).await];
        let count = swaps.len() as u64;
        assert!((paid.saturating_sub(SPENDS * FEE * count)..=paid).contains(&got), "{got}: {swaps:?}");
        satoshi += got + left;
    }
    assert_eq!(bitcoin.waiting().await, 0, "all is final");
    assert_eq!(satoshi + bitcoin.fees().await, coins * REWARD);
}

/// What each account has paid for its transactions, in wei, by the chain's own receipts.
async fn gas(chain: &Anvil) -> BTreeMap<String, u128> {
    let mut gas: BTreeMap<String, u128> = BTreeMap::new();
    let head = quantity(&chain.ask("eth_blockNumber", json!([])).await);
    for block in 1..=head {
        let receipts = chain.ask("eth_getBlockReceipts", json!([format!("{block:#x}")])).await;
        for receipt in receipts.as_array().expect("receipts") {
            let from = receipt["from"].as_str().expect("an account").to_lowercase();
            *gas.entry(from).or_default() +=
                quantity(&receipt["gasUsed"]) * quantity(&receipt["effectiveGasPrice"]);
        }
    }
    gas
}

fn quantity(value: &Value) -> u128 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).expect("a quantity");
    u128::from_str_radix(digits, 16).expect("it fits")
}
