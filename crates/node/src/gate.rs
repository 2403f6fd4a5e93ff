//! The door of one owner's things: verifies the capability that a request shows, by the owner's key and policy. It
//! stores what it has let in before the device is told, so that a restart does not open a door twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use minicbor::{Decode, Encode};
use sofie_access::{Affordance, Book, Door, Limits, Op, Presented, Proof, PublicKey, Revocations, Verdict};
use sofie_adapters::port::{Gate, Refusal, Request, Write};
use sofie_model::{Digest, ThingId, Timestamp, Txid, canonical};

use crate::api::JoinPlatform;
use crate::auditor::Note;
use crate::clock;
use crate::drive::Keeper;
use crate::journal::Entry;
use crate::platforms::subject;

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
    /// The transaction that the request belongs to, if it does to one: a write does not.
    #[n(2)]
    pub transaction: Option<Txid>,
}

/// What the owner of a platform lets others ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Actions, by name.
    pub actions: BTreeSet<String>,
    /// Properties that may be written, by name.
    pub writes: BTreeSet<String>,
}

impl Allowed {
    /// The policy that somebody joins a platform with.
    #[must_use]
    pub fn of(asked: &JoinPlatform) -> Self {
        let set = |names: &[String]| names.iter().cloned().collect();
        Self { actions: set(&asked.allow), writes: set(&asked.allow_writes) }
    }
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
    allowed: Allowed,
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

/// The same for a write, which belongs to no transaction.
///
/// # Errors
/// As [`request`].
pub fn write_request(asked: &Write) -> Result<sofie_access::Request, sofie_access::Error> {
    let said = serde_json::json!([asked.value, asked.unit]).to_string();
    let affordance = Affordance::new(Op::WriteProperty, &asked.property)?;
    let input = Digest::sha256(said.as_bytes());
    Ok(sofie_access::Request { input, ..sofie_access::Request::new(asked.thing.clone(), affordance) })
}

impl OwnersGate {
    /// The door of `owner`, who obeys `key` and allows no more than `allowed`.
    #[must_use]
    pub fn new(
        owner: &str,
        key: PublicKey,
        allowed: Allowed,
        memory: Arc<Memory>,
        keeper: Keeper,
    ) -> Arc<Self> {
        let door = Door::new(key, owner, Limits::default());
        Arc::new(Self { owner: owner.to_owned(), door, key, allowed, memory, keeper })
    }

    /// Decides, and keeps the door's book before anybody is let in. The memory stays locked until then: a book must not
    /// overtake a newer one on its way to the disk.
    fn decide(
        &self,
        asked: Result<sofie_access::Request, sofie_access::Error>,
        shown: &Shown,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let forged = |reason: String| Refusal::Forged { reason };
        let request = asked.map_err(|e| forged(e.to_string()))?;
        let presented = Presented { token: &shown.token, request: &request, proof: Some(&shown.proof) };
        let mut memory = self.memory.0.lock().expect("no holder of this lock panics");
        // This node is the owner's own: its list is as fresh as the owner can make it.
        memory.revocations = memory.revocations.with([], now).map_err(|e| forged(e.to_string()))?;
        let Remembered { book, revocations } = &mut *memory;
        let outcome = self.door.admit(&presented, revocations, book, now);
        let verdict = Verdict::of(&self.door, &presented, now, &outcome);
        match outcome {
            Ok(_) => self.keep(&request, shown, &verdict, memory.book.to_bytes(), now),
            Err(refusal) => Err(told(&refusal)),
        }
    }

    /// Keeps the door's book, and its verdict on a transaction; the door lets nobody in whose entry is not on the disk.
    fn keep(
        &self,
        asked: &sofie_access::Request,
        shown: &Shown,
        verdict: &Verdict,
        book: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let mut entries = vec![Entry::Fact { group: BOOKS, key: self.owner.clone(), value: book }];
        entries.extend(shown.transaction.map(|transaction| Entry::Fact {
            group: VERDICTS,
            key: transaction.to_string(),
            value: canonical::encode(verdict),
        }));
        let subject = about(shown.transaction, &asked.thing);
        let note = Note::about(subject, "admitted", true, "the capability is good for this request")
            .by(self.owner.clone());
        let keeping = self.keeper.auditor.keep(entries, vec![note], now);
        let kept = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(keeping));
        kept.map_err(|error| Refusal::Policy { reason: format!("the door cannot keep its book: {error}") })
    }

    fn refuse(
        &self,
        thing: &ThingId,
        transaction: Option<Txid>,
        refusal: Refusal,
        now: Timestamp,
    ) -> Refusal {
        let subject = about(transaction, thing);
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
        let denied = (!self.allowed.actions.contains(&asked.action))
            .then(|| format!("{} has not allowed that {} is asked for", self.owner, asked.action));
        self.judge(&asked.thing, &asked.capability, denied, |shown| match shown.transaction {
            Some(transaction) => Ok(request(asked, transaction)),
            None => Err(Refusal::Forged { reason: "it is for no transaction".into() }),
        })
    }

    fn admit_write(&self, asked: &Write) -> Result<(), Refusal> {
        let denied = (!self.allowed.writes.contains(&asked.property))
            .then(|| format!("{} has not allowed that {} is written", self.owner, asked.property));
        self.judge(&asked.thing, &asked.capability, denied, |_| Ok(write_request(asked)))
    }
}

/// What the record of a request is about.
fn about(transaction: Option<Txid>, thing: &ThingId) -> Digest {
    transaction.map_or_else(|| subject(thing.as_str()), |transaction| transaction.0)
}

impl OwnersGate {
    /// Every refusal is recorded, and what is let in is on the disk before.
    fn judge(
        &self,
        thing: &ThingId,
        capability: &[u8],
        denied: Option<String>,
        asked: impl FnOnce(&Shown) -> Result<Result<sofie_access::Request, sofie_access::Error>, Refusal>,
    ) -> Result<(), Refusal> {
        let now = clock::now();
        let refuse = |transaction, refusal| Err(self.refuse(thing, transaction, refusal, now));
        if capability.is_empty() {
            return refuse(None, Refusal::Missing);
        }
        let shown: Shown = match canonical::decode(capability, MAX_SHOWN) {
            Ok(shown) => shown,
            Err(error) => return refuse(None, Refusal::Forged { reason: error.to_string() }),
        };
        if let Some(reason) = denied {
            return refuse(shown.transaction, Refusal::Policy { reason });
        }
        asked(&shown)
            .and_then(|asked| self.decide(asked, &shown, now))
            .or_else(|refusal| refuse(shown.transaction, refusal))
    }

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
