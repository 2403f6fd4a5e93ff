//! The newest readings of each thing of the joined platforms: contracts look here, so that a reading that came while a
//! contract was busy is not lost. A thing that talks much pushes out its own readings only.
//!
//! A reading that changes its property's value is journaled before its delivery is confirmed to the platform, so that a
//! crash loses none: it is either in the journal or delivered again. Only such a change can be evidence of an act; a
//! property's first reading tells how it was, not that it changed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use minicbor::{Decode, Encode};
use sofie_model::{Observation, ThingId, Timestamp, canonical};
use tokio::sync::watch;

use crate::clock;
use crate::journal::{Entry, Journal, JournalError};

/// So many readings of a thing are remembered; older ones are forgotten.
const REMEMBERED: usize = 256;
/// So many things are remembered; readings of any other are lost.
const MAX_THINGS: usize = 8_192;
/// So many changes of one property are kept in the journal.
const KEPT: usize = 16;
/// The longest fact that is read.
const MAX_BYTES: usize = 256 * 1024;
/// Facts of this group hold the newest changes of a property, by thing and property.
const CHANGES: &str = "reading";

/// One reading.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Reading {
    /// When it arrived.
    #[n(0)]
    pub arrived: Timestamp,
    /// What was read.
    #[n(1)]
    pub observation: Observation,
    /// Whether the property is known to have had another value before.
    #[n(2)]
    pub changed: bool,
}

/// The newest changes of each property, by the fact's key.
type Changes = BTreeMap<String, VecDeque<Reading>>;

/// The log. Clones share it.
#[derive(Debug, Clone)]
pub struct ReadingLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rings: Mutex<HashMap<ThingId, Ring>>,
    changes: Mutex<Changes>,
    grown: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    /// The number of the oldest reading that is remembered; its thing's first has number 0.
    first: u64,
    readings: VecDeque<Reading>,
}

/// Reads the log from some time on, for one thing.
#[derive(Debug)]
pub struct Readings {
    log: ReadingLog,
    grown: watch::Receiver<u64>,
    thing: ThingId,
    since: Timestamp,
    next: u64,
}

impl Default for ReadingLog {
    fn default() -> Self {
        let grown = watch::channel(0).0;
        Self(Arc::new(Inner { rings: Mutex::default(), changes: Mutex::default(), grown }))
    }
}

