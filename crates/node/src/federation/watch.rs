//! Watches a transaction of others whose manifest a person brings ([`crate::peers`] does the rest).

use sofie_model::{Manifest, canonical};

use crate::api::{ApiError, ErrorKind, Federation, Transaction};
use crate::runtime::Runtime;

/// The longest manifest that is read, in bytes.
const MAX_MANIFEST: usize = 64 * 1024;

pub(super) async fn watch(node: &Runtime, bytes: &[u8]) -> Result<Transaction, ApiError> {
    let manifest: Manifest =
        canonical::decode(bytes, MAX_MANIFEST).map_err(|error| unfit(error.to_string()))?;
    let txid = manifest.txid();
    if node.transactions().state(txid)?.is_none() {
        // Nobody brings by hand what was signed ahead.
        if manifest.pivot().is_some() {
            let why = "it has a hashlock leg, which only its parties or their pre-signed spends can end: have a \
                       participant's node entrust it (`watcher = true` in its [[peer]] entry of this node)";
            return Err(unfit(why.into()));
        }
        node.peers().watch(manifest, "by hand").await?.map_err(unfit)?;
    }
    Federation::transaction(node, txid).await
}

fn unfit(why: String) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "the manifest cannot be watched", why)
        .next("take it from GET /api/v1/transactions/{txid}/manifest of a node that takes part")
}
