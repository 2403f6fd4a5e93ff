//! Offers and contracts: their verbs.

use std::path::PathBuf;

use clap::Subcommand;

use super::Id;

#[derive(Debug, Subcommand)]
pub(crate) enum ContractVerb {
    /// List the contracts, the newest first
    ///
    /// Example: sofie contract ls -o json
    #[command(verbatim_doc_comment)]
    Ls,
    /// Show one contract: its parties, its deadlines, its steps, what happens next
    ///
    /// Example: sofie contract show 5f0c71
    #[command(verbatim_doc_comment)]
    Show {
        /// Its id, or how it begins
        id: Id,
    },
    /// Cancel one that has not begun: what this node proposes is taken back, what another proposes is declined
    ///
    /// Example: sofie contract cancel 5f0c71 --reason "found a nearer one"
    #[command(verbatim_doc_comment)]
    Cancel {
        /// Its id, or how it begins
        id: Id,
        /// What the other node is told
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Claim that the presented evidence does not show what was agreed: recorded, and written down for the arbiter
    ///
    /// Example: sofie contract dispute 5f0c71 --reason "the door is shut" --case case.json
    #[command(verbatim_doc_comment)]
    Dispute {
        /// Its id, or how it begins
        id: Id,
        /// What the evidence does not show
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Where to write what the arbiter needs to know and to sign
        #[arg(long, value_name = "FILE")]
        case: Option<PathBuf>,
    },
    /// Overrule the presented evidence, by the arbiter's key on this node or what it signed elsewhere
    ///
    /// Example: sofie contract rule 5f0c71 --ruling ruling.json
    #[command(verbatim_doc_comment)]
    Rule {
        /// Its id, or how it begins
        id: Id,
        /// What `sofie contract sign` wrote at the arbiter's node
        #[arg(long, value_name = "FILE")]
        ruling: Option<PathBuf>,
    },
    /// Sign a ruling on a contract of other nodes, by the arbiter's key on this one
    ///
    /// Example: sofie contract sign case.json ruling.json
    #[command(verbatim_doc_comment)]
    Sign {
        /// The case, as `sofie contract dispute` wrote it
        case: PathBuf,
        /// Where to write the ruling
        file: PathBuf,
    },
    /// Write the receipt of one that has ended, for `sofie verify`
    ///
    /// Example: sofie contract receipt 5f0c71 receipt.cbor
    #[command(verbatim_doc_comment)]
    Receipt {
        /// Its id, or how it begins
        id: Id,
        /// The file
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OfferVerb {
    /// Publish an offer from a file in TOML or JSON; docs/guide/two-nodes.md shows one
    ///
    /// Example: sofie offer publish locker.toml
    #[command(verbatim_doc_comment)]
    Publish {
        /// The offer
        file: PathBuf,
    },
    /// List this node's offers, and those of its peers, which are asked now
    ///
    /// Example: sofie offer ls -o json
    #[command(verbatim_doc_comment)]
    Ls,
    /// Take back an offer of this node; contracts that were made of it go on
    ///
    /// Example: sofie offer withdraw 8d2f01
    #[command(verbatim_doc_comment)]
    Withdraw {
        /// Its id, or how it begins
        id: Id,
    },
}
