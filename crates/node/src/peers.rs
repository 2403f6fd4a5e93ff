//! Other companies' nodes: one transaction whose participants' keys are on several nodes that do not trust each other.
//! Messages are signed ([`envelope`]), each from a key that the configuration pins; what they say is [`message`]
//! (docs/specs/node-messages.md, docs/adr/0021-signed-messages-between-nodes.md).
//!
//! A node believes no other about a ledger: it asks the ledgers itself, and releases its parties' secrets only after it
//! has seen every prepare there. What a peer can do at most is to make a transaction abort, or wait for its deadline.
//!
//! Left out: TLS (a proxy's), finding peers, and rotating their keys.

mod contracts;
pub mod digest;
mod entrust;
pub mod envelope;
mod follow;
mod judge;
pub(crate) mod line;
pub mod message;
mod negotiate;
mod proposals;
pub mod seen;
mod send;
pub mod signature;
mod testimony;
mod watch;

use std::sync::{Arc, OnceLock};

use ed25519_dalek::SigningKey;
use sofie_ledgers::{LedgerError, Presigned, Spend};
use sofie_model::{Account, Digest, Manifest, Timestamp, Txid, contract};
use sofie_transaction::{Input, State};

use crate::api::{ApiError, ErrorKind};
use crate::auditor::{Auditor, Note};
use crate::clock;
use crate::config::{Config, Peer, authority};
use crate::contracts::Contracts;
use crate::drafts::Desk;
use crate::executor::Executor;
use crate::journal::JournalError;
use crate::keys::PartyKeys;
use crate::offers::Offers;
use crate::outgoing;
use crate::parties::{Parties, enquired};
use crate::transactions::{Transactions, presigned};

use entrust::Entrusted;
use envelope::{Address, Fields, Refused, TAG};
use message::{Message, Opening, Reply, shortened};
pub(crate) use proposals::{
    GROUP as PROPOSALS, Proposal, form1 as proposals_of_form_1, held as held_proposals,
};
use proposals::{Proposals, Stand};
use seen::{Known, Seen};
use signature::Head;

pub use negotiate::Word;
pub(crate) use negotiate::{TOO_LATE, WITHDRAWN};
pub use send::PeerError;

/// The peers of a node. Clones share them.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    peers: Vec<Peer>,
    key: SigningKey,
    parties: Parties,
    executor: Executor,
    auditor: Auditor,
    transactions: Transactions,
    contracts: Contracts,
    offers: Offers,
    seen: Seen,
    proposals: Proposals,
    client: reqwest::Client,
    /// Where this node is reached, if the configuration says it.
    configured: Option<String>,
    own: OnceLock<String>,
    /// What this node's configuration says of its ledgers' times; there before the door opens.
    desk: OnceLock<Desk>,
    entrusted: Entrusted,
    /// One transaction begins to be watched at a time.
    watching: tokio::sync::Mutex<()>,
    /// One word about a sensor is given at a time.
    testifying: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("peers", &self.0.peers).finish_non_exhaustive()
    }
}

/// A request as it came in by HTTP, not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its method.
    pub method: String,
    /// Its Host field, in lower case.
    pub authority: String,
    /// Its path; a query makes it another one.
    pub path: String,
    /// The fields that a signature may cover, in lower case.
    pub fields: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Incoming {
    /// Its fields.
    pub(crate) fn fields(&self) -> Vec<(&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// What of it can be signed, with its fields.
    pub(crate) fn head<'a>(&'a self, fields: &'a [(&'a str, &'a str)]) -> Head<'a> {
        Head { method: &self.method, authority: &self.authority, path: &self.path, fields }
    }
}

/// The signed answer, whose status is 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its signature.
    pub fields: Fields,
    /// A [`Reply`].
    pub body: Vec<u8>,
}

/// A proposal that has not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The transaction.
    pub txid: Txid,
    /// The peer who proposes it; `None` for this node.
    pub peer: Option<String>,
    /// Whether it may still begin.
    pub standing: Standing,
    /// Why it waits, or why it did not begin.
    pub why: String,
    /// What is proposed.
    pub manifest: Manifest,
    /// What its record legs open to.
    pub openings: Vec<Opening>,
    /// The contract that would begin with it.
    pub contract: Option<crate::contracts::Plan>,
}

/// Whether a proposal may still begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Proposed,
    /// Somebody has declined.
    Declined,
    /// Its deadline has passed.
    Expired,
}

