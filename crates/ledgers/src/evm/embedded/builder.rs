//! The one who makes blocks: takes what is queued, runs it, writes one block, and only then answers.
//!
//! While a block is being written the next transactions queue up, so that the cost of reaching the disk is shared (group
//! commit). A transaction whose nonce lies ahead is parked until the ones before it have come; like any chain's pool,
//! the parked ones do not survive a restart.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, RwLock};

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header};
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{Address, B256, Bloom, Bytes, U256, address};
use alloy_trie::EMPTY_ROOT_HASH;
use sofie_model::proof::evm::trie;
use tokio::sync::{mpsc, oneshot};

use super::execute::{Env, Ran, Run};
use super::recent::Recent;
use super::store::{NewBlock, Store};
use super::world::{Changes, World};
use crate::Clock;
use crate::evm::chain::ChainError;
use crate::evm::signed::Signed;

/// How many transactions wait for the builder; the next `submit` waits for room.
pub const MAX_QUEUED: usize = 4_096;
/// The most transactions of a block.
pub const MAX_BLOCK_TRANSACTIONS: usize = 2_048;
/// The most gas of a block: about twice what [`MAX_BLOCK_TRANSACTIONS`] of ours may use.
pub const BLOCK_GAS_LIMIT: u64 = 2_000_000_000;
/// How far ahead of the account's nonce a parked transaction may be.
pub const MAX_AHEAD: u64 = 4_096;
/// The most parked transactions of all accounts.
pub const MAX_PARKED: usize = 65_536;
/// Who gets the priority fees.
pub const COINBASE: Address = address!("0x0000000000000000000000000000000000000fee");

/// How a transaction was taken.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is in a block that is on the disk.
    Mined,
    /// It waits for an earlier nonce. The other end is dropped once it waits no longer: mined or not.
    Parked(oneshot::Receiver<()>),
}

type Reply = oneshot::Sender<Result<Taken, ChainError>>;

/// One transaction on its way.
pub(super) struct Submission {
    pub(super) signed: Signed,
    pub(super) reply: Reply,
}

/// What the builder thread owns.
pub(super) struct Builder {
    pub(super) chain_id: u64,
    pub(super) base_fee: u64,
    pub(super) world: Arc<RwLock<World>>,
    pub(super) store: Store,
    pub(super) recent: Arc<Recent>,
    pub(super) clock: Clock,
    pub(super) parked: Parked,
}

/// Transactions that wait for an earlier nonce.
#[derive(Default)]
pub(super) struct Parked {
    of: HashMap<Address, BTreeMap<u64, Waiting>>,
    count: usize,
    /// Whose turn it is, but the last block was full.
    ready: BTreeSet<Address>,
}

/// One of them, and whoever wants to know when it waits no longer.
struct Waiting {
    signed: Signed,
    told: oneshot::Sender<()>,
}

/// A block that was run and is not yet written.
struct Built {
    header: Header,
    hash: B256,
    transactions: Vec<Ran>,
    changes: Changes,
    sum: U256,
    replies: Vec<Reply>,
    /// Of those that were parked: dropped once the block is on the disk.
    unparked: Vec<oneshot::Sender<()>>,
}

