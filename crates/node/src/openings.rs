//! What opens the commitments of record legs, kept beside the transaction from its first write on.

use sofie_audit::receipt::Sealed;
use sofie_model::{LegId, Txid, canonical};

use crate::api::MAX_PAYLOAD;
use crate::journal::{Entry, JournalError, Reader};

/// Facts of this group: transaction and leg, with a [`Sealed`].
const GROUP: &str = "opening";
/// The longest stored fact.
const MAX_BYTES: usize = MAX_PAYLOAD + 128;

/// To be journaled with the beginning of the transaction.
pub(crate) fn entry(txid: Txid, leg: LegId, sealed: &Sealed) -> Entry {
    Entry::Fact { group: GROUP, key: key(txid, leg), value: canonical::encode(sealed) }
}

/// What opens this leg, if it was submitted or shown here.
///
/// # Errors
/// [`JournalError`], also when it does not decode.
pub(crate) fn read(journal: &Reader, txid: Txid, leg: LegId) -> Result<Option<Sealed>, JournalError> {
    let corrupt = |e| JournalError::Corrupt {
        path: journal.path().to_owned(),
        what: format!("what opens {leg} of {txid}: {e}"),
    };
    let found = journal.fact(GROUP, &key(txid, leg))?;
    found.map(|bytes| canonical::decode(&bytes, MAX_BYTES).map_err(corrupt)).transpose()
}

fn key(txid: Txid, leg: LegId) -> String {
    format!("{txid} {}", leg.0)
}
