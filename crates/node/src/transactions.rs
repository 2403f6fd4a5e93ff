//! Runs inter-ledger transactions: what the room `transaction` wants done is done on the node's ledgers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sofie_ledgers::Status;
use sofie_model::{
    Account, Class, Digest, Finality, LedgerId, LegId, Manifest, Operation, Signature, Timestamp, Txid,
    canonical,
};
use sofie_transaction::{Effect, Input, Look, Phase, Plan, State, Task};
use tokio::sync::mpsc;

use crate::auditor::Note;
use crate::clock::Clock;
use crate::drive::{self, Actor, Asked, Droppable, Handle, Keeper, Leaving, Machine};
use crate::executor::{Ended, Executor, Key};
use crate::journal::{self, Entry, JournalError, Record};
use crate::restored::Restored;
use afterwards::Afterwards;
use waiting::Room;

mod afterwards;
mod asking;
mod forgetful;
mod notes;
pub(crate) mod presigned;
mod undone;
mod waiting;

/// Why a lock is not made again whose intent is not here.
const NOT_KEPT: &str = "what locked it is not kept here, and another lock could stand beside it (P4)";

/// Gives away the secrets of the participants whose keys this node holds.
pub trait Secrets: Send + Sync {
    /// The secret of participant `who` of the manifest; `None` when its key is not here.
    fn preimage(&self, state: &State, who: u16) -> Option<Digest>;

    /// `account`'s signature of an EIP-712 digest; `None` when its key is not here, as with one who keeps secrets only.
    fn sign(&self, account: Account, digest: Digest) -> Option<Signature> {
        let _ = (account, digest);
        None
    }
}

/// All transactions of a node. Clones share them.
#[derive(Clone)]
pub struct Transactions {
    executor: Executor,
    keeper: Keeper,
    secrets: Arc<dyn Secrets>,
    live: Arc<Mutex<HashMap<Txid, Handle<State>>>>,
    restored: Arc<Restored>,
    room: Arc<Mutex<Room>>,
    afterwards: Arc<Mutex<Afterwards>>,
    wants_presigned: bool,
}

impl std::fmt::Debug for Transactions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transactions").finish_non_exhaustive()
    }
}

impl Transactions {
    /// No transaction runs yet: [`Transactions::recover`] continues what the journal holds.
    #[must_use]
    pub fn new(executor: Executor, keeper: Keeper, secrets: Arc<dyn Secrets>) -> Self {
        Self {
            executor,
            keeper,
            secrets,
            live: Arc::default(),
            restored: Arc::default(),
            room: Arc::default(),
            afterwards: Arc::default(),
            wants_presigned: false,
        }
    }

    /// Those of a node that was put back from a backup: what `restored` holds is only followed and closed.
    #[must_use]
    pub fn after(self, restored: Restored) -> Self {
        Self { restored: Arc::new(restored), ..self }
    }

    /// Whether this began before the node was put back from a backup, and must only be followed and closed.
    pub(crate) fn is_restored(&self, id: Digest) -> bool {
        self.restored.holds(id)
    }

    /// Begins a transaction. `with` is journaled in the same write: what belongs together begins together.
    ///
    /// # Errors
    /// [`JournalError`]; then nothing has begun.
    pub async fn begin(
        &self,
        plan: Plan,
        mut with: Vec<Entry>,
        notes: Vec<Note>,
    ) -> Result<Handle<State>, JournalError> {
        let bytes = canonical::encode(&plan);
        let state = State::begin(plan);
        with.push(Entry::Begun { machine: State::KIND, id: state.id(), plan: bytes });
        self.keeper.auditor.keep(with, notes, self.clock().now()).await?;
        Ok(self.run(state, 0))
    }

    fn clock(&self) -> &Clock {
        self.executor.journal().clock()
    }

    /// Whether every ledger that the manifest names is there.
    pub(crate) fn has_ledgers_of(&self, manifest: &Manifest) -> Result<(), JournalError> {
        match ledgers_of(manifest).find(|ledger| !self.executor.ledgers().contains_key(*ledger)) {
            Some(ledger) => Err(JournalError::NoLedger { txid: manifest.txid(), ledger: ledger.clone() }),
            None => Ok(()),
        }
    }

    /// A transaction that has not ended yet. One that only waited is driven from now on.
    #[must_use]
    pub fn live(&self, id: Txid) -> Option<Handle<State>> {
        self.driven(id).or_else(|| self.or_stop(self.wake(id)).flatten())
    }

