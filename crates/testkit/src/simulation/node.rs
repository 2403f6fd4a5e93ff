//! A node in the world: the very journal, auditor, executor and transactions of `crates/node`, opened as its runtime
//! opens them, on a simulated disk, lines and clock.

use std::path::PathBuf;
use std::sync::Arc;

use sofie_ledgers::Ledger;
use sofie_model::{Account, Digest, Signature, Span};
use sofie_node::auditor::Auditor;
use sofie_node::clock::Clock;
use sofie_node::drive::Keeper;
use sofie_node::executor::{Executor, Ledgers};
use sofie_node::journal::{Journal, JournalError, Sqlite};
use sofie_node::transactions::{Secrets, Transactions};
use sofie_transaction::{PivotClock, Plan, State};
use tokio::sync::mpsc;

use super::dice::Dice;
use super::disk::Disk;
use super::keys::{account, owner, sign};
use super::life::Life;
use super::line::Line;
use super::mutant::{Broken, Mutant};
use super::post;
use super::scenario::TransactionPlan;
use super::time::Skewed;
use super::world::World;

/// SQLite's name of the database that is this node's disk.
pub(super) fn path(world: &World, node: usize) -> PathBuf {
    // The thread is part of the name: two worlds of one seed may run at once.
    let thread = format!("{:?}", std::thread::current().id());
    let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
    PathBuf::from(format!("file:sofie-{}-{thread}-{node}?mode=memory&cache=shared", world.seed))
}

/// One run, from start to crash.
pub(super) async fn live(life: Life) {
    let (fatal, mut failed) = mpsc::channel(1);
    let world = life.world.clone();
    life.log(|| format!("starts, run {}", life.run));
    match open(&life, fatal).await {
        Ok(transactions) => {
            world.runs(&life, transactions.clone());
            for plan in world.scenario.transactions.clone() {
                let (life, transactions) = (life.clone(), transactions.clone());
                tokio::spawn(async move {
                    let id = plan.id;
                    begin(&life, &transactions, plan).await;
                    life.world.has_tried(&life, id);
                });
            }
        }
        Err(error) => stop(&life, &format!("cannot start again: {error}")),
    }
    if let Some(error) = failed.recv().await {
        stop(&life, &format!("stops: {error}"));
    }
}

/// A node whose journal fails stops, as its runtime does: the next run goes on from what is durable. Only its disk is a
/// reason for that.
pub(super) fn stop(life: &Life, why: &str) {
    if !life.world.lives(life.node, life.run) {
        return;
    }
    if life.world.has_failed(life) {
        life.world.kill(life, why);
    } else {
        life.world.violate("P4", format!("node {} {why}", life.node));
    }
}

/// A node is down when the seed says, whatever it is at.
pub(super) async fn nap(world: Arc<World>, node: usize) {
    let mut naps = world.scenario.nodes[node].naps.clone();
    naps.sort_unstable();
    for (from, to) in naps {
        world.wheel.sleep(from.saturating_sub(world.wheel.millis())).await;
        world.nap(node, to.saturating_sub(world.wheel.millis()));
    }
}

