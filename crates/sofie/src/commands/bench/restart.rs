//! `sofie bench restart`: a journal full of transactions that wait, and a node that starts on it.
//!
//! Processes of their own write the journal by the node's own code, on embedded ledgers, or with the escrows on anvil: each
//! transaction has all its locks, this node's secret is out, and the other participant's is on a node elsewhere. Each of
//! these processes ends without a word to its transactions. Then a new process opens all of it, and it works again once a
//! new transaction is applied on every ledger. The peer reads the same rows of the journal by plain SQLite, and does nothing
//! with them.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use sofie_model::{Manifest, Span};
use sofie_transaction::Plan;

use super::world::{Parties, World};
use super::{Paired, anvil, ours, round};
use crate::cli::{BenchRestart, BenchRestartPart};
use crate::failure::Failure;
use crate::output::{self, Format};

/// So many transactions are written by one process.
const PORTION: u64 = 5_000;
/// So many of them at once.
const AT_ONCE: usize = 256;
/// So many of them at once on anvil, where each waits for blocks.
const AT_ONCE_ON_ANVIL: usize = 2_048;
/// Anvil's block: how often, and how much it may hold.
const BLOCK_MS: u64 = 1_000;
const BLOCK_GAS: u64 = 1_000_000_000;
const PAYERS: u64 = 16;
const LEGS: u64 = 2;
/// Between two looks at how much of the journal is still to be read.
const LOOK: Duration = Duration::from_millis(5);

const TRIED: &str = "measure a restart";

/// The measure, as `-o json` prints it. Seconds are means of two starts.
#[derive(Debug, Serialize)]
struct Measure {
    #[serde(flatten)]
    paired: Paired,
    count: u64,
    /// Which chain holds the escrows.
    chain: &'static str,
    /// Until the ledgers were open, until the journal was, until each ledger had adopted what was intended on it, until every
    /// waiting transaction had been read.
    ledgers_s: f64,
    journal_s: f64,
    adopted_s: f64,
    all_read_s: f64,
    /// Resident memory for each that waits, ledgers not counted; absent where the system does not tell.
    bytes_each: Option<f64>,
    /// The stage that took most of the time until it works again.
    bound: String,
}

/// What a start says.
#[derive(Debug, Serialize, Deserialize)]
struct Start {
    ledgers_s: f64,
    journal_s: f64,
    adopted_s: f64,
    works_s: f64,
    all_read_s: f64,
    waiting: u64,
    grown: Option<u64>,
}

pub(super) async fn run(args: &BenchRestart) -> Result<ExitCode, Failure> {
    let folder = tempfile::tempdir().map_err(wrong)?;
    let anvil = if args.anvil { Some(new_chain(folder.path()).await?) } else { None };
    let part = |own: &[&str]| {
        let chain = anvil.iter().flat_map(|node| ["--node", node.url.as_str()]);
        part(folder.path(), &own.iter().copied().chain(chain).collect::<Vec<_>>())
    };
    for from in (0..args.count).step_by(usize::try_from(PORTION).unwrap_or(usize::MAX)) {
        let count = PORTION.min(args.count - from);
        part(&["--write", &count.to_string(), "--from", &from.to_string()])?;
        if args.output.output == Format::Text {
            output::say(&format!("{} of {} transactions wait", from + count, args.count));
        }
    }
    let (mut starts, mut reads) = (Vec::new(), Vec::new());
    reads.push(read_plainly(folder.path(), args.count)?);
    for round in 0..2 {
        let told = part(&["--from", &(args.count + round).to_string()])?;
        starts.push(serde_json::from_slice::<Start>(&told).map_err(wrong)?);
    }
    reads.push(read_plainly(folder.path(), args.count)?);
    if let Some(start) = starts.iter().find(|start| start.waiting != args.count) {
        return Err(wrong(format!("{} of {} transactions wait after the start", start.waiting, args.count)));
    }
    let measure = measure(args, &starts, &reads);
    match args.output.output {
        Format::Json => output::json(&measure),
        Format::Text => print(&measure),
    }
    Ok(ExitCode::SUCCESS)
}

/// A new chain, on which everybody can pay.
async fn new_chain(folder: &Path) -> Result<anvil::Node, Failure> {
    let node = anvil::Node::start(folder, BLOCK_MS, BLOCK_GAS).await?;
    node.endow(&Parties::new(PAYERS)?).await?;
    Ok(node)
}

