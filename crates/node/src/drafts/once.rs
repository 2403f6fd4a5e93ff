//! A repeated request begins nothing new: the client names its request, and the journal holds under that name which
//! transaction it began, in the very write that began it. After a crash the name is there if the transaction is.
//!
//! The header is that of draft-ietf-httpapi-idempotency-key-header; a name used for another request is a conflict, and so
//! is one whose first request is still being worked on. Names are kept as long as the journal.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use minicbor::{Decode, Encode};
use sofie_model::{Digest, Txid, canonical};

use super::{Refused, ensure};
use crate::api::{Draft, MAX_KEY, OpenContract};
use crate::journal::{Entry, JournalError, Reader};

/// Facts of this group hold the requests, by the client's name for them.
const GROUP: &str = "submitted";
/// The longest stored fact.
const MAX_BYTES: usize = 128;

/// What a request began: a transaction of a draft, or a contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Submitted {
    /// What was asked for, without its key.
    #[n(0)]
    pub(crate) asked: Digest,
    /// The transaction.
    #[n(1)]
    pub(crate) txid: Txid,
}

impl Submitted {
    /// What the journal holds under `key`.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn read(reader: &Reader, key: &str) -> Result<Option<Self>, JournalError> {
        let corrupt =
            |e| JournalError::Corrupt { path: reader.path().to_owned(), what: format!("request {key}: {e}") };
        reader
            .fact(GROUP, key)?
            .map(|bytes| canonical::decode(&bytes, MAX_BYTES).map_err(corrupt))
            .transpose()
    }

    /// To be journaled together with the transaction's beginning.
    pub(crate) fn entry(&self, key: String) -> Entry {
        Entry::Fact { group: GROUP, key, value: canonical::encode(self) }
    }
}

/// The requests that are being worked on. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Once(Arc<Mutex<HashSet<String>>>);

/// The right to work on a request; others of the same name wait until it is dropped.
#[derive(Debug)]
pub(crate) struct Claimed {
    all: Once,
    key: String,
}

impl Once {
    /// Takes the name, unless somebody works on it.
    pub(crate) fn claim(&self, key: &str) -> Option<Claimed> {
        let fresh = self.0.lock().expect("no holder of this lock panics").insert(key.to_owned());
        fresh.then(|| Claimed { all: self.clone(), key: key.to_owned() })
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.all.0.lock().expect("no holder of this lock panics").remove(&self.key);
    }
}

/// What is asked for, whatever it is called.
pub(crate) fn digest(draft: &Draft) -> Digest {
    json("sofie.draft.v1", &Draft { idempotency_key: None, ..draft.clone() })
}

/// The same, of a contract.
pub(crate) fn digest_of_contract(asked: &OpenContract) -> Digest {
    json("sofie.contract-request.v1", &OpenContract { idempotency_key: None, ..asked.clone() })
}

fn json(domain: &str, asked: &impl serde::Serialize) -> Digest {
    // Made of texts, numbers and lists under text keys alone: it is always JSON.
    Digest::of(domain, &[&serde_json::to_vec(asked).unwrap_or_default()])
}

pub(crate) fn check_key(key: Option<&str>) -> Result<(), Refused> {
    let Some(key) = key else { return Ok(()) };
    let fits = (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    ensure(fits, "idempotency_key", || format!("1 to {MAX_KEY} visible ASCII characters are expected"))
}
