//! The custodian's own process, killed and started again at will.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sofie_ledgers::Ledger;
use sofie_ledgers::escrow::{Config, Escrow, profile};
use sofie_model::{Digest, LedgerId};
use tokio_postgres::Client;
use url::Url;

use crate::cluster::Cluster;
use crate::parties::Parties;

/// The custodian's secret; a real one makes its own.
const SECRET: [u8; 32] = [0xbb; 32];

pub(crate) struct Custodian {
    child: Child,
    config: PathBuf,
    pub(crate) url: Url,
}

pub(crate) fn key() -> Digest {
    Digest(ed25519_dalek::SigningKey::from_bytes(&SECRET).verifying_key().to_bytes())
}

impl Custodian {
    /// Starts one over `cluster`; `decides` is its configuration's part about D.
    pub(crate) fn start(cluster: &Cluster, decides: &str) -> Self {
        // A free port, which a custodian that was killed takes again.
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let secret = cluster.path().join("custodian.key");
        std::fs::write(&secret, Digest(SECRET).to_string()).unwrap();
        let config = cluster.path().join("custodian.toml");
        let (postgres, secret) = (cluster.address(), secret.display());
        let text = format!(
            "ledger = \"bank\"\nlisten = \"{listen}\"\npostgres = \"{postgres}\"\nkey_file = \"{secret}\"\n{decides}"
        );
        std::fs::write(&config, text).unwrap();
        let url = format!("http://{listen}").parse().unwrap();
        Self { child: run(&config), config, url }
    }

    /// kill -9, in the middle of whatever it does, and a new start.
    pub(crate) fn kill_and_start(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = run(&self.config);
    }

    pub(crate) async fn ledger(&self, deciders: BTreeMap<LedgerId, Arc<dyn Ledger>>) -> Escrow {
        let config = Config { url: self.url.clone(), key: key(), timeout: Duration::from_secs(20) };
        let keyring = Parties::new().keyring;
        Escrow::open(config, profile("bank".parse().unwrap()), keyring, deciders).await.unwrap()
    }
}

impl Drop for Custodian {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it until it listens.
fn run(config: &PathBuf) -> Child {
    let program = env!("CARGO_BIN_EXE_custodian");
    let mut child = Command::new(program).arg(config).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("custodian bank"), "it does not start: {line:?}");
    child
}

/// Opens an account.
pub(crate) async fn endow(sql: &Client, account: sofie_model::Account, balance: u128) {
    let insert = "insert into accounts values ($1, $2::text::numeric)
                  on conflict (account) do update set balance = excluded.balance";
    sql.execute(insert, &[&account.0.as_slice(), &balance.to_string()]).await.unwrap();
}

/// All money: in accounts and in held legs.
pub(crate) async fn sum(sql: &Client) -> String {
    let all = "select ((select coalesce(sum(balance), 0) from accounts) +
                       (select coalesce(sum(amount), 0) from legs where state in ('held', 'armed')))::text";
    sql.query_one(all, &[]).await.unwrap().get(0)
}
