//! SIGKILL while records pour in and batches go out: at the next start, whatever was acknowledged comes to stand, and nothing
//! stands twice.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use sofie_ledgers::evm::{EmbeddedChain, EvmLedger, EvmRecords, embedded_profile};
use sofie_ledgers::{Clock, Ledger, Status};
use sofie_model::{Span, Timestamp};

use crate::embedded::genesis;
use crate::parties::Parties;
use crate::records::{beside, config, note, total};

const FOLDER: &str = "SOFIE_TEST_RECORDS";
const TASKS: u64 = 8;

async fn open(folder: &Path) -> (Arc<EmbeddedChain>, Arc<EvmRecords>) {
    let parties = Parties::new();
    let clock: Clock = Arc::new(|| Timestamp::from_seconds(1_800_000_000));
    let chain = EmbeddedChain::open(&folder.join("chain"), &genesis(&parties), Arc::clone(&clock));
    let chain = Arc::new(chain.unwrap());
    let profile = embedded_profile("evm".parse().unwrap());
    let evm = EvmLedger::open(Arc::clone(&chain) as _, profile, parties.keyring, parties.operator).await;
    // Small batches, so that many are cut, signed, sent and found while the child runs.
    let config = config(folder.join("batches"), Span::ZERO, 16);
    (chain, beside(Arc::new(evm.unwrap()), config, clock).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the test below ends"]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let (_chain, records) = open(Path::new(&folder)).await;
    let mut start = 0;
    while records.status(&note(start), None).await.unwrap() != Status::Absent {
        start += 1;
    }
    records.start();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let records = Arc::clone(&records);
        tasks.spawn(async move {
            for number in (start + task..).step_by(TASKS as usize) {
                let intent = records.intend(&note(number)).await.unwrap();
                records.submit(&intent).await.unwrap();
                // One write a line: a killed process leaves no half of one in the pipe.
                std::io::stdout().write_all(format!("durable {number}\n").as_bytes()).unwrap();
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_survive_a_kill_and_none_is_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let mut durable = Vec::new();
    for lines in [1, 10, 77, 200, 33] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "records_kill::child", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut left = lines;
        for line in output.lines() {
            let line = line.unwrap();
            let Some((_, number)) = line.split_once("durable ") else { continue };
            durable.push(number.parse::<u64>().unwrap());
            left -= 1;
            if left == 0 {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success(), "it should have been killed");
        assert!(left <= 0, "the child ended {left} lines too early");
        let (chain, records) = open(folder.path()).await;
        records.drive().await.unwrap();
        for number in &durable {
            let status = records.status(&note(*number), None).await.unwrap();
            assert!(matches!(status, Status::Final(_)), "{number} was durable: {status:?}");
        }
        // What was durable and not yet said so is there too, and each is there once.
        let last = durable.iter().max().copied().unwrap_or_default();
        let mut standing = 0;
        for number in 0..=last + 2 * TASKS {
            let status = records.status(&note(number), None).await.unwrap();
            standing += u64::from(matches!(status, Status::Final(_)));
        }
        assert_eq!(total(&*chain).await, standing);
    }
}
