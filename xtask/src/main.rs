//! Chores of the workspace, one file a chore: `cargo xtask CHORE`. It needs no crate, so that it is there at once.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore speaks to the developer's terminal")]

mod contracts;
#[allow(dead_code, reason = "the chores that follow use the rest")]
mod shell;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask CHORE

  contracts build|check
                       the Solidity contracts: compile the committed artefacts, compare them
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["contracts", rest @ ..] => contracts::run(rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [chore, ..] => Err(shell::Failure::usage(format!("there is no chore {chore:?}\n\n{USAGE}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(failure.code)
        }
    }
}
