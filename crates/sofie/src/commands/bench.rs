//! `sofie bench`: measures beside a peer in the same run, on the same machine, under the same load.

mod anvil;
mod load;
mod ours;
mod pair;
mod presigned;
mod proofs;
mod raw;
mod records;
mod restart;
mod tally;
mod tx;
mod world;

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::Bench;
use crate::failure::Failure;

pub(crate) async fn run(bench: &Bench) -> Result<ExitCode, Failure> {
    match bench {
        Bench::Tx(args) => tx::run(args).await,
        Bench::Records(args) => records::run(args).await,
        Bench::Anvil(args) => anvil::run(args).await,
        Bench::Restart(args) => restart::run(args).await,
        Bench::RestartPart(args) => restart::run_part(args).await,
    }
}

/// How every measure begins: ours beside the peer's, in one unit.
#[derive(Debug, Serialize)]
struct Paired {
    name: &'static str,
    unit: &'static str,
    ours: f64,
    peer: &'static str,
    theirs: f64,
    ratio: f64,
}

impl Paired {
    /// Both values to so many digits; the ratio is that of the values as they were measured.
    fn new(
        (name, unit): (&'static str, &'static str),
        ours: f64,
        (peer, theirs): (&'static str, f64),
        digits: i32,
    ) -> Self {
        let ratio = round(ours / theirs, 3);
        Self { name, unit, ours: round(ours, digits), peer, theirs: round(theirs, digits), ratio }
    }
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
