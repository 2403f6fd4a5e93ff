//! A node, open: its keys, ledgers, journal and platforms, and everything that the journal held unfinished, running
//! again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use sofie_ledgers::evm::EvmRecords;
use sofie_model::{Class, LedgerId, Span, ThingId, Timestamp};
use tokio::sync::mpsc;

use crate::auditor::Auditor;
use crate::budget::Budget;
use crate::calendars::Calendars;
use crate::clock::{self, ClockBehind};
use crate::config::{self, Config};
use crate::continuity::{self, Discontinuity};
use crate::contracts::{Contracts, Deployment};
use crate::drafts::{Desk, Once, Site};
use crate::drive::Keeper;
use crate::executor::{Executor, Ledgers};
use crate::journal::{Journal, JournalError, Pause};
use crate::keys::KeyError;
use crate::opening::{self, OpenError, Opened};
use crate::parties::Parties;
use crate::peers::{Peers, Rooms};
use crate::platforms::{Configured, PlatformError, Platforms};
use crate::restored::Restored;
use crate::seats::{SeatError, Seats};
use crate::transactions::Transactions;
use crate::webhooks::Webhooks;

/// Why a node does not start. Nothing is half-started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its data folder cannot be made.
    #[error("data_dir {path}: cannot be made; check the path and the rights on it")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The machine's clock.
    #[error(transparent)]
    Clock(#[from] ClockBehind),
    /// A ledger.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// A ledger's file is not the one that the journal belongs to.
    #[error(transparent)]
    Continuity(#[from] Discontinuity),
    /// A member of a group that this node runs.
    #[error(transparent)]
    Seat(#[from] SeatError),
    /// A platform that was joined before, or the mapping of a configured one.
    #[error(transparent)]
    Platform(#[from] PlatformError),
}

/// The running node. Clones share it.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    config: Config,
    parties: Parties,
    executor: Executor,
    auditor: Auditor,
    transactions: Transactions,
    platforms: Platforms,
    contracts: Contracts,
    desk: Desk,
    once: Once,
    peers: Peers,
    webhooks: Webhooks,
    seats: Seats,
    calendars: Calendars,
    started_at: Timestamp,
    base_url: OnceLock<String>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("name", &self.0.config.node.name).finish_non_exhaustive()
    }
}

impl Runtime {
    /// Opens everything and continues what an earlier run left unfinished. The receiver is told when the journal
    /// fails: then the node must stop.
    ///
    /// # Errors
    /// [`StartError`] names what is missing and the next step.
    pub async fn open(
        config: Config,
        pause: Option<Pause>,
    ) -> Result<(Self, mpsc::Receiver<JournalError>), StartError> {
        Self::open_with(config, pause, async |config, parties| opening::open(config, parties).await).await
    }

    /// As [`Runtime::open`], on ledgers that are open already, in place of those that the configuration names so.
    ///
    /// # Errors
    /// As [`Runtime::open`].
    pub async fn open_on(
        config: Config,
        pause: Option<Pause>,
        opened: Opened,
    ) -> Result<(Self, mpsc::Receiver<JournalError>), StartError> {
        Self::open_with(config, pause, async |_, _| Ok(opened)).await
    }

    async fn open_with(
        config: Config,
        pause: Option<Pause>,
        ledgers: impl AsyncFnOnce(&Config, &Parties) -> Result<Opened, OpenError>,
    ) -> Result<(Self, mpsc::Receiver<JournalError>), StartError> {
        // Before anything is opened: a file of the owner's that cannot be read stops the start at once.
        let configured = Configured::read(&config.platforms)?;
        let begun = Instant::now();
        let folder = config.node.data_dir.clone();
        std::fs::create_dir_all(&folder)
            .map_err(|source| StartError::Folder { path: folder.clone(), source })?;
        let journal = Journal::open(&journal_in(&folder), pause)?;
        let started_at = clock::now();
        let last_written = journal.reader()?.last_written()?;
        if let Some(last) = last_written {
            clock::check(started_at, last)?;
        }
        let restored = Restored::read(&journal.reader()?)?;
        let parties = Parties::load_in(&config, restored.epoch())?;
        let Opened { ledgers, deployments, senders, calendars } = ledgers(&config, &parties).await?;
        let seats = Seats::open(&config, &parties, restored.epoch(), &folder.join(opening::FOLDER))?;
        let operator = operator_key(&config, &parties);
        let calendars = Calendars::open(&config, operator.clone(), journal.clone(), calendars)?;
        let anchor = record_ledger(&config, &ledgers);
        continuity::check(continuity::seen(&journal.reader()?)?, &ledgers).await?;
        let (fatal, failed) = mpsc::channel(1);
        let auditor = Auditor::open(journal.clone())?;
        // Before anything goes on: a new webhook is told all that does.
        let webhooks = Webhooks::open(&config, &parties, &journal, &auditor).await?;
        let keeper = Keeper { auditor: auditor.clone(), fatal };
        let executor = Executor::new(Arc::new(ledgers), journal).adopt()?;
        senders.into_iter().for_each(|sender| start_sender(sender, executor.clone()));
        let transactions = Transactions::new(executor.clone(), keeper.clone(), Arc::new(parties.clone()));
        let transactions = transactions.after(restored).wanting_presigned();
        let platforms = Platforms::load(
            executor.clone(),
            keeper.clone(),
            parties.clone(),
            anchor,
            directory_id(&config),
        )?;
        let reopened = platforms.reopen(&configured).await?;
        let contracts = Contracts::new(
            executor.clone(),
            keeper,
            transactions.clone(),
            parties.clone(),
            platforms.clone(),
            Arc::new(deployments.clone()),
            config.node.operator.clone(),
        );
        let rooms = Rooms {
            parties: parties.clone(),
            executor: executor.clone(),
            auditor: auditor.clone(),
            transactions: transactions.clone(),
            contracts: contracts.clone(),
        };
        let peers = Peers::open(&config, operator, rooms)?;
        let (resumed, continued) = (
            transactions.recover_with(|one| peers.shares(one) || peers.must_entrust(one))?,
            contracts.recover()?,
        );
        tracing::info!(
            transactions = resumed,
            contracts = continued,
            platforms = reopened,
            "recovered from the journal"
        );
        peers.recover();
        platforms.keep_anchored();
        platforms.join_configured(configured);
        let took = last_written.map(|_| since(begun));
        let (budget, news) = Budget::measured(&executor.journal().reader()?, took)?;
        auditor.keep(news.into_iter().collect(), Vec::new(), clock::now()).await?;
        if last_written.is_some() && executor.is_adopting() {
            tokio::spawn(measure_adoption(executor.clone(), auditor.clone(), begun));
        }
        let desk = desk(&config, &parties, executor.ledgers(), &deployments, budget);
        transactions.set_detection(desk.detection);
        peers.set_desk(desk.clone());
        peers.start_entrusting();
        let inner = Inner {
            config,
            parties,
            executor,
            auditor,
            transactions,
            platforms,
            contracts,
            desk,
            once: Once::default(),
            peers,
            webhooks,
            seats,
            calendars,
            started_at,
            base_url: OnceLock::new(),
        };
        let runtime = Self(Arc::new(inner));
        tokio::spawn(runtime.clone().watch_slack());
        runtime.webhooks().start();
        Ok((runtime, failed))
    }

    /// Tells where the node is reached, once its door is open.
    pub fn set_base_url(&self, url: String) {
        if let Ok(url) = url.parse() {
            self.0.peers.set_authority(crate::config::authority(&url));
        }
        // The first door's address stands.
        let _ = self.0.base_url.set(url);
    }

    pub(crate) fn base_url(&self) -> String {
        self.0.base_url.get().cloned().unwrap_or_default()
    }

    pub(crate) fn console(&self) -> Option<String> {
        let base = self.0.base_url.get()?;
        self.0.config.node.console.then(|| format!("{base}/console/"))
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The parties whose keys are here.
    #[must_use]
    pub fn parties(&self) -> &Parties {
        &self.0.parties
    }

    /// The ledgers, by name.
    #[must_use]
    pub fn ledgers(&self) -> &Ledgers {
        self.0.executor.ledgers()
    }

    pub(crate) fn executor(&self) -> &Executor {
        &self.0.executor
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        self.0.executor.journal()
    }

    /// The audit log's keeper.
    #[must_use]
    pub fn auditor(&self) -> &Auditor {
        &self.0.auditor
    }

    /// The inter-ledger transactions.
    #[must_use]
    pub fn transactions(&self) -> &Transactions {
        &self.0.transactions
    }

    /// The joined platforms and the directory.
    #[must_use]
    pub fn platforms(&self) -> &Platforms {
        &self.0.platforms
    }

    /// The contracts.
    #[must_use]
    pub fn contracts(&self) -> &Contracts {
        &self.0.contracts
    }

    /// What a draft can refer to.
    pub(crate) fn desk(&self) -> &Desk {
        &self.0.desk
    }

    /// The drafts that are being worked on.
    pub(crate) fn once(&self) -> &Once {
        &self.0.once
    }

    /// The nodes of others.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.0.peers
    }

    pub(crate) fn webhooks(&self) -> &Webhooks {
        &self.0.webhooks
    }

    /// The members of groups that run here.
    pub(crate) fn seats(&self) -> &Seats {
        &self.0.seats
    }

    /// The calendars of this node that others use.
    pub(crate) fn calendars(&self) -> &Calendars {
        &self.0.calendars
    }

    /// When it was opened.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.0.started_at
    }
}

