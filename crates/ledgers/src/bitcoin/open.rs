//! Opening a Bitcoin ledger: where the node is, what it must be, and what is read from it first.

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::Network;
use bitcoin::constants::genesis_block;
use sofie_model::{Account, Finality, PublicKey};
use tokio::sync::Mutex;
use url::Url;

use super::index::{End, Index};
use super::ledger::{BitcoinLedger, State};
use super::pay::Wallet;
use super::rpc::{Auth, Node, RpcError};
use crate::Profile;
use crate::evm::Keyring;

/// So often in a row the reading of blocks may get no further.
pub(super) const MAX_STALLS: u32 = 5;

/// Where the node is, and what it must be: a configuration of kind `bitcoin-rpc`.
///
/// From a file it needs `url`, either `user` and `password` or `cookie` (a path), `network`, `since`, and whose account
/// pays for records (`operator`, one of the node's keys); the rest has defaults.
#[derive(Debug, Clone)]
pub struct BitcoinConfig {
    /// Its address, `http://…`, without credentials.
    pub url: Url,
    /// How this process shows who it is.
    pub auth: Auth,
    /// As bitcoind calls its chain: `main`, `test`, `testnet4`, `signet` or `regtest`.
    pub network: String,
    /// Nothing of SOFIE's stands below this height: blocks are read from it on, at each start.
    pub since: u64,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Whose coins pay for record legs and notes: a key of the keyring.
    pub operator: Account,
    /// Keys of others whose balances are shown.
    pub watch: Vec<PublicKey>,
    /// The most that a note may cost, in satoshi: it has no leg that says so.
    pub note_fee_limit: u64,
}

/// Why a node could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BitcoinOpenError {
    /// The URL is not one of plain HTTP.
    #[error("{scheme} is not spoken, http is: run a bitcoind or a proxy on this machine")]
    Scheme {
        /// What the URL asks for.
        scheme: String,
    },
    /// There is no such network.
    #[error("{got:?} is no network; expected is main, test, testnet4, signet or regtest")]
    Network {
        /// What the configuration says.
        got: String,
    },
    /// It does not answer, or not as a bitcoind does.
    #[error("no bitcoind answers at {at} ({source}): start it, or correct the URL and the credentials")]
    Unreachable {
        /// The node, without path and credentials.
        at: String,
        /// What happened.
        source: RpcError,
    },
    /// It is a node of another chain.
    #[error("the bitcoind at {at} is of {got}, the configuration says {expected}: correct one of them")]
    WrongChain {
        /// The node, without path and credentials.
        at: String,
        /// The configured network.
        expected: String,
        /// The node's, or its first block.
        got: String,
    },
    /// The profile asks for a finality that Bitcoin does not have.
    #[error("finality {got:?}: on Bitcoin it is a depth in blocks")]
    Finality {
        /// What the profile says.
        got: Finality,
    },
}

impl BitcoinLedger {
    /// Connects, checks that it is the right chain, and reads its blocks from `since` on.
    ///
    /// # Errors
    /// [`BitcoinOpenError`].
    pub async fn open(
        config: BitcoinConfig,
        profile: Profile,
        keyring: Keyring,
    ) -> Result<Self, BitcoinOpenError> {
        let Finality::Depth(_) = profile.finality else {
            return Err(BitcoinOpenError::Finality { got: profile.finality });
        };
        if config.url.scheme() != "http" {
            return Err(BitcoinOpenError::Scheme { scheme: config.url.scheme().into() });
        }
        let at = place(&config.url);
        let unreachable = |source| BitcoinOpenError::Unreachable { at: at.clone(), source };
        let node = Node::new(config.url.clone(), config.auth.clone(), config.timeout).map_err(unreachable)?;
        check_chain(&node, &config.network, &at).await?;
        let wallet = Wallet::new(keyring, &config.watch);
        let mut index = Index::new(config.since, wallet.scripts().collect());
        read_all(&mut index, &node).await.map_err(unreachable)?;
        let state = State { index, open: BTreeMap::new(), accepted: BTreeMap::new() };
        Ok(Self { profile, node, wallet, config, state: Mutex::new(state) })
    }
}

/// The network's name and its first block: a node that is configured for another one is refused.
async fn check_chain(node: &Node, expected: &str, at: &str) -> Result<(), BitcoinOpenError> {
    let network = Network::from_core_arg(expected)
        .map_err(|_| BitcoinOpenError::Network { got: expected.to_owned() })?;
    let unreachable = |source| BitcoinOpenError::Unreachable { at: at.to_owned(), source };
    let wrong =
        |got: String| BitcoinOpenError::WrongChain { at: at.to_owned(), expected: expected.to_owned(), got };
    let chain = node.chain().await.map_err(unreachable)?;
    if chain != expected {
        return Err(wrong(chain));
    }
    let first = node.block_hash(0).await.map_err(unreachable)?;
    match first {
        Some(first) if first == genesis_block(network).block_hash() => Ok(()),
        first => Err(wrong(format!("a chain that begins with {first:?}"))),
    }
}

/// A call walks a limited number of blocks; opening takes as many calls as are needed while they get on, and forgives a
/// node that has answered some of them.
pub(super) async fn read_all(index: &mut Index, node: &Node) -> Result<End, RpcError> {
    let mut stalls = 0;
    loop {
        let before = index.end();
        match index.sync(node).await {
            Ok(end) => return Ok(end),
            Err(RpcError::Away(why)) if index.end().is_some() && stalls < MAX_STALLS => {
                stalls = if index.end() == before { stalls + 1 } else { 0 };
                tracing::info!(height = index.end().map(|end| end.height), %why, "reading Bitcoin's blocks");
            }
            Err(error) => return Err(error),
        }
    }
}

/// Scheme, host and port: a path or a name may be a secret.
fn place(url: &Url) -> String {
    let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}
