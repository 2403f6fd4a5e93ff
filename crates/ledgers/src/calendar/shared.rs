//! A calendar whose owner is another node, as those use it who share it (docs/adr/0040-a-calendar-that-nodes-share.md).
//!
//! Nothing is believed. Whatever stands is proven under a checkpoint that the pinned key signed, and each checkpoint must go
//! on from the newest one that was seen, which is kept durably before anything rests on it. A log that shows two histories,
//! another's entry or an older copy is [`LedgerError::Nonsense`]; an owner that is silent, slow or says "no" costs time only.
//!
//! With witnesses an entry is final only under the cosignatures of [`Config::quorum`] of them.
//!
//! Left out: that a decision is the *first* valid one of the log ([`sofie_model::proof::calendar`]); a copy of the log, which
//! would show it; how requests travel ([`Owner`]).

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use sofie_model::calendar::{
    Answer, Ask, Found, LogKey, MAX_ANSWER, MAX_PROVEN, Request, Untrue, goes_on, is_witnessed,
};
use sofie_model::proof::calendar::{
    Checkpoint, Cosignature, Entry, Included, Leaf, LogProof, WitnessKey, decision,
};
use sofie_model::{
    Class, Evidence, Finality, LedgerId, Manifest, Operation, Proof, Span, Timestamp, canonical,
};
use tokio::sync::Mutex;

pub use super::seen::BadSeen;
use super::seen::{Newest, Seen};
use super::{AccountKey, Wanted, places};
use crate::decide::Participants;
use crate::{Head, Intent, Ledger, LedgerError, Profile, Status};

/// From `submit` to durable there, on a slow network under load.
const INCLUSION: Span = Span::from_seconds(10);
/// Between two `status` calls.
const POLL: Span = Span::from_millis(100);

/// The way to the owner's node. It may answer anything.
#[async_trait]
pub trait Owner: Send + Sync {
    /// Brings it the bytes of a [`Request`], and those of its [`Answer`] back: at most [`MAX_ANSWER`].
    ///
    /// # Errors
    /// Why there is no answer, for people. What was asked for may have been done.
    async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, String>;

    /// The owner for people: where it answers.
    fn place(&self) -> String;
}

/// What a shared calendar is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The log, as its owner's node shows it.
    pub log: LogKey,
    /// Where the newest checkpoint is kept; made when there is none. Its folder must be there.
    pub path: PathBuf,
    /// Who must have cosigned what is final.
    pub witnesses: Vec<WitnessKey>,
    /// How many of them.
    pub quorum: usize,
}

/// A calendar of another node.
pub struct Shared {
    profile: Profile,
    config: Config,
    participants: Participants,
    owner: Arc<dyn Owner>,
    seen: Mutex<Seen>,
}

/// Its profile on an ordinary network; with `decides` it takes the decisions of transactions whose D it is.
#[must_use]
pub fn profile(id: LedgerId, decides: bool) -> Profile {
    Profile {
        id,
        classes: vec![Class::Record],
        decides,
        finality: Finality::Instant,
        inclusion: INCLUSION,
        finalises: Span::ZERO,
        single_operator: true,
        poll: POLL,
    }
}

/// An answer that goes on from what was seen.
struct True {
    head: Checkpoint,
    at: Timestamp,
    found: Found,
}

impl Shared {
    /// Reads what was seen last. The owner is not asked yet.
    ///
    /// # Errors
    /// [`BadSeen`].
    pub fn open(config: Config, profile: Profile, owner: Arc<dyn Owner>) -> Result<Self, BadSeen> {
        let seen = Mutex::new(Seen::open(config.path.clone(), &config.log)?);
        Ok(Self { profile, config, participants: Participants::default(), owner, seen })
    }

    /// Signs an early ABORT for these participants, as a chain's keyring signs their transactions.
    #[must_use]
    pub fn acting_for(mut self, keys: impl IntoIterator<Item = AccountKey>) -> Self {
        self.participants = keys.into_iter().collect();
        self
    }

