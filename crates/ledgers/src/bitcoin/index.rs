//! What the chain holds of SOFIE's: marks, what became of the locks beside them, and the coins of the keys held here.
//!
//! Built by walking blocks from a configured height on, and taken back block by block when the chain changes its mind;
//! it needs neither the node's wallet nor its `txindex`, and is in memory only: a restart walks again. The coins as of
//! the walk's first end are asked of the node (`scantxoutset`), since they may be older than the walk.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bitcoin::{Block, BlockHash, OutPoint, ScriptBuf, Transaction, block::Header};
use sofie_model::proof::bitcoin::Mark;

use super::rpc::{Node, RpcError};

/// Blocks that one call walks at the most: two weeks of them.
pub(super) const MAX_WALK: usize = 2_016;
/// How often a walk begins again when the chain changes under it.
const MAX_RESTARTS: usize = 5;
/// A block's clock is the median of so many headers' times, its own included (BIP 113).
const MEDIAN_OF: usize = 11;
/// A block's reward may be spent so many blocks later (`COINBASE_MATURITY`).
const MATURITY: u64 = 100;
/// Outputs of a marked transaction whose spends are remembered.
const MAX_FOLLOWED: usize = 8;

/// A transaction in a block.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) height: u64,
    /// Its place in the block.
    pub(super) index: u32,
    pub(super) transaction: Transaction,
}

/// An unspent output of a key held here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coin {
    pub(super) script: ScriptBuf,
    pub(super) value: u64,
    height: u64,
    coinbase: bool,
}

/// One block of the walk, and all that must be taken back with it.
#[derive(Debug)]
struct Walked {
    hash: BlockHash,
    /// Median time past, in seconds.
    clock: u32,
    marks: Vec<Mark>,
    followed: Vec<OutPoint>,
    spends: Vec<OutPoint>,
    earned: Vec<OutPoint>,
    spent: Vec<(OutPoint, Coin)>,
}

/// The walk's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) hash: BlockHash,
    pub(super) height: u64,
    /// Median time past, in seconds.
    pub(super) clock: u32,
}

/// What the chain holds of SOFIE's.
#[derive(Debug)]
pub(super) struct Index {
    /// The walk's first block has this height.
    since: u64,
    scripts: BTreeSet<ScriptBuf>,
    /// Headers' times before and within the walk, of the last [`MEDIAN_OF`] blocks.
    times: VecDeque<u32>,
    walked: Vec<Walked>,
    marked: HashMap<Mark, Vec<Placed>>,
    followed: BTreeSet<OutPoint>,
    spends: HashMap<OutPoint, Placed>,
    coins: BTreeMap<OutPoint, Coin>,
    /// The coins are those at this height or later ones; `None`: the node must be asked.
    counted: Option<u64>,
}

impl Index {
    pub(super) fn new(since: u64, scripts: BTreeSet<ScriptBuf>) -> Self {
        Self {
            since,
            scripts,
            times: VecDeque::new(),
            walked: Vec::new(),
            marked: HashMap::new(),
            followed: BTreeSet::new(),
            spends: HashMap::new(),
            coins: BTreeMap::new(),
            counted: None,
        }
    }

    /// Walks to the head of the chain with the most work.
    pub(super) async fn sync(&mut self, node: &Node) -> Result<End, RpcError> {
        for _ in 0..MAX_RESTARTS {
            let best = node.best_block().await?;
            if self.end().is_none_or(|end| end.hash != best) && !self.walk(node).await? {
                continue;
            }
            let end = self.end().ok_or_else(|| {
                RpcError::Away(format!("the chain is not yet at height {}, the walk's first", self.since))
            })?;
            if self.counted.is_some() || self.count(node, end).await? {
                return Ok(end);
            }
        }
        Err(RpcError::Away("the chain changes while it is read".into()))
    }

