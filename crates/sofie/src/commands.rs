//! One file a noun.

mod backup;
mod bench;
mod device;
mod directory;
pub(crate) mod doctor;
mod draft;
mod init;
mod mapping;
mod migrate;
mod nouns;
mod offer;
mod party;
mod published;
mod ruling;
mod simulate;
mod thing;
mod tx;
pub(crate) mod up;
pub(crate) mod verify;

use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use crate::story;

/// Runs the command.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Try(args) => {
            if !args.receipt_dir.is_dir() {
                let why = format!("{} is no folder", args.receipt_dir.display());
                return Err(Failure::usage(
                    "write a receipt",
                    why,
                    "make it, or name another with --receipt-dir",
                ));
            }
            story::run(args).await
        }
        Command::Init(args) => init::run(&args),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Up(args) => up::run(args).await,
        Command::Platform { verb, node } => nouns::platform(verb, &node).await,
        Command::Mapping { verb, output } => mapping::run(&verb, output.output),
        Command::Directory { verb, node } => directory::run(verb, &node).await,
        Command::Thing { verb, node } => thing::run(verb, &node).await,
        Command::Tx { verb, node } => tx::run(verb, &node).await,
        Command::Offer { verb, node } => offer::run(verb, &node).await,
        Command::Agree { offer, payer, key, node } => offer::agree(&offer, payer, key, &node).await,
        Command::Contract { verb, node } => nouns::contract(verb, &node).await,
        Command::Party { verb, node } => party::run(verb, &node).await,
        Command::Ledger { verb, node } => nouns::ledger(verb, &node).await,
        Command::Verify(args) => verify::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Bench { bench } => bench::run(&bench).await,
        Command::Doctor { output } => Ok(doctor::run(output.output)),
        Command::Device { device } => device::run(device).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sofie", &mut script);
            crate::output::line(String::from_utf8_lossy(&script).trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}
