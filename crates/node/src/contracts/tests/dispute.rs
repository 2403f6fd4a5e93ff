//! Evidence that an arbiter may overrule, on ledgers in memory: paid after the window, overruled within it; each by a node
//! that presented it, or that learns of it from the ledger.

use sofie_market::Seen;
use sofie_model::manifest::Dispute;
use sofie_model::{Observation, Quantity};

use super::*;

const WINDOW: Span = Span::from_seconds(2);

/// A plan whose arbiter is the operator.
fn plan(world: &World, part: Option<Part>) -> Plan {
    let mut plan = world.plan();
    let dispute = Some(Dispute { arbiter: world.party("operator").account(), window: WINDOW });
    let Terms::Escrow(terms) = &mut plan.manifest.legs[0].terms else { unreachable!() };
    (terms.submission_window, terms.dispute) = (Span::from_seconds(4), dispute);
    plan.agreement.dispute = dispute;
    plan.manifest.legs[1].terms = Terms::Record(plan.agreement.commitment(&plan.salt));
    plan.manifest.check(clock::now()).expect("a good manifest");
    Plan { part, ..plan }
}

/// What the sensor's owner says, in the second after the decision: attestations count whole seconds.
async fn word(world: &World, contract: &Contract) -> Seen {
    clock::until(next_second(clock::now())).await;
    let rule = contract.agreement().evidence.clone();
    let observation = Observation {
        thing: rule.thing,
        property: rule.property,
        quantity: Quantity::unitless(rule.equals),
        observed_at: clock::now(),
        message_id: Digest::ZERO,
        retained: false,
    };
    let salt = Salt::new([7; 32]);
    let attestation = contract.attestation(&observation, &salt).sign(world.party("sensor-co").secp256k1());
    Seen { observation, salt, attestation }
}

async fn brings(world: &World, contract: &Handle<Driven>, seen: Seen) {
    let txid = contract.state().contract.txid();
    let Seen { observation, salt, attestation } = seen;
    world.contracts.bring(txid, attestation, Some((observation, salt))).await.expect("it counts");
}

/// Asks the escrow for it, as another node would.
async fn asks(world: &World, contract: &Handle<Driven>, step: Step) {
    let manifest = Arc::new(contract.state().plan.manifest.clone());
    let operation = Operation::Leg { manifest, leg: ESCROW, step };
    let intent = world.evm.intend(&operation).await.expect("an intent");
    world.evm.submit(&intent).await.expect("it is taken");
}

async fn money(world: &World) -> [u128; 2] {
    let treasury = world.evm.treasury().expect("money");
    let renter = treasury.balance(world.party("renter").account()).await.expect("a balance");
    [renter, treasury.balance(world.party("locker-co").account()).await.expect("a balance")]
}

fn next(contract: &Handle<Driven>) -> String {
    crate::federation::view::next(&contract.state())
}

fn steps(world: &World, contract: &Handle<Driven>) -> Vec<String> {
    let reader = world.contracts.executor().journal().reader().expect("a reader");
    let steps = crate::federation::view::steps(&reader, contract.state().id(), None).expect("a log");
    steps.into_iter().map(|step| step.name).collect()
}

/// What a restart finds is what there is.
fn survives(world: &World, contract: &Handle<Driven>) {
    let reader = world.contracts.executor().journal().reader().expect("a reader");
    let state = contract.state();
    let record = reader.machine(Driven::KIND, state.id()).expect("a journal").expect("it has begun");
    assert_eq!(replay(&record).expect("it is whole").contract, state.contract);
}

fn is_disputable(phase: &Phase) -> bool {
    matches!(phase, Phase::Disputable { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_arbiter_overrules_within_the_window_and_the_renter_is_paid_back() {
    let world = World::open();
    let mut contract = world.begin_with(plan(&world, Some(Part::Payer))).await;
    let txid = contract.state().contract.txid();
    reach(&mut contract, |phase| *phase == Phase::Awaiting).await;
    let early = world.contracts.rule(txid, None).await.expect_err("nothing is presented");
    assert!(early.why.contains("no evidence"), "{early}");
    assert!(world.contracts.dispute(txid, "too early").await.is_err());
    // The owner's node does not bring it: this one does.
    brings(&world, &contract, word(&world, &contract.state().contract).await).await;
    reach(&mut contract, is_disputable).await;
    survives(&world, &contract);
    assert!(
        next(&contract).starts_with("unless the arbiter overrules the evidence until"),
        "{}",
        next(&contract)
    );
    world.contracts.dispute(txid, "the door is shut").await.expect("it is kept");
    assert!(world.contracts.dispute(txid, "").await.is_err(), "a claim says something");
    let ruling = contract.state().contract.ruling().expect("it is known here");
    let mallory = ruling.sign(world.party("renter").secp256k1());
    let refused = world.contracts.rule(txid, Some(mallory)).await.expect_err("the renter is no arbiter");
    assert!(refused.why.contains("only the arbiter"), "{refused}");
    let stranger = world.contracts.sign(Account([9; 20]), ruling).expect_err("nobody's key");
    assert!(stranger.next.contains("sofie contract sign"), "{}", stranger.next);
    world.contracts.rule(txid, None).await.expect("its key is here");
    let over = |phase: &Phase| matches!(phase, Phase::Overruled | Phase::Settled | Phase::Refunded { .. });
    assert_eq!(reach(&mut contract, over).await, Phase::Overruled);
    assert_eq!(money(&world).await, [PRICE, 0]);
    survives(&world, &contract);
    let told = steps(&world, &contract);
    let order = ["presented", "disputed", "ruled", "overruled"];
    let places: Vec<_> = order.iter().map(|name| told.iter().position(|step| step == name)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payers_node_sees_that_the_owners_has_it_presented_and_paid() {
    let world = World::open();
    let mut contract = world.begin_with(plan(&world, Some(Part::Payer))).await;
    reach(&mut contract, |phase| *phase == Phase::Awaiting).await;
    let seen = word(&world, &contract.state().contract).await;
    asks(&world, &contract, Step::Present(seen.attestation.clone())).await;
    assert_eq!(reach(&mut contract, is_disputable).await, Phase::Disputable { attestation: None });
    assert!(next(&contract).ends_with("the owner's node has it paid then"), "{}", next(&contract));
    brings(&world, &contract, seen.clone()).await;
    survives(&world, &contract);
    let until = contract.state().contract.disputable_until().expect("it is presented");
    clock::until(until + Span::from_seconds(1)).await;
    asks(&world, &contract, Step::Settle(seen.attestation)).await;
    assert_eq!(reach(&mut contract, |phase| !is_disputable(phase)).await, Phase::Settled);
    assert_eq!(money(&world).await, [0, PRICE]);
    assert!(contract.state().contract.proven());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_comes_too_late_finds_what_was_presented_and_it_is_paid() {
    let world = World::open();
    let mut contract = world.begin_with(plan(&world, None)).await;
    reach(&mut contract, |phase| matches!(phase, Phase::Waiting { .. })).await;
    let seen = word(&world, &contract.state().contract).await;
    asks(&world, &contract, Step::Present(seen.attestation.clone())).await;
    reach(&mut contract, is_disputable).await;
    brings(&world, &contract, seen).await;
    let over = |phase: &Phase| matches!(phase, Phase::Settled | Phase::Refunded { .. } | Phase::Stuck { .. });
    assert_eq!(reach(&mut contract, over).await, Phase::Settled);
    assert_eq!(money(&world).await, [0, PRICE]);
}
