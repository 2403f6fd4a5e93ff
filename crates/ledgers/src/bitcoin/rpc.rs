//! Bitcoin Core's JSON-RPC over plain HTTP with basic authentication: the calls that this room makes, and nothing else.
//!
//! A node is another party: how long it may take and how much it may answer are limited, and each of its errors is
//! sorted. The node is believed about which chain has the most work; what a block holds is checked against its header.
//! Left out: TLS (run a node, or a proxy to one, next door), batches, ZeroMQ, and the node's wallet.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::consensus::encode::{deserialize, deserialize_hex, serialize_hex};
use bitcoin::{Amount, Block, BlockHash, OutPoint, ScriptBuf, Transaction, Txid, block::Header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

/// A longer answer is refused: the largest block is 4 MB, twice that in hexadecimal, and more as JSON with its inputs.
pub const MAX_ANSWER_BYTES: usize = 64 * 1_024 * 1_024;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the node may look through its set of unspent outputs: minutes on a public chain.
const SCAN: Duration = Duration::from_secs(900);
/// A cookie file that is longer is not one.
const MAX_COOKIE_BYTES: u64 = 1_024;
/// How much of a node's words is kept.
const MAX_WORDS: usize = 300;

/// How this process shows the node who it is.
#[derive(Clone)]
pub enum Auth {
    /// `rpcauth` or `rpcuser` of the node.
    Password {
        /// The name.
        user: String,
        /// The secret; never printed.
        password: Zeroizing<String>,
    },
    /// The file that the node writes anew at each start; read before each call.
    Cookie(PathBuf),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user:?}, …)"),
            Self::Cookie(path) => write!(f, "Cookie({})", path.display()),
        }
    }
}

/// Why a call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// It does not answer, not yet, or it is busy.
    #[error("{0}")]
    Away(String),
    /// It answers, with an error of its own.
    #[error("{message} ({code})")]
    Said {
        /// `RPCErrorCode` of Bitcoin Core's `rpc/protocol.h`.
        code: i64,
        /// Its words.
        message: String,
    },
    /// It answers with something else than was asked for.
    #[error("{0}")]
    Nonsense(String),
}

/// What came of bringing a transaction to the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// It waits in the node's memory, or stands in a block.
    Taken,
    /// The node wants more fees for it, or for taking the place of another.
    Underpaid(String),
    /// Another transaction spends the same, or what it spends is not there.
    Spent(String),
    /// Its time has not come.
    Early(String),
    /// It breaks a rule, for good.
    Refused(String),
}

/// An unspent output as `scantxoutset` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unspent {
    pub(super) outpoint: OutPoint,
    pub(super) script: ScriptBuf,
    pub(super) value: u64,
    pub(super) height: u64,
    pub(super) coinbase: bool,
}

/// The node.
pub(super) struct Node {
    client: reqwest::Client,
    url: Url,
    auth: Auth,
    timeout: Duration,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    error: Option<Said>,
}

#[derive(Deserialize)]
struct Said {
    code: i64,
    message: String,
}

