//! Blocks come, and sometimes others take their place: within the ledger's declared depth when the seed says, and in some
//! worlds once beyond it, when that is worst (P3).

use std::sync::Arc;

use sofie_ledgers::fake::Fake;
use sofie_ledgers::{Intent, Ledger};
use sofie_model::{Account, Decide, Decision, Evidence, Fact, Finality, Manifest, Operation, Step, Txid};

use super::dice::Dice;
use super::scenario::{LedgerPlan, Scenario, TransactionPlan};
use super::world::World;

/// Of a hundred worlds so many have a ledger that waits for the worst moment.
const SPITEFUL: u64 = 15;

/// What a ledger will undo beyond its declared depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undoing {
    /// Which ledger, by its place.
    pub(super) ledger: usize,
    pub(super) what: What,
    /// So many blocks after its moment has come.
    pub(super) late: u64,
    /// What is undone comes back with the next block.
    pub(super) returns: bool,
    /// Somebody asks D for ABORT as soon as COMMIT is gone.
    pub(super) replaces: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A lock that COMMIT includes.
    Lock,
    /// D's decision, once somebody follows it.
    Decision,
    /// D's decision, or what has closed a leg, once everybody has ended.
    End,
}

impl Undoing {
    /// Drawn after all else: a world without one is what it was.
    pub(super) fn draw(world: &Scenario, dice: &mut Dice) -> Option<Self> {
        let able = |plan: &LedgerPlan| plan.block > 0;
        if world.beyond || !dice.percent(SPITEFUL) {
            return None;
        }
        let what = *dice.pick(&[What::Lock, What::Decision, What::End]);
        let places: Vec<usize> = match what {
            What::Decision => vec![0],
            What::Lock | What::End => (0..world.ledgers.len()).collect(),
        };
        let places: Vec<usize> = places.into_iter().filter(|n| able(&world.ledgers[*n])).collect();
        let late = if what == What::Decision { dice.below(3) } else { 0 };
        let (returns, replaces) = (dice.percent(25), dice.percent(50));
        (!places.is_empty()).then(|| Self { ledger: *dice.pick(&places), what, late, returns, replaces })
    }
}

/// The blocks of one ledger.
pub(super) async fn mine(world: Arc<World>, ledger: usize) {
    let plan = world.scenario.ledgers[ledger].clone();
    let mut dice = Dice::new(world.seed, 200 + ledger as u64);
    let mut forks = plan.forks.iter().copied().peekable();
    if plan.block == 0 {
        return;
    }
    let undoing = world.scenario.undoing.filter(|one| one.ledger == ledger);
    // The world is not over before its moment has come, or cannot come any more.
    let mut waits = undoing.map(|one| (one, world.hold()));
    loop {
        world.wheel.sleep(plan.block).await;
        world.fakes[ledger].mine();
        if let Some((_, depth)) = forks.next_if(|(at, _)| *at <= world.wheel.millis()) {
            let undone = usize::try_from(depth).unwrap_or(0);
            world.log(&plan.profile.id.to_string(), || format!("{depth} blocks are undone and replaced"));
            if matches!(plan.profile.finality, Finality::Depth(declared) if depth > declared) {
                world.breaks();
            }
            world.fakes[ledger].fork(undone, |_| match dice.below(10) {
                0 => None,
                _ => Some(dice.index(undone + 3)),
            });
            world.undone(depth);
        }
        world.observe(ledger);
        if let Some((undoing, _busy)) = &mut waits
            && turn(&world, undoing).await
        {
            waits = None;
        }
    }
}

/// Whether its turn has come and gone.
async fn turn(world: &Arc<World>, undoing: &mut Undoing) -> bool {
    let Some((plan, evidence)) = ripe(world, *undoing) else { return world.is_calm() };
    if undoing.late > 0 {
        undoing.late -= 1;
        return false;
    }
    undo(world, *undoing, &plan.manifest, &evidence).await;
    true
}

/// The first that is final, and whose moment has come.
fn ripe(world: &World, undoing: Undoing) -> Option<(&TransactionPlan, Evidence)> {
    world.scenario.transactions.iter().find_map(|plan| {
        let decision = world.decision(plan.id)?;
        let ripe = match undoing.what {
            What::Lock => true,
            What::Decision => world.is_followed(plan.id),
            What::End => world.is_ended(plan.id),
        };
        let wanted = |one: &Evidence| ripe && is_wanted(undoing.what, &one.fact, plan.id, &decision);
        let found = world.fakes[undoing.ledger].record().into_iter().find(|(one, last)| *last && wanted(one));
        found.map(|(one, _)| (plan, one))
    })
}

fn is_wanted(what: What, fact: &Fact, of: Txid, decision: &Decision) -> bool {
    match (what, fact) {
        (What::Lock, Fact::Prepared(id, leg)) => {
            *id == of && matches!(decision, Decision::Commit { .. }) && decision.includes(*leg)
        }
        (What::Decision | What::End, Fact::Decided(id, _))
        | (What::End, Fact::Applied(id, _) | Fact::Reverted(id, _)) => *id == of,
        _ => false,
    }
}

/// All blocks since then are undone. Whatever else they held is put back at once, in its order.
async fn undo(world: &Arc<World>, undoing: Undoing, manifest: &Manifest, evidence: &Evidence) {
    let fake = &world.fakes[undoing.ledger];
    let depth = fake.height() + 1 - usize::try_from(evidence.position.height).unwrap_or(0);
    let told = || format!("{depth} blocks are undone, beyond what is declared: {:?}", undoing.what);
    world.log(&fake.profile().id.to_string(), told);
    world.breaks();
    fake.fork(depth, |intent| match goes_with(fake, intent, &evidence.fact) {
        false => Some(0),
        true if undoing.returns => Some(usize::MAX),
        true => None,
    });
    world.undone(u32::try_from(depth).unwrap_or(u32::MAX));
    if undoing.replaces
        && let Fact::Decided(_, Decision::Commit { .. }) = evidence.fact
    {
        abort(world, fake, manifest).await;
    }
    world.observe(undoing.ledger);
}

/// Whether what the intent does goes with the fact that is undone.
fn goes_with(fake: &Fake, intent: &Intent, fact: &Fact) -> bool {
    let Ok(operation) = fake.operation(intent) else { return false };
    match (&operation, fact) {
        (Operation::Decide { manifest, .. }, Fact::Decided(id, _)) => manifest.txid() == *id,
        (Operation::Leg { manifest, leg, .. }, Fact::Prepared(id, which)) => {
            (manifest.txid(), *leg) == (*id, *which)
        }
        (Operation::Leg { manifest, leg, step }, Fact::Applied(id, which) | Fact::Reverted(id, which)) => {
            *step != Step::Prepare && (manifest.txid(), *leg) == (*id, *which)
        }
        _ => false,
    }
}

/// Some participant takes the chance. With a guard D refuses it before G.
async fn abort(world: &Arc<World>, fake: &Fake, manifest: &Manifest) {
    let by = manifest.participants.first().map_or(Account::ZERO, |one| one.account);
    let decide = Decide::Abort { by, signatures: Vec::new() };
    let operation = Operation::Decide { manifest: Arc::new(manifest.clone()), decide };
    if let Ok(intent) = fake.intend(&operation).await {
        world.deliver(fake, intent, 1);
    }
}
