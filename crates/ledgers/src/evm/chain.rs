//! What the EVM ledger asks of a chain. The chain is a transport: an embedded one and one behind JSON-RPC answer the
//! same questions, and everything above them is the same code.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, Log, U256};
use async_trait::async_trait;

/// Why a chain did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It does not answer, or is busy. Try again later; whether a submitted transaction arrived is unknown.
    #[error("{0}")]
    Away(String),
    /// It already holds this very transaction, mined or waiting.
    #[error("the transaction is already known")]
    Known,
    /// Another transaction of the sender has this nonce, on the chain already.
    #[error("the nonce is used: {0}")]
    NonceUsed(String),
    /// It takes this transaction only for a higher fee: below the base fee, or not enough above the one that waits.
    #[error("the fee is too low: {0}")]
    Underpriced(String),
    /// It does not take this transaction or call, and never will.
    #[error("{0}")]
    Refused(String),
    /// The called contract reverted, with this data.
    #[error("the contract reverted")]
    Reverted(Bytes),
    /// Its answer breaks its own rules.
    #[error("{0}")]
    Nonsense(String),
}

/// The newest block, or how the next one will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// The newest block's number.
    pub number: u64,
    /// The chain's clock, in seconds: the newest block's time, or a later one that the next block is sure to have.
    pub time: u64,
    /// Wei per gas that the next block burns at least.
    pub base_fee: u64,
}

/// After which block something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum At {
    /// Waiting transactions included.
    Pending,
    /// The newest block.
    Latest,
    /// This block.
    Block(u64),
}

/// A block with all that its header's roots cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// EIP-2718 bytes, in order.
    pub transactions: Vec<Bytes>,
    /// EIP-2718 bytes, one a transaction.
    pub receipts: Vec<Bytes>,
    /// Who sent the transactions, and what each paid for its gas. The chain's word: only shown, never decided upon.
    pub payments: Vec<(Address, u128)>,
}

/// Where and how a transaction was mined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mined {
    /// Block number.
    pub block: u64,
    /// Whether its effects stand; a failed one only paid its fee.
    pub success: bool,
}

/// A log and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The log itself.
    pub log: Log,
    /// Block number.
    pub block: u64,
    /// Hash of the block.
    pub block_hash: B256,
    /// The transaction's hash.
    pub transaction: B256,
    /// The transaction's place in the block.
    pub index: u32,
    /// The log's place in the transaction's receipt.
    pub log_index: u32,
    /// The block's time in seconds.
    pub time: u64,
}

/// A call that leaves no trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// As whom.
    pub from: Address,
    /// Whom.
    pub to: Address,
    /// With how much wei.
    pub value: U256,
    /// With what.
    pub data: Bytes,
    /// With at most how much gas.
    pub gas: u64,
    /// At what price in wei; 0 asks what it would answer, whoever pays.
    pub max_fee: u128,
}

/// Whether a log is one of those asked for.
pub type Wanted<'a> = &'a (dyn Fn(&Log) -> bool + Send + Sync);

/// A chain.
#[async_trait]
pub trait Chain: Send + Sync {
    /// EIP-155 chain id, checked when it was opened.
    fn chain_id(&self) -> u64;

    /// The newest block.
    async fn tip(&self) -> Result<Tip, ChainError>;

    /// The newest block that the chain itself calls final.
    async fn finalized(&self) -> Result<u64, ChainError>;

    /// The newest block that the chain itself calls safe: never older than the one that it calls final.
    async fn safe(&self) -> Result<u64, ChainError>;

    /// A header by its number, oldest 0.
    async fn header(&self, number: u64) -> Result<Option<Header>, ChainError>;

    /// The headers of the blocks from `first` to `last`, in order.
    async fn headers(&self, first: u64, last: u64) -> Result<Vec<Option<Header>>, ChainError> {
        let mut headers = Vec::new();
        for number in first..=last {
            headers.push(self.header(number).await?);
        }
        Ok(headers)
    }

    /// A block by its number, checked against its header's roots.
    async fn block(&self, number: u64) -> Result<Option<Block>, ChainError>;

    /// Brings a signed transaction (EIP-2718 bytes). `Ok` says that it was taken, not that it was mined.
    async fn submit(&self, transaction: Bytes) -> Result<(), ChainError>;

    /// As [`Chain::submit`], of a transaction that this process has signed with `sender`'s key: who sent it is known, and a
    /// chain inside the process need not recover it from the signature.
    async fn submit_own(&self, transaction: Bytes, sender: Address) -> Result<(), ChainError> {
        let _ = sender;
        self.submit(transaction).await
    }

    /// The number of the account's transactions.
    async fn nonce(&self, account: Address, at: At) -> Result<u64, ChainError>;

    /// Wei at the newest block.
    async fn balance(&self, account: Address) -> Result<u128, ChainError>;

    /// The contract's code at the newest block; empty where there is none.
    async fn code(&self, account: Address) -> Result<Bytes, ChainError>;

    /// Runs a call as the next block would.
    async fn call(&self, call: &Call) -> Result<Bytes, ChainError>;

    /// Where a transaction was mined, if it was.
    async fn mined(&self, transaction: B256) -> Result<Option<Mined>, ChainError>;

    /// The logs of a contract whose first indexed argument (topic 1) is `topic` and that are `wanted`, in the chain's
    /// order. Anyone can make a contract emit logs of a topic: those that are not wanted must cost little.
    async fn logs(
        &self,
        contract: Address,
        topic: B256,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Logged>, ChainError>;
}