impl Node {
    pub(super) fn new(url: Url, auth: Auth, timeout: Duration) -> Result<Self, RpcError> {
        let builder = reqwest::Client::builder().connect_timeout(CONNECT);
        // What listens on this machine is not behind the proxy of the environment.
        let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let builder = if here { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(away)?;
        Ok(Self { client, url, auth, timeout })
    }

    async fn ask<T: DeserializeOwned>(&self, method: &'static str, params: Value) -> Result<T, RpcError> {
        self.ask_within(self.timeout, method, params).await
    }

    async fn ask_within<T: DeserializeOwned>(
        &self,
        timeout: Duration,
        method: &'static str,
        params: Value,
    ) -> Result<T, RpcError> {
        let (user, password) = self.credentials()?;
        let body = json!({ "jsonrpc": "1.0", "id": "sofie", "method": method, "params": params });
        let request = self.client.post(self.url.clone()).timeout(timeout).basic_auth(user, Some(&*password));
        let answer = request.json(&body).send().await.map_err(away)?;
        let status = answer.status();
        let body = limited(answer).await?;
        let answer: Answer = match serde_json::from_slice(&body) {
            Ok(answer) => answer,
            // The node answers a wrong password, and too many calls at once, without a body.
            Err(_) if !status.is_success() => return Err(RpcError::Away(format!("HTTP status {status}"))),
            Err(error) => return Err(RpcError::Nonsense(format!("{method}: {error}"))),
        };
        if let Some(Said { code, message }) = answer.error {
            return Err(sorted(code, message));
        }
        serde_json::from_value(answer.result)
            .map_err(|error| RpcError::Nonsense(format!("{method} is answered with something else: {error}")))
    }

    fn credentials(&self) -> Result<(String, Zeroizing<String>), RpcError> {
        match &self.auth {
            Auth::Password { user, password } => Ok((user.clone(), password.clone())),
            Auth::Cookie(path) => {
                let text =
                    cookie(path).map_err(|why| RpcError::Away(format!("{}: {why}", path.display())))?;
                let (user, password) = text.trim().split_once(':').ok_or_else(|| {
                    RpcError::Away(format!("{}: not a cookie of the node's", path.display()))
                })?;
                Ok((user.to_owned(), Zeroizing::new(password.to_owned())))
            }
        }
    }

    /// The name of its chain, as `main` or `regtest`.
    pub(super) async fn chain(&self) -> Result<String, RpcError> {
        #[derive(Deserialize)]
        struct Info {
            chain: String,
        }
        Ok(self.ask::<Info>("getblockchaininfo", json!([])).await?.chain)
    }

    pub(super) async fn best_block(&self) -> Result<BlockHash, RpcError> {
        self.ask("getbestblockhash", json!([])).await
    }

    /// The block of that height on the chain with the most work; `None` past its end.
    pub(super) async fn block_hash(&self, height: u64) -> Result<Option<BlockHash>, RpcError> {
        match self.ask("getblockhash", json!([height])).await {
            Ok(hash) => Ok(Some(hash)),
            Err(RpcError::Said { code: -8, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn header(&self, hash: BlockHash) -> Result<Header, RpcError> {
        let hex: String = self.ask("getblockheader", json!([hash, false])).await?;
        let header: Header = decoded("getblockheader", &hex)?;
        if header.block_hash() != hash {
            return Err(RpcError::Nonsense(format!("a header that is not that of {hash}")));
        }
        Ok(header)
    }

    /// A whole block, checked against its header.
    pub(super) async fn block(&self, hash: BlockHash) -> Result<Block, RpcError> {
        let hex: Zeroizing<String> = Zeroizing::new(self.ask("getblock", json!([hash, 0])).await?);
        let block: Block = decoded("getblock", &hex)?;
        if block.block_hash() != hash || !block.check_merkle_root() {
            return Err(RpcError::Nonsense(format!("a block that is not {hash}")));
        }
        Ok(block)
    }

    /// Fees of the transactions of a block, by their names: what the inputs have more than the outputs.
    pub(super) async fn fees(&self, hash: BlockHash) -> Result<Vec<(Txid, u64)>, RpcError> {
        #[derive(Deserialize)]
        struct Told {
            tx: Vec<Fee>,
        }
        #[derive(Deserialize)]
        struct Fee {
            txid: Txid,
            fee: Option<f64>,
        }
        let told: Told = self.ask("getblock", json!([hash, 2])).await?;
        told.tx.into_iter().map(|one| Ok((one.txid, satoshi(one.fee.unwrap_or_default())?))).collect()
    }

    /// Every unspent output of these scripts, and the block at which that was true.
    pub(super) async fn unspent(
        &self,
        scripts: impl Iterator<Item = &ScriptBuf>,
    ) -> Result<(BlockHash, Vec<Unspent>), RpcError> {
        #[derive(Deserialize)]
        struct Scan {
            bestblock: BlockHash,
            unspents: Vec<Found>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Found {
            txid: Txid,
            vout: u32,
            script_pub_key: ScriptBuf,
            amount: f64,
            coinbase: bool,
            height: u64,
        }
        let wanted: Vec<String> = scripts.map(|script| format!("raw({})", script.to_hex_string())).collect();
        let scan: Scan = self.ask_within(SCAN, "scantxoutset", json!(["start", wanted])).await?;
        let unspent = |one: Found| {
            Ok(Unspent {
                outpoint: OutPoint::new(one.txid, one.vout),
                script: one.script_pub_key,
                value: satoshi(one.amount)?,
                height: one.height,
                coinbase: one.coinbase,
            })
        };
        Ok((scan.bestblock, scan.unspents.into_iter().map(unspent).collect::<Result<_, RpcError>>()?))
    }

    /// What spends this output in the node's memory, without standing in a block yet.
    pub(super) async fn waiting_spender(&self, outpoint: OutPoint) -> Result<Option<Transaction>, RpcError> {
        #[derive(Deserialize)]
        struct Spender {
            spendingtxid: Option<Txid>,
        }
        let asked = json!([[{ "txid": outpoint.txid, "vout": outpoint.vout }]]);
        let answer: Vec<Spender> = self.ask("gettxspendingprevout", asked).await?;
        let Some(txid) = answer.first().and_then(|one| one.spendingtxid) else { return Ok(None) };
        match self.ask::<String>("getrawtransaction", json!([txid, false])).await {
            Ok(hex) => decoded("getrawtransaction", &hex).map(Some),
            // It was mined, or replaced, in between.
            Err(RpcError::Said { code: -5, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The chain's height when this transaction came into the node's memory; `None` when it is not there.
    pub(super) async fn waits_since(&self, txid: Txid) -> Result<Option<u64>, RpcError> {
        #[derive(Deserialize)]
        struct Waiting {
            height: u64,
        }
        match self.ask::<Waiting>("getmempoolentry", json!([txid])).await {
            Ok(waiting) => Ok(Some(waiting.height)),
            Err(RpcError::Said { code: -5, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a transaction must pay to be in one of the next blocks, in satoshi per 1,000 virtual bytes: the node's
    /// estimate, if it has one, and no less than what it takes at all.
    pub(super) async fn fee_rate(&self) -> Result<u64, RpcError> {
        #[derive(Deserialize)]
        struct Estimate {
            feerate: Option<f64>,
        }
        #[derive(Deserialize)]
        struct Memory {
            mempoolminfee: f64,
        }
        let estimate: Estimate = self.ask("estimatesmartfee", json!([BLOCKS_AHEAD])).await?;
        let memory: Memory = self.ask("getmempoolinfo", json!([])).await?;
        Ok(satoshi(estimate.feerate.unwrap_or_default())?.max(satoshi(memory.mempoolminfee)?))
    }

    pub(super) async fn send(&self, transaction: &Transaction) -> Result<Sent, RpcError> {
        // 0: no limit of the node's own on fees; the leg's limit was kept when it was signed.
        let params = json!([serialize_hex(transaction), 0]);
        match self.ask::<Txid>("sendrawtransaction", params).await {
            Ok(_) => Ok(Sent::Taken),
            Err(RpcError::Said { code, message }) => Ok(sent(code, message)),
            Err(error) => Err(error),
        }
    }
}

/// The node's estimate is for so many blocks.
const BLOCKS_AHEAD: u32 = 2;

/// What a refusal of `sendrawtransaction` means: the codes are those of `rpc/protocol.h`, the words of
/// `validation.cpp`. What is not known may pass.
fn sent(code: i64, message: String) -> Sent {
    let words = message.to_lowercase();
    let has = |any: &[&str]| any.iter().any(|one| words.contains(one));
    if code == -27 || has(&["already in utxo", "txn-already-known", "txn-already-in-mempool"]) {
        Sent::Taken
    } else if has(&["insufficient fee", "fee not met", "mempool full", "too many potential replacements"]) {
        Sent::Underpaid(message)
    } else if has(&["missingorspent", "missing-inputs", "mempool-conflict", "spends conflicting"]) {
        Sent::Spent(message)
    } else if has(&["non-final", "premature-spend"]) {
        Sent::Early(message)
    } else if code == -22 || (code == -26 && !has(&["too-long-mempool-chain", "dust"])) {
        Sent::Refused(message)
    } else {
        Sent::Spent(message)
    }
}

/// Codes of `rpc/protocol.h`: −28 warms up, −9 and −10 are not connected, −8 another scan runs, −1 pruned away.
fn sorted(code: i64, message: String) -> RpcError {
    let message: String = message.chars().take(MAX_WORDS).collect();
    let busy = message.to_lowercase().contains("scan already in progress");
    match code {
        -28 | -10 | -9 => RpcError::Away(message),
        _ if busy => RpcError::Away(message),
        -32601 => RpcError::Nonsense(format!("{message}: a bitcoind of version 24 or later is needed")),
        _ => RpcError::Said { code, message },
    }
}

fn decoded<T: bitcoin::consensus::Decodable>(method: &str, hex: &str) -> Result<T, RpcError> {
    deserialize_hex(hex).map_err(|error| RpcError::Nonsense(format!("{method}: {error}")))
}

/// Reads consensus bytes that the caller got elsewhere.
pub(super) fn read<T: bitcoin::consensus::Decodable>(bytes: &[u8]) -> Result<T, String> {
    deserialize(bytes).map_err(|error| error.to_string())
}

/// The node tells amounts in bitcoins, as JSON numbers; all of them are exact in a double.
fn satoshi(bitcoins: f64) -> Result<u64, RpcError> {
    let amount = Amount::from_btc(bitcoins);
    amount.map(Amount::to_sat).map_err(|error| RpcError::Nonsense(format!("{bitcoins} BTC: {error}")))
}

fn cookie(path: &std::path::Path) -> Result<Zeroizing<String>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_COOKIE_BYTES {
        return Err(format!("{size} bytes, {MAX_COOKIE_BYTES} are allowed"));
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| error.to_string())
}

async fn limited(mut answer: reqwest::Response) -> Result<Vec<u8>, RpcError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(away)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(RpcError::Nonsense(format!("an answer longer than {MAX_ANSWER_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The URL may carry a secret of the user's: it goes into no message.
fn away(error: reqwest::Error) -> RpcError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    RpcError::Away(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_what_its_words_say() {
        type Case = (i64, &'static str, fn(String) -> Sent);
        let table: [Case; 9] = [
            (-26, "min relay fee not met, 10 < 110", Sent::Underpaid),
            (-26, "insufficient fee, rejecting replacement 12", Sent::Underpaid),
            (-26, "mempool min fee not met", Sent::Underpaid),
            (-25, "bad-txns-inputs-missingorspent", Sent::Spent),
            (-26, "txn-mempool-conflict", Sent::Spent),
            (-26, "non-final", Sent::Early),
            (
                -26,
                "mandatory-script-verify-flag-failed (Script failed an OP_EQUALVERIFY operation)",
                Sent::Refused,
            ),
            (-22, "TX decode failed", Sent::Refused),
            (-26, "too-long-mempool-chain", Sent::Spent),
        ];
        for (code, words, expected) in table {
            assert_eq!(sent(code, words.into()), expected(words.into()), "{words}");
        }
        assert_eq!(sent(-27, "Transaction outputs already in utxo set".into()), Sent::Taken);
    }

    #[test]
    fn errors_of_a_node_that_starts_pass() {
        assert!(matches!(sorted(-28, "Loading block index…".into()), RpcError::Away(_)));
        assert!(matches!(sorted(-8, "Scan already in progress".into()), RpcError::Away(_)));
        assert!(matches!(sorted(-32601, "Method not found".into()), RpcError::Nonsense(_)));
        assert!(
            matches!(sorted(-5, "x".repeat(999)), RpcError::Said { code: -5, message } if message.len() == 300)
        );
    }

    #[test]
    fn amounts_are_exact() {
        for (bitcoins, expected) in
            [(0.000_000_01, 1), (20_999_999.976_9, 2_099_999_997_690_000), (0.1, 10_000_000)]
        {
            assert_eq!(satoshi(bitcoins), Ok(expected));
        }
        assert!(satoshi(-1.0).is_err() && satoshi(f64::NAN).is_err());
    }

    #[test]
    fn a_password_is_not_printed() {
        let auth = Auth::Password { user: "u".into(), password: Zeroizing::new("geheim".into()) };
        assert_eq!(format!("{auth:?}"), "Password(\"u\", …)");
    }
}
