//! The calendar: a private shared record ledger in the manner of KSI. An append-only Merkle log (RFC 6962) whose every
//! batch stands under a signed checkpoint (C2SP tlog-checkpoint), and a tree of seconds that publishes the log's root
//! for each second in which it grew. Formats and verification are in [`sofie_model::proof::calendar`]; why it is built
//! like this is in docs/adr/0006-calendar.md.
//!
//! An entry is final once its batch is durable: one write, one signature, within milliseconds. It is inert: whether a
//! transaction took effect is for D to say.
//!
//! **As D.** With [`Config::decides`] it takes decisions too: the first valid one of a transaction stands
//! ([`sofie_model::proof::calendar::decision`]), and it takes no other. One operator holds the key and could sign two
//! histories, so what rests on it is labelled custodial. With one node that uses it, it is a local log: it survives that
//! node's crash, and promises nothing to others.
//!
//! **Witnesses.** With [`Config::witnesses`] an entry is final only once [`Config::quorum`] of them have cosigned a
//! checkpoint that covers it: an operator that shows two histories, or puts an old copy of its file back, gets no second
//! set of signatures. Proofs then stand under the newest cosigned checkpoint.
//!
//! **Shared.** Other nodes use it through its owner's ([`Calendar::answer`]) and believe only what the log's key signed
//! ([`shared::Shared`], docs/adr/0040-a-calendar-that-nodes-share.md).
//!
//! Left out: tiles on disk: the log is held in memory.

use std::{
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use async_trait::async_trait;
pub use ed25519_dalek::SigningKey;
pub use k256::ecdsa::SigningKey as AccountKey;
use sofie_model::{
    Class, Decision, Digest, Evidence, Finality, LedgerId, Manifest, Operation, Proof, Span,
    proof::calendar::{
        Entry, Extension, LogProof, MAX_LEAVES, MAX_ORIGIN, decision, is_origin, verifier_key,
    },
};
use tokio::sync::oneshot;

use crate::decide::Participants;
use crate::{Clock, Head, Intent, Ledger, LedgerError, Profile, Status};

mod door;
mod error;
mod file;
mod log;
mod seen;
pub mod shared;
mod wanted;
mod witnesses;
mod writer;

pub use door::NotAnswered;
pub use error::{NotExtended, OpenError};
use file::LogFile;
use log::{Foreign, Log};
use wanted::Wanted;
pub use witnesses::{BadWitness, Witness};
use witnesses::{Cosigned, Witnesses};
use writer::{Answer, MAX_QUEUE, Request, Writer};

/// A clock further behind the log's last entry is not one to go on with.
const MAX_CLOCK_BEHIND: Span = Span::from_seconds(60);
/// From `submit` to durable, on a slow disk under load.
const INCLUSION: Span = Span::from_seconds(2);
/// Between two `status` calls; `submit` already waits for the disk.
const POLL: Span = Span::from_millis(20);

/// What a calendar is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its name in the configuration and in manifests.
    pub id: LedgerId,
    /// The log's name in its checkpoints, a URL without scheme: `locker.example/calendar`.
    pub origin: String,
    /// The file; made when there is none. Its folder must be there.
    pub path: PathBuf,
    /// Read-only: the operator takes no new entries. What stands can still be asked for and proven.
    pub refuse: bool,
    /// [`Profile::decides`]: it takes the decisions of transactions whose D it is.
    pub decides: bool,
    /// [`Profile::inclusion`]: from `submit` to durable, on this disk under load.
    pub inclusion: Span,
    /// [`Profile::finalises`].
    pub finalises: Span,
    /// [`Profile::poll`].
    pub poll: Span,
    /// Who must cosign what is final.
    pub witnesses: Vec<Witness>,
    /// How many of them.
    pub quorum: usize,
}

impl Config {
    /// A calendar that takes entries, on a disk of ordinary speed.
    #[must_use]
    pub fn new(id: LedgerId, origin: String, path: PathBuf) -> Self {
        let (inclusion, finalises, poll) = (INCLUSION, Span::ZERO, POLL);
        let (witnesses, quorum) = (Vec::new(), 0);
        Self {
            id,
            origin,
            path,
            refuse: false,
            decides: false,
            inclusion,
            finalises,
            poll,
            witnesses,
            quorum,
        }
    }
}