fn measure(args: &BenchRestart, starts: &[Start], reads: &[Duration]) -> Measure {
    let count = args.count;
    let mean = |all: Vec<f64>| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let of = |which: fn(&Start) -> f64| round(mean(starts.iter().map(which).collect()), 3);
    let ours = of(|start| start.works_s);
    let (ledgers_s, journal_s) = (of(|start| start.ledgers_s), of(|start| start.journal_s));
    let peer =
        ("reading the same rows by plain SQLite", mean(reads.iter().map(Duration::as_secs_f64).collect()));
    let grown: Option<Vec<f64>> = starts.iter().map(|start| start.grown.map(|bytes| bytes as f64)).collect();
    Measure {
        paired: Paired::new(("restart", "s until it works again"), ours, peer, 3),
        count,
        chain: if args.anvil { "anvil" } else { "embedded" },
        ledgers_s,
        journal_s,
        adopted_s: of(|start| start.adopted_s),
        all_read_s: of(|start| start.all_read_s),
        bytes_each: grown.map(|grown| round(mean(grown) / count as f64, 1)),
        bound: bound(ledgers_s, journal_s, ours),
    }
}

/// The longest of the stages, which come one after the other, and its part of the whole.
fn bound(ledgers_s: f64, journal_s: f64, works_s: f64) -> String {
    let stages = [
        ("opening the ledgers", ledgers_s),
        ("opening the journal and reading each plan", journal_s - ledgers_s),
        ("one new transaction, while the journal is read", works_s - journal_s),
    ];
    let longest = stages.into_iter().max_by(|(_, one), (_, other)| one.total_cmp(other));
    longest.map_or_else(String::new, |(stage, took)| format!("{stage}: {:.0} %", 100.0 * took / works_s))
}

fn print(measure: &Measure) {
    let row = |who: &str, seconds: f64| vec![who.to_owned(), format!("{seconds:.3}")];
    output::table(
        &[measure.paired.name, measure.paired.unit],
        &[row("ours", measure.paired.ours), row(measure.paired.peer, measure.paired.theirs)],
    );
    output::line(&format!(
        "of that ledgers ({}) {:.3}, journal {:.3}; adopted after {:.3}, all read after {:.3}",
        measure.chain, measure.ledgers_s, measure.journal_s, measure.adopted_s, measure.all_read_s
    ));
    match measure.bytes_each {
        Some(bytes) => output::line(&format!("memory {bytes:.0} bytes for each that waits")),
        None => output::line("memory unknown: this system does not tell"),
    }
    output::line(&format!("bound  {}", measure.bound));
    output::line(&format!("all {} transactions still wait, and a new one is applied", measure.count));
}

/// Runs a part in a process of its own.
fn part(folder: &Path, args: &[&str]) -> Result<Vec<u8>, Failure> {
    let own = std::env::current_exe().map_err(wrong)?;
    let mut command = Command::new(own);
    command.args(["bench", "restart-part"]).arg(folder).args(args);
    let ran = tokio::task::block_in_place(|| command.output()).map_err(wrong)?;
    if ran.status.success() {
        return Ok(ran.stdout);
    }
    Err(wrong(String::from_utf8_lossy(&ran.stderr).into_owned()))
}

