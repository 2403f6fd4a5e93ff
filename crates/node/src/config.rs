//! The configuration, `sofie.toml` (TOML 1.0; docs/guide/configuration.md lists every key).
//!
//! The text is read once, here, into types that cannot be wrong. All faults are told at once, each with file, line,
//! column and the key at fault, and for an unknown key the nearest known one. Relative paths start at the file's own
//! folder. Nothing is opened or created while reading: key files are [`crate::keys`]'s business.

mod calendar;
mod fault;
mod form;
mod peer;
mod scalar;
mod section;
mod tables;
mod webhook;

use std::{
    collections::BTreeMap,
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use sofie_model::calendar::LogKey;
use sofie_model::proof::calendar::WitnessKey;
use sofie_model::{Digest, Finality, LedgerId, Span};
use url::Url;

use crate::api::PlatformKind;

pub use fault::{ConfigError, Fault};
pub use form::VERSION;
pub(crate) use form::Versioned;
pub use peer::Peer;
pub(crate) use peer::authority;
pub use scalar::{Name, RpcUrl};
pub(crate) use scalar::{finality_of, nearest, span_of as span};
pub use webhook::Webhook;

/// The largest configuration that is read, in bytes.
pub const MAX_CONFIG: usize = 256 * 1024;
/// The most entries of one `[[…]]` list.
pub const MAX_ENTRIES: usize = 64;

/// A whole configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[[party]]`, in the order of the file.
    pub parties: Vec<Party>,
    /// `[[ledger]]`, in the order of the file.
    pub ledgers: Vec<Ledger>,
    /// `[[member]]`, in the order of the file.
    pub members: Vec<Seat>,
    /// `[[platform]]`, in the order of the file.
    pub platforms: Vec<Platform>,
    /// `[[peer]]`, in the order of the file.
    pub peers: Vec<Peer>,
    /// `[[webhook]]`, in the order of the file.
    pub webhooks: Vec<Webhook>,
    /// `[limits]`
    pub limits: Limits,
    /// What the file calls by the name of an older version, in the order of the file.
    pub outdated: Vec<Fault>,
}

/// The node itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// How it calls itself.
    pub name: Name,
    /// The party who runs it; one of [`Config::parties`].
    pub operator: Name,
    /// Where HTTP listens. Port 0: any free port.
    pub listen: SocketAddr,
    /// Where journal, keys and embedded ledgers live.
    pub data_dir: PathBuf,
    /// Whether the console is served.
    pub console: bool,
    /// What is logged: a level, or directives as `tracing-subscriber` reads them.
    pub log: String,
    /// The file with the bearer token that every changing request must show; without it, none is asked for.
    pub token_file: Option<PathBuf>,
    /// Names besides the loopback ones that a Host header may have.
    pub hosts: Vec<String>,
    /// Where other nodes reach this one, if that is not where it listens.
    pub url: Option<Url>,
}

/// A party whose keys the node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// Its name.
    pub name: Name,
    /// Its key file; created on the first start.
    pub key_file: PathBuf,
}

/// A ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Its name in manifests.
    pub id: LedgerId,
    /// What it is.
    pub kind: LedgerKind,
    /// The longest time from submitted until recorded.
    pub inclusion: Span,
    /// The longest time from recorded until final.
    pub finalises: Span,
    /// How long to wait between two questions.
    pub poll: Span,
    /// How far its clock may be from the true time.
    pub skew: Span,
    /// The most that one ledger transaction may cost in fees, in the smallest unit, unless a draft says otherwise.
    pub fee_limit: u128,
}

/// The kinds of ledgers, each with what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerKind {
    /// An EVM inside the process, its state under the data folder.
    EvmEmbedded {
        /// EIP-155 chain id.
        chain_id: u64,
        /// What each party holds in the first block, in the smallest unit.
        genesis: BTreeMap<Name, u128>,
    },
    /// An Ethereum node by JSON-RPC.
    EvmRpc {
        /// Where it answers.
        url: RpcUrl,
        /// The chain id that it must have.
        chain_id: u64,
        /// When its facts are final.
        finality: Finality,
        /// Logs are read from this block on.
        since: u64,
        /// Who sends what anyone may send, and pays for it, beside the operator; of [`Config::parties`].
        lanes: Vec<Name>,
    },
    /// Records in batches on the chain of one of the ledgers above.
    EvmRecords {
        /// That ledger.
        on: LedgerId,
        /// A batch that is not full goes when its first record has waited so long.
        interval: Span,
    },
    /// A Bitcoin node by JSON-RPC.
    BitcoinRpc(Bitcoin),
    /// The hash calendar inside the process.
    Calendar {
        /// It answers but takes no new entries: to see how a transaction aborts.
        read_only: bool,
        /// It may be a transaction's decision ledger. One operator could rewrite it: such transactions are custodial.
        decides: bool,
        /// Who must cosign what is final, and their URLs.
        witnesses: BTreeMap<WitnessKey, Url>,
        /// How many of them.
        quorum: usize,
        /// Who may use it over HTTP; of [`Config::peers`].
        peers: Vec<Name>,
        /// How many entries each of them may append in all.
        peer_entries: u64,
    },
    /// A calendar of another node.
    CalendarHttp(CalendarHttp),
    /// A record file under the data folder.
    File,
    /// A custodian's accounts, by docs/specs/custodian.md.
    Custodian {
        /// Where it answers.
        url: RpcUrl,
        /// Its Ed25519 key.
        key: Digest,
    },
    /// A group of members that decides.
    Quorum {
        /// Their Ed25519 keys, and their nodes' doors.
        members: BTreeMap<Digest, Url>,
    },
}

