//! The one writer: takes what waits as a batch, makes it durable in one write under one signed checkpoint, and only
//! then lets readers see it and answers (group commit).

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use ed25519_dalek::SigningKey;
use sofie_model::{
    Timestamp, canonical,
    proof::calendar::{
        Checkpoint, Leaf, SECONDS, Second,
        merkle::{Edge, leaf_hash},
    },
};
use tokio::sync::oneshot;

use super::{
    file::{Frame, LogFile, WriteError},
    log::{Log, Waiting},
    wanted::Wanted,
};
use crate::Clock;

/// So many requests wait at most; more are told to come later.
pub(super) const MAX_QUEUE: usize = 4096;
/// So many entries share one write and one signature at most.
pub(super) const MAX_BATCH: usize = 512;
/// How often the writer looks whether a second is over while nothing comes in.
const IDLE: Duration = Duration::from_millis(250);

/// How the writer answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It stands, durably.
    Stands,
    /// The rules are against it.
    Refused(String),
    /// It could not be written.
    Failed(String),
}

pub(super) enum Request {
    Append(Wanted, oneshot::Sender<Answer>),
    /// Publish the last second, if it is over.
    Publish(oneshot::Sender<Answer>),
}

pub(super) struct Writer {
    file: LogFile,
    key: SigningKey,
    clock: Clock,
    log: Arc<RwLock<Log>>,
    /// What the next root is made from; readers' trees follow once it is durable.
    edge: Edge,
    seconds_edge: Edge,
    origin: String,
    open_second: Option<u64>,
    last: Timestamp,
    broken: Option<String>,
}

/// What one durable write will hold.
#[derive(Default)]
struct Batch {
    frames: Vec<Frame>,
    leaves: Vec<Leaf>,
    second: Option<Second>,
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
}

impl Writer {
    pub(super) fn new(file: LogFile, key: SigningKey, clock: Clock, log: Arc<RwLock<Log>>) -> Self {
        let read = log.read().unwrap_or_else(PoisonError::into_inner);
        let mut edge = Edge::default();
        (0..read.size()).filter_map(|index| read.tree.leaf(index)).for_each(|leaf| edge.append(leaf));
        let mut seconds_edge = Edge::default();
        read.seconds.iter().for_each(|second| seconds_edge.append(leaf_hash(&canonical::encode(second))));
        let origin = read.origin.clone();
        let open_second = read.open_second();
        let last = read.leaves.last().map(|leaf| leaf.at).unwrap_or_default();
        drop(read);
        Self { file, key, clock, log, edge, seconds_edge, origin, open_second, last, broken: None }
    }

    /// Runs until every sender is gone.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let first = match self.open_second {
                Some(_) => requests.recv_timeout(IDLE),
                None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let first = match first {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let rest = requests.try_iter().take(MAX_BATCH - 1);
            let waiting: Vec<_> = first.into_iter().chain(rest).collect();
            self.commit(waiting);
        }
    }

    fn commit(&mut self, requests: Vec<Request>) {
        // The edges as they were, for a write that is undone.
        let before = (self.edge.clone(), self.seconds_edge.clone());
        let now = (self.clock)().max(self.last);
        let mut batch = Batch::default();
        self.close_second(now, &mut batch);
        self.take(requests, now, &mut batch);
        if let Err(why) = self.write(&batch.frames) {
            (self.edge, self.seconds_edge) = before;
            // A refusal may rest on what was to be written with it. Whoever went away asks for the status later.
            for (asker, _) in batch.answers {
                let _ = asker.send(Answer::Failed(why.clone()));
            }
            return;
        }
        self.show(&batch);
        for (asker, answer) in batch.answers {
            let _ = asker.send(answer);
        }
    }

    /// Publishes the root of the last second in which the log grew, once it is over.
    fn close_second(&mut self, now: Timestamp, batch: &mut Batch) {
        let Some(second) = self.open_second.filter(|second| *second < now.as_seconds()) else { return };
        let second = Second { second, size: self.edge.size(), root: self.edge.root() };
        self.seconds_edge.append(leaf_hash(&canonical::encode(&second)));
        let (size, root) = (self.seconds_edge.size(), self.seconds_edge.root());
        let head = Checkpoint { origin: format!("{}{SECONDS}", self.origin), size, root };
        batch.frames.push(Frame::Second { second, checkpoint: head.sign(&self.key) });
        batch.second = Some(second);
    }

    /// Sorts requests into new leaves, what stands already, and what the rules are against.
    fn take(&mut self, requests: Vec<Request>, now: Timestamp, batch: &mut Batch) {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = Waiting::default();
        for request in requests {
            let (wanted, asker) = match request {
                Request::Append(wanted, asker) => (wanted, asker),
                Request::Publish(asker) => {
                    batch.answers.push((asker, Answer::Stands));
                    continue;
                }
            };
            let answer = if log.find(&wanted.entry).is_some() || waiting.contains(&wanted.entry) {
                Answer::Stands
            } else if let Some(why) = log.objection(&wanted, &waiting, now) {
                Answer::Refused(why)
            } else {
                waiting.insert(wanted.entry.clone());
                batch.leaves.push(Leaf { at: now, entry: wanted.entry });
                Answer::Stands
            };
            batch.answers.push((asker, answer));
        }
        drop(log);
        if batch.leaves.is_empty() {
            return;
        }
        let leaves: Vec<_> = batch.leaves.iter().map(canonical::encode).collect();
        leaves.iter().for_each(|leaf| self.edge.append(leaf_hash(leaf)));
        let head = Checkpoint { origin: self.origin.clone(), size: self.edge.size(), root: self.edge.root() };
        let leaves = leaves.into_iter().map(Into::into).collect();
        batch.frames.push(Frame::Batch { leaves, checkpoint: head.sign(&self.key) });
    }

    fn write(&mut self, frames: &[Frame]) -> Result<(), String> {
        if let Some(why) = &self.broken {
            return Err(why.clone());
        }
        if frames.is_empty() {
            return Ok(());
        }
        self.file.append(frames).map_err(|error| match error {
            WriteError::Undone(error) => format!("nothing was written: {error}; make room on its disk"),
            WriteError::Broken(error) => {
                let why = format!("its disk failed: {error}; restart the node once the disk is well");
                tracing::error!(origin = self.origin, %error, "the calendar's disk failed, it takes no more");
                self.broken = Some(why.clone());
                why
            }
        })
    }

    /// Lets readers see what is durable now.
    fn show(&mut self, batch: &Batch) {
        if batch.second.is_none() && batch.leaves.is_empty() {
            return;
        }
        let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(second) = batch.second {
            log.publish(second);
            self.open_second = None;
        }
        for leaf in &batch.leaves {
            log.append(leaf.clone());
            self.last = leaf.at;
            self.open_second = Some(leaf.at.as_seconds());
        }
    }
}
