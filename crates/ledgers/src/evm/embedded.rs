//! An Ethereum chain inside the process: one operator, no consensus, real blocks.
//!
//! Signed EIP-1559 transactions run in `revm` under the rules of Prague; headers, receipts, bloom filters and both tries
//! are those of the Yellow Paper, so that [`sofie_model::proof::evm`] verifies them like any other chain's. A block is
//! made when there is something to put into it, holds everything that was queued, and is on the disk before anybody is
//! answered. What differs from a public chain: the base fee is constant, two blocks may carry the same time, and the
//! state root is a digest of the state that is **not** the root of Ethereum's state trie (docs/adr/0001-embedded-evm.md).

mod builder;
mod execute;
mod read;
mod recent;
mod store;
mod world;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use async_trait::async_trait;
use revm::bytecode::Bytecode;
use revm::state::AccountInfo;
use rusqlite::Connection;
use sofie_model::{Account, contract};
use tokio::sync::{mpsc, oneshot};

use super::chain::{At, Block, Call, Chain, ChainError, Logged, Mined, Tip, Wanted};
use super::contracts::PROXY_CODE;
use super::signed::Signed;
use crate::Clock;
use builder::{Builder, Parked, Submission, Taken, prague};
use execute::Env;
use recent::{MAX_LOGS, Recent};
use store::{NewBlock, Store};
use world::{Changes, World};

pub use builder::{BLOCK_GAS_LIMIT, COINBASE, MAX_AHEAD, MAX_BLOCK_TRANSACTIONS, MAX_PARKED, MAX_QUEUED};
pub use store::OpenError;

/// How long `submit` waits for a transaction whose nonce lies ahead: usually the ones before it are on their way too,
/// and who has waited need not poll.
const PARKED_WAIT: std::time::Duration = std::time::Duration::from_millis(250);

/// One gwei.
pub const DEFAULT_BASE_FEE: u64 = 1_000_000_000;

/// What a new chain begins with. An existing file must have begun with the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Wei that a unit of gas burns, in every block.
    pub base_fee: u64,
    /// Who has what.
    pub balances: Vec<(Account, u128)>,
}

/// The chain, open on its file.
pub struct EmbeddedChain {
    chain_id: u64,
    base_fee: u64,
    world: Arc<RwLock<World>>,
    reader: Mutex<Connection>,
    recent: Arc<Recent>,
    clock: Clock,
    queue: Option<mpsc::Sender<Submission>>,
    builder: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl EmbeddedChain {
    /// Opens the chain at `path`, or begins a new one there.
    ///
    /// # Errors
    /// [`OpenError`] names the file, what is wrong with it and what to do.
    pub fn open(path: &Path, genesis: &Genesis, clock: Clock) -> Result<Self, OpenError> {
        let (mut store, world) = Store::open(path)?;
        let reader = store.reader()?;
        let io = |error: Arc<dyn std::error::Error + Send + Sync>| OpenError::Io {
            path: path.into(),
            source: error,
        };
        let first = genesis.block();
        let expected = first.0.hash_slow();
        let world = match world {
            Some(world) => {
                let got = read::hash(&reader, 0).map_err(|e| io(Arc::new(e)))?.unwrap_or_default();
                if got != expected {
                    return Err(OpenError::OtherGenesis { path: path.into(), expected, got });
                }
                world
            }
            None => begin(&mut store, first).map_err(|e| io(Arc::new(e)))?,
        };
        let (world, recent) = (Arc::new(RwLock::new(world)), Arc::<Recent>::default());
        let (chain_id, base_fee) = (genesis.chain_id, genesis.base_fee);
        let parked = Parked::default();
        let builder = Builder {
            chain_id,
            base_fee,
            world: Arc::clone(&world),
            store,
            recent: Arc::clone(&recent),
            clock: Arc::clone(&clock),
            parked,
        };
        let (queue, submissions) = mpsc::channel(MAX_QUEUED);
        let thread = std::thread::Builder::new().name("evm-builder".into());
        let thread = thread.spawn(move || builder.work(submissions)).map_err(|e| io(Arc::new(e)))?;
        Ok(Self {
            chain_id,
            base_fee,
            world,
            reader: Mutex::new(reader),
            recent,
            clock,
            queue: Some(queue),
            builder: Some(thread),
            path: path.into(),
        })
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, ChainError> {
        let reader = self.reader.lock().expect("no holder of this lock panics");
        query(&reader)
            .map_err(|error| ChainError::Away(format!("chain file {}: {error}", self.path.display())))
    }

    async fn take(&self, signed: Signed) -> Result<(), ChainError> {
        let hash = signed.hash;
        let stopped = || ChainError::Away("the embedded chain has stopped".into());
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(Submission { signed, reply }).await.map_err(|_| stopped())?;
        match answer.await.map_err(|_| stopped())? {
            Err(ChainError::NonceUsed(_)) if self.mined(hash).await?.is_some() => Err(ChainError::Known),
            Err(error) => Err(error),
            Ok(Taken::Mined) => Ok(()),
            Ok(Taken::Parked(waits)) => {
                // Taken it is, mined or not: the caller looks.
                let _ = tokio::time::timeout(PARKED_WAIT, waits).await;
                Ok(())
            }
        }
    }

    fn with_world<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.world.read().expect("no holder of this lock panics"))
    }

    fn now(&self, world: &World) -> u64 {
        (self.clock)().as_seconds().max(world.head.timestamp)
    }
}