/// An open calendar. Dropping it waits for the last write.
pub struct Calendar {
    profile: Profile,
    key: SigningKey,
    participants: Participants,
    clock: Clock,
    log: Arc<RwLock<Log>>,
    read_only: AtomicBool,
    witnesses: Witnesses,
    queue: Option<SyncSender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl Calendar {
    /// Opens the log, or begins one. Reads all of it and checks it against its checkpoints; a last write that a crash
    /// cut short is cut off. Blocks while it reads.
    ///
    /// # Errors
    /// [`OpenError`] says what to do.
    pub fn open(config: Config, key: SigningKey, clock: Clock) -> Result<Self, OpenError> {
        if !is_origin(&config.origin) || config.origin.len() > MAX_ORIGIN - SECONDS_ROOM {
            return Err(OpenError::BadOrigin { got: config.origin });
        }
        let (log, file) = read(&config, &key)?;
        let profile = profile(&config);
        let witnesses = Witnesses::new(config.witnesses, config.quorum)?;
        let last = log.last_time();
        let behind = last.since(clock());
        if behind > MAX_CLOCK_BEHIND {
            return Err(OpenError::ClockBehind { path: config.path, behind });
        }
        let log = Arc::new(RwLock::new(log));
        let (queue, requests) = sync_channel(MAX_QUEUE);
        let writer = Writer::new(file, key.clone(), Arc::clone(&clock), Arc::clone(&log));
        let writer = std::thread::Builder::new()
            .name(format!("calendar-{}", config.id))
            .spawn(move || writer.run(&requests))
            .map_err(|source| OpenError::Io { path: config.path, doing: "start the writer of", source })?;
        let read_only = AtomicBool::new(config.refuse);
        let (queue, writer) = (Some(queue), Some(writer));
        let participants = Participants::default();
        Ok(Self { profile, key, participants, clock, log, read_only, witnesses, queue, writer })
    }

    /// Signs an early ABORT for these participants, as a chain's keyring signs their transactions.
    #[must_use]
    pub fn acting_for(mut self, keys: impl IntoIterator<Item = AccountKey>) -> Self {
        self.participants = keys.into_iter().collect();
        self
    }

    /// The log's public key, which a reader pins.
    #[must_use]
    pub fn public_key(&self) -> Digest {
        self.log().key
    }

    /// Its name and key as C2SP tools and witnesses take them.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        let log = self.log();
        verifier_key(&log.origin, &log.key)
    }

    /// The signed checkpoint of all that is durable.
    #[must_use]
    pub fn checkpoint(&self) -> String {
        let head = self.log().head();
        head.sign(&self.key)
    }

    /// The signed checkpoint of the tree of seconds: its root is the one to publish.
    #[must_use]
    pub fn published(&self) -> String {
        let head = self.log().seconds_head();
        head.sign(&self.key)
    }

    /// The same when there were `size` seconds, with the last of them since the Unix epoch; nothing for more than there
    /// are, and for none.
    #[must_use]
    pub fn published_at(&self, size: u64) -> Option<(String, u64)> {
        let log = self.log();
        let last = log.seconds.get(usize::try_from(size).ok()?.checked_sub(1)?)?.second;
        Some((log.seconds_at(size)?.sign(&self.key), last))
    }

