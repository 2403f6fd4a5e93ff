//! Entrusts the transactions of this node's parties to its watchers ([`Peer::watcher`],
//! docs/adr/0037-a-watcher-is-fed-by-its-participants-node.md): the manifest as soon as it has begun, what is signed ahead for the
//! pivot as soon as its lock stands, each until it is taken or the transaction has ended. No key and no secret is in that.
//!
//! One task for each watcher looks at what runs: a transaction that ends within a [`TICK`] needs no watcher. What was taken is
//! a fact in the journal, and is not said again after a restart.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sofie_ledgers::Spend;
use sofie_model::{Digest, LedgerId, Manifest, Txid};
use sofie_transaction::{Phase, State};

use super::message::{MAX_MESSAGE, Message, Reply, shortened};
use super::{PeerError, Peers};
use crate::api::Watcher;
use crate::auditor::Note;
use crate::clock;
use crate::config::{Config, LedgerKind, Name, Peer};
use crate::journal::{Entry, JournalError};
use crate::transactions::presigned::{self, SPENDS};

/// How often it is looked for what a watcher lacks.
const TICK: Duration = Duration::from_millis(250);
/// The first wait before a thing is said again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Facts of this group: a txid, a watcher and a thing that it has taken, with the lock for which it was signed.
const GROUP: &str = "entrusted";

/// What is known of the watchers besides the journal.
#[derive(Debug, Default)]
pub(super) struct Entrusted {
    /// Ledgers that nobody reaches but this node.
    inside: BTreeSet<LedgerId>,
    /// Why a watcher lacks something of a transaction, or of all of them.
    said: Mutex<BTreeMap<(Name, Option<Txid>), String>>,
}

/// One thing that a watcher needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Manifest,
    /// What is signed ahead of this lock of the pivot.
    Ahead(Spend, Digest),
}

/// How far a watcher is with one transaction.
struct Progress {
    taken: BTreeSet<What>,
    due: Instant,
    pause: Duration,
    /// It was told that the watcher refuses.
    refused: bool,
}

/// Of one watcher, by transaction.
type Ward = BTreeMap<Txid, Progress>;

impl Entrusted {
    pub(super) fn of(config: &Config) -> Self {
        let embedded = |kind: &LedgerKind| match kind {
            LedgerKind::EvmEmbedded { .. } | LedgerKind::File => true,
            LedgerKind::Calendar { peers, .. } => peers.is_empty(),
            _ => false,
        };
        let embedded = config.ledgers.iter().filter(|ledger| embedded(&ledger.kind));
        let mut inside: BTreeSet<_> = embedded.map(|ledger| ledger.id.clone()).collect();
        for ledger in &config.ledgers {
            if let LedgerKind::EvmRecords { on, .. } = &ledger.kind
                && inside.contains(on)
            {
                inside.insert(ledger.id.clone());
            }
        }
        Self { inside, said: Mutex::default() }
    }

    /// The first ledger of the manifest that a watcher cannot reach.
    fn unreachable(&self, manifest: &Manifest) -> Option<LedgerId> {
        let named = manifest.legs.iter().map(|leg| &leg.ledger).chain([&manifest.decision.ledger]);
        named.into_iter().find(|ledger| self.inside.contains(*ledger)).cloned()
    }

    fn said(&self) -> MutexGuard<'_, BTreeMap<(Name, Option<Txid>), String>> {
        // Each change is one call under the lock.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl What {
    const fn word(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Ahead(spend, _) => presigned::word(spend),
        }
    }

    /// What the journal holds of it.
    fn value(self) -> Vec<u8> {
        match self {
            Self::Manifest => vec![1],
            Self::Ahead(_, lock) => lock.0.to_vec(),
        }
    }
}

/// All that a watcher must have of it now.
fn needed(state: &State) -> Vec<What> {
    let ahead = presigned::lock(state).map(|lock| SPENDS.map(|spend| What::Ahead(spend, lock)));
    [What::Manifest].into_iter().chain(ahead.into_iter().flatten()).collect()
}

fn key(txid: Txid, watcher: &Peer, word: &str) -> String {
    format!("{txid} {} {word}", watcher.name)
}

impl Peers {
    /// Begins to feed every watcher.
    pub(crate) fn start_entrusting(&self) {
        for watcher in self.watchers() {
            tokio::spawn(self.clone().entrust(watcher.clone()));
        }
    }

