//! Two processes that know nothing of each other sign with one key.

use alloy_consensus::{Transaction, TxEnvelope};
use alloy_eips::eip2718::Decodable2718;
use sofie_ledgers::Intent;

use crate::fees::Quiet;
use crate::given_up::{held, used};
use crate::parties::AMOUNT;
use crate::scenario::Scenario;
use crate::tries::Try;

fn nonce(intent: Option<&Intent>) -> u64 {
    TxEnvelope::decode_2718_exact(&intent.unwrap().0[17..]).unwrap().nonce()
}

/// Each fixes another operation at the account's same nonce. The chain takes one; the other one's worker learns that, when
/// it is final, and fixes it anew. Both stand, each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_failure_two_workers_with_one_key_use_one_nonce() {
    let Some(quiet) = Quiet::start().await else { return };
    let ledgers = [quiet.ledger(2).await, quiet.ledger(2).await];
    let mut tries = Vec::new();
    for (number, ledger) in (0..).zip(&ledgers) {
        let scenario = Scenario::new(ledger, &quiet.parties, number).await;
        tries.push(Try::new(scenario.prepare()));
    }
    for _ in 0..2 {
        for (one, ledger) in tries.iter_mut().zip(&ledgers) {
            assert!(one.call(ledger).await, "asked, and fixed; nothing is brought yet");
        }
    }
    let nonces: Vec<u64> = tries.iter().map(|one| nonce(one.intent.as_ref())).collect();
    assert_eq!(nonces, [0, 0], "one nonce for two");
    for _ in 0..16 {
        for (one, ledger) in tries.iter_mut().zip(&ledgers) {
            one.turn(ledger).await;
        }
        let fixed: u32 = tries.iter().map(|one| one.fixed).sum();
        let stand = tries.iter().filter(|one| one.stands.is_some()).count();
        assert!(fixed == 2 || stand > 0, "fixed anew before what took the nonce is final");
        if stand == 2 {
            break;
        }
        quiet.mine().await;
    }
    let stand: Vec<_> = tries.iter().map(|one| one.stands.clone().unwrap().position.reference).collect();
    assert_ne!(stand[0], stand[1]);
    let mut fixed: Vec<u32> = tries.iter().map(|one| one.fixed).collect();
    fixed.sort_unstable();
    assert_eq!(fixed, [1, 2], "one was mined, the other was fixed anew");
    assert_eq!((used(&quiet).await, held(&ledgers[0]).await), (2, 2 * AMOUNT));
}