    /// Asks, and believes nothing that does not go on from all that was seen.
    async fn exchange(&self, ask: Ask) -> Result<True, LedgerError> {
        let before = self.seen.lock().await.newest.clone();
        let (note, answer) = self.request(ask, &before).await?;
        self.join(Newest { note, head: answer.head.clone() }, Some(&before)).await?;
        Ok(answer)
    }

    /// The answer to one question, under a head that goes on from `before`.
    async fn request(&self, ask: Ask, before: &Newest) -> Result<(String, True), LedgerError> {
        let request = canonical::encode(&Request { seen: before.head.size, ask });
        let answer = self.owner.ask(request).await;
        let answer = answer.map_err(|why| self.profile.transient(self.said(&why)))?;
        let answer: Answer = canonical::decode(&answer, MAX_ANSWER)
            .map_err(|error| self.profile.nonsense(self.said(&format!("its answer: {error}"))))?;
        let head = answer.head(&self.config.log, &before.head);
        let head = head.map_err(|why| self.untrue(&why, before, &answer.checkpoint))?;
        Ok((answer.checkpoint, True { head, at: answer.at, found: answer.found }))
    }

    /// Makes it part of the one history. `from` is what it is known to go on from; while it was asked for, others may have
    /// seen more.
    async fn join(&self, shown: Newest, from: Option<&Newest>) -> Result<(), LedgerError> {
        let mut seen = self.seen.lock().await;
        if from != Some(&seen.newest) {
            self.compare(&seen.newest, &shown).await?;
        }
        let kept = seen.advance(shown).await;
        kept.map_err(|error| self.profile.transient(format!("what was seen of it cannot be kept: {error}")))
    }

    /// Whether both are of one history.
    async fn compare(&self, newest: &Newest, shown: &Newest) -> Result<(), LedgerError> {
        let shorter = shown.head.size < newest.head.size;
        let (old, new) = if shorter { (shown, newest) } else { (newest, shown) };
        let (old, new) = (&old.head, &new.head);
        let path = if old.size == 0 || old.size == new.size {
            Vec::new()
        } else {
            let ask = Ask::Consistency { old: old.size, size: new.size };
            match self.request(ask, newest).await?.1.found {
                Found::Path { path } => path,
                _ => return Err(self.untrue(&Untrue::Beside, newest, &shown.note)),
            }
        };
        goes_on(old, new, &path).map_err(|why| self.untrue(&why, newest, &shown.note))
    }

    /// What stands at `leaf`, if it is what was wanted, and final.
    fn standing(&self, wanted: &Wanted, answer: &True, leaf: &Included, by: &[Cosignature]) -> Checked {
        let at = |why: String| Untrue::Leaf { index: leaf.index, why };
        let found = leaf.under(&answer.head).map_err(at)?;
        carries_out(wanted, &found).map_err(at)?;
        self.is_witnessed(&answer.head, by)?;
        Ok(Status::Final(found.evidence(&self.profile.id, leaf.index)))
    }

    fn is_witnessed(&self, head: &Checkpoint, by: &[Cosignature]) -> Result<(), Untrue> {
        is_witnessed(head, by, &self.config.witnesses, self.config.quorum)
    }

    /// How what was wanted stands by a true answer.
    fn status_by(&self, wanted: &Wanted, answer: &True) -> Result<Status, LedgerError> {
        let checked = match &answer.found {
            Found::Nothing => Ok(Status::Absent),
            Found::Refused { reason } => Ok(Status::Refused { reason: plain(reason) }),
            Found::Stands { leaf, cosigned } => self.standing(wanted, answer, leaf, cosigned),
            Found::Proof { .. } | Found::Path { .. } => Err(Untrue::Beside),
        };
        checked.map_err(|why| self.lie(&why))
    }

    /// Whether `proof` shows exactly these facts.
    fn shows(&self, proof: &LogProof, manifest: &Manifest, facts: &[Evidence]) -> Result<(), LedgerError> {
        let proven = Proof::Calendar(proof.clone()).verify(&self.profile.id, manifest);
        let proven = proven.map_err(|bad| self.profile.nonsense(self.said(&bad.to_string())))?;
        let mut expected = facts.to_vec();
        expected.sort_by_key(|fact| fact.position.index);
        expected.dedup();
        if proven.evidence == expected { Ok(()) } else { Err(self.lie(&Untrue::Beside)) }
    }

