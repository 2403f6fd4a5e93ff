//! Both sides of a measure in one run.

use std::sync::Arc;

use sofie_model::Manifest;

use super::ours;
use super::tally::Tally;
use super::world::World;
use crate::failure::Failure;
use crate::output::{self, Format};

/// Each side is measured twice, in the order ABBA: what else the machine does meets both alike.
const ROUNDS: [Side; 4] = [Side::Peer, Side::Ours, Side::Ours, Side::Peer];

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    Peer,
}

/// What is to be measured of each side.
pub(super) struct Pair {
    pub(super) count: u64,
    pub(super) concurrency: u64,
    /// The process of a ledger beside this one.
    pub(super) node: Option<u32>,
    pub(super) output: Format,
}

/// What both sides did, and the transactions that they did.
#[derive(Default)]
pub(super) struct Sides {
    pub(super) ours: Tally,
    pub(super) peer: Tally,
    pub(super) begun: Vec<Arc<Manifest>>,
    pub(super) peers: Vec<Arc<Manifest>>,
}

impl Pair {
    /// Runs both sides in turn; `peer` does the transactions of its manifests and has its tally count them.
    pub(super) async fn run(
        &self,
        world: &World,
        peer: impl AsyncFn(Vec<Arc<Manifest>>, &mut Tally) -> Result<(), Failure>,
    ) -> Result<Sides, Failure> {
        let mut sides = Sides::default();
        (sides.ours.node, sides.peer.node) = (self.node, self.node);
        for (round, side) in ROUNDS.into_iter().enumerate() {
            // The first round of each side takes the odd one.
            let count = if round < 2 { self.count.div_ceil(2) } else { self.count / 2 };
            if self.output == Format::Text {
                let of = ROUNDS.len();
                output::say(&format!("round {} of {of}: {count} transactions, {side:?}", round + 1));
            }
            let manifests = world.manifests(count)?;
            match side {
                Side::Ours => {
                    sides.begun.extend(manifests.iter().cloned());
                    sides.ours.during(ours::run(world, manifests, self.concurrency)).await?;
                }
                Side::Peer => {
                    sides.peers.extend(manifests.iter().cloned());
                    peer(manifests, &mut sides.peer).await?;
                }
            }
        }
        Ok(sides)
    }
}
