//! A chain behind Ethereum JSON-RPC (execution-apis), by `alloy`'s client.
//!
//! The node is believed about what is newest; what goes into a proof is checked against the headers' hashes and roots.
//! Left out: WebSockets (docs/adr/0043-headers-are-polled.md), and TLS (this build speaks plain HTTP: run a node, or a
//! proxy to one, next door).

mod batch;
mod follow;
mod fresh;
mod index;
mod transport;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy_consensus::Header;
use alloy_eips::BlockNumberOrTag;
use alloy_eips::eip2718::Encodable2718;
use alloy_json_rpc::{ErrorPayload, RpcRecv, RpcSend};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_rpc_client::RpcClient;
use alloy_rpc_types_eth::{self as eth, TransactionReceipt, TransactionRequest};
use alloy_transport::TransportError;
use async_trait::async_trait;
use sofie_model::proof::evm::trie;
use url::Url;

use super::chain::{At, Block, Call, Chain, ChainError, Logged, Mined, Tip, Wanted};
use batch::Batcher;
use follow::Places;
use fresh::Fresh;
use index::Index;
use transport::Limited;

pub use transport::MAX_ANSWER_BYTES;

/// Of how many accounts the questions for the nonce are brought together.
const MAX_ASKED: usize = 1_024;

/// Where the node is, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcConfig {
    /// Its address, `http://…`.
    pub url: Url,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// How long an answer may take.
    pub timeout: Duration,
    /// No contract of ours was there before this block: logs are looked for from it on.
    pub since: u64,
}

/// Why a node could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcOpenError {
    /// The URL is not one of plain HTTP.
    #[error("{at}: {scheme} is not spoken, http is: run a node or a proxy on this machine")]
    Scheme {
        /// The node, without path and credentials.
        at: String,
        /// What the URL asks for.
        scheme: String,
    },
    /// It does not answer, or not in JSON-RPC.
    #[error("no Ethereum node answers at {at} ({why}): start it, or correct the URL")]
    Unreachable {
        /// The node, without path and credentials.
        at: String,
        /// What happened.
        why: String,
    },
    /// It is a node of another chain.
    #[error("the node at {at} is of chain {got}, the configuration says {expected}: correct one of them")]
    WrongChain {
        /// The node, without path and credentials.
        at: String,
        /// The configured chain id.
        expected: u64,
        /// The node's.
        got: u64,
    },
}

/// The questions for accounts' numbers of transactions.
type Nonces = HashMap<(Address, At), Arc<Fresh<u64>>>;

/// A chain behind JSON-RPC.
pub struct RpcChain {
    client: RpcClient,
    chain_id: u64,
    newest: Fresh<(Header, B256)>,
    nonces: Mutex<Nonces>,
    followed: Fresh<()>,
    index: Mutex<Index>,
    /// How many blocks the node gives the logs of at once.
    range: AtomicU64,
    places: Mutex<Places>,
}

impl RpcChain {
    /// Connects, and checks that it is the right chain.
    ///
    /// # Errors
    /// [`RpcOpenError`].
    pub async fn open(config: RpcConfig) -> Result<Self, RpcOpenError> {
        let at = place(&config.url);
        if config.url.scheme() != "http" {
            return Err(RpcOpenError::Scheme { at, scheme: config.url.scheme().into() });
        }
        let transport = Limited::new(config.url, config.timeout, MAX_ANSWER_BYTES)
            .map_err(|error| RpcOpenError::Unreachable { at: at.clone(), why: chained(&error) })?;
        let client = RpcClient::new(Batcher::new(transport, config.timeout), true);
        let chain_id = config.chain_id;
        let this = Self {
            client,
            chain_id,
            newest: Fresh::default(),
            nonces: Mutex::default(),
            followed: Fresh::default(),
            index: Mutex::new(Index::new(config.since, index::MAX_LOGS)),
            range: AtomicU64::new(follow::MAX_RANGE),
            places: Mutex::default(),
        };
        let got: U64 = this
            .ask("eth_chainId", ())
            .await
            .map_err(|error| RpcOpenError::Unreachable { at: at.clone(), why: error.to_string() })?;
        if got.to::<u64>() != chain_id {
            return Err(RpcOpenError::WrongChain { at, expected: chain_id, got: got.to() });
        }
        Ok(this)
    }

