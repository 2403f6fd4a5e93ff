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

use clap::Parser;

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
    match runtime.block_on(commands::run(cli)) {
        Ok(code) => code,
        Err(failure) => output::fail(&failure),
    }
}
