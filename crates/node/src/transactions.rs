//! Runs inter-ledger transactions: one task a transaction feeds its state machine with what the ledgers answer.
//! Each input is journaled before the state moves, and the state moves before the next effect runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sofie_ledgers::Status;
use sofie_model::{Digest, Evidence, Fact, Finality, LegId, Operation, Step, Timestamp, Txid, canonical};
use sofie_transaction::{Effect, Input, Phase, Plan, State, Task};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::auditor::{Auditor, Note};
use crate::clock;
use crate::executor::{Ended, Executor, Key};
use crate::journal::{Entry, JournalError, Machine, Record};

/// Asked inputs that wait for one transaction.
const QUEUE: usize = 16;
/// A manifest of 64 legs with its inputs stays far below.
pub(crate) const MAX_PLAN: usize = 64 * 1024;

/// Gives away the secrets of the participants whose keys this node holds.
pub trait Secrets: Send + Sync {
    /// The secret of participant `who` of the plan's manifest.
    fn preimage(&self, plan: &Plan, who: u16) -> Option<Digest>;
}

/// A running or ended transaction: its newest state, and a way to speak to it.
#[derive(Debug, Clone)]
pub struct Handle {
    state: watch::Receiver<State>,
    inputs: mpsc::Sender<Input>,
}

impl Handle {
    /// The newest state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until `wanted` holds of the state; `None` when the node stops before.
    pub async fn until(&mut self, wanted: impl FnMut(&State) -> bool) -> Option<State> {
        self.state.wait_for(wanted).await.ok().map(|state| state.clone())
    }

    /// Has a participant of this node withdraw: the transaction aborts unless it is decided already.
    pub async fn withdraw(&self, who: u16, reason: String) {
        // A transaction that has ended takes no input, and needs none.
        let _ = self.inputs.send(Input::Withheld(who, reason)).await;
    }
}

/// All transactions of a node. Clones share them.
#[derive(Clone)]
pub struct Transactions {
    executor: Executor,
    auditor: Auditor,
    secrets: Arc<dyn Secrets>,
    live: Arc<Mutex<HashMap<Txid, Handle>>>,
    fatal: mpsc::Sender<JournalError>,
}

impl std::fmt::Debug for Transactions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transactions").finish_non_exhaustive()
    }
}

impl Transactions {
    /// `fatal` is told when the journal fails: then the node must stop.
    #[must_use]
    pub fn new(
        executor: Executor,
        auditor: Auditor,
        secrets: Arc<dyn Secrets>,
        fatal: mpsc::Sender<JournalError>,
    ) -> Self {
        Self { executor, auditor, secrets, live: Arc::default(), fatal }
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
    ) -> Result<Handle, JournalError> {
        let state = State::begin(plan.clone());
        let id = state.txid().0;
        with.push(Entry::Begun { machine: Machine::Transaction, id, plan: canonical::encode(&plan) });
        self.auditor.keep(with, notes, clock::now()).await?;
        Ok(self.run(plan, state, 0))
    }

    /// Continues what the journal holds unfinished.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read or replayed.
    pub fn recover(&self) -> Result<Vec<Handle>, JournalError> {
        let reader = self.executor.journal().reader()?;
        let records = reader.machines(Machine::Transaction, false)?;
        records
            .into_iter()
            .map(|record| {
                let count = record.inputs.len() as u64;
                let (plan, state) = replay(&record)?;
                Ok(self.run(plan, state, count))
            })
            .collect()
    }

    /// A transaction that runs now, or ran since the node started.
    #[must_use]
    pub fn live(&self, id: Txid) -> Option<Handle> {
        self.live.lock().expect("no holder of this lock panics").get(&id).cloned()
    }

    fn run(&self, plan: Plan, state: State, seq: u64) -> Handle {
        let txid = state.txid();
        let (seen, watched) = watch::channel(state.clone());
        let (inputs, asked) = mpsc::channel(QUEUE);
        let handle = Handle { state: watched, inputs };
        self.live.lock().expect("no holder of this lock panics").insert(txid, handle.clone());
        let run = Run { all: self.clone(), plan, seq, running: BTreeMap::new(), work: JoinSet::new() };
        tokio::spawn(run.drive(state, seen, asked));
        handle
    }
}

