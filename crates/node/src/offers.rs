//! What this node's parties have for sale, for the peers that may see it. An offer is a fact of the journal, and gone once
//! it is withdrawn or has ended; contracts that were made of it go on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use minicbor::{Decode, Encode};
use sofie_market::Offer;
use sofie_model::{Digest, Timestamp, canonical};

use crate::config::Peer;
use crate::journal::{Entry, Journal, JournalError};

/// The most offers of one node: all of them fit into one message.
pub const MAX_OFFERS: usize = 32;
/// The longest offer, in bytes of its encoding.
pub const MAX_OFFER: usize = 2_000;

/// Facts of this group: an offer's id, with a [`Published`].
const GROUP: &str = "offer";
/// The longest such fact: an offer and the names of its peers.
const MAX_BYTES: usize = 16 * 1024;

/// An offer, and what its owner says of it to this node alone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Published {
    /// What peers are shown.
    #[n(0)]
    pub(crate) offer: Offer,
    /// Which peers, by what they are called here; none: all of them.
    #[n(1)]
    pub(crate) to: Vec<String>,
    /// A person decides about each contract, too.
    #[n(2)]
    pub(crate) ask: bool,
}

impl Published {
    /// Whether `peer` may see it and agree to it.
    pub(crate) fn is_for(&self, peer: &Peer) -> bool {
        self.to.is_empty() || self.to.iter().any(|name| name.as_str() == peer.name.as_str())
    }
}

/// All of them. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Offers(Arc<Mutex<BTreeMap<Digest, Published>>>);

impl Offers {
    /// What the journal holds.
    ///
    /// # Errors
    /// [`JournalError`], also when an entry does not decode.
    pub(crate) fn open(journal: &Journal) -> Result<Self, JournalError> {
        let mut all = BTreeMap::new();
        for (key, bytes) in journal.reader()?.facts(GROUP)? {
            let corrupt = |e| JournalError::Corrupt {
                path: journal.path().to_owned(),
                what: format!("offer {key}: {e}"),
            };
            let published: Published = canonical::decode(&bytes, MAX_BYTES).map_err(corrupt)?;
            all.insert(published.offer.id(), published);
        }
        Ok(Self(Arc::new(Mutex::new(all))))
    }

    /// Those that have not ended at `now`.
    pub(crate) fn open_at(&self, now: Timestamp) -> Vec<Published> {
        let all = self.0.lock().expect("no holder of this lock panics");
        all.values().filter(|one| one.offer.until >= now).cloned().collect()
    }

    /// One of them, if `peer` may see it.
    pub(crate) fn for_peer(&self, id: Digest, peer: &Peer) -> Option<Published> {
        let all = self.0.lock().expect("no holder of this lock panics");
        all.get(&id).filter(|one| one.is_for(peer)).cloned()
    }

    /// Takes one in, and out those that have ended; the entries make it durable. `None`: there are too many.
    pub(crate) fn publish(&self, published: Published, now: Timestamp) -> Option<Vec<Entry>> {
        let mut all = self.0.lock().expect("no holder of this lock panics");
        let id = published.offer.id();
        let ended: Vec<_> = all.iter().filter(|(_, one)| one.offer.until < now).map(|(id, _)| *id).collect();
        if all.len() - ended.len() >= MAX_OFFERS && !all.contains_key(&id) {
            return None;
        }
        let kept = entry(id, canonical::encode(&published));
        let gone: Vec<_> = ended.iter().map(|id| entry(*id, Vec::new())).collect();
        ended.iter().for_each(|id| drop(all.remove(id)));
        all.insert(id, published);
        Some(gone.into_iter().chain([kept]).collect())
    }

    /// Takes one back; the entry makes it durable. `None`: there is none of this name.
    pub(crate) fn withdraw(&self, id: Digest) -> Option<Entry> {
        self.0.lock().expect("no holder of this lock panics").remove(&id).map(|_| entry(id, Vec::new()))
    }
}

fn entry(id: Digest, value: Vec<u8>) -> Entry {
    Entry::Fact { group: GROUP, key: id.to_string(), value }
}