    /// One that has a drive.
    fn driven(&self, id: Txid) -> Option<Handle<State>> {
        self.live.lock().expect("no holder of this lock panics").get(&id).cloned()
    }

    /// Tells the node that the journal fails.
    pub(crate) fn or_stop<T>(&self, result: Result<T, JournalError>) -> Option<T> {
        // The node stops on the first; a full channel says that it already does.
        result.map_err(|error| self.keeper.fatal.try_send(error)).ok()
    }

    /// All that are driven.
    pub(crate) fn all_live(&self) -> Vec<Handle<State>> {
        self.live.lock().expect("no holder of this lock panics").values().cloned().collect()
    }

    /// A transaction's state, also long after its end.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn state(&self, id: Txid) -> Result<Option<Arc<State>>, JournalError> {
        if let Some(handle) = self.driven(id) {
            return Ok(Some(handle.state()));
        }
        let record = self.executor.journal().reader()?.machine(State::KIND, id.0)?;
        record.as_ref().map(|record| replay(record).map(Arc::new)).transpose()
    }

    /// The state of each that is driven. Those that only wait have time: see [`Transactions::waiting_until`].
    #[must_use]
    pub fn states(&self) -> Vec<Arc<State>> {
        self.live.lock().expect("no holder of this lock panics").values().map(Handle::state).collect()
    }

    /// Waits until every ledger has adopted what an earlier run intended. `false`: one was away meanwhile.
    pub async fn all_adopted(&self) -> bool {
        self.executor.all_adopted().await
    }

    /// How many have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.waiting() + self.live.lock().expect("no holder of this lock panics").len()
    }

    /// How many have halted: nothing is done for them until an operator looks.
    #[must_use]
    pub fn halted(&self) -> usize {
        self.states().iter().filter(|state| matches!(state.phase(), Phase::Halted { .. })).count()
    }

    /// The operator has looked: its ledgers are out of quarantine, and if it has halted it is driven on. Changes nothing else.
    ///
    /// # Errors
    /// Why it stays halted: its decision has changed.
    pub async fn resume(&self, id: Txid) -> Result<(), String> {
        let Some(handle) = self.live(id) else { return Ok(()) };
        let state = handle.state();
        ledgers_of(state.manifest()).for_each(|ledger| self.executor.trust(ledger));
        match state.phase() {
            Phase::Halted { .. } => handle.give(Input::Resumed).await,
            _ => Ok(()),
        }
    }

    /// That a ledger which it needs is in quarantine.
    pub(crate) fn quarantined(&self, state: &State) -> Option<String> {
        ledgers_of(state.manifest()).find_map(|ledger| self.executor.quarantined(ledger))
    }

    fn run(&self, state: State, seq: u64) -> Handle<State> {
        let txid = state.txid();
        let (all, manifest) = (self.clone(), state.manifest().clone());
        // The lock is held until the handle stands in the map: the drive may end at once.
        let mut running = self.live.lock().expect("no holder of this lock panics");
        // Two drives of one machine would write the same place in the journal.
        if let Some(handle) = running.get(&txid) {
            return handle.clone();
        }
        let handle = drive::start(state, seq, self.clone(), self.keeper.clone(), move || {
            all.live.lock().expect("no holder of this lock panics").remove(&txid);
            all.look_later(txid, &manifest);
        });
        running.insert(txid, handle.clone());
        handle
    }
}

/// Every ledger that it needs; one of several legs more than once.
fn ledgers_of(manifest: &Manifest) -> impl Iterator<Item = &LedgerId> {
    manifest.legs.iter().map(|leg| &leg.ledger).chain([&manifest.decision.ledger])
}

/// The state that a journaled transaction is in.
///
/// # Errors
/// [`JournalError::Corrupt`] when its plan or an input does not decode or does not fit.
pub fn replay(record: &Record) -> Result<State, JournalError> {
    drive::replay(State::begin(drive::plan::<Plan>(record)?), record)
}

/// Names an effect that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// An operation on a ledger.
    Task(Task),
    /// A participant's release.
    Release(u16),
    /// A participant's signature under ABORT.
    Renounce(u16),
    /// The guard's signature under a late COMMIT.
    Permit,
    /// Another's lock.
    Await(LegId),
    /// What others do.
    Observe(Look),
    /// A timer.
    Wake(Timestamp),
    /// What the operator is told.
    Alarm,
}

impl Machine for State {
    const KIND: journal::Machine = journal::Machine::Transaction;
    type Input = Input;
    type Effect = Effect;
    type Name = Name;

