//! Fees, lanes and deep reorganisations on a real node whose blocks come only when the test says so.

use std::sync::Arc;

use alloy_primitives::keccak256;
use serde_json::{Value, json};
use sofie_ledgers::evm::{EvmLedger, PATIENCE_BLOCKS, rpc_profile};
use sofie_ledgers::{Intent, Ledger, LedgerError, Status};
use sofie_model::{Digest, Evidence, Finality, Operation, Span};
use tokio::task::JoinSet;

use crate::anvil::Anvil;
use crate::parties::{BALANCE, Parties, secret};
use crate::scenario::{Scenario, carry_out};

/// How many prepares of one account are in flight at once.
const AT_ONCE: u64 = 2_000;
/// Above all that a first offer holds out: anvil begins with one gwei.
const DEAR: u64 = 100_000_000_000;
/// What anvil begins with.
pub(crate) const CHEAP: u64 = 1_000_000_000;
/// What a prepare may cost so that it can be offered, and never dear.
pub(crate) const LOW_LIMIT: u128 = 200_000 * 4_000_000_000;

pub(crate) struct Quiet {
    pub(crate) anvil: Anvil,
    pub(crate) parties: Parties,
}

impl Quiet {
    /// A node that makes no block by itself; `None` where there is no node.
    pub(crate) async fn start() -> Option<Self> {
        let anvil = Anvil::start()?;
        let mut parties = Parties::new();
        let relayer = parties.keyring.insert(&secret(0x66)).unwrap();
        anvil.fund(&parties).await.unwrap();
        anvil.ask("anvil_setBalance", json!([relayer.to_string(), format!("0x{BALANCE:x}")])).await.unwrap();
        // The contracts are deployed while blocks still come by themselves.
        anvil.ledger(&parties, Finality::Depth(0)).await.unwrap();
        anvil.ask("evm_setIntervalMining", json!([0])).await.unwrap();
        Some(Self { anvil, parties })
    }

    /// A new process: nothing is remembered.
    pub(crate) async fn ledger(&self, depth: u32) -> EvmLedger {
        let profile = rpc_profile("anvil".parse().unwrap(), Finality::Depth(depth), Span::from_millis(80));
        let (keyring, operator) = (self.parties.keyring.clone(), self.parties.operator);
        EvmLedger::open(self.anvil.chain().await, profile, keyring, operator).await.unwrap()
    }

    pub(crate) async fn mine(&self) {
        self.anvil.ask("evm_mine", json!([])).await.unwrap();
    }

    /// Every transaction in the node's pool.
    pub(crate) async fn pool(&self) -> Vec<Value> {
        let content = self.anvil.ask("txpool_content", json!([])).await.unwrap();
        let accounts =
            content.as_object().unwrap().values().flat_map(|part| part.as_object().unwrap().values());
        accounts.flat_map(|of_account| of_account.as_object().unwrap().values().cloned()).collect()
    }

    /// Their hashes.
    async fn waiting(&self) -> Vec<Digest> {
        let hash = |waiting: Value| waiting["hash"].as_str().unwrap()[2..].parse().unwrap();
        self.pool().await.into_iter().map(hash).collect()
    }

    /// Submits while the node expects a cheap block, so that it does not refuse the fee before it looks into its pool.
    async fn submit_while_cheap(&self, ledger: &EvmLedger, intent: &Intent) {
        let fee = json!([format!("0x{CHEAP:x}")]);
        self.anvil.ask("anvil_setNextBlockBaseFeePerGas", fee).await.unwrap();
        ledger.submit(intent).await.unwrap();
    }

    /// A block that has no room for a call of ours: others were quicker.
    async fn mine_full(&self) {
        for (limit, mines) in [(100_000_u64, true), (30_000_000, false)] {
            let limit = json!([format!("0x{limit:x}")]);
            self.anvil.ask("evm_setBlockGasLimit", limit).await.unwrap();
            if mines {
                self.mine().await;
            }
        }
    }

    /// A block of this base fee.
    pub(crate) async fn mine_at(&self, base_fee: u64) {
        let fee = json!([format!("0x{base_fee:x}")]);
        self.anvil.ask("anvil_setNextBlockBaseFeePerGas", fee).await.unwrap();
        self.mine().await;
    }

    async fn carry_out(&self, ledger: &EvmLedger, operation: &Operation) -> Evidence {
        carry_out(ledger, operation, || self.mine()).await
    }

