//! Drafts that name another node's party: what becomes of them here and there, and what the owner's word does.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sofie_model::Txid;
use sofie_node::api::{ApiError, Draft, ErrorKind, Federation, Transaction};
use sofie_node::peers::Word;
use sofie_node::peers::message::{Message, Reply};

use crate::liar::Liar;
use crate::world::{AMOUNT, AUTOMATIC, Anvil, Node, PATIENCE, Who, changed, held, nonce};

/// Alice pays bob, and he pays her twice as much.
fn draft(key: &str) -> Value {
    let pays = |from: &str, to: &str, amount: u128| json!({ "ledger": "ethereum", "kind": "transfer", "from": from, "to": to, "amount": amount.to_string() });
    json!({
        "idempotency_key": key,
        "deadline": "90s",
        "legs": [pays("alice", "bob", AMOUNT), pays("bob", "alice", 2 * AMOUNT)],
    })
}

fn submit(node: &Node, draft: &Value) -> Result<Transaction, ApiError> {
    let draft: Draft = serde_json::from_value(draft.clone()).unwrap();
    node.run(Federation::submit(&node.runtime, draft))
}

fn decide(node: &Node, txid: Txid, word: Word) -> Result<Transaction, ApiError> {
    node.run(node.runtime.decide_proposal(txid, word))
}

