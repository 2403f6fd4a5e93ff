//! A calendar's witnesses (C2SP tlog-witness): each checkpoint that something rests on is brought to all of them, with the
//! proof that it goes on from the one that they saw last. One flight at a time carries everything that is durable by then,
//! and nothing is kept: a witness tells what it has seen, and signs the same checkpoint again.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sofie_model::proof::calendar::{Checkpoint, Cosignature, WitnessKey, add_checkpoint};
use tokio::{sync::Mutex, task::JoinSet, time::Instant};
use url::Url;

use super::log::Log;
use crate::http::{Answer, Client, NoClient};

/// How long a witness may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A longer answer is refused unread: a few lines are expected.
const MAX_ANSWER: usize = 4096;
/// A witness that names another size than before is asked again so often.
const TRIES: usize = 3;
/// After a flight without enough answers, the next one waits so long at first, at last [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A witness, and where it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its name and key.
    pub key: WitnessKey,
    /// The URL under which it has `add-checkpoint`.
    pub url: Url,
}

/// Why a witness cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWitness {
    /// Not plain HTTP.
    #[error("witness {name} has a URL of scheme {scheme}, http is spoken: run a proxy on this machine")]
    Scheme {
        /// Whose.
        name: String,
        /// What the URL asks for.
        scheme: String,
    },
    /// No HTTP client can be made.
    #[error("witness {name}: {why}")]
    Client {
        /// Whose.
        name: String,
        /// What the library says.
        why: String,
    },
}

/// A head and who has cosigned it.
#[derive(Debug)]
pub(super) struct Cosigned {
    pub(super) head: Checkpoint,
    /// In the order of their keys.
    pub(super) by: Vec<Cosignature>,
}

pub(super) struct Witnesses {
    all: Vec<Arc<Seat>>,
    quorum: usize,
    newest: RwLock<Option<Arc<Cosigned>>>,
    flight: Mutex<Flight>,
}

struct Seat {
    key: WitnessKey,
    client: Client,
    /// The size that it saw last, as far as is known here.
    seen: AtomicU64,
}

/// When the next flight may leave.
struct Flight {
    next: Instant,
    wait: Duration,
    /// Why the last one brought too little.
    why: String,
}

impl Witnesses {
    pub(super) fn new(witnesses: Vec<Witness>, quorum: usize) -> Result<Self, BadWitness> {
        let all = witnesses.into_iter().map(seat).collect::<Result<_, _>>()?;
        let flight = Flight { next: Instant::now(), wait: FIRST_WAIT, why: String::new() };
        Ok(Self { all, quorum, newest: RwLock::new(None), flight: Mutex::new(flight) })
    }

    /// Whether there are none: what is durable is final.
    pub(super) const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The newest cosigned head, if it covers `size` leaves.
    pub(super) fn covering(&self, size: u64) -> Option<Arc<Cosigned>> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.as_ref().filter(|cosigned| cosigned.head.size >= size).cloned()
    }

    /// A cosigned head that covers `size` leaves, which must be durable. `sign` makes the log's own note of a head.
    ///
    /// # Errors
    /// Which witnesses did not sign, and why.
    pub(super) async fn cosigned(
        &self,
        size: u64,
        log: &Arc<RwLock<Log>>,
        sign: impl Fn(&Checkpoint) -> String,
    ) -> Result<Arc<Cosigned>, String> {
        if let Some(cosigned) = self.covering(size) {
            return Ok(cosigned);
        }
        let mut flight = self.flight.lock().await;
        // The flight that was waited for may have carried it.
        if let Some(cosigned) = self.covering(size) {
            return Ok(cosigned);
        }
        if Instant::now() < flight.next {
            return Err(flight.why.clone());
        }
        let head = log.read().unwrap_or_else(PoisonError::into_inner).head();
        let note = sign(&head);
        match self.gather(&head, &note, log).await {
            Ok(by) => {
                flight.wait = FIRST_WAIT;
                let cosigned = Arc::new(Cosigned { head, by });
                *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&cosigned));
                Ok(cosigned)
            }
            Err(why) => {
                flight.next = Instant::now() + flight.wait;
                flight.wait = (flight.wait * 2).min(LONGEST_WAIT);
                flight.why.clone_from(&why);
                Err(why)
            }
        }
    }

    /// Asks all at once, until enough have signed.
    async fn gather(
        &self,
        head: &Checkpoint,
        note: &str,
        log: &Arc<RwLock<Log>>,
    ) -> Result<Vec<Cosignature>, String> {
        let mut asked = JoinSet::new();
        for seat in &self.all {
            let (seat, head, note, log) = (Arc::clone(seat), head.clone(), note.to_owned(), Arc::clone(log));
            asked.spawn(async move {
                seat.ask(&head, &note, &log).await.map_err(|why| format!("{}: {why}", seat.key.name))
            });
        }
        let (mut by, mut faults) = (Vec::new(), Vec::new());
        while by.len() < self.quorum
            && let Some(answer) = asked.join_next().await
        {
            match answer {
                Ok(Ok(one)) => by.push(one),
                Ok(Err(why)) => faults.push(why),
                Err(_) => faults.push("a witness was not asked to the end".into()),
            }
        }
        if by.len() < self.quorum {
            faults.sort_unstable();
            let (signed, needed) = (by.len(), self.quorum);
            return Err(format!("{signed} of its witnesses signed, {needed} must: {}", faults.join("; ")));
        }
        by.sort_unstable_by_key(|one| one.key);
        Ok(by)
    }
}

fn seat(witness: Witness) -> Result<Arc<Seat>, BadWitness> {
    let Witness { key, url } = witness;
    let client = Client::new(url, TIMEOUT, MAX_ANSWER).map_err(|error| match error {
        NoClient::Scheme(scheme) => BadWitness::Scheme { name: key.name.clone(), scheme },
        NoClient::Broken(why) => BadWitness::Client { name: key.name.clone(), why },
    })?;
    Ok(Arc::new(Seat { key, client, seen: AtomicU64::new(0) }))
}

impl Seat {
    async fn ask(&self, head: &Checkpoint, note: &str, log: &RwLock<Log>) -> Result<Cosignature, String> {
        for _ in 0..TRIES {
            let old = self.seen.load(Ordering::Relaxed);
            let body = request(old, head, note, log)?;
            match self.client.post_text(&["add-checkpoint"], body).await {
                Ok((200, answer)) => {
                    let one = Cosignature::read(&answer, &self.key, head).map_err(|bad| bad.to_string())?;
                    self.seen.store(head.size, Ordering::Relaxed);
                    return Ok(one);
                }
                // It names the size that it has seen last.
                Ok((409, answer)) => {
                    let seen = answer.trim_end().parse().map_err(|_| "it names no size that it has seen")?;
                    self.seen.store(seen, Ordering::Relaxed);
                }
                Ok((status, answer)) => return Err(format!("HTTP status {status}: {answer}")),
                Err(Answer::Away(why) | Answer::Refused(why) | Answer::Nonsense(why)) => return Err(why),
            }
        }
        Err("it names another size each time".into())
    }
}

/// C2SP tlog-witness: the old size, the consistency proof, an empty line, the checkpoint.
fn request(old: u64, head: &Checkpoint, note: &str, log: &RwLock<Log>) -> Result<String, String> {
    let log = log.read().unwrap_or_else(PoisonError::into_inner);
    let path = log.tree.consistency(old, head.size).ok_or_else(|| {
        let size = head.size;
        format!("it has seen {old} entries and the log holds {size}: its file is an old copy, or there are two logs")
    })?;
    Ok(add_checkpoint(old, &path, note))
}
