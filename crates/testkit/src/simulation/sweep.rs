//! Many worlds, on every core: each has a thread to itself, so that their order changes nothing.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Mutant, Outcome, Tally, run};

/// What became of many worlds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sweep {
    /// How many ran to their end; with a violation, those before it and it.
    pub worlds: u64,
    /// What happened in them.
    pub tally: Tally,
    /// In how many a ledger broke its declared finality.
    pub beyond: u64,
    /// In how many a pivot's executors were away for longer than was declared.
    pub asleep: u64,
    /// What transactions rest on (P7), and how many do; every `swap-safe` is one.
    pub labels: BTreeMap<String, u64>,
    /// The first seed that breaks a promise.
    pub found: Option<Outcome>,
}

/// Runs the worlds of these seeds, in order, until one breaks a promise.
///
/// # Errors
/// As [`run`].
pub fn sweep(seeds: Range<u64>, mutant: Option<Mutant>) -> io::Result<Sweep> {
    let next = AtomicU64::new(seeds.start);
    let outcomes = Mutex::new(BTreeMap::new());
    let failed = Mutex::new(None);
    let worker = || {
        while let seed = next.fetch_add(1, Ordering::Relaxed)
            && seed < seeds.end
        {
            match run(seed, mutant, false) {
                Ok(outcome) => {
                    if outcome.violation.is_some() {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, outcome);
                }
                Err(error) => {
                    next.store(seeds.end, Ordering::Relaxed);
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(worker))));
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    Ok(add_up(outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// What was run past the first violation counts for nothing: the result does not depend on how many cores there are.
fn add_up(outcomes: BTreeMap<u64, Outcome>) -> Sweep {
    let mut sweep = Sweep::default();
    for outcome in outcomes.into_values() {
        sweep.worlds += 1;
        sweep.tally = sweep.tally + outcome.tally;
        sweep.beyond += u64::from(outcome.beyond);
        sweep.asleep += u64::from(outcome.asleep);
        for label in &outcome.labels {
            let kind = label.split('(').next().unwrap_or_default();
            *sweep.labels.entry(kind.to_owned()).or_default() += 1;
        }
        if outcome.violation.is_some() {
            sweep.found = Some(outcome);
            break;
        }
    }
    sweep
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            crashes: self.crashes + other.crashes,
            undone: self.undone + other.undone,
            committed: self.committed + other.committed,
            aborted: self.aborted + other.aborted,
            claimed: self.claimed + other.claimed,
            refunded: self.refunded + other.refunded,
            parted: self.parted + other.parted,
            halted: self.halted + other.halted,
        }
    }
}