    /// Takes back what is no longer on the chain and adds what is new. `false`: it changed meanwhile.
    async fn walk(&mut self, node: &Node) -> Result<bool, RpcError> {
        while let Some(end) = self.end() {
            if node.block_hash(end.height).await? == Some(end.hash) {
                break;
            }
            self.take_back(node).await?;
        }
        for _ in 0..MAX_WALK {
            let height = self.next_height();
            let Some(hash) = node.block_hash(height).await? else { return Ok(true) };
            if self.walked.is_empty() {
                self.times = times_before(node, hash, self.since).await?;
            }
            let block = node.block(hash).await?;
            if self.walked.last().is_some_and(|last| last.hash != block.header.prev_blockhash) {
                return Ok(false);
            }
            self.add(hash, &block);
        }
        match node.block_hash(self.next_height()).await? {
            None => Ok(true),
            Some(_) => {
                Err(RpcError::Away(format!("its blocks are being read, {} by now", self.walked.len())))
            }
        }
    }

    fn next_height(&self) -> u64 {
        self.since + self.walked.len() as u64
    }

    /// Where the walk is.
    pub(super) fn end(&self) -> Option<End> {
        let last = self.walked.last()?;
        Some(End { hash: last.hash, height: self.next_height() - 1, clock: last.clock })
    }

    fn add(&mut self, hash: BlockHash, block: &Block) {
        let height = self.next_height();
        if self.times.len() == MEDIAN_OF {
            self.times.pop_front();
        }
        self.times.push_back(block.header.time);
        let mut walked = Walked {
            hash,
            clock: median(&self.times),
            marks: vec![],
            followed: vec![],
            spends: vec![],
            earned: vec![],
            spent: vec![],
        };
        for (index, transaction) in (0..).zip(&block.txdata) {
            let placed = || Placed { height, index, transaction: transaction.clone() };
            self.note_spends(transaction, &placed, &mut walked);
            self.note_outputs(transaction, &placed, &mut walked);
        }
        self.walked.push(walked);
    }

    fn note_spends(&mut self, transaction: &Transaction, placed: &dyn Fn() -> Placed, walked: &mut Walked) {
        for input in &transaction.input {
            let outpoint = input.previous_output;
            let coin = self.coins.remove(&outpoint);
            if coin.is_some() || self.followed.contains(&outpoint) {
                self.spends.insert(outpoint, placed());
                walked.spends.push(outpoint);
            }
            walked.spent.extend(coin.map(|coin| (outpoint, coin)));
        }
    }

    fn note_outputs(&mut self, transaction: &Transaction, placed: &dyn Fn() -> Placed, walked: &mut Walked) {
        let marks: BTreeSet<Mark> =
            transaction.output.iter().filter_map(|one| Mark::read(one.script_pubkey.as_bytes())).collect();
        let ours = |script: &ScriptBuf| self.scripts.contains(script);
        if marks.is_empty() && !transaction.output.iter().any(|one| ours(&one.script_pubkey)) {
            return;
        }
        let txid = transaction.compute_txid();
        for (vout, output) in (0..).zip(&transaction.output) {
            let outpoint = OutPoint::new(txid, vout);
            if self.scripts.contains(&output.script_pubkey) {
                let (script, value) = (output.script_pubkey.clone(), output.value.to_sat());
                let height = self.next_height();
                let coin = Coin { script, value, height, coinbase: transaction.is_coinbase() };
                self.coins.insert(outpoint, coin);
                walked.earned.push(outpoint);
            }
            if !marks.is_empty() && (vout as usize) < MAX_FOLLOWED && self.followed.insert(outpoint) {
                walked.followed.push(outpoint);
            }
        }
        for mark in marks {
            self.marked.entry(mark).or_default().push(placed());
            walked.marks.push(mark);
        }
    }

