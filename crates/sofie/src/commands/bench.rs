//! `sofie bench`: measures beside a peer in the same run.

use std::process::ExitCode;

use crate::cli::Bench;
use crate::failure::Failure;

pub(crate) async fn run(_args: &Bench) -> Result<ExitCode, Failure> {
    Err(Failure::refused("measure", "not there yet", ""))
}
