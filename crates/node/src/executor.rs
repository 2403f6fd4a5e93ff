//! Carries one operation out on its ledger, to its end: final or refused for good. The order of the port's calls and of
//! the journal's writes is here and nowhere else (`sofie_ledgers::port`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{FutureExt, Shared};
use futures::{StreamExt, stream};
use sofie_ledgers::{Intent, Ledger, LedgerError, Status};
use sofie_model::{Digest, Evidence, Finality, LedgerId, Operation, Step};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::drive::Leaving;
use crate::journal::{Entry, Intended, Journal, JournalError};

/// The longest wait between two tries of a ledger that is away.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// So many intents of an earlier run one ledger adopts at once: they share what it asks its node.
const ADOPTED_AT_ONCE: usize = 128;
/// After so many polls that find nothing, the same intent is submitted again.
const POLLS_PER_SUBMIT: u32 = 8;

/// After so many nonsensical answers in a row, the ledger is in quarantine: one may be a proxy's.
const NONSENSE_LIMIT: u32 = 3;

/// So often an operation is fixed anew because something else took its intent's place.
const MAX_ANEW: u32 = 64;

/// At most so many characters of a ledger's refusal are kept.
const MAX_REASON: usize = 1_024;

/// The ledgers of a node, by name.
pub type Ledgers = BTreeMap<LedgerId, Arc<dyn Ledger>>;

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The ledger holds it, finally, whoever brought it there.
    Final(Evidence),
    /// The ledger's rules refuse it for good.
    Refused(String),
}

/// Names an operation in the journal: whose, and which of its operations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The transaction, or the note's topic.
    pub id: Digest,
    /// Which of its operations: `prepare 0`.
    pub task: String,
}

/// Runs operations. Clones share the ledgers and the journal.
#[derive(Clone)]
pub struct Executor {
    ledgers: Arc<Ledgers>,
    journal: Journal,
    /// Intents that an earlier run fixed: their operations ask before they submit. Each is taken out by its operation.
    earlier: Arc<Mutex<BTreeMap<Key, Intent>>>,
    /// How far each ledger with intents of an earlier run is in adopting them: nothing is done on it before.
    adopting: Arc<BTreeMap<LedgerId, Adopting>>,
    /// Ledgers that answered nonsense, and what: nothing is asked of them until [`Executor::trust`].
    quarantined: Arc<Mutex<BTreeMap<LedgerId, String>>>,
    /// How many looks in a row each ledger has answered with nonsense.
    mad: Arc<Mutex<BTreeMap<LedgerId, u32>>>,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("ledgers", &self.ledgers.keys()).finish_non_exhaustive()
    }
}

/// Waits that double, from the ledger's poll to [`LONGEST_WAIT`].
struct Pace {
    clock: Clock,
    poll: Duration,
    wait: Duration,
    /// Nonsensical answers in a row.
    nonsense: u32,
}

impl Pace {
    fn of(ledger: &dyn Ledger, clock: &Clock) -> Self {
        let poll = Duration::from(ledger.profile().poll);
        Self { clock: clock.clone(), poll, wait: poll, nonsense: 0 }
    }

    async fn poll(&mut self) {
        self.wait = self.poll;
        self.nonsense = 0;
        self.clock.sleep(self.poll).await;
    }

    async fn back_off(&mut self, error: &LedgerError) {
        tracing::warn!(%error, wait_ms = self.wait.as_millis(), "trying again");
        self.clock.sleep(self.wait).await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.nonsense = if matches!(error, LedgerError::Nonsense { .. }) { self.nonsense + 1 } else { 0 };
    }
}

/// Whether a ledger answered each time, once it has adopted the intents of an earlier run. Whoever waits for it goes on in
/// the order in which they came: a channel that wakes them in any order would make two runs of one seed.
type Adopting = Shared<oneshot::Receiver<bool>>;

/// What came of making an intent.
enum Tried {
    /// It is written ahead.
    Fixed(Intent),
    /// None is needed, or none is possible.
    Ended(Ended),
    /// The ledger could not say yet.
    Again,
}