fn desk(
    config: &Config,
    parties: &Parties,
    ledgers: &Ledgers,
    deployments: &BTreeMap<LedgerId, Deployment>,
    budget: Budget,
) -> Desk {
    let site = |ledger: &config::Ledger| {
        let deployment = deployments.get(&ledger.id).copied();
        Some(Site {
            profile: ledgers.get(&ledger.id)?.profile().clone(),
            deployment,
            holder: Site::holder_of(&ledger.kind, deployment),
            fee_limit: ledger.fee_limit,
            skew: ledger.skew,
        })
    };
    let sites: Vec<Site> = config.ledgers.iter().filter_map(site).collect();
    let slowest = sites.iter().map(|site| site.profile.poll).max().unwrap_or(Span::ZERO);
    let of_peer = |peer: &config::Peer| {
        let parties: Vec<_> = peer.parties.keys().cloned().collect();
        let name = peer.name.clone();
        parties.into_iter().map(move |party| (party, name.clone()))
    };
    Desk {
        parties: parties.clone(),
        elsewhere: config.peers.iter().flat_map(of_peer).collect(),
        operator: config.node.operator.clone(),
        sites,
        detection: budget.detection(slowest),
    }
}

/// What signs batches takes no nonce of an intent that an earlier run fixed.
fn start_sender(sender: Arc<EvmRecords>, executor: Executor) {
    tokio::spawn(async move {
        executor.adopted(sender.on()).await;
        sender.start();
    });
}

