//! A participant who keeps no rule but the ledgers': it sees everything on its way to them, holds its own secret, and
//! makes any move that they might take, at any time.

use std::sync::Arc;

use sofie_ledgers::Ledger;
use sofie_model::{Decide, Digest, LegId, Manifest, Operation, Step};

use super::dice::Dice;
use super::keys::account;
use super::scenario::TransactionPlan;
use super::time::DAWN;
use super::world::World;

/// Its moves at most.
const MOVES: u32 = 60;
/// It rests so many milliseconds after the last G.
const AFTER: u64 = 20_000;
/// Which participant it is.
const WHO: u8 = 0;

/// Makes its moves, then rests.
pub(super) async fn play(world: Arc<World>) {
    let mut dice = Dice::new(world.seed, 300);
    let busy = world.hold();
    let grace = |one: &TransactionPlan| one.manifest.grace_end().since(DAWN).as_millis();
    let last = world.scenario.transactions.iter().map(grace).max().unwrap_or(0) + AFTER;
    for _ in 0..MOVES {
        world.wheel.sleep(dice.between(300, 6_000)).await;
        if world.wheel.millis() > last {
            break;
        }
        let plan = dice.pick(&world.scenario.transactions).clone();
        match dice.below(20) {
            0 => abort(&world, &plan).await,
            1..=8 => commit(&world, &plan, &mut dice).await,
            9..=12 => replay(&world, &mut dice),
            _ => drive(&world, &plan, &mut dice).await,
        }
    }
    drop(busy);
}

async fn send(world: &Arc<World>, what: &str, operation: &Operation, ledger: usize) {
    let fake = world.fakes[ledger].clone();
    let Ok(intent) = fake.intend(operation).await else { return };
    world.log("hostile", || format!("{what}: {}", super::words::intent_words(&fake, &intent)));
    world.deliver(&fake, intent, 5);
}

async fn abort(world: &Arc<World>, plan: &TransactionPlan) {
    let decide = Decide::Abort { by: account(WHO), signatures: Vec::new() };
    let operation = Operation::Decide { manifest: plan.manifest.clone().into(), decide };
    send(world, "turns back", &operation, 0).await;
}

/// With every secret that it has, and nonsense in place of those that it lacks.
async fn commit(world: &Arc<World>, plan: &TransactionPlan, dice: &mut Dice) {
    let known = gathered(world, plan);
    let lacks = Digest::of("nonsense", &[&dice.next().to_be_bytes()]);
    let preimages = known.unwrap_or_else(|| {
        let own = |who| if who == usize::from(WHO) { plan.secrets[who] } else { lacks };
        (0..plan.secrets.len()).map(own).collect()
    });
    let included = legs_to_commit(&plan.manifest, dice);
    let decide = Decide::Commit { included, evidence_root: lacks, preimages, guard: None };
    let operation = Operation::Decide { manifest: plan.manifest.clone().into(), decide };
    send(world, "commits by itself", &operation, 0).await;
}

/// Every secret, as soon as an honest COMMIT shows itself on its way.
fn gathered(world: &World, plan: &TransactionPlan) -> Option<Vec<Digest>> {
    world.public().iter().find_map(|(ledger, intent)| match world.fakes[*ledger].operation(intent) {
        Ok(Operation::Decide { manifest, decide: Decide::Commit { preimages, .. } })
            if manifest.txid() == plan.id && preimages == plan.secrets =>
        {
            Some(preimages)
        }
        _ => None,
    })
}

/// Any set that the rule allows.
fn legs_to_commit(manifest: &Manifest, dice: &mut Dice) -> u64 {
    let quorum = manifest.quorum();
    let all = quorum.required | quorum.optional;
    let some = quorum.required | (quorum.optional & dice.next());
    if quorum.allows(some) { some } else { all }
}

/// Sends again what anyone has sent.
fn replay(world: &Arc<World>, dice: &mut Dice) {
    let public = world.public();
    if public.is_empty() {
        return;
    }
    let (ledger, intent) = dice.pick(&public).clone();
    let fake = &world.fakes[ledger];
    world.log("hostile", || format!("replays {}", super::words::intent_words(fake, &intent)));
    world.deliver(fake, intent, 5);
}

/// Drives a leg on D's own ledger, wherever its contract may be.
async fn drive(world: &Arc<World>, plan: &TransactionPlan, dice: &mut Dice) {
    let leg = LegId(u16::try_from(dice.index(plan.manifest.legs.len())).unwrap_or(0));
    let on_d = plan.manifest.leg(leg).is_some_and(|one| one.ledger == plan.manifest.decision.ledger);
    if !on_d {
        return;
    }
    let step = if dice.percent(50) { Step::Apply } else { Step::Revert };
    let operation = Operation::Leg { manifest: plan.manifest.clone().into(), leg, step };
    send(world, "drives", &operation, 0).await;
}
