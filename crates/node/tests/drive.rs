//! Drives: a machine whose effects break off, lie or are no longer wanted neither spins nor hangs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sofie_model::{Digest, Timestamp};
use sofie_node::auditor::{Auditor, Note};
use sofie_node::clock::Clock;
use sofie_node::drive::{self, Actor, Asked, Droppable, Handle, Keeper, Leaving, Machine};
use sofie_node::journal::{self, Entry, Journal, JournalError, List, Sqlite, Store};
use tokio::sync::mpsc;

/// Counts its inputs; wants each of its effects until it has counted enough. 0 is an input that it refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counter {
    count: u64,
    wanted: u64,
    /// What it wants done while it has counted nothing; afterwards "work".
    first: &'static [&'static str],
}

impl Machine for Counter {
    const KIND: journal::Machine = journal::Machine::Contract;
    type Input = u64;
    type Effect = &'static str;
    type Name = &'static str;

    fn id(&self) -> Digest {
        Digest([9; 32])
    }

    fn next(self, input: &u64, _: Timestamp) -> Result<Self, String> {
        if *input == 0 { Err("zero".into()) } else { Ok(Self { count: self.count + input, ..self }) }
    }

    fn effects(&self) -> Vec<&'static str> {
        if self.count == 0 { self.first.to_vec() } else { vec!["work"] }
    }

    fn name(effect: &&'static str) -> Option<&'static str> {
        Some(effect)
    }

    fn droppable(name: &&'static str) -> Droppable {
        match *name {
            "wait" | "wait not" => Droppable::Always,
            "stay" | "go" => Droppable::Home,
            _ => Droppable::Never,
        }
    }

    fn ended(&self) -> bool {
        self.count >= self.wanted
    }

    fn notes(_: &Self, _: &u64, _: &Self) -> Vec<Note> {
        Vec::new()
    }
}

/// What "work" does at each of its runs.
type Work = fn(u32) -> u64;

#[derive(Clone)]
struct Worker {
    runs: Arc<AtomicU32>,
    waiting: Arc<AtomicU32>,
    /// Effects that have left.
    out: Arc<AtomicU32>,
    work: Work,
}

/// Counts itself while it exists.
struct Present(Arc<AtomicU32>);

impl Present {
    fn among(counted: &Arc<AtomicU32>) -> Self {
        counted.fetch_add(1, Ordering::SeqCst);
        Self(counted.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Worker {
    fn new(work: Work) -> Self {
        Self { runs: Arc::default(), waiting: Arc::default(), out: Arc::default(), work }
    }
}

impl Actor<Counter> for Worker {
    async fn run(
        &self,
        _: Arc<Counter>,
        effect: &'static str,
        _: mpsc::Sender<Asked<u64>>,
        leaving: Leaving,
    ) -> Result<u64, JournalError> {
        let waits = match effect {
            "wait" | "stay" => Some(Present::among(&self.waiting)),
            "go" => {
                leaving.go().await;
                Some(Present::among(&self.out))
            }
            _ => None,
        };
        if waits.is_some() {
            return std::future::pending().await;
        }
        Ok((self.work)(self.runs.fetch_add(1, Ordering::SeqCst)))
    }
}

/// A journal's store that tells what each write holds.
struct Written {
    store: Sqlite,
    written: std::sync::mpsc::Sender<Vec<u64>>,
}

impl Store for Written {
    async fn write(&mut self, group: &[List]) -> Result<(), String> {
        let places = group.iter().flat_map(|list| &list.entries).filter_map(|entry| match entry {
            Entry::Input { seq, .. } => Some(*seq),
            _ => None,
        });
        self.written.send(places.collect()).unwrap();
        self.store.write(group)
    }
}

struct World {
    journal: Journal,
    keeper: Keeper,
    failed: mpsc::Receiver<JournalError>,
    worker: Worker,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(work: Work) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.sqlite"), None).unwrap();
        let (fatal, failed) = mpsc::channel(1);
        let keeper = Keeper { auditor: Auditor::open(journal.clone()).unwrap(), fatal };
        let worker = Worker::new(work);
        Self { journal, keeper, failed, worker, _folder: folder }
    }

    async fn start(&self, wanted: u64) -> Handle<Counter> {
        self.start_with(wanted, &["work", "wait"]).await
    }

    async fn start_with(&self, wanted: u64, first: &'static [&'static str]) -> Handle<Counter> {
        let begun = Counter { count: 0, wanted, first };
        let entry = Entry::Begun { machine: Counter::KIND, id: begun.id(), plan: Vec::new() };
        self.journal.keep(vec![entry], Timestamp::from_seconds(1)).await.unwrap();
        drive::start(begun, 0, self.worker.clone(), self.keeper.clone(), || {})
    }

    /// The inputs of each write.
    async fn writes(work: Work, first: &'static [&'static str]) -> Vec<Vec<u64>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let (written, lists) = std::sync::mpsc::channel();
        let store = Written { store: Sqlite::open(&path).unwrap(), written };
        let journal = Journal::over(store, &path, Clock::system());
        let (fatal, _failed) = mpsc::channel(1);
        let keeper = Keeper { auditor: Auditor::open(journal.clone()).unwrap(), fatal };
        let worker = Worker::new(work);
        let begun = Counter { count: 0, wanted: 2, first };
        let entry = Entry::Begun { machine: Counter::KIND, id: begun.id(), plan: Vec::new() };
        journal.keep(vec![entry], Timestamp::from_seconds(1)).await.unwrap();
        let mut handle = drive::start(begun, 0, worker, keeper, || {});
        within(handle.until(Machine::ended)).await.unwrap();
        lists.try_iter().filter(|inputs| !inputs.is_empty()).collect()
    }

    fn inputs(&self) -> usize {
        let record = self.journal.reader().unwrap().machine(Counter::KIND, Digest([9; 32])).unwrap();
        record.unwrap().inputs.len()
    }
}