impl Builder {
    /// Works until every sender is gone.
    pub(super) fn work(mut self, mut queue: mpsc::Receiver<Submission>) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() && self.parked.ready.is_empty() {
                match queue.blocking_recv() {
                    Some(first) => waiting.push_back(first),
                    None => return,
                }
            }
            while waiting.len() < MAX_BLOCK_TRANSACTIONS
                && let Ok(next) = queue.try_recv()
            {
                waiting.push_back(next);
            }
            if let Some(built) = self.build(&mut waiting) {
                self.write(built);
            }
        }
    }

    fn build(&mut self, waiting: &mut VecDeque<Submission>) -> Option<Built> {
        let shared = Arc::clone(&self.world);
        let world = shared.read().expect("no holder of this lock panics");
        let env = self.env(&world.head);
        let mut run = Run::new(&world, env);
        let (mut transactions, mut replies, mut unparked) = (Vec::new(), Vec::new(), Vec::new());
        for sender in std::mem::take(&mut self.parked.ready) {
            self.parked.follow(sender, &mut run, &mut transactions, &mut unparked);
        }
        while let Some(Submission { signed, reply }) = waiting.pop_front() {
            if transactions.len() >= MAX_BLOCK_TRANSACTIONS || !run.has_room(&signed) {
                if transactions.is_empty() {
                    answer(reply, Err(ChainError::Refused("more gas than a block has".into())));
                    continue;
                }
                waiting.push_front(Submission { signed, reply });
                break;
            }
            let next = run.nonce(&signed.sender);
            if signed.transaction.nonce != next {
                answer(reply, self.out_of_turn(signed, next));
                continue;
            }
            let sender = signed.sender;
            match run.run(signed) {
                Ok(ran) => {
                    transactions.push(ran);
                    replies.push(reply);
                    self.parked.follow(sender, &mut run, &mut transactions, &mut unparked);
                }
                Err(error) => answer(reply, Err(error)),
            }
        }
        if transactions.is_empty() {
            return None;
        }
        let gas_used = run.gas_used;
        let changes = run.into_changes();
        let (sum, state_root) = world.state_digest(&changes);
        let header = header(&world, env, state_root, gas_used, &transactions);
        let hash = header.hash_slow();
        Some(Built { header, hash, transactions, changes, sum, replies, unparked })
    }

    fn out_of_turn(&mut self, signed: Signed, next: u64) -> Result<Taken, ChainError> {
        let nonce = signed.transaction.nonce;
        if nonce < next {
            return Err(ChainError::NonceUsed(format!("{nonce} of {}, next is {next}", signed.sender)));
        }
        if nonce - next > MAX_AHEAD {
            let why = format!("nonce {nonce} of {} is too far ahead of {next}", signed.sender);
            return Err(ChainError::Away(why));
        }
        self.parked.park(signed)
    }

    fn write(&mut self, built: Built) {
        let Built { header, hash, transactions, changes, sum, replies, unparked } = built;
        let block = NewBlock { header: &header, hash, transactions: &transactions, changes: &changes };
        let written = self.store.append(&block).map_err(|error| {
            tracing::error!(%error, block = header.number, "the embedded chain cannot write a block");
            ChainError::Away(format!("the chain file takes no block: {error}"))
        });
        if written.is_ok() {
            self.recent.grow(&block);
            self.world.write().expect("no holder of this lock panics").apply(changes, sum, header, hash);
        }
        for reply in replies {
            answer(reply, written.clone().map(|()| Taken::Mined));
        }
        // Who waits for these looks at the chain now.
        drop(unparked);
    }

    fn env(&self, parent: &Header) -> Env {
        Env {
            chain_id: self.chain_id,
            number: parent.number + 1,
            time: (self.clock)().as_seconds().max(parent.timestamp),
            gas_limit: BLOCK_GAS_LIMIT,
            base_fee: self.base_fee,
            coinbase: COINBASE,
        }
    }
}

impl Parked {
    fn park(&mut self, signed: Signed) -> Result<Taken, ChainError> {
        if self.count >= MAX_PARKED {
            return Err(ChainError::Away("too many transactions wait for earlier ones".into()));
        }
        let nonce = signed.transaction.nonce;
        let waiting = self.of.entry(signed.sender).or_default();
        match waiting.get(&nonce) {
            Some(there) if there.signed.hash == signed.hash => Err(ChainError::Known),
            Some(_) => Err(ChainError::Away(format!("another transaction waits with nonce {nonce}"))),
            None => {
                let (told, parked) = oneshot::channel();
                waiting.insert(nonce, Waiting { signed, told });
                self.count += 1;
                Ok(Taken::Parked(parked))
            }
        }
    }

    /// Runs what waited for the transaction that `sender` just got into the block.
    fn follow(
        &mut self,
        sender: Address,
        run: &mut Run<'_>,
        transactions: &mut Vec<Ran>,
        unparked: &mut Vec<oneshot::Sender<()>>,
    ) {
        let Some(waiting) = self.of.get_mut(&sender) else { return };
        while let Some(entry) = waiting.first_entry() {
            let next = run.nonce(&sender);
            if *entry.key() > next {
                break;
            }
            if transactions.len() >= MAX_BLOCK_TRANSACTIONS || !run.has_room(&entry.get().signed) {
                self.ready.insert(sender);
                break;
            }
            self.count -= 1;
            let Waiting { signed, told } = entry.remove();
            if signed.transaction.nonce < next {
                continue;
            }
            match run.run(signed) {
                Ok(ran) => {
                    transactions.push(ran);
                    unparked.push(told);
                }
                // It was taken long ago: nobody waits for this answer, and its nonce stays free.
                Err(error) => tracing::warn!(%sender, %error, "a parked transaction was dropped"),
            }
        }
        if waiting.is_empty() {
            self.of.remove(&sender);
        }
    }
}

/// The one who asked may have gone: that is no fault.
fn answer(reply: Reply, result: Result<Taken, ChainError>) {
    drop(reply.send(result));
}

/// A block's header, with the fields of Prague.
fn header(world: &World, env: Env, state_root: B256, gas_used: u64, transactions: &[Ran]) -> Header {
    let raw: Vec<&Bytes> = transactions.iter().map(|ran| &ran.signed.raw).collect();
    let receipts: Vec<&Bytes> = transactions.iter().map(|ran| &ran.receipt).collect();
    let mut logs_bloom = Bloom::default();
    for ran in transactions {
        logs_bloom |= ran.bloom;
    }
    Header {
        parent_hash: world.head_hash(),
        beneficiary: env.coinbase,
        state_root,
        transactions_root: trie::root(&raw),
        receipts_root: trie::root(&receipts),
        logs_bloom,
        number: env.number,
        gas_limit: env.gas_limit,
        gas_used,
        timestamp: env.time,
        base_fee_per_gas: Some(env.base_fee),
        ..prague()
    }
}

/// The fields that are the same in every block.
pub(super) fn prague() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        extra_data: Bytes::from_static(b"sofie"),
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}
