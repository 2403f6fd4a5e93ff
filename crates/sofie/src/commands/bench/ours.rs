//! Our side: every transaction by the protocol, journaled before each effect, until both ledgers have applied it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sofie_model::{Decision, Manifest};
use sofie_transaction::{Phase, Plan};
use tokio::task::JoinSet;

use super::world::World;
use crate::failure::Failure;

const TRIED: &str = "measure transactions";

/// Runs a transaction for each manifest, at most `concurrency` at once, and answers how long each took.
pub(super) async fn run(
    world: &World,
    manifests: Vec<Arc<Manifest>>,
    concurrency: u64,
) -> Result<Vec<Duration>, Failure> {
    let queue = Arc::new(Mutex::new(manifests.into_iter()));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        let (queue, world) = (queue.clone(), world.clone());
        workers.spawn(async move {
            let mut took = Vec::new();
            while let Some(manifest) = next(&queue) {
                let started = Instant::now();
                one(&world, &manifest).await?;
                took.push(started.elapsed());
            }
            Ok(took)
        });
    }
    collect(workers).await
}

/// Takes the next manifest of the round.
pub(super) fn next(queue: &Mutex<std::vec::IntoIter<Arc<Manifest>>>) -> Option<Arc<Manifest>> {
    queue.lock().expect("no holder of this lock panics").next()
}

/// Everybody's latencies, or the first failure.
pub(super) async fn collect(
    mut workers: JoinSet<Result<Vec<Duration>, Failure>>,
) -> Result<Vec<Duration>, Failure> {
    let mut all = Vec::new();
    while let Some(worker) = workers.join_next().await {
        all.extend(worker.map_err(|e| Failure::refused(TRIED, e, ""))??);
    }
    Ok(all)
}

/// One transaction, until both ledgers have applied it.
pub(super) async fn one(world: &World, manifest: &Arc<Manifest>) -> Result<(), Failure> {
    let plan = Plan {
        manifest: Manifest::clone(manifest),
        acts_for: vec![0, 1],
        decision_time: world.decision_time(),
        pivot: None,
    };
    let begun = world.transactions.begin(plan, Vec::new(), Vec::new()).await;
    let mut handle = begun.map_err(|e| Failure::refused(TRIED, e, "look at the disk"))?;
    let ended = |phase: &Phase| matches!(phase, Phase::Done(_) | Phase::Halted { .. });
    let state = handle.until(|state| ended(state.phase())).await;
    match state.as_ref().map(|state| (state.phase(), state.legs())) {
        Some((Phase::Done(Decision::Commit { .. }), _)) => Ok(()),
        Some((phase, legs)) => {
            let why = format!("{} ended as {phase:?}, its legs {legs:?}", manifest.txid());
            Err(Failure::refused(TRIED, why, ""))
        }
        None => Err(Failure::refused(TRIED, "the journal failed", "look at the disk")),
    }
}
