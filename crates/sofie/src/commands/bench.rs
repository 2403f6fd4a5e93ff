//! `sofie bench`: measures beside a peer in the same run, on the same machine, under the same load.

mod load;
mod ours;
mod raw;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::cli::Bench;
use crate::failure::Failure;
use crate::output::{self, Format};
use load::Load;
use world::World;

/// Each side is measured twice, in the order ABBA: what else the machine does meets both alike.
const ROUNDS: [Side; 4] = [Side::Raw, Side::Ours, Side::Ours, Side::Raw];

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    Raw,
}

/// One measure, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Measure {
    name: &'static str,
    unit: &'static str,
    ours: f64,
    peer: &'static str,
    theirs: f64,
    ratio: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// What bounds ours: which threads were how busy.
    bound: String,
    count: u64,
    concurrency: u64,
    payers: u64,
    peer_p50_ms: f64,
    peer_p99_ms: f64,
    peer_bound: String,
}

/// What one side did, over all its rounds.
#[derive(Debug, Default)]
struct Tally {
    took: Duration,
    latencies: Vec<Duration>,
    load: Load,
}

pub(crate) async fn run(args: &Bench) -> Result<ExitCode, Failure> {
    let world = World::open(args.payers).await?;
    let (mut ours, mut raw) = (Tally::default(), Tally::default());
    let mut begun = Vec::new();
    for (round, side) in ROUNDS.into_iter().enumerate() {
        // The first round of each side takes the odd one.
        let count = if round < 2 { args.count.div_ceil(2) } else { args.count / 2 };
        if args.output.output == Format::Text {
            output::say(&format!("round {} of {}: {count} transactions, {side:?}", round + 1, ROUNDS.len()));
        }
        let manifests = world.manifests(count)?;
        begun.extend(manifests.iter().cloned());
        let tally = if side == Side::Ours { &mut ours } else { &mut raw };
        let (started, before) = (std::time::Instant::now(), Load::now());
        let latencies = match side {
            Side::Ours => ours::run(&world, manifests, args.concurrency).await?,
            Side::Raw => raw::run(&world, manifests, args.concurrency).await?,
        };
        tally.took += started.elapsed();
        tally.load.add(&before.until_now());
        tally.latencies.extend(latencies);
    }
    world.verify(&begun).await?;
    let measure = measure(args, ours, raw);
    match args.output.output {
        Format::Json => output::json(&measure),
        Format::Text => print(&measure),
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Bench, mut ours: Tally, mut raw: Tally) -> Measure {
    let (rate, raw_rate) = (ours.rate(), raw.rate());
    Measure {
        name: "tx-two-leg",
        unit: "atomic transactions/s",
        ours: round(rate, 1),
        peer: "raw submits to the same ledgers",
        theirs: round(raw_rate, 1),
        ratio: round(rate / raw_rate, 3),
        p50_ms: ours.quantile(50),
        p99_ms: ours.quantile(99),
        bound: ours.load.bound(ours.took),
        count: args.count,
        concurrency: args.concurrency,
        payers: args.payers,
        peer_p50_ms: raw.quantile(50),
        peer_p99_ms: raw.quantile(99),
        peer_bound: raw.load.bound(raw.took),
    }
}

impl Tally {
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// In milliseconds, by nearest rank.
    fn quantile(&mut self, percent: usize) -> f64 {
        self.latencies.sort_unstable();
        let rank = (self.latencies.len() * percent).div_ceil(100).max(1);
        let found = self.latencies.get(rank - 1).copied().unwrap_or_default();
        round(found.as_secs_f64() * 1_000.0, 2)
    }
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

fn print(measure: &Measure) {
    let row = |who: &str, rate: f64, p50: f64, p99: f64| {
        vec![who.to_owned(), format!("{rate:.1}"), format!("{p50:.2}"), format!("{p99:.2}")]
    };
    let rows = [
        row("ours", measure.ours, measure.p50_ms, measure.p99_ms),
        row(measure.peer, measure.theirs, measure.peer_p50_ms, measure.peer_p99_ms),
    ];
    output::table(&[measure.name, measure.unit, "p50 ms", "p99 ms"], &rows);
    output::line(&format!("ratio  {:.3}", measure.ratio));
    output::line(&format!("bound  {}", measure.bound));
    output::line(&format!("peer's {}", measure.peer_bound));
    output::line(&format!(
        "all {} transactions of both sides are committed and applied on both ledgers",
        measure.count * 2
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_latencies() {
        let mut tally = Tally {
            took: Duration::from_secs(2),
            latencies: (1..=200).rev().map(Duration::from_millis).collect(),
            load: Load::default(),
        };
        assert!((tally.rate() - 100.0).abs() < f64::EPSILON);
        let got = [1, 50, 99, 100].map(|percent| tally.quantile(percent));
        assert_eq!(got, [2.0, 100.0, 198.0, 200.0]);
    }
}