impl Drop for EmbeddedChain {
    /// Waits for the block that is being written, so that the file is free when this returns.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(builder) = self.builder.take()
            && builder.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the block builder had panicked");
        }
    }
}

impl Genesis {
    fn block(&self) -> (Header, Changes) {
        let mut changes = Changes::default();
        for (account, balance) in &self.balances {
            let info = AccountInfo {
                balance: U256::from(*balance),
                nonce: 0,
                code_hash: KECCAK256_EMPTY,
                code: None,
                account_id: None,
            };
            changes.accounts.insert(contract::address(*account), Some(info));
        }
        let code = Bytecode::new_raw(Bytes::from_static(&PROXY_CODE));
        let code_hash = keccak256(PROXY_CODE);
        let proxy = AccountInfo { balance: U256::ZERO, nonce: 1, code_hash, code: None, account_id: None };
        changes.accounts.insert(contract::address(contract::DEPLOYER), Some(proxy));
        changes.code.insert(code_hash, code);
        let header = Header {
            // The chain id stands in no header of Ethereum; here it tells two chains of the same balances apart.
            parent_hash: keccak256(
                [b"sofie.evm-genesis.v1".as_slice(), &self.chain_id.to_be_bytes()].concat(),
            ),
            state_root: World::empty().state_digest(&changes).1,
            gas_limit: BLOCK_GAS_LIMIT,
            base_fee_per_gas: Some(self.base_fee),
            ..prague()
        };
        (header, changes)
    }
}

fn begin(store: &mut Store, (header, changes): (Header, Changes)) -> rusqlite::Result<World> {
    let hash = header.hash_slow();
    store.append(&NewBlock { header: &header, hash, transactions: &[], changes: &changes })?;
    let mut world = World::empty();
    let sum = world.state_digest(&changes).0;
    world.apply(changes, sum, header, hash);
    Ok(world)
}

#[async_trait]
impl Chain for EmbeddedChain {
    fn chain_id(&self) -> u64 {
        self.chain_id
    }

    async fn tip(&self) -> Result<Tip, ChainError> {
        let base_fee = self.base_fee;
        Ok(self.with_world(|world| Tip { number: world.head.number, time: self.now(world), base_fee }))
    }

    async fn finalized(&self) -> Result<u64, ChainError> {
        Ok(self.with_world(|world| world.head.number))
    }

    async fn safe(&self) -> Result<u64, ChainError> {
        self.finalized().await
    }

    async fn header(&self, number: u64) -> Result<Option<Header>, ChainError> {
        self.read(|sql| read::header(sql, number))
    }

    async fn block(&self, number: u64) -> Result<Option<Block>, ChainError> {
        self.read(|sql| read::block(sql, number))
    }

    async fn submit(&self, transaction: Bytes) -> Result<(), ChainError> {
        self.take(Signed::read(transaction, self.chain_id).map_err(ChainError::Refused)?).await
    }

    async fn submit_own(&self, transaction: Bytes, sender: Address) -> Result<(), ChainError> {
        self.take(Signed::read_own(transaction, self.chain_id, sender).map_err(ChainError::Refused)?).await
    }

    /// Parked transactions are not counted: whoever sent them remembers their nonces.
    async fn nonce(&self, account: Address, at: At) -> Result<u64, ChainError> {
        let (now, head) = self.with_world(|world| (world.nonce(&account), world.head.number));
        match at {
            At::Block(number) if number < head => {
                let later = self.read(|sql| read::sent(sql, account, number, head))?;
                Ok(now.saturating_sub(later))
            }
            At::Pending | At::Latest | At::Block(_) => Ok(now),
        }
    }

    async fn balance(&self, account: Address) -> Result<u128, ChainError> {
        let balance = self.with_world(|world| world.accounts.get(&account).map_or(U256::ZERO, |a| a.balance));
        Ok(balance.saturating_to())
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        Ok(self.with_world(|world| {
            let info = world.accounts.get(&account);
            let code = info.and_then(|info| world.code.get(&info.code_hash));
            code.map(Bytecode::original_bytes).unwrap_or_default()
        }))
    }

    async fn call(&self, call: &Call) -> Result<Bytes, ChainError> {
        self.with_world(|world| {
            let env = Env {
                chain_id: self.chain_id,
                number: world.head.number + 1,
                time: self.now(world),
                gas_limit: BLOCK_GAS_LIMIT,
                base_fee: self.base_fee,
                coinbase: COINBASE,
            };
            execute::call(world, env, call)
        })
    }

    async fn mined(&self, transaction: B256) -> Result<Option<Mined>, ChainError> {
        self.read(|sql| read::mined(sql, transaction))
    }

    async fn logs(
        &self,
        contract: Address,
        topic: B256,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Logged>, ChainError> {
        let logs = match self.recent.find((contract, topic)) {
            Ok(logs) => logs,
            Err(ticket) => {
                let all = |sql: &Connection| read::logs(sql, contract, topic, &|_| true, MAX_LOGS + 1);
                let logs = Arc::new(self.read(all)?);
                self.recent.learn((contract, topic), &logs, ticket);
                logs
            }
        };
        if logs.len() > MAX_LOGS {
            return self.read(|sql| read::logs(sql, contract, topic, wanted, usize::MAX));
        }
        Ok(logs.iter().filter(|logged| wanted(&logged.log)).cloned().collect())
    }
}

#[cfg(test)]
mod tests;