/// A member of a group that this node runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The group's ledger; one of [`Config::ledgers`].
    pub ledger: LedgerId,
    /// Whose key votes; one of [`Config::parties`].
    pub party: Name,
    /// How long the first round waits for each step.
    pub pace: Span,
    /// The word that allows it after a restore.
    pub restored: Option<String>,
}

/// A calendar of another node, by docs/specs/shared-calendar.md.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarHttp {
    /// Where that node's HTTP door is.
    pub url: Url,
    /// The log's name and key.
    pub log: LogKey,
    /// It may be a transaction's decision ledger, if its owner says so, too.
    pub decides: bool,
    /// Who must have cosigned what is final.
    pub witnesses: Vec<WitnessKey>,
    /// How many of them.
    pub quorum: usize,
}

/// A Bitcoin node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitcoin {
    /// Where it answers; with `user:password@` unless there is a cookie.
    pub url: RpcUrl,
    /// The file in which the node keeps its password, anew at each start.
    pub cookie: Option<PathBuf>,
    /// As the node calls its chain: `main`, `test`, `testnet4`, `signet` or `regtest`.
    pub network: String,
    /// Blocks are read from this height on.
    pub since: u64,
    /// Under how many blocks its facts are final.
    pub depth: u32,
}

impl LedgerKind {
    /// The kind as the file writes it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::EvmEmbedded { .. } => "evm-embedded",
            Self::EvmRpc { .. } => "evm-rpc",
            Self::EvmRecords { .. } => "evm-records",
            Self::BitcoinRpc(_) => "bitcoin-rpc",
            Self::Calendar { .. } => "calendar",
            Self::CalendarHttp(_) => "calendar-http",
            Self::File => "file",
            Self::Custodian { .. } => "custodian",
            Self::Quorum { .. } => "quorum",
        }
    }
}

/// A platform that is joined when the node starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// The party who owns it; one of [`Config::parties`].
    pub owner: Name,
    /// Its protocol.
    pub kind: PlatformKind,
    /// Where it answers.
    pub url: Url,
    /// As whom a oneM2M CSE knows this node; no other kind has one.
    pub originator: Option<String>,
    /// The owner's own mapping, in place of the one by introspection.
    pub mapping: Option<PathBuf>,
    /// What the owner allows.
    pub policy: Policy,
}

/// What the owner of a platform allows others to do with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Actions that others may ask for, stated or inferred. None by default: what a platform can do is not what its owner
    /// grants.
    pub actions: Vec<String>,
    /// Properties that may be written through this node, stated or inferred. None by default.
    pub writes: Vec<String>,
}

/// Bounds of the HTTP door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest request body, in bytes.
    pub body_bytes: usize,
    /// The most requests that are worked on at once.
    pub requests: usize,
    /// The most connections that are open at once.
    pub connections: usize,
    /// The most event streams that are open at once.
    pub streams: usize,
    /// How long one request may take, its body included.
    pub request_timeout: Span,
    /// How long a client may take to send a request's head.
    pub header_timeout: Span,
    /// How long open requests may go on after a stop was asked for.
    pub drain: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 * 1024,
            requests: 64,
            connections: 256,
            streams: 64,
            request_timeout: Span::from_seconds(30),
            header_timeout: Span::from_seconds(10),
            drain: Span::from_seconds(5),
        }
    }
}

/// Where HTTP listens unless the file says otherwise: this machine alone.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8420);

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ConfigError`], which names the file and all faults in it.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(&Self::text(file)?, file)
    }

    /// The file's text, within [`MAX_CONFIG`].
    ///
    /// # Errors
    /// [`ConfigError`].
    pub(crate) fn text(file: &Path) -> Result<String, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { file: file.to_owned(), source };
        // A pipe or a device does not tell its size: no more than one byte too many is read.
        let mut opened = std::fs::File::open(file).map_err(unreadable)?.take(MAX_CONFIG as u64 + 1);
        let mut text = String::new();
        opened.read_to_string(&mut text).map_err(unreadable)?;
        if text.len() > MAX_CONFIG {
            return Err(ConfigError::TooLarge { file: file.to_owned(), limit: MAX_CONFIG });
        }
        Ok(text)
    }

    /// Reads `text`, which `file` is said to hold: `file` is named in faults, and its folder is where relative paths
    /// start.
    ///
    /// ```
    /// use sofie_node::config::Config;
    /// let text = r#"
    /// [[party]]
    /// name = "operator"
    ///
    /// [[ledger]]
    /// id = "evm"
    /// kind = "evm-embeded"
    /// "#;
    /// let error = Config::parse(text, "sofie.toml".as_ref()).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "sofie.toml:7:8: [[ledger]] kind: \"evm-embeded\" is not one of evm-embedded, evm-rpc, evm-records, bitcoin-rpc, calendar, calendar-http, file, custodian, quorum; did you mean \"evm-embedded\"?"
    /// );
    /// ```
    ///
    /// # Errors
    /// [`ConfigError::Faults`] with everything that is wrong.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let versioned = Versioned::of(text)
            .map_err(|fault| ConfigError::Faults { file: file.to_owned(), faults: vec![fault] })?;
        let config = tables::read(&versioned.modern(), file)?;
        Ok(Self { outdated: versioned.outdated, ..config })
    }
}