impl ReadingLog {
    /// What the journal holds of earlier runs.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn load(journal: &Journal) -> Result<Self, JournalError> {
        let log = Self::default();
        let mut all = Vec::new();
        for (key, bytes) in journal.reader()?.facts(CHANGES)? {
            let changes: VecDeque<Reading> = canonical::decode(&bytes, MAX_BYTES).map_err(|e| {
                JournalError::Corrupt { path: journal.path().to_owned(), what: format!("{key}: {e}") }
            })?;
            all.extend(changes.iter().cloned());
            log.changes().insert(key, changes);
        }
        all.sort_by_key(|reading| reading.arrived);
        log.push(all);
        Ok(log)
    }

    /// Journals what changes, then remembers all of it: observations, each with the time of its arrival.
    ///
    /// # Errors
    /// [`JournalError`]: none of it is kept or remembered.
    pub async fn keep(
        &self,
        journal: &Journal,
        said: Vec<(Timestamp, Observation)>,
    ) -> Result<(), JournalError> {
        let (readings, entries) = self.compare(said);
        if !entries.is_empty() {
            journal.keep(entries, clock::now()).await?;
        }
        self.push(readings);
        Ok(())
    }

    /// Whether any value of the property was ever read.
    #[must_use]
    pub fn knows(&self, thing: &ThingId, property: &str) -> bool {
        self.changes().contains_key(&key(thing, property))
    }

    /// The newest reading of a property, of this run or an earlier one.
    #[must_use]
    pub fn newest(&self, thing: &ThingId, property: &str) -> Option<Reading> {
        let heard = {
            let rings = self.0.rings.lock().expect("no holder of this lock panics");
            let ring = rings.get(thing);
            ring.and_then(|ring| {
                ring.readings.iter().rev().find(|one| one.observation.property == property).cloned()
            })
        };
        heard
            .or_else(|| self.changes().get(&key(thing, property)).and_then(|changes| changes.back().cloned()))
    }

    /// Compares with what was known, and says what is to be journaled.
    fn compare(&self, said: Vec<(Timestamp, Observation)>) -> (Vec<Reading>, Vec<Entry>) {
        let (mut readings, mut facts) = (Vec::new(), BTreeMap::new());
        let mut known = self.changes();
        for (arrived, observation) in said {
            let key = key(&observation.thing, &observation.property);
            let changes = known.entry(key.clone()).or_default();
            if changes.iter().any(|earlier| earlier.observation.message_id == observation.message_id) {
                // Delivered again.
                continue;
            }
            let before = changes.back().map(|newest| &newest.observation.quantity);
            let (first, same) = (before.is_none(), before == Some(&observation.quantity));
            let reading = Reading { arrived, observation, changed: !first && !same };
            if !same {
                if changes.len() == KEPT {
                    changes.pop_front();
                }
                changes.push_back(reading.clone());
                facts.insert(key, canonical::encode(&*changes));
            }
            readings.push(reading);
        }
        let fact = |(key, value)| Entry::Fact { group: CHANGES, key, value };
        (readings, facts.into_iter().map(fact).collect())
    }

    fn push(&self, readings: Vec<Reading>) {
        let mut rings = self.0.rings.lock().expect("no holder of this lock panics");
        for reading in readings {
            let thing = &reading.observation.thing;
            if rings.len() >= MAX_THINGS && !rings.contains_key(thing) {
                tracing::error!(%thing, "a reading is lost: {MAX_THINGS} things are remembered");
                continue;
            }
            let ring = rings.entry(thing.clone()).or_default();
            if ring.readings.len() == REMEMBERED {
                ring.readings.pop_front();
                ring.first += 1;
            }
            ring.readings.push_back(reading);
        }
        drop(rings);
        self.0.grown.send_modify(|count| *count += 1);
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.0.changes.lock().expect("no holder of this lock panics")
    }

    /// The readings of `thing` that arrived at `since` or later, and those to come.
    #[must_use]
    pub fn since(&self, thing: &ThingId, since: Timestamp) -> Readings {
        let grown = self.0.grown.subscribe();
        Readings { log: self.clone(), grown, thing: thing.clone(), since, next: 0 }
    }
}

fn key(thing: &ThingId, property: &str) -> String {
    format!("{thing} {property}")
}

