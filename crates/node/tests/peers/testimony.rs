//! A sensor whose owner's node takes no part in the contract: it is asked, looks for itself, and says one thing once.

use sofie_market::{BondPhase, ContractTerms, Effect, Phase, Seen};
use sofie_model::{Account, Digest, Observation, Quantity, Salt, Span, Terms, Txid, Value};
use sofie_node::clock;
use sofie_node::contracts::Plan;
use sofie_node::peers::message::{Message, Reply};
use sofie_testkit::devices::door::Mode;

use crate::liar::Liar;
use crate::market::{Life, until};
use crate::rental::{PRICE, Rental, contract, reach};

/// What Bob stakes, of what he is given.
const STAKE: u128 = 30;

fn plan(life: &Life, txid: Txid) -> Plan {
    life.node().runtime.contracts().state(txid).unwrap().unwrap().plan.as_ref().clone()
}

fn testify(plan: &Plan) -> Message {
    let Plan { agreement, salt, manifest, .. } = plan.clone();
    let contract = Box::new(ContractTerms { offer: Digest::ZERO, agreement, salt });
    Message::Testify { manifest: Box::new(manifest), contract }
}

fn count(life: &Life, txid: Txid, kind: &str) -> usize {
    life.kinds(txid).iter().filter(|one| *one == kind).count()
}

#[test]
fn a_third_nodes_sensor_has_the_owner_paid_and_its_word_stands() {
    let rental = Rental::new(Mode::Normal);
    let (alice, bob, carol) = (rental.alice(), rental.bob(None), rental.carol());
    let sensor = rental.joined(&carol);
    let txid = rental.agreed(&alice, &bob, &sensor, serde_json::json!({}));
    for life in [&alice, &bob] {
        reach(life, txid, |phase| *phase == Phase::Settled);
        until("what her sensor saw is known", || contract(life, txid).unwrap().proven());
        assert_eq!(count(life, txid, "attested"), 1);
    }
    rental.market.ends([100 - PRICE, PRICE, 0, 100]);
    assert_eq!(count(&carol, txid, "testified"), 1, "both nodes were told the same");

    // Asked again, also after a restart, she says the same; to one who has no part in it, or about other terms, nothing.
    let plan = plan(&alice, txid);
    let said = |carol: &Life, by, plan: &Plan| {
        Liar::new(carol.node(), by, &rental.carol).say(&testify(plan)).1.unwrap()
    };
    let by_alice = said(&carol, &rental.market.alice, &plan);
    let Reply::Testimony { seen } = &by_alice else { panic!("{by_alice:?}") };
    let first = contract(&bob, txid).unwrap().seen().collect::<Vec<Seen>>();
    assert_eq!(*seen, first);
    carol.kill();
    let carol = rental.carol();
    assert_eq!(said(&carol, &rental.market.bob, &plan), by_alice);

    let refused = |by, plan: &Plan, why: &str| {
        let reply = said(&carol, by, plan);
        assert!(matches!(&reply, Reply::Refused { reason } if reason.contains(why)), "{why}: {reply:?}");
    };
    refused(&rental.judge, &plan, "no party of peer judge-co pays or is paid");
    let alice = &rental.market.alice;
    let changed = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        plan
    };
    refused(alice, &changed(&|plan| plan.salt = Salt::new([9; 32])), "does not commit to this agreement");
    refused(alice, &changed(&|plan| plan.agreement.price += 1), "does not commit to this agreement");
    let escrow = |plan: &mut Plan, change: &dyn Fn(&mut sofie_model::manifest::EscrowTerms)| {
        let Terms::Escrow(terms) = &mut plan.manifest.legs[0].terms else { unreachable!() };
        change(terms);
    };
    refused(
        alice,
        &changed(&|plan| escrow(plan, &|terms| terms.amount += 1)),
        "do not hold what the agreement says",
    );
    refused(
        alice,
        &changed(&|plan| escrow(plan, &|terms| terms.payee = Account([9; 20]))),
        "do not hold what the agreement says",
    );
    // The same agreement in a transaction that no ledger knows.
    let unknown = changed(&|plan| plan.manifest.deadline = plan.manifest.deadline + Span::from_seconds(1));
    let reply = said(&carol, alice, &unknown);
    assert!(
        matches!(&reply, Reply::Waiting { reason, .. } if reason.contains("does not show that it is committed")),
        "{reply:?}"
    );
    let elsewhere = changed(&|plan| {
        let Plan { manifest, .. } = plan;
        (manifest.decision.ledger, manifest.legs[0].ledger) =
            ("moon".parse().unwrap(), "moon".parse().unwrap());
    });
    refused(alice, &elsewhere, "this node has no ledger moon");
    assert_eq!(count(&carol, txid, "testified"), 1);
}

