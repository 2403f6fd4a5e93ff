//! `sofie bench records`: records in batches, beside a ledger transaction for each; and their proofs, beside the hashing alone.

use std::collections::BTreeSet;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use sofie_ledgers::evm::{EvmRecords, RecordsConfig, records_profile};
use sofie_ledgers::{Ledger, LedgerError, Status};
use sofie_model::proof::batch::MAX_COUNT;
use sofie_model::{Digest, Evidence, Operation, Span};
use sofie_node::clock;

use super::load::Load;
use super::proofs::{self, Verified};
use super::tally::Tally;
use super::world::World;
use super::{Paired, round};
use crate::cli::BenchRecords;
use crate::failure::Failure;
use crate::output::{self, Format};

/// Each side is measured twice, in the order ABBA: what else the machine does meets both alike.
const ROUNDS: [Side; 4] = [Side::Single, Side::Batched, Side::Batched, Side::Single];
/// The peer takes a fraction of the records: each costs it a transaction and a block.
const PEER_PART: u64 = 50;
/// Far above what one batch costs here.
const FEE_LIMIT: u128 = 1_000_000_000_000_000_000;
/// So many turns are taken until all is final.
const MAX_TURNS: u32 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// As many records in a transaction as there are.
    Batched,
    /// One.
    Single,
}

/// Records on their way, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Sent {
    #[serde(flatten)]
    paired: Paired,
    /// Until one record was durable.
    p50_ms: f64,
    p99_ms: f64,
    /// What bounds ours: which threads were how busy.
    bound: String,
    count: u64,
    concurrency: u64,
    /// Of the records of both rounds.
    transactions: usize,
    gas_per_record: f64,
    peer_gas_per_record: f64,
    peer_p50_ms: f64,
    peer_p99_ms: f64,
}

