//! Calendars that several nodes share (docs/adr/0040-a-calendar-that-nodes-share.md): those of this node, which peers use, and
//! the way to those of others. Requests and answers are signed (RFC 9421) as messages between nodes are, with a tag of their
//! own; what is said is docs/specs/shared-calendar.md.
//!
//! Anyone may have the signed root of a calendar's seconds, which is there to be published, and whoever has a proof
//! what puts it under such a root (docs/adr/0050-a-published-root-of-seconds.md). Neither says how long the log is.
//!
//! Each request either asks or appends what is the same however often it is said, so that a replay within the lifetime of
//! a signature changes nothing, and no nonce is remembered.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use ed25519_dalek::{SigningKey, VerifyingKey};
use sofie_ledgers::calendar::shared::Owner;
use sofie_ledgers::calendar::{Calendar, NotAnswered, NotExtended};
use sofie_model::calendar::{LogKey, MAX_ANSWER, MAX_REQUEST, Request};
use sofie_model::proof::calendar::PublishedRoot;
use sofie_model::{LedgerId, Timestamp, canonical};
use tokio::sync::{Mutex, Semaphore};
use url::Url;

use crate::api::{ApiError, At, ErrorKind, ExtendTo, PublishedSeconds};
use crate::clock;
use crate::config::{Config, LedgerKind, Name, Peer, authority};
use crate::journal::{Entry, Journal, JournalError};
use crate::outgoing;
use crate::peers::envelope::{self, Address, Refused};
use crate::peers::line::{Line, Unsaid};
use crate::peers::{Incoming, Outgoing};

/// The media type of a request and of its answer.
pub const MEDIA_TYPE: &str = "application/vnd.sofie.calendar";
/// What the signatures are for.
pub const TAG: &str = "sofie-calendar-1";

/// So many requests of one peer to one calendar are worked on at once.
pub const MAX_AT_ONCE: usize = 32;
/// This node has so many under way to one calendar.
const UNDER_WAY: usize = 16;
/// A peer's allowance is taken in blocks of so many entries: a crash wastes less than one.
const BLOCK: u64 = 64;
/// Facts of this group: the calendar and the peer's key, with how many entries are taken.
const GROUP: &str = "calendar-entries";

/// Where requests to a calendar go.
#[must_use]
pub fn path(id: &LedgerId) -> String {
    format!("/api/v1/calendars/{id}/asks")
}

/// This node's calendars that peers use.
pub(crate) struct Calendars {
    key: SigningKey,
    journal: Journal,
    own: BTreeMap<LedgerId, Own>,
}

struct Own {
    calendar: Arc<Calendar>,
    guests: Vec<Guest>,
    /// What each guest may append in all.
    entries: u64,
}

/// A peer that uses a calendar.
struct Guest {
    name: Name,
    key: VerifyingKey,
    keyid: String,
    at_once: Semaphore,
    taken: Mutex<Taken>,
}

/// How much of its allowance is taken, and how much of that durably.
#[derive(Debug, Clone, Copy)]
struct Taken {
    entries: u64,
    durable: u64,
}

