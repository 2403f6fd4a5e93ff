//! The peer: the same operations, intended and submitted to the same ledgers in the order that their rules demand,
//! without a journal, a state machine or a question whether they arrived.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use sofie_ledgers::{Ledger, LedgerError};
use sofie_model::{Digest, Leg, LegId, Manifest, Operation, Step};
use tokio::task::JoinSet;

use super::ours::{collect, next};
use super::world::World;
use crate::failure::Failure;

/// How often a ledger that is busy is asked again.
const MAX_TRIES: u32 = 1_000;

/// Submits every operation of each manifest, at most `concurrency` manifests at once.
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
                one(&world, &manifest)
                    .await
                    .map_err(|e| Failure::refused("measure the peer", e, "look at the disk"))?;
                took.push(started.elapsed());
            }
            Ok(took)
        });
    }
    collect(workers).await
}

async fn one(world: &World, manifest: &Arc<Manifest>) -> Result<(), LedgerError> {
    each(world, manifest, Step::Prepare).await?;
    // D checks the preimages; the evidence root is for readers, so that any will do here.
    let commit = world.commit(manifest, Digest::ZERO);
    put(world.evm.as_ref(), &commit).await?;
    each(world, manifest, Step::Apply).await
}

/// All legs at once.
async fn each(world: &World, manifest: &Arc<Manifest>, step: Step) -> Result<(), LedgerError> {
    let leg = |(id, leg): (LegId, &Leg)| {
        let operation = Operation::Leg { manifest: manifest.clone(), leg: id, step: step.clone() };
        let ledger = world.ledger(&leg.ledger);
        async move { put(ledger.as_ref(), &operation).await }
    };
    try_join_all(manifest.legs().map(leg)).await.map(drop)
}

async fn put(ledger: &dyn Ledger, operation: &Operation) -> Result<(), LedgerError> {
    let mut tries = Tries { left: MAX_TRIES, pause: Duration::from(ledger.profile().poll) };
    let intent = loop {
        match ledger.intend(operation).await {
            Ok(intent) => break intent,
            // Busy; or what it builds on was taken, and is still on its way.
            Err(error @ (LedgerError::Transient { .. } | LedgerError::Refused { .. })) => {
                tries.again(error).await?;
            }
            Err(error) => return Err(error),
        }
    };
    loop {
        match ledger.submit(&intent).await {
            Err(error @ LedgerError::Transient { .. }) => tries.again(error).await?,
            answer => return answer,
        }
    }
}

struct Tries {
    left: u32,
    pause: Duration,
}

impl Tries {
    async fn again(&mut self, error: LedgerError) -> Result<(), LedgerError> {
        self.left = self.left.checked_sub(1).ok_or(error)?;
        tokio::time::sleep(self.pause).await;
        Ok(())
    }
}