    fn watchers(&self) -> impl Iterator<Item = &Peer> {
        self.0.peers.iter().filter(|peer| peer.watcher)
    }

    /// Whether a watcher lacks the manifest: then it must be driven, so that it is told.
    pub(crate) fn must_entrust(&self, manifest: &Manifest) -> bool {
        let ours = manifest.participants.iter().any(|one| self.0.parties.with_account(one.account).is_some());
        let lacks = |watcher: &Peer| {
            self.why_not(watcher, manifest).is_none()
                // What cannot be read now is read again by whoever drives it.
                && self.taken(watcher, manifest.txid()).map_or(true, |taken| taken.is_empty())
        };
        ours && self.watchers().any(lacks)
    }

    /// Why a transaction of this manifest is not for this watcher.
    fn why_not(&self, watcher: &Peer, manifest: &Manifest) -> Option<String> {
        if manifest.participants.iter().any(|one| watcher.has(one.account)) {
            return Some("it takes part itself".into());
        }
        let inside = self.0.entrusted.unreachable(manifest)?;
        Some(format!("{inside} is inside this node, where nobody else reaches it"))
    }

    /// What the journal says that the watcher has taken, each with the lock for which it was signed.
    fn taken(&self, watcher: &Peer, txid: Txid) -> Result<BTreeSet<What>, JournalError> {
        let reader = self.0.executor.journal().reader()?;
        let mut taken = BTreeSet::new();
        if reader.fact(GROUP, &key(txid, watcher, What::Manifest.word()))?.is_some() {
            taken.insert(What::Manifest);
        }
        for spend in SPENDS {
            let held = reader.fact(GROUP, &key(txid, watcher, presigned::word(spend)))?;
            let lock = held.and_then(|bytes| bytes.try_into().ok());
            taken.extend(lock.map(|lock| What::Ahead(spend, Digest(lock))));
        }
        Ok(taken)
    }

