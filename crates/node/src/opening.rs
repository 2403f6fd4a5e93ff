//! Opens the configured ledgers. Replacing one by another is a line of the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sofie_ledgers::bitcoin::{Auth, BitcoinConfig, BitcoinLedger, BitcoinOpenError, bitcoin_profile};
use sofie_ledgers::calendar::shared::{self, Shared};
use sofie_ledgers::calendar::{self, Calendar};
use sofie_ledgers::escrow::{self, Escrow};
use sofie_ledgers::evm::{
    EmbeddedChain, EvmLedger, Genesis, Keyring, OpenLedgerError, chain::Chain, embedded,
};
use sofie_ledgers::evm::{EvmRecords, RecordsConfig, RecordsOpenError, records_profile};
use sofie_ledgers::evm::{RpcChain, RpcConfig, RpcOpenError, embedded_profile, rpc_profile};
use sofie_ledgers::file::{self, RecordFile};
use sofie_ledgers::quorum::{self, Quorum};
use sofie_ledgers::{Ledger, Profile};
use sofie_model::proof::batch::MAX_COUNT;
use sofie_model::proof::calendar::WitnessKey;
use sofie_model::{Account, Digest, Finality, LedgerId, Span};
use url::Url;
use zeroize::Zeroizing;

use crate::calendars::Door;
use crate::clock;
use crate::config::{self, Config, LedgerKind, Name};
use crate::contracts::Deployment;
use crate::executor::Ledgers;
use crate::keys::PartyKeys;
use crate::parties::Parties;
use crate::seats;

/// How long a chain's node may take for one answer.
const RPC_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The embedded ledgers' folder in the data folder.
pub(crate) const FOLDER: &str = "ledgers";

