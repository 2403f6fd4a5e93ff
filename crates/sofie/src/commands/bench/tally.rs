//! What one side of a measure did.

use std::future::Future;
use std::time::{Duration, Instant};

use super::load::Load;
use super::round;
use crate::failure::Failure;

/// What one side did, over all its rounds.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) took: Duration,
    pub(super) latencies: Vec<Duration>,
    pub(super) load: Load,
    /// The process of a ledger beside this one, and what it did meanwhile.
    pub(super) node: Option<u32>,
    node_load: Load,
}

impl Tally {
    /// Counts what `run` takes, and the latencies that it answers.
    pub(super) async fn during(
        &mut self,
        run: impl Future<Output = Result<Vec<Duration>, Failure>>,
    ) -> Result<(), Failure> {
        let node = || self.node.map(|process| Load::of(&process.to_string())).unwrap_or_default();
        let (started, before, node_before) = (Instant::now(), Load::now(), node());
        let latencies = run.await?;
        self.took += started.elapsed();
        self.node_load.add(&node_before.until(node()));
        self.load.add(&before.until_now());
        self.latencies.extend(latencies);
        Ok(())
    }

    /// A second.
    pub(super) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// How many cores the ledger's own process had.
    pub(super) fn node_cores(&self) -> Option<f64> {
        self.node_load.cores(self.took)
    }

    /// In milliseconds, by nearest rank.
    pub(super) fn quantile(&mut self, percent: usize) -> f64 {
        self.latencies.sort_unstable();
        let rank = (self.latencies.len() * percent).div_ceil(100).max(1);
        let found = self.latencies.get(rank - 1).copied().unwrap_or_default();
        round(found.as_secs_f64() * 1_000.0, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_latencies() {
        let mut tally = Tally {
            took: Duration::from_secs(2),
            latencies: (1..=200).rev().map(Duration::from_millis).collect(),
            ..Tally::default()
        };
        assert!((tally.rate() - 100.0).abs() < f64::EPSILON);
        let got = [1, 50, 99, 100].map(|percent| tally.quantile(percent));
        assert_eq!(got, [2.0, 100.0, 198.0, 200.0]);
    }
}
