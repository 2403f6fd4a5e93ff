//! `sofie directory`.

use std::path::PathBuf;

use clap::Subcommand;
use sofie_model::ThingId;

#[derive(Debug, Subcommand)]
pub(crate) enum DirectoryVerb {
    /// Compare what a directory serves with the root that it has anchored on a calendar; exit 1 on a difference
    ///
    /// Each thing of the list is present or forged, or was never anchored; what was anchored and is not listed was dropped. The
    /// node is believed only as far as the calendar's signed log holds what it says.
    ///
    /// Example: sofie directory verify --anchors anchors.toml --seen directory.seen
    #[command(verbatim_doc_comment)]
    Verify {
        /// Only this thing, by a proof that it is there or is not; may be repeated
        #[arg(long = "thing", value_name = "ID")]
        things: Vec<ThingId>,
        /// The calendar's key that you know from elsewhere (TOML)
        #[arg(long, value_name = "FILE")]
        anchors: Option<PathBuf>,
        /// What an earlier run saw, and this one writes: a node that shows an older state, or another one, is found out
        #[arg(long, value_name = "FILE")]
        seen: Option<PathBuf>,
    },
}