fn staked() -> serde_json::Value {
    serde_json::json!({
        "decision_within_s": 8, "evidence_within_s": 1,
        "penalty": { "amount": STAKE.to_string(), "within_s": 60 },
    })
}

fn stake_of(life: &Life, txid: Txid) -> BondPhase {
    contract(life, txid).unwrap().bond().unwrap().phase().clone()
}

/// Whichever came first, the payment or the word: the receipt is made of both. Ledgers in memory prove nothing to one.
#[track_caller]
fn tells_why(life: &Life, txid: Txid) -> Seen {
    until("it makes its receipt", || contract(life, txid).unwrap().effects() == [Effect::Receipt]);
    let known = contract(life, txid).unwrap();
    assert!(known.penalised());
    assert_eq!(count(life, txid, "unheard"), 0);
    known.missed().next().unwrap()
}

#[test]
fn a_third_nodes_sensor_shows_a_miss_and_the_stake_is_paid_out() {
    let mut rental = Rental::new(Mode::Stuck);
    rental.market.chain.endow(rental.market.bob.account(), STAKE);
    let (alice, bob, carol) = (rental.alice(), rental.bob(None), rental.carol());
    let sensor = rental.joined(&carol);
    let txid = rental.agreed(&alice, &bob, &sensor, staked());
    let due = reach(&alice, txid, |phase| matches!(phase, Phase::Awaiting | Phase::Watching)).due();
    until("it is due", || clock::now() >= due);
    // It speaks when something changes, or when it starts.
    rental.restart_sensor();
    for life in [&alice, &bob] {
        until("the stake is paid out", || stake_of(life, txid) == BondPhase::Paid);
        reach(life, txid, |phase| matches!(phase, Phase::Refunded { .. }));
        tells_why(life, txid);
    }
    rental.market.ends([100 + STAKE, 0, 0, 100]);
    assert_eq!(count(&carol, txid, "testified"), 1);
}

/// Bob's node is away while Alice's has the stake paid, and finds nobody to ask when it is back, also in a life after that one.
#[test]
fn the_owners_node_that_sees_its_stake_paid_hears_why_when_the_payers_is_back() {
    let rental = Rental::new(Mode::Stuck);
    rental.market.chain.endow(rental.market.bob.account(), STAKE);
    let (alice, bob) = (rental.alice(), rental.bob(None));
    let txid = rental.agreed(&alice, &bob, "urn:carol:door:1", staked());
    let agreed = reach(&alice, txid, |phase| matches!(phase, Phase::Awaiting | Phase::Watching));
    reach(&bob, txid, |phase| *phase == Phase::Watching);
    until("it is due", || clock::now() >= agreed.due());
    bob.kill();
    let seen = rental.word(&agreed);
    let quantity = Quantity::unitless(Value::Bool(false));
    let observation = Observation { quantity, observed_at: clock::now(), ..seen.observation };
    let said = agreed.missed_attestation(&observation, &seen.salt).unwrap();
    let attestation = said.sign(rental.carol.keys.secp256k1());
    let word = Seen { observation, attestation, ..seen };
    rental.bring(&alice, txid, word.clone());
    assert_eq!(tells_why(&alice, txid), word);
    alice.kill();

    let bob = rental.bob(None);
    until("Bob's node sees it paid", || stake_of(&bob, txid) == BondPhase::Paid);
    let until_then = contract(&bob, txid).unwrap().asks_why_until();
    assert!(until_then.is_some(), "nobody can have told it");
    bob.kill();
    let bob = rental.bob(None);
    let known = contract(&bob, txid).unwrap();
    assert_eq!((known.asks_why_until(), known.penalised()), (until_then, false));
    let alice = rental.alice();
    assert_eq!(tells_why(&bob, txid), word);
    reach(&alice, txid, |phase| matches!(phase, Phase::Refunded { .. }));
    rental.market.ends([100 + STAKE, 0, 0, 100]);
}
