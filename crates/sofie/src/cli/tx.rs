//! The verbs of transactions.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Id, Offline};

#[derive(Debug, Subcommand)]
pub(crate) enum TxVerb {
    /// List the proposals that have not begun, then the transactions, the newest first
    ///
    /// Example: sofie tx ls --data-dir sofie-data
    #[command(verbatim_doc_comment)]
    Ls {
        #[command(flatten)]
        offline: Offline,
    },
    /// Show one transaction: its legs, its steps, the time left until its deadline
    ///
    /// Example: sofie tx show 5f0c71
    #[command(verbatim_doc_comment)]
    Show {
        /// Its id, or how it begins
        id: Id,
        #[command(flatten)]
        offline: Offline,
    },
    /// Begin a transaction from a draft in TOML or JSON; its fields are in docs/guide/inter-ledger.md. One with a party of
    /// another company's node is proposed to it (docs/guide/two-nodes.md)
    ///
    /// Example: sofie tx submit swap.toml --wait
    #[command(verbatim_doc_comment)]
    Submit {
        /// The draft
        file: PathBuf,
        /// Your own name for this request: sent again, it begins nothing new
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Wait until it has ended; exit 1 when it was aborted, was declined or has halted
        #[arg(long)]
        wait: bool,
    },
    /// Agree to what another company's node proposes; `sofie tx show` tells what that is
    ///
    /// Example: sofie tx agree 5f0c71
    #[command(verbatim_doc_comment)]
    Agree {
        /// Its id, or how it begins
        id: Id,
    },
    /// Decline what another company's node proposes
    ///
    /// Example: sofie tx decline 5f0c71 --reason "the price has changed"
    #[command(verbatim_doc_comment)]
    Decline {
        /// Its id, or how it begins
        id: Id,
        /// What the other node is told
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Take back what this node has proposed, before it has begun
    ///
    /// Example: sofie tx withdraw 5f0c71 --reason "sold elsewhere"
    #[command(verbatim_doc_comment)]
    Withdraw {
        /// Its id, or how it begins
        id: Id,
        /// What the other nodes are told
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Write a transaction's manifest to a file, with which a node elsewhere can watch it
    ///
    /// Example: sofie tx manifest 5f0c71 swap.manifest
    #[command(verbatim_doc_comment)]
    Manifest {
        /// Its id, or how it begins
        id: Id,
        /// Where to write it
        file: PathBuf,
    },
    /// Write the receipt of one that has ended, for `sofie verify`
    ///
    /// Example: sofie tx receipt 5f0c71 receipt.cbor
    #[command(verbatim_doc_comment)]
    Receipt {
        /// Its id, or how it begins
        id: Id,
        /// Where to write it
        file: PathBuf,
    },
    /// Have a node that holds none of its keys watch a transaction: it tells when time runs out, and finishes what anyone may
    ///
    /// Example: sofie tx watch swap.manifest --node http://127.0.0.1:8433
    #[command(verbatim_doc_comment)]
    Watch {
        /// Its manifest, as `sofie tx manifest` of a participant's node writes it
        file: PathBuf,
    },
    /// Ask the decision ledger again and drive every leg that is not done
    ///
    /// Example: sofie tx resume 5f0c71
    #[command(verbatim_doc_comment)]
    Resume {
        /// Its id, or how it begins
        id: Id,
    },
}
