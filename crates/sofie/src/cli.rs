//! The command line: nouns, then verbs.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::output::Format;

/// SOFIE: a secure open federation of IoT platforms.
#[derive(Debug, Parser)]
#[command(name = "sofie", version, about, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to print.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// How to print the data
    #[arg(short = 'o', long, value_enum, default_value_t, global = true)]
    pub(crate) output: Format,
}

/// Which node to ask.
#[derive(Debug, Clone, Args)]
pub(crate) struct Node {
    /// The node's address
    #[arg(
        long,
        env = "SOFIE_NODE",
        default_value = "http://127.0.0.1:8420",
        value_name = "URL",
        global = true
    )]
    pub(crate) node: String,
    /// A file with the node's bearer token
    #[arg(long, env = "SOFIE_TOKEN_FILE", value_name = "FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole story on embedded ledgers and real device processes
    ///
    /// Example: sofie try locker --fault crash
    #[command(verbatim_doc_comment)]
    Try(Try),
    /// Run a node
    ///
    /// Example: sofie up -c sofie.toml
    #[command(verbatim_doc_comment)]
    Up(Up),
    /// Join platforms and see them
    ///
    /// Example: sofie platform add --owner locker-co --kind coap coap://127.0.0.1:5683 --allow lock
    #[command(verbatim_doc_comment)]
    Platform {
        #[command(subcommand)]
        verb: PlatformVerb,
        #[command(flatten)]
        node: Node,
    },
    /// List and check Thing Descriptions
    ///
    /// Example: sofie thing check lamp.td.json
    #[command(verbatim_doc_comment)]
    Thing {
        #[command(subcommand)]
        verb: ThingVerb,
        #[command(flatten)]
        node: Node,
    },
    /// See inter-ledger transactions, and drive one on
    ///
    /// Example: sofie tx ls
    #[command(verbatim_doc_comment)]
    Tx {
        #[command(subcommand)]
        verb: TxVerb,
        #[command(flatten)]
        node: Node,
    },
    /// See contracts
    ///
    /// Example: sofie contract ls -o json
    #[command(verbatim_doc_comment)]
    Contract {
        #[command(subcommand)]
        verb: ContractVerb,
        #[command(flatten)]
        node: Node,
    },
    /// See the node's ledgers
    ///
    /// Example: sofie ledger check
    #[command(verbatim_doc_comment)]
    Ledger {
        #[command(subcommand)]
        verb: LedgerVerb,
        #[command(flatten)]
        node: Node,
    },
    /// Verify a receipt offline: no node, no network
    ///
    /// Example: sofie verify receipt-5f0c.cbor --anchors anchors.toml
    #[command(verbatim_doc_comment)]
    Verify(Verify),
    /// Measure, beside a peer, in one run
    ///
    /// Example: sofie bench tx -o json
    #[command(verbatim_doc_comment)]
    Bench(Bench),
    /// Say what is missing on this machine, and how to mend it
    ///
    /// Example: sofie doctor
    #[command(verbatim_doc_comment)]
    Doctor {
        #[command(flatten)]
        output: Output,
    },
    /// Simulated devices that know nothing of SOFIE
    ///
    /// Example: sofie device locker --door door.state
    #[command(verbatim_doc_comment)]
    Device {
        #[command(subcommand)]
        device: Device,
    },
    /// Print a shell's completion script
    ///
    /// Example: sofie completion bash > /etc/bash_completion.d/sofie
    #[command(verbatim_doc_comment)]
    Completion {
        /// For which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Try {
    /// Which story
    #[arg(value_enum)]
    pub(crate) story: Story,
    /// A story that goes wrong
    #[arg(long, value_enum)]
    pub(crate) fault: Option<Fault>,
    /// The node's configuration, in place of the embedded ledgers
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The same as -o json
    #[arg(long)]
    pub(crate) json: bool,
    /// Where the receipt and its anchors are written
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) receipt_dir: PathBuf,
    /// Kill the node after so many journal writes and start it again (for tests of crashes)
    #[arg(long, value_name = "N", hide = true)]
    pub(crate) kill_at_write: Option<u64>,
    /// Print the report, then keep everything running until standard input ends (for tests of the console)
    #[arg(long, hide = true)]
    pub(crate) hold: bool,
    /// End at once, also at a terminal, where otherwise the console stays until Ctrl-C
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Story {
    /// A renter pays to have a smart locker opened; another company's sensor proves that it was
    Locker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// The locker answers, but the door does not open: refunded at the deadline
    DoorStuck,
    /// The record ledger takes no entries: aborted, nothing moved
    LedgerDown,
    /// The node is killed between prepare and decision, and started again: committed
    Crash,
    /// A key without authority signs the evidence: refused, refunded at the deadline
    ForgedSensor,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "sofie.toml")]
    pub(crate) config: PathBuf,
    /// Stop at this journal step, for a supervisor that kills the node: write:NUMBER or intent:TASK
    #[arg(long, value_name = "STEP", hide = true)]
    pub(crate) pause_at: Option<sofie_node::journal::PauseAt>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PlatformVerb {
    /// Join a platform by introspection
    Add {
        /// coap://HOST:PORT or mqtt://HOST:PORT
        url: String,
        /// The party who owns it
        #[arg(long)]
        owner: String,
        /// Its protocol
        #[arg(long, value_parser = ["coap", "mqtt"])]
        kind: String,
        /// An inferred action that the owner allows others to ask for; may be repeated
        #[arg(long)]
        allow: Vec<String>,
    },
    /// List the joined platforms
    Ls,
    /// Show one platform
    Show {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ThingVerb {
    /// List the things in the directory
    Ls,
    /// Print a Thing Description
    Show {
        /// Its id
        id: String,
    },
    /// Check Thing Descriptions against TD 1.1; needs no node
    Check {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TxVerb {
    /// List the transactions, the newest first
    Ls,
    /// Show one transaction
    Show {
        /// Its id
        id: String,
    },
    /// Ask the decision ledger again and drive every leg that is not done
    Resume {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContractVerb {
    /// List the contracts, the newest first
    Ls,
    /// Show one contract and its steps
    Show {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerVerb {
    /// List the ledgers
    Ls,
    /// Exit 1 when a ledger does not answer
    Check,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The receipt
    pub(crate) receipt: PathBuf,
    /// The blocks, keys and accounts that you know from elsewhere (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) anchors: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// What to measure
    #[arg(value_enum)]
    pub(crate) name: BenchName,
    /// How many transactions
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) count: u64,
    /// How many at once
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=4_096))]
    pub(crate) concurrency: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchName {
    /// Atomic two-leg transactions, beside raw submits to the same two ledgers
    Tx,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// A smart locker: CoAP (RFC 7252)
    Locker {
        /// The door simulator's state file
        #[arg(long, value_name = "FILE")]
        door: PathBuf,
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: std::net::SocketAddr,
    },
    /// A door sensor: MQTT
    DoorSensor {
        /// The door simulator's state file
        #[arg(long, value_name = "FILE")]
        door: PathBuf,
        /// The broker
        #[arg(long, value_name = "HOST:PORT")]
        broker: std::net::SocketAddr,
    },
    /// An MQTT broker
    Broker {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: std::net::SocketAddr,
    },
}
