//! The one who runs a member's instances: takes what waits as a batch, makes what changed durable in one commit, and only
//! then answers and sends (group commit).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use sofie_model::quorum::{Ask, Bundle, Effect, Input, Instance, MAX_WAIT, Said, Seat, Word};
use sofie_model::{Digest, Manifest, Timestamp, Txid, canonical};
use tokio::sync::oneshot;

use super::member::NotTaken;
use super::outbox::Outbox;
use super::store::{Row, Store, Stored};
use crate::Clock;

/// So many requests wait at most; more are told to come later.
pub(super) const MAX_QUEUE: usize = 1024;
/// So many requests share one commit at most.
const MAX_BATCH: usize = 256;
/// So many transactions are undecided at once; more are told to come later.
pub(super) const MAX_OPEN: usize = 4096;
/// How often the clock is looked at while something is undecided.
const LOOK: Duration = Duration::from_millis(50);
/// How long nothing is done while nothing is undecided: a request ends it.
const IDLE: Duration = Duration::from_secs(3600);

type Answer<T> = oneshot::Sender<Result<T, NotTaken>>;

pub(super) enum Request {
    /// Somebody asks for a decision.
    Ask { ask: Box<Ask>, nonce: Digest, answer: Answer<Word> },
    /// A member tells what it knows; to an answer to ours nothing is answered.
    Heard { bundle: Box<Bundle>, answer: Option<Answer<Bundle>> },
    /// Somebody asks how a transaction stands.
    Tell { txid: Txid, nonce: Digest, answer: Answer<Word> },
    /// No more.
    Stop,
}

pub(super) struct Worker {
    pub(super) seat: Arc<Seat>,
    pub(super) clock: Clock,
    pub(super) store: Store,
    /// One for each other member.
    pub(super) outboxes: Vec<Arc<Outbox>>,
    open: BTreeMap<Txid, Instance>,
    /// Why nothing leaves any more.
    halted: Option<String>,
}

/// What is done once the batch is durable.
#[derive(Default)]
struct Turn {
    rows: BTreeMap<Txid, Row>,
    bundles: BTreeMap<Txid, Bundle>,
    answers: Vec<Box<dyn FnOnce(Option<NotTaken>)>>,
}