/// The state that a journaled transaction is in.
///
/// # Errors
/// [`JournalError::Corrupt`] when its plan or an input does not decode or does not fit.
pub fn replay(record: &Record) -> Result<(Plan, State), JournalError> {
    let corrupt = |what: String| JournalError::Corrupt { path: "journal".into(), what };
    let plan: Plan = canonical::decode(&record.plan, MAX_PLAN).map_err(|e| corrupt(e.to_string()))?;
    let mut state = State::begin(plan.clone());
    for (bytes, at) in &record.inputs {
        let input: Input = canonical::decode(bytes, MAX_PLAN).map_err(|e| corrupt(e.to_string()))?;
        state = state.next(&input, *at).map_err(|e| corrupt(e.to_string()))?;
    }
    Ok((plan, state))
}

/// What a spawned effect answers: its name, and the input.
type Answer = Result<(Name, Input), JournalError>;

/// Names an effect that runs, so that it does not run twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Task(Task),
    Release(u16),
    Wake(Timestamp),
}

struct Run {
    all: Transactions,
    plan: Plan,
    seq: u64,
    running: BTreeMap<Name, tokio::task::AbortHandle>,
    work: JoinSet<Answer>,
}

impl Run {
    async fn drive(mut self, mut state: State, seen: watch::Sender<State>, mut asked: mpsc::Receiver<Input>) {
        loop {
            self.start_effects(&state);
            if matches!(state.phase(), Phase::Done(_) | Phase::Halted { .. }) {
                break;
            }
            let answer = tokio::select! {
                Some(input) = asked.recv() => Ok((None, input)),
                Some(done) = self.work.join_next() => match done {
                    Ok(answer) => answer.map(|(name, input)| (Some(name), input)),
                    // Cancelled by us, because the state no longer wants it.
                    Err(_) => continue,
                },
            };
            let moved = match answer {
                Ok((name, input)) => {
                    if let Some(name) = name {
                        self.running.remove(&name);
                    }
                    self.take(state.clone(), input).await
                }
                Err(error) => Err(error),
            };
            match moved {
                Ok(next) => state = next,
                Err(error) => {
                    // The node stops on the first; a full channel says that it already does.
                    let _ = self.all.fatal.try_send(error);
                    return;
                }
            }
            seen.send_replace(state.clone());
        }
        // From here on the journal answers for it.
        self.all.live.lock().expect("no holder of this lock panics").remove(&state.txid());
    }

    /// Journals the input with the audit records that it makes, then moves the state.
    async fn take(&mut self, state: State, input: Input) -> Result<State, JournalError> {
        let now = clock::now();
        let id = state.txid().0;
        let before = state.clone();
        let next = match state.next(&input, now) {
            Ok(next) => next,
            Err(rejected) => {
                let note = Note::about(id, "rejected", false, rejected.to_string());
                self.all.auditor.keep(Vec::new(), vec![note], now).await?;
                return Ok(before);
            }
        };
        let bytes = canonical::encode(&input);
        let mut entries =
            vec![Entry::Input { machine: Machine::Transaction, id, seq: self.seq, input: bytes }];
        if matches!(next.phase(), Phase::Done(_)) {
            entries.push(Entry::Ended { machine: Machine::Transaction, id });
        }
        self.all.auditor.keep(entries, notes(&before, &input, &next), now).await?;
        self.seq += 1;
        Ok(next)
    }

    fn start_effects(&mut self, state: &State) {
        let wanted = state.effects();
        let names: Vec<_> = wanted.iter().filter_map(name).collect();
        // Only timers are cancelled: an operation that may have been submitted is followed to its end.
        self.running.retain(|name, running| {
            let keep = names.contains(name) || !matches!(name, Name::Wake(_));
            if !keep {
                running.abort();
            }
            keep
        });
        for effect in wanted {
            let Some(name) = name(&effect) else {
                if let Effect::Alarm(reason) = &effect {
                    tracing::error!(txid = %state.txid(), %reason, "transaction halted");
                }
                continue;
            };
            if !self.running.contains_key(&name) {
                let running =
                    self.work.spawn(run_effect(self.all.clone(), self.plan.clone(), state.clone(), effect));
                self.running.insert(name, running);
            }
        }
    }
}

fn name(effect: &Effect) -> Option<Name> {
    match effect {
        Effect::Operate { task, .. } => Some(Name::Task(*task)),
        Effect::Release(who) => Some(Name::Release(*who)),
        Effect::Wake(at) => Some(Name::Wake(*at)),
        Effect::Alarm(_) => None,
    }
}

