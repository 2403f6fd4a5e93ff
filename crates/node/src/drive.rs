//! Drives a pure state machine: an input is journaled before the state moves, and the state moves before the next
//! effect runs. One task a machine; its effects run beside each other, each at most once at a time. Answers that are ready
//! together are kept in one write, each as an input of its own, in the order in which they were taken.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use minicbor::{Decode, Encode};
use sofie_model::{Digest, Timestamp, canonical};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{self, AbortHandle, JoinError, JoinSet};

use crate::auditor::{Auditor, Note};
use crate::journal::{self, Entry, JournalError, Record};

mod leaving;

pub use leaving::Leaving;

/// Inputs that wait for one machine, besides the answers to its own effects.
const QUEUE: usize = 16;
/// At most so many inputs of one machine are kept in one write.
const BATCH: usize = 16;
/// The longest wait before an effect whose answers are no use is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The longest journaled plan or input.
const MAX_BYTES: usize = 256 * 1024;

/// A pure machine that can be journaled and driven.
pub trait Machine: Clone + Send + Sync + 'static {
    /// Its kind in the journal.
    const KIND: journal::Machine;
    /// What happens to it.
    type Input: Encode<()> + for<'b> Decode<'b, ()> + Send + Sync;
    /// What it wants done.
    type Effect: Send;
    /// Names an effect, so that it does not run twice.
    type Name: Ord + Clone + Send;

    /// Its id in the journal.
    fn id(&self) -> Digest;
    /// The next state, or why the input is refused.
    ///
    /// # Errors
    /// The machine's own words.
    fn next(self, input: &Self::Input, now: Timestamp) -> Result<Self, String>;
    /// What is outstanding.
    fn effects(&self) -> Vec<Self::Effect>;
    /// The effect's name; `None` for what needs no answer.
    fn name(effect: &Self::Effect) -> Option<Self::Name>;
    /// Until when an effect that is no longer wanted may be dropped while it runs.
    fn droppable(name: &Self::Name) -> Droppable;
    /// Whether nothing will ever happen to it any more.
    fn ended(&self) -> bool;
    /// The audit records of a step.
    fn notes(before: &Self, input: &Self::Input, after: &Self) -> Vec<Note>;
}

/// Until when an effect that is no longer wanted may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Droppable {
    /// As long as it runs; its answer too.
    Always,
    /// Until it leaves the node, as its actor tells by [`Leaving`]. Then it is followed to its end.
    Home,
    /// It may have left once it runs.
    Never,
}

/// Runs a machine's effects.
pub trait Actor<M: Machine>: Clone + Send + Sync + 'static {
    /// Does what the effect asks and returns the input that answers it. Of one that is [`Droppable::Home`] it says by
    /// `leaving` when it leaves.
    fn run(
        &self,
        machine: Arc<M>,
        effect: M::Effect,
        inputs: mpsc::Sender<Asked<M::Input>>,
        leaving: Leaving,
    ) -> impl Future<Output = Result<M::Input, JournalError>> + Send;

    /// What else is kept in the write that takes `input`.
    fn besides(&self, machine: &M, input: &M::Input) -> Option<Entry> {
        let _ = (machine, input);
        None
    }
}

/// An input from outside the machine's own effects, and who wants to know when it is durable.
#[derive(Debug)]
pub struct Asked<I> {
    /// What happened.
    pub input: I,
    /// Told `Ok` once the state has moved, `Err` with the machine's words when it refuses.
    pub taken: Option<Taken>,
}

/// Tells whoever gave an input what became of it.
pub type Taken = oneshot::Sender<Result<(), String>>;

/// A running or just ended machine: its newest state, and a way to speak to it.
#[derive(Debug)]
pub struct Handle<M: Machine> {
    state: watch::Receiver<Arc<M>>,
    inputs: mpsc::Sender<Asked<M::Input>>,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), inputs: self.inputs.clone() }
    }
}

