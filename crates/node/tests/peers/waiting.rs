//! Proposals that wait: how many of one proposer may, and what becomes of one that is taken back.

use sofie_model::{Digest, Manifest, Txid};
use sofie_node::api::Federation;
use sofie_node::peers::message::{Message, Reply};
use sofie_node::peers::{PeerError, Standing, Word};
use sofie_transaction::Plan;

use crate::liar::Liar;
use crate::market::{BEFORE, Life, Market, until};
use crate::world::{Who, nonce, own};

/// The most of one proposer that wait (docs/specs/node-messages.md, rule 3).
const MOST: usize = 64;
/// T_D, T_p and G.
const SECONDS: [u64; 3] = [600, 5, 8];

/// A swap that the other's owner must look at: its fees may be higher than that node's own limit.
fn dear(market: &Market, both: [sofie_model::manifest::Participant; 2], nonce: Digest) -> Manifest {
    let mut manifest = market.manifest(both, nonce, SECONDS);
    manifest.legs[1].fee_limit = 1;
    manifest
}

fn enquired(liar: &Liar<'_>, nonce: Digest, party: &Who) -> sofie_model::manifest::Participant {
    let asked = Message::Enquire { nonce, party: party.account() };
    let Ok(Reply::Answer { account, hashlock, .. }) = liar.say(&asked).1 else { panic!("no answer") };
    sofie_model::manifest::Participant { account, hashlock }
}

fn decide(life: &Life, txid: Txid, word: Word) -> Option<Result<(), String>> {
    let node = life.node();
    node.run(node.runtime.peers().decide(txid, word)).unwrap()
}

#[test]
fn a_peers_proposals_are_bounded_and_what_it_takes_back_makes_room() {
    let market = Market::new();
    let b = market.bob();
    let liar = Liar::new(b.node(), &market.alice, &market.bob);
    let propose = || {
        let nonce = nonce();
        let both = [own(&market.alice, nonce), enquired(&liar, nonce, &market.bob)];
        let manifest = dear(&market, both, nonce);
        let said = liar.say(&Message::Propose {
            manifest: Box::new(manifest.clone()),
            openings: Vec::new(),
            contract: None,
        });
        (manifest.txid(), said.1.expect("the answer is signed"))
    };
    let waiting: Vec<Txid> = (0..MOST)
        .map(|count| match propose() {
            (txid, Reply::Waiting { .. }) => txid,
            (_, other) => panic!("{count}: {other:?}"),
        })
        .collect();
    let (_, reply) = propose();
    assert!(matches!(&reply, Reply::Declined { reason } if reason.contains("too many")), "{reply:?}");
    let back = Message::Withheld { txid: waiting[0], who: 0, reason: "sold elsewhere".into() };
    assert_eq!(liar.say(&back).1, Ok(Reply::Taken));
    assert_eq!(liar.say(&back).1, Ok(Reply::Taken), "said again");
    let shown = b.node().runtime.peers().proposal(waiting[0]).unwrap();
    assert_eq!(shown.standing, Standing::Declined);
    assert_eq!(shown.why, "peer alice-co has withdrawn it: sold elsewhere");
    assert!(matches!(propose().1, Reply::Waiting { .. }), "there is room for one");
    assert!(matches!(propose().1, Reply::Declined { .. }), "and no more");
}

#[test]
fn own_proposals_are_bounded_and_what_is_taken_back_makes_room() {
    let market = Market::new();
    // Bob's node is away.
    let a = market.alice();
    let node = a.node();
    let propose = || {
        let nonce = nonce();
        let manifest = dear(&market, [own(&market.alice, nonce), own(&market.bob, nonce)], nonce);
        let plan = Plan { manifest, acts_for: vec![0], decision_time: sofie_model::Span::ZERO, pivot: None };
        let proposed = node.runtime.peers().propose(plan, Vec::new(), Vec::new(), Vec::new());
        node.run(proposed).map(Result::unwrap)
    };
    let waiting: Vec<Txid> = (0..MOST).map(|_| propose().unwrap()).collect();
    assert_eq!(propose(), Err(PeerError::TooMany));
    assert_eq!(decide(&a, waiting[0], Word::Withdraw(String::new())), Some(Ok(())));
    propose().expect("there is room for one");
    assert_eq!(propose(), Err(PeerError::TooMany));
}