    async fn ask<P: RpcSend, R: RpcRecv>(&self, method: &'static str, params: P) -> Result<R, ChainError> {
        self.client.request(method, params).await.map_err(|error| meant(method, error))
    }

    async fn head(&self, tag: BlockNumberOrTag) -> Result<Option<(Header, B256)>, ChainError> {
        let block: Option<eth::Block> = self.ask("eth_getBlockByNumber", (tag, false)).await?;
        block.map(|block| checked(block.header)).transpose()
    }

    /// The number of the block with this tag. A young chain has no such block yet: its genesis is final.
    async fn tagged(&self, tag: BlockNumberOrTag) -> Result<u64, ChainError> {
        Ok(self.head(tag).await?.map_or(0, |(header, _)| header.number))
    }

    /// The newest block's header and hash.
    async fn newest(&self) -> Result<(Header, B256), ChainError> {
        let ask =
            || async { self.head(BlockNumberOrTag::Latest).await?.ok_or_else(|| missing("newest block")) };
        self.newest.get(ask).await
    }

    /// Everybody's question for this nonce.
    fn asked(&self, account: Address, at: At) -> Arc<Fresh<u64>> {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.len() >= MAX_ASKED && !nonces.contains_key(&(account, at)) {
            nonces.clear();
        }
        Arc::clone(nonces.entry((account, at)).or_default())
    }

    async fn receipt(&self, transaction: B256) -> Result<Option<TransactionReceipt>, ChainError> {
        self.ask("eth_getTransactionReceipt", (transaction,)).await
    }
}

#[async_trait]
impl Chain for RpcChain {
    fn chain_id(&self) -> u64 {
        self.chain_id
    }

    async fn tip(&self) -> Result<Tip, ChainError> {
        let (head, _) = self.newest().await?;
        let base_fee = head.base_fee_per_gas.ok_or_else(|| missing("base fee (EIP-1559)"))?;
        Ok(Tip { number: head.number, time: head.timestamp, base_fee })
    }

    async fn finalized(&self) -> Result<u64, ChainError> {
        self.tagged(BlockNumberOrTag::Finalized).await
    }

    async fn safe(&self) -> Result<u64, ChainError> {
        self.tagged(BlockNumberOrTag::Safe).await
    }

    async fn header(&self, number: u64) -> Result<Option<Header>, ChainError> {
        Ok(self.head(BlockNumberOrTag::Number(number)).await?.map(|(header, _)| header))
    }

    async fn headers(&self, first: u64, last: u64) -> Result<Vec<Option<Header>>, ChainError> {
        let mut headers = Vec::new();
        for from in (first..=last).step_by(follow::NEAR as usize) {
            let some = self.numbered(from..=last.min(from.saturating_add(follow::NEAR - 1))).await?;
            headers.extend(some.into_iter().map(|found| found.map(|(header, _)| header)));
        }
        Ok(headers)
    }

    async fn block(&self, number: u64) -> Result<Option<Block>, ChainError> {
        let tag = BlockNumberOrTag::Number(number);
        let block: Option<eth::Block> = self.ask("eth_getBlockByNumber", (tag, true)).await?;
        let Some(block) = block else { return Ok(None) };
        let receipts: Option<Vec<TransactionReceipt>> = self.ask("eth_getBlockReceipts", (tag,)).await?;
        let (header, _) = checked(block.header)?;
        let transactions: Vec<Bytes> = block
            .transactions
            .into_transactions()
            .map(|one| one.inner.inner().encoded_2718().into())
            .collect();
        let receipts = receipts.unwrap_or_default();
        let payments = receipts.iter().map(payment).collect();
        let receipts: Vec<Bytes> = receipts
            .into_iter()
            .map(|one| one.inner.into_primitives_receipt().encoded_2718().into())
            .collect();
        if trie::root(&transactions) != header.transactions_root
            || trie::root(&receipts) != header.receipts_root
        {
            return Err(ChainError::Nonsense(format!(
                "block {number} does not have the roots of its header"
            )));
        }
        Ok(Some(Block { header, transactions, receipts, payments }))
    }

    async fn submit(&self, transaction: Bytes) -> Result<(), ChainError> {
        self.ask::<_, B256>("eth_sendRawTransaction", (transaction,)).await.map(drop)
    }