/// What the ledger shows of an operation that was fixed.
enum Seen {
    /// It is over.
    Ended(Ended),
    /// Nothing, finally or not.
    Nothing,
    /// What was fixed can never stand, and the ledger says why: only now may it be fixed anew (P4).
    Displaced(String),
}

impl Executor {
    /// An executor over a journal that holds no unfinished work.
    #[must_use]
    pub fn new(ledgers: Arc<Ledgers>, journal: Journal) -> Self {
        Self {
            ledgers,
            journal,
            earlier: Arc::default(),
            adopting: Arc::default(),
            quarantined: Arc::default(),
            mad: Arc::default(),
        }
    }

    /// Takes over what an earlier run intended: each ledger adopts its intents before it makes a new one, beside the
    /// others and whatever else begins. One that is away holds up what is done on it, and nothing else.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub fn adopt(mut self) -> Result<Self, JournalError> {
        let mut earlier = BTreeMap::new();
        let mut each: BTreeMap<LedgerId, Vec<(String, Intent)>> = BTreeMap::new();
        for Intended { id, task, ledger, bytes } in self.journal.reader()?.intents()? {
            let intent = Intent(bytes);
            match self.ledgers.keys().find(|name| name.as_str() == ledger) {
                Some(name) => each.entry(name.clone()).or_default().push((task.clone(), intent.clone())),
                None => tracing::error!(
                    %ledger, %task, transaction = %id,
                    "an earlier run was about to use a ledger that is no longer configured; add it again"
                ),
            }
            earlier.insert(Key { id, task }, intent);
        }
        let adopting = each.into_iter().filter_map(|(name, intents)| {
            let ledger = self.ledgers.get(&name)?.clone();
            Some((name, adopt_all(ledger, intents, self.journal.clock().clone())))
        });
        self.adopting = Arc::new(adopting.collect());
        self.earlier = Arc::new(Mutex::new(earlier));
        Ok(self)
    }

    /// Waits until this ledger has adopted what an earlier run intended. `false`: it was away meanwhile.
    pub(crate) async fn adopted(&self, ledger: &LedgerId) -> bool {
        let Some(adopting) = self.adopting.get(ledger).cloned() else { return true };
        if let Ok(at_once) = adopting.await {
            return at_once;
        }
        tracing::error!(%ledger, "nothing is done on it: what an earlier run intended was not adopted; restart the node");
        std::future::pending().await
    }

    /// Whether an earlier run intended anything that its ledger has yet to adopt.
    pub(crate) fn is_adopting(&self) -> bool {
        self.adopting.values().any(|adopting| adopting.peek().is_none())
    }

    /// Waits until every ledger has. `false`: one was away meanwhile.
    pub(crate) async fn all_adopted(&self) -> bool {
        let mut at_once = true;
        for ledger in self.adopting.keys() {
            at_once &= self.adopted(ledger).await;
        }
        at_once
    }

    /// The ledgers.
    #[must_use]
    pub fn ledgers(&self) -> &Ledgers {
        &self.ledgers
    }

    /// The journal.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Carries `operation` out. Transient failures are retried without end: the caller's deadline is the ledger's, not
    /// a timer's here.
    ///
    /// # Errors
    /// [`JournalError`]: nothing more can be promised, the node must stop.
    pub async fn operate(
        &self,
        key: Key,
        ledger: &LedgerId,
        operation: &Operation,
    ) -> Result<Ended, JournalError> {
        self.operate_if_wanted(key, ledger, operation, &Leaving::default()).await
    }

    /// As [`operate`](Self::operate), but begins nothing that is not wanted any more. It leaves with the making of an
    /// intent: the nonce of one that is made must be used, and one that is written ahead may be anywhere.
    ///
    /// # Errors
    /// As there.
    pub async fn operate_if_wanted(
        &self,
        key: Key,
        ledger: &LedgerId,
        operation: &Operation,
        leaving: &Leaving,
    ) -> Result<Ended, JournalError> {
        let Some(ledger) = self.ledgers.get(ledger) else {
            return Ok(Ended::Refused(format!(
                "this node has no ledger {ledger}; add it to the configuration"
            )));
        };
        if let Some(ended) = self.distrusted(&ledger.profile().id) {
            return Ok(ended);
        }
        self.adopted(&ledger.profile().id).await;
        let mut pace = Pace::of(ledger.as_ref(), self.journal.clock());
        let mut intent = self.intended(&key, ledger.as_ref(), operation)?;
        if intent.is_some() {
            leaving.go().await;
            match self.ask(ledger.as_ref(), operation, intent.as_ref(), &mut pace).await {
                Seen::Ended(ended) => return Ok(ended),
                Seen::Displaced(_) => intent = None,
                Seen::Nothing => {}
            }
        }
        let mut anew = 0;
        loop {
            let tried = match intent.take() {
                Some(fixed) => Tried::Fixed(fixed),
                None => {
                    leaving.back();
                    leaving.go().await;
                    self.fix(&key, ledger.as_ref(), operation, &mut pace).await?
                }
            };
            let fixed = match tried {
                Tried::Fixed(fixed) => fixed,
                Tried::Ended(ended) => return Ok(ended),
                Tried::Again => continue,
            };
            match self.bring(ledger.as_ref(), operation, &fixed, &mut pace).await {
                Seen::Ended(ended) => return Ok(ended),
                Seen::Nothing => intent = Some(fixed),
                Seen::Displaced(reason) if anew == MAX_ANEW => return Ok(refused(&reason)),
                Seen::Displaced(reason) => {
                    tracing::info!(operation = operation.verb(), %reason, "it is fixed anew");
                    anew += 1;
                }
            }
        }
    }

    /// What was fixed for this operation before: by an earlier run, or before a reorganisation undid the prepare. What is
    /// submitted again conflicts with it (P4), and leaves no gap in an account's nonces.
    fn intended(
        &self,
        key: &Key,
        ledger: &dyn Ledger,
        operation: &Operation,
    ) -> Result<Option<Intent>, JournalError> {
        let earlier = self.earlier.lock().expect("no holder of this lock panics").remove(key);
        let prepares = matches!(operation, Operation::Leg { step: Step::Prepare, .. });
        if earlier.is_some() || !prepares || ledger.profile().finality == Finality::Instant {
            return Ok(earlier);
        }
        Ok(self.journal.reader()?.intent(key.id, &key.task)?.map(Intent))
    }

    /// Whether something was fixed for this operation, so that it may have left.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn has_begun(&self, key: &Key) -> Result<bool, JournalError> {
        Ok(self.journal.reader()?.intent(key.id, &key.task)?.is_some())
    }

    /// Makes a new intent and writes it ahead.
    async fn fix(
        &self,
        key: &Key,
        ledger: &dyn Ledger,
        operation: &Operation,
        pace: &mut Pace,
    ) -> Result<Tried, JournalError> {
        match ledger.intend(operation).await {
            Ok(fixed) => {
                self.write_ahead(key, &ledger.profile().id, &fixed).await?;
                Ok(Tried::Fixed(fixed))
            }
            Err(LedgerError::Refused { reason, .. } | LedgerError::Unsupported { reason, .. }) => {
                let ended = self.after_refusal(ledger, operation, None, reason, pace).await;
                Ok(ended.map_or(Tried::Again, Tried::Ended))
            }
            // What this node cannot do, another may have done.
            Err(error) => match self.retry(&error, pace).await {
                Some(ended) => Ok(Tried::Ended(ended)),
                None => {
                    let seen = self.ask(ledger, operation, None, pace).await;
                    Ok(if let Seen::Ended(ended) = seen { Tried::Ended(ended) } else { Tried::Again })
                }
            },
        }
    }

    /// Submits an intent that the journal holds, and watches what becomes of it.
    async fn bring(
        &self,
        ledger: &dyn Ledger,
        operation: &Operation,
        fixed: &Intent,
        pace: &mut Pace,
    ) -> Seen {
        match ledger.submit(fixed).await {
            Ok(()) => {}
            Err(LedgerError::Refused { reason, .. } | LedgerError::Unsupported { reason, .. }) => {
                let ended = self.after_refusal(ledger, operation, Some(fixed), reason, pace).await;
                if let Some(ended) = ended {
                    return Seen::Ended(ended);
                }
            }
            Err(error) => {
                if let Some(ended) = self.retry(&error, pace).await {
                    return Seen::Ended(ended);
                }
            }
        }
        self.watch(ledger, operation, fixed, pace).await
    }

    async fn write_ahead(&self, key: &Key, ledger: &LedgerId, intent: &Intent) -> Result<(), JournalError> {
        let entry = Entry::Intent {
            id: key.id,
            task: key.task.clone(),
            ledger: ledger.to_string(),
            bytes: intent.0.clone(),
        };
        self.journal.keep(vec![entry], self.journal.clock().now()).await
    }

    /// The fate of what an earlier run may have submitted: what does the ledger know?
    async fn ask(
        &self,
        ledger: &dyn Ledger,
        operation: &Operation,
        intent: Option<&Intent>,
        pace: &mut Pace,
    ) -> Seen {
        loop {
            match ledger.status(operation, intent).await {
                Ok(Status::Final(evidence)) => return Seen::Ended(Ended::Final(evidence)),
                Ok(Status::Refused { reason }) => return Seen::Ended(refused(&reason)),
                Ok(Status::Displaced { reason }) => return Seen::Displaced(reason),
                Ok(Status::Pending) => pace.poll().await,
                Ok(Status::Absent) | Err(LedgerError::Unsupported { .. } | LedgerError::Refused { .. }) => {
                    return Seen::Nothing;
                }
                Err(error) => {
                    if let Some(ended) = self.retry(&error, pace).await {
                        return Seen::Ended(ended);
                    }
                }
            }
        }
    }

    /// A refusal may only mean that somebody else was faster. `None`: it is on its way, look again.
    async fn after_refusal(
        &self,
        ledger: &dyn Ledger,
        operation: &Operation,
        intent: Option<&Intent>,
        reason: String,
        pace: &mut Pace,
    ) -> Option<Ended> {
        match ledger.status(operation, intent).await {
            Ok(Status::Final(evidence)) => Some(Ended::Final(evidence)),
            Ok(Status::Absent | Status::Refused { .. } | Status::Displaced { .. }) => Some(refused(&reason)),
            Ok(Status::Pending) => {
                pace.poll().await;
                None
            }
            Err(LedgerError::Unsupported { .. } | LedgerError::Refused { .. }) => Some(refused(&reason)),
            Err(error) => self.retry(&error, pace).await,
        }
    }

    /// Waits, or puts a ledger that goes on answering nonsense into quarantine.
    async fn retry(&self, error: &LedgerError, pace: &mut Pace) -> Option<Ended> {
        pace.back_off(error).await;
        let LedgerError::Nonsense { ledger, reason } = error else { return None };
        if pace.nonsense < NONSENSE_LIMIT {
            return None;
        }
        self.distrust(ledger, reason);
        self.distrusted(ledger)
    }

    /// What a ledger records of `operation`, without a try of one's own. One that answers several looks in a row with
    /// nonsense is in quarantine like one that is asked to do something, and is not asked then.
    ///
    /// # Errors
    /// [`LedgerError`]; of a ledger in quarantine [`LedgerError::Nonsense`].
    pub async fn look(&self, ledger: &dyn Ledger, operation: &Operation) -> Result<Status, LedgerError> {
        self.trusted(ledger.profile().id.clone(), ledger.status(operation, None)).await
    }

    /// Any look at a ledger, by the rules of [`Executor::look`].
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn trusted<T>(
        &self,
        ledger: LedgerId,
        look: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        if let Some(reason) = self.why_distrusted(&ledger) {
            return Err(LedgerError::Nonsense { ledger, reason });
        }
        let seen = look.await;
        if let Err(LedgerError::Nonsense { reason, .. }) = &seen {
            let mut mad = self.mad();
            let times = mad.entry(ledger.clone()).or_default();
            *times += 1;
            if *times >= NONSENSE_LIMIT {
                mad.remove(&ledger);
                drop(mad);
                self.distrust(&ledger, reason);
            }
        } else {
            self.mad().remove(&ledger);
        }
        seen
    }

    fn distrust(&self, ledger: &LedgerId, reason: &str) {
        let reason: String = reason.chars().take(MAX_REASON).collect();
        tracing::error!(%ledger, %reason, "in quarantine: it answers nonsense; look at it, then resume what waits for it");
        self.quarantine().insert(ledger.clone(), reason);
    }

    /// What comes of everything that is asked of a ledger in quarantine.
    fn distrusted(&self, ledger: &LedgerId) -> Option<Ended> {
        self.quarantined(ledger).map(|why| refused(&why))
    }

    /// That a ledger is in quarantine, and why, for people.
    #[must_use]
    pub fn quarantined(&self, ledger: &LedgerId) -> Option<String> {
        let reason = self.why_distrusted(ledger)?;
        Some(format!("ledger {ledger} is in quarantine, it answers nonsense: {reason}"))
    }

    fn why_distrusted(&self, ledger: &LedgerId) -> Option<String> {
        self.quarantine().get(ledger).cloned()
    }

    /// Takes a ledger out of quarantine: an operator has looked at it.
    pub fn trust(&self, ledger: &LedgerId) {
        self.quarantine().remove(ledger);
    }

    fn mad(&self) -> std::sync::MutexGuard<'_, BTreeMap<LedgerId, u32>> {
        self.mad.lock().expect("no holder of this lock panics")
    }

    fn quarantine(&self) -> std::sync::MutexGuard<'_, BTreeMap<LedgerId, String>> {
        self.quarantined.lock().expect("no holder of this lock panics")
    }

    /// Polls until the operation has ended, or nothing is seen of it for a while.
    async fn watch(
        &self,
        ledger: &dyn Ledger,
        operation: &Operation,
        intent: &Intent,
        pace: &mut Pace,
    ) -> Seen {
        let mut unseen = 0;
        while unseen < POLLS_PER_SUBMIT {
            match ledger.status(operation, Some(intent)).await {
                Ok(Status::Final(evidence)) => return Seen::Ended(Ended::Final(evidence)),
                Ok(Status::Refused { reason }) => return Seen::Ended(refused(&reason)),
                Ok(Status::Displaced { reason }) => return Seen::Displaced(reason),
                Ok(Status::Pending) => {
                    unseen = 0;
                    pace.poll().await;
                }
                Ok(Status::Absent) => {
                    unseen += 1;
                    pace.poll().await;
                }
                Err(error) => {
                    unseen += 1;
                    if let Some(ended) = self.retry(&error, pace).await {
                        return Seen::Ended(ended);
                    }
                }
            }
        }
        Seen::Nothing
    }
}

