//! What the contracts' logs said, block by block, as far as it is remembered. No I/O here: [`super::follow`] asks the node.
//!
//! The newest blocks are remembered by their hashes, each the parent of the next, so that blocks which the chain undoes
//! are taken back with their logs. Below them only logs are kept, at most [`MAX_LOGS`]; from `floor` on none is missing.

use std::collections::{BTreeMap, HashMap, VecDeque};

use alloy_primitives::{Address, B256, Log};

/// How many logs are remembered: about 100 MB.
pub(super) const MAX_LOGS: usize = 1 << 18;
/// How many of the newest blocks are remembered by their hashes. A longer reorganisation has everything read anew.
pub(super) const MAX_RECENT: usize = 128;
/// For how many questions the logs below `floor` are remembered.
const MAX_PAST: usize = 4_096;

/// A contract, and the first indexed argument of its logs.
pub(super) type Key = (Address, B256);

/// A block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) number: u64,
    pub(super) hash: B256,
}

/// A log on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) log: Log,
    pub(super) block: Seen,
    pub(super) transaction: B256,
    /// The transaction's place in the block.
    pub(super) index: u32,
    /// The log's place in the block.
    pub(super) log_index: u64,
    /// The place in the block of its transaction's first log, and the block's time, where they are known already.
    pub(super) place: Option<(u64, u64)>,
}

impl Found {
    fn key(&self) -> Option<Key> {
        Some((self.log.address, *self.log.topics().get(1)?))
    }
}

/// The logs of the contracts, from `floor` to the newest block of `recent`.
#[derive(Debug)]
pub(super) struct Index {
    since: u64,
    max_logs: usize,
    floor: u64,
    recent: VecDeque<Seen>,
    found: HashMap<Key, Vec<Found>>,
    /// By block: whose logs are in it, one for each log.
    blocks: BTreeMap<u64, Vec<Key>>,
    count: usize,
    /// Complete below `floor`, for the few that were asked for.
    past: HashMap<Key, Vec<Found>>,
}

impl Index {
    pub(super) fn new(since: u64, max_logs: usize) -> Self {
        Self {
            since,
            max_logs,
            floor: since,
            recent: VecDeque::new(),
            found: HashMap::new(),
            blocks: BTreeMap::new(),
            count: 0,
            past: HashMap::new(),
        }
    }

    /// The newest block whose logs are here.
    pub(super) fn head(&self) -> Option<Seen> {
        self.recent.back().copied()
    }

    /// The first block whose logs are not here yet.
    pub(super) fn next(&self) -> u64 {
        self.head().map_or(self.since, |head| head.number + 1)
    }

    /// The first block whose logs are of interest.
    pub(super) fn since(&self) -> u64 {
        self.since
    }

    /// The logs from `since` up to the block before this one are not here.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Takes the logs of the block after the newest one.
    pub(super) fn append(&mut self, block: Seen, logs: Vec<Found>) {
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(block);
        self.keep(logs);
    }

    /// Takes the logs of all blocks after the newest one up to `last`; what was remembered of hashes is too old then.
    pub(super) fn extend(&mut self, last: Seen, logs: Vec<Found>) {
        self.recent.clear();
        self.append(last, logs);
    }

    /// The newest block is no longer on the chain. When none is left that could be compared, or its logs are no longer here,
    /// all is read anew.
    pub(super) fn take_back(&mut self) {
        let gone = self.recent.pop_back();
        match (gone, self.recent.back()) {
            (Some(gone), Some(_)) if gone.number >= self.floor => drop(self.forget(gone.number)),
            _ => *self = Self::new(self.since, self.max_logs),
        }
    }

    /// The logs of a contract with this first argument, in the chain's order; `None` while those below `floor` are unknown.
    pub(super) fn find(&self, key: &Key) -> Option<Vec<Found>> {
        let past = self.past.get(key);
        if past.is_none() && self.floor > self.since {
            return None;
        }
        let both = [past, self.found.get(key)];
        Some(both.into_iter().flatten().flatten().cloned().collect())
    }

    /// Remembers the logs of this key that are below `floor`; not when that has risen since they were asked for.
    pub(super) fn remember(&mut self, key: Key, floor: u64, logs: Vec<Found>) {
        if floor != self.floor {
            return;
        }
        if self.past.len() >= MAX_PAST {
            self.past.clear();
        }
        self.past.insert(key, logs);
    }

    fn keep(&mut self, logs: Vec<Found>) {
        for log in logs {
            let Some(key) = log.key() else { continue };
            self.blocks.entry(log.block.number).or_default().push(key);
            self.found.entry(key).or_default().push(log);
            self.count += 1;
        }
        while self.count > self.max_logs
            && let Some((&oldest, _)) = self.blocks.first_key_value()
        {
            for log in self.forget(oldest) {
                let past = log.key().and_then(|key| self.past.get_mut(&key));
                if let Some(past) = past {
                    past.push(log);
                }
            }
            self.floor = oldest + 1;
        }
    }

