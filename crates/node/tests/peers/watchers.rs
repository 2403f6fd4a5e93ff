//! A third node watches for Bob's, which is gone for good: it finishes by what it was entrusted with, and by nothing else.
//! Alice's side is played by hand.

use std::thread;

use sofie_ledgers::Spend;
use sofie_model::{Digest, Manifest, Txid, evidence};
use sofie_node::api::{Federation, Watcher};
use sofie_node::journal::PauseAt;
use sofie_node::peers::message::{Message, Reply};

use crate::market::{ANYTHING, BEFORE, Life, Market, OUTSIDE, PIVOT, SWAPPED, TRANSFER, until};
use crate::pivots::{AMPLE, Alice, SOON, ahead, proposal, secrets};
use crate::world::{Who, nonce, own};

/// Bob's node, whose watcher is `gate`.
fn bob(market: &Market, gate: &Who, dies: Option<PauseAt>) -> Life {
    let config = market.bob.config_with(OUTSIDE, &[&market.alice], ANYTHING, ("watcher", gate));
    market.open(&market.bob, config, dies)
}

/// The watcher's.
fn watcher(market: &Market, gate: &Who) -> Life {
    market.open(gate, gate.config_with(OUTSIDE, &[], "", ("watched", &market.bob)), None)
}

/// How many spends it holds that others signed ahead.
fn spends(watcher: &Life, txid: Txid) -> usize {
    watcher.kinds(txid).iter().filter(|kind| *kind == "presigned").count()
}

/// What Bob's node tells of its watcher.
fn shown(bob: &Life, txid: Txid) -> Watcher {
    let node = bob.node();
    let shown = node.run(Federation::transaction(&node.runtime, txid)).unwrap();
    let [only] = shown.watchers.try_into().unwrap();
    only
}

fn signs_ahead(alice: &Alice<'_>, market: &Market, manifest: &Manifest) {
    let signed = market.sign_ahead(&market.alice, manifest, Spend::Claim);
    assert_eq!(alice.say(&ahead(manifest.txid(), &signed)), Reply::Taken);
}

#[test]
fn a_watcher_claims_what_a_dead_node_was_to_claim() {
    let (market, gate) = (Market::new(), Who::new("gate"));
    let (b, w) = (bob(&market, &gate, None), watcher(&market, &gate));
    let alice = Alice::of(&market, &b);
    let manifest = alice.locked([AMPLE, 5, 8]);
    let txid = manifest.txid();
    signs_ahead(&alice, &market, &manifest);
    until("the watcher has both spends", || spends(&w, txid) == 2);
    until("bob releases", || alice.has_released(txid));
    until("bob knows it", || shown(&b, txid).lacks.is_none());
    assert_eq!(shown(&b, txid).has, ["manifest", "claim", "refund"]);
    // It has been told no secret.
    let state = w.node().runtime.transactions().state(txid).unwrap().unwrap();
    assert!(state.acts_for().is_empty() && (0..2).all(|who| state.preimage(who).is_none()));
    let state = b.node().runtime.transactions().state(txid).unwrap().unwrap();
    let root = evidence::root(state.prepared().map(|(_, evidence)| evidence));
    b.kill();
    market.commit(&manifest, root, secrets(&market, &manifest));
    assert!(w.node().ends(txid), "{:?}", w.kinds(txid));
    market.ends(SWAPPED);
}

/// It comes late, after Bob's node has been started again; it dies, too, and comes back.
#[test]
fn a_watcher_that_was_away_is_told_and_takes_back_what_a_dead_node_had_locked() {
    let (market, gate) = (Market::new(), Who::new("gate"));
    let b = bob(&market, &gate, None);
    let alice = Alice::of(&market, &b);
    // Time for another start of his node before it would take the coin back itself.
    let manifest = alice.locked([15, 5, 8]);
    let txid = manifest.txid();
    signs_ahead(&alice, &market, &manifest);
    until("bob misses the watcher", || {
        shown(&b, txid).lacks.is_some_and(|why| why.contains("did not answer"))
    });
    assert!(shown(&b, txid).has.is_empty());
    b.kill();
    let b = bob(&market, &gate, None);
    let w = watcher(&market, &gate);
    until("the watcher has both spends", || spends(&w, txid) == 2);
    b.kill();
    w.kill();
    let w = watcher(&market, &gate);
    assert!(!w.node().ends(txid), "it aborts: {:?}", w.kinds(txid));
    market.ends(BEFORE);
}

/// How a swap ends in which Bob's node is dead from this write of its journal on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The watcher was not told of it.
    Unwatched,
    /// It has the manifest; the node died between its lock and what it signs ahead of that.
    Locked,
    /// The watcher has ended it, and everybody has everything back.
    Ended,
}

fn dies_at(write: u64) -> Fate {
    let (market, gate) = (Market::new(), Who::new("gate"));
    let w = watcher(&market, &gate);
    let b = bob(&market, &gate, Some(PauseAt::Write(write)));
    let Some(manifest) = plays(&market, &b, &w) else { return Fate::Unwatched };
    b.kill();
    let txid = manifest.txid();
    if w.node().phase(txid).is_none() {
        return Fate::Unwatched;
    }
    let refunds = |(kind, what): &(String, String)| kind == "presigned" && what.contains("refund");
    if market.is_locked(txid, PIVOT) && !w.node().told(txid.0).iter().any(refunds) {
        return Fate::Locked;
    }
    assert!(!w.node().ends(txid), "write {write}: {:?}", w.kinds(txid));
    market.ends(BEFORE);
    Fate::Ended
}

