//! Transactions as a journal holds them, without a node: for a person who looks at one that is down. It only reads, also
//! while a node writes. Driving a transaction on is left out: that takes ledgers and keys, which only a node opens.

use std::path::{Path, PathBuf};

use sofie_model::{LedgerId, Txid};
use sofie_transaction::State;

use crate::api::Transaction;
use crate::drive::Machine;
use crate::federation::view;
use crate::journal::{JournalError, Reader};
use crate::{opening, runtime, transactions};

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
        records.iter().rev().map(|record| self.shown(&transactions::replay(record)?)).collect()
    }

    /// One transaction.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read or replayed.
    pub fn transaction(&self, id: Txid) -> Result<Option<Transaction>, JournalError> {
        let record = self.journal.machine(State::KIND, id.0)?;
        record.map(|record| self.shown(&transactions::replay(&record)?)).transpose()
    }

    fn shown(&self, state: &State) -> Result<Transaction, JournalError> {
        // An embedded ledger has its state here, and one operator: this node's.
        let single = |id: &LedgerId| opening::embedded_state(&self.folder, id).any(|file| file.exists());
        let label = sofie_transaction::label(state.manifest(), single).to_string();
        Ok(view::transaction(state, label, view::steps(&self.journal, state.txid().0, None)?))
    }
}