impl Readings {
    /// The next reading; waits for it.
    pub async fn next(&mut self) -> Reading {
        loop {
            if let Some(found) = self.find() {
                return found;
            }
            if self.grown.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn find(&mut self) -> Option<Reading> {
        self.grown.mark_unchanged();
        let rings = self.log.0.rings.lock().expect("no holder of this lock panics");
        let ring = rings.get(&self.thing)?;
        let from = usize::try_from(self.next.saturating_sub(ring.first)).unwrap_or(usize::MAX);
        let end = ring.first + ring.readings.len() as u64;
        let found =
            ring.readings.iter().enumerate().skip(from).find(|(_, entry)| entry.arrived >= self.since);
        self.next = found.map_or(end, |(index, _)| ring.first + index as u64 + 1);
        found.map(|(_, reading)| reading.clone())
    }
}

#[cfg(test)]
mod tests {
    use sofie_model::{Digest, Quantity, Value};

    use super::*;

    fn observed(thing: &str, n: i64, message: u8) -> Observation {
        Observation {
            thing: thing.parse().expect("a name"),
            property: "open".into(),
            quantity: Quantity::unitless(Value::Integer(n)),
            observed_at: Timestamp::from_seconds(1),
            message_id: Digest([message; 32]),
            retained: false,
        }
    }

    fn reading(at: u64, thing: &str, n: i64) -> Reading {
        let observation = observed(thing, n, 0);
        Reading { arrived: Timestamp::from_seconds(at), observation, changed: true }
    }

    async fn values(readings: &mut Readings, count: usize) -> Vec<Value> {
        let mut values = Vec::new();
        while values.len() < count {
            values.push(readings.next().await.observation.quantity.value);
        }
        values
    }

    #[tokio::test]
    async fn a_reader_sees_its_things_readings_once_and_in_order_also_those_from_before() {
        let log = ReadingLog::default();
        log.push(vec![reading(1, "urn:a", 0), reading(5, "urn:a", 1)]);
        let mut readings = log.since(&"urn:a".parse().expect("a name"), Timestamp::from_seconds(5));
        log.push(vec![reading(6, "urn:b", 2), reading(7, "urn:a", 3)]);
        assert_eq!(values(&mut readings, 2).await, [Value::Integer(1), Value::Integer(3)]);
        for n in 0..=i64::try_from(REMEMBERED).expect("small") {
            log.push(vec![reading(8, "urn:a", n)]);
        }
        // The first of them was forgotten, and nothing is read twice.
        assert_eq!(values(&mut readings, 2).await, [Value::Integer(1), Value::Integer(2)]);
    }

    #[tokio::test]
    async fn a_thing_that_talks_much_pushes_out_nobody_elses_readings() {
        let log = ReadingLog::default();
        log.push(vec![reading(1, "urn:quiet", 7)]);
        for n in 0..=i64::try_from(REMEMBERED).expect("small") {
            log.push(vec![reading(2, "urn:loud", n)]);
        }
        let quiet: ThingId = "urn:quiet".parse().expect("a name");
        let mut readings = log.since(&quiet, Timestamp::from_seconds(1));
        assert_eq!(values(&mut readings, 1).await, [Value::Integer(7)]);
        let newest = |thing: &str, property: &str| {
            let newest = log.newest(&thing.parse().expect("a name"), property);
            newest.map(|reading| reading.observation.quantity.value)
        };
        let last = i64::try_from(REMEMBERED).expect("small");
        assert_eq!(newest("urn:quiet", "open"), Some(Value::Integer(7)));
        assert_eq!(newest("urn:loud", "open"), Some(Value::Integer(last)));
        assert_eq!((newest("urn:loud", "shut"), newest("urn:deaf", "open")), (None, None));
    }

    #[tokio::test]
    async fn only_a_change_is_a_change_also_after_a_restart_and_when_delivered_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let journal = Journal::open(&folder.path().join("journal.sqlite"), None).expect("a journal");
        let thing: ThingId = "urn:a".parse().expect("a name");
        let (epoch, at) = (Timestamp::from_seconds(0), Timestamp::from_seconds(1));
        let mut log = ReadingLog::default();
        // (value, message, what it is: nothing for a message that came before)
        let table = [
            (0, 1, Some(false)), // how it was
            (1, 2, Some(true)),
            (1, 3, Some(false)), // a heartbeat
            (0, 4, Some(true)),
            (1, 2, None),
            (1, 5, Some(true)),
        ];
        for (value, message, expected) in table {
            let heard = |log: &ReadingLog| -> Vec<Reading> {
                let rings = log.0.rings.lock().expect("the rings");
                rings.get(&thing).into_iter().flat_map(|ring| ring.readings.iter().cloned()).collect()
            };
            let before = heard(&log).len();
            log.keep(&journal, vec![(at, observed("urn:a", value, message))]).await.expect("it is kept");
            let new = heard(&log).get(before).map(|reading| reading.changed);
            assert_eq!(new, expected, "{value} in message {message}");
            log = ReadingLog::load(&journal).expect("it is read");
        }
        // All changes are there again, the heartbeat is not.
        let mut readings = log.since(&thing, epoch);
        assert_eq!(values(&mut readings, 4).await, [0, 1, 0, 1].map(Value::Integer));
        for message in 6..=u8::try_from(6 + KEPT).expect("small") {
            let said = vec![(at, observed("urn:a", i64::from(message), message))];
            log.keep(&journal, said).await.expect("it is kept");
        }
        assert_eq!(log.changes().values().map(VecDeque::len).collect::<Vec<_>>(), [KEPT]);
    }
}
