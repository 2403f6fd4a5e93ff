//! SIGKILL while entries pour in, and a disk that is full: whatever was acknowledged stands at the next start, and the
//! log goes on.

#![expect(clippy::unwrap_used, reason = "helpers of a test, outside its function")]

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use sofie_ledgers::{
    Clock, Ledger, LedgerError, Status,
    calendar::{Calendar, Config, SigningKey},
};
use sofie_model::{Digest, Operation, Timestamp};

const FILE: &str = "SOFIE_TEST_CALENDAR";
const TASKS: u64 = 8;

fn open(path: &Path) -> Calendar {
    let (id, origin) = ("calendar".parse().unwrap(), "example.com/calendar".to_owned());
    let config = Config::new(id, origin, path.to_owned());
    let clock: Clock = Arc::new(|| Timestamp::from_seconds(1_800_000_000));
    Calendar::open(config, SigningKey::from_bytes(&[9; 32]), clock).unwrap()
}

fn note(number: u64) -> Operation {
    Operation::Note { topic: Digest::ZERO, commitment: Digest::sha256(&number.to_be_bytes()) }
}

async fn append(calendar: &Calendar, number: u64) -> Result<(), LedgerError> {
    calendar.submit(&calendar.intend(&note(number)).await?).await
}

/// One write a line: a killed process leaves no half of one in the pipe.
fn say(line: String) {
    std::io::stdout().write_all((line + "\n").as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that the tests below end"]
async fn child() {
    let Ok(path) = std::env::var(FILE) else { return };
    let calendar = Arc::new(open(Path::new(&path)));
    let start = calendar.head().await.unwrap().height;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let calendar = Arc::clone(&calendar);
        tasks.spawn(async move {
            for number in (start + task..).step_by(TASKS as usize) {
                match append(&calendar, number).await {
                    Ok(()) => say(format!("durable {number}")),
                    Err(error) => return say(format!("failed: {error}")),
                }
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calendar.log");
    let mut durable = Vec::new();
    for lines in [1, 10, 77, 400] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut left = lines;
        for line in output.lines() {
            let line = line.unwrap();
            let Some((_, number)) = line.split_once("durable ") else { continue };
            durable.push(number.parse().unwrap());
            left -= 1;
            if left == 0 {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success(), "it should have been killed");
        assert!(left <= 0, "the child ended {left} lines too early");
        let calendar = open(&path);
        for number in &durable {
            let status = calendar.status(&note(*number), None).await.unwrap();
            assert!(matches!(status, Status::Final(_)), "{number} was durable: {status:?}");
        }
    }
}

/// A disk that is full is played by a limit on the size of files (POSIX `ulimit -f`, in blocks of 512 bytes).
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_costs_nothing_that_stood() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calendar.log");
    let limited = "trap '' XFSZ; ulimit -f 16; exec \"$0\" --exact child --ignored --nocapture";
    let output = Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .env(FILE, &path)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let failed: Vec<_> = said.lines().filter(|line| line.contains("failed: ")).collect();
    assert_eq!(failed.len() as u64, TASKS, "{said}");
    assert!(failed.iter().all(|line| line.contains("make room")), "{said}");

    let numbers: Vec<u64> =
        said.lines().filter_map(|line| line.split_once("durable ")?.1.parse().ok()).collect();
    assert!(!numbers.is_empty(), "{said}");
    let calendar = open(&path);
    for number in numbers {
        assert!(matches!(calendar.status(&note(number), None).await, Ok(Status::Final(_))), "{number}");
    }
    append(&calendar, u64::MAX).await.unwrap();
}
