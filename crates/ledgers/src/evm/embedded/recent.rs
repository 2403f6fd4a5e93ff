//! Which logs a topic has, remembered: whoever follows a transaction asks for the same ones several times, and most often
//! nothing has come. An answer that was read from the file once is kept up to date with each new block.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use alloy_primitives::{Address, B256};

use super::store::NewBlock;
use crate::evm::chain::Logged;

/// How many topics are remembered: at least half as many as were asked for last, at about 1 kB each.
const MAX_TOPICS: usize = 16_384;
/// One with more logs is read from the file each time: anyone can make a contract emit logs of a topic.
pub(super) const MAX_LOGS: usize = 64;

/// A contract, and the first indexed argument of its logs.
type Topic = (Address, B256);
/// All of a topic's logs, in the chain's order.
type Logs = Arc<Vec<Logged>>;

/// The answers. Two generations: when the younger one is full it takes the place of the older one, which is forgotten.
#[derive(Default)]
pub(super) struct Recent(Mutex<Answers>);

#[derive(Default)]
struct Answers {
    young: HashMap<Topic, Logs>,
    old: HashMap<Topic, Logs>,
    /// The newest block that they know of.
    height: u64,
}

/// For an answer that is not remembered: it is kept only if no block came while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl Recent {
    /// All logs of a topic.
    pub(super) fn find(&self, topic: Topic) -> Result<Logs, Ticket> {
        let mut answers = self.lock();
        if let Some(logs) = answers.young.get(&topic) {
            return Ok(Arc::clone(logs));
        }
        match answers.old.remove(&topic) {
            Some(logs) => {
                answers.put(topic, Arc::clone(&logs));
                Ok(logs)
            }
            None => Err(Ticket(answers.height)),
        }
    }

    /// Remembers what was read from the file since `ticket`: all logs of the topic.
    pub(super) fn learn(&self, topic: Topic, logs: &Logs, ticket: Ticket) {
        let mut answers = self.lock();
        if answers.height == ticket.0 && logs.len() <= MAX_LOGS {
            answers.put(topic, Arc::clone(logs));
        }
    }

    /// A block is on the disk. Called before anybody sees its number.
    pub(super) fn grow(&self, block: &NewBlock<'_>) {
        let mut answers = self.lock();
        answers.height = block.header.number;
        for (index, ran) in (0..).zip(block.transactions) {
            for (log_index, log) in (0..).zip(&ran.logs) {
                let Some(about) = log.topics().get(1) else { continue };
                answers.add((log.address, *about), || Logged {
                    log: log.clone(),
                    block: block.header.number,
                    block_hash: block.hash,
                    transaction: ran.signed.hash,
                    index,
                    log_index,
                    time: block.header.timestamp,
                });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Answers {
    fn put(&mut self, topic: Topic, logs: Logs) {
        if self.young.len() >= MAX_TOPICS / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(topic, logs);
    }

    fn add(&mut self, topic: Topic, logged: impl FnOnce() -> Logged) {
        let known = self.young.get_mut(&topic).or_else(|| self.old.get_mut(&topic));
        let Some(logs) = known else { return };
        let logged = logged();
        // Read from the file just before: then all that this block has of it is there already.
        let place = |one: &Logged| (one.block, one.index, one.log_index);
        if logs.last().is_some_and(|last| place(last) >= place(&logged)) {
            return;
        }
        if logs.len() < MAX_LOGS {
            Arc::make_mut(logs).push(logged);
        } else {
            self.young.remove(&topic);
            self.old.remove(&topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Bytes, Log};

    use super::*;
    use crate::evm::embedded::execute::Ran;
    use crate::evm::signed::Signed;

    /// A transaction that emits so many logs of a topic.
    fn ran((contract, about): Topic, count: usize) -> Ran {
        let log = Log::new_unchecked(contract, vec![B256::ZERO, about], Bytes::new());
        let signed = Signed {
            raw: Bytes::new(),
            hash: B256::repeat_byte(7),
            sender: Address::ZERO,
            transaction: Default::default(),
        };
        let logs = vec![log; count];
        Ran { signed, success: true, logs, bloom: Default::default(), receipt: Bytes::new() }
    }

    /// The chain: all logs of a topic, and the answers that follow it.
    #[derive(Default)]
    struct Chain {
        recent: Recent,
        file: Vec<Logged>,
        number: u64,
    }

    impl Chain {
        /// A block is on the disk; `told` is what happens before the answers hear of it.
        fn block(&mut self, topic: Topic, count: usize, told: impl FnOnce(&Self)) {
            self.number += 1;
            let header = alloy_consensus::Header { number: self.number, ..Default::default() };
            let (hash, transactions, changes) =
                (B256::with_last_byte(1), [ran(topic, count)], Default::default());
            let transaction = transactions[0].signed.hash;
            let logged = |(log, log_index): (&Log, u32)| Logged {
                log: log.clone(),
                block: self.number,
                block_hash: hash,
                transaction,
                index: 0,
                log_index,
                time: header.timestamp,
            };
            self.file.extend(transactions[0].logs.iter().zip(0..).map(logged));
            told(self);
            let block = NewBlock { header: &header, hash, transactions: &transactions, changes: &changes };
            self.recent.grow(&block);
        }

        fn learn(&self, topic: Topic, ticket: Ticket) {
            self.recent.learn(topic, &Arc::new(self.file.clone()), ticket);
        }
    }

    const TOPIC: Topic = (Address::repeat_byte(1), B256::repeat_byte(2));

    #[test]
    fn what_was_read_once_grows_with_the_chain() {
        let mut chain = Chain::default();
        chain.block(TOPIC, 1, |_| ());
        chain.learn(TOPIC, chain.recent.find(TOPIC).unwrap_err());
        for count in [0, 2, 1, 3] {
            chain.block(TOPIC, count, |_| ());
            assert_eq!(*chain.recent.find(TOPIC).unwrap(), chain.file);
        }
        assert_eq!(chain.file.len(), 7);
        assert!(chain.recent.find((TOPIC.0, B256::ZERO)).is_err(), "another topic's");
    }

    #[test]
    fn a_block_that_comes_while_it_is_read_is_neither_missed_nor_told_twice() {
        let mut chain = Chain::default();
        let ticket = chain.recent.find(TOPIC).unwrap_err();
        let before = chain.file.clone();
        chain.block(TOPIC, 1, |_| ());
        chain.recent.learn(TOPIC, &Arc::new(before), ticket);
        let ticket = chain.recent.find(TOPIC).expect_err("it misses a block");
        // The file shows a block before the answers hear of it.
        chain.block(TOPIC, 2, |chain| chain.learn(TOPIC, ticket));
        assert_eq!(*chain.recent.find(TOPIC).unwrap(), chain.file);
    }

    #[test]
    fn a_topic_with_too_many_logs_and_the_oldest_topics_are_forgotten() {
        let mut chain = Chain::default();
        chain.learn(TOPIC, chain.recent.find(TOPIC).unwrap_err());
        chain.block(TOPIC, MAX_LOGS, |_| ());
        assert!(chain.recent.find(TOPIC).is_ok());
        chain.block(TOPIC, 1, |_| ());
        chain.learn(TOPIC, chain.recent.find(TOPIC).expect_err("one more than is remembered"));
        assert!(chain.recent.find(TOPIC).is_err());
        let topic = |number: usize| (Address::ZERO, B256::left_padding_from(&number.to_be_bytes()));
        for number in 0..=MAX_TOPICS {
            chain.recent.learn(topic(number), &Arc::default(), Ticket(2));
            assert!(chain.recent.find(topic(1)).is_ok() || number == 0, "asked for all the time");
        }
        assert!(chain.recent.find(topic(0)).is_err() && chain.recent.find(topic(MAX_TOPICS)).is_ok());
    }
}
