//! A proxy in front of a node's JSON-RPC that delays, cuts, drops answers after delivery, and delivers twice; and the
//! conformance suite through it. Which exchange suffers what follows from a seed and the exchange's number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sofie_ledgers::conformance::{Failure, Harness, Site, failures, run_all};
use sofie_ledgers::evm::{EvmLedger, RpcChain, RpcConfig, rpc_profile};
use sofie_ledgers::{Head, Intent, Ledger, LedgerError, Profile, Status, Treasury};
use sofie_model::{
    Account, Attestation, Digest, Evidence, Finality, Manifest, Operation, Proof, SignedAttestation, Span,
    Timestamp,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::anvil::{Behind, CHAIN};

/// A longer head of a message is refused.
const MAX_HEAD: usize = 16 * 1_024;
/// So often a call that failed for now is made again.
const MAX_TRIES: u32 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The request waits before it is delivered.
    Delays,
    /// The connection ends before the request is delivered.
    Cuts,
    /// The request is delivered, and its answer never comes.
    DropsAnswer,
    /// The request is delivered twice, and the second answer comes.
    Doubles,
}

impl Fault {
    fn of(seed: u64, exchange: u64) -> Self {
        let digest = Digest::of("sofie.test.fault.v1", &[&seed.to_be_bytes(), &exchange.to_be_bytes()]);
        match digest.0[0] {
            0..=15 => Self::Delays,
            16..=31 => Self::Cuts,
            32..=47 => Self::DropsAnswer,
            48..=63 => Self::Doubles,
            _ => Self::None,
        }
    }
}

/// Forwards to `node` until it is dropped.
struct Proxy {
    url: Url,
    task: tokio::task::JoinHandle<()>,
    suffered: Arc<[AtomicU64; 4]>,
}

impl Proxy {
    async fn start(node: &Url, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let node = format!("127.0.0.1:{}", node.port().unwrap());
        let suffered: Arc<[AtomicU64; 4]> = Arc::default();
        let counts = Arc::clone(&suffered);
        let task = tokio::spawn(async move {
            let exchanges = Arc::new(AtomicU64::new(0));
            while let Ok((client, _)) = listener.accept().await {
                let (node, exchanges, counts) = (node.clone(), Arc::clone(&exchanges), Arc::clone(&counts));
                tokio::spawn(async move {
                    let _ = serve(client, &node, seed, &exchanges, &counts).await;
                });
            }
        });
        Self { url, task, suffered }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    node: &str,
    seed: u64,
    exchanges: &AtomicU64,
    counts: &[AtomicU64; 4],
) -> std::io::Result<()> {
    loop {
        let request = message(&mut client).await?;
        let fault = Fault::of(seed, exchanges.fetch_add(1, Ordering::SeqCst));
        if fault != Fault::None {
            counts[fault as usize - 1].fetch_add(1, Ordering::SeqCst);
        }
        match fault {
            Fault::Cuts => return Ok(()),
            Fault::Delays => tokio::time::sleep(Duration::from_millis(60)).await,
            Fault::Doubles => drop(deliver(node, &request).await?),
            Fault::None | Fault::DropsAnswer => {}
        }
        let answer = deliver(node, &request).await?;
        if fault == Fault::DropsAnswer {
            return Ok(());
        }
        client.write_all(&answer).await?;
    }
}

pub(crate) async fn deliver(node: &str, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut upstream = TcpStream::connect(node).await?;
    upstream.write_all(request).await?;
    message(&mut upstream).await
}

/// One HTTP/1.1 message whose length its head tells (RFC 9112, section 6.2); anvil and its client send no other.
pub(crate) async fn message(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let broken = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let mut bytes = Vec::new();
    let end = loop {
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if bytes.len() > MAX_HEAD {
            return Err(broken());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|text| text.trim().parse().ok()).ok_or_else(broken)?;
    while bytes.len() < end + length {
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes)
}

/// Makes each call again while it fails for now, as an executor does: the same intent, never a new one.
struct Patient(EvmLedger);

macro_rules! patiently {
    ($call:expr) => {{
        let mut tries = 0;
        loop {
            match $call.await {
                Err(LedgerError::Transient { .. }) if tries < MAX_TRIES => tries += 1,
                answer => break answer,
            }
        }
    }};
}

#[async_trait]
impl Ledger for Patient {
    fn profile(&self) -> &Profile {
        self.0.profile()
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        patiently!(self.0.intend(operation))
    }

    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        patiently!(self.0.adopt(intent))
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        patiently!(self.0.submit(intent))
    }

    async fn status(&self, operation: &Operation, intent: Option<&Intent>) -> Result<Status, LedgerError> {
        patiently!(self.0.status(operation, intent))
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        patiently!(self.0.head())
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        patiently!(self.0.prove(manifest, facts))
    }

    fn treasury(&self) -> Option<&dyn Treasury> {
        Some(self)
    }
}

#[async_trait]
impl Treasury for Patient {
    async fn balance(&self, account: Account) -> Result<u128, LedgerError> {
        patiently!(self.0.balance(account))
    }

