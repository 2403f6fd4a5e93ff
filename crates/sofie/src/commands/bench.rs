//! `sofie bench`: measures beside a peer in the same run, on the same machine, under the same load.

mod load;
mod ours;
mod raw;
mod restart;
mod tally;
mod tx;
mod world;

use std::process::ExitCode;

use crate::cli::Bench;
use crate::failure::Failure;

pub(crate) async fn run(bench: &Bench) -> Result<ExitCode, Failure> {
    match bench {
        Bench::Tx(args) => tx::run(args).await,
        Bench::Restart(args) => restart::run(args).await,
        Bench::RestartPart(args) => restart::run_part(args).await,
    }
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
