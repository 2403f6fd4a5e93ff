//! One calendar, which is Alice's, as a leg of a transaction of both: her node dies once in between, and the receipt of each
//! node proves what both recorded.

use serde_json::json;
use sofie_audit::{Story, verify};
use sofie_model::{Anchor, Digest};
use sofie_node::api::{Draft, Federation};
use sofie_node::runtime::Runtime;

use crate::world::{AMOUNT, AUTOMATIC, Anvil, Node, Who, changed, evm, fund, held};

fn start(who: &Who, chain: &Anvil, calendar: &str, peer: &Who) -> Node {
    let ledgers = format!("{}\n[[ledger]]\nid = \"calendar\"\n{calendar}", evm(chain));
    let config = who.config_on(&ledgers, &[peer], &format!("ethereum = \"{AUTOMATIC}\""));
    Node::opened(config, async |config| Runtime::open(config, None).await).unwrap()
}

#[test]
fn two_nodes_record_on_one_calendar_whose_owner_is_killed_once() {
    let Some(chain) = Anvil::start() else { return };
    let (alice, bob) = (Who::new("alice"), Who::new("bob"));
    let own = "kind = \"calendar\"\npeers = [\"bob-co\"]\n";
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    threads.block_on(fund(&chain, &[&alice, &bob]));
    let a = start(&alice, &chain, own, &bob);
    // What Bob pins is what her node shows.
    let shown = a.run(Federation::ledgers(&a.runtime)).unwrap();
    let log = shown.iter().find_map(|ledger| ledger.log.clone()).unwrap();
    let hers = format!(
        "kind = \"calendar-http\"\nurl = \"http://{}\"\nlog = \"{log}\"\ninclusion = \"5s\"\n",
        alice.authority()
    );
    let b = start(&bob, &chain, &hers, &alice);
    let (before, _) = threads.block_on(held(&chain, &[&alice, &bob]));

    let pays = |from: &str, to: &str, amount: u128| json!({ "ledger": "ethereum", "kind": "transfer", "from": from, "to": to, "amount": amount.to_string() });
    let draft = json!({
        "idempotency_key": "deed",
        "deadline": "90s",
        "legs": [
            pays("bob", "alice", AMOUNT), pays("alice", "bob", 2 * AMOUNT),
            { "ledger": "calendar", "kind": "record", "payload": "a deed" },
        ],
    });
    let draft: Draft = serde_json::from_value(draft).unwrap();
    let txid = b.run(Federation::submit(&b.runtime, draft)).unwrap().id;
    a.until(txid, |_| true);
    a.kill();
    let a = start(&alice, &chain, own, &bob);
    assert!(a.ends(txid) && b.ends(txid), "{:?}\n{:?}", a.told(txid.0), b.told(txid.0));
    let (after, escrow) = threads.block_on(held(&chain, &[&alice, &bob]));
    assert_eq!(escrow, 0, "both legs are paid");
    changed(before[0], after[0], -1);
    changed(before[1], after[1], 1);

    let key = Digest(alice.keys.ed25519().verifying_key().to_bytes());
    for node in [&a, &b] {
        let receipt = node.run(Federation::transaction_receipt(&node.runtime, txid)).unwrap();
        let report = verify(&receipt, None);
        assert_eq!(report.story, Some(Story::Committed), "{report:#?}");
        let logs = report.anchors.iter().filter(|one| match &one.on {
            Anchor::Calendar { origin, key: by, .. } => origin == "alice-node/calendar" && *by == key,
            _ => false,
        });
        assert_eq!(logs.count(), 1, "{report:#?}");
    }
}