    /// How many seconds are published.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.log().seconds.len() as u64
    }

    /// What puts a proof that ends at `size` entries with `root` under the root of the first `seconds` seconds. The
    /// root is asked for, so that only who has a proof of this log learns how long it was.
    ///
    /// # Errors
    /// [`NotExtended`].
    pub fn extension(&self, size: u64, root: Digest, seconds: u64) -> Result<Extension, NotExtended> {
        self.log().extension(size, root, seconds, |head| head.sign(&self.key))
    }

    /// Proves that the log of `size` entries goes on from the one of `old_size`; nothing for sizes it never had.
    #[must_use]
    pub fn consistency(&self, old_size: u64, size: u64) -> Option<Vec<Digest>> {
        self.log().tree.consistency(old_size, size)
    }

    /// Takes no new entries from now on, or does again: [`Config::refuse`] while it runs.
    pub fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::Relaxed);
    }

    /// Publishes the root of the last second in which the log grew, if that second is over. It happens by itself soon
    /// after; this waits for it.
    ///
    /// # Errors
    /// [`LedgerError::Transient`].
    pub async fn publish(&self) -> Result<(), LedgerError> {
        self.ask(Request::Publish).await
    }

    fn log(&self) -> RwLockReadGuard<'_, Log> {
        // The writer changes it entry by entry, each whole: a panic in between leaves a shorter log, not a wrong one.
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, request: impl FnOnce(oneshot::Sender<Answer>) -> Request) -> Result<(), LedgerError> {
        let (asker, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(|| self.profile.transient("it is closing"))?;
        queue.try_send(request(asker)).map_err(|error| match error {
            TrySendError::Full(_) => self.profile.transient(format!("{MAX_QUEUE} requests wait already")),
            TrySendError::Disconnected(_) => self.profile.transient("its writer has ended: restart the node"),
        })?;
        match answer.await {
            Ok(Answer::Stands) => Ok(()),
            Ok(Answer::Refused(reason)) => Err(self.profile.refused(reason)),
            Ok(Answer::Failed(reason)) => Err(self.profile.transient(&reason)),
            Err(_) => Err(self.profile.transient("its writer has ended: restart the node")),
        }
    }

    /// Why this would not be taken now, if it would not.
    fn objection(&self, wanted: &Wanted) -> Result<(), LedgerError> {
        let log = self.log();
        if log.find(&wanted.entry).is_some() {
            return Ok(());
        }
        if self.read_only.load(Ordering::Relaxed) {
            return Err(self.profile.refused("the calendar is read-only: its operator takes no new entries"));
        }
        let now = (self.clock)().max(log.last_time());
        log.objection(wanted, &log::Waiting::default(), now)
            .map_or(Ok(()), |why| Err(self.profile.refused(why)))
    }

    /// Final, once enough witnesses have cosigned a checkpoint that covers it.
    async fn is_final(&self, index: u64) -> Result<Status, LedgerError> {
        if !self.witnesses.is_empty() {
            self.cosigned(index + 1).await?;
        }
        Ok(self.evidence(index).map_or(Status::Absent, Status::Final))
    }

    async fn cosigned(&self, size: u64) -> Result<Arc<Cosigned>, LedgerError> {
        let signed = self.witnesses.cosigned(size, &self.log, |head| head.sign(&self.key)).await;
        signed.map_err(|why| self.profile.transient(why))
    }

    /// Whether it stands. Of a decision: whichever does; without one, a COMMIT that is not valid by the log's clock will never
    /// be. Of anything else: what is closed or decided is never prepared any more, and all other objections may pass.
    fn standing(&self, wanted: &Wanted) -> Standing {
        let log = self.log();
        let place = match &wanted.manifest {
            Some(manifest) => log.decision(manifest),
            None => log.find(&wanted.entry),
        };
        if let Some((index, _)) = place {
            return Standing::At(index);
        }
        let objection = match (&wanted.entry, &wanted.manifest) {
            (
                Entry::Decided { decision: commit @ Decision::Commit { .. }, signatures, .. },
                Some(manifest),
            ) => decision::check(manifest, commit, signatures, log.last_time()).err(),
            (Entry::Prepared { .. }, _) => log.objection(wanted, &log::Waiting::default(), log.last_time()),
            _ => None,
        };
        objection.map_or(Standing::Nowhere, Standing::Never)
    }

    /// What the leaf at `index` says, if there is one.
    fn evidence(&self, index: u64) -> Option<Evidence> {
        let log = self.log();
        let leaf = log.leaves.get(usize::try_from(index).ok()?)?;
        Some(leaf.evidence(&self.profile.id, index))
    }
}

#[async_trait]
impl Ledger for Calendar {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        let wanted = Wanted::of(&self.profile, &self.participants.signed(operation))?;
        self.objection(&wanted)?;
        Ok(wanted.to_intent())
    }

    /// An entry has no nonce to keep: its content is its name.
    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        Wanted::read(&self.profile, intent).map(drop)
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        let wanted = Wanted::read(&self.profile, intent)?;
        self.objection(&wanted)?;
        self.ask(|asker| Request::Append(wanted, asker)).await
    }

    async fn status(&self, operation: &Operation, _: Option<&Intent>) -> Result<Status, LedgerError> {
        match self.standing(&Wanted::of(&self.profile, operation)?) {
            Standing::At(index) => self.is_final(index).await,
            Standing::Never(reason) => Ok(Status::Refused { reason }),
            Standing::Nowhere => Ok(Status::Absent),
        }
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        let now = (self.clock)();
        let log = self.log();
        let last = log.leaves.last().map_or(now, |leaf| leaf.at.max(now));
        Ok(Head { height: log.size(), time: last })
    }

    async fn prove(&self, _: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        self.prove_notes(facts).await
    }

    async fn prove_notes(&self, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        if facts.len() > MAX_LEAVES {
            return Err(self.profile.nonsense(format!("a proof holds at most {MAX_LEAVES} facts")));
        }
        for fact in facts {
            let index = fact.position.index;
            if self.evidence(index).as_ref() != Some(fact) {
                return Err(self.profile.nonsense(format!("it does not hold {:?} at {index}", fact.fact)));
            }
        }
        self.proven(&places(facts)).await.map(Proof::Calendar)
    }
}