impl Calendars {
    /// Those of the configuration, with what the journal remembers of their guests. `key` is the operator's.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn open(
        config: &Config,
        key: SigningKey,
        journal: Journal,
        mut open: BTreeMap<LedgerId, Arc<Calendar>>,
    ) -> Result<Self, JournalError> {
        let known = taken(&journal)?;
        let mut own = BTreeMap::new();
        for ledger in &config.ledgers {
            let LedgerKind::Calendar { peers, peer_entries, .. } = &ledger.kind else { continue };
            let Some(calendar) = open.remove(&ledger.id) else { continue };
            let may = config.peers.iter().filter(|peer| peers.contains(&peer.name));
            let guests = may.map(|peer| Guest::new(peer, &ledger.id, &known)).collect();
            own.insert(ledger.id.clone(), Own { calendar, guests, entries: *peer_entries });
        }
        Ok(Self { key, journal, own })
    }

    /// The name and key of this calendar's log, if it is one of this node.
    pub(crate) fn log_of(&self, id: &LedgerId) -> Option<String> {
        self.own.get(id).map(|own| own.calendar.verifier_key())
    }

    /// The root of the seconds of calendar `id`, of `size` of them or of all.
    ///
    /// # Errors
    /// [`ApiError`].
    pub(crate) async fn published(
        &self,
        id: &LedgerId,
        size: Option<u64>,
    ) -> Result<PublishedSeconds, ApiError> {
        let calendar = self.kept(id)?;
        // One that cannot write any more still shows what it has published.
        if size.is_none()
            && let Err(error) = calendar.publish().await
        {
            tracing::warn!(ledger = %id, %error, "the last second is not published");
        }
        let asked = size.unwrap_or_else(|| calendar.seconds());
        let found = calendar.published_at(asked).and_then(|(note, last)| {
            let PublishedRoot { size, root, .. } = note.parse().ok()?;
            let until = At(Timestamp::from_seconds(last));
            Some(PublishedSeconds {
                ledger: id.clone(),
                log: calendar.verifier_key(),
                size,
                root,
                until,
                note,
            })
        });
        found.ok_or_else(|| {
            let detail = match calendar.seconds() {
                0 => format!("calendar {id} has published 0 seconds so far"),
                seconds => format!("calendar {id} has published {seconds} seconds, not {asked}"),
            };
            ApiError::new(ErrorKind::NotFound, "no such root", detail)
                .next("ask without a size for the newest; the first is there a second after the first entry")
        })
    }

    /// What puts a proof of calendar `id` under a published root: an
    /// [`Extension`](sofie_model::proof::calendar::Extension) in canonical CBOR.
    ///
    /// # Errors
    /// [`ApiError`].
    pub(crate) fn extension(&self, id: &LedgerId, to: &ExtendTo) -> Result<Vec<u8>, ApiError> {
        let extension = self.kept(id)?.extension(to.size, to.root, to.seconds);
        extension.map(|extension| extension.to_bytes()).map_err(|why| {
            let (title, next) = match why {
                NotExtended::Foreign { .. } => ("another history", ELSEWHERE),
                NotExtended::Unpublished { .. } => ("no such root", ELSEWHERE),
                NotExtended::Younger { .. } => {
                    ("the root is older", "take a root that was published after the receipt was made")
                }
            };
            ApiError::new(ErrorKind::Conflict, title, format!("calendar {id}: {why}")).next(next)
        })
    }

    fn kept(&self, id: &LedgerId) -> Result<&Calendar, ApiError> {
        self.own.get(id).map(|own| own.calendar.as_ref()).ok_or_else(|| {
            ApiError::new(
                ErrorKind::NotFound,
                "no such calendar",
                format!("this node keeps no calendar {id}"),
            )
            .next("ask the node that keeps it; GET /api/v1/ledgers lists what this one has")
        })
    }

    /// Answers what a peer asks of calendar `id` of this node, which is reached at `authority`.
    ///
    /// # Errors
    /// [`ApiError`], unsigned: of it nothing can rest but that there is no answer.
    pub(crate) async fn answer(
        &self,
        id: &LedgerId,
        authority: &str,
        incoming: &Incoming,
    ) -> Result<Outgoing, ApiError> {
        let own = self.own.get(id).filter(|own| !own.guests.is_empty()).ok_or_else(|| not_shared(id))?;
        let fields = incoming.fields();
        let head = incoming.head(&fields);
        let path = path(id);
        let address = Address { authority, path: &path, tag: TAG };
        let of = |name: &str| own.guests.iter().find(|guest| guest.keyid == name);
        let key_of = |name: &str| of(name).map(|guest| guest.key);
        let genuine = envelope::open_request(&head, &incoming.body, &address, clock::now(), key_of);
        let genuine = genuine.map_err(|refused| unheard(id, &refused))?;
        let guest = of(&genuine.keyid)
            .ok_or_else(|| unheard(id, &Refused::Stranger { keyid: genuine.keyid.clone() }))?;
        let body = self.work(id, own, guest, &incoming.body).await?;
        let sealed = envelope::seal_response(TAG, &head, 200, &body, clock::now(), &self.key);
        let fields = sealed.map_err(|fault| unheard(id, &Refused::Signature(fault)))?;
        Ok(Outgoing { fields, body })
    }

    async fn work(&self, id: &LedgerId, own: &Own, guest: &Guest, body: &[u8]) -> Result<Vec<u8>, ApiError> {
        let _place = guest.at_once.try_acquire().map_err(|_| {
            let detail = format!("{MAX_AT_ONCE} requests of peer {} are worked on already", guest.name);
            ApiError::new(ErrorKind::TooMany, "too much at once", detail).next("ask again in a moment")
        })?;
        let request: Request = canonical::decode(body, MAX_REQUEST).map_err(|why| unfit(&why.to_string()))?;
        if own.calendar.would_add(&request) {
            self.charge(id, own, guest).await?;
        }
        let answer = own.calendar.answer(&request).await.map_err(|why| match why {
            NotAnswered::Malformed(why) => unfit(&why),
            NotAnswered::Busy(_) => {
                ApiError::new(ErrorKind::Unavailable, "the calendar does not answer", why.to_string())
                    .next("ask again in a moment; an entry that was appended stands, and appending it again is harmless")
            }
        })?;
        Ok(canonical::encode(&answer))
    }

    /// Takes one entry of the guest's allowance, durably before it is used.
    async fn charge(&self, id: &LedgerId, own: &Own, guest: &Guest) -> Result<(), ApiError> {
        let mut taken = guest.taken.lock().await;
        if taken.entries >= own.entries {
            let detail = format!("peer {} has appended the {} entries that it may", guest.name, own.entries);
            return Err(ApiError::new(ErrorKind::Refused, "no more entries are taken", detail)
                .next("ask the calendar's owner to raise peer_entries in its [[ledger]]"));
        }
        if taken.entries >= taken.durable {
            let durable = taken.entries.saturating_add(BLOCK);
            let value = durable.to_be_bytes().to_vec();
            let fact = Entry::Fact { group: GROUP, key: fact(id, &guest.keyid), value };
            self.journal.keep(vec![fact], clock::now()).await?;
            taken.durable = durable;
        }
        taken.entries += 1;
        Ok(())
    }
}

