//! The journal's one writer, a thread or a task: takes all that waits, writes it in one transaction, then answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::schema::Lock;
use super::store::{List, Sqlite, Store};
use super::{Entry, JournalError};

/// At most so many lists are written in one SQLite transaction.
const GROUP: usize = 512;

/// Where the journal stops for a test of crashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseAt {
    /// After so many written lists.
    Write(u64),
    /// After the intent of this task is written, before it is submitted.
    Intent(String),
}

/// Stops the node for a test: from the chosen step on, what is written is durable but nobody is told, and `reached` is
/// called once. A supervisor then kills the process: a crash at a chosen step.
pub struct Pause {
    /// At which step.
    pub at: PauseAt,
    /// Told when it is reached.
    pub reached: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pause({:?})", self.at)
    }
}

impl std::str::FromStr for PauseAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("write", count)) => count.parse().map(Self::Write).map_err(|e| format!("{count:?}: {e}")),
            Some(("intent", task)) if !task.is_empty() => Ok(Self::Intent(task.into())),
            _ => Err(format!("{text:?} is no step; write:NUMBER or intent:TASK is expected")),
        }
    }
}

impl PauseAt {
    fn reached(&self, written: u64, group: &[List]) -> bool {
        match self {
            Self::Write(count) => written >= *count,
            Self::Intent(task) => {
                let is_it =
                    |entry: &Entry| matches!(entry, Entry::Intent { task: written, .. } if written == task);
                group.iter().any(|list| list.entries.iter().any(is_it))
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) list: List,
    pub(super) answer: Answer,
}

type Answer = oneshot::Sender<Result<(), JournalError>>;

/// What is to be written, apart from who waits for it.
fn split(jobs: &mut Vec<Job>) -> (Vec<List>, Vec<Answer>) {
    jobs.drain(..).map(|job| (job.list, job.answer)).unzip()
}

/// Tells everyone that waited. Whether the journal goes on.
fn tell(answers: Vec<Answer>, result: &Result<(), String>, path: &Path) -> bool {
    for answer in answers {
        let told = result.clone().map_err(|reason| JournalError::Write { path: path.to_owned(), reason });
        // A writer that no longer waits has been stopped; what it wrote stands.
        let _ = answer.send(told);
    }
    if result.is_err() {
        tracing::error!(journal = %path.display(), "closed after a failed write");
    }
    result.is_ok()
}

pub(super) fn run(
    mut store: Sqlite,
    lock: Lock,
    path: &Path,
    mut jobs: mpsc::Receiver<Job>,
    mut pause: Option<Pause>,
) {
    let _held = lock;
    let mut waiting = Vec::with_capacity(GROUP);
    let mut written: u64 = 0;
    // With a pause, one list at a time: the step at which it stops must not depend on how writers race.
    let limit = if pause.is_some() { 1 } else { GROUP };
    while jobs.blocking_recv_many(&mut waiting, limit) > 0 {
        let (group, answers) = split(&mut waiting);
        let result = store.write(&group);
        written += group.len() as u64;
        if let Some(pause) = pause.take_if(|pause| pause.at.reached(written, &group)) {
            (pause.reached)();
            // Answers nobody and takes nothing more: the process is about to be killed.
            loop {
                std::thread::park();
            }
        }
        if !tell(answers, &result, path) {
            return;
        }
    }
}

/// The same without a thread: one list at a time, so that nothing depends on how writers race.
pub(super) async fn serve(mut store: impl Store, path: Arc<PathBuf>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(Job { list, answer }) = jobs.recv().await {
        let result = store.write(&[list]).await;
        if !tell(vec![answer], &result, &path) {
            return;
        }
    }
}