/// Waits until the node shows the transaction in this phase.
#[track_caller]
fn shown(node: &Node, txid: Txid, phase: &str) -> Transaction {
    let since = Instant::now();
    loop {
        match node.run(Federation::transaction(&node.runtime, txid)) {
            Ok(shown) if shown.phase == phase => return shown,
            other if since.elapsed() > PATIENCE => panic!("not {phase}: {other:?}"),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

#[track_caller]
fn refused(said: Result<Transaction, ApiError>, kind: ErrorKind, why: &str) {
    let error = said.unwrap_err();
    assert!(error.kind == kind && error.detail.contains(why), "{error:?}");
    assert!(!error.next.is_empty(), "{error:?}");
}

struct Pair {
    chain: Anvil,
    alice: Who,
    bob: Who,
}

impl Pair {
    fn new() -> Option<Self> {
        Some(Self { chain: Anvil::start()?, alice: Who::new("alice"), bob: Who::new("bob") })
    }

    fn alice(&self) -> Node {
        Node::start_funded(&self.alice, &self.chain, &[&self.bob], &[&self.alice, &self.bob])
    }

    fn bob(&self, automatic: u128) -> Node {
        Node::start(&self.bob, &self.chain, &[&self.alice], automatic)
    }
}

#[test]
fn a_draft_waits_for_the_other_owner_and_commits_once_it_agrees() {
    let Some(pair) = Pair::new() else { return };
    let (a, b) = (pair.alice(), pair.bob(AMOUNT));
    let (before, _) = a.run(held(&pair.chain, &[&pair.alice, &pair.bob]));
    let begun = submit(&a, &draft("once")).unwrap();
    let txid = begun.id;
    assert_eq!((begun.phase.as_str(), begun.proposal.unwrap().by), ("proposed", None));
    assert_eq!(submit(&a, &draft("once")).unwrap().id, txid, "sent again, it proposes nothing new");

    let waiting = shown(&b, txid, "proposed");
    let proposal = waiting.proposal.unwrap();
    assert_eq!(proposal.by.as_deref(), Some("alice-co"));
    assert_eq!(proposal.participants, ["alice", "bob"]);
    assert!(proposal.why.contains(&format!("with it {} is paid on ethereum", 2 * AMOUNT)), "{proposal:?}");
    let payment = waiting.legs[1].payment.clone().unwrap();
    assert_eq!((payment.from.as_str(), payment.to.as_str(), payment.amount.0), ("bob", "alice", 2 * AMOUNT));
    assert_eq!(waiting.label, "verified");
    // What the owner's rule is, the peer is not told.
    let told = shown(&a, txid, "proposed").proposal.unwrap().why;
    assert!(!told.contains(&AMOUNT.to_string()), "{told}");
    refused(decide(&a, txid, Word::Agree), ErrorKind::Conflict, "its peers decide");

    // A proposal survives a restart of both.
    b.kill();
    let b = pair.bob(AMOUNT);
    a.kill();
    let a = Node::start(&pair.alice, &pair.chain, &[&pair.bob], AUTOMATIC);
    assert_eq!(b.run(Federation::transactions(&b.runtime)).unwrap().len(), 1);
    assert!(decide(&b, txid, Word::Agree).unwrap().proposal.is_none());
    decide(&b, txid, Word::Agree).expect("said again, it changes nothing");
    refused(decide(&b, txid, Word::Decline(String::new())), ErrorKind::Conflict, "it has begun");
    assert!(a.ends(txid) && b.ends(txid), "{:?}\n{:?}", a.told(txid.0), b.told(txid.0));
    let (after, escrow) = a.run(held(&pair.chain, &[&pair.alice, &pair.bob]));
    assert_eq!(escrow, 0, "both legs are paid");
    changed(before[0], after[0], 1);
    changed(before[1], after[1], -1);
    assert_eq!(submit(&a, &draft("once")).unwrap().phase, "done");
}

#[test]
fn a_declined_draft_says_so_on_both_sides() {
    let Some(pair) = Pair::new() else { return };
    let (a, b) = (pair.alice(), pair.bob(0));
    let txid = submit(&a, &draft("no")).unwrap().id;
    shown(&b, txid, "proposed");
    let reason = "not this week\u{1b}[2J";
    let declined = decide(&b, txid, Word::Decline(reason.into())).unwrap();
    assert_eq!(declined.phase, "declined");
    decide(&b, txid, Word::Decline("another".into())).expect("said again, it changes nothing");
    refused(decide(&b, txid, Word::Agree), ErrorKind::Conflict, "its owner has declined: not this week");
    let told = shown(&a, txid, "declined").proposal.unwrap().why;
    assert_eq!(told, "peer bob-co declines: its owner has declined: not this week [2J");
    assert_eq!((a.phase(txid), b.phase(txid)), (None, None), "nothing has begun");
    assert_eq!(submit(&a, &draft("no")).unwrap().phase, "declined");
    // What was declined stays so after a restart.
    a.kill();
    let a = Node::start(&pair.alice, &pair.chain, &[&pair.bob], AUTOMATIC);
    assert_eq!(shown(&a, txid, "declined").proposal.unwrap().why, told);
}

/// Each is told with the party, the peer and what to do; no proposal is left anywhere.
#[test]
fn a_peer_that_does_not_take_part_is_named() {
    let (alice, bob, carol) = (Who::new("alice"), Who::new("bob"), Who::new("carol"));
    let a = Node::alone(&alice, &[&bob]);
    let away = submit(&a, &draft("away"));
    refused(away, ErrorKind::Unavailable, "legs[0].to: for bob, peer bob-co at http://127.0.0.1");
    let mut unknown = draft("unknown");
    unknown["legs"][0]["to"] = json!("carol");
    refused(
        submit(&a, &unknown),
        ErrorKind::Invalid,
        "no party \"carol\"; it has alice, and its peers have bob",
    );
    // Bob's node knows carol's key under that port, not alice's.
    let b = Node::alone(&bob, &[&carol]);
    refused(submit(&a, &draft("stranger")), ErrorKind::Unavailable, "peer bob-co at");
    drop(b);
    assert!(a.runtime.peers().proposals().is_empty());
    assert!(a.run(Federation::transactions(&a.runtime)).unwrap().is_empty());
}

/// What a party is to a peer that may not know it: nobody.
#[test]
fn a_party_that_is_not_published_is_nobody() {
    let (alice, bob) = (Who::new("alice"), Who::new("bob"));
    let node = Node::publishing(&bob, &alice, &[]);
    let liar = Liar::new(&node, &alice, &bob);
    let ask = |party| liar.say(&Message::Enquire { nonce: nonce(), party }).1.unwrap();
    let (own, nobodys) = (ask(bob.account()), ask(sofie_model::Account([7; 20])));
    let unlike = |reply: Reply, account: sofie_model::Account| match reply {
        Reply::Refused { reason } => reason.replace(&account.to_string(), "it"),
        other => panic!("{other:?}"),
    };
    assert_eq!(unlike(own, bob.account()), unlike(nobodys, sofie_model::Account([7; 20])));
    node.kill();
    let node = Node::publishing(&bob, &alice, &["bob"]);
    let asked = Message::Enquire { nonce: nonce(), party: bob.account() };
    assert!(matches!(Liar::new(&node, &alice, &bob).say(&asked).1, Ok(Reply::Answer { .. })));
}