    async fn nonce(&self, account: Address, at: At) -> Result<u64, ChainError> {
        let tag = match at {
            At::Pending => BlockNumberOrTag::Pending,
            At::Latest => BlockNumberOrTag::Latest,
            At::Block(number) => BlockNumberOrTag::Number(number),
        };
        let ask = || async {
            self.ask::<_, U64>("eth_getTransactionCount", (account, tag)).await.map(|count| count.to())
        };
        self.asked(account, at).get(ask).await
    }

    async fn balance(&self, account: Address) -> Result<u128, ChainError> {
        let wei: U256 = self.ask("eth_getBalance", (account, BlockNumberOrTag::Latest)).await?;
        Ok(wei.saturating_to())
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.ask("eth_getCode", (account, BlockNumberOrTag::Latest)).await
    }

    async fn call(&self, call: &Call) -> Result<Bytes, ChainError> {
        let paid = (call.max_fee > 0).then_some(call.max_fee);
        let request = TransactionRequest {
            from: Some(call.from),
            to: Some(call.to.into()),
            value: Some(call.value),
            input: call.data.clone().into(),
            gas: Some(call.gas),
            max_fee_per_gas: paid,
            max_priority_fee_per_gas: paid.map(|_| 0),
            ..TransactionRequest::default()
        };
        match self.ask("eth_call", (&request, BlockNumberOrTag::Latest)).await {
            // By the clock of the block to come, as the transaction will run, it may be in time; to ask this first would
            // be dear: some nodes run all that waits for that block.
            Err(ChainError::Reverted(_)) => self.ask("eth_call", (&request, BlockNumberOrTag::Pending)).await,
            answer => answer,
        }
    }

    async fn mined(&self, transaction: B256) -> Result<Option<Mined>, ChainError> {
        let receipt = self.receipt(transaction).await?;
        Ok(receipt.and_then(|one| Some(Mined { block: one.block_number?, success: one.inner.is_success() })))
    }

    async fn logs(
        &self,
        contract: Address,
        topic: B256,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Logged>, ChainError> {
        self.find(contract, topic, wanted).await
    }
}

fn payment(receipt: &TransactionReceipt) -> (Address, u128) {
    (receipt.from, u128::from(receipt.gas_used).saturating_mul(receipt.effective_gas_price))
}

/// What came instead of an answer to `method`.
fn meant(method: &str, error: TransportError) -> ChainError {
    match error {
        TransportError::ErrorResp(answer) => said(&answer),
        TransportError::DeserError { err, .. } => {
            ChainError::Nonsense(format!("{method} is answered with something else: {err}"))
        }
        other => ChainError::Away(format!("{method}: {}", chained(&other))),
    }
}

/// The header and its hash, if its fields have the one that the node gives it.
fn checked(header: eth::Header) -> Result<(Header, B256), ChainError> {
    if header.inner.hash_slow() == header.hash {
        Ok((header.inner, header.hash))
    } else {
        Err(ChainError::Nonsense(format!(
            "header {} does not have the hash {}",
            header.inner.number, header.hash
        )))
    }
}

fn missing(what: &str) -> ChainError {
    ChainError::Nonsense(format!("the node knows no {what}"))
}

/// What a node's error means. Only words tell: the codes differ from one node to the next (the words are those of geth,
/// reth, Nethermind and anvil). An unknown one may pass.
fn said(answer: &ErrorPayload) -> ChainError {
    if let Some(data) = answer.as_revert_data() {
        return ChainError::Reverted(data);
    }
    let message: String = answer.message.chars().take(300).collect();
    let words = message.to_lowercase();
    let has = |any: &[&str]| any.iter().any(|one| words.contains(one));
    if has(&["already known", "already imported", "known transaction"]) {
        ChainError::Known
    } else if has(&["nonce too low", "nonce is too low", "oldnonce"]) {
        ChainError::NonceUsed(message)
    } else if has(&["underpriced", "less than block base fee", "feetoolow"]) {
        ChainError::Underpriced(message)
    } else if has(&["execution reverted"]) {
        ChainError::Reverted(Bytes::new())
    } else if has(&[
        "insufficient funds",
        "intrinsic gas",
        "out of gas",
        "exceeds block gas limit",
        "gas limit too high",
        "oversized",
        "invalid sender",
        "invalid signature",
        "invalid chain id",
    ]) {
        ChainError::Refused(message)
    } else {
        ChainError::Away(message)
    }
}

/// Scheme, host and port: a path or a name may be a secret.
fn place(url: &Url) -> String {
    let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

fn chained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