pub(super) async fn run(args: &BenchRecords) -> Result<ExitCode, Failure> {
    let world = World::open(1, 2).await?;
    let sides = Sides::open(&world).await?;
    let (sent, facts) = sides.send(&world, args).await?;
    let manifest = world.manifests(1)?.remove(0);
    let verified = proofs::measure(sides.batched.as_ref(), &manifest, &facts).await?;
    match args.output.output {
        Format::Json => {
            output::json(&sent);
            output::json(&verified);
        }
        Format::Text => print(&sent, &verified),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn failed(error: impl Into<Box<dyn std::error::Error>>) -> Failure {
    Failure::refused("measure records", error, "look at the folder for temporary files (TMPDIR) and its disk")
}

/// Two ledgers of records on one chain: one fills its batches, the other makes a batch of each record.
struct Sides {
    batched: Arc<EvmRecords>,
    single: Arc<EvmRecords>,
    _folder: tempfile::TempDir,
}

impl Sides {
    async fn open(world: &World) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(failed)?;
        let batched = open(world, &folder, "batched", MAX_COUNT).await?;
        let single = open(world, &folder, "single", 1).await?;
        let this = Self { batched, single, _folder: folder };
        // The contract, and the first batch on it, cost more than any later one.
        this.round(Side::Batched, u64::MAX - 1..u64::MAX, 1).await?;
        Ok(this)
    }

    const fn ledger(&self, side: Side) -> &Arc<EvmRecords> {
        match side {
            Side::Batched => &self.batched,
            Side::Single => &self.single,
        }
    }

    /// All rounds of both sides; and where ours stand.
    async fn send(&self, world: &World, args: &BenchRecords) -> Result<(Sent, Vec<Evidence>), Failure> {
        let (mut tallies, mut facts) = ([Tally::default(), Tally::default()], [Vec::new(), Vec::new()]);
        let mut from = 0;
        for (number, side) in ROUNDS.into_iter().enumerate() {
            let count = if side == Side::Batched { args.count } else { args.count.div_ceil(PEER_PART) };
            if args.output.output == Format::Text {
                output::say(&format!("round {} of {}: {count} records, {side:?}", number + 1, ROUNDS.len()));
            }
            let (started, before) = (Instant::now(), Load::now());
            let (latencies, stand) = self.round(side, from..from + count, args.concurrency).await?;
            let tally = &mut tallies[side as usize];
            tally.took += started.elapsed();
            tally.load.add(&before.until_now());
            tally.latencies.extend(latencies);
            facts[side as usize].extend(stand);
            from += count;
        }
        let [ours, theirs] = tallies;
        let [facts, peers] = facts;
        let costs = (gas(world, &facts).await?, gas(world, &peers).await?);
        Ok((sent(args, ours, theirs, costs), facts))
    }

    /// Notes of these numbers, until all are final: how long each took to be durable, and where they stand.
    async fn round(
        &self,
        side: Side,
        numbers: Range<u64>,
        concurrency: u64,
    ) -> Result<(Vec<Duration>, Vec<Evidence>), Failure> {
        let ledger = self.ledger(side);
        let mut workers = tokio::task::JoinSet::new();
        for first in numbers.clone().take(concurrency as usize) {
            workers.spawn(append(Arc::clone(ledger), (first..numbers.end).step_by(concurrency as usize)));
        }
        let mut latencies = Vec::new();
        while let Some(done) = workers.join_next().await {
            latencies.extend(done.map_err(failed)?.map_err(failed)?);
        }
        let mut facts = Vec::new();
        let (mut next, mut turns) = (numbers.start, 0);
        while next < numbers.end {
            match ledger.status(&note(next), None).await.map_err(failed)? {
                Status::Final(evidence) => {
                    facts.push(evidence);
                    next += 1;
                }
                other if turns == MAX_TURNS => return Err(failed(format!("record {next}: {other:?}"))),
                _ => {
                    ledger.drive().await.map_err(failed)?;
                    turns += 1;
                }
            }
        }
        Ok((latencies, facts))
    }
}

async fn open(
    world: &World,
    folder: &tempfile::TempDir,
    name: &str,
    most: u32,
) -> Result<Arc<EvmRecords>, Failure> {
    let (path, interval) = (folder.path().join(name), Span::ZERO);
    let config = RecordsConfig { path, interval, most, fee_limit: FEE_LIMIT };
    let id = name.parse().map_err(|_| failed("this is no ledger's name"))?;
    let profile = records_profile(id, world.evm.profile(), interval);
    let ledger = EvmRecords::open(config, profile, Arc::clone(&world.evm), clock::clock()).await;
    ledger.map(Arc::new).map_err(failed)
}

fn note(number: u64) -> Operation {
    let commitment = Digest::sha256(&number.to_be_bytes());
    Operation::Note { topic: Digest::of("sofie.bench.topic", &[]), commitment }
}

async fn append(
    ledger: Arc<EvmRecords>,
    numbers: impl Iterator<Item = u64> + Send,
) -> Result<Vec<Duration>, LedgerError> {
    let mut took = Vec::new();
    for number in numbers {
        let started = Instant::now();
        ledger.submit(&ledger.intend(&note(number)).await?).await?;
        took.push(started.elapsed());
    }
    Ok(took)
}

/// Gas a record, and in how many transactions: by the headers of the blocks that hold nothing else.
async fn gas(world: &World, facts: &[Evidence]) -> Result<(f64, usize), Failure> {
    let blocks: BTreeSet<u64> = facts.iter().map(|fact| fact.position.height).collect();
    let mut used = 0;
    for &number in &blocks {
        let header = world.chain.header(number).await.map_err(failed)?;
        used += header.ok_or_else(|| failed(format!("block {number} is gone")))?.gas_used;
    }
    Ok((used as f64 / facts.len().max(1) as f64, blocks.len()))
}

fn sent(
    args: &BenchRecords,
    mut ours: Tally,
    mut theirs: Tally,
    (gas, peer_gas): ((f64, usize), (f64, usize)),
) -> Sent {
    let peer = ("a transaction for each record", theirs.rate());
    Sent {
        paired: Paired::new(("records-sent", "final records/s"), ours.rate(), peer, 1),
        p50_ms: ours.quantile(50),
        p99_ms: ours.quantile(99),
        bound: ours.load.bound(ours.took),
        count: args.count,
        concurrency: args.concurrency,
        transactions: gas.1,
        gas_per_record: round(gas.0, 2),
        peer_gas_per_record: round(peer_gas.0, 0),
        peer_p50_ms: theirs.quantile(50),
        peer_p99_ms: theirs.quantile(99),
    }
}

fn print(sent: &Sent, verified: &Verified) {
    let row =
        |who: &str, rate: f64, gas: f64| vec![who.to_owned(), format!("{rate:.1}"), format!("{gas:.2}")];
    let rows = [
        row("ours", sent.paired.ours, sent.gas_per_record),
        row(sent.paired.peer, sent.paired.theirs, sent.peer_gas_per_record),
    ];
    output::table(&[sent.paired.name, sent.paired.unit, "gas a record"], &rows);
    output::line(&format!("ratio  {:.3}; {} transactions", sent.paired.ratio, sent.transactions));
    output::line(&format!("durable after {:.2} ms, p99 {:.2} ms", sent.p50_ms, sent.p99_ms));
    output::line(&format!("bound  {}", sent.bound));
    verified.print();
}
