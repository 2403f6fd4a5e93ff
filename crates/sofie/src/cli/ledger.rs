//! `sofie ledger` and `sofie party`.

use std::path::PathBuf;

use clap::Subcommand;
use sofie_model::LedgerId;

#[derive(Debug, Subcommand)]
pub(crate) enum PartyVerb {
    /// List each party's address and money on every ledger
    ///
    /// Example: sofie party ls
    #[command(verbatim_doc_comment)]
    Ls,
    /// Show one party
    ///
    /// Example: sofie party show alice
    #[command(verbatim_doc_comment)]
    Show {
        /// Its name in the configuration
        party: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerVerb {
    /// List the ledgers
    ///
    /// Example: sofie ledger ls
    #[command(verbatim_doc_comment)]
    Ls,
    /// Ask each ledger; exit 1 when one does not answer
    ///
    /// Example: sofie ledger check -o json
    #[command(verbatim_doc_comment)]
    Check,
    /// Print the signed root of a calendar's seconds, to be published where nobody can change it
    ///
    /// Its first three lines are what counts: print them in a newspaper. `sofie verify --published` takes them.
    ///
    /// Example: sofie ledger published calendar > root-2026-11-29.txt
    #[command(verbatim_doc_comment)]
    Published {
        /// The calendar
        ledger: LedgerId,
        /// The root of its first so many seconds, instead of all
        #[arg(long, value_name = "SECONDS")]
        size: Option<u64>,
    },
    /// Write what puts a receipt under a root that was published later, for `sofie verify --extension`
    ///
    /// The node that keeps the calendar is asked; the answer is checked before it is written.
    ///
    /// Example: sofie ledger extend receipt.cbor root-2026-11-29.txt receipt.extension
    #[command(verbatim_doc_comment)]
    Extend {
        /// The receipt
        receipt: PathBuf,
        /// The published root, as `sofie ledger published` prints it
        root: PathBuf,
        /// Where to write the extension
        file: PathBuf,
    },
}