impl Pending {
    /// As it is at `now`; `name_of` tells a peer by its key.
    pub(crate) fn of(
        (txid, proposal): (Txid, Proposal),
        heard: &[String],
        name_of: impl Fn(&[u8; 32]) -> Option<String>,
        now: Timestamp,
    ) -> Self {
        let peer = proposal.stand.proposer();
        let peer = peer.map(|key| name_of(key.as_bytes()).unwrap_or_else(|| hex::encode(key.as_bytes())));
        let (mut standing, expired) = (Standing::Proposed, proposal.expired(now));
        let why = match proposal.stand {
            Stand::Declined { why, .. } | Stand::GivenUp { why } => {
                standing = Standing::Declined;
                why
            }
            _ if expired => {
                standing = Standing::Expired;
                "nobody has decided until its deadline".into()
            }
            Stand::Theirs { why, .. } => why,
            Stand::Ours if heard.is_empty() => "not every peer has agreed".into(),
            Stand::Ours => heard.join("; "),
        };
        let (manifest, openings, contract) = (proposal.plan.manifest, proposal.openings, proposal.contract);
        Self { txid, peer, standing, why, manifest, openings, contract }
    }
}

/// What peers need of the node.
pub(crate) struct Rooms {
    pub(crate) parties: Parties,
    pub(crate) executor: Executor,
    pub(crate) auditor: Auditor,
    pub(crate) transactions: Transactions,
    pub(crate) contracts: Contracts,
}

