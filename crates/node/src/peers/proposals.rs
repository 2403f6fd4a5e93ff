//! Proposals that wait: those of peers for a person here, and this node's own for its peers. Durable, and bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use minicbor::{Decode, Encode};
use sofie_model::{Digest, Timestamp, Txid, canonical};
use sofie_transaction::Plan;

use super::message::Opening;
use crate::journal::{Entry, Journal, JournalError};

/// The most that wait, of peers and of this node's own together.
pub(super) const MAX_WAITING: usize = 256;
/// The longest kept proposal.
const MAX_BYTES: usize = 128 * 1024;

/// Facts of this group: txid, with a [`Proposal`].
pub(crate) const GROUP: &str = "peer-proposal";
/// Facts of this group: a peer's key and a nonce, with the one txid that was agreed to under it.
const AGREED: &str = "peer-agreed";

/// Whose proposal, and what became of it so far.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum Stand {
    /// A peer proposes it; a person here has not decided.
    #[n(0)]
    Theirs {
        /// The peer's key.
        #[n(0)]
        peer: Digest,
        /// Why a person must.
        #[n(1)]
        why: String,
    },
    /// A peer proposed it; a person here declined.
    #[n(1)]
    DeclinedHere,
    /// This node proposes it; not every peer has agreed.
    #[n(2)]
    Ours,
}

/// A proposal that has not begun.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct Proposal {
    /// Whose, and where it is.
    #[n(0)]
    pub(super) stand: Stand,
    /// What this node would begin with.
    #[n(1)]
    pub(super) plan: Plan,
    /// What the record legs open to.
    #[n(2)]
    pub(super) openings: Vec<Opening>,
}

/// All that wait. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Proposals {
    journal: Journal,
    waiting: Arc<Mutex<BTreeMap<Txid, Proposal>>>,
    /// Held while one is agreed to: under one nonce there is at most one.
    pub(super) agreeing: Arc<tokio::sync::Mutex<()>>,
}

impl Proposals {
    /// What the journal holds.
    ///
    /// # Errors
    /// [`JournalError`], also when an entry does not decode.
    pub(super) fn open(journal: Journal) -> Result<Self, JournalError> {
        let mut waiting = BTreeMap::new();
        for (key, bytes) in journal.reader()?.facts(GROUP)? {
            let corrupt = |what: String| JournalError::Corrupt { path: journal.path().to_owned(), what };
            let txid: Txid = key.parse().map_err(|e| corrupt(format!("{GROUP} {key}: {e}")))?;
            let proposal: Proposal =
                canonical::decode(&bytes, MAX_BYTES).map_err(|e| corrupt(format!("{GROUP} {key}: {e}")))?;
            waiting.insert(txid, proposal);
        }
        Ok(Self { journal, waiting: Arc::new(Mutex::new(waiting)), agreeing: Arc::default() })
    }

    pub(super) fn get(&self, txid: Txid) -> Option<Proposal> {
        self.waiting.lock().expect("no holder of this lock panics").get(&txid).cloned()
    }

    pub(super) fn all(&self) -> Vec<(Txid, Proposal)> {
        let waiting = self.waiting.lock().expect("no holder of this lock panics");
        waiting.iter().map(|(txid, proposal)| (*txid, proposal.clone())).collect()
    }

    /// Takes one in; the entries make it durable. `None`: too many wait.
    pub(super) fn put(&self, txid: Txid, proposal: Proposal, now: Timestamp) -> Option<Vec<Entry>> {
        let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
        // What no decision can reach any more is forgotten.
        let over: Vec<Txid> = waiting
            .iter()
            .filter(|(_, one)| one.plan.manifest.deadline < now)
            .map(|(txid, _)| *txid)
            .collect();
        waiting.retain(|txid, _| !over.contains(txid));
        if waiting.len() >= MAX_WAITING && !waiting.contains_key(&txid) {
            return None;
        }
        let bytes = canonical::encode(&proposal);
        waiting.insert(txid, proposal);
        let gone = over.into_iter().map(|txid| entry(txid, Vec::new()));
        Some(gone.chain([entry(txid, bytes)]).collect())
    }

    /// Takes one out; the entry makes it durable.
    pub(super) fn take(&self, txid: Txid) -> Entry {
        self.waiting.lock().expect("no holder of this lock panics").remove(&txid);
        entry(txid, Vec::new())
    }

    /// What was agreed to under this peer's nonce.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(super) fn agreed(&self, keyid: &str, nonce: Digest) -> Result<Option<Txid>, JournalError> {
        let found = self.journal.reader()?.fact(AGREED, &format!("{keyid} {nonce}"))?;
        Ok(found.and_then(|bytes| bytes.try_into().ok()).map(|bytes| Txid(Digest(bytes))))
    }

    /// The entry that nothing else will be agreed to under this nonce.
    pub(super) fn agreed_entry(keyid: &str, nonce: Digest, txid: Txid) -> Entry {
        Entry::Fact { group: AGREED, key: format!("{keyid} {nonce}"), value: txid.0.as_bytes().to_vec() }
    }
}

fn entry(txid: Txid, value: Vec<u8>) -> Entry {
    Entry::Fact { group: GROUP, key: txid.to_string(), value }
}