    fn id(&self) -> Digest {
        self.txid().0
    }

    fn next(self, input: &Input, now: Timestamp) -> Result<Self, String> {
        Self::next(self, input, now).map_err(|rejected| rejected.to_string())
    }

    fn effects(&self) -> Vec<Effect> {
        Self::effects(self)
    }

    fn name(effect: &Effect) -> Option<Name> {
        match effect {
            Effect::Operate { task, .. } => Some(Name::Task(*task)),
            Effect::Release(who) => Some(Name::Release(*who)),
            Effect::Renounce(who) => Some(Name::Renounce(*who)),
            Effect::Permit { .. } => Some(Name::Permit),
            Effect::Await(leg) => Some(Name::Await(*leg)),
            Effect::Observe(look) => Some(Name::Observe(*look)),
            Effect::Wake(at) => Some(Name::Wake(*at)),
            Effect::Alarm(_) => Some(Name::Alarm),
        }
    }

    fn droppable(name: &Name) -> Droppable {
        // What an answer gives away, a secret or a signature, is shown to nobody until the answer is taken.
        if matches!(name, Name::Task(_)) { Droppable::Home } else { Droppable::Always }
    }

    fn ended(&self) -> bool {
        matches!(self.phase(), Phase::Done(_))
    }

    fn notes(before: &Self, input: &Input, after: &Self) -> Vec<Note> {
        notes::notes(before, input, after)
    }
}

impl Actor<State> for Transactions {
    async fn run(
        &self,
        state: Arc<State>,
        effect: Effect,
        _: mpsc::Sender<Asked<Input>>,
        leaving: Leaving,
    ) -> Result<Input, JournalError> {
        if self.is_restored(state.id())
            && let Some(input) = forgetful::answer(self, &effect).await
        {
            return Ok(input);
        }
        match effect {
            Effect::Operate { task, ledger, operation } => {
                if let Some(kept) = self.keeps_last_secret(&state, task)? {
                    return Ok(kept);
                }
                self.operate(&state, task, &ledger, &operation, &leaving).await
            }
            Effect::Release(who) => asking::release(self, &state, who).await,
            Effect::Renounce(who) => Ok(asking::renounce(self, &state, who)),
            Effect::Permit { included, evidence_root } => {
                Ok(asking::permit(self, &state, included, evidence_root).await)
            }
            Effect::Await(leg) => Ok(asking::await_lock(self, &state, leg).await),
            Effect::Observe(look) => Ok(asking::observe(self, &state, look).await),
            Effect::Wake(at) => {
                self.clock().until(at).await;
                Ok(Input::Woken)
            }
            Effect::Alarm(reason) => {
                tracing::error!(
                    transaction = %state.txid(), %reason, next = to_do(&state),
                    "a transaction has halted, and waits for its operator"
                );
                // Once until it is driven on, and after each start.
                std::future::pending().await
            }
        }
    }

    /// Where nothing is ever undone, nobody prepares a second time.
    fn besides(&self, state: &State, input: &Input) -> Option<Entry> {
        let Input::Prepared(leg, evidence) = input else { return None };
        let ledger = self.executor.ledgers().get(&evidence.ledger)?;
        let instant = ledger.profile().finality == Finality::Instant;
        instant.then(|| Entry::Spent { id: state.id(), task: task_name(Task::Prepare(*leg)) })
    }
}

impl Transactions {
    /// A crash may lie between the release and COMMIT: the secret stays here then, unless COMMIT may have left already.
    fn keeps_last_secret(&self, state: &State, task: Task) -> Result<Option<Input>, JournalError> {
        let Some(who) = state.claimant().filter(|_| task == Task::Decide(true) && state.commit_releases())
        else {
            return Ok(None);
        };
        let key = Key { id: state.id(), task: task_name(task) };
        if !asking::too_late(self, state) || self.executor.has_begun(&key)? {
            return Ok(None);
        }
        let why = "it would be published too late for COMMIT to be final before the deadline";
        Ok(Some(Input::Withheld(who, why.to_owned())))
    }

