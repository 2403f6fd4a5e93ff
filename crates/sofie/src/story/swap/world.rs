//! The ledgers of the swap and the node's configuration for them.

use std::path::Path;

use sofie_model::PublicKey;
use sofie_node::config::{Config, LedgerKind};
use sofie_node::keys::PartyKeys;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use toml::{Table, Value};

use super::super::bitcoind::Bitcoind;
use super::super::report::ReportStep;
use super::super::teller::Teller;
use super::super::{funding, setup};
use crate::failure::Failure;

/// The node's configuration, with the usual ports.
const CONFIG: &str = include_str!("../../../../../examples/swap/node.toml");

/// Everything that runs beside the node.
pub(crate) struct World {
    pub(super) bitcoind: Bitcoind,
    pub(super) config: Config,
    /// Where the development chain answers.
    pub(super) ethereum: String,
    anvil: Vec<Child>,
    home: TempDir,
}

impl World {
    /// Starts a chain and a bitcoind, both with a block each second, and gives the parties something to pay with.
    pub(super) async fn start(teller: &mut Teller) -> Result<Self, Failure> {
        let next = "free some space, or set TMPDIR";
        let home = tempfile::Builder::new().prefix("sofie-try-").tempdir();
        let home = home.map_err(|e| Failure::lacking("make the story's folder", e, next))?;
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.map_err(|e| Failure::lacking("find a free port", e, "run sofie doctor"))?.port();
        let ethereum = format!("http://127.0.0.1:{port}");
        // Its keys are needed before bitcoind is there to say where it answers.
        let config = place(home.path(), &ethereum, "http://127.0.0.1:18443")?;
        let bitcoind = Bitcoind::start(home.path(), &[key(&config, "bob")?]).await?;
        let config = place(home.path(), &ethereum, bitcoind.url())?;
        let anvil = funding::prepare(&config, home.path()).await?;
        let told = format!("anvil at {ethereum}, bitcoind at {}, a calendar in the node", bitcoind.url());
        teller.step(ReportStep::own("ledgers", told));
        Ok(Self { bitcoind, config, ethereum, anvil, home })
    }

    /// The chain's node stands still, and answers nobody.
    pub(super) async fn stop_ethereum(&self) -> Result<(), Failure> {
        self.signal("-STOP").await
    }

    /// It goes on where it stood.
    pub(super) async fn resume_ethereum(&self) -> Result<(), Failure> {
        self.signal("-CONT").await
    }

    async fn signal(&self, signal: &str) -> Result<(), Failure> {
        for id in self.anvil.iter().filter_map(Child::id) {
            let sent = Command::new("kill").arg(signal).arg(id.to_string()).status().await;
            sent.map_err(|e| Failure::lacking(&format!("send {signal} to the chain's node"), e, ""))?;
        }
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        self.home.path()
    }
}

fn place(folder: &Path, ethereum: &str, bitcoin: &str) -> Result<Config, Failure> {
    let mut table: Table =
        CONFIG.parse().map_err(|e| Failure::usage("read the story's configuration", e, ""))?;
    let ledgers = table.get_mut("ledger").and_then(Value::as_array_mut);
    for one in ledgers.into_iter().flatten().filter_map(Value::as_table_mut) {
        match one.get("kind").and_then(Value::as_str) {
            Some("evm-rpc") => drop(one.insert("url".into(), ethereum.into())),
            Some("bitcoin-rpc") => drop(one.insert("url".into(), bitcoin.into())),
            _ => {}
        }
    }
    let config = setup::place(folder, table)?;
    debug_assert!(config.ledgers.iter().any(|one| matches!(one.kind, LedgerKind::BitcoinRpc(_))));
    Ok(config)
}

/// The key that locks and spends a party's bitcoin.
fn key(config: &Config, name: &str) -> Result<PublicKey, Failure> {
    let tried = format!("make the keys of {name}");
    let party = config.parties.iter().find(|party| party.name.as_str() == name);
    let party = party.ok_or_else(|| Failure::usage(&tried, "the configuration has no such party", ""))?;
    let keys = PartyKeys::load_or_create(party).map_err(|e| Failure::lacking(&tried, e, ""))?;
    Ok(PublicKey::from(keys.secp256k1().verifying_key()))
}