    async fn fees(&self, payers: &[Account], from: u64, to: u64) -> Result<u128, LedgerError> {
        // Block by block: a question of hundreds of blocks would not once go through whole.
        let mut sum = 0;
        for block in from..=to {
            sum += patiently!(self.0.fees(payers, block, block))?;
        }
        Ok(sum)
    }
}

/// The suite's node, seen through the proxy; the suite's own clock and blocks go past it.
struct Through {
    behind: Behind,
    proxy: Proxy,
}

impl Through {
    async fn ledger(&self) -> Result<Arc<dyn Ledger>, Failure> {
        let mut last = String::new();
        for _ in 0..MAX_TRIES {
            match self.open_once().await {
                Ok(ledger) => return Ok(Arc::new(Patient(ledger))),
                Err(why) => last = why,
            }
        }
        Err(Failure::Harness(last))
    }

    async fn open_once(&self) -> Result<EvmLedger, String> {
        let config = RpcConfig {
            url: self.proxy.url.clone(),
            chain_id: CHAIN,
            timeout: Duration::from_secs(20),
            since: 0,
        };
        let chain = RpcChain::open(config).await.map_err(|error| error.to_string())?;
        let profile = rpc_profile("anvil".parse().unwrap(), Finality::Depth(1), Span::from_seconds(1));
        let parties = &self.behind.parties;
        EvmLedger::open(Arc::new(chain), profile, parties.keyring.clone(), parties.operator)
            .await
            .map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Harness for Through {
    async fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        // Funds the parties, and deploys the contracts at the first time.
        drop(self.behind.open().await?);
        self.ledger().await
    }

    async fn reopen(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        drop(ledger);
        self.ledger().await
    }

    fn site(&self) -> Site {
        self.behind.site()
    }

    fn attest(&self, attestation: Attestation) -> SignedAttestation {
        self.behind.attest(attestation)
    }

    async fn step(&self) -> Result<(), Failure> {
        self.behind.step().await
    }

    async fn pass(&self, until: Timestamp) -> Result<(), Failure> {
        self.behind.pass(until).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_is_kept_through_a_proxy_that_delays_drops_and_doubles() {
    let Some(behind) = Behind::start(Finality::Depth(1)) else { return };
    let seed = 4;
    let proxy = Proxy::start(behind.url(), seed).await;
    let through = Through { behind, proxy };
    let outcomes = run_all(&through).await.unwrap();
    assert!(outcomes.len() >= 20, "{}", outcomes.len());
    assert_eq!(failures(&outcomes), "", "seed {seed}");
    let suffered = through.proxy.suffered.each_ref().map(|count| count.load(Ordering::SeqCst));
    assert!(suffered.iter().all(|count| *count > 0), "delayed, cut, unanswered, doubled: {suffered:?}");
}