/// Alice locks and signs ahead, and never decides. It returns once Bob's node has died or said all.
fn plays(market: &Market, b: &Life, w: &Life) -> Option<Manifest> {
    b.node.as_ref()?;
    let alice = Alice::of(market, b);
    let nonce = nonce();
    let asked = Message::Enquire { nonce, party: market.bob.account() };
    let Ok(Reply::Answer { account, hashlock, .. }) = alice.liar.say(&asked).1 else { return None };
    let his = sofie_model::manifest::Participant { account, hashlock };
    let manifest = market.manifest([own(&market.alice, nonce), his], nonce, [12, 5, 8]);
    let txid = manifest.txid();
    // Whether its answer comes or not: it may have begun.
    drop(alice.liar.say(&proposal(&manifest)));
    market.by_hand(&market.alice, &manifest, TRANSFER, sofie_model::Step::Prepare);
    until("bob has locked, or died", || b.is_dead() || b.is_done(txid) || market.is_locked(txid, PIVOT));
    if market.is_locked(txid, PIVOT) {
        let signed = market.sign_ahead(&market.alice, &manifest, Spend::Claim);
        drop(alice.liar.say(&ahead(txid, &signed)));
    }
    until("the watcher has all, or bob is dead or done", || {
        b.is_dead() || b.is_done(txid) || spends(w, txid) == 2
    });
    Some(manifest)
}

/// From some write on, its node is gone: once its watcher was told, and holds what undoes the lock, everything comes back.
#[test]
fn a_node_that_dies_for_good_is_followed_by_its_watcher() {
    let fates: Vec<Fate> = thread::scope(|scope| {
        let runs: Vec<_> = (1..=21).step_by(4).map(|write| scope.spawn(move || dies_at(write))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(fates.first(), Some(&Fate::Unwatched), "{fates:?}");
    assert_eq!(fates.last(), Some(&Fate::Ended), "{fates:?}");
    assert!(fates.iter().filter(|fate| **fate == Fate::Ended).count() > 1, "{fates:?}");
}

#[test]
fn a_watcher_takes_nothing_from_others_and_nothing_that_is_its_own() {
    let (market, gate) = (Market::new(), Who::new("gate"));
    let (b, w) = (bob(&market, &gate, None), watcher(&market, &gate));
    // Alice is no peer for which Bob's node watches.
    let alice = Alice::of(&market, &b);
    let nonce = nonce();
    let manifest =
        market.manifest([own(&market.alice, nonce), own(&market.bob, nonce)], nonce, [AMPLE, 5, 8]);
    let watch = |manifest: &Manifest| Message::Watch { manifest: Box::new(manifest.clone()) };
    alice.refused(&watch(&manifest), "does not watch for peer alice-co");
    // Bob is one for which the watcher does.
    let speaks = crate::liar::Liar::new(w.node(), &market.bob, &gate);
    let mut own_part = manifest.clone();
    own_part.participants[0].account = gate.account();
    let mut elsewhere = manifest.clone();
    elsewhere.legs[1].ledger = "moon".parse().unwrap();
    let signed = Message::Presigned { txid: manifest.txid(), refund: true, signed: vec![1] };
    for (message, why) in [
        (watch(&own_part), "takes part here"),
        (watch(&elsewhere), "has no ledger moon"),
        (signed.clone(), "knows no such transaction"),
    ] {
        let said = speaks.say(&message).1;
        assert!(matches!(&said, Ok(Reply::Refused { reason }) if reason.contains(why)), "{why}: {said:?}");
    }
    assert_eq!(speaks.say(&watch(&manifest)).1, Ok(Reply::Taken));
    assert_eq!(speaks.say(&watch(&manifest)).1, Ok(Reply::Taken), "said again");
    assert_eq!(w.kinds(manifest.txid()).iter().filter(|kind| *kind == "watched").count(), 1);
    assert!(matches!(speaks.say(&signed).1, Ok(Reply::Waiting { .. })), "there is no lock yet");
    assert_eq!(spends(&w, manifest.txid()), 0);
    let refused = w.node().told(Digest(own_part.txid().0.0));
    assert!(refused.iter().any(|(kind, _)| kind == "peer-refused"), "{refused:?}");
}

/// What is on a ledger inside the node, nobody else can finish: the watcher is not troubled, and the node says so.
#[test]
fn what_is_inside_the_node_is_not_entrusted() {
    let (market, gate) = (Market::new(), Who::new("gate"));
    let inside = OUTSIDE.replace("[[ledger]]\nid = \"coin\"\nkind = \"bitcoin-rpc\"\nurl = \"http://127.0.0.1:1\"\ncookie = \"cookie\"\nnetwork = \"regtest\"\nfinality = \"depth:1\"", "[[ledger]]\nid = \"coin\"\nkind = \"calendar\"");
    assert_ne!(inside, OUTSIDE);
    let config = market.bob.config_with(&inside, &[&market.alice], ANYTHING, ("watcher", &gate));
    let b = market.open(&market.bob, config, None);
    let alice = Alice::of(&market, &b);
    let manifest = alice.locked(SOON);
    let told = shown(&b, manifest.txid());
    assert!(told.has.is_empty() && told.lacks.is_some_and(|why| why.contains("coin is inside this node")));
}
