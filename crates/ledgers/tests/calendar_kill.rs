//! SIGKILL while entries pour in: whatever was acknowledged stands at the next start, and the log goes on.

#![expect(clippy::unwrap_used, reason = "helpers of a test, outside its function")]

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use sofie_ledgers::{
    Clock, Ledger, Status,
    calendar::{Calendar, Config, SigningKey},
};
use sofie_model::{Digest, Operation, Timestamp};

const FILE: &str = "SOFIE_TEST_CALENDAR";
const TASKS: u64 = 8;

fn open(path: &Path) -> Calendar {
    let (id, origin) = ("calendar".parse().unwrap(), "example.com/calendar".to_owned());
    let config = Config { id, origin, path: path.to_owned(), refuse: false };
    let clock: Clock = Arc::new(|| Timestamp::from_seconds(1_800_000_000));
    Calendar::open(config, SigningKey::from_bytes(&[9; 32]), clock).unwrap()
}

fn note(number: u64) -> Operation {
    Operation::Note { topic: Digest::ZERO, commitment: Digest::sha256(&number.to_be_bytes()) }
}

async fn append(calendar: &Calendar, number: u64) {
    let intent = calendar.intend(&note(number)).await.unwrap();
    calendar.submit(&intent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that the test below kills"]
async fn child() {
    let Ok(path) = std::env::var(FILE) else { return };
    let calendar = Arc::new(open(Path::new(&path)));
    let start = calendar.head().await.unwrap().height;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let calendar = Arc::clone(&calendar);
        tasks.spawn(async move {
            for number in (start + task..).step_by(TASKS as usize) {
                append(&calendar, number).await;
                // One write a line: a killed process leaves no half of one in the pipe.
                std::io::stdout().write_all(format!("durable {number}\n").as_bytes()).unwrap();
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