    /// What only the key of one party can do at a hashlock is refused without it. That party does it on another node,
    /// so what becomes of the lock is looked for until it is seen, or ruled out for good.
    async fn operate(
        &self,
        state: &State,
        task: Task,
        ledger: &LedgerId,
        operation: &Operation,
        leaving: &Leaving,
    ) -> Result<Input, JournalError> {
        let key = Key { id: state.id(), task: task_name(task) };
        // P4: after COMMIT only what locked it before.
        if let Some(leg) = undone::relocks(state, task)
            && !self.executor.has_begun(&key)?
        {
            return Ok(forgetful::find(self, leg, ledger, operation, NOT_KEPT).await);
        }
        loop {
            let operated = self.executor.operate_if_wanted(key.clone(), ledger, operation, leaving);
            let ended = match closes_hashlock(state, task) {
                true => tokio::select! {
                    ended = operated => ended?,
                    error = self.bring_presigned(state, task) => return Err(error),
                    undone = undone::await_gone(self, state, task, operation) => return Ok(undone),
                },
                false => operated.await?,
            };
            let (Ended::Refused(_), Some(place)) = (&ended, self.executor.ledgers().get(ledger)) else {
                return Ok(answer(task, ended));
            };
            if !closes_hashlock(state, task) {
                let undone = undone::refused_for_no_lock(self, state, task, operation).await;
                if let Some(undone) = undone {
                    return Ok(undone);
                }
                return Ok(answer(task, self.outrun(state, task, place.as_ref(), operation, ended).await));
            }
            if ruled_out(place.as_ref(), operation).await {
                return Ok(answer(task, ended));
            }
            self.clock().sleep(place.profile().poll.into()).await;
        }
    }
}

impl Transactions {
    /// Another node may do the same at the same time: what it has sent is refused to us before the ledger shows it. So
    /// where another node takes part, a refusal is believed once nothing has come of that for as long as the ledger may
    /// take.
    async fn outrun(
        &self,
        state: &State,
        task: Task,
        ledger: &dyn sofie_ledgers::Ledger,
        operation: &Operation,
        ended: Ended,
    ) -> Ended {
        let alone = state.acts_for().len() == state.manifest().participants.len();
        // P5 leaves no time for that before the claim, which agrees with another's COMMIT, too.
        let claims = task == Task::Decide(true) && state.must_claim();
        if alone || claims || matches!(task, Task::Prepare(_)) {
            return ended;
        }
        let profile = ledger.profile();
        let until = self.clock().now() + profile.inclusion + profile.finalises;
        loop {
            match ledger.status(operation, None).await {
                Ok(Status::Final(evidence)) => return Ended::Final(evidence),
                Ok(Status::Pending) => {}
                _ if self.clock().now() >= until => return ended,
                _ => {}
            }
            self.clock().sleep(profile.poll.into()).await;
        }
    }
}

/// What the operator of a transaction that has halted does next.
pub(crate) fn to_do(state: &State) -> &'static str {
    if state.is_broken() {
        "nothing by itself, and nothing drives it on: compare its ledgers with the audit log, and settle it between its parties"
    } else {
        "nothing by itself: the operator must look at its ledgers, then `sofie tx resume`"
    }
}

fn closes_hashlock(state: &State, task: Task) -> bool {
    let (Task::Apply(leg) | Task::Revert(leg)) = task else { return false };
    state.manifest().leg(leg).is_some_and(|leg| leg.class == Class::Hashlock)
}

async fn ruled_out(ledger: &dyn sofie_ledgers::Ledger, operation: &Operation) -> bool {
    matches!(ledger.status(operation, None).await, Ok(Status::Refused { .. }))
}

fn task_name(task: Task) -> String {
    match task {
        Task::Prepare(leg) => format!("prepare {}", leg.0),
        Task::Decide(true) => "commit".into(),
        Task::Decide(false) => "abort".into(),
        Task::Apply(leg) => format!("apply {}", leg.0),
        Task::Revert(leg) => format!("revert {}", leg.0),
    }
}

fn answer(task: Task, ended: Ended) -> Input {
    match (task, ended) {
        (Task::Prepare(leg), Ended::Final(evidence)) => Input::Prepared(leg, evidence),
        (Task::Prepare(leg), Ended::Refused(reason)) => Input::PrepareRefused(leg, reason),
        (Task::Decide(_), Ended::Final(evidence)) => Input::Decided(evidence),
        (Task::Decide(_), Ended::Refused(reason)) => Input::DecideRefused(reason),
        (Task::Apply(leg) | Task::Revert(leg), Ended::Final(evidence)) => Input::Closed(leg, evidence),
        (Task::Apply(leg), Ended::Refused(reason)) => Input::CloseRefused(leg, reason),
        (Task::Revert(leg), Ended::Refused(reason)) => Input::RevertRefused(leg, reason),
    }
}