    pub(crate) async fn limited(&self, ledger: &EvmLedger, nonce: u64, limit: u128) -> Scenario {
        let scenario = Scenario::new(ledger, &self.parties, nonce).await;
        let mut manifest = Arc::unwrap_or_clone(scenario.manifest);
        manifest.legs[0].fee_limit = limit;
        Scenario { manifest: Arc::new(manifest) }
    }
}

/// The hash of the transaction that an intent fixes first.
fn first_hash(intent: &Intent) -> Digest {
    Digest(keccak256(&intent.0[17..]).0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_waits_is_replaced_and_found_again_after_a_restart() {
    let Some(quiet) = Quiet::start().await else { return };
    let ledger = quiet.ledger(0).await;
    let prepare = Scenario::new(&ledger, &quiet.parties, 1).await.prepare();
    let intent = ledger.intend(&prepare).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    // Seen waiting; only after some more blocks it is replaced.
    for _ in 0..PATIENCE_BLOCKS {
        ledger.submit(&intent).await.unwrap();
        assert_eq!(quiet.waiting().await, [first_hash(&intent)]);
        quiet.mine_full().await;
        assert_eq!(ledger.status(&prepare, Some(&intent)).await, Ok(Status::Absent));
    }
    ledger.submit(&intent).await.unwrap();
    assert_ne!(quiet.waiting().await, [first_hash(&intent)]);
    drop(ledger);

    // The next process knows the intent only, and the node holds a transaction that it has not seen.
    let ledger = quiet.ledger(0).await;
    ledger.adopt(&intent).await.unwrap();
    assert_eq!(ledger.status(&prepare, Some(&intent)).await, Ok(Status::Absent));
    ledger.submit(&intent).await.unwrap();
    quiet.mine().await;
    let Status::Final(evidence) = ledger.status(&prepare, Some(&intent)).await.unwrap() else {
        panic!("the replacement is not mined")
    };
    assert_ne!(evidence.position.reference, first_hash(&intent), "not the first transaction");
    ledger.submit(&intent).await.unwrap();
    let after = quiet.ledger(0).await;
    after.adopt(&intent).await.unwrap();
    assert_eq!(after.status(&prepare, Some(&intent)).await, Ok(Status::Final(evidence)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_that_is_mined_but_not_final_does_not_kill_its_intent() {
    let Some(quiet) = Quiet::start().await else { return };
    let ledger = quiet.ledger(2).await;
    let prepare = Scenario::new(&ledger, &quiet.parties, 1).await.prepare();
    let intent = ledger.intend(&prepare).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    quiet.mine_at(DEAR).await;
    // This node says at once that the fee is too low.
    ledger.submit(&intent).await.unwrap();
    for _ in 0..2 {
        quiet.mine_at(DEAR).await;
        assert_eq!(ledger.status(&prepare, Some(&intent)).await, Ok(Status::Pending));
        ledger.submit(&intent).await.unwrap();
    }
    quiet.mine_at(DEAR).await;
    assert!(matches!(ledger.status(&prepare, Some(&intent)).await, Ok(Status::Final(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fee_passes_the_manifests_limit() {
    let Some(quiet) = Quiet::start().await else { return };
    let ledger = quiet.ledger(0).await;
    let free = quiet.limited(&ledger, 1, 0).await.prepare();
    let refused = ledger.intend(&free).await.unwrap_err();
    let named = matches!(&refused, LedgerError::Refused { reason, .. } if reason.contains("fee_limit is 0"));
    assert!(named, "{refused}");

    let cheap = quiet.limited(&ledger, 2, LOW_LIMIT).await.prepare();
    let intent = ledger.intend(&cheap).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    for _ in 0..4 {
        quiet.mine_at(DEAR).await;
        let refused = ledger.submit(&intent).await.unwrap_err();
        assert!(matches!(refused, LedgerError::Transient { .. }), "{refused}");
        quiet.submit_while_cheap(&ledger, &intent).await;
    }
    let pool = quiet.pool().await;
    let fee =
        |waiting: &Value| u128::from_str_radix(&waiting["maxFeePerGas"].as_str().unwrap()[2..], 16).unwrap();
    assert!(!pool.is_empty() && pool.iter().all(|waiting| fee(waiting) * 200_000 <= LOW_LIMIT), "{pool:?}");
    quiet.mine_at(DEAR).await;
    // Nothing new is offered while the base fee is above the limit; later it is.
    let late = quiet.limited(&ledger, 3, LOW_LIMIT).await.prepare();
    let dear = ledger.intend(&late).await.unwrap_err();
    let waits = matches!(&dear, LedgerError::Transient { reason, .. } if reason.contains("fee_limit"));
    assert!(waits, "{dear}");
    quiet.submit_while_cheap(&ledger, &intent).await;
    quiet.mine_at(CHEAP).await;
    assert!(matches!(ledger.status(&cheap, Some(&intent)).await, Ok(Status::Final(_))));
    quiet.carry_out(&ledger, &late).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stuck_in_one_lane_holds_up_no_other() {
    let Some(quiet) = Quiet::start().await else { return };
    let relayer = quiet.parties.keyring.clone().insert(&secret(0x66)).unwrap();
    let ledger = quiet.ledger(0).await.with_lanes(&[relayer]).unwrap();
    let stuck = quiet.limited(&ledger, 1, LOW_LIMIT).await;
    let other = quiet.limited(&ledger, 2, u128::MAX >> 1).await;
    for scenario in [&stuck, &other] {
        quiet.carry_out(&ledger, &scenario.prepare()).await;
        quiet.carry_out(&ledger, &scenario.commit()).await;
    }
    let intent = ledger.intend(&stuck.apply()).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    quiet.mine_at(DEAR).await;
    assert_eq!(ledger.status(&stuck.apply(), Some(&intent)).await, Ok(Status::Absent));
    let free = ledger.intend(&other.apply()).await.unwrap();
    ledger.submit(&free).await.unwrap();
    quiet.mine_at(DEAR).await;
    assert!(matches!(ledger.status(&other.apply(), Some(&free)).await, Ok(Status::Final(_))));
    assert_eq!(ledger.status(&stuck.apply(), Some(&intent)).await, Ok(Status::Absent));
    quiet.submit_while_cheap(&ledger, &intent).await;
    quiet.mine_at(CHEAP).await;
    assert!(matches!(ledger.status(&stuck.apply(), Some(&intent)).await, Ok(Status::Final(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_transactions_of_one_account_are_in_flight_at_once() {
    let Some(quiet) = Quiet::start().await else { return };
    let ledger = Arc::new(quiet.ledger(0).await);
    let mut tasks = JoinSet::new();
    for nonce in 0..AT_ONCE {
        let prepare = Scenario::new(&ledger, &quiet.parties, nonce).await.prepare();
        let ledger = Arc::clone(&ledger);
        tasks.spawn(async move {
            let intent = ledger.intend(&prepare).await.unwrap();
            ledger.submit(&intent).await.unwrap();
            (prepare, intent)
        });
    }
    let sent = tasks.join_all().await;
    let mut references = std::collections::BTreeSet::new();
    for (prepare, intent) in sent {
        let mut status = ledger.status(&prepare, Some(&intent)).await.unwrap();
        for _ in 0..AT_ONCE {
            if status != Status::Absent {
                break;
            }
            quiet.mine().await;
            status = ledger.status(&prepare, Some(&intent)).await.unwrap();
        }
        let Status::Final(evidence) = status else { panic!("{status:?}") };
        references.insert(evidence.position.reference);
    }
    assert_eq!(references.len() as u64, AT_ONCE);
}

/// The fact that D's readers took for final is gone: they see that, and can do the same again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_undone_beyond_its_depth_is_seen_and_decided_again() {
    let Some(quiet) = Quiet::start().await else { return };
    let ledger = quiet.ledger(1).await;
    let scenario = Scenario::new(&ledger, &quiet.parties, 1).await;
    quiet.carry_out(&ledger, &scenario.prepare()).await;
    quiet.mine().await;
    let commit = scenario.commit();
    let intent = ledger.intend(&commit).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    quiet.mine().await;
    quiet.mine().await;
    assert!(matches!(ledger.status(&commit, Some(&intent)).await, Ok(Status::Final(_))));
    quiet.anvil.ask("anvil_reorg", json!([2, []])).await.unwrap();
    let undone = ledger.status(&commit, Some(&intent)).await.unwrap();
    assert!(matches!(undone, Status::Absent | Status::Pending), "{undone:?}");
    ledger.submit(&intent).await.unwrap();
    quiet.mine().await;
    quiet.mine().await;
    let again = ledger.status(&commit, Some(&intent)).await.unwrap();
    let Status::Final(evidence) = again else { panic!("{again:?}") };
    assert!(ledger.prove(&scenario.manifest, &[evidence]).await.is_ok());
}
