//! SOFIE, the one binary: the command line, and `sofie up`.
//!
//! Data goes to stdout, words for people to stderr. Exit codes: 0 done, 1 refused or failed as the output says, 2 wrong
//! use, 3 the environment lacks something (`sofie doctor` says what).

mod cli;
mod client;
mod commands;
mod failure;
mod input;
mod output;
mod story;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// How long a task that cannot be interrupted may hold up the end of the process.
const CUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return output::fail(&failure::Failure::lacking(
                "start its threads",
                error,
                "raise the limit of threads",
            ));
        }
    };
    let ended = runtime.block_on(commands::run(cli));
    // What still runs is cut: everything that must last is in the journal by then.
    runtime.shutdown_timeout(CUT);
    match ended {
        Ok(code) => code,
        Err(failure) => output::fail(&failure),
    }
}