impl Peers {
    /// Opens what the journal remembers of peers. `key` is the operator's.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn open(config: &Config, key: SigningKey, rooms: Rooms) -> Result<Self, JournalError> {
        let journal = rooms.executor.journal().clone();
        Ok(Self(Arc::new(Inner {
            peers: config.peers.clone(),
            key,
            offers: Offers::open(&journal)?,
            seen: Seen::open(journal.clone())?,
            proposals: Proposals::open(journal)?,
            client: outgoing::client(),
            configured: config.node.url.as_ref().map(authority),
            own: OnceLock::new(),
            desk: OnceLock::new(),
            entrusted: Entrusted::of(config),
            watching: tokio::sync::Mutex::default(),
            testifying: tokio::sync::Mutex::default(),
            parties: rooms.parties,
            executor: rooms.executor,
            auditor: rooms.auditor,
            transactions: rooms.transactions,
            contracts: rooms.contracts,
        })))
    }

    /// Tells under which host and port the node is reached, unless the configuration says it.
    pub(crate) fn set_authority(&self, authority: String) {
        // The first door's stands.
        let _ = self.0.own.set(authority);
    }

    /// Tells by which times proposals are judged.
    pub(crate) fn set_desk(&self, desk: Desk) {
        // It is told once, by the start.
        let _ = self.0.desk.set(desk);
    }

    /// Host and port for which a message must be made to be taken here.
    #[must_use]
    pub fn authority(&self) -> String {
        let own = self.0.configured.as_ref().or_else(|| self.0.own.get());
        own.cloned().unwrap_or_default()
    }

    /// All of them, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> &[Peer] {
        &self.0.peers
    }

    /// The key that signs this node's messages, in hexadecimal digits.
    #[must_use]
    pub fn own_key(&self) -> String {
        envelope::keyid(&self.0.key.verifying_key())
    }

    /// The peer where this account's key is.
    #[must_use]
    pub fn with_account(&self, account: Account) -> Option<&Peer> {
        self.0.peers.iter().find(|peer| peer.has(account))
    }

    /// The account of a party of a peer.
    #[must_use]
    pub fn account_of(&self, party: &str) -> Option<Account> {
        let found = |peer: &Peer| {
            let party = peer.parties.iter().find(|(name, _)| name.as_str() == party);
            party.map(|(_, account)| *account)
        };
        self.0.peers.iter().find_map(found)
    }

    /// The name of a peer's party.
    #[must_use]
    pub fn name_of(&self, account: Account) -> Option<String> {
        let peer = self.with_account(account)?;
        let party = peer.parties.iter().find(|(_, known)| **known == account);
        party.map(|(name, _)| name.to_string())
    }

    /// The proposals that have not begun, also those that never will.
    #[must_use]
    pub fn proposals(&self) -> Vec<Pending> {
        self.0.proposals.all().into_iter().map(|kept| self.pending(kept)).collect()
    }

    /// One of them.
    #[must_use]
    pub fn proposal(&self, txid: Txid) -> Option<Pending> {
        self.0.proposals.get(txid).map(|proposal| self.pending((txid, proposal)))
    }

    fn pending(&self, kept: (Txid, Proposal)) -> Pending {
        let heard = self.0.proposals.heard(kept.0);
        let name_of = |key: &[u8; 32]| self.with_key(key).map(|peer| peer.name.to_string());
        Pending::of(kept, &heard, name_of, clock::now())
    }

    fn with_key(&self, key: &[u8; 32]) -> Option<&Peer> {
        self.0.peers.iter().find(|peer| peer.key.as_bytes() == key)
    }

    /// Takes a message, and answers it. Nothing has changed when this fails.
    ///
    /// # Errors
    /// [`ApiError`], unsigned: to one who has not shown who it is there is nothing to say.
    pub async fn receive(&self, incoming: Incoming) -> Result<Outgoing, ApiError> {
        let fields = incoming.fields();
        let head = incoming.head(&fields);
        let peer = self.admit(&head, &incoming.body).await?;
        let reply = self.answer(peer, &incoming.body).await?;
        let body = reply.to_bytes();
        let sealed = envelope::seal_response(TAG, &head, 200, &body, clock::now(), &self.0.key);
        let fields = sealed.map_err(|fault| unheard(&Refused::Signature(fault)))?;
        Ok(Outgoing { fields, body })
    }

    /// Whose message it is, after its nonce is remembered.
    async fn admit(&self, head: &Head<'_>, body: &[u8]) -> Result<&Peer, ApiError> {
        let now = clock::now();
        let of = |name: &str| self.0.peers.iter().find(|peer| envelope::keyid(&peer.key) == name);
        let key_of = |name: &str| of(name).map(|peer| peer.key);
        let own = self.authority();
        let opened = envelope::open_request(head, body, &Address::messages(&own), now, key_of);
        let genuine = opened.map_err(|refused| {
            // Not in the audit log: a stranger could fill it.
            tracing::warn!(%refused, "a message of another node is not taken");
            unheard(&refused)
        })?;
        let peer =
            of(&genuine.keyid).ok_or_else(|| unheard(&Refused::Stranger { keyid: genuine.keyid.clone() }))?;
        self.0.seen.take(&genuine, now).await.map_err(|known| not_new(peer, &known))?;
        Ok(peer)
    }

    async fn answer(&self, peer: &Peer, body: &[u8]) -> Result<Reply, JournalError> {
        let message = match Message::read(body) {
            Ok(message) => message,
            Err(why) => return self.refuse(peer, "message", Digest::ZERO, why.to_string()).await,
        };
        let verb = message.verb();
        match message {
            Message::Enquire { nonce, party } => {
                // One that the peer may not know is to it like one that is not here.
                let here = self.0.parties.with_account(party).filter(|keys| peer.may_know(keys.name()));
                match here {
                    Some(keys) => Ok(answer_of(keys, peer, nonce)),
                    None => {
                        let why = format!("no party with account {party} lives here");
                        self.refuse(peer, verb, nonce, why).await
                    }
                }
            }
            Message::Propose { manifest, openings, contract } => {
                self.proposed(peer, *manifest, openings, contract.map(|terms| *terms)).await
            }
            Message::Browse => Ok(self.offers_to(peer)),
            Message::Progress { txid } => match self.0.contracts.report_to(peer, txid)? {
                Some(report) => Ok(Reply::Report { report: Box::new(report) }),
                None => self.refuse(peer, verb, txid.0, "no contract with it is known here".into()).await,
            },
            Message::Released { txid, who, preimage } => {
                self.told(peer, txid, who, verb, Input::Released(who, preimage)).await
            }
            Message::Withheld { txid, who, reason } => {
                if let Some(reply) = self.withdrawn(peer, txid, &reason).await? {
                    return Ok(reply);
                }
                let reason = format!("peer {} says: {}", peer.name, shortened(&reason));
                self.told(peer, txid, who, verb, Input::Withheld(who, reason)).await
            }
            Message::Renounced { txid, who, signature } => {
                if let Some(reply) = self.withdrawn(peer, txid, "it has signed ABORT").await? {
                    return Ok(reply);
                }
                self.told(peer, txid, who, verb, Input::Renounced(who, signature)).await
            }
            Message::Presigned { txid, refund, signed } => {
                let spend = if refund { Spend::Refund } else { Spend::Claim };
                self.signed_ahead(peer, txid, Presigned { spend, bytes: signed }).await
            }
            Message::Watch { manifest } => self.to_watch(peer, *manifest).await,
            Message::Testify { manifest, contract } => self.testify(peer, *manifest, &contract).await,
        }
    }

    /// A participant's word, which only its own node may bring. A transaction that has ended takes it and stays as it is.
    async fn told(
        &self,
        peer: &Peer,
        txid: Txid,
        who: u16,
        verb: &'static str,
        input: Input,
    ) -> Result<Reply, JournalError> {
        let Some(state) = self.0.transactions.state(txid)? else {
            return self.refuse(peer, verb, txid.0, "this node knows no such transaction".into()).await;
        };
        if let Err(why) = speaks_for(peer, &state, who, &input) {
            return self.refuse(peer, verb, txid.0, why).await;
        }
        let Some(handle) = self.0.transactions.live(txid) else { return Ok(Reply::Taken) };
        match handle.give(input).await {
            Ok(()) => Ok(Reply::Taken),
            Err(why) => self.refuse(peer, verb, txid.0, why).await,
        }
    }

    /// What a party of `peer` signs ahead of the pivot, or what it entrusts to this node to watch: it counts once this node's own ledger finds it good for the lock.
    async fn signed_ahead(&self, peer: &Peer, txid: Txid, signed: Presigned) -> Result<Reply, JournalError> {
        let refuse = async |why: String| self.refuse(peer, "presigned", txid.0, why).await;
        let Some(state) = self.0.transactions.state(txid)? else {
            return refuse("this node knows no such transaction".into()).await;
        };
        let entrusts = peer.watched && state.acts_for().is_empty();
        match presigned::signer(&state, signed.spend) {
            None => return refuse("it has no hashlock leg".into()).await,
            Some(signer) if !peer.has(signer) && !entrusts => {
                return refuse(format!("{signer}, who signs that, is no party of peer {}", peer.name)).await;
            }
            Some(_) => {}
        }
        if self.0.transactions.live(txid).is_none() {
            return Ok(Reply::Taken);
        }
        match self.0.transactions.take_presigned(&state, signed).await? {
            Ok(()) => Ok(Reply::Taken),
            Err(LedgerError::Transient { .. } | LedgerError::Nonsense { .. }) => {
                Ok(Reply::Waiting { txid, reason: "its lock is not seen here yet".into() })
            }
            Err(error) => refuse(error.to_string()).await,
        }
    }

    /// Refuses, and keeps that it did.
    async fn refuse(
        &self,
        peer: &Peer,
        verb: &str,
        about: Digest,
        reason: String,
    ) -> Result<Reply, JournalError> {
        let reason = shortened(&reason);
        let note =
            Note::about(about, "peer-refused", false, format!("{verb} of peer {}: {reason}", peer.name));
        self.0.auditor.keep(Vec::new(), vec![note], clock::now()).await?;
        Ok(Reply::Refused { reason })
    }
}

