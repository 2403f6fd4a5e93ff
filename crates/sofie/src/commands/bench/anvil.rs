//! `sofie bench anvil`: atomic transactions on a real Ethereum node, beside a bare client that brings transactions of the
//! same gas and calldata to the same node, signed before.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use sofie_ledgers::Ledger;
use sofie_ledgers::evm::chain::Chain;
use sofie_ledgers::evm::{EvmLedger, RpcChain, RpcConfig, rpc_profile};
use sofie_model::{Finality, Span};
use tokio::process::Child;

use super::pair::Pair;
use super::tally::Tally;
use super::world::{Parties, World};
use super::{Paired, presigned, round};
use crate::cli::BenchAnvil;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::story::funding;

/// Anvil's own chain id.
const CHAIN_ID: u64 = 31_337;
/// An escrow on anvil, and a record on a calendar.
const LEGS: u64 = 2;
/// When a fact there counts, as in `examples/swap/node.toml`.
const FINALITY: Finality = Finality::Depth(1);
/// How long an answer of the node may take.
const TIMEOUT: Duration = Duration::from_secs(30);

const TRIED: &str = "measure transactions on anvil";

/// The measure, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Measure {
    #[serde(flatten)]
    paired: Paired,
    p50_ms: f64,
    p99_ms: f64,
    /// What bounds ours: which threads were how busy.
    bound: String,
    /// How many cores the node had, during ours and during the peer's.
    node_cores: Option<f64>,
    peer_node_cores: Option<f64>,
    count: u64,
    concurrency: u64,
    lanes: u64,
    payers: u64,
    block_ms: u64,
    block_gas: u64,
}

/// A running anvil; dropped, it ends.
pub(super) struct Node {
    pub(super) url: String,
    process: Child,
}

impl Node {
    /// A new chain, with so many milliseconds between two blocks, and so much gas in each.
    pub(super) async fn start(folder: &Path, block_ms: u64, block_gas: u64) -> Result<Self, Failure> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address: SocketAddr = free.map_err(wrong)?;
        let block = format!("{}", block_ms as f64 / 1_000.0);
        let settings = ["--quiet", "--block-time", &block, "--gas-limit", &block_gas.to_string()];
        let process = funding::start_anvil(address, folder, &settings).await?;
        Ok(Self { url: format!("http://{address}"), process })
    }

    /// Gives everybody what they begin with.
    pub(super) async fn endow(&self, parties: &Parties) -> Result<(), Failure> {
        for (account, balance) in parties.balances() {
            let params = json!([account.to_string(), format!("{balance:#x}")]);
            funding::call(&self.url, "anvil_setBalance", params).await?;
        }
        Ok(())
    }
}

/// The chain behind a node that makes a block in every such span.
pub(super) async fn ledger(
    url: &str,
    parties: &Parties,
    block: Span,
) -> Result<(EvmLedger, Arc<dyn Chain>), Failure> {
    let url = url.parse().map_err(wrong)?;
    let config = RpcConfig { url, chain_id: CHAIN_ID, timeout: TIMEOUT, since: 0 };
    let chain: Arc<dyn Chain> = Arc::new(RpcChain::open(config).await.map_err(wrong)?);
    let id = "anvil".parse().map_err(|_| wrong("anvil is no ledger's name"))?;
    let profile = rpc_profile(id, FINALITY, block);
    let (keyring, operator) = (parties.keyring.clone(), parties.operator);
    let ledger = EvmLedger::open(Arc::clone(&chain), profile, keyring, operator).await.map_err(wrong)?;
    Ok((ledger.with_lanes(&parties.lanes).map_err(wrong)?, chain))
}

pub(super) async fn run(args: &BenchAnvil) -> Result<ExitCode, Failure> {
    let folder = tempfile::tempdir().map_err(wrong)?;
    let node = Node::start(folder.path(), args.block_ms, args.block_gas).await?;
    let parties = Parties::with_lanes(args.payers, args.lanes)?;
    node.endow(&parties).await?;
    let evm = ledger(&node.url, &parties, Span::from_millis(args.block_ms)).await?;
    let world = World::over(evm, folder.path(), parties, LEGS, || ()).await?;
    let peer = async |manifests: Vec<_>, tally: &mut Tally| {
        let mut signed = presigned::sign(&world, &node.url, &manifests).await?;
        tally.during(signed.bring(&node.url)).await?;
        signed.check(&node.url).await
    };
    let pair = Pair {
        count: args.count,
        concurrency: args.concurrency,
        node: node.process.id(),
        output: args.output.output,
    };
    let sides = pair.run(&world, peer).await?;
    world.verify(&sides.begun, |_| true).await?;
    world.verify(&sides.peers, |leg| leg.ledger == world.evm.profile().id).await?;
    world.check_balance(sides.begun.len() + sides.peers.len()).await?;
    let measure = measure(args, sides.ours, &sides.peer);
    match args.output.output {
        Format::Json => output::json(&measure),
        Format::Text => print(&measure),
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &BenchAnvil, mut ours: Tally, peer: &Tally) -> Measure {
    let theirs = ("a bare client, signed before", peer.rate());
    Measure {
        paired: Paired::new(("tx-anvil", "atomic transactions/s"), ours.rate(), theirs, 1),
        p50_ms: ours.quantile(50),
        p99_ms: ours.quantile(99),
        bound: ours.load.bound(ours.took),
        node_cores: ours.node_cores().map(|cores| round(cores, 2)),
        peer_node_cores: peer.node_cores().map(|cores| round(cores, 2)),
        count: args.count,
        concurrency: args.concurrency,
        lanes: args.lanes,
        payers: args.payers,
        block_ms: args.block_ms,
        block_gas: args.block_gas,
    }
}

fn print(measure: &Measure) {
    let row = |who: &str, rate: f64, cores: Option<f64>| {
        let cores = cores.map_or_else(|| "unknown".to_owned(), |cores| format!("{cores:.2}"));
        vec![who.to_owned(), format!("{rate:.1}"), cores]
    };
    let rows = [
        row("ours", measure.paired.ours, measure.node_cores),
        row(measure.paired.peer, measure.paired.theirs, measure.peer_node_cores),
    ];
    output::table(&[measure.paired.name, measure.paired.unit, "the node's cores"], &rows);
    output::line(&format!("ratio  {:.3}", measure.paired.ratio));
    output::line(&format!("ours   p50 {:.0} ms, p99 {:.0} ms", measure.p50_ms, measure.p99_ms));
    output::line(&format!("bound  {}", measure.bound));
    output::line(&format!(
        "all {} transactions of both sides are committed and applied; ours on the calendar, too",
        measure.count * 2
    ));
}

fn wrong(why: impl Into<Box<dyn std::error::Error>>) -> Failure {
    Failure::refused(TRIED, why, "see whether anvil runs: sofie doctor")
}