impl Worker {
    /// Takes up what was undecided.
    ///
    /// # Errors
    /// What of the store cannot be read.
    pub(super) fn resume(
        seat: Arc<Seat>,
        clock: Clock,
        store: Store,
        outboxes: Vec<Arc<Outbox>>,
    ) -> Result<Self, String> {
        let undecided = store.undecided()?;
        let mut this = Self { seat, clock, store, outboxes, open: BTreeMap::new(), halted: None };
        for stored in undecided {
            let instance = this.restore(stored)?;
            this.open.insert(instance.manifest().txid(), instance);
        }
        Ok(this)
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let first = match requests.recv_timeout(self.pause()) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let rest = requests.try_iter().take(MAX_BATCH - 1);
            let mut turn = Turn::default();
            let mut stop = false;
            for request in first.into_iter().chain(rest).collect::<Vec<_>>() {
                stop |= matches!(request, Request::Stop);
                self.take(request, &mut turn);
            }
            self.tick(&mut turn);
            self.finish(turn);
            if stop {
                return;
            }
        }
    }

    fn pause(&self) -> Duration {
        if self.open.is_empty() || self.halted.is_some() {
            return IDLE;
        }
        let now = (self.clock)();
        let next = self.open.values().filter_map(Instance::wake).min();
        next.map_or(IDLE, |next| Duration::from(next.since(now)).min(LOOK))
    }

    fn take(&mut self, request: Request, turn: &mut Turn) {
        match request {
            Request::Ask { ask, nonce, answer } => {
                let word = self.asked(*ask, &nonce, turn);
                turn.answer(answer, word);
            }
            Request::Heard { bundle, answer } => {
                let heard = self.heard(bundle, turn);
                match (answer, heard) {
                    (Some(answer), heard) => turn.answer(answer, heard),
                    (None, Err(why)) => tracing::debug!(%why, "a member's answer is not taken"),
                    (None, Ok(_)) => {}
                }
            }
            Request::Tell { txid, nonce, answer } => {
                let word = self.word(txid, &nonce, None);
                turn.answer(answer, word);
            }
            Request::Stop => {}
        }
    }

    /// A refusal by the rules is an answer, too.
    fn asked(
        &mut self,
        Ask { manifest, candidate }: Ask,
        nonce: &Digest,
        turn: &mut Turn,
    ) -> Result<Word, NotTaken> {
        let txid = manifest.txid();
        match self.step(manifest, Input::Ask(candidate), turn) {
            Ok(_) => self.word(txid, nonce, None),
            Err(NotTaken::Refused(why)) => self.word(txid, nonce, Some(why)),
            Err(other) => Err(other),
        }
    }

    fn heard(&mut self, bundle: Box<Bundle>, turn: &mut Turn) -> Result<Bundle, NotTaken> {
        self.step(bundle.manifest.clone(), Input::Heard(bundle), turn)
    }

    /// Gives an input to the transaction's instance, which is begun if there is none; its bundle after that.
    fn step(&mut self, manifest: Manifest, input: Input, turn: &mut Turn) -> Result<Bundle, NotTaken> {
        self.may_go_on()?;
        let txid = manifest.txid();
        let known = match self.open.remove(&txid) {
            Some(instance) => Some(instance),
            None => self.load(txid)?,
        };
        let (is_new, mut instance) = match known {
            Some(instance) => (false, instance),
            None => (true, self.begin(manifest, &input)?),
        };
        if let Input::Heard(bundle) = &input
            && let Some(vote) = instance.foreign_vote(bundle)
        {
            return Err(self.halt(format!(
                "its key voted in round {} of {txid}, and this store knows nothing of it: the key runs elsewhere, or the \
                 store is an old copy; stop the other one, and found a group with a new key",
                vote.round
            )));
        }
        let done = instance.step(input, (self.clock)());
        let bundle = instance.bundle();
        let saves = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Save(_)));
        let begun = !is_new || done.as_ref().is_ok_and(|effects| saves(effects));
        if begun {
            self.open.insert(txid, instance);
        }
        let effects = done.map_err(|refused| NotTaken::Refused(refused.0))?;
        if begun {
            turn.keep(txid, &bundle.manifest, effects);
        }
        Ok(bundle)
    }

    fn begin(&self, manifest: Manifest, input: &Input) -> Result<Instance, NotTaken> {
        let says = |bundle: &Bundle| {
            let count = self.seat.group().members().len();
            let of_members = bundle.votes.iter().any(|vote| usize::from(vote.member) < count);
            of_members || bundle.proposal.is_some() || bundle.lock.is_some() || bundle.decided.is_some()
        };
        if matches!(input, Input::Heard(bundle) if !says(bundle)) {
            return Err(NotTaken::Refused("no member says anything in it".into()));
        }
        if self.open.len() >= MAX_OPEN {
            return Err(NotTaken::Busy(format!("{MAX_OPEN} transactions are undecided already")));
        }
        if self.store.is_full() {
            return Err(NotTaken::Busy("its store is full: found another group".into()));
        }
        let begun = Instance::open(Arc::clone(&self.seat), Arc::new(manifest), (self.clock)());
        begun.map_err(|refused| NotTaken::Refused(refused.0))
    }

    /// A transaction that was begun before and is not in memory.
    fn load(&self, txid: Txid) -> Result<Option<Instance>, NotTaken> {
        let stored = self.store.find(txid).map_err(NotTaken::Broken)?;
        stored.map(|stored| self.restore(stored)).transpose().map_err(NotTaken::Broken)
    }

    fn restore(&self, Stored { manifest, state }: Stored) -> Result<Instance, String> {
        let (seat, manifest, now) = (Arc::clone(&self.seat), Arc::new(manifest), (self.clock)());
        Instance::restore(seat, manifest, state, now).map_err(|refused| refused.0)
    }

    fn word(&self, txid: Txid, nonce: &Digest, refused: Option<String>) -> Result<Word, NotTaken> {
        self.may_go_on()?;
        let (commits, decided) = match self.open.get(&txid) {
            Some(one) => (one.knows_commit(), one.decided().cloned()),
            None => match self.load(txid)? {
                Some(one) => (one.knows_commit(), one.decided().cloned()),
                None => (false, None),
            },
        };
        let said = Said { at: (self.clock)(), commits, refused };
        Ok(self.seat.answer(txid, nonce, said, decided))
    }

    fn tick(&mut self, turn: &mut Turn) {
        if self.halted.is_some() {
            return;
        }
        let now = (self.clock)();
        for (txid, instance) in &mut self.open {
            let due = instance.wake().is_some_and(|wake| is_due(wake, now));
            if let Some(Ok(effects)) = due.then(|| instance.step(Input::Tick, now)) {
                turn.keep(*txid, instance.manifest(), effects);
            }
        }
    }

    fn may_go_on(&self) -> Result<(), NotTaken> {
        self.halted.clone().map_or(Ok(()), |why| Err(NotTaken::Broken(why)))
    }

    /// Nothing leaves any more, after a restart neither.
    fn halt(&mut self, why: String) -> NotTaken {
        tracing::error!(member = self.seat.member(), %why, "the member has halted and votes no more");
        if let Err(error) = self.store.halt(&why) {
            tracing::error!(%error, "that it has halted is not written: do not start it again");
        }
        self.halted = Some(why.clone());
        NotTaken::Broken(why)
    }

    fn finish(&mut self, turn: Turn) {
        let written = if turn.rows.is_empty() { Ok(()) } else { self.store.write(turn.rows.iter()) };
        if let Err(error) = written {
            let why = format!("its disk failed ({error}): restart the node once the disk is well");
            tracing::error!(member = self.seat.member(), %why, "the member votes no more");
            self.halted = Some(why);
        }
        if let Some(why) = &self.halted {
            turn.answers.into_iter().for_each(|answer| answer(Some(NotTaken::Broken(why.clone()))));
            return;
        }
        for txid in turn.rows.keys() {
            if self.open.get(txid).is_some_and(|one| one.decided().is_some()) {
                self.open.remove(txid);
            }
        }
        for (txid, bundle) in &turn.bundles {
            let bytes = Arc::new(canonical::encode(bundle));
            self.outboxes.iter().for_each(|outbox| outbox.put(*txid, &bytes));
        }
        turn.answers.into_iter().for_each(|answer| answer(None));
    }
}

impl Turn {
    fn keep(&mut self, txid: Txid, manifest: &Manifest, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Save(state) => {
                    let (decided, state) = (state.decided().is_some(), state.to_bytes());
                    self.rows.insert(txid, Row { manifest: canonical::encode(manifest), state, decided });
                }
                Effect::Send(bundle) => {
                    self.bundles.insert(txid, *bundle);
                }
            }
        }
    }

    fn answer<T: 'static>(&mut self, to: Answer<T>, with: Result<T, NotTaken>) {
        // Whoever has gone away asks again.
        self.answers.push(Box::new(move |instead| drop(to.send(instead.map_or(with, Err)))));
    }
}

/// Whether an instance wants to be called. One that asks for a time further ahead than any wait was made by a clock that
/// was set back since.
fn is_due(wake: Timestamp, now: Timestamp) -> bool {
    wake <= now || wake.since(now) > MAX_WAIT
}