/// What the party says of itself for a manifest of this nonce. It follows from its keys: nothing need be remembered.
fn answer_of(keys: &PartyKeys, peer: &Peer, nonce: Digest) -> Reply {
    let secret = enquired(keys, peer.key.as_bytes(), nonce);
    let point = keys.secp256k1().verifying_key().to_encoded_point(true);
    Reply::Answer {
        account: keys.account(),
        hashlock: Digest::sha256(secret.as_bytes()),
        key: point.as_bytes().try_into().expect("a compressed point has 33 bytes"),
    }
}

/// Whether `peer` may say this of participant `who`, whether a secret opens its hashlock, and a signature is its own.
fn speaks_for(peer: &Peer, state: &State, who: u16, input: &Input) -> Result<(), String> {
    let participant = state.manifest().participants.get(usize::from(who));
    let participant = participant.ok_or_else(|| format!("there is no participant {who}"))?;
    if !peer.has(participant.account) {
        return Err(format!("participant {who} is no party of peer {}", peer.name));
    }
    match input {
        Input::Released(_, preimage) if Digest::sha256(preimage.as_bytes()) != participant.hashlock => {
            Err(format!("the secret does not open the hashlock of participant {who}"))
        }
        Input::Renounced(_, signature) => {
            let signer = signature.signer(contract::abort_digest(state.manifest()));
            let is_own = signer.is_ok_and(|signer| signer == participant.account);
            is_own.then_some(()).ok_or_else(|| format!("it is not participant {who}'s signature under ABORT"))
        }
        _ => Ok(()),
    }
}

fn unheard(refused: &Refused) -> ApiError {
    let kind = match refused {
        Refused::Audience { .. } => ErrorKind::Misdirected,
        _ => ErrorKind::Unauthorized,
    };
    ApiError::new(kind, "the message is not taken", refused.to_string())
        .next("see docs/specs/node-messages.md; both nodes need the other's url and key as a [[peer]], and the time")
}

fn not_new(peer: &Peer, known: &Known) -> ApiError {
    let detail = format!("of peer {}: {known}", peer.name);
    let (kind, next) = match known {
        Known::Replayed => (ErrorKind::Conflict, "sign a new message: each needs a nonce of its own"),
        Known::TooMany => (ErrorKind::TooMany, "say it again later"),
        Known::Journal(_) => (ErrorKind::Unavailable, "see the node's log"),
    };
    ApiError::new(kind, "the message is not taken", detail).next(next)
}
