//! Proposals that have not begun: those of peers for a person here, and this node's own for its peers. Durable, and
//! bounded for each proposer, so that one peer's flood leaves the others their place. One that was declined or is past its
//! deadline stays for a while, to be shown.

pub(crate) mod form1;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use minicbor::{Decode, Encode};
use sofie_model::{Digest, Timestamp, Txid, canonical};
use sofie_transaction::Plan;

use super::message::Opening;
use crate::config::Name;
use crate::contracts;
use crate::journal::{Entry, Journal, JournalError, Reader};

/// The most of one proposer, a peer or this node, that wait.
pub(super) const MAX_WAITING: usize = 64;
/// The most of one proposer that are kept to be shown when they are over; those that ended first are forgotten first.
const MAX_OVER: usize = 64;
/// The longest kept proposal.
const MAX_BYTES: usize = 128 * 1024;

/// Facts of this group: txid, with a [`Proposal`].
pub(crate) const GROUP: &str = "peer-proposal";
/// Facts of this group: a peer's key and a nonce, with the one txid that was agreed to under it.
const AGREED: &str = "peer-agreed";

/// Whose proposal, and what became of it so far.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Stand {
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
    Declined {
        /// The peer's key.
        #[n(0)]
        peer: Digest,
        /// What the peer is told.
        #[n(1)]
        why: String,
    },
    /// This node proposes it; not every peer has agreed.
    #[n(2)]
    Ours,
    /// This node proposed it, and it came to nothing.
    #[n(3)]
    GivenUp {
        /// Which peer, and what it said.
        #[n(0)]
        why: String,
    },
}

impl Stand {
    /// The peer's key; `None` for this node.
    pub(crate) const fn proposer(&self) -> Option<Digest> {
        match self {
            Self::Theirs { peer, .. } | Self::Declined { peer, .. } => Some(*peer),
            Self::Ours | Self::GivenUp { .. } => None,
        }
    }
}

/// A proposal that has not begun.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Proposal {
    /// Whose, and where it is.
    #[n(0)]
    pub(crate) stand: Stand,
    /// What this node would begin with.
    #[n(1)]
    pub(crate) plan: Plan,
    /// What the record legs open to.
    #[n(2)]
    pub(crate) openings: Vec<Opening>,
    /// The contract that begins with it.
    #[n(3)]
    pub(crate) contract: Option<contracts::Plan>,
}

impl Proposal {
    /// Whether it may still begin.
    pub(crate) fn waits(&self, now: Timestamp) -> bool {
        matches!(self.stand, Stand::Theirs { .. } | Stand::Ours) && !self.expired(now)
    }

    /// Whether its deadline has passed.
    pub(crate) fn expired(&self, now: Timestamp) -> bool {
        self.plan.manifest.deadline <= now
    }

    /// Reads what the journal at `path` holds under `key`.
    fn read(path: &Path, key: &str, bytes: &[u8]) -> Result<(Txid, Self), JournalError> {
        let corrupt = |what: String| JournalError::Corrupt {
            path: path.to_owned(),
            what: format!("{GROUP} {key}: {what}"),
        };
        let txid: Txid = key.parse().map_err(|e| corrupt(format!("{e}")))?;
        let proposal = canonical::decode(bytes, MAX_BYTES).map_err(|e| corrupt(e.to_string()))?;
        Ok((txid, proposal))
    }
}

/// The proposals that a journal holds.
///
/// # Errors
/// [`JournalError`], also when one does not decode.
pub(crate) fn held(reader: &Reader) -> Result<BTreeMap<Txid, Proposal>, JournalError> {
    let facts = reader.facts(GROUP)?;
    facts.iter().map(|(key, bytes)| Proposal::read(reader.path(), key, bytes)).collect()
}

/// All of them. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Proposals {
    journal: Journal,
    all: Arc<Mutex<BTreeMap<Txid, Proposal>>>,
    /// What each peer has said last to this node's own that wait.
    heard: Arc<Mutex<BTreeMap<Txid, BTreeMap<Name, String>>>>,
    /// Held while one is agreed to: under one nonce there is at most one.
    pub(super) agreeing: Arc<tokio::sync::Mutex<()>>,
    /// Told when one of this node's own is withdrawn.
    pub(super) withdrawn: Arc<tokio::sync::Notify>,
}

impl Proposals {
    /// What the journal holds.
    ///
    /// # Errors
    /// [`JournalError`], also when an entry does not decode.
    pub(super) fn open(journal: Journal) -> Result<Self, JournalError> {
        let all = held(&journal.reader()?)?;
        Ok(Self {
            journal,
            all: Arc::new(Mutex::new(all)),
            heard: Arc::default(),
            agreeing: Arc::default(),
            withdrawn: Arc::default(),
        })
    }

    pub(super) fn get(&self, txid: Txid) -> Option<Proposal> {
        self.all.lock().expect("no holder of this lock panics").get(&txid).cloned()
    }

    /// Whether this node proposes it, and has neither begun it nor given it up.
    pub(super) fn is_ours(&self, txid: Txid) -> bool {
        self.get(txid).is_some_and(|kept| kept.stand == Stand::Ours)
    }

    pub(super) fn all(&self) -> Vec<(Txid, Proposal)> {
        let all = self.all.lock().expect("no holder of this lock panics");
        all.iter().map(|(txid, proposal)| (*txid, proposal.clone())).collect()
    }

    /// Takes one in, or changes it; the entries make it durable. `None`: too many of its proposer wait.
    pub(super) fn put(&self, txid: Txid, proposal: Proposal, now: Timestamp) -> Option<Vec<Entry>> {
        let mut all = self.all.lock().expect("no holder of this lock panics");
        let of_one = all
            .iter()
            .filter(|(id, one)| **id != txid && one.stand.proposer() == proposal.stand.proposer())
            .map(|(id, one)| (one.plan.manifest.deadline, *id, one.waits(now)));
        let (waiting, mut over): (Vec<_>, Vec<_>) = of_one.partition(|(.., waits)| *waits);
        if proposal.waits(now) && waiting.len() >= MAX_WAITING {
            return None;
        }
        over.sort_unstable();
        over.truncate((over.len() + 1).saturating_sub(MAX_OVER));
        let gone: Vec<Entry> = over.iter().map(|(_, id, _)| entry(*id, Vec::new())).collect();
        over.iter().for_each(|(_, id, _)| drop(all.remove(id)));
        let kept = entry(txid, canonical::encode(&proposal));
        all.insert(txid, proposal);
        Some(gone.into_iter().chain([kept]).collect())
    }

    /// The entry that one has begun.
    pub(super) fn begun_entry(txid: Txid) -> Entry {
        entry(txid, Vec::new())
    }

    /// It has begun: from here on it is a transaction.
    pub(super) fn begun(&self, txid: Txid) {
        self.all.lock().expect("no holder of this lock panics").remove(&txid);
    }

    /// What a peer says while this node's own waits for it.
    pub(super) fn hear(&self, txid: Txid, peer: &Name, word: String) {
        let mut heard = self.heard.lock().expect("no holder of this lock panics");
        heard.entry(txid).or_default().insert(peer.clone(), word);
    }

    /// The same, of all peers.
    pub(super) fn heard(&self, txid: Txid) -> Vec<String> {
        let heard = self.heard.lock().expect("no holder of this lock panics");
        heard.get(&txid).map(|words| words.values().cloned().collect()).unwrap_or_default()
    }

    /// It waits no more.
    pub(super) fn forget_word(&self, txid: Txid) {
        self.heard.lock().expect("no holder of this lock panics").remove(&txid);
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
