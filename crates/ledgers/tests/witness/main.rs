//! A calendar whose entries count only under witnesses' cosignatures (C2SP tlog-witness): before witnesses of this file,
//! honest and not, and before a real one, `aics-witness` of the Python package index.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod hostile;
mod real;
mod witness;

use std::path::Path;
use std::sync::Arc;

use sofie_ledgers::calendar::{Calendar, Config, SigningKey, Witness};
use sofie_ledgers::conformance::no_manifest;
use sofie_ledgers::{Clock, Ledger, LedgerError, Status};
use sofie_model::proof::calendar::WitnessKey;
use sofie_model::{Anchor, Cosigner, Digest, Evidence, Operation, Timestamp};

pub(crate) const ORIGIN: &str = "example.com/calendar";

pub(crate) fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

pub(crate) fn clock() -> Clock {
    Arc::new(|| Timestamp::from_seconds(1_800_000_000))
}

/// The log in this file, under these witnesses.
pub(crate) fn open(path: &Path, witnesses: &[(&WitnessKey, &str)], quorum: usize) -> Calendar {
    let witness =
        |(key, url): &(&WitnessKey, &str)| Witness { key: (*key).clone(), url: url.parse().unwrap() };
    let own = Config::new("calendar".parse().unwrap(), ORIGIN.into(), path.to_owned());
    let config = Config { witnesses: witnesses.iter().map(witness).collect(), quorum, ..own };
    Calendar::open(config, log_key(), clock()).unwrap()
}

pub(crate) fn note(number: u64) -> Operation {
    Operation::Note { topic: Digest::ZERO, commitment: Digest::sha256(&number.to_be_bytes()) }
}

/// Brings an entry to the disk, and asks once.
pub(crate) async fn enter(calendar: &Calendar, number: u64) -> Result<Status, LedgerError> {
    calendar.submit(&calendar.intend(&note(number)).await?).await?;
    calendar.status(&note(number), None).await
}

pub(crate) async fn entered(calendar: &Calendar, number: u64) -> Evidence {
    match enter(calendar, number).await {
        Ok(Status::Final(evidence)) => evidence,
        other => panic!("not final: {other:?}"),
    }
}

/// Why an entry that is durable does not count.
pub(crate) async fn waits(calendar: &Calendar, number: u64) -> String {
    match enter(calendar, number).await {
        Err(LedgerError::Transient { reason, .. }) => reason,
        other => panic!("it does not wait: {other:?}"),
    }
}

/// Who has cosigned what a proof of these facts rests on, and how long the log is there.
pub(crate) async fn cosigners(calendar: &Calendar, facts: &[Evidence]) -> (Vec<Cosigner>, u64) {
    let proof = calendar.prove(&no_manifest(), facts).await.unwrap();
    let proven = proof.verify(&calendar.profile().id, &no_manifest()).unwrap();
    assert_eq!(proven.evidence, facts);
    let Anchor::Calendar { cosigned, size, .. } = proven.anchor else { panic!("another anchor") };
    (cosigned, size)
}
