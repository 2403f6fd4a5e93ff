//! What a node that was put back from a backup must not do: it has forgotten what it did since.
//!
//! It may have released a secret, signed a renunciation, locked a coin or told a device already, and would do it a second
//! time in good faith. So what had not ended in the backup is only followed and closed: nothing is prepared, released,
//! signed or told for it any more, while what stands on the ledgers is found, decided transactions are driven to their
//! end, and the others are aborted after their time. New secrets come from another epoch (design, "Recovery": fenced by
//! epoch), so that no manifest of the forgotten time can be begun a second time.

use std::collections::BTreeSet;
use std::path::Path;

use sofie_model::{Digest, canonical};
use sofie_transaction::State;

use crate::contracts::Driven;
use crate::drive::Machine;
use crate::journal::{Entry, JournalError, List, Reader, Sqlite};
use crate::peers::PROPOSALS;

/// Facts of this group: an id that had not ended, and the epoch under [`EPOCH`].
const GROUP: &str = "restored";
const EPOCH: &str = "epoch";
/// The longest stored fact.
const MAX_BYTES: usize = 64;

/// The reason that a transaction shows.
pub(crate) const WHY: &str = "this node was put back from a backup and does not know what it did since: it only follows and closes this";

/// What the journal says of a restore.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    epoch: Option<Digest>,
    ids: BTreeSet<Digest>,
}

impl Restored {
    /// Reads it; empty for a node that never was restored.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn read(journal: &Reader) -> Result<Self, JournalError> {
        let mut read = Self::default();
        let corrupt = |what: String| JournalError::Corrupt {
            path: journal.path().to_owned(),
            what: format!("restored: {what}"),
        };
        for (key, value) in journal.facts(GROUP)? {
            let value: Digest = canonical::decode(&value, MAX_BYTES).map_err(|e| corrupt(e.to_string()))?;
            if key == EPOCH {
                read.epoch = Some(value);
            } else {
                read.ids.insert(value);
            }
        }
        Ok(read)
    }

    /// Whether this transaction or contract began before the restore and had not ended.
    pub(crate) fn holds(&self, id: Digest) -> bool {
        self.ids.contains(&id)
    }

    /// What new secrets are derived from besides the keys; `None` before any restore.
    pub(crate) const fn epoch(&self) -> Option<Digest> {
        self.epoch
    }
}

/// The transactions and contracts that have not ended.
///
/// # Errors
/// [`JournalError`].
pub(crate) fn unfinished(journal: &Reader) -> Result<BTreeSet<Digest>, JournalError> {
    let transactions = journal.machines(State::KIND, false)?;
    let contracts = journal.machines(Driven::KIND, false)?;
    Ok(transactions.into_iter().chain(contracts).map(|record| record.id).collect())
}

/// Marks what is unfinished in the journal at `path`, which no node has open, and begins another epoch.
///
/// # Errors
/// [`JournalError`].
pub fn mark(path: &Path) -> Result<(), JournalError> {
    let ids = unfinished(&Reader::open(path)?)?;
    let unwritten = |reason: String| JournalError::Write { path: path.to_owned(), reason };
    let mut epoch = [0; 32];
    getrandom::fill(&mut epoch).map_err(|error| unwritten(error.to_string()))?;
    let fact =
        |key: String, value: Digest| Entry::Fact { group: GROUP, key, value: canonical::encode(&value) };
    let mut entries = vec![fact(EPOCH.into(), Digest(epoch))];
    entries.extend(ids.into_iter().map(|id| fact(id.to_string(), id)));
    // Proposals that waited may have been agreed to since.
    let waiting = Reader::open(path)?.facts(PROPOSALS)?;
    let forgotten =
        waiting.into_iter().map(|(key, _)| Entry::Fact { group: PROPOSALS, key, value: Vec::new() });
    entries.extend(forgotten);
    let list = List { entries, now: crate::clock::now() };
    Sqlite::open(path)?.write(&[list]).map_err(unwritten)
}
