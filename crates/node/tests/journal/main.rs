//! The journal: what is confirmed is there after any end of the process, and what is damaged says so.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod damage;
mod ends;
mod order;

use std::path::Path;
use std::time::Duration;

use sofie_model::{Digest, Timestamp};
use sofie_node::journal::{Entry, Intended, Journal, JournalError, Machine, Pause, PauseAt, Reader, Record};

/// A bound on waiting, not a measure.
const PATIENCE: Duration = Duration::from_secs(30);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn id(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn begun(byte: u8) -> Entry {
    Entry::Begun { machine: Machine::Transaction, id: id(byte), plan: vec![byte; 40] }
}

fn input(byte: u8, seq: u64) -> Entry {
    let input = format!("input {seq} of {byte}").into_bytes();
    Entry::Input { machine: Machine::Transaction, id: id(byte), seq, input }
}

fn ended(byte: u8) -> Entry {
    Entry::Ended { machine: Machine::Transaction, id: id(byte) }
}

fn intent(byte: u8, task: &str) -> Entry {
    Entry::Intent { id: id(byte), task: task.into(), ledger: "evm".into(), bytes: vec![byte; 60] }
}

fn fact(key: &str, value: &[u8]) -> Entry {
    Entry::Fact { group: "test", key: key.into(), value: value.into() }
}

fn audit(seq: u64) -> Entry {
    Entry::Audit { seq, subject: id(1), record: format!("record {seq}").into_bytes() }
}

/// Opens the journal once the one before has let go: its thread ends on its own.
fn reopen(path: &Path) -> Journal {
    let start = std::time::Instant::now();
    loop {
        match Journal::open(path, None) {
            Ok(journal) => return journal,
            Err(JournalError::Held { .. }) if start.elapsed() < PATIENCE => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Everything that a journal holds.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    machines: Vec<Record>,
    unfinished: Vec<Record>,
    intents: Vec<Intended>,
    audit: Vec<Vec<u8>>,
    about: Vec<Vec<u8>>,
    facts: Vec<(String, Vec<u8>)>,
    last: Option<Timestamp>,
}

fn held(path: &Path) -> Result<Held, JournalError> {
    let reader = Reader::open(path)?;
    Ok(Held {
        machines: reader.machines(Machine::Transaction, true)?,
        unfinished: reader.machines(Machine::Transaction, false)?,
        intents: reader.intents()?,
        audit: reader.audit()?,
        about: reader.audit_of(id(1))?,
        facts: reader.facts("test")?,
        last: reader.last_written()?,
    })
}
