//! The command line: nouns, then verbs.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

mod bench;
mod directory;
mod ledger;
mod market;
mod things;
mod tx;

use crate::output::Format;
pub(crate) use bench::{Bench, BenchAnvil, BenchRecords, BenchRestart, BenchRestartPart, BenchTx};
pub(crate) use directory::DirectoryVerb;
pub(crate) use ledger::{LedgerVerb, PartyVerb};
pub(crate) use market::{ContractVerb, OfferVerb};
use sofie_node::config::Name;
use sofie_testkit::simulation::Mutant;
pub(crate) use things::{MappingVerb, PlatformVerb, ThingVerb};
pub(crate) use tx::TxVerb;

/// A configuration that is enough, for the help.
const MINIMAL: &str =
    concat!("The smallest useful sofie.toml:\n\n", include_str!("../../../examples/node/sofie.toml"));

/// SOFIE: a secure open federation of IoT platforms.
///
/// Example: sofie try locker
#[derive(Debug, Parser)]
#[command(name = "sofie", version, about, arg_required_else_help = true, verbatim_doc_comment)]
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

/// Where to read a journal whose node is down.
#[derive(Debug, Clone, Args)]
pub(crate) struct Offline {
    /// Read the journal in this data folder, without a node
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Read the journal of the node with this configuration, without the node
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// A transaction's or contract's id, or its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Id(String);

impl Id {
    /// The digits of a whole id.
    const DIGITS: usize = 64;
    /// A shorter beginning says too little.
    const LEAST: usize = 4;

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The id, if it is whole.
    pub(crate) fn whole(&self) -> Option<&str> {
        (self.0.len() == Self::DIGITS).then_some(self.as_str())
    }
}

impl std::str::FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits && (Self::LEAST..=Self::DIGITS).contains(&text.len()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(format!("an id is {} hexadecimal digits; its first {} are enough", Self::DIGITS, Self::LEAST))
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole story on embedded ledgers and real device processes
    ///
    /// Example: sofie try locker --fault crash
    #[command(verbatim_doc_comment)]
    Try(Try),
    /// Make a node's configuration and the keys of its parties
    ///
    /// Example: sofie init alice --name alice-node --party alice
    #[command(verbatim_doc_comment)]
    Init(Init),
    /// Run a node
    ///
    /// Example: sofie up -c sofie.toml
    #[command(verbatim_doc_comment, after_long_help = MINIMAL)]
    Up(Up),
    /// Copy a node's whole state into a folder, also while it runs; the folder holds its keys
    ///
    /// Example: sofie backup -c sofie.toml backup-2026-11-25
    #[command(verbatim_doc_comment)]
    Backup(Backup),
    /// Put a backup back in place of a node that was lost
    ///
    /// Example: sofie restore -c sofie.toml backup-2026-11-25
    #[command(verbatim_doc_comment)]
    Restore(Backup),
    /// Bring a node's data and configuration from an older version to this one's, after a backup; the node must be down
    ///
    /// Example: sofie migrate --check -c sofie.toml
    #[command(verbatim_doc_comment)]
    Migrate(Migrate),
    /// Join platforms and see them
    ///
    /// Example: sofie platform add --owner locker-co coap://127.0.0.1:5683 --allow lock
    #[command(verbatim_doc_comment)]
    Platform {
        #[command(subcommand)]
        verb: PlatformVerb,
        #[command(flatten)]
        node: Node,
    },
    /// Judge an owner's mapping by the samples in it, without a node
    ///
    /// Example: sofie mapping test door.toml
    #[command(verbatim_doc_comment)]
    Mapping {
        #[command(subcommand)]
        verb: MappingVerb,
        #[command(flatten)]
        output: Output,
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
    /// Check that a node's directory serves what it has anchored
    ///
    /// Example: sofie directory verify --seen directory.seen
    #[command(verbatim_doc_comment)]
    Directory {
        #[command(subcommand)]
        verb: DirectoryVerb,
        #[command(flatten)]
        node: Node,
    },
    /// Begin inter-ledger transactions, see them, agree to another node's, drive one on
    ///
    /// Example: sofie tx ls
    #[command(verbatim_doc_comment)]
    Tx {
        #[command(subcommand)]
        verb: TxVerb,
        #[command(flatten)]
        node: Node,
    },
    /// Offer actuations to other companies' nodes, and see what is for sale
    ///
    /// Example: sofie offer publish locker.toml
    #[command(verbatim_doc_comment)]
    Offer {
        #[command(subcommand)]
        verb: OfferVerb,
        #[command(flatten)]
        node: Node,
    },
    /// Take up an offer of another company's node; the contract is proposed to it
    ///
    /// Example: sofie agree 8d2f01 --payer alice
    #[command(verbatim_doc_comment)]
    Agree {
        /// The offer's id, or how it begins
        offer: Id,
        /// The party of this node who pays
        #[arg(long, value_name = "PARTY")]
        payer: String,
        /// Your own name for this request: sent again, it begins nothing new
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        #[command(flatten)]
        node: Node,
    },
    /// See contracts, and cancel what has not begun
    ///
    /// Example: sofie contract ls -o json
    #[command(verbatim_doc_comment)]
    Contract {
        #[command(subcommand)]
        verb: ContractVerb,
        #[command(flatten)]
        node: Node,
    },
    /// See the parties whose keys the node holds, where each is paid on every ledger, and what it lacks to pay
    ///
    /// Example: sofie party ls
    #[command(verbatim_doc_comment)]
    Party {
        #[command(subcommand)]
        verb: PartyVerb,
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
    /// Run simulated worlds from seeds; exit 1 with the seed in which a promise breaks
    ///
    /// Example: sofie simulate --seeds 1000
    #[command(verbatim_doc_comment)]
    Simulate(Simulate),
    /// Measure, beside a peer, in one run
    ///
    /// Example: sofie bench tx -o json
    #[command(verbatim_doc_comment)]
    Bench {
        #[command(subcommand)]
        bench: Bench,
    },
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
    /// Ether against bitcoin, recorded on a calendar: three real ledgers, all or none
    Swap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// The locker answers, but the door does not open: refunded at the deadline
    DoorStuck,
    /// The record ledger takes no entries: aborted, nothing moved
    LedgerDown,
    /// The node is killed between prepare and decision, and started again: committed (both stories)
    Crash,
    /// A key without authority signs the evidence: refused, refunded at the deadline
    ForgedSensor,
    /// Swap: bitcoind is killed before anything is prepared: aborted, everybody has everything back
    BitcoinDown,
    /// Swap: a reorganisation of the Ethereum chain undoes a lock before the decision: all or none
    ReorgEvm,
    /// Swap: a reorganisation of Bitcoin undoes the lock: all or none
    ReorgBitcoin,
    /// Swap: the node is down from COMMIT until shortly before the timelock, then claims: committed
    Sleep,
    /// Swap: the node is down until after the timelock; nobody was faster, so it still claims: committed
    LateClaim,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The folder, made when it is not there
    #[arg(default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// How the node calls itself
    #[arg(long, default_value = "sofie")]
    pub(crate) name: Name,
    /// A party whose keys the node holds; may be repeated, the first runs the node [default: operator]
    #[arg(long, value_name = "NAME")]
    pub(crate) party: Vec<Name>,
    /// Where the node listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8420")]
    pub(crate) listen: std::net::SocketAddr,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The backup's folder
    #[arg(value_name = "BACKUP")]
    pub(crate) folder: PathBuf,
    /// The node's configuration; one that is not there is put back, too
    #[arg(short, long, value_name = "FILE", default_value = "sofie.toml")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Say what would change, and change nothing; exit 1 when there is something
    #[arg(long)]
    pub(crate) check: bool,
    /// Where the backup goes [default: DATA_DIR.before-FORMAT]
    #[arg(long, value_name = "DIR", conflicts_with = "check")]
    pub(crate) backup: Option<PathBuf>,
    /// The node's configuration
    #[arg(short, long, value_name = "FILE", default_value = "sofie.toml")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
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

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The receipt
    pub(crate) receipt: PathBuf,
    /// The blocks, keys and accounts that you know from elsewhere (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) anchors: Option<PathBuf>,
    /// The root of a calendar's seconds that was published, as `sofie ledger published` printed it: what the calendar
    /// proves must stand under it, whoever holds its key; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) published: Vec<PathBuf>,
    /// What puts the receipt under a root that was published later, as `sofie ledger extend` wrote it; may be repeated
    #[arg(long, value_name = "FILE", requires = "published")]
    pub(crate) extension: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// How many worlds [default: 100; with a mutant 2000, until it is found out]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) seeds: Option<u64>,
    /// The first of their seeds
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    pub(crate) from: u64,
    /// Only the world of this seed
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    pub(crate) seed: Option<u64>,
    /// Print each step of it
    #[arg(long, requires = "seed")]
    pub(crate) trace: bool,
    /// Run a broken protocol, which must be found out: exit 1, and 3 where it is not; `list` names them
    #[arg(long, value_name = "NAME")]
    pub(crate) mutant: Option<MutantName>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// A mutant, or the wish to see which there are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MutantName {
    /// Name them.
    List,
    /// Run this one.
    One(Mutant),
}

impl std::str::FromStr for MutantName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "list" { Ok(Self::List) } else { text.parse().map(Self::One) }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// A smart locker: CoAP (RFC 7252)
    ///
    /// Example: sofie device locker --door door.json --listen 127.0.0.1:5683
    #[command(verbatim_doc_comment)]
    Locker {
        /// The door simulator's state file; a closed door is hung there if there is none
        #[arg(long, value_name = "FILE")]
        door: PathBuf,
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: std::net::SocketAddr,
    },
    /// A door sensor: MQTT
    ///
    /// Example: sofie device door-sensor --door door.json --broker 127.0.0.1:1883
    #[command(verbatim_doc_comment)]
    DoorSensor {
        /// The door simulator's state file
        #[arg(long, value_name = "FILE")]
        door: PathBuf,
        /// The broker
        #[arg(long, value_name = "HOST:PORT")]
        broker: std::net::SocketAddr,
    },
    /// An MQTT broker
    ///
    /// Example: sofie device broker --listen 127.0.0.1:1883
    #[command(verbatim_doc_comment)]
    Broker {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: std::net::SocketAddr,
    },
}