/// Why a ledger does not open. Each text names the ledger and the next step.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder for the embedded ledgers cannot be made.
    #[error("{path}: cannot be made; check data_dir and the rights on it")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The embedded chain.
    #[error("ledger {ledger}: {source}")]
    Embedded {
        /// Which ledger.
        ledger: LedgerId,
        /// What is wrong.
        source: embedded::OpenError,
    },
    /// The chain behind JSON-RPC.
    #[error("ledger {ledger}: {source}")]
    Rpc {
        /// Which ledger.
        ledger: LedgerId,
        /// What is wrong.
        source: RpcOpenError,
    },
    /// The Bitcoin node.
    #[error("ledger {ledger}: {source}")]
    Bitcoin {
        /// Which ledger.
        ledger: LedgerId,
        /// What is wrong.
        source: BitcoinOpenError,
    },
    /// The contracts on a chain.
    #[error(transparent)]
    Contracts(#[from] OpenLedgerError),
    /// The calendar.
    #[error("ledger {ledger}: {source}")]
    Calendar {
        /// Which ledger.
        ledger: LedgerId,
        /// What is wrong.
        source: calendar::OpenError,
    },
    /// The calendar of another node.
    #[error("ledger {ledger}: {source}")]
    Shared {
        /// Which ledger.
        ledger: LedgerId,
        /// What is wrong.
        source: shared::BadSeen,
    },
    /// The record file.
    #[error("ledger {ledger}: the record file {path} does not open")]
    File {
        /// Which ledger.
        ledger: LedgerId,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The custodian.
    #[error("ledger {ledger}: {source}")]
    Custodian {
        /// Which ledger.
        ledger: LedgerId,
        /// What is wrong.
        source: escrow::OpenError,
    },
    /// The batches of records.
    #[error("ledger {ledger}: {source}")]
    Records {
        /// Which ledger.
        ledger: LedgerId,
        /// What is wrong.
        source: RecordsOpenError,
    },
    /// What it stands on is no EVM ledger.
    #[error("ledger {ledger} stands on {on}, which is no EVM ledger of this node; correct `on`")]
    NoChain {
        /// Which ledger.
        ledger: LedgerId,
        /// What it names.
        on: LedgerId,
    },
    /// The group that decides.
    #[error("ledger {ledger}: {source}")]
    Quorum {
        /// Which ledger.
        ledger: LedgerId,
        /// What is wrong.
        source: quorum::BadMembers,
    },
    /// The operator's keys are not there.
    #[error("party {operator}, who runs the node, has no keys; name it in a [[party]] entry")]
    NoOperator {
        /// Its name.
        operator: Name,
    },
}

/// The opened ledgers, and where the contracts stand on those that decide.
#[derive(Default)]
pub struct Opened {
    /// By name.
    pub ledgers: Ledgers,
    /// By name.
    pub deployments: BTreeMap<LedgerId, Deployment>,
    /// Those that send by themselves, and have not begun to: [`EvmRecords::start`].
    pub senders: Vec<Arc<EvmRecords>>,
    /// Those of this node, by name: peers may use them.
    pub calendars: BTreeMap<LedgerId, Arc<Calendar>>,
}

/// Opens every ledger of the configuration.
///
/// # Errors
/// [`OpenError`] for the first that does not open.
pub async fn open(config: &Config, parties: &Parties) -> Result<Opened, OpenError> {
    let folder = config.node.data_dir.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|source| OpenError::Folder { path: folder.clone(), source })?;
    let no_operator = || OpenError::NoOperator { operator: config.node.operator.clone() };
    let operator = parties.named(config.node.operator.as_str()).ok_or_else(no_operator)?;
    let mut opened = Opened::default();
    // What others may stand on, and whether it is an embedded one.
    let mut evm = BTreeMap::new();
    for ledger in &config.ledgers {
        let id = ledger.id.clone();
        match &ledger.kind {
            LedgerKind::EvmEmbedded { chain_id, genesis } => {
                let chain = embedded_chain(&folder, ledger, *chain_id, genesis, parties)?;
                let profile = profile(embedded_profile(id), ledger);
                let ledger = opened.add_evm(Arc::new(chain), profile, parties, &[operator.account()]).await?;
                evm.insert(ledger.profile().id.clone(), (ledger, true));
            }
            LedgerKind::EvmRpc { url, chain_id, finality, since, lanes } => {
                let settings = RpcConfig {
                    url: url.reveal().clone(),
                    chain_id: *chain_id,
                    timeout: RPC_TIMEOUT,
                    since: *since,
                };
                let chain = RpcChain::open(settings).await;
                let chain = chain.map_err(|source| OpenError::Rpc { ledger: id.clone(), source })?;
                let profile = profile(rpc_profile(id, *finality, ledger.poll), ledger);
                let lanes = lanes.iter().filter_map(|name| parties.named(name.as_str()));
                let senders: Vec<_> = [operator].into_iter().chain(lanes).map(PartyKeys::account).collect();
                let ledger = opened.add_evm(Arc::new(chain), profile, parties, &senders).await?;
                evm.insert(ledger.profile().id.clone(), (ledger, false));
            }
            LedgerKind::BitcoinRpc(node) => {
                let bitcoin = bitcoin(node, ledger, parties, operator).await;
                let bitcoin = bitcoin.map_err(|source| OpenError::Bitcoin { ledger: id.clone(), source })?;
                opened.ledgers.insert(id, Arc::new(bitcoin));
            }
            LedgerKind::Calendar { read_only, decides, witnesses, quorum, peers, .. } => {
                let origin = format!("{}/{id}", config.node.name);
                let path = folder.join(calendar_file(&id));
                let own = calendar::Config::new(id.clone(), origin, path);
                let settings = calendar::Config {
                    refuse: *read_only,
                    decides: *decides,
                    inclusion: ledger.inclusion,
                    finalises: ledger.finalises,
                    poll: ledger.poll,
                    witnesses: witnesses.iter().map(witness).collect(),
                    quorum: *quorum,
                    ..own
                };
                let key = operator.ed25519().clone();
                // Reads the whole log; nothing else runs yet.
                let calendar = tokio::task::block_in_place(|| Calendar::open(settings, key, clock::clock()));
                let calendar =
                    calendar.map_err(|source| OpenError::Calendar { ledger: id.clone(), source })?;
                if !witnesses.is_empty() {
                    tracing::info!(ledger = %id, log = %calendar.verifier_key(), "its witnesses must know this log");
                }
                if !peers.is_empty() {
                    tracing::info!(ledger = %id, log = %calendar.verifier_key(), "its peers must pin this log");
                }
                let calendar =
                    Arc::new(calendar.acting_for(parties.iter().map(|party| party.secp256k1().clone())));
                opened.calendars.insert(id.clone(), Arc::clone(&calendar));
                opened.ledgers.insert(id, calendar);
            }
            LedgerKind::CalendarHttp(settings) => {
                let shared = shared_calendar(&folder, settings, ledger, operator);
                let shared = shared.map_err(|source| OpenError::Shared { ledger: id.clone(), source })?;
                let shared = shared.acting_for(parties.iter().map(|party| party.secp256k1().clone()));
                opened.ledgers.insert(id, Arc::new(shared));
            }
            LedgerKind::File => {
                let path = folder.join(records(&id));
                let file = record_file(&path, ledger, operator);
                let file = file.map_err(|source| OpenError::File { ledger: id.clone(), path, source })?;
                opened.ledgers.insert(id, Arc::new(file));
            }
            LedgerKind::Quorum { members } => opened.add_quorum(ledger, members, parties)?,
            // Below: they want others of these.
            LedgerKind::EvmRecords { .. } | LedgerKind::Custodian { .. } => {}
        }
    }
    for ledger in &config.ledgers {
        opened.add_dependent(&folder, ledger, &evm, parties).await?;
    }
    Ok(opened)
}

