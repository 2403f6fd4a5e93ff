//! A node that dies around a dispute window: whichever it is, and at whichever step, the contract ends as if it had lived.

use std::thread;

use sofie_market::Phase;
use sofie_model::{Span, Txid};
use sofie_node::api::{Federation, Rule};
use sofie_node::clock;
use sofie_node::journal::PauseAt;
use sofie_testkit::devices::door::Mode;

use crate::market::{Life, until};
use crate::rental::{PRICE, Rental, contract, reach};

const SENSOR: &str = "urn:carol:door:1";

const fn disputable(phase: &Phase) -> bool {
    matches!(phase, Phase::Disputable { .. })
}

const fn over(phase: &Phase) -> bool {
    matches!(phase, Phase::Settled | Phase::Overruled | Phase::Refunded { .. } | Phase::Stuck { .. })
}

/// Agreed, done, and what Carol has seen brought to Bob's node.
fn seen(rental: &Rental, alice: &Life, bob: &Life) -> Txid {
    let txid = rental.agreed(alice, bob, SENSOR, Rental::disputable());
    let actuated = reach(bob, txid, |phase| *phase == Phase::Watching);
    assert!(rental.door.state().unwrap().open);
    rental.bring(bob, txid, rental.word(&actuated));
    txid
}

/// What Alice and Bob have at last.
fn paid(rental: &Rental, txid: Txid, lives: [&Life; 2], (phase, bobs): (Phase, u128)) {
    for life in lives {
        assert_eq!(*reach(life, txid, over).phase(), phase);
    }
    rental.market.ends([100 - bobs, bobs, 0, 100]);
}

/// It dies once it has fixed what it will send, and comes back on that.
fn the_owners_dies_before(intent: &str) {
    let rental = Rental::new(Mode::Normal);
    let alice = rental.alice();
    let mut bob = rental.bob(Some(PauseAt::Intent(intent.into())));
    let txid = seen(&rental, &alice, &bob);
    until("it dies", || bob.is_dead());
    bob.end();
    let bob = rental.bob(None);
    paid(&rental, txid, [&alice, &bob], (Phase::Settled, PRICE));
    let presented = bob.kinds(txid).into_iter().filter(|kind| kind == "presented").count();
    assert_eq!(presented, 1, "what it had sent is not sent again");
}

/// The one of these is gone while the judge may speak, until it is over for the other.
fn one_is_gone_within_the_window(owners: bool) {
    let rental = Rental::new(Mode::Normal);
    let (mut alice, mut bob) = (rental.alice(), rental.bob(None));
    let txid = seen(&rental, &alice, &bob);
    let lives = [&alice, &bob];
    lives.into_iter().for_each(|life| drop(reach(life, txid, disputable)));
    let gone = if owners { &mut bob } else { &mut alice };
    gone.end();
    if !owners {
        reach(&bob, txid, over);
        alice = rental.alice();
    } else {
        // Its payment waits for it; what it has presented never comes back by time.
        until("the window is over", || {
            let until = contract(&alice, txid).and_then(|contract| contract.disputable_until());
            until.is_some_and(|until| clock::now() > until + Span::from_seconds(1))
        });
        bob = rental.bob(None);
    }
    paid(&rental, txid, [&alice, &bob], (Phase::Settled, PRICE));
}

/// The owner's node is gone when the judge overrules what it had presented: it finds that on the ledger.
fn the_owners_is_gone_when_it_is_overruled() {
    let rental = Rental::new(Mode::Normal);
    let (alice, mut bob) = (rental.alice(), rental.bob(None));
    let txid = seen(&rental, &alice, &bob);
    let ruling = reach(&bob, txid, disputable).ruling().unwrap();
    bob.end();
    reach(&alice, txid, disputable);
    let ruling = Some(ruling.sign(rental.judge.keys.secp256k1()));
    let node = alice.node();
    node.run(Federation::rule_on_contract(&node.runtime, txid, Rule { ruling })).unwrap();
    reach(&alice, txid, over);
    let bob = rental.bob(None);
    paid(&rental, txid, [&alice, &bob], (Phase::Overruled, 0));
}

#[test]
fn a_node_that_dies_around_a_dispute_window_ends_as_if_it_had_lived() {
    thread::scope(|scope| {
        for intent in ["present", "settle"] {
            scope.spawn(move || the_owners_dies_before(intent));
        }
        scope.spawn(|| one_is_gone_within_the_window(true));
        scope.spawn(|| one_is_gone_within_the_window(false));
        scope.spawn(the_owners_is_gone_when_it_is_overruled);
    });
}