    fn untrue(&self, why: &Untrue, seen: &Newest, shown: &str) -> LedgerError {
        if matches!(why, Untrue::Older { .. } | Untrue::Fork { .. }) {
            let (ledger, seen) = (&self.profile.id, &seen.note);
            tracing::error!(%ledger, %seen, shown, "both were signed by the log's key, and they contradict each other");
        }
        self.lie(why)
    }

    /// What witnesses have not cosigned yet is no lie, and not final.
    fn lie(&self, why: &Untrue) -> LedgerError {
        let said = self.said(&why.to_string());
        match why {
            Untrue::Witnesses { .. } => self.profile.transient(said),
            _ => self.profile.nonsense(said),
        }
    }

    fn said(&self, what: &str) -> String {
        format!("its owner at {}: {}", self.owner.place(), plain(what))
    }
}

type Checked = Result<Status, Untrue>;

/// Whether the leaf is what was wanted: the very entry, or any valid decision of the transaction.
fn carries_out(wanted: &Wanted, leaf: &Leaf) -> Result<(), String> {
    match (&wanted.manifest, &leaf.entry) {
        (None, entry) if *entry == wanted.entry => Ok(()),
        (Some(manifest), Entry::Decided { txid, decision, signatures }) if *txid == manifest.txid() => {
            decision::check(manifest, decision, signatures, leaf.at)
        }
        _ => Err("it is another entry than the one that was asked for".into()),
    }
}

/// A stranger's text goes into a log and onto a terminal.
fn plain(text: &str) -> String {
    let short = text.chars().take(sofie_model::calendar::MAX_REASON);
    short.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[async_trait]
impl Ledger for Shared {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The owner is not asked: it says at `submit` what its log's rules are against.
    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        Ok(Wanted::of(&self.profile, &self.participants.signed(operation))?.to_intent())
    }

    /// An entry has no nonce to keep: its content is its name.
    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        Wanted::read(&self.profile, intent).map(drop)
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        let wanted = Wanted::read(&self.profile, intent)?;
        let answer = self.exchange(Ask::Append { intent: intent.0.clone() }).await?;
        match self.status_by(&wanted, &answer) {
            Ok(Status::Refused { reason }) => Err(self.profile.refused(reason)),
            // It is taken; witnesses may still be missing.
            Ok(_) | Err(LedgerError::Transient { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn status(&self, operation: &Operation, _: Option<&Intent>) -> Result<Status, LedgerError> {
        let wanted = Wanted::of(&self.profile, operation)?;
        let answer = self.exchange(Ask::Find { intent: wanted.to_intent().0 }).await?;
        self.status_by(&wanted, &answer)
    }

    /// The clock is the owner's word.
    async fn head(&self) -> Result<Head, LedgerError> {
        let answer = self.exchange(Ask::Head).await?;
        Ok(Head { height: answer.head.size, time: answer.at })
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        let indices = places(facts);
        if indices.len() > MAX_PROVEN {
            return Err(self
                .profile
                .nonsense(format!("its owner proves at most {MAX_PROVEN} facts at once")));
        }
        let Found::Proof { proof } = self.exchange(Ask::Prove { indices }).await?.found else {
            return Err(self.lie(&Untrue::Beside));
        };
        let head = self.config.log.head(&proof.checkpoint).map_err(|why| self.lie(&why))?;
        self.shows(&proof, manifest, facts)?;
        self.join(Newest { note: proof.checkpoint.clone(), head: head.clone() }, None).await?;
        let by = proof.cosigned.as_deref().unwrap_or_default();
        self.is_witnessed(&head, by).map_err(|why| self.lie(&why))?;
        Ok(Proof::Calendar(proof))
    }
}

#[cfg(test)]
mod tests;
