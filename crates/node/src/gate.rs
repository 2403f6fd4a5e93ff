//! The door of one owner's things: verifies the capability that a request shows, by the owner's key and policy. It
//! stores what it has let in before the device is told, so that a restart does not open a door twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use minicbor::{Decode, Encode};
use sofie_access::{Affordance, Book, Door, Limits, Presented, Proof, PublicKey, Revocations, Verdict};
use sofie_adapters::port::{Gate, Refusal, Request};
use sofie_model::{Digest, Timestamp, Txid, canonical};

use crate::auditor::Note;
use crate::clock;
use crate::drive::Keeper;
use crate::journal::Entry;

/// A token and its holder's proof, as they travel to the door.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Shown {
    /// The capability.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub token: Vec<u8>,
    /// The holder's signature over this request.
    #[n(1)]
    pub proof: Proof,
    /// The transaction that the request belongs to.
    #[n(2)]
    pub transaction: Txid,
}

/// Facts of this group hold the doors' books, by owner.
pub const BOOKS: &str = "door-book";
/// Facts of this group hold the doors' verdicts, by transaction.
pub const VERDICTS: &str = "door-verdict";
const MAX_SHOWN: usize = 16 * 1024;

/// The door of one owner.
pub struct OwnersGate {
    owner: String,
    door: Door,
    key: PublicKey,
    allowed: BTreeSet<String>,
    memory: Arc<Memory>,
    keeper: Keeper,
}

/// What an owner's doors remember. All doors of an owner share one: a capability that one has let in is used up at the
/// others, and one book is what the journal keeps.
pub struct Memory(Mutex<Remembered>);

struct Remembered {
    book: Book,
    revocations: Revocations,
}

impl Memory {
    /// The memory of an owner who obeys `key`. `book` is what an earlier run remembered.
    #[must_use]
    pub fn new(key: PublicKey, book: Option<Book>) -> Arc<Self> {
        let now = clock::now();
        let book = book.unwrap_or_else(|| Book::new(now));
        Arc::new(Self(Mutex::new(Remembered { book, revocations: Revocations::none(key, now) })))
    }
}

impl std::fmt::Debug for OwnersGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnersGate")
            .field("owner", &self.owner)
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

/// What the holder asks the door for.
///
/// # Errors
/// The name's fault, when the action's name is not one that a capability can hold.
pub fn request(asked: &Request, transaction: Txid) -> Result<sofie_access::Request, sofie_access::Error> {
    let input = match &asked.input {
        serde_json::Value::Null => Digest::ZERO,
        value => Digest::sha256(value.to_string().as_bytes()),
    };
    let affordance = Affordance::action(&asked.action)?;
    Ok(sofie_access::Request {
        input,
        transaction: Some(transaction),
        ..sofie_access::Request::new(asked.thing.clone(), affordance)
    })
}

impl OwnersGate {
    /// The door of `owner`, who obeys `key` and allows `allowed` of the actions that were only inferred.
    #[must_use]
    pub fn new(
        owner: &str,
        key: PublicKey,
        allowed: BTreeSet<String>,
        memory: Arc<Memory>,
        keeper: Keeper,
    ) -> Arc<Self> {
        let door = Door::new(key, owner, Limits::default());
        Arc::new(Self { owner: owner.to_owned(), door, key, allowed, memory, keeper })
    }

    /// Decides, and keeps the door's book before anybody is let in. The memory stays locked until then: a book must not
    /// overtake a newer one on its way to the disk.
    fn decide(&self, asked: &Request, shown: &Shown, now: Timestamp) -> Result<(), Refusal> {
        let forged = |reason: String| Refusal::Forged { reason };
        let request = request(asked, shown.transaction).map_err(|e| forged(e.to_string()))?;
        let presented = Presented { token: &shown.token, request: &request, proof: Some(&shown.proof) };
        let mut memory = self.memory.0.lock().expect("no holder of this lock panics");
        // This node is the owner's own: its list is as fresh as the owner can make it.
        memory.revocations = memory.revocations.with([], now).map_err(|e| forged(e.to_string()))?;
        let Remembered { book, revocations } = &mut *memory;
        let outcome = self.door.admit(&presented, revocations, book, now);
        let verdict = Verdict::of(&self.door, &presented, now, &outcome);
        match outcome {
            Ok(_) => self.keep(shown, &verdict, memory.book.to_bytes(), now),
            Err(refusal) => Err(told(&refusal)),
        }
    }

    /// Keeps the door's book and its verdict; the door lets nobody in whose entry is not on the disk.
    fn keep(&self, shown: &Shown, verdict: &Verdict, book: Vec<u8>, now: Timestamp) -> Result<(), Refusal> {
        let key = shown.transaction.to_string();
        let entries = vec![
            Entry::Fact { group: BOOKS, key: self.owner.clone(), value: book },
            Entry::Fact { group: VERDICTS, key, value: canonical::encode(verdict) },
        ];
        let note =
            Note::about(shown.transaction.0, "admitted", true, "the capability is good for this request")
                .by(self.owner.clone());
        let keeping = self.keeper.auditor.keep(entries, vec![note], now);
        let kept = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(keeping));
        kept.map_err(|error| Refusal::Policy { reason: format!("the door cannot keep its book: {error}") })
    }

    fn refuse(
        &self,
        asked: &Request,
        transaction: Option<Txid>,
        refusal: Refusal,
        now: Timestamp,
    ) -> Refusal {
        let subject = transaction
            .map_or_else(|| Digest::of("sofie.thing.v1", &[asked.thing.as_str().as_bytes()]), |t| t.0);
        let note = Note::about(subject, "refused-at-door", false, refusal.to_string()).by(self.owner.clone());
        let keeping = self.keeper.auditor.keep(Vec::new(), vec![note], now);
        if let Err(error) =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(keeping))
        {
            tracing::error!(%error, "a refusal at the door could not be recorded");
        }
        refusal
    }
}

impl Gate for OwnersGate {
    fn admit(&self, asked: &Request) -> Result<(), Refusal> {
        let now = clock::now();
        if asked.capability.is_empty() {
            return Err(self.refuse(asked, None, Refusal::Missing, now));
        }
        let shown: Shown = match canonical::decode(&asked.capability, MAX_SHOWN) {
            Ok(shown) => shown,
            Err(error) => {
                return Err(self.refuse(asked, None, Refusal::Forged { reason: error.to_string() }, now));
            }
        };
        let transaction = Some(shown.transaction);
        if !self.allowed.contains(&asked.action) {
            let reason = format!("{} was only inferred, and {} has not allowed it", asked.action, self.owner);
            return Err(self.refuse(asked, transaction, Refusal::Policy { reason }, now));
        }
        self.decide(asked, &shown, now).map_err(|refusal| self.refuse(asked, transaction, refusal, now))
    }
}

impl OwnersGate {
    /// The key that the door obeys.
    #[must_use]
    pub const fn key(&self) -> PublicKey {
        self.key
    }
}

/// The room `access` says it with more detail; the port's words are fewer.
fn told(refusal: &sofie_access::Refusal) -> Refusal {
    use sofie_access::Refusal as Detail;
    match refusal {
        Detail::NotYet { .. } => Refusal::TooEarly,
        Detail::Expired { .. } => Refusal::Expired,
        Detail::OtherThing { .. } => Refusal::WrongThing,
        Detail::OtherAffordance { .. } => Refusal::WrongAction,
        Detail::Revoked { .. } => Refusal::Revoked,
        other => Refusal::Forged { reason: other.to_string() },
    }
}
