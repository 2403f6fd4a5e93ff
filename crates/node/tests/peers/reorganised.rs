//! P3 on a real chain: anvil undoes, beyond the depth that is configured, the COMMIT that a node has taken for final.

use serde_json::{Value, json};
use sofie_ledgers::evm::contracts::{DECISION, ESCROW};
use sofie_model::Txid;
use sofie_node::api::{Draft, Federation};
use sofie_node::runtime::Runtime;
use sofie_transaction::Phase;

use crate::market::until;
use crate::world::{AMOUNT, Anvil, Node, Who, evm, fund};

/// A chain, and the thread on which it is asked, however many nodes come and go.
struct Chain {
    anvil: Anvil,
    thread: tokio::runtime::Runtime,
}

impl Chain {
    fn start() -> Option<Self> {
        let thread = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Some(Self { anvil: Anvil::start()?, thread })
    }

    fn ask(&self, method: &str, params: Value) -> Value {
        self.thread.block_on(self.anvil.ask(method, params))
    }

    fn mine(&self) {
        self.ask("evm_mine", json!([]));
    }

    fn height(&self) -> u64 {
        number(&self.ask("eth_blockNumber", json!([])))
    }

    /// The block in which a decision stands.
    fn decided(&self) -> Option<u64> {
        let of = json!([{ "fromBlock": "0x0", "address": DECISION.address.to_string() }]);
        self.ask("eth_getLogs", of).as_array().unwrap().first().map(|log| number(&log["blockNumber"]))
    }

    /// How much the party has sent, what waits included.
    fn sent(&self, by: &Who) -> Value {
        self.ask("eth_getTransactionCount", json!([by.account().to_string(), "pending"]))
    }
}

fn number(quantity: &Value) -> u64 {
    u64::from_str_radix(quantity.as_str().unwrap().strip_prefix("0x").unwrap(), 16).unwrap()
}

/// Alice's, who pays Bob; both are parties of it.
fn start(alice: &Who, chain: &Chain) -> Node {
    let ledgers = format!("[[party]]\nname = \"bob\"\n\n{}", evm(&chain.anvil));
    let config = alice.config_on(&ledgers, &[], "");
    Node::opened(config, async |config| Runtime::open(config, None).await).unwrap()
}

fn halted(node: &Node) -> bool {
    let mut text = String::new();
    node.runtime.write_metrics(&mut text).unwrap();
    text.lines().any(|line| line == "sofie_transactions_halted 1")
}

fn kinds(node: &Node, txid: Txid) -> Vec<String> {
    node.told(txid.0).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn a_commit_that_anvil_undoes_beyond_its_depth_before_the_legs_follow_halts_its_node_and_alarms() {
    let Some(chain) = Chain::start() else { return };
    let alice = Who::new("alice");
    chain.thread.block_on(fund(&chain.anvil, &[&alice]));
    let node = start(&alice, &chain);
    let draft: Draft = serde_json::from_value(json!({
        "deadline": "120s",
        "legs": [{ "ledger": "ethereum", "kind": "transfer", "from": "alice", "to": "bob", "amount": AMOUNT.to_string() }],
    }))
    .unwrap();
    let txid = node.run(Federation::submit(&node.runtime, draft)).unwrap().id;
    until("COMMIT is in a block", || chain.decided().is_some());
    // From here on blocks are made by hand. One more, and it is final; what applies the leg is sent, and waits for another.
    chain.ask("evm_setIntervalMining", json!([0]));
    let (decided, before) = (chain.decided().unwrap(), chain.sent(&alice));
    if chain.height() == decided {
        chain.mine();
    }
    node.until(txid, |phase| matches!(phase, Phase::Closing(_)));
    until("what applies the leg is sent", || chain.sent(&alice) != before);

    chain.ask("anvil_reorg", json!([chain.height() + 1 - decided, []]));
    let phase = node.until(txid, |phase| matches!(phase, Phase::Halted { .. }));
    let Phase::Halted { reason } = phase else { unreachable!("as was waited for") };
    assert!(reason.contains("ethereum no longer holds its final decision (P3)"), "{reason}");
    until("it is counted", || halted(&node));
    let shown = node.run(Federation::transaction(&node.runtime, txid)).unwrap();
    assert_eq!((shown.phase.as_str(), shown.reason.as_ref()), ("halted", Some(&reason)));
    assert!(shown.next.contains("`sofie tx resume`"), "{}", shown.next);
    assert_eq!(shown.legs[0].state, "prepared");
    let kinds = kinds(&node, txid);
    assert_eq!(kinds.last().map(String::as_str), Some("halted"), "{kinds:?}");

    // Blocks come and go, and nothing more is begun: who was to be paid is not, and what was locked stays so.
    chain.mine();
    let (before, height) = (chain.sent(&alice), chain.height());
    chain.ask("evm_setIntervalMining", json!([1]));
    until("three more blocks", || chain.height() >= height + 3);
    let ledgers = node.run(Federation::ledgers(&node.runtime)).unwrap();
    assert!(ledgers.iter().all(|ledger| ledger.ok), "{ledgers:?}");
    assert_eq!((chain.sent(&alice), chain.decided()), (before, None));
    assert_eq!(self::kinds(&node, txid), kinds);
    assert_eq!(chain.thread.block_on(chain.anvil.balance(ESCROW.address)), AMOUNT);
    // A restart forgets nothing of it.
    node.kill();
    let node = start(&alice, &chain);
    assert!(matches!(node.phase(txid), Some(Phase::Halted { .. })), "{:?}", node.phase(txid));
    until("it is counted", || halted(&node));
}