/// Reads the whole file; nothing else runs yet.
fn record_file(path: &Path, ledger: &config::Ledger, operator: &PartyKeys) -> std::io::Result<RecordFile> {
    let (profile, key) = (profile(file::profile(ledger.id.clone()), ledger), operator.ed25519().clone());
    tokio::task::block_in_place(|| RecordFile::open(path, profile, key, clock::clock()))
}

/// The owner is not asked: it may start later.
fn shared_calendar(
    folder: &Path,
    settings: &config::CalendarHttp,
    ledger: &config::Ledger,
    operator: &PartyKeys,
) -> Result<Shared, shared::BadSeen> {
    let config::CalendarHttp { url, log, decides, witnesses, quorum } = settings;
    let path = folder.join(seen(&ledger.id));
    let own = shared::Config { log: log.clone(), path, witnesses: witnesses.clone(), quorum: *quorum };
    let door = Door::new(url, &ledger.id, log, operator.ed25519().clone());
    let profile = profile(shared::profile(ledger.id.clone(), *decides), ledger);
    Shared::open(own, profile, Arc::new(door))
}

/// The newest checkpoint of another node's calendar.
fn seen(id: &LedgerId) -> String {
    format!("{id}.seen")
}

fn records(id: &LedgerId) -> String {
    format!("{id}.records")
}

fn chain_file(id: &LedgerId) -> String {
    format!("{id}.sqlite")
}

fn calendar_file(id: &LedgerId) -> String {
    format!("{id}.log")
}

/// Of records on a chain of many operators.
fn batches(id: &LedgerId) -> String {
    format!("{id}.batches.sqlite")
}

/// Of records on an embedded chain.
fn own_batches(id: &LedgerId) -> String {
    format!("{id}.own-batches.sqlite")
}

/// Where the state of ledger `id` may be, if one party can rewrite it.
pub(crate) fn embedded_state(data_dir: &Path, id: &LedgerId) -> impl Iterator<Item = PathBuf> {
    let folder = data_dir.join(FOLDER);
    let files = [chain_file(id), calendar_file(id), records(id), own_batches(id), seen(id)];
    files.into_iter().map(move |file| folder.join(file))
}

impl Opened {
    fn add_quorum(
        &mut self,
        ledger: &config::Ledger,
        members: &BTreeMap<Digest, url::Url>,
        parties: &Parties,
    ) -> Result<(), OpenError> {
        let id = ledger.id.clone();
        let settings = quorum::Config { members: seats::seated(members) };
        let group = Quorum::open(&settings, profile(quorum::profile(id.clone()), ledger));
        let group = group.map_err(|source| OpenError::Quorum { ledger: id.clone(), source })?;
        let group = group.acting_for(parties.iter().map(|party| party.secp256k1().clone()));
        let deployment = Deployment { chain_id: 0, decision: group.account(), escrow: Account::ZERO };
        self.deployments.insert(id.clone(), deployment);
        self.ledgers.insert(id, Arc::new(group));
        Ok(())
    }

    /// Of `senders`, who send what anyone may send, the first is the operator.
    async fn add_evm(
        &mut self,
        chain: Arc<dyn Chain>,
        profile: Profile,
        parties: &Parties,
        senders: &[Account],
    ) -> Result<Arc<EvmLedger>, OpenError> {
        let id = profile.id.clone();
        let ledger = EvmLedger::open(chain, profile, keyring(parties), senders[0]).await?;
        let ledger = ledger.with_lanes(senders)?;
        let deployment = Deployment {
            chain_id: ledger.chain_id(),
            decision: ledger.decision_address(),
            escrow: ledger.escrow_address(),
        };
        self.deployments.insert(id.clone(), deployment);
        let ledger = Arc::new(ledger);
        self.ledgers.insert(id, Arc::clone(&ledger) as Arc<dyn Ledger>);
        Ok(ledger)
    }