    async fn entrust(self, watcher: Peer) {
        let (mut ward, mut pause) = (Ward::new(), FIRST_PAUSE);
        let away = (watcher.name.clone(), None);
        loop {
            tokio::time::sleep(TICK).await;
            let round = self.round(&watcher, &mut ward).await;
            let Some(round) = self.0.transactions.or_stop(round) else { return };
            match round {
                Ok(()) => {
                    self.0.entrusted.said().remove(&away);
                    pause = FIRST_PAUSE;
                }
                Err(error) => {
                    tracing::warn!(%error, watcher = %watcher.name, "the watcher does not hear");
                    self.0.entrusted.said().insert(away.clone(), error.to_string());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Says once what is due. The first that is not heard ends it: then the watcher is away.
    async fn round(&self, watcher: &Peer, ward: &mut Ward) -> Result<Result<(), PeerError>, JournalError> {
        let is_its = |state: &Arc<State>| {
            !state.acts_for().is_empty() && self.why_not(watcher, state.manifest()).is_none()
        };
        let running = self.0.transactions.states().into_iter().filter(is_its);
        let running: BTreeMap<Txid, Arc<State>> = running.map(|state| (state.txid(), state)).collect();
        ward.retain(|txid, _| running.contains_key(txid));
        let is_live = |txid: &Option<Txid>| txid.is_none_or(|txid| running.contains_key(&txid));
        self.0.entrusted.said().retain(|(name, txid), _| *name != watcher.name || is_live(txid));
        for (txid, state) in running {
            let progress = match ward.entry(txid) {
                Place::Occupied(known) => known.into_mut(),
                Place::Vacant(new) => new.insert(Progress::of(self.taken(watcher, txid)?)),
            };
            if progress.due > Instant::now() {
                continue;
            }
            if let Err(error) = self.entrust_one(watcher, &state, progress).await? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    async fn entrust_one(
        &self,
        watcher: &Peer,
        state: &State,
        progress: &mut Progress,
    ) -> Result<Result<(), PeerError>, JournalError> {
        let lacks: Vec<_> = needed(state).into_iter().filter(|what| !progress.taken.contains(what)).collect();
        let mut all = true;
        for what in lacks {
            let Some(message) = self.entrusting(state, what).await? else {
                all = false;
                continue;
            };
            match self.tell_watcher(watcher, &message).await {
                Err(error) => {
                    // Others have their turn before it: what is not heard may be this one's fault.
                    progress.rest(false);
                    return Ok(Err(error));
                }
                Ok(Reply::Taken) => {
                    self.has_taken(watcher, state.txid(), what).await?;
                    progress.taken.insert(what);
                }
                Ok(reply) => {
                    all = false;
                    self.has_not_taken(watcher, state.txid(), reply, progress).await?;
                    if what == What::Manifest {
                        // Without it nothing else is taken.
                        break;
                    }
                }
            }
        }
        progress.rest(all);
        Ok(Ok(()))
    }

    /// What does not fit into a message is not sent.
    async fn tell_watcher(&self, watcher: &Peer, message: &Message) -> Result<Reply, PeerError> {
        let got = message.to_bytes().len();
        if got > MAX_MESSAGE {
            let reason = format!("its {got} bytes do not fit into a message of {MAX_MESSAGE}");
            return Ok(Reply::Refused { reason });
        }
        self.ask(watcher, message).await
    }

    /// How it is said; `None` while it is not there.
    async fn entrusting(&self, state: &State, what: What) -> Result<Option<Message>, JournalError> {
        let What::Ahead(spend, _) = what else {
            return Ok(Some(Message::Watch { manifest: Box::new(state.manifest().as_ref().clone()) }));
        };
        let signed = self.0.transactions.signed_ahead(state, spend).await?;
        let (txid, refund) = (state.txid(), spend == Spend::Refund);
        Ok(signed.map(|signed| Message::Presigned { txid, refund, signed: signed.bytes }))
    }

    async fn has_taken(&self, watcher: &Peer, txid: Txid, what: What) -> Result<(), JournalError> {
        self.0.entrusted.said().remove(&(watcher.name.clone(), Some(txid)));
        let entry = Entry::Fact { group: GROUP, key: key(txid, watcher, what.word()), value: what.value() };
        let detail = format!("the {}, to watcher {}", what.word(), watcher.name);
        let note = Note::about(txid.0, "entrusted", true, detail);
        self.0.auditor.keep(vec![entry], vec![note], clock::now()).await
    }

    /// It is said again, since its operator may mend that; the first refusal is told.
    async fn has_not_taken(
        &self,
        watcher: &Peer,
        txid: Txid,
        reply: Reply,
        progress: &mut Progress,
    ) -> Result<(), JournalError> {
        let (refuses, why) = match reply {
            Reply::Refused { reason } => (true, shortened(&reason)),
            Reply::Waiting { reason, .. } => (false, shortened(&reason)),
            other => (true, format!("it answers with {}", other.word())),
        };
        self.0.entrusted.said().insert((watcher.name.clone(), Some(txid)), why.clone());
        if !refuses || std::mem::replace(&mut progress.refused, true) {
            return Ok(());
        }
        let detail = format!("watcher {} refuses: {why}", watcher.name);
        let note = Note::about(txid.0, "entrusted", false, detail);
        self.0.auditor.keep(Vec::new(), vec![note], clock::now()).await
    }

    /// What each watcher has of a transaction of this node's parties, and why not more.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn watchers_of(&self, state: &State) -> Result<Vec<Watcher>, JournalError> {
        if state.acts_for().is_empty() {
            return Ok(Vec::new());
        }
        self.watchers().map(|watcher| self.watcher_of(watcher, state)).collect()
    }

    fn watcher_of(&self, watcher: &Peer, state: &State) -> Result<Watcher, JournalError> {
        let taken = self.taken(watcher, state.txid())?;
        let ended = matches!(state.phase(), Phase::Done(_));
        let lacks = !ended && needed(state).iter().any(|what| !taken.contains(what));
        let why = self.why_not(watcher, state.manifest()).filter(|_| !ended);
        let said = || {
            let said = self.0.entrusted.said();
            let about = |txid| said.get(&(watcher.name.clone(), txid)).cloned();
            about(None).or_else(|| about(Some(state.txid()))).unwrap_or_else(|| "it is being told".into())
        };
        let has = taken.into_iter().map(|what| what.word().to_owned()).collect();
        Ok(Watcher { name: watcher.name.to_string(), has, lacks: why.or_else(|| lacks.then(said)) })
    }
}

impl Progress {
    fn of(taken: BTreeSet<What>) -> Self {
        Self { taken, due: Instant::now(), pause: FIRST_PAUSE, refused: false }
    }

    /// When it is looked at next.
    fn rest(&mut self, has_all: bool) {
        let wait = if has_all { Duration::ZERO } else { self.pause };
        self.pause = if has_all { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        self.due = Instant::now() + wait;
    }
}
