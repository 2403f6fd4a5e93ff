//! The owner's stake, on ledgers in memory: nobody tells the device, so that what was agreed is missed.

use sofie_market::{BondPhase, Penalty};
use sofie_model::{Observation, Quantity};

use super::*;

const STAKE: u128 = 300;

/// A plan whose owner stakes something, to be shown missed within three seconds after it was due.
fn plan(world: &World) -> Plan {
    let mut plan = world.plan();
    let Terms::Escrow(price) = plan.manifest.legs[0].terms.clone() else { unreachable!() };
    let until = price.evidence_deadline + Span::from_seconds(3);
    let (payer, payee) = (price.payee, price.payer);
    let bond = EscrowTerms { payer, payee, amount: STAKE, evidence_deadline: until, ..price };
    plan.agreement.penalty = Some(Penalty { amount: STAKE, until });
    plan.manifest.legs[1].terms = Terms::Record(plan.agreement.commitment(&plan.salt));
    let leg = Leg { terms: Terms::Escrow(bond), ..plan.manifest.legs[0].clone() };
    plan.manifest.legs.push(leg);
    plan.manifest.check(clock::now()).expect("a good manifest");
    plan
}

async fn held(world: &World) -> [u128; 2] {
    let treasury = world.evm.treasury().expect("money");
    let renter = treasury.balance(world.party("renter").account()).await.expect("a balance");
    [renter, treasury.balance(world.party("locker-co").account()).await.expect("a balance")]
}

async fn ends(contract: &mut Handle<Driven>, wanted: BondPhase) -> Arc<Driven> {
    let over = |driven: &Driven| {
        let stake = driven.contract.bond().expect("a stake").phase();
        matches!(driven.contract.phase(), Phase::Refunded { .. }) && *stake == wanted
    };
    let ended = timeout(PATIENCE, contract.until(over)).await;
    ended.unwrap_or_else(|_| panic!("{:?}", contract.state().contract)).expect("it still runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_act_pays_the_renter_back_and_the_stake_besides() {
    let world = World::open();
    world.evm.endow(world.party("locker-co").account(), STAKE);
    let mut contract = world.begin_with(plan(&world)).await;
    reach(&mut contract, |phase| matches!(phase, Phase::Waiting { .. })).await;
    assert_eq!(held(&world).await, [0, 0], "both are locked");
    let state = contract.state();
    clock::until(state.contract.due()).await;
    let rule = state.contract.agreement().evidence.clone();
    let shut = Observation {
        thing: rule.thing,
        property: rule.property,
        quantity: Quantity::unitless(Value::Bool(false)),
        observed_at: clock::now(),
        message_id: Digest::ZERO,
        retained: false,
    };
    let salt = Salt::new([7; 32]);
    let said = state.contract.missed_attestation(&shut, &salt).expect("a stake");
    let txid = state.contract.txid();
    let mallory = said.sign(world.party("renter").secp256k1());
    let refused = world.contracts.bring(txid, mallory, Some((shut.clone(), salt))).await;
    assert!(refused.is_err_and(|why| why.contains("has authority")));
    let word = said.sign(world.party("sensor-co").secp256k1());
    world.contracts.bring(txid, word, Some((shut, salt))).await.expect("it counts");
    let ended = ends(&mut contract, BondPhase::Paid).await;
    assert!(ended.contract.penalised());
    assert_eq!(held(&world).await, [PRICE + STAKE, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_the_stake_is_the_owners_again() {
    let world = World::open();
    world.evm.endow(world.party("locker-co").account(), STAKE);
    let mut contract = world.begin_with(plan(&world)).await;
    ends(&mut contract, BondPhase::Returned).await;
    assert_eq!(held(&world).await, [PRICE, STAKE]);
}
