//! What the node offers to the outside: the data that its HTTP API speaks, and [`Federation`], the one trait that the
//! HTTP door calls. Wire types stop here: they are made of checked model types, and the runtime converts by hand.
//!
//! JSON is snake_case; an instant is an RFC 3339 text in UTC with milliseconds ([`At`]); money is a decimal text in the
//! ledger's smallest unit ([`Amount`]), because JSON numbers lose digits past 2^53.

mod contract;
mod draft;
mod error;
mod event;
mod ledger;
mod offer;
mod peer;
mod platform;
mod scalar;
mod thing;
mod transaction;

use std::fmt::Write;

use async_trait::async_trait;
use futures::stream::BoxStream;
use sofie_directory::discovery::Resources;
use sofie_model::ruling::SignedRuling;
use sofie_model::{Digest, LedgerId, ThingId, Txid};

use crate::peers::{Incoming, Outgoing, Word};
use crate::seats::SeatCall;

pub use contract::{
    BringEvidence, BroughtReading, Claim, Contract, ContractState, Deadlines, Dispute, DisputeStatus,
    EvidenceRule, OpenContract, Penalty, PenaltyStatus, Rule, Sensor, SensorStatus, SignRuling, Step,
};
pub use draft::{
    Draft, DraftDispute, DraftEvidence, DraftLeg, DraftOpener, DraftRule, For, LegKind, MAX_KEY, MAX_PAYLOAD,
    NotATime, When,
};
pub use error::{ApiError, ErrorKind, Problem, Violation};
pub use event::{CloudEvent, EventData};
pub use ledger::{Balances, ExtendTo, Fees, LedgerStatus, PublishedSeconds, Status, WebhookStatus};
pub use offer::{AgreeToOffer, Offer, Offers, PublishOffer};
pub use peer::{Decline, Neighbour, Neighbours, Own};
pub use platform::{
    Drift, DriftKind, FreeCoins, Holder, Holding, Introspected, JoinPlatform, Party, Platform, PlatformKind,
    Probed,
};
pub use scalar::{Amount, At};
pub use thing::{
    AskedLinks, Description, MAX_PAGE, Page, PageRequest, PropertyReading, Put, ThingChange, ThingEvent,
    WriteOutcome, WriteProperty, Written,
};
pub use transaction::{LegSlack, LegStatus, Opening, Payment, Proposal, Transaction, Verdict, Watcher};

/// Steps of one contract, in the order of their numbers. The stream ends when the contract has ended: no further step
/// will ever come.
pub type Steps = BoxStream<'static, Step>;

/// Changes of the directory, in the order of their numbers. It ends only with the node.
pub type ThingEvents = BoxStream<'static, ThingEvent>;

/// Records of the audit log, in the order of their numbers. It ends only with the node.
pub type Events = BoxStream<'static, CloudEvent>;

