//! One run of a node, from its start to its crash. A dead node's calls never return: its tasks stand where they stood.

use std::sync::Arc;

use super::scenario::Moment;
use super::world::World;

/// A node's run. Clones are the same run.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) world: Arc<World>,
    pub(super) node: usize,
    pub(super) run: u32,
}

/// What is counted in a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Write,
    Submit,
}

impl Life {
    /// Returns at once while the node lives, and never after.
    pub(super) async fn alive(&self) {
        if !self.world.lives(self.node, self.run) {
            std::future::pending::<()>().await;
        }
    }

    /// So much time passes; never returns when the node dies meanwhile.
    pub(super) async fn takes(&self, millis: u64) {
        self.world.wheel.sleep(millis).await;
        self.alive().await;
    }

    /// Counts a step, and says whether the node dies at it: before, or after.
    pub(super) fn step(&self, step: Step) -> Option<Moment> {
        self.world.step(self.node, step)
    }

    /// The node dies here.
    pub(super) async fn die(&self, why: &str) {
        self.world.kill(self, why);
        std::future::pending::<()>().await;
    }

    pub(super) fn log(&self, what: impl FnOnce() -> String) {
        self.world.log(&format!("node {}", self.node), what);
    }
}
