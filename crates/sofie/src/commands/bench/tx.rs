//! `sofie bench tx`: atomic transactions, beside raw submits of the same operations to the same ledgers.

use std::process::ExitCode;

use serde::Serialize;

use super::load::Load;
use super::tally::Tally;
use super::world::World;
use super::{Paired, ours, raw};
use crate::cli::BenchTx;
use crate::failure::Failure;
use crate::output::{self, Format};

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
    #[serde(flatten)]
    paired: Paired,
    p50_ms: f64,
    p99_ms: f64,
    /// What bounds ours: which threads were how busy.
    bound: String,
    legs: u64,
    count: u64,
    concurrency: u64,
    payers: u64,
    peer_p50_ms: f64,
    peer_p99_ms: f64,
    peer_bound: String,
}

pub(super) async fn run(args: &BenchTx) -> Result<ExitCode, Failure> {
    let world = World::open(args.payers, args.legs).await?;
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

fn measure(args: &BenchTx, mut ours: Tally, mut raw: Tally) -> Measure {
    let name = if args.legs == 2 { "tx-two-leg" } else { "tx-three-leg" };
    let peer = ("raw submits to the same ledgers", raw.rate());
    Measure {
        paired: Paired::new((name, "atomic transactions/s"), ours.rate(), peer, 1),
        p50_ms: ours.quantile(50),
        p99_ms: ours.quantile(99),
        bound: ours.load.bound(ours.took),
        legs: args.legs,
        count: args.count,
        concurrency: args.concurrency,
        payers: args.payers,
        peer_p50_ms: raw.quantile(50),
        peer_p99_ms: raw.quantile(99),
        peer_bound: raw.load.bound(raw.took),
    }
}

fn print(measure: &Measure) {
    let row = |who: &str, rate: f64, p50: f64, p99: f64| {
        vec![who.to_owned(), format!("{rate:.1}"), format!("{p50:.2}"), format!("{p99:.2}")]
    };
    let rows = [
        row("ours", measure.paired.ours, measure.p50_ms, measure.p99_ms),
        row(measure.paired.peer, measure.paired.theirs, measure.peer_p50_ms, measure.peer_p99_ms),
    ];
    output::table(&[measure.paired.name, measure.paired.unit, "p50 ms", "p99 ms"], &rows);
    output::line(&format!("ratio  {:.3}", measure.paired.ratio));
    output::line(&format!("bound  {}", measure.bound));
    output::line(&format!("peer's {}", measure.peer_bound));
    output::line(&format!(
        "all {} transactions of both sides are committed and applied on all {} ledgers",
        measure.count * 2,
        measure.legs
    ));
}
