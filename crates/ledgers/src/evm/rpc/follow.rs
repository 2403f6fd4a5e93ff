//! Follows the contracts' logs, so that no question about a transaction searches the chain.
//!
//! What is far behind the newest block is read in ranges of at most [`MAX_RANGE`] blocks, fewer where the node asks for it.
//! The last [`NEAR`] blocks are read header by header, each the parent of the next. Where a header's bloom filter (Yellow
//! Paper, 4.4.3) may name one of our contracts, the block's logs are read by its hash (EIP-234), and must be all that
//! the header's bloom filter was made of. A block that is no longer the next one's parent is taken back.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use alloy_consensus::Header;
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{Address, B256, Bloom, BloomInput};
use alloy_rpc_types_eth::{self as eth, Filter};
use alloy_transport::TransportError;

use super::super::chain::{Chain, ChainError, Logged, Wanted};
use super::super::contracts::{DECISION, ESCROW, NOTARY};
use super::index::{Found, Index, Key, Seen};
use super::transport::TooLong;
use super::{RpcChain, checked, meant};

/// The most blocks whose logs are asked for at once; public nodes allow between 1,000 and 10,000.
pub(super) const MAX_RANGE: u64 = 10_000;
/// So many of the newest blocks are read one by one.
pub(super) const NEAR: u64 = 64;
/// The most steps for one question: the next one goes on where this one ended.
const MAX_STEPS: u32 = 256;
/// How many logs' places are remembered.
const MAX_PLACES: usize = 8_192;

/// A log's block and transaction: the index of the receipt's first log, and the block's time.
pub(super) type Places = HashMap<(B256, B256), (u64, u64)>;

/// The contracts whose logs are followed.
fn contracts() -> [Address; 3] {
    [&DECISION, &ESCROW, &NOTARY].map(|one| Address::from(one.address.0))
}