/// Everything that can be asked of a node. The runtime implements it; the HTTP door and the command line call it.
///
/// Calls may come from many tasks at once. Each answers quickly: what takes long (a contract) goes on by itself and is
/// followed by its events. A call that is dropped half-way leaves no half-done effect: what it began, it finishes or
/// the journal finishes.
#[async_trait]
pub trait Federation: Send + Sync + 'static {
    /// Whether the node can take work now: its journal writes and its decision ledger answers.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`], saying what is missing.
    async fn ready(&self) -> Result<(), ApiError>;

    /// The node and its ledgers. A ledger that does not answer is shown with its error; it does not fail the call.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    async fn status(&self) -> Result<Status, ApiError>;

    /// The ledgers alone, as in [`Federation::status`].
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    async fn ledgers(&self) -> Result<Vec<LedgerStatus>, ApiError>;

    /// What each party holds on `ledger`, at its head.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] for a ledger that moves no money;
    /// [`ErrorKind::Unavailable`].
    async fn balances(&self, ledger: &LedgerId) -> Result<Balances, ApiError>;

    /// What the parties paid in fees in the blocks `from..=to` of `ledger`.
    ///
    /// # Errors
    /// As [`Federation::balances`]; [`ErrorKind::Invalid`] when the range is too long.
    async fn fees(&self, ledger: &LedgerId, from: u64, to: u64) -> Result<Fees, ApiError>;

    /// The parties whose keys this node holds.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    async fn parties(&self) -> Result<Vec<Party>, ApiError>;

    /// One of them, with its address and money on each ledger. A ledger that does not answer is shown with its error.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    async fn party(&self, name: &str) -> Result<Holder, ApiError>;

    /// Joins a platform by introspection: its things are described, registered and anchored.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`]; [`ErrorKind::Conflict`] when it is joined already; [`ErrorKind::Unavailable`] when it
    /// does not answer.
    async fn join_platform(&self, request: JoinPlatform) -> Result<Platform, ApiError>;

    /// What introspection finds at a platform; it is not joined.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`]; [`ErrorKind::Unavailable`] when it does not answer.
    async fn introspect_platform(&self, request: JoinPlatform) -> Result<Introspected, ApiError>;

    /// What a joined platform tells now that it did not tell when it was joined, and what it tells no longer.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Unavailable`] when it does not answer.
    async fn probe_platform(&self, id: &str) -> Result<Probed, ApiError>;

    /// What a property is: the newest reading that came, or with `fresh` the device's answer.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Invalid`] for an answer that does not fit; [`ErrorKind::Unavailable`].
    async fn read_property(
        &self,
        thing: &ThingId,
        property: &str,
        fresh: bool,
    ) -> Result<PropertyReading, ApiError>;

    /// Writes a property of a joined platform's thing, in its owner's name.
    ///
    /// # Errors
    /// Nothing was sent: [`ErrorKind::NotFound`]; [`ErrorKind::Invalid`] for a value that does not fit, or a property that
    /// cannot be written; [`ErrorKind::Refused`] by the owner's policy; [`ErrorKind::Conflict`] for a key that stands for
    /// another write, or for one under way; [`ErrorKind::Unavailable`].
    async fn write_property(
        &self,
        thing: &ThingId,
        property: &str,
        request: WriteProperty,
    ) -> Result<Written, ApiError>;

    /// The joined platforms.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    async fn platforms(&self) -> Result<Vec<Platform>, ApiError>;

    /// One joined platform.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    async fn platform(&self, id: &str) -> Result<Platform, ApiError>;

    /// Opens a contract and lets it run. Once this returns `Ok`, the journal holds it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], [`ErrorKind::NotFound`] (a party, a thing, a ledger), [`ErrorKind::Refused`] (a policy
    /// or a deadline that cannot be kept), [`ErrorKind::Unavailable`].
    async fn open_contract(&self, request: OpenContract) -> Result<Contract, ApiError>;

    /// All contracts, the newest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    async fn contracts(&self) -> Result<Vec<Contract>, ApiError>;

    /// One contract.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    async fn contract(&self, id: Txid) -> Result<Contract, ApiError>;

    /// The contract's steps whose number is greater than `after` (all of them for `None`), those that are there first,
    /// then as they come. It never skips one: a slow reader is served from the journal, not from a growing queue.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    async fn contract_events(&self, id: Txid, after: Option<u64>) -> Result<Steps, ApiError>;

    /// Takes an attestation for a contract.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Refused`] when its signer has no authority, or the contract has ended.
    async fn bring_evidence(&self, id: Txid, evidence: BringEvidence) -> Result<Contract, ApiError>;

    /// Records the claim that a contract's evidence does not show what was agreed, for its arbiter; it moves nothing by itself.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Refused`] when nothing can be overruled now.
    async fn dispute_contract(&self, id: Txid, claim: Claim) -> Result<Contract, ApiError>;

    /// Takes the arbiter's ruling for a contract, or signs it by the key that is here, and brings it to the escrow.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Refused`] when it does not count, or comes at the wrong time.
    async fn rule_on_contract(&self, id: Txid, rule: Rule) -> Result<Contract, ApiError>;

    /// Signs a ruling on a contract that other nodes run, by the arbiter's key, which is here.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] without that key.
    async fn sign_ruling(&self, asked: SignRuling) -> Result<SignedRuling, ApiError>;

    /// The receipt: canonical CBOR, as `sofie verify` reads it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] while the contract has not ended.
    async fn receipt(&self, id: Txid) -> Result<Vec<u8>, ApiError>;

    /// What is for sale here and at the peers.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    async fn offers(&self) -> Result<Offers, ApiError>;

    /// Offers an actuation to peers. The same offer, published again, is the same.
    ///
    /// # Errors
    /// As [`Federation::open_contract`]; [`ErrorKind::TooMany`].
    async fn publish_offer(&self, offer: PublishOffer) -> Result<Offer, ApiError>;

    /// Takes an offer back. Contracts that were made of it go on.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    async fn withdraw_offer(&self, id: Digest) -> Result<(), ApiError>;

    /// Takes up a peer's offer: the contract is proposed to its node. Once this returns `Ok`, the journal holds it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], also of a payer; [`ErrorKind::Refused`] for an offer whose evidence this node's owner cannot
    /// judge, or when the peer does not take part; [`ErrorKind::Conflict`] as for [`Federation::submit`];
    /// [`ErrorKind::TooMany`]; [`ErrorKind::Unavailable`].
    async fn agree_to_offer(&self, id: Digest, asked: AgreeToOffer) -> Result<Contract, ApiError>;

    /// Cancels a contract that has not begun: what this node proposes is taken back, what a peer proposes is declined.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] for one that has begun.
    async fn cancel_contract(&self, id: Txid, reason: String) -> Result<Contract, ApiError>;

    /// Begins a transaction and lets it run, or proposes it to the nodes of the parties whose keys are elsewhere. Once this
    /// returns `Ok`, the journal holds it. A draft with the key of an
    /// earlier one begins nothing: the earlier one's transaction is the answer.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the field of the draft; [`ErrorKind::Conflict`] when the key is that of another draft,
    /// or the first request with it is still being worked on; [`ErrorKind::Refused`] when a peer does not take part;
    /// [`ErrorKind::TooMany`]; [`ErrorKind::Unavailable`], also when a peer does not answer.
    async fn submit(&self, draft: Draft) -> Result<Transaction, ApiError>;

    /// The proposals that have not begun, and then all transactions in the journal, the newest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    async fn transactions(&self) -> Result<Vec<Transaction>, ApiError>;

    /// One transaction.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    async fn transaction(&self, id: Txid) -> Result<Transaction, ApiError>;

    /// The receipt of a transaction that has ended: canonical CBOR, as `sofie verify` reads it. That of a contract's
    /// transaction is the contract's.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] while it has not ended; [`ErrorKind::Unavailable`] when a ledger
    /// cannot prove its part now.
    async fn transaction_receipt(&self, id: Txid) -> Result<Vec<u8>, ApiError>;

    /// Asks the decision ledger again and drives every leg that is not done. Harmless when all are.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Unavailable`].
    async fn resume(&self, id: Txid) -> Result<Transaction, ApiError>;

    /// The manifest of a transaction that has begun: canonical CBOR. Whoever has it can follow and finish the transaction.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    async fn manifest(&self, id: Txid) -> Result<Vec<u8>, ApiError>;

    /// Watches a transaction of others from its manifest. One that this node knows already is shown as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is none, or this node cannot follow it; [`ErrorKind::Conflict`] while another request
    /// begins it; [`ErrorKind::Unavailable`].
    async fn watch(&self, manifest: Vec<u8>) -> Result<Transaction, ApiError>;

    /// The nodes of others, and this node as they must know it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    async fn peers(&self) -> Result<Neighbours, ApiError>;

    /// Takes a signed message of another node and answers it, signed.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`], [`ErrorKind::Misdirected`], [`ErrorKind::Conflict`] for a replay,
    /// [`ErrorKind::TooMany`], [`ErrorKind::Unavailable`]. Nothing has changed then.
    async fn peer_message(&self, message: Incoming) -> Result<Outgoing, ApiError>;

    /// What a member of a group, which this node runs, is asked: by nodes whose transactions it decides, and by other members.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no member of `group` runs here; [`ErrorKind::Invalid`], [`ErrorKind::Conflict`],
    /// [`ErrorKind::TooMany`], [`ErrorKind::Unavailable`].
    async fn seat(&self, group: Digest, call: SeatCall) -> Result<Vec<u8>, ApiError>;

    /// What a peer asks of a calendar of this node that it may use.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a calendar that is not shared; [`ErrorKind::Unauthorized`], [`ErrorKind::Misdirected`],
    /// [`ErrorKind::Invalid`]; [`ErrorKind::Refused`] when the peer has appended as much as it may;
    /// [`ErrorKind::TooMany`], [`ErrorKind::Unavailable`].
    async fn calendar_ask(&self, id: LedgerId, message: Incoming) -> Result<Outgoing, ApiError>;

    /// The signed root of the seconds of a calendar of this node: of its first `size` seconds, or of all.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a calendar that this node does not keep, and for a root that is not there yet.
    async fn calendar_published(&self, id: LedgerId, size: Option<u64>)
    -> Result<PublishedSeconds, ApiError>;

    /// What puts a proof of a calendar of this node under a published root, in canonical CBOR.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a calendar that this node does not keep; [`ErrorKind::Conflict`] for a proof or a
    /// root of another history, and for a root that is older than the proof.
    async fn calendar_extension(&self, id: LedgerId, to: ExtendTo) -> Result<Vec<u8>, ApiError>;

    /// The owner's word on a proposal of another node that waits for it. Said again, it changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] when the word comes too late, or is not the owner's to give.
    async fn decide_proposal(&self, id: Txid, word: Word) -> Result<Transaction, ApiError>;

    /// The Thing Description of the directory itself (WoT Discovery, section 7.3: a `ThingDirectory`).
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    async fn directory(&self) -> Result<Description, ApiError>;

    /// One page of Thing Descriptions, in the order of their ids.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], [`ErrorKind::Unavailable`].
    async fn things(&self, page: PageRequest) -> Result<Page, ApiError>;

    /// What a JSONPath query (RFC 9535) selects of all Thing Descriptions: the text of a JSON array.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what is no query, and for one that costs too much; [`ErrorKind::TooMany`].
    async fn search_things(&self, query: &str) -> Result<String, ApiError>;

    /// The newest anchored state of the directory, with the proof that a ledger holds it: canonical CBOR.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where none is anchored, or the ledger proves none; [`ErrorKind::Unavailable`].
    async fn directory_anchored(&self) -> Result<Vec<u8>, ApiError>;

    /// The proof that a thing is in that state, or is not: canonical CBOR.
    ///
    /// # Errors
    /// As [`Federation::directory_anchored`].
    async fn directory_proof(&self, id: &ThingId) -> Result<Vec<u8>, ApiError>;

    /// The entries of that state whose keys come after `after`, at most 4,096 of them: canonical CBOR.
    ///
    /// # Errors
    /// As [`Federation::directory_anchored`].
    async fn directory_entries(&self, after: Option<Digest>) -> Result<Vec<u8>, ApiError>;

    /// A page of links to the directory and its things.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    async fn thing_links(&self, asked: AskedLinks) -> Result<Resources, ApiError>;

    /// Registers a Thing Description without an id: the directory gives it one. The text is handed on as it came, so
    /// that duplicate keys are seen.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the rule that it breaks.
    async fn create_thing(&self, description: &str) -> Result<ThingId, ApiError>;

    /// One Thing Description.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    async fn thing(&self, id: &ThingId) -> Result<Description, ApiError>;

    /// Registers or replaces the Thing Description of that id.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], also when the text's own id is another.
    async fn put_thing(&self, id: &ThingId, description: &str) -> Result<Put, ApiError>;

    /// Merges a part into a Thing Description (RFC 7396).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Invalid`].
    async fn patch_thing(&self, id: &ThingId, patch: &str) -> Result<(), ApiError>;

    /// Forgets a Thing Description.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    async fn delete_thing(&self, id: &ThingId) -> Result<(), ApiError>;

    /// Changes of the directory with a number greater than `after`; for `None`, only those from now on.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`].
    async fn thing_events(&self, after: Option<u64>) -> Result<ThingEvents, ApiError>;

    /// The audit log's records with a number greater than `after`, those that are there first, then as they come; for `None`,
    /// only those from now on. It never skips one: a slow reader is served from the journal, not from a growing queue.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the log has no number `after` yet; [`ErrorKind::Unavailable`].
    async fn events(&self, after: Option<u64>) -> Result<Events, ApiError>;

    /// Adds the runtime's own measures to `/metrics`, in the Prometheus text format.
    fn write_metrics(&self, out: &mut dyn Write) -> std::fmt::Result;
}
