//! Counting from many tasks at once, and remembering what was seen, within a bound.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::port::Counters;

/// The live form of [`Counters`].
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) received: AtomicU64,
    pub(crate) oversize: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) unbound: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) retransmissions: AtomicU64,
}

impl Tally {
    pub(crate) fn snapshot(&self) -> Counters {
        Counters {
            received: self.received.load(Relaxed),
            oversize: self.oversize.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            unbound: self.unbound.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            reconnects: self.reconnects.load(Relaxed),
            retransmissions: self.retransmissions.load(Relaxed),
        }
    }
}

pub(crate) fn one_more(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// The last `limit` keys with their values; the oldest is forgotten first.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    limit: usize,
    entries: VecDeque<(K, V)>,
}

impl<K: PartialEq, V> Recent<K, V> {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, entries: VecDeque::new() }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    pub(crate) fn put(&mut self, key: K, value: V) {
        if self.entries.len() == self.limit {
            self.entries.pop_front();
        }
        self.entries.push_back((key, value));
    }

    pub(crate) fn change(&mut self, key: &K, value: V) {
        if let Some((_, known)) = self.entries.iter_mut().find(|(known, _)| known == key) {
            *known = value;
        }
    }

    pub(crate) fn forget(&mut self, key: &K) {
        self.entries.retain(|(known, _)| known != key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut recent = Recent::new(2);
        for key in 1..=3 {
            recent.put(key, ());
        }
        assert_eq!([1, 2, 3].map(|key| recent.get(&key).is_some()), [false, true, true]);
    }
}