    /// A ledger that wants others, which are open by now.
    async fn add_dependent(
        &mut self,
        folder: &Path,
        ledger: &config::Ledger,
        evm: &BTreeMap<LedgerId, (Arc<EvmLedger>, bool)>,
        parties: &Parties,
    ) -> Result<(), OpenError> {
        let id = ledger.id.clone();
        match &ledger.kind {
            LedgerKind::Custodian { url, key } => {
                let settings = escrow::Config { url: url.reveal().clone(), key: *key, timeout: RPC_TIMEOUT };
                let profile = profile(escrow::profile(id.clone()), ledger);
                let custodian = Escrow::open(settings, profile, keyring(parties), self.ledgers.clone()).await;
                let custodian =
                    custodian.map_err(|source| OpenError::Custodian { ledger: id.clone(), source })?;
                self.ledgers.insert(id, Arc::new(custodian));
            }
            LedgerKind::EvmRecords { on, interval } => {
                let (evm, is_embedded) = evm
                    .get(on)
                    .cloned()
                    .ok_or_else(|| OpenError::NoChain { ledger: id.clone(), on: on.clone() })?;
                let path = folder.join(if is_embedded { own_batches(&id) } else { batches(&id) });
                let (interval, most, fee_limit) = (*interval, MAX_COUNT, ledger.fee_limit);
                let settings = RecordsConfig { path, interval, most, fee_limit };
                let profile = profile(records_profile(id.clone(), evm.profile(), interval), ledger);
                let records = EvmRecords::open(settings, profile, evm, clock::clock()).await;
                let records = records.map_err(|source| OpenError::Records { ledger: id.clone(), source })?;
                let records = Arc::new(records);
                self.senders.push(Arc::clone(&records));
                self.ledgers.insert(id, records);
            }
            _ => {}
        }
        Ok(())
    }
}

fn embedded_chain(
    folder: &Path,
    ledger: &config::Ledger,
    chain_id: u64,
    genesis: &BTreeMap<Name, u128>,
    parties: &Parties,
) -> Result<EmbeddedChain, OpenError> {
    let account = |name: &Name| parties.named(name.as_str()).map_or(Account::ZERO, PartyKeys::account);
    let balances = genesis.iter().map(|(name, amount)| (account(name), *amount)).collect();
    let genesis = Genesis { chain_id, base_fee: embedded::DEFAULT_BASE_FEE, balances };
    let path = folder.join(chain_file(&ledger.id));
    EmbeddedChain::open(&path, &genesis, clock::clock())
        .map_err(|source| OpenError::Embedded { ledger: ledger.id.clone(), source })
}

fn witness((key, url): (&WitnessKey, &Url)) -> calendar::Witness {
    calendar::Witness { key: key.clone(), url: url.clone() }
}

/// The time between two blocks of Bitcoin.
const BITCOIN_BLOCK: Span = Span::from_seconds(600);

async fn bitcoin(
    node: &config::Bitcoin,
    ledger: &config::Ledger,
    parties: &Parties,
    operator: &PartyKeys,
) -> Result<BitcoinLedger, BitcoinOpenError> {
    let mut bare = node.url.reveal().clone();
    let auth = match &node.cookie {
        Some(file) => Auth::Cookie(file.clone()),
        None => Auth::Password {
            user: bare.username().to_owned(),
            password: Zeroizing::new(bare.password().unwrap_or_default().to_owned()),
        },
    };
    // Both can be taken out of every URL with a host, and a URL without one was refused.
    let _ = (bare.set_username(""), bare.set_password(None));
    let config = BitcoinConfig {
        url: bare,
        auth,
        network: node.network.clone(),
        since: node.since,
        timeout: RPC_TIMEOUT,
        operator: operator.account(),
        watch: Vec::new(),
        note_fee_limit: ledger.fee_limit.try_into().unwrap_or(u64::MAX),
    };
    let own = bitcoin_profile(ledger.id.clone(), node.depth, BITCOIN_BLOCK);
    BitcoinLedger::open(config, profile(own, ledger), keyring(parties)).await
}

/// The configuration's times are the operator's word; the rest is the ledger's own.
fn profile(own: Profile, ledger: &config::Ledger) -> Profile {
    let longer = |configured: Span, own: Span| if configured == Span::ZERO { own } else { configured };
    Profile {
        inclusion: longer(ledger.inclusion, own.inclusion),
        finalises: if own.finality == Finality::Instant {
            own.finalises
        } else {
            longer(ledger.finalises, own.finalises)
        },
        poll: longer(ledger.poll, own.poll),
        ..own
    }
}

fn keyring(parties: &Parties) -> Keyring {
    let mut keyring = Keyring::default();
    for party in parties.iter() {
        let secret = Zeroizing::new(<[u8; 32]>::from(party.secp256k1().to_bytes()));
        keyring.insert(&secret).expect("a party's key is a key of secp256k1: it was read as one");
    }
    keyring
}
