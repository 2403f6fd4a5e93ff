//! Whole simulated worlds, each from one seed: the very code of journal, executor, drive and transaction
//! (`crates/node`, `crates/transaction`) on fake ledgers, with virtual time, crashes, a bad network, reorganisations, and
//! a participant who keeps no rule. After each step the promises P1 to P6 are judged, at the end that everything has
//! ended, the balances, and the labels (P7) (docs/guide/simulation.md, ADR 0013).
//! From the block on in which a ledger breaks its declared finality, P3 and P4 are judged in their place.
//!
//! A world is the same run every time: one thread, its own timers, no clock, no chance but the seed's. A [`Mutant`] is a
//! broken protocol: a simulation that does not find it proves nothing.
//!
//! Left out: the bytes of real ledgers (conformance, `crates/ledgers`), the file system under SQLite
//! (`crates/node/tests/journal`), devices and contracts.

mod bounds;
mod breaking;
mod check;
mod dice;
mod disk;
mod hostile;
mod keys;
mod life;
mod line;
mod mutant;
mod node;
mod post;
mod rogue;
mod scenario;
mod stability;
mod sweep;
mod time;
mod words;
mod world;

use std::sync::Arc;

use sofie_node::journal::Sqlite;

pub use check::Violation;
pub use mutant::Mutant;
pub use sweep::{Sweep, sweep};
pub use world::Tally;

use time::Wheel;
use world::World;

/// A world that fires more timers than this does not end.
const MAX_TIMERS: u64 = 3_000_000;
/// So many seconds a world goes on after its end, where a ledger breaks its word.
const LAST_LOOKS: u32 = 10;

/// What became of a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was found first, if anything was.
    pub violation: Option<Violation>,
    /// What its promises rest on (P7), one line a transaction.
    pub labels: Vec<String>,
    /// Whether a ledger broke its declared finality in it: from then on P3, P4 and the sums of the balances are judged.
    pub beyond: bool,
    /// Whether the executors of a pivot were away for longer than was declared: then the pivot may end otherwise than D
    /// says, and everything else is judged.
    pub asleep: bool,
    /// What happened.
    pub tally: Tally,
    /// How many timers fired.
    pub steps: u64,
    /// For how many milliseconds it ran, by its own time.
    pub lasted: u64,
    /// Every step, when it was asked for.
    pub trace: Vec<String>,
}

/// Runs the world of `seed` to its end, with a broken protocol if one is named.
///
/// # Errors
/// When the system gives no runtime, or no memory for a disk.
pub fn run(seed: u64, mutant: Option<Mutant>, trace: bool) -> std::io::Result<Outcome> {
    let wheel = Wheel::default();
    let idle = wheel.clone();
    let runtime =
        tokio::runtime::Builder::new_current_thread().on_thread_park(move || idle.advance()).build()?;
    let world = World::new(seed, wheel, mutant, trace);
    // Each keeps a node's disk while the node is down.
    let disks = world.scenario.nodes.iter().enumerate();
    let disks: Result<Vec<_>, _> = disks.map(|(n, _)| Sqlite::open(&node::path(&world, n))).collect();
    let _disks = disks.map_err(std::io::Error::other)?;
    let tally = runtime.block_on(live(&world));
    // Tasks of dead nodes hold the world: they end with their runtime.
    drop(runtime);
    let labels = labels(&world);
    Ok(Outcome {
        seed,
        violation: world.violation(),
        labels,
        beyond: world.is_broken(),
        asleep: world.scenario.asleep,
        tally,
        steps: world.wheel.fired(),
        lasted: world.wheel.millis(),
        trace: world.take_trace(),
    })
}

/// From the first block to the last: until everything has ended, or should have.
async fn live(world: &Arc<World>) -> Tally {
    world.scenario.told().into_iter().for_each(|line| world.log("world", || line));
    (0..world.fakes.len()).for_each(|ledger| drop(tokio::spawn(breaking::mine(world.clone(), ledger))));
    (0..world.scenario.nodes.len()).for_each(|n| {
        tokio::spawn(node::live(world.rise(n)));
        tokio::spawn(node::nap(world.clone(), n));
    });
    if !world.scenario.outside.is_empty() {
        (0..world.scenario.transactions.len())
            .for_each(|n| drop(tokio::spawn(rogue::play(world.clone(), n))));
    } else if world.scenario.hostile {
        tokio::spawn(hostile::play(world.clone()));
    }
    if world.mutant == Some(Mutant::EarlyRefund) {
        (0..world.fakes.len())
            .for_each(|ledger| drop(tokio::spawn(mutant::refund_early(world.clone(), ledger))));
    }
    let bound = world.scenario.bound();
    // A look after the end that is under way is seen by nobody.
    let (patience, mut over) = (if world.scenario.beyond { LAST_LOOKS } else { 0 }, 0);
    loop {
        world.wheel.sleep(1_000).await;
        over = if world.is_over() { over + 1 } else { 0 };
        if over > patience {
            break;
        }
        if world.wheel.millis() > bound && !world.is_broken() {
            world.violate("P6", "not everything has ended by the bound".to_owned());
        }
        if world.wheel.millis() > bound || world.wheel.fired() > MAX_TIMERS {
            break;
        }
    }
    world.judge()
}

/// P7: what each transaction's atomicity rests on.
fn labels(world: &World) -> Vec<String> {
    let told = world.scenario.transactions.iter().map(|one| bounds::label(world, one));
    let told = told.filter_map(|label| match label {
        Ok(label) => Some(label.to_string()),
        Err((promise, what)) => {
            world.violate(promise, what);
            None
        }
    });
    told.collect()
}
