//! A transaction that its fee limit keeps from being mined is given up when others of its account wait behind it; crashes
//! and reorganisations on the way.

use serde_json::json;
use sofie_ledgers::evm::EvmLedger;
use sofie_ledgers::{Ledger, Status};

use crate::fees::{CHEAP, LOW_LIMIT, Quiet};
use crate::parties::AMOUNT;
use crate::tries::Try;

/// Above what the low limit allows a prepare, and below what it allows an empty transfer.
const DEAR: u64 = 20_000_000_000;
/// A limit that is never reached.
const PLENTY: u128 = 1_000_000_000_000_000_000;
/// So many blocks are enough for every case.
const MOST_BLOCKS: u32 = 32;

/// How many transactions of the payer are mined.
pub(crate) async fn used(quiet: &Quiet) -> u64 {
    let count = json!([quiet.parties.payer.to_string(), "latest"]);
    let count = quiet.anvil.ask("eth_getTransactionCount", count).await.unwrap();
    u64::from_str_radix(&count.as_str().unwrap()[2..], 16).unwrap()
}

/// What the escrow holds: so much for each prepare that stands.
pub(crate) async fn held(ledger: &EvmLedger) -> u128 {
    ledger.treasury().unwrap().balance(ledger.escrow_address()).await.unwrap()
}

/// Two prepares of one payer: the first one's limit is low.
async fn two(quiet: &Quiet, ledger: &EvmLedger, number: u64) -> [Try; 2] {
    let first = quiet.limited(ledger, 2 * number, LOW_LIMIT).await.prepare();
    let second = quiet.limited(ledger, 2 * number + 1, PLENTY).await.prepare();
    [Try::new(first), Try::new(second)]
}

/// Carries both out, by a process that dies before call number `crash`: blocks are dear until the second one stands, and
/// cheap after that. How many calls there were.
async fn carry_out(quiet: &Quiet, mut ledger: EvmLedger, tries: &mut [Try; 2], crash: u32) -> u32 {
    let mut calls = 0;
    for block in 0..MOST_BLOCKS {
        for index in 0..tries.len() {
            loop {
                if calls == crash {
                    ledger = quiet.ledger(1).await;
                    for one in &mut *tries {
                        one.restart(&ledger).await;
                    }
                }
                calls += 1;
                if !tries[index].call(&ledger).await {
                    break;
                }
            }
        }
        let [first, second] = &*tries;
        assert!(
            first.fixed < 2 || second.stands.is_some(),
            "fixed anew while its first could still be mined"
        );
        match (&first.stands, &second.stands) {
            (Some(_), Some(_)) => return calls,
            (_, Some(_)) => quiet.mine_at(CHEAP).await,
            _ => quiet.mine_at(DEAR).await,
        }
        assert!(block + 1 < MOST_BLOCKS, "call {crash}: {:?}, {:?}", first.stands, second.stands);
    }
    calls
}

/// Whenever the process dies: the second prepare stands while the first one's limit is too low, the first is given up and
/// stands once when it can be had again, and the account spends three nonces: nothing is done twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_prepare_is_given_up_and_holds_up_no_later_one_wherever_the_process_dies() {
    let Some(quiet) = Quiet::start().await else { return };
    let mut runs = 0;
    loop {
        let ledger = quiet.ledger(1).await;
        let mut tries = two(&quiet, &ledger, runs).await;
        let crash = runs as u32;
        let calls = carry_out(&quiet, ledger, &mut tries, crash).await;
        runs += 1;
        let ledger = quiet.ledger(1).await;
        assert_eq!(tries.each_ref().map(|one| one.fixed), [2, 1], "call {crash}: the first one anew");
        assert_eq!(held(&ledger).await, 2 * u128::from(runs) * AMOUNT, "call {crash}");
        assert_eq!(used(&quiet).await, 3 * runs, "call {crash}: two prepares and an empty transfer");
        if calls <= crash {
            break;
        }
    }
    assert!(runs > 12, "{runs} places to die at");
}

/// Nobody waits behind it: it waits for the base fee to fall, and is mined as it was fixed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_prepare_that_holds_up_nobody_is_not_given_up() {
    let Some(quiet) = Quiet::start().await else { return };
    let ledger = quiet.ledger(1).await;
    let [mut first, _] = two(&quiet, &ledger, 0).await;
    first.turn(&ledger).await;
    for _ in 0..8 {
        quiet.mine_at(DEAR).await;
        first.turn(&ledger).await;
        assert!(quiet.pool().await.iter().all(|waiting| waiting["input"] != "0x"), "given up");
    }
    for _ in 0..MOST_BLOCKS {
        quiet.mine_at(CHEAP).await;
        first.turn(&ledger).await;
        if first.stands.is_some() {
            break;
        }
    }
    assert!(first.stands.is_some());
    assert_eq!((first.fixed, used(&quiet).await), (1, 1));
}

/// The block of the empty transfer is undone before it is final: nothing was fixed anew by then, and what was given up is
/// mined after all, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_transfer_that_the_chain_undoes_decides_nothing() {
    let Some(quiet) = Quiet::start().await else { return };
    let ledger = quiet.ledger(4).await;
    let [mut first, mut second] = two(&quiet, &ledger, 0).await;
    for _ in 0..MOST_BLOCKS {
        first.turn(&ledger).await;
        second.turn(&ledger).await;
        quiet.mine_at(DEAR).await;
        if used(&quiet).await == 2 {
            break;
        }
    }
    let status = ledger.status(&first.operation, first.intent.as_ref()).await;
    assert_eq!(status, Ok(Status::Pending), "mined, by the empty transfer, and not final");
    assert_eq!(ledger.status(&second.operation, second.intent.as_ref()).await, Ok(Status::Pending));
    quiet.anvil.ask("anvil_rollback", json!([1])).await.unwrap();
    assert_eq!(used(&quiet).await, 0);
    assert_eq!(ledger.status(&first.operation, first.intent.as_ref()).await, Ok(Status::Absent));
    for _ in 0..MOST_BLOCKS {
        quiet.mine_at(CHEAP).await;
        first.turn(&ledger).await;
        second.turn(&ledger).await;
        if first.stands.is_some() && second.stands.is_some() {
            break;
        }
    }
    assert!(first.stands.is_some() && second.stands.is_some());
    assert_eq!((first.fixed, second.fixed, used(&quiet).await), (1, 1, 2), "the very transactions");
    assert_eq!(held(&ledger).await, 2 * AMOUNT);
}