/// Alice's node proposes what Bob's owner must look at: his own limit of fees is lower than what she allows.
fn proposed(market: &Market, a: &Life, b: &Life) -> Txid {
    let nonce = nonce();
    let bob = a.node().run(a.node().runtime.peers().enquire(market.bob.account(), nonce)).unwrap().0;
    let manifest = dear(market, [own(&market.alice, nonce), bob], nonce);
    let (txid, decision_time) = (manifest.txid(), sofie_model::Span::ZERO);
    let plan = Plan { manifest, acts_for: vec![0], decision_time, pivot: None };
    let proposed = a.node().runtime.peers().propose(plan, Vec::new(), Vec::new(), Vec::new());
    a.node().run(proposed).unwrap().unwrap();
    until("bob's owner sees it", || standing(b, txid) == Some(Standing::Proposed));
    txid
}

fn standing(life: &Life, txid: Txid) -> Option<Standing> {
    life.node().runtime.peers().proposal(txid).map(|shown| shown.standing)
}

#[test]
fn a_proposal_that_is_taken_back_never_begins_on_either_side() {
    let market = Market::new();
    let (a, b) = (market.alice(), market.bob());
    let txid = proposed(&market, &a, &b);
    let foreign = decide(&b, txid, Word::Withdraw(String::new())).unwrap().unwrap_err();
    assert!(foreign.contains("another node proposes it"), "{foreign}");

    let withdraw = Word::Withdraw("sold\u{1b} elsewhere".into());
    let shown = a.node().run(a.node().runtime.decide_proposal(txid, withdraw.clone())).unwrap();
    assert_eq!(shown.phase, "declined");
    assert_eq!(shown.proposal.unwrap().why, "its owner has withdrawn it: sold  elsewhere");
    assert_eq!(decide(&a, txid, withdraw.clone()), Some(Ok(())), "said again");
    until("bob's owner is told", || standing(&b, txid) == Some(Standing::Declined));
    let told = b.node().runtime.peers().proposal(txid).unwrap().why;
    assert_eq!(told, "peer alice-co has withdrawn it: its owner has withdrawn it: sold  elsewhere");
    assert!(decide(&b, txid, Word::Agree).unwrap().is_err());
    // It stays so after a restart, and nothing was locked.
    a.kill();
    let a = market.alice();
    assert_eq!(decide(&a, txid, withdraw), Some(Ok(())));
    assert_eq!((a.node().phase(txid), b.node().phase(txid)), (None, None));
    market.ends(BEFORE);
}

/// She dies before he has heard it: her next life tells him.
#[test]
fn what_is_taken_back_is_told_after_a_restart_too() {
    let market = Market::new();
    let (a, b) = (market.alice(), market.bob());
    let txid = proposed(&market, &a, &b);
    b.kill();
    assert_eq!(decide(&a, txid, Word::Withdraw("sold".into())), Some(Ok(())));
    a.kill();
    let (b, _a) = (market.bob(), market.alice());
    until("bob's owner is told", || standing(&b, txid) == Some(Standing::Declined));
    let told = b.node().runtime.peers().proposal(txid).unwrap().why;
    assert_eq!(told, "peer alice-co has withdrawn it: its owner has withdrawn it: sold");
    market.ends(BEFORE);
}

/// His word is on its way when she takes it back: his node has begun, and hears at once that she never will.
#[test]
fn what_was_agreed_to_in_the_same_moment_is_aborted_by_both_signatures() {
    let market = Market::new();
    let b = market.bob();
    let liar = Liar::new(b.node(), &market.alice, &market.bob);
    let nonce = nonce();
    let both = [own(&market.alice, nonce), enquired(&liar, nonce, &market.bob)];
    let manifest = market.manifest(both, nonce, SECONDS);
    let txid = manifest.txid();
    let proposal =
        Message::Propose { manifest: Box::new(manifest.clone()), openings: Vec::new(), contract: None };
    assert!(matches!(liar.say(&proposal).1, Ok(Reply::Agreed { .. })));
    let digest = sofie_model::contract::abort_digest(&manifest);
    let signature = sofie_model::Signature::by(market.alice.keys.secp256k1(), digest);
    assert_eq!(liar.say(&Message::Renounced { txid, who: 0, signature }).1, Ok(Reply::Taken));
    assert!(!b.node().ends(txid), "it aborts");
    market.ends(BEFORE);
}