pub(super) async fn run_part(args: &BenchRestartPart) -> Result<ExitCode, Failure> {
    match args.write {
        Some(count) => write(args, count).await?,
        None => output::json(&start(args).await?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Brings so many transactions to where they wait for the other participant.
async fn write(args: &BenchRestartPart, count: u64) -> Result<(), Failure> {
    let world = open(args, || ()).await?;
    world.number_from(args.from);
    let at_once = if args.node.is_some() { AT_ONCE_ON_ANVIL } else { AT_ONCE };
    let waits = world.manifests(count)?.into_iter().map(|manifest| wait(&world, manifest));
    stream::iter(waits).buffer_unordered(at_once).try_collect::<Vec<()>>().await.map(drop)
}

async fn open(args: &BenchRestartPart, opened: impl FnOnce()) -> Result<World, Failure> {
    let Some(url) = &args.node else { return World::open_in(&args.folder, PAYERS, LEGS, opened).await };
    let parties = Parties::new(PAYERS)?;
    let evm = anvil::ledger(url, &parties, Span::from_millis(BLOCK_MS)).await?;
    World::over(evm, &args.folder, parties, LEGS, opened).await
}

async fn wait(world: &World, manifest: Arc<Manifest>) -> Result<(), Failure> {
    let decision_time = world.decision_time();
    let plan = Plan { manifest: Manifest::clone(&manifest), acts_for: vec![0], decision_time, pivot: None };
    let mut handle = world.transactions.begin(plan, Vec::new(), Vec::new()).await.map_err(wrong)?;
    let released = handle.until(|state| state.preimage(0).is_some()).await;
    released.map(drop).ok_or_else(|| wrong("the journal failed"))
}

/// A node starts, and works again.
async fn start(args: &BenchRestartPart) -> Result<Start, Failure> {
    let begun = Instant::now();
    let since = || begun.elapsed().as_secs_f64();
    let (mut ledgers_s, mut before) = (0.0, None);
    let opened = || (ledgers_s, before) = (since(), resident());
    let world = open(args, opened).await?;
    let count = world.transactions.recover().map_err(wrong)?;
    let journal_s = since();
    world.number_from(args.from);
    let manifests = world.manifests(1)?;
    let works = async {
        for manifest in &manifests {
            ours::one(&world, manifest).await?;
        }
        Ok::<_, Failure>(since())
    };
    let adopted = async {
        let at_once = world.transactions.all_adopted().await;
        at_once.then(since).ok_or_else(|| wrong("a ledger did not answer while it adopted"))
    };
    let (works_s, adopted_s) = tokio::try_join!(works, adopted)?;
    while world.transactions.unread() > 0 {
        tokio::time::sleep(LOOK).await;
    }
    let grown = before.zip(resident()).map(|(before, now)| now.saturating_sub(before));
    let all_read_s = since();
    let waiting = world.transactions.waiting() as u64;
    if waiting != count as u64 {
        return Err(wrong(format!("{waiting} of {count} transactions wait")));
    }
    Ok(Start { ledgers_s, journal_s, adopted_s, works_s, all_read_s, waiting, grown })
}

/// This process's resident memory, in bytes (Linux, proc_pid_status(5)).
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1_024)
}

/// Every row of the journal that an unfinished machine has, to the last byte.
fn read_plainly(folder: &Path, count: u64) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let journal = rusqlite::Connection::open(folder.join("journal.sqlite")).map_err(wrong)?;
    let mut machines =
        journal.prepare("SELECT kind, id, plan FROM machines WHERE ended = 0").map_err(wrong)?;
    let mut inputs =
        journal.prepare("SELECT seq, at, bytes FROM inputs WHERE kind = ?1 AND id = ?2").map_err(wrong)?;
    let (mut found, mut bytes) = (0, 0);
    let mut rows = machines.query([]).map_err(wrong)?;
    while let Some(row) = rows.next().map_err(wrong)? {
        let (kind, id): (u8, Vec<u8>) = (row.get(0).map_err(wrong)?, row.get(1).map_err(wrong)?);
        bytes += row.get::<_, Vec<u8>>(2).map_err(wrong)?.len();
        let input = |row: &rusqlite::Row<'_>| row.get::<_, Vec<u8>>(2);
        for input in inputs.query_map(rusqlite::params![kind, id], input).map_err(wrong)? {
            bytes += input.map_err(wrong)?.len();
        }
        found += 1;
    }
    if found == count && bytes > 0 {
        return Ok(begun.elapsed());
    }
    Err(wrong(format!("the journal holds {found} unfinished transactions, {count} are expected")))
}

fn wrong(why: impl Into<Box<dyn std::error::Error>>) -> Failure {
    Failure::refused(TRIED, why, "look at the folder for temporary files (TMPDIR) and its disk")
}

#[cfg(test)]
mod tests {
    use super::bound;

    #[test]
    fn the_longest_stage_bounds() {
        for ((ledgers, journal, works), expected) in [
            ((3.0, 3.5, 4.0), "opening the ledgers: 75 %"),
            ((0.5, 3.5, 4.0), "opening the journal and reading each plan: 75 %"),
            ((0.5, 1.0, 4.0), "one new transaction, while the journal is read: 75 %"),
        ] {
            assert_eq!(bound(ledgers, journal, works), expected);
        }
    }
}