/// A ledger's words are journaled: no more of them than a person reads.
fn refused(reason: &str) -> Ended {
    Ended::Refused(reason.chars().take(MAX_REASON).collect())
}

/// Has the ledger adopt all of them, and tells when it has.
fn adopt_all(ledger: Arc<dyn Ledger>, intents: Vec<(String, Intent)>, clock: Clock) -> Adopting {
    let (done, adopting) = oneshot::channel();
    tokio::spawn(async move {
        let adopted = intents.into_iter().map(|(task, intent)| {
            let (ledger, pace) = (ledger.clone(), Pace::of(ledger.as_ref(), &clock));
            async move { adopt(ledger.as_ref(), &intent, &task, pace).await }
        });
        let all = stream::iter(adopted).buffered(ADOPTED_AT_ONCE);
        let at_once = all.fold(true, async |all, one| all && one).await;
        // Nobody listens once the node has stopped.
        let _ = done.send(at_once);
    });
    adopting.shared()
}

/// No later intent may take this one's nonce, so a ledger that is away is waited for.
/// Answers whether it was there at once.
async fn adopt(ledger: &dyn Ledger, intent: &Intent, task: &str, mut pace: Pace) -> bool {
    let mut at_once = true;
    loop {
        match ledger.adopt(intent).await {
            Ok(()) => return at_once,
            Err(error @ LedgerError::Transient { .. }) => {
                at_once = false;
                pace.back_off(&error).await;
            }
            Err(error) => {
                tracing::error!(%error, %task, "an intent of an earlier run is not adopted");
                return at_once;
            }
        }
    }
}