impl Calendar {
    /// That what stands at these places, in order, stands.
    async fn proven(&self, indices: &[u64]) -> Result<LogProof, LedgerError> {
        // A calendar that cannot write any more still proves; the second is further evidence only.
        if let Err(error) = self.publish().await {
            tracing::warn!(%error, "the last second is not published");
        }
        let needed = indices.last().map_or(0, |last| last + 1);
        let cosigned = match self.witnesses.is_empty() {
            true => None,
            false => Some(self.cosigned(needed).await?),
        };
        let log = self.log();
        Ok(match cosigned {
            Some(cosigned) => self.witnessed(&log, indices, &cosigned),
            None => self.proof(&log, indices, if indices.is_empty() { log.size() } else { needed }),
        })
    }

    /// Under the head that witnesses have cosigned.
    fn witnessed(&self, log: &Log, indices: &[u64], cosigned: &Cosigned) -> LogProof {
        let Cosigned { head, by } = cosigned;
        let leaves = indices.iter().filter_map(|index| log.include(*index, head.size)).collect();
        let cosigned = Some(by.clone()).filter(|by| !by.is_empty());
        LogProof { key: log.key, checkpoint: head.sign(&self.key), leaves, published: None, cosigned }
    }

    /// Under the first published second that covers all, else under the head.
    fn proof(&self, log: &Log, indices: &[u64], needed: u64) -> LogProof {
        let mut head = log.head();
        let mut published = None;
        if let Some((second, mut proof)) = log.published(needed) {
            (head.size, head.root) = (second.size, second.root);
            proof.checkpoint = log.seconds_head().sign(&self.key);
            published = Some(proof);
        }
        let leaves = indices.iter().filter_map(|index| log.include(*index, head.size)).collect();
        LogProof { key: log.key, checkpoint: head.sign(&self.key), leaves, published, cosigned: None }
    }
}

impl Drop for Calendar {
    fn drop(&mut self) {
        // Without a sender the writer finishes what waits, ends, and lets the file's lock go.
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// How something stands in the log.
enum Standing {
    /// At this place.
    At(u64),
    /// It does not, and never will, because of this.
    Never(String),
    /// It does not.
    Nowhere,
}

/// Where facts stand, in order.
fn places(facts: &[Evidence]) -> Vec<u64> {
    let mut indices: Vec<_> = facts.iter().map(|fact| fact.position.index).collect();
    indices.sort_unstable();
    indices.dedup();
    indices
}

/// The origin of the tree of seconds is longer by this.
const SECONDS_ROOM: usize = sofie_model::proof::calendar::SECONDS.len();

fn profile(config: &Config) -> Profile {
    Profile {
        id: config.id.clone(),
        classes: vec![Class::Record],
        decides: config.decides,
        finality: Finality::Instant,
        inclusion: config.inclusion,
        finalises: config.finalises,
        single_operator: true,
        poll: config.poll,
    }
}

fn read(config: &Config, key: &SigningKey) -> Result<(Log, LogFile), OpenError> {
    let ours = Digest(key.verifying_key().to_bytes());
    let mut log = Log::new(config.origin.clone(), ours);
    let opening = log.opening();
    let mut foreign = None;
    let file = LogFile::open(&config.path, &opening, |frame| {
        log.replay(frame).map_err(|error| match error {
            Foreign::Damage(why) => why,
            other => {
                foreign = Some(other);
                "it is another log's".into()
            }
        })
    });
    let path = config.path.clone();
    match foreign {
        Some(Foreign::Key(theirs)) => return Err(OpenError::ForeignKey { path, theirs, ours }),
        Some(Foreign::Origin(theirs)) => {
            return Err(OpenError::ForeignOrigin { path, theirs, ours: config.origin.clone() });
        }
        Some(Foreign::Damage(_)) | None => {}
    }
    let file = file?;
    log.check_signature().map_err(|why| OpenError::Damaged { path, offset: file.length(), why })?;
    Ok((log, file))
}

#[cfg(test)]
mod tests;
