//! `sofie bench tx`: atomic transactions, beside raw submits of the same operations to the same ledgers.

use std::process::ExitCode;

use serde::Serialize;

use super::pair::Pair;
use super::tally::Tally;
use super::world::World;
use super::{Paired, raw};
use crate::cli::BenchTx;
use crate::failure::Failure;
use crate::output::{self, Format};

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
    let peer = async |manifests, tally: &mut Tally| {
        tally.during(raw::run(&world, manifests, args.concurrency)).await
    };
    let (count, concurrency, output) = (args.count, args.concurrency, args.output.output);
    let pair = Pair { count, concurrency, node: None, output };
    let sides = pair.run(&world, peer).await?;
    let begun: Vec<_> = sides.begun.into_iter().chain(sides.peers).collect();
    world.verify(&begun, |_| true).await?;
    world.check_balance(begun.len()).await?;
    let measure = measure(args, sides.ours, sides.peer);
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