/// A restart is over when its ledgers have adopted what an earlier run intended. What an outage adds is no part of it.
async fn measure_adoption(executor: Executor, auditor: Auditor, begun: Instant) {
    if !executor.all_adopted().await {
        return;
    }
    let took = Some(since(begun));
    let measured = executor.journal().reader().and_then(|reader| Budget::measured(&reader, took));
    let kept = match measured {
        Ok((_, news)) => auditor.keep(news.into_iter().collect(), Vec::new(), clock::now()).await,
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        // The node stops by itself when its journal fails.
        tracing::error!(%error, "how long the start took is not kept");
    }
}

fn since(begun: Instant) -> Span {
    Span::from_millis(begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX))
}

/// The key that speaks for this node to others.
fn operator_key(config: &Config, parties: &Parties) -> ed25519_dalek::SigningKey {
    let keys = parties.named(config.node.operator.as_str());
    keys.expect("the configuration was checked to name a party as operator").ed25519().clone()
}

/// The journal of the node whose data folder this is.
pub(crate) fn journal_in(folder: &Path) -> PathBuf {
    folder.join("journal.sqlite")
}

/// The id of the directory in its own description.
pub(crate) fn directory_id(config: &Config) -> ThingId {
    format!("urn:sofie:node:{}", config.node.name).parse().expect("a node's name fits in a URN")
}

/// Where hashes of descriptions are anchored: the first configured ledger that records.
fn record_ledger(config: &Config, ledgers: &Ledgers) -> Option<LedgerId> {
    let records = |id: &&LedgerId| {
        ledgers.get(*id).is_some_and(|ledger| ledger.profile().classes.contains(&Class::Record))
    };
    config.ledgers.iter().map(|ledger| &ledger.id).find(records).cloned()
}