    /// Takes out the logs of a block.
    fn forget(&mut self, number: u64) -> Vec<Found> {
        let mut gone = Vec::new();
        for key in self.blocks.remove(&number).unwrap_or_default() {
            let Some(found) = self.found.get_mut(&key) else { continue };
            gone.extend(found.extract_if(.., |log| log.block.number == number));
            if found.is_empty() {
                self.found.remove(&key);
            }
        }
        self.count -= gone.len();
        gone
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Bytes;
    use proptest::prelude::*;

    use super::*;

    const CONTRACT: Address = Address::repeat_byte(0xc0);
    const SINCE: u64 = 10;

    fn key(topic: u8) -> Key {
        (CONTRACT, B256::repeat_byte(topic))
    }

    /// A block whose hash says which of the branches it is on, and the topics of its logs.
    #[derive(Debug, Clone, PartialEq)]
    struct Made {
        seen: Seen,
        topics: Vec<u8>,
    }

    fn made(number: u64, branch: u8, topics: Vec<u8>) -> Made {
        let mut hash = B256::repeat_byte(branch);
        hash[..8].copy_from_slice(&number.to_be_bytes());
        Made { seen: Seen { number, hash }, topics }
    }

    fn logs(block: &Made) -> Vec<Found> {
        let found = |(at, topic): (usize, &u8)| Found {
            log: Log::new_unchecked(CONTRACT, vec![B256::ZERO, B256::repeat_byte(*topic)], Bytes::new()),
            block: block.seen,
            transaction: B256::repeat_byte(*topic),
            index: 0,
            log_index: at as u64,
            place: None,
        };
        block.topics.iter().enumerate().map(found).collect()
    }

    /// What a whole search of the chain finds.
    fn searched(chain: &[Made], topic: u8, below: u64) -> Vec<Found> {
        let all = chain.iter().filter(|block| block.seen.number < below).flat_map(logs);
        all.filter(|found| found.key() == Some(key(topic))).collect()
    }

    #[derive(Debug, Clone)]
    enum Move {
        Grow(Vec<u8>),
        Jump(Vec<Vec<u8>>),
        Undo(usize),
        Ask(u8),
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let topics = || prop::collection::vec(0_u8..3, 0..4);
        let one = prop_oneof![
            4 => topics().prop_map(Move::Grow),
            1 => prop::collection::vec(topics(), 1..6).prop_map(Move::Jump),
            2 => (1_usize..6).prop_map(Move::Undo),
            3 => (0_u8..3).prop_map(Move::Ask),
        ];
        prop::collection::vec(one, 1..60)
    }

    /// As [`super::super::follow`] does after a reorganisation: back to a block that the chain still has, or to nothing.
    fn rewind(index: &mut Index, chain: &[Made]) {
        while index.head().is_some_and(|head| chain.iter().all(|block| block.seen != head)) {
            index.take_back();
        }
        let next = index.next();
        for block in chain.iter().filter(|block| block.seen.number >= next) {
            index.append(block.seen, logs(block));
        }
    }

    proptest! {
        /// However the chain grows and undoes itself, and however little is remembered: what is found is what the chain holds.
        #[test]
        fn the_index_finds_what_the_chain_holds(moves in moves(), max_logs in 1_usize..12) {
            let mut index = Index::new(SINCE, max_logs);
            let mut chain: Vec<Made> = Vec::new();
            for (branch, one) in moves.into_iter().enumerate() {
                let next = SINCE + chain.len() as u64;
                match one {
                    Move::Grow(topics) => {
                        chain.push(made(next, branch as u8, topics));
                        rewind(&mut index, &chain);
                    }
                    Move::Jump(blocks) => {
                        let numbered = (next..).zip(blocks);
                        let new: Vec<_> =
                            numbered.map(|(number, topics)| made(number, branch as u8, topics)).collect();
                        index.extend(new.last().unwrap().seen, new.iter().flat_map(logs).collect());
                        chain.extend(new);
                    }
                    Move::Undo(depth) => {
                        chain.truncate(chain.len().saturating_sub(depth));
                        rewind(&mut index, &chain);
                    }
                    Move::Ask(topic) => {
                        let floor = index.floor();
                        if index.find(&key(topic)).is_none() {
                            index.remember(key(topic), floor, searched(&chain, topic, floor));
                        }
                        let got = index.find(&key(topic)).unwrap();
                        prop_assert_eq!(got, searched(&chain, topic, u64::MAX));
                    }
                }
                prop_assert!(index.count <= max_logs);
                prop_assert_eq!(index.count, index.found.values().map(Vec::len).sum::<usize>());
            }
        }
    }

    #[test]
    fn what_was_asked_for_below_another_floor_is_not_remembered() {
        let mut index = Index::new(SINCE, 1);
        let (first, second) = (made(SINCE, 0, vec![1]), made(SINCE + 1, 0, vec![1]));
        index.append(first.seen, logs(&first));
        let floor = index.floor();
        index.append(second.seen, logs(&second));
        index.remember(key(1), floor, Vec::new());
        assert_eq!(index.find(&key(1)), None);
    }

    #[test]
    fn hashes_are_remembered_of_the_newest_blocks_only() {
        let mut index = Index::new(0, 8);
        for number in 0..=MAX_RECENT as u64 {
            index.append(made(number, 0, vec![]).seen, Vec::new());
        }
        for left in (1..MAX_RECENT as u64).rev() {
            index.take_back();
            assert_eq!(index.next(), left + 1);
        }
        index.take_back();
        assert_eq!((index.head(), index.next()), (None, 0));
    }
}
