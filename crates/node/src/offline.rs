//! Transactions as a journal holds them, without a node: for a person who looks at one that is down. It only reads, also
//! while a node writes. Driving a transaction on is left out: that takes ledgers and keys, which only a node opens.

use std::path::{Path, PathBuf};

use sofie_model::{LedgerId, Manifest, Txid};
use sofie_transaction::State;

use crate::api::Transaction;
use crate::drive::Machine;
use crate::federation::view;
use crate::journal::{JournalError, Reader};
use crate::peers::{Pending, Proposal, held_proposals};
use crate::{clock, opening, runtime, transactions};

/// A data folder that is only read.
#[derive(Debug)]
pub struct Offline {
    journal: Reader,
    folder: PathBuf,
}

impl Offline {
    /// Opens the journal in a node's data folder.
    ///
    /// # Errors
    /// [`JournalError`] names the file and the next step.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = runtime::journal_in(folder);
        if !path.exists() {
            return Err(JournalError::Absent { path });
        }
        let journal = Reader::open(&path)?;
        Ok(Self { journal, folder: folder.to_owned() })
    }

    /// Every transaction, the newest first.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read or replayed.
    pub fn transactions(&self) -> Result<Vec<Transaction>, JournalError> {
        let records = self.journal.machines(State::KIND, true)?;
        let begun = records.iter().rev().map(|record| self.shown(&transactions::replay(record)?));
        held_proposals(&self.journal)?.into_iter().map(|kept| self.proposed(kept)).chain(begun).collect()
    }

    /// One transaction.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read or replayed.
    pub fn transaction(&self, id: Txid) -> Result<Option<Transaction>, JournalError> {
        match self.journal.machine(State::KIND, id.0)? {
            Some(record) => self.shown(&transactions::replay(&record)?).map(Some),
            None => {
                let kept = held_proposals(&self.journal)?.remove(&id);
                kept.map(|proposal| self.proposed((id, proposal))).transpose()
            }
        }
    }

    /// Without a configuration there are no names: accounts and keys stand for themselves.
    fn proposed(&self, kept: (Txid, Proposal)) -> Result<Transaction, JournalError> {
        let pending = Pending::of(kept, &[], |_| None, clock::now());
        let steps = view::steps(&self.journal, pending.txid.0, None)?;
        Ok(view::proposal(&pending, self.label(&pending.manifest), &|account| account.to_string(), steps))
    }

    fn shown(&self, state: &State) -> Result<Transaction, JournalError> {
        let steps = view::steps(&self.journal, state.txid().0, None)?;
        Ok(view::transaction(state, self.label(state.manifest()), &|account| account.to_string(), steps))
    }

    fn label(&self, manifest: &Manifest) -> String {
        // An embedded ledger has its state here, and one operator, as has another node's calendar.
        let single = |id: &LedgerId| opening::embedded_state(&self.folder, id).any(|file| file.exists());
        sofie_transaction::label(manifest, single).to_string()
    }
}