/// As `sofie_node::runtime::Runtime::open` does it.
async fn open(life: &Life, fatal: mpsc::Sender<JournalError>) -> Result<Transactions, JournalError> {
    let world = &life.world;
    let path = path(world, life.node);
    let part = 1_000 * (life.node as u64 + 1) + u64::from(life.run) * 20;
    let disk = Disk::new(Sqlite::open(&path)?, life.clone(), Dice::new(world.seed, part));
    let skew = world.scenario.nodes[life.node].skew;
    let clock = Clock::of(Skewed { wheel: world.wheel.clone(), skew });
    let journal = Journal::over(disk, &path, clock);
    let keeper = Keeper { auditor: Auditor::open(journal.clone())?, fatal };
    let ledgers: Ledgers = (0..world.fakes.len())
        .map(|n| (world.fakes[n].profile().id.clone(), line(life, n, part + 1 + n as u64)))
        .collect();
    let ledgers = Arc::new(ledgers);
    let mut executor = Executor::new(ledgers.clone(), journal);
    if world.mutant != Some(Mutant::NoAdopt) {
        executor = executor.adopt()?;
    }
    let transactions = Transactions::new(executor, keeper, Arc::new(Held(world.clone(), life.node)));
    let waits = world.scenario.awaits_words() && world.mutant != Some(Mutant::NothingAhead);
    let transactions = if waits { transactions.wanting_presigned() } else { transactions };
    if world.mutant != Some(Mutant::NoRecover) {
        transactions.recover()?;
    }
    if world.scenario.split {
        post::open(life, &transactions, &ledgers);
    }
    Ok(transactions)
}

fn line(life: &Life, ledger: usize, part: u64) -> Arc<dyn Ledger> {
    let world = &life.world;
    let keys = world.scenario.nodes[life.node].acts_for.iter().map(|who| account(*who));
    let (fake, plan) = (world.fakes[ledger].held_by(keys), world.scenario.ledgers[ledger].clone());
    let line: Arc<dyn Ledger> =
        Arc::new(Line::new(fake.clone(), plan, life.clone(), Dice::new(world.seed, part)));
    match world.mutant {
        Some(mutant) => Arc::new(Broken::new(mutant, line, fake, world.clone())),
        None => line,
    }
}

/// Begins a transaction when the seed says, unless an earlier run has.
async fn begin(life: &Life, transactions: &Transactions, plan: TransactionPlan) {
    let world = &life.world;
    let at = plan.begins[life.node];
    world.wheel.sleep(at.saturating_sub(world.wheel.millis())).await;
    let (id, late) = (plan.id, world.wheel.now() >= plan.manifest.deadline);
    if late || !world.lives(life.node, life.run) || world.has_begun(life.node, id) {
        return;
    }
    let decision_time = world.decision_time(&plan);
    let here = world.scenario.nodes[life.node].acts_for.iter().map(|who| u16::from(*who));
    let acts_for: Vec<u16> = here.filter(|who| usize::from(*who) < plan.secrets.len()).collect();
    if acts_for.is_empty() {
        return;
    }
    let pivot = match world.mutant {
        Some(Mutant::NoP5) => plan.clock.map(|_| AT_ONCE),
        _ => plan.clock,
    };
    let plan = Plan { manifest: plan.manifest, acts_for, decision_time, pivot };
    // In a crash this never returns, and the next run begins it.
    if let Err(error) = transactions.begin(plan, Vec::new(), Vec::new()).await {
        stop(life, &format!("stops: {error}"));
    }
}

/// The clock of a pivot for which nothing takes any time.
const AT_ONCE: PivotClock = PivotClock {
    inclusion_d: Span::ZERO,
    finality_d: Span::ZERO,
    inclusion_p: Span::ZERO,
    finality_p: Span::ZERO,
    detection: Span::ZERO,
    skew: Span::ZERO,
};

/// The secrets and keys of the participants whom a node acts for.
struct Held(Arc<World>, usize);

impl Held {
    fn holds(&self, who: u16) -> bool {
        self.0.scenario.nodes[self.1].acts_for.iter().any(|one| u16::from(*one) == who)
    }
}

impl Secrets for Held {
    fn preimage(&self, state: &State, who: u16) -> Option<Digest> {
        let plans = &self.0.scenario.transactions;
        let plan = plans.iter().find(|one| one.manifest.txid() == state.txid())?;
        plan.secrets.get(usize::from(who)).copied().filter(|_| self.holds(who))
    }

    fn sign(&self, account: Account, digest: Digest) -> Option<Signature> {
        let who = owner(account).filter(|who| self.holds((*who).into()))?;
        Some(sign(who, digest))
    }
}