impl<M: Machine> Handle<M> {
    /// The newest state.
    #[must_use]
    pub fn state(&self) -> Arc<M> {
        self.state.borrow().clone()
    }

    /// Waits until `wanted` holds of the state; `None` when the node stops before.
    pub async fn until(&mut self, mut wanted: impl FnMut(&M) -> bool) -> Option<Arc<M>> {
        self.state.wait_for(|state| wanted(state)).await.ok().map(|state| state.clone())
    }

    /// Gives an input and waits until it is journaled.
    ///
    /// # Errors
    /// The machine's words when it refuses; that it has ended.
    pub async fn give(&self, input: M::Input) -> Result<(), String> {
        let ended = || "it has ended".to_owned();
        let (taken, answer) = oneshot::channel();
        self.inputs.send(Asked { input, taken: Some(taken) }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

/// What drives need of the node.
#[derive(Debug, Clone)]
pub struct Keeper {
    /// Keeps inputs and audit records.
    pub auditor: Auditor,
    /// Told when the journal fails: then the node must stop.
    pub fatal: mpsc::Sender<JournalError>,
}

/// Starts to drive `machine`, whose journal holds `seq` inputs. `at_end` runs once nothing more can happen.
pub fn start<M: Machine, A: Actor<M>>(
    machine: M,
    seq: u64,
    actor: A,
    keeper: Keeper,
    at_end: impl FnOnce() + Send + 'static,
) -> Handle<M> {
    let machine = Arc::new(machine);
    let (seen, state) = watch::channel(machine.clone());
    let (inputs, asked) = mpsc::channel(QUEUE);
    let handle = Handle { state, inputs: inputs.clone() };
    let drive = Drive {
        actor,
        keeper,
        seq,
        inputs,
        running: BTreeMap::new(),
        failed: BTreeMap::new(),
        work: JoinSet::new(),
    };
    tokio::spawn(async move {
        drive.run(machine, seen, asked).await;
        at_end();
    });
    handle
}

/// The state that a journaled machine is in.
///
/// # Errors
/// [`JournalError::Corrupt`] when an input does not decode or does not fit.
pub fn replay<M: Machine>(begun: M, record: &Record) -> Result<M, JournalError> {
    let inputs = inputs::<M::Input>(record)?;
    inputs.iter().try_fold(begun, |state, (input, at)| state.next(input, *at).map_err(|e| record.corrupt(e)))
}

/// The inputs of a journaled machine, and when each came.
///
/// # Errors
/// [`JournalError::Corrupt`] when one does not decode.
pub fn inputs<I: for<'b> Decode<'b, ()> + Encode<()>>(
    record: &Record,
) -> Result<Vec<(I, Timestamp)>, JournalError> {
    let decode = |(bytes, at): &(Vec<u8>, Timestamp)| {
        Ok((canonical::decode(bytes, MAX_BYTES).map_err(|e| record.corrupt(e))?, *at))
    };
    record.inputs.iter().map(decode).collect()
}

/// Reads a journaled plan.
///
/// # Errors
/// [`JournalError::Corrupt`].
pub fn plan<P: Encode<()> + for<'b> Decode<'b, ()>>(record: &Record) -> Result<P, JournalError> {
    canonical::decode(&record.plan, MAX_BYTES).map_err(|e| record.corrupt(e))
}

type Answer<M> = Result<(<M as Machine>::Name, <M as Machine>::Input), JournalError>;

struct Drive<M: Machine, A> {
    actor: A,
    keeper: Keeper,
    seq: u64,
    inputs: mpsc::Sender<Asked<M::Input>>,
    running: BTreeMap<M::Name, Running>,
    /// Effects whose last answer was no use, and how often in a row: they are tried again after a pause.
    failed: BTreeMap<M::Name, u32>,
    work: JoinSet<Answer<M>>,
}

/// A running effect.
struct Running {
    task: AbortHandle,
    leaving: Leaving,
}

/// An input that waits to be taken.
struct Event<M: Machine> {
    input: M::Input,
    /// Of the effect that it answers.
    name: Option<M::Name>,
    taken: Option<Taken>,
}

impl<M: Machine> Event<M> {
    fn asked(Asked { input, taken }: Asked<M::Input>) -> Self {
        Self { input, name: None, taken }
    }
}

/// What is kept in one write, and who is told afterwards.
struct Step<M> {
    /// Once all of it is taken.
    state: Arc<M>,
    entries: Vec<Entry>,
    notes: Vec<Note>,
    told: Vec<(Taken, Result<(), String>)>,
    now: Timestamp,
}

impl<M: Machine, A: Actor<M>> Drive<M, A> {
    async fn run(
        mut self,
        mut state: Arc<M>,
        seen: watch::Sender<Arc<M>>,
        mut asked: mpsc::Receiver<Asked<M::Input>>,
    ) {
        let mut wanted = state.effects();
        loop {
            self.start_effects(&state, wanted);
            // One that has halted stays: an operator's word, or another's deed, can still move it.
            if state.ended() {
                return;
            }
            let step = match self.ready(&mut asked).await {
                Ok(events) => self.take(&state, events),
                Err(error) => return self.stop(error),
            };
            // Before it is kept: nothing leaves after it that it no longer wants.
            wanted = step.state.effects();
            self.drop_unwanted(&wanted);
            let Step { state: next, entries, notes, told, now } = step;
            if (!entries.is_empty() || !notes.is_empty())
                && let Err(error) = self.keeper.auditor.keep(entries, notes, now).await
            {
                return self.stop(error);
            }
            if !Arc::ptr_eq(&state, &next) {
                state = next;
                seen.send_replace(state.clone());
            }
            for (taken, answer) in told {
                // Who no longer waits does not need to know.
                let _ = taken.send(answer);
            }
        }
    }

    /// Waits until something has happened, and takes what else is ready by then, at most [`BATCH`] in all.
    async fn ready(
        &mut self,
        asked: &mut mpsc::Receiver<Asked<M::Input>>,
    ) -> Result<Vec<Event<M>>, JournalError> {
        // In this order: the same answers in the same order are the same run.
        let mut events: Vec<_> = tokio::select! {
            biased;
            Some(done) = self.work.join_next_with_id() => self.done(done)?.into_iter().collect(),
            Some(asked) = asked.recv() => vec![Event::asked(asked)],
        };
        // What began together ends together, if it gets its turn now.
        task::yield_now().await;
        while events.len() < BATCH
            && let Some(done) = self.work.try_join_next_with_id()
        {
            events.extend(self.done(done)?);
        }
        while events.len() < BATCH
            && let Ok(asked) = asked.try_recv()
        {
            events.push(Event::asked(asked));
        }
        Ok(events)
    }

    /// An effect has ended. Only one that still stands in `running` counts: another was dropped, and may run anew.
    fn done(
        &mut self,
        done: Result<(task::Id, Answer<M>), JoinError>,
    ) -> Result<Option<Event<M>>, JournalError> {
        let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(name) =
            self.running.iter().find(|(_, run)| run.task.id() == id).map(|(name, _)| name.clone())
        else {
            return Ok(None);
        };
        self.running.remove(&name);
        match done {
            Ok((_, answer)) => {
                let (name, input) = answer?;
                Ok(Some(Event { input, name: Some(name), taken: None }))
            }
            Err(error) => {
                tracing::error!(%error, "an effect broke off; it is tried again after a pause");
                self.judge(Some(name), false);
                Ok(None)
            }
        }
    }

    /// An answer that was no use must not make a loop that fills the disk.
    fn judge(&mut self, name: Option<M::Name>, useful: bool) {
        let Some(name) = name else { return };
        if useful {
            self.failed.remove(&name);
        } else {
            *self.failed.entry(name).or_default() += 1;
        }
    }

    fn stop(&self, error: JournalError) {
        // The node stops on the first; a full channel says that it already does.
        let _ = self.keeper.fatal.try_send(error);
    }

    /// Takes one event after the other, each as the state is after the one before: an answer that is no longer wanted by
    /// then is dropped, as its effect would have been.
    fn take(&mut self, state: &Arc<M>, events: Vec<Event<M>>) -> Step<M> {
        let now = self.keeper.auditor.clock().now();
        let state = Arc::clone(state);
        let mut step = Step { state, entries: Vec::new(), notes: Vec::new(), told: Vec::new(), now };
        let mut has_moved = false;
        for Event { input, name, taken } in events {
            if step.state.ended() {
                break;
            }
            if has_moved && name.as_ref().is_some_and(|name| !is_wanted(step.state.as_ref(), name)) {
                continue;
            }
            let moved = self.input(&mut step, &input);
            has_moved |= moved.is_ok();
            self.judge(name, moved.is_ok());
            step.told.extend(taken.map(|taken| (taken, moved)));
        }
        if step.state.ended() {
            step.entries.push(Entry::Ended { machine: M::KIND, id: step.state.id() });
        }
        step
    }

    /// The state moves by one input, which is to be kept with the audit records that it makes.
    fn input(&mut self, step: &mut Step<M>, input: &M::Input) -> Result<(), String> {
        let (before, bytes) = (Arc::clone(&step.state), canonical::encode(input));
        let id = before.id();
        let next = if bytes.len() > MAX_BYTES {
            Err(format!("an input of {} bytes; at most {MAX_BYTES} are kept", bytes.len()))
        } else {
            M::clone(&before).next(input, step.now)
        };
        match next {
            Ok(next) => {
                step.notes.extend(M::notes(&before, input, &next));
                step.entries.push(Entry::Input { machine: M::KIND, id, seq: self.seq, input: bytes });
                step.entries.extend(self.actor.besides(&before, input));
                step.state = Arc::new(next);
                self.seq += 1;
                Ok(())
            }
            Err(why) => {
                step.notes.push(Note::about(id, "rejected", false, why.clone()));
                Err(why)
            }
        }
    }

    /// What may have reached a ledger or a device is followed to its end.
    fn drop_unwanted(&mut self, wanted: &[M::Effect]) {
        let names: Vec<_> = wanted.iter().filter_map(M::name).collect();
        self.running.retain(|name, Running { task, leaving }| {
            let wanted = names.contains(name);
            let goes_on = match M::droppable(name) {
                Droppable::Always => wanted,
                Droppable::Home => leaving.goes_on(wanted),
                Droppable::Never => true,
            };
            if !goes_on {
                task.abort();
            }
            goes_on
        });
        self.failed.retain(|name, _| names.contains(name));
    }

    fn start_effects(&mut self, state: &Arc<M>, wanted: Vec<M::Effect>) {
        for effect in wanted {
            let Some(name) = M::name(&effect) else { continue };
            if self.running.contains_key(&name) {
                continue;
            }
            let pause = self.failed.get(&name).map(|times| pause(*times));
            let (actor, state, inputs) = (self.actor.clone(), state.clone(), self.inputs.clone());
            let (answered, clock) = (name.clone(), self.keeper.auditor.clock().clone());
            let leaving = Leaving::default();
            let told = leaving.clone();
            let task = self.work.spawn(async move {
                if let Some(pause) = pause {
                    clock.sleep(pause).await;
                }
                Ok((answered, actor.run(state, effect, inputs, told).await?))
            });
            self.running.insert(name, Running { task, leaving });
        }
    }
}

/// Whether the answer to this effect is still taken: what may have reached a ledger or a device always is.
fn is_wanted<M: Machine>(state: &M, name: &M::Name) -> bool {
    M::droppable(name) != Droppable::Always
        || state.effects().iter().filter_map(M::name).any(|wanted| wanted == *name)
}

/// Doubles from a second to [`LONGEST_PAUSE`].
fn pause(times: u32) -> Duration {
    let seconds = 1_u64.checked_shl(times.saturating_sub(1)).unwrap_or(u64::MAX);
    Duration::from_secs(seconds).min(LONGEST_PAUSE)
}