    async fn take_back(&mut self, node: &Node) -> Result<(), RpcError> {
        // The only question comes first: whoever gets no answer has taken nothing back.
        let before = self.walked.len().checked_sub(2).and_then(|at| self.walked.get(at));
        let times = match before {
            Some(before) => times_until(node, before.hash).await?,
            None => VecDeque::new(),
        };
        let Some(walked) = self.walked.pop() else { return Ok(()) };
        for mark in &walked.marks {
            if let Some(places) = self.marked.get_mut(mark) {
                places.pop();
                if places.is_empty() {
                    self.marked.remove(mark);
                }
            }
        }
        for outpoint in &walked.followed {
            self.followed.remove(outpoint);
        }
        for outpoint in &walked.spends {
            self.spends.remove(outpoint);
        }
        // A coin that is earned and spent in the same block is in both lists: it must be gone in the end.
        self.coins.extend(walked.spent);
        for outpoint in &walked.earned {
            self.coins.remove(outpoint);
        }
        if self.counted.is_none_or(|height| height >= self.next_height()) {
            self.counted = None;
        }
        self.times = times;
        Ok(())
    }

    /// Asks the node for the coins as of the walk's end. `false`: it answers for another block.
    async fn count(&mut self, node: &Node, end: End) -> Result<bool, RpcError> {
        if self.scripts.is_empty() {
            self.counted = Some(end.height);
            return Ok(true);
        }
        let (at, unspent) = node.unspent(self.scripts.iter()).await?;
        if at != end.hash {
            return Ok(false);
        }
        let coin = |one: super::rpc::Unspent| {
            let super::rpc::Unspent { outpoint, script, value, height, coinbase } = one;
            (outpoint, Coin { script, value, height, coinbase })
        };
        self.coins = unspent.into_iter().map(coin).collect();
        self.counted = Some(end.height);
        Ok(true)
    }

    /// The transactions with this mark, in the chain's order.
    pub(super) fn marked(&self, mark: Mark) -> &[Placed] {
        self.marked.get(&mark).map_or(&[], Vec::as_slice)
    }

    /// What spends an output of a marked transaction, or a coin of ours, on the chain.
    pub(super) fn spender(&self, outpoint: OutPoint) -> Option<&Placed> {
        self.spends.get(&outpoint)
    }

    /// Every coin of this script, those that are not yet mature included.
    pub(super) fn coins(&self, script: &ScriptBuf) -> impl Iterator<Item = (OutPoint, &Coin)> {
        self.coins.iter().filter(move |(_, coin)| coin.script == *script).map(|(at, coin)| (*at, coin))
    }

    /// Whether the coin can be spent in the next block.
    pub(super) fn is_mature(&self, coin: &Coin) -> bool {
        !coin.coinbase || self.next_height() >= coin.height + MATURITY
    }

    /// The walked block of this height: its hash and its clock.
    pub(super) fn block(&self, height: u64) -> Option<(BlockHash, u32)> {
        let walked = self.walked.get(usize::try_from(height.checked_sub(self.since)?).ok()?)?;
        Some((walked.hash, walked.clock))
    }
}

/// Times of the headers before the walk's first block, the oldest first.
async fn times_before(node: &Node, first: BlockHash, since: u64) -> Result<VecDeque<u32>, RpcError> {
    if since == 0 {
        return Ok(VecDeque::new());
    }
    let before = node.header(first).await?.prev_blockhash;
    times_until(node, before).await
}

/// Times of the last headers up to this block, the oldest first.
async fn times_until(node: &Node, last: BlockHash) -> Result<VecDeque<u32>, RpcError> {
    let headers = headers_until(node, last, MEDIAN_OF).await?;
    Ok(headers.iter().map(|header| header.time).collect())
}

/// The last `count` headers up to this block, or as many as there are, the oldest first.
pub(super) async fn headers_until(
    node: &Node,
    last: BlockHash,
    count: usize,
) -> Result<VecDeque<Header>, RpcError> {
    let mut headers = VecDeque::new();
    let mut hash = last;
    while headers.len() < count {
        let header = node.header(hash).await?;
        hash = header.prev_blockhash;
        headers.push_front(header);
        if hash == BlockHash::from_raw_hash(bitcoin::hashes::Hash::all_zeros()) {
            break;
        }
    }
    Ok(headers)
}

fn median(times: &VecDeque<u32>) -> u32 {
    let mut sorted: Vec<u32> = times.iter().copied().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
