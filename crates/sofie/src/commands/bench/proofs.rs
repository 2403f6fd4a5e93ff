//! How fast a reader checks records of which it has verified the batch already, beside SHA-256 over the same paths alone:
//! the least that any check of them costs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;
use sofie_ledgers::Ledger;
use sofie_model::proof::batch::{Batch, BatchProof, MAX_RECORDS, Record};
use sofie_model::{Digest, Evidence, LedgerId, Manifest, Proof, canonical};

use super::Paired;
use super::records::failed;
use crate::failure::Failure;
use crate::output;

/// So often both sides check all of them, in turns.
const PASSES: u32 = 10;

/// Proofs of records, as `-o json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Verified {
    #[serde(flatten)]
    paired: Paired,
    bound: &'static str,
    count: usize,
    /// The largest record with its path.
    proof_bytes: usize,
    /// The largest batch's event with all that proves it, once for all its records.
    checkpoint_bytes: usize,
}

/// What the reader has: a verified batch, and records of it.
type Held = (Batch, Vec<Record>);

/// Proves `facts` by `ledger`, and checks the proofs on one core.
pub(super) async fn measure(
    ledger: &dyn Ledger,
    manifest: &Manifest,
    facts: &[Evidence],
) -> Result<Verified, Failure> {
    let (mut held, mut checkpoint_bytes) = (Vec::new(), 0);
    for some in facts.chunks(MAX_RECORDS) {
        let proof = ledger.prove(manifest, some).await.map_err(failed)?;
        let Proof::Batch(proof) = proof else { return Err(failed("a proof of another kind")) };
        checkpoint_bytes = checkpoint_bytes.max(canonical::encode(&proof.chain).len());
        held.extend(verified(&ledger.profile().id, proof)?);
    }
    let timed = tokio::task::spawn_blocking(move || time(held)).await.map_err(failed)?;
    let (held, [ours, theirs]) = timed?;
    let records = || held.iter().flat_map(|(_, records)| records);
    let proof_bytes = records().map(|record| canonical::encode(record).len()).max().unwrap_or(0);
    let rate = |took: Duration| f64::from(PASSES) * records().count() as f64 / took.as_secs_f64();
    let peer = ("SHA-256 over the same paths alone", rate(theirs));
    Ok(Verified {
        paired: Paired::new(("records-verified", "record proofs/s on one core"), rate(ours), peer, 0),
        bound: "the processor: one thread",
        count: records().count(),
        proof_bytes,
        checkpoint_bytes,
    })
}

fn verified(ledger: &LedgerId, proof: BatchProof) -> Result<Vec<Held>, Failure> {
    let (_, batches) = proof.batches(ledger).map_err(failed)?;
    Ok(batches.into_iter().zip(proof.records).collect())
}

/// What all passes of either side took.
fn time(held: Vec<Held>) -> Result<(Vec<Held>, [Duration; 2]), Failure> {
    let mut took = [Duration::ZERO; 2];
    for _ in 0..PASSES {
        let started = Instant::now();
        for (batch, records) in &held {
            for record in records {
                black_box(batch.entry(record)).map_err(failed)?;
            }
        }
        took[0] += started.elapsed();
        let started = Instant::now();
        held.iter().flat_map(|(_, records)| records).for_each(|record| {
            black_box(hashed(record));
        });
        took[1] += started.elapsed();
    }
    Ok((held, took))
}

/// A leaf and each node above it (RFC 9162, section 2.1.1), on whichever side the neighbour stands.
fn hashed(record: &Record) -> Digest {
    let leaf = Digest::sha256(&[&[0], record.entry.as_slice()].concat());
    record.path.iter().fold(leaf, |below, beside| {
        let mut node = [1; 65];
        node[1..33].copy_from_slice(below.as_bytes());
        node[33..].copy_from_slice(beside.as_bytes());
        Digest::sha256(&node)
    })
}

impl Verified {
    pub(super) fn print(&self) {
        let row = |who: &str, rate: f64| vec![who.to_owned(), format!("{rate:.0}")];
        let rows = [row("ours", self.paired.ours), row(self.paired.peer, self.paired.theirs)];
        output::table(&[self.paired.name, self.paired.unit], &rows);
        let (ratio, bytes, checkpoint) = (self.paired.ratio, self.proof_bytes, self.checkpoint_bytes);
        output::line(&format!("ratio  {ratio:.3}; {bytes} bytes a record, and {checkpoint} once a batch"));
    }
}