impl RpcChain {
    /// The `wanted` ones of a contract's logs with this first argument, as of a block that was the newest after this call
    /// began.
    pub(super) async fn find(
        &self,
        contract: Address,
        topic: B256,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Logged>, ChainError> {
        if !contracts().contains(&contract) {
            return Err(ChainError::Refused(format!("the logs of {contract} are not followed")));
        }
        self.followed.get(|| self.follow()).await?;
        let key = (contract, topic);
        let known = self.index().find(&key);
        let found = match known {
            Some(found) => found,
            None => self.read_past(key).await?,
        };
        let mut located = Vec::new();
        for found in found.into_iter().filter(|found| wanted(&found.log)) {
            located.extend(self.locate(found).await?);
        }
        Ok(located)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the logs of all blocks up to the newest.
    async fn follow(&self) -> Result<(), ChainError> {
        let (header, hash) = self.newest().await?;
        let head = Seen { number: header.number, hash };
        for _ in 0..MAX_STEPS {
            let (known, next) = {
                let index = self.index();
                (index.head(), index.next())
            };
            if known == Some(head) || known.is_none() && next > head.number {
                return Ok(());
            }
            // The node's answers may come from several machines, one of which is behind.
            let is_behind = known.is_some_and(|known| known.number >= head.number);
            let is_far = head.number.saturating_sub(next) >= NEAR;
            if let Some(known) = known
                && (is_behind || is_far)
            {
                if !self.holds(known).await? {
                    self.index().take_back();
                    continue;
                }
                if is_behind {
                    return Ok(());
                }
            }
            if is_far {
                self.leap(next, head.number - NEAR).await?;
            } else {
                let headers = self.headers_from(next, (header.clone(), hash)).await?;
                self.walk(known, headers).await?;
            }
        }
        let next = self.index().next();
        Err(ChainError::Away(format!("logs are read up to block {next}, the newest one is {}", head.number)))
    }

    /// Whether this block is on the chain.
    async fn holds(&self, block: Seen) -> Result<bool, ChainError> {
        let there = self.head(BlockNumberOrTag::Number(block.number)).await?;
        Ok(there.is_some_and(|(_, hash)| hash == block.hash))
    }

    /// Takes the logs of as many blocks as the node gives at once, `last` the last of them.
    async fn leap(&self, from: u64, last: u64) -> Result<(), ChainError> {
        let (to, logs) = self.range(Filter::new().address(contracts().to_vec()), from, last).await?;
        let header = self.head(BlockNumberOrTag::Number(to)).await?;
        let (_, hash) = header.ok_or_else(|| changing(to))?;
        // Were the logs those of another branch, the next block's parent would be another one than this.
        self.index().extend(Seen { number: to, hash }, logs);
        Ok(())
    }

    /// The headers of the blocks from `next` to the newest, which is there already.
    async fn headers_from(
        &self,
        next: u64,
        newest: (Header, B256),
    ) -> Result<Vec<(Header, B256)>, ChainError> {
        let mut headers = Vec::new();
        if next < newest.0.number {
            for (number, found) in (next..).zip(self.numbered(next..=newest.0.number - 1).await?) {
                headers.push(found.ok_or_else(|| changing(number))?);
            }
        }
        headers.push(newest);
        Ok(headers)
    }

    /// These blocks' headers, asked for in one batch.
    pub(super) async fn numbered(
        &self,
        numbers: RangeInclusive<u64>,
    ) -> Result<Vec<Option<(Header, B256)>>, ChainError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let mut batch = self.client.new_batch();
        let mut waiting = Vec::new();
        for number in numbers {
            let params = (BlockNumberOrTag::Number(number), false);
            let call = batch.add_call::<_, Option<eth::Block>>(METHOD, &params);
            waiting.push(call.map_err(|error| meant(METHOD, error))?);
        }
        batch.send().await.map_err(|error| meant(METHOD, error))?;
        let mut headers = Vec::new();
        for answer in waiting {
            let block = answer.await.map_err(|error| meant(METHOD, error))?;
            headers.push(block.map(|block| checked(block.header)).transpose()?);
        }
        Ok(headers)
    }

    /// Takes the logs of these blocks, if they follow on what is known; else the newest known one is taken back.
    async fn walk(&self, known: Option<Seen>, headers: Vec<(Header, B256)>) -> Result<(), ChainError> {
        let mut parent = known.map(|known| known.hash);
        for (place, (header, hash)) in headers.into_iter().enumerate() {
            if parent.is_some_and(|parent| parent != header.parent_hash) {
                if place > 0 {
                    return Err(changing(header.number));
                }
                self.index().take_back();
                return Ok(());
            }
            let block = Seen { number: header.number, hash };
            let logs = self.logs_of(block, &header).await?;
            self.index().append(block, logs);
            parent = Some(hash);
        }
        Ok(())
    }

    /// The contracts' logs in this block.
    async fn logs_of(&self, block: Seen, header: &Header) -> Result<Vec<Found>, ChainError> {
        let may_hold = |one: &Address| header.logs_bloom.contains_input(BloomInput::Raw(one.as_slice()));
        if !contracts().iter().any(may_hold) {
            return Ok(Vec::new());
        }
        let logs: Vec<eth::Log> = self.ask("eth_getLogs", (Filter::new().at_block_hash(block.hash),)).await?;
        let mut bloom = Bloom::ZERO;
        logs.iter().for_each(|log| bloom.accrue_log(&log.inner));
        if bloom != header.logs_bloom {
            // Nodes show a block before its logs; what is incomplete is asked for again.
            return Err(ChainError::Away(format!(
                "the logs of block {} are not all there yet",
                block.number
            )));
        }
        // Of all logs of the block, the first of each transaction.
        let mut firsts: HashMap<B256, u64> = HashMap::new();
        for (transaction, at) in logs.iter().filter_map(|log| log.transaction_hash.zip(log.log_index)) {
            let first = firsts.entry(transaction).or_insert(at);
            *first = at.min(*first);
        }
        let ours = logs.into_iter().filter(|log| contracts().contains(&log.inner.address));
        let placed = ours.filter_map(found).map(|found| Found {
            place: firsts.get(&found.transaction).map(|first| (*first, header.timestamp)),
            ..found
        });
        Ok(placed.filter(|found| found.block == block).collect())
    }

    /// Logs that are no longer remembered, and those that are.
    async fn read_past(&self, key: Key) -> Result<Vec<Found>, ChainError> {
        let floor = self.index().floor();
        let mut past = Vec::new();
        let mut from = self.index().since();
        for _ in 0..MAX_STEPS {
            if from >= floor {
                let mut index = self.index();
                index.remember(key, floor, past);
                let found = index.find(&key);
                // The floor has risen meanwhile.
                return found.ok_or_else(|| changing(floor));
            }
            let filter = Filter::new().address(key.0).topic1(key.1);
            let (to, logs) = self.range(filter, from, floor - 1).await?;
            past.extend(logs);
            from = to + 1;
        }
        Err(ChainError::Away(format!("the logs below block {floor} are too many ranges away")))
    }

    /// The logs of a range that begins at `from` and ends at `last` or before: where it ends, and what it holds.
    async fn range(&self, filter: Filter, from: u64, last: u64) -> Result<(u64, Vec<Found>), ChainError> {
        const METHOD: &str = "eth_getLogs";
        loop {
            let range = self.range.load(Ordering::Relaxed).max(1);
            let to = last.min(from.saturating_add(range - 1));
            let filter = filter.clone().from_block(from).to_block(to);
            match self.client.request::<_, Vec<eth::Log>>(METHOD, (filter,)).await {
                Ok(logs) => {
                    self.range.store((range + range / 8 + 1).min(MAX_RANGE), Ordering::Relaxed);
                    return Ok((to, logs.into_iter().filter_map(found).collect()));
                }
                Err(error) if to > from && is_too_much(&error) => {
                    self.range.store((to - from).div_ceil(2), Ordering::Relaxed);
                }
                Err(error) => return Err(meant(METHOD, error)),
            }
        }
    }

    /// Where in its receipt a log stands, and when; `None` if it is not on the chain.
    async fn locate(&self, found: Found) -> Result<Option<Logged>, ChainError> {
        let place = match found.place {
            Some(place) => Some(place),
            None => self.place(found.block, found.transaction).await?,
        };
        let Some((first, time)) = place else { return Ok(None) };
        let block = found.block;
        let log_index = found.log_index.checked_sub(first).and_then(|at| u32::try_from(at).ok());
        let log_index = log_index.ok_or_else(|| {
            ChainError::Nonsense(format!("log {} of block {} has no place", found.log_index, block.number))
        })?;
        Ok(Some(Logged {
            log: found.log,
            block: block.number,
            block_hash: block.hash,
            transaction: found.transaction,
            index: found.index,
            log_index,
            time,
        }))
    }

    async fn place(&self, block: Seen, transaction: B256) -> Result<Option<(u64, u64)>, ChainError> {
        let known = self.places().get(&(block.hash, transaction)).copied();
        if known.is_some() {
            return Ok(known);
        }
        let receipt = self.receipt(transaction).await?;
        let receipt = receipt.filter(|receipt| receipt.block_hash == Some(block.hash));
        let header = self.header(block.number).await?.filter(|header| header.hash_slow() == block.hash);
        let first = receipt.as_ref().and_then(|receipt| receipt.inner.logs().first()?.log_index);
        let (Some(first), Some(header)) = (first, header) else {
            // The chain is just changing its mind about this block.
            return Ok(None);
        };
        let mut places = self.places();
        if places.len() >= MAX_PLACES {
            places.clear();
        }
        places.insert((block.hash, transaction), (first, header.timestamp));
        Ok(Some((first, header.timestamp)))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A log that is in a block.
fn found(log: eth::Log) -> Option<Found> {
    if log.removed {
        return None;
    }
    Some(Found {
        block: Seen { number: log.block_number?, hash: log.block_hash? },
        transaction: log.transaction_hash?,
        index: u32::try_from(log.transaction_index?).ok()?,
        log_index: log.log_index?,
        log: log.inner,
        place: None,
    })
}

/// Whether fewer blocks may be answered: nodes have their own words for it.
fn is_too_much(error: &TransportError) -> bool {
    match error {
        TransportError::ErrorResp(_) => true,
        TransportError::Transport(alloy_transport::TransportErrorKind::Custom(error)) => {
            error.is::<TooLong>()
        }
        _ => false,
    }
}

fn changing(number: u64) -> ChainError {
    ChainError::Away(format!("the chain is just changing its mind about block {number}"))
}
