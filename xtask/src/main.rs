//! Chores of the workspace, one file a chore: `cargo xtask CHORE`. It needs no crate, so that it is there at once.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a chore speaks to the developer's terminal")]

mod ci;
mod console;
mod contracts;
mod fuzz;
mod peers;
mod shell;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask CHORE

  ci                   everything that must hold before a change lands
  peers install|ls     what the tests need besides Rust, put under .peers/ (or $SOFIE_PEERS)
  console build|check|test [NODE]|real
                       the console page: build the committed assets, compare them, try them in Chromium (against a
                       fixture, against the running node at the address NODE, or against nodes of its own)
  fuzz [--seconds N [TARGET]]
                       every fuzz target for a short while, with a fixed seed
  contracts build|check|lint
                       the Solidity contracts: compile the committed artefacts, compare them, analyse the sources
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["ci"] => ci::run(),
        ["peers", rest @ ..] => peers::run(rest),
        ["console", rest @ ..] => console::run(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
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
