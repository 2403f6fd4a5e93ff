//! The arguments of `sofie bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Atomic transactions on embedded ledgers, beside raw submits to the same ledgers
    ///
    /// Example: sofie bench tx --legs 3 -o json
    #[command(verbatim_doc_comment)]
    Tx(BenchTx),
    /// Records in batches on the embedded chain, beside a transaction for each; and the check of their proofs
    ///
    /// Example: sofie bench records --count 10000 -o json
    #[command(verbatim_doc_comment)]
    Records(BenchRecords),
    /// Atomic transactions on a real Ethereum node, beside a bare client that brings the same ones to it, signed before
    ///
    /// Example: sofie bench anvil -o json
    #[command(verbatim_doc_comment)]
    Anvil(BenchAnvil),
    /// A node that starts on a journal full of transactions that wait, beside reading the same rows by plain SQLite
    ///
    /// Example: sofie bench restart --count 100000 -o json
    #[command(verbatim_doc_comment)]
    Restart(BenchRestart),
    /// A part of `restart`, in a process of its own
    #[command(hide = true)]
    RestartPart(BenchRestartPart),
}

#[derive(Debug, Args)]
pub(crate) struct BenchRecords {
    /// How many records a round: up to 65536 are one batch
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=200_000))]
    pub(crate) count: u64,
    /// How many at once
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=4_096))]
    pub(crate) concurrency: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct BenchAnvil {
    /// How many transactions: an escrow on anvil and a record on a calendar
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) count: u64,
    /// How many at once; a transaction takes six blocks and more, from its beginning until it is applied
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u64).range(1..=16_384))]
    pub(crate) concurrency: u64,
    /// How many accounts send COMMIT and apply; each has at most 4096 transactions under way
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) lanes: u64,
    /// How many accounts pay
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=4_096))]
    pub(crate) payers: u64,
    /// The time between two blocks, in milliseconds
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(20..=60_000))]
    pub(crate) block_ms: u64,
    /// The gas that a block may hold
    #[arg(long, default_value_t = 1_000_000_000, value_parser = clap::value_parser!(u64).range(30_000_000..))]
    pub(crate) block_gas: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct BenchRestart {
    /// How many transactions wait
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) count: u64,
    /// The escrows are on anvil, a block a second, instead of the embedded chain
    #[arg(long)]
    pub(crate) anvil: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct BenchRestartPart {
    /// The folder of journal and ledgers
    pub(crate) folder: PathBuf,
    /// Write so many that wait; else start a node
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) write: Option<u64>,
    /// The address of a running anvil, instead of the embedded chain
    #[arg(long)]
    pub(crate) node: Option<String>,
    /// The number of the first new transaction
    #[arg(long)]
    pub(crate) from: u64,
}

#[derive(Debug, Args)]
pub(crate) struct BenchTx {
    /// An escrow on the embedded EVM and a record on a calendar; the third leg is a record on a second calendar
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(2..=3))]
    pub(crate) legs: u64,
    /// How many transactions
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) count: u64,
    /// How many at once
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=4_096))]
    pub(crate) concurrency: u64,
    /// How many accounts pay; COMMIT and apply are always sent by one account, the operator's
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=4_096))]
    pub(crate) payers: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}
