//! The newest readings of each thing of the joined platforms: contracts look here, so that a reading that came while a
//! contract was busy is not lost. A thing that talks much pushes out its own readings only.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use sofie_model::{Observation, ThingId, Timestamp};
use tokio::sync::watch;

/// So many readings of a thing are remembered; older ones are forgotten.
const REMEMBERED: usize = 256;
/// So many things are remembered; readings of any other are lost.
const MAX_THINGS: usize = 8_192;

/// The log. Clones share it.
#[derive(Debug, Clone)]
pub struct ReadingLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rings: Mutex<HashMap<ThingId, Ring>>,
    grown: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    /// The number of the oldest reading that is remembered; its thing's first has number 0.
    first: u64,
    readings: VecDeque<(Timestamp, Observation)>,
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
        Self(Arc::new(Inner { rings: Mutex::default(), grown: watch::channel(0).0 }))
    }
}

impl ReadingLog {
    /// Remembers a reading that arrived at `arrived`.
    pub fn push(&self, arrived: Timestamp, observation: Observation) {
        let mut rings = self.0.rings.lock().expect("no holder of this lock panics");
        if rings.len() >= MAX_THINGS && !rings.contains_key(&observation.thing) {
            tracing::error!(thing = %observation.thing, "a reading is lost: {MAX_THINGS} things are remembered");
            return;
        }
        let ring = rings.entry(observation.thing.clone()).or_default();
        if ring.readings.len() == REMEMBERED {
            ring.readings.pop_front();
            ring.first += 1;
        }
        ring.readings.push_back((arrived, observation));
        drop(rings);
        self.0.grown.send_modify(|count| *count += 1);
    }

    /// The readings of `thing` that arrived at `since` or later, and those to come.
    #[must_use]
    pub fn since(&self, thing: &ThingId, since: Timestamp) -> Readings {
        let grown = self.0.grown.subscribe();
        Readings { log: self.clone(), grown, thing: thing.clone(), since, next: 0 }
    }
}

impl Readings {
    /// The next reading; waits for it.
    pub async fn next(&mut self) -> Observation {
        loop {
            if let Some(found) = self.find() {
                return found;
            }
            if self.grown.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn find(&mut self) -> Option<Observation> {
        self.grown.mark_unchanged();
        let rings = self.log.0.rings.lock().expect("no holder of this lock panics");
        let ring = rings.get(&self.thing)?;
        let from = usize::try_from(self.next.saturating_sub(ring.first)).unwrap_or(usize::MAX);
        let end = ring.first + ring.readings.len() as u64;
        let found = ring.readings.iter().enumerate().skip(from).find(|(_, entry)| entry.0 >= self.since);
        self.next = found.map_or(end, |(index, _)| ring.first + index as u64 + 1);
        found.map(|(_, (_, reading))| reading.clone())
    }
}

#[cfg(test)]
mod tests {
    use sofie_model::{Digest, Quantity, Value};

    use super::*;

    fn reading(thing: &str, n: i64) -> Observation {
        Observation {
            thing: thing.parse().expect("a name"),
            property: "open".into(),
            quantity: Quantity::unitless(Value::Integer(n)),
            observed_at: Timestamp::from_seconds(1),
            message_id: Digest::ZERO,
            retained: false,
        }
    }

    #[tokio::test]
    async fn a_reader_sees_its_things_readings_once_and_in_order_also_those_from_before() {
        let log = ReadingLog::default();
        let at = Timestamp::from_seconds;
        log.push(at(1), reading("urn:a", 0));
        log.push(at(5), reading("urn:a", 1));
        let mut readings = log.since(&"urn:a".parse().expect("a name"), at(5));
        log.push(at(6), reading("urn:b", 2));
        log.push(at(7), reading("urn:a", 3));
        for expected in [1, 3] {
            assert_eq!(readings.next().await.quantity.value, Value::Integer(expected));
        }
        for n in 0..=i64::try_from(REMEMBERED).expect("small") {
            log.push(at(8), reading("urn:a", n));
        }
        // The first of them was forgotten, and nothing is read twice.
        assert_eq!(readings.next().await.quantity.value, Value::Integer(1));
        assert_eq!(readings.next().await.quantity.value, Value::Integer(2));
    }

    #[tokio::test]
    async fn a_thing_that_talks_much_pushes_out_nobody_elses_readings() {
        let log = ReadingLog::default();
        let at = Timestamp::from_seconds;
        log.push(at(1), reading("urn:quiet", 7));
        for n in 0..=i64::try_from(REMEMBERED).expect("small") {
            log.push(at(2), reading("urn:loud", n));
        }
        let mut readings = log.since(&"urn:quiet".parse().expect("a name"), at(1));
        assert_eq!(readings.next().await.quantity.value, Value::Integer(7));
    }
}
