//! How many entries a second a calendar makes durable on this disk, by how many are in flight.
//!
//! `cargo run --release -p sofie-ledgers --example calendar_rate`

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use sofie_ledgers::{
    Clock, Ledger, LedgerError,
    calendar::{Calendar, Config, SigningKey},
};
use sofie_model::{Digest, Operation, Timestamp};

const TIME: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    for in_flight in [1, 8, 64, 512] {
        let path = folder.path().join(format!("{in_flight}.log"));
        let config = Config::new("calendar".parse()?, "example.com/rate".into(), path);
        let start = Instant::now();
        let clock: Clock = Arc::new(move || Timestamp::from_millis(start.elapsed().as_millis() as u64));
        let calendar = Arc::new(Calendar::open(config, SigningKey::from_bytes(&[1; 32]), clock)?);
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..in_flight {
            tasks.spawn(fill(Arc::clone(&calendar), task, start));
        }
        let mut waits = Vec::new();
        for waited in tasks.join_all().await {
            waits.extend(waited?);
        }
        waits.sort_unstable();
        let (rate, half) = (waits.len() as f64 / start.elapsed().as_secs_f64(), waits[waits.len() / 2]);
        let late = waits[waits.len() * 99 / 100];
        writeln!(std::io::stdout(), "{in_flight:4} in flight: {rate:8.0}/s, p50 {half:?}, p99 {late:?}")?;
    }
    Ok(())
}

async fn fill(calendar: Arc<Calendar>, task: u64, start: Instant) -> Result<Vec<Duration>, LedgerError> {
    let mut waits = Vec::new();
    for number in 0_u64.. {
        if start.elapsed() > TIME {
            break;
        }
        let place = [task.to_be_bytes(), number.to_be_bytes()].concat();
        let note = Operation::Note { topic: Digest::ZERO, commitment: Digest::sha256(&place) };
        let begun = Instant::now();
        calendar.submit(&calendar.intend(&note).await?).await?;
        waits.push(begun.elapsed());
    }
    Ok(waits)
}
