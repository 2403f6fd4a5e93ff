//! Nodes that keep to the protocol, and what becomes of it when one dies.

use sofie_node::peers::Word;
use sofie_transaction::Phase;

use crate::world::{AMOUNT, AUTOMATIC, Anvil, Node, Who, changed, held, propose};

/// Long enough for two blocks a step on a busy machine.
const SECONDS: u64 = 60;

#[test]
fn two_nodes_commit_what_neither_could_alone() {
    let Some(chain) = Anvil::start() else { return };
    let (alice, bob) = (Who::new("alice"), Who::new("bob"));
    let a = Node::start_funded(&alice, &chain, &[&bob], &[&alice, &bob]);
    let b = Node::start(&bob, &chain, &[&alice], AUTOMATIC);
    let (before, _) = a.run(held(&chain, &[&alice, &bob]));
    let txid = propose(&a, &[&alice, &bob], SECONDS);
    assert!(a.ends(txid) && b.ends(txid), "{:?}\n{:?}", a.told(txid.0), b.told(txid.0));
    let (after, escrow) = a.run(held(&chain, &[&alice, &bob]));
    assert_eq!(escrow, 0, "both legs are paid");
    changed(before[0], after[0], 1);
    changed(before[1], after[1], -1);
    let kinds: Vec<_> = b.told(txid.0).into_iter().map(|(kind, _)| kind).collect();
    assert!(kinds.contains(&"agreed".to_owned()), "{kinds:?}");
    // Each node released its own secret only, and heard the other's.
    for (node, own) in [(&a, "participant 0"), (&b, "participant 1")] {
        let released: Vec<_> = node
            .told(txid.0)
            .into_iter()
            .filter(|(kind, _)| kind == "released")
            .map(|(_, what)| what)
            .collect();
        assert!(released.contains(&own.to_owned()), "{released:?}");
    }
}

#[test]
fn three_nodes_commit() {
    let Some(chain) = Anvil::start() else { return };
    let (alice, bob, carol) = (Who::new("alice"), Who::new("bob"), Who::new("carol"));
    let all = [&alice, &bob, &carol];
    let a = Node::start_funded(&alice, &chain, &[&bob, &carol], &all);
    let b = Node::start(&bob, &chain, &[&alice, &carol], AUTOMATIC);
    let c = Node::start(&carol, &chain, &[&alice, &bob], AUTOMATIC);
    let (before, _) = a.run(held(&chain, &all));
    let txid = propose(&a, &all, SECONDS);
    assert!([&a, &b, &c].into_iter().all(|node| node.ends(txid)), "{:?}", a.told(txid.0));
    let (after, escrow) = a.run(held(&chain, &all));
    assert_eq!(escrow, 0, "every leg is paid");
    for (index, change) in [2, -1, -1].into_iter().enumerate() {
        changed(before[index], after[index], change);
    }
}

/// The owner's rule is asked where a payment is over its limit.
#[test]
fn a_payment_over_the_limit_waits_for_a_person() {
    let Some(chain) = Anvil::start() else { return };
    let (alice, bob) = (Who::new("alice"), Who::new("bob"));
    let a = Node::start_funded(&alice, &chain, &[&bob], &[&alice, &bob]);
    let b = Node::start(&bob, &chain, &[&alice], AMOUNT);
    let txid = propose(&a, &[&alice, &bob], SECONDS);
    let since = std::time::Instant::now();
    let pending = loop {
        match b.runtime.peers().proposals().pop() {
            Some(pending) => break pending,
            None => assert!(since.elapsed() < crate::world::PATIENCE, "nothing waits"),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert_eq!((pending.txid, pending.peer.as_deref()), (txid, Some("alice-co")));
    assert!(pending.why.contains("is automatic"), "{}", pending.why);
    assert_eq!((a.phase(txid), b.phase(txid)), (None, None), "nothing has begun");
    assert_eq!(b.run(b.runtime.peers().decide(txid, Word::Agree)).unwrap(), Some(Ok(())));
    assert!(a.ends(txid) && b.ends(txid));
}

/// A peer that agreed and then is gone for good: the deadline aborts, and the value returns.
#[test]
fn a_peer_that_vanishes_costs_nothing_but_time() {
    let Some(chain) = Anvil::start() else { return };
    let (alice, bob) = (Who::new("alice"), Who::new("bob"));
    let a = Node::start_funded(&alice, &chain, &[&bob], &[&alice, &bob]);
    let b = Node::start(&bob, &chain, &[&alice], AUTOMATIC);
    let before = a.run(held(&chain, &[&alice])).0[0];
    let txid = propose(&a, &[&alice, &bob], 25);
    b.until(txid, |_| true);
    b.kill();
    assert!(!a.ends(txid), "it aborts");
    let (after, escrow) = a.run(held(&chain, &[&alice]));
    // Bob's node may have locked its own part before it was killed: only its owner, or anyone, may undo that.
    assert!(escrow == 0 || escrow == 2 * AMOUNT, "{escrow}");
    changed(before, after[0], 0);
}

/// Killed at some step and started again, either node goes on; the balances add up.
#[test]
fn a_node_that_is_killed_and_comes_back_commits() {
    let Some(chain) = Anvil::start() else { return };
    let (alice, bob) = (Who::new("alice"), Who::new("bob"));
    let a = Node::start_funded(&alice, &chain, &[&bob], &[&alice, &bob]);
    let b = Node::start(&bob, &chain, &[&alice], AUTOMATIC);
    let (before, _) = a.run(held(&chain, &[&alice, &bob]));
    let txid = propose(&a, &[&alice, &bob], 2 * SECONDS);
    b.until(txid, |_| true);
    b.kill();
    let b = Node::start(&bob, &chain, &[&alice], AUTOMATIC);
    a.until(txid, |phase| !matches!(phase, Phase::Preparing));
    a.kill();
    let a = Node::start(&alice, &chain, &[&bob], AUTOMATIC);
    assert!(a.ends(txid) && b.ends(txid), "{:?}\n{:?}", a.told(txid.0), b.told(txid.0));
    let (after, escrow) = a.run(held(&chain, &[&alice, &bob]));
    assert_eq!(escrow, 0, "every leg is paid, once");
    changed(before[0], after[0], 1);
    changed(before[1], after[1], -1);
}