impl Guest {
    fn new(peer: &Peer, id: &LedgerId, known: &BTreeMap<String, u64>) -> Self {
        let keyid = envelope::keyid(&peer.key);
        let entries = known.get(&fact(id, &keyid)).copied().unwrap_or_default();
        Self {
            name: peer.name.clone(),
            key: peer.key,
            at_once: Semaphore::new(MAX_AT_ONCE),
            taken: Mutex::new(Taken { entries, durable: entries }),
            keyid,
        }
    }
}

fn fact(id: &LedgerId, keyid: &str) -> String {
    format!("{id} {keyid}")
}

fn taken(journal: &Journal) -> Result<BTreeMap<String, u64>, JournalError> {
    let facts = journal.reader()?.facts(GROUP)?.into_iter();
    facts
        .map(|(name, value)| match <[u8; 8]>::try_from(value) {
            Ok(entries) => Ok((name, u64::from_be_bytes(entries))),
            Err(_) => {
                let what = format!("{GROUP} {name} is no number of entries");
                Err(JournalError::Corrupt { path: journal.path().to_owned(), what })
            }
        })
        .collect()
}

/// A log that is not what it was signed to be.
const ELSEWHERE: &str =
    "ask the node that keeps the log; if this is it, keep receipt and root: they convict its operator";

fn not_shared(id: &LedgerId) -> ApiError {
    ApiError::new(ErrorKind::NotFound, "no such calendar", format!("no calendar {id} of this node is shared"))
        .next("its owner names the peers that may use it by peers = [...] in its [[ledger]]")
}

fn unheard(id: &LedgerId, refused: &Refused) -> ApiError {
    // Neither in the audit log nor in the operator's by default: a stranger could fill both.
    tracing::debug!(ledger = %id, %refused, "a request to a shared calendar is not taken");
    let (kind, detail) = match refused {
        Refused::Audience { .. } => (ErrorKind::Misdirected, refused.to_string()),
        Refused::Stranger { keyid } => {
            (ErrorKind::Unauthorized, format!("no peer with the key {keyid} may use calendar {id}"))
        }
        _ => (ErrorKind::Unauthorized, refused.to_string()),
    };
    ApiError::new(kind, "the request is not taken", detail)
        .next("see docs/specs/shared-calendar.md; the calendar's owner lists who may use it, and both need the time")
}

fn unfit(why: &str) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "this is no request to a calendar", why)
        .next("see docs/specs/shared-calendar.md")
}

/// The way to a calendar of another node.
pub(crate) struct Door {
    client: reqwest::Client,
    url: Url,
    authority: String,
    path: String,
    key: SigningKey,
    theirs: VerifyingKey,
    under_way: Semaphore,
}

impl Door {
    /// To the calendar `id` of the node at `url`, whose key is that of `log`; `key` is this node's.
    pub(crate) fn new(url: &Url, id: &LedgerId, log: &LogKey, key: SigningKey) -> Self {
        Self {
            client: outgoing::client(),
            url: url.clone(),
            authority: authority(url),
            path: path(id),
            key,
            theirs: VerifyingKey::from_bytes(log.key.as_bytes()).expect("a log's key was read as one"),
            under_way: Semaphore::new(UNDER_WAY),
        }
    }
}

#[async_trait]
impl Owner for Door {
    async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, String> {
        let _place = self.under_way.acquire().await.map_err(|closed| closed.to_string())?;
        let line = Line {
            client: &self.client,
            url: &self.url,
            to: Address { authority: &self.authority, path: &self.path, tag: TAG },
            media_type: MEDIA_TYPE,
            longest: MAX_ANSWER,
            key: &self.key,
            theirs: &self.theirs,
        };
        line.say(request).await.map_err(|unsaid| match unsaid {
            Unsaid::Silent(why) => why,
            Unsaid::Forged(why) => format!("the answer does not count: {why}"),
        })
    }

    fn place(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }
}