async fn run_effect(all: Transactions, plan: Plan, state: State, effect: Effect) -> Answer {
    match effect {
        Effect::Operate { task, ledger, operation } => {
            let key = Key { id: state.txid().0, task: task_name(task) };
            let ended = all.executor.operate(key, &ledger, &operation).await?;
            Ok((Name::Task(task), answer(task, ended)))
        }
        Effect::Release(who) => Ok((Name::Release(who), release(&all, &plan, &state, who).await)),
        Effect::Wake(at) => {
            tokio::time::sleep(Duration::from(at.since(clock::now()))).await;
            Ok((Name::Wake(at), Input::Woken))
        }
        Effect::Alarm(_) => std::future::pending().await,
    }
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
        (Task::Apply(leg) | Task::Revert(leg), Ended::Refused(reason)) => Input::CloseRefused(leg, reason),
    }
}

/// A participant verifies by itself that every prepare still stands before it gives its secret away (P2).
async fn release(all: &Transactions, plan: &Plan, state: &State, who: u16) -> Input {
    for (leg, evidence) in state.prepared() {
        if let Err(reason) = still_stands(all, state, leg, evidence).await {
            return Input::Withheld(who, reason);
        }
    }
    match all.secrets.preimage(plan, who) {
        Some(preimage) => Input::Released(who, preimage),
        None => Input::Withheld(who, "its key is not on this node".into()),
    }
}

async fn still_stands(
    all: &Transactions,
    state: &State,
    leg: LegId,
    evidence: &Evidence,
) -> Result<(), String> {
    let Some(ledger) = all.executor.ledgers().get(&evidence.ledger) else {
        return Err(format!("this node has no ledger {}", evidence.ledger));
    };
    // Nothing is ever undone there, and the evidence came from there.
    if ledger.profile().finality == Finality::Instant {
        return Ok(());
    }
    let operation = Operation::Leg { manifest: state.manifest().clone(), leg, step: Step::Prepare };
    match ledger.status(&operation, None).await {
        Ok(Status::Final(seen)) if seen.fact == evidence.fact => Ok(()),
        Ok(other) => Err(format!("{leg} on {} is no longer prepared: {other:?}", evidence.ledger)),
        Err(error) => Err(error.to_string()),
    }
}

/// The audit records that an input makes.
fn notes(before: &State, input: &Input, next: &State) -> Vec<Note> {
    let id = before.txid().0;
    let on = |kind, evidence: &Evidence| Note::on_ledger(id, kind, evidence);
    let ledger_of = |leg: &LegId| before.manifest().leg(*leg).map(|leg| leg.ledger.clone());
    match input {
        Input::Prepared(_, evidence) => vec![on("prepared", evidence)],
        Input::PrepareRefused(leg, reason) => {
            let note = Note::about(id, "prepare-refused", false, reason.clone());
            vec![Note { ledger: ledger_of(leg), ..note }]
        }
        Input::Released(who, _) => vec![Note::about(id, "released", true, format!("participant {who}"))],
        Input::Withheld(who, reason) => {
            vec![Note::about(id, "withheld", false, format!("participant {who}: {reason}"))]
        }
        Input::Decided(evidence) if before.decided().is_none() => {
            let verdict = match &evidence.fact {
                Fact::Decided(_, sofie_model::Decision::Commit { .. }) => "COMMIT",
                _ => "ABORT",
            };
            let note = on("decided", evidence);
            vec![Note { detail: format!("{verdict}, {}", note.detail), ..note }]
        }
        Input::DecideRefused(reason) => vec![Note::about(id, "decide-refused", false, reason.clone())],
        Input::Closed(_, evidence) => {
            let kind = if matches!(evidence.fact, Fact::Applied(..)) { "applied" } else { "reverted" };
            vec![on(kind, evidence)]
        }
        Input::CloseRefused(leg, reason) => {
            let note = Note::about(id, "close-refused", false, reason.clone());
            vec![Note { ledger: ledger_of(leg), ..note }]
        }
        Input::Woken | Input::Decided(_) => match (before.phase(), next.phase()) {
            (Phase::Aborting { .. }, _) => Vec::new(),
            (_, Phase::Aborting { reason }) => vec![Note::about(id, "deadline", false, reason.clone())],
            _ => Vec::new(),
        },
    }
}

/// The nonce-bound secret of a participant: derived, not stored, so that a restart finds it again.
#[must_use]
pub fn derive_preimage(key: &[u8; 32], nonce: Digest) -> Digest {
    Digest::of("sofie.preimage.v1", &[key, nonce.as_bytes()])
}