/// A bound on waiting, not a measure.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it comes to an end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_that_breaks_off_is_tried_again() {
    let world = World::new(|run| if run == 0 { std::panic::resume_unwind(Box::new("broken")) } else { 1 });
    let state = within(world.start(2).await.until(Machine::ended)).await.unwrap();
    assert_eq!((state.count, world.inputs()), (2, 2));
    assert_eq!(world.worker.runs.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_refused_is_audited_and_asked_for_again_after_a_pause() {
    let world = World::new(|run| u64::from(run > 1));
    let mut handle = world.start(1).await;
    within(handle.until(Machine::ended)).await.unwrap();
    // Twice refused, with a pause after each: as many records, and no more.
    assert_eq!(world.worker.runs.load(Ordering::SeqCst), 3);
    assert_eq!(world.keeper.auditor.len(), 2);
    assert_eq!(world.inputs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_that_is_no_longer_wanted_leaves_nothing_behind() {
    let world = World::new(|run| if run == 0 { 1 } else { std::panic::resume_unwind(Box::new("broken")) });
    let mut handle = world.start(3).await;
    within(handle.until(|state| state.count == 1)).await.unwrap();
    within(async {
        while world.worker.waiting.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Inputs from outside are taken while the effect is broken.
    assert_eq!(within(handle.give(0)).await, Err("zero".into()));
    assert_eq!(within(handle.give(5)).await, Ok(()));
    assert!(within(handle.give(1)).await.unwrap_err().contains("has ended"));
    assert_eq!(handle.state().count, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_left_is_followed_and_what_has_not_is_dropped() {
    let world = World::new(|_| std::panic::resume_unwind(Box::new("broken")));
    let handle = world.start_with(9, &["stay", "go"]).await;
    let are = async |waiting, out| {
        let Worker { waiting: stay, out: gone, .. } = &world.worker;
        while (stay.load(Ordering::SeqCst), gone.load(Ordering::SeqCst)) != (waiting, out) {
            tokio::task::yield_now().await;
        }
    };
    within(are(1, 1)).await;
    assert_eq!(within(handle.give(1)).await, Ok(()));
    within(are(0, 1)).await;
    assert_eq!(within(handle.give(8)).await, Ok(()));
    within(are(0, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_fails_stops_the_drive_and_tells_the_node() {
    let mut world = World::new(|_| std::panic::resume_unwind(Box::new("broken")));
    let mut handle = world.start(2).await;
    let again = Entry::Begun { machine: Counter::KIND, id: Digest([9; 32]), plan: Vec::new() };
    world.journal.keep(vec![again], Timestamp::from_seconds(2)).await.unwrap_err();
    assert!(within(handle.give(1)).await.is_err());
    let told = within(world.failed.recv()).await.unwrap().to_string();
    assert!(told.contains("journal.sqlite: closed after an earlier failure"), "{told}");
    assert_eq!(within(handle.until(Machine::ended)).await, None);
    assert_eq!(handle.state().count, 0, "what is not on the disk has not happened");
}

#[tokio::test]
async fn answers_that_are_ready_together_are_kept_in_one_write_each_in_its_place() {
    assert_eq!(World::writes(|_| 1, &["left", "right"]).await, [[0, 1]]);
    // What comes after the end is not taken any more, and a refused one takes no place.
    assert_eq!(World::writes(|_| 1, &["left", "middle", "right"]).await, [[0, 1]]);
    assert_eq!(World::writes(|run| u64::from(run != 1), &["left", "middle", "right"]).await, [[0, 1]]);
}

#[tokio::test]
async fn an_answer_that_the_one_before_makes_unwanted_is_dropped_from_the_write() {
    assert_eq!(World::writes(|_| 1, &["work", "wait not"]).await, [[0], [1]]);
    assert_eq!(World::writes(|_| 1, &["wait not", "work"]).await, [[0, 1]]);
}
