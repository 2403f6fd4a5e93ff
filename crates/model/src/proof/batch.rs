//! Proof that records stand on an Ethereum chain in batches: one transaction for thousands of them.
//!
//! A batch is the root of a Merkle tree (RFC 9162, section 2.1: leaves and nodes are hashed under different prefixes)
//! over the canonical bytes of its entries, and their number; `contracts/src/Notary.sol` logs both, and numbers all
//! records that it ever took. The event is proven as any other ([`super::evm`]), once; each record under it costs its
//! path only ([`Batch::entry`]).
//!
//! Left out: that a `Prepared` entry is the *first* with its commitment, which nobody can show who does not hold the
//! entries of every batch before it. The contract is known by its address, [`NOTARY`]: the deployment proxy puts nothing
//! else there.

use alloy_sol_types::SolEvent;
use minicbor::{Decode, Encode};

use super::calendar::{self, Entry, merkle};
use super::evm::{ChainProof, ProvenLog};
use super::{Anchor, BadProof, Proven};
use crate::contract::{NOTARY, Notary, address};
use crate::{Digest, Evidence, LedgerId, Manifest, Position, Timestamp, canonical};

/// The most records of a batch, as the contract has it: a path has 16 hashes at most.
pub const MAX_COUNT: u32 = 65_536;
/// More records of one batch in one proof are refused.
pub const MAX_RECORDS: usize = 1_024;
/// A longer entry is refused: those that a batch may hold have 76 bytes at most.
pub const MAX_ENTRY: usize = 128;

/// Batches, and records of each.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct BatchProof {
    /// Each log that it names is a batch.
    #[n(0)]
    pub chain: ChainProof,
    /// One list a batch, in the chain's order; each ascending by index.
    #[n(1)]
    pub records: Vec<Vec<Record>>,
}

/// A record and its path to its batch's root: 640 bytes at most.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Record {
    /// Its place in the batch, from 0.
    #[n(0)]
    pub index: u32,
    /// The canonical bytes of the [`Entry`].
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub entry: Vec<u8>,
    /// The audit path of RFC 9162, from the leaf up.
    #[n(2)]
    pub path: Vec<Digest>,
}

/// A batch that stands on the chain: what each of its records is checked under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Over its entries.
    pub root: Digest,
    /// How many there are.
    pub count: u32,
    /// The number of the first, over all batches.
    pub first: u64,
    /// The block.
    pub height: u64,
    /// The block's time.
    pub at: Timestamp,
}

impl Batch {
    /// The batch that an event of the contract tells of; an error says in words why there is none.
    ///
    /// # Errors
    /// The log is by another contract, or no such event.
    pub fn read(log: &alloy_primitives::Log, height: u64, at: Timestamp) -> Result<Self, String> {
        if log.address != address(NOTARY) {
            return Err(format!("by {}, batches are logged by {NOTARY}", log.address));
        }
        let event = Notary::Recorded::decode_log_validate(log).map_err(|_| "not a batch".to_owned())?;
        let (root, count, first) = (Digest(event.root.0), event.count, event.first);
        if count == 0 || count > MAX_COUNT || first.checked_add(count.into()).is_none() {
            return Err(format!("{count} records from {first} on are no batch"));
        }
        Ok(Self { root, count, first, height, at })
    }

    /// The entry of `record`, proven to stand in this batch.
    ///
    /// ```
    /// use sofie_model::proof::batch::{Batch, Record, entries_tree};
    /// use sofie_model::proof::calendar::Entry;
    /// use sofie_model::{Digest, Timestamp, canonical};
    /// let notes: Vec<_> = (0..3).map(|n| Entry::Note { topic: Digest([n; 32]), commitment: Digest::ZERO }).collect();
    /// let tree = entries_tree(&notes);
    /// let batch = Batch { root: tree.root(3).unwrap(), count: 3, first: 0, height: 1, at: Timestamp::from_seconds(1) };
    /// let path = tree.inclusion(2, 3).unwrap();
    /// let record = Record { index: 2, entry: canonical::encode(&notes[2]), path };
    /// assert_eq!(batch.entry(&record).as_ref(), Ok(&notes[2]));
    /// assert!(batch.entry(&Record { index: 1, ..record }).is_err());
    /// ```
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn entry(&self, record: &Record) -> Result<Entry, String> {
        let leaf = merkle::leaf_hash(&record.entry);
        let root = merkle::included_root(record.index.into(), self.count.into(), leaf, &record.path);
        if root != Some(self.root) {
            return Err("its path does not lead to the batch's root".into());
        }
        match canonical::decode(&record.entry, MAX_ENTRY).map_err(|error| error.to_string())? {
            Entry::Decided { .. } => Err("a batch holds records, not decisions".into()),
            entry => Ok(entry),
        }
    }

    /// The evidence of `entry` at `index` in this batch. Its place is its number over all batches.
    #[must_use]
    pub fn evidence(&self, ledger: &LedgerId, index: u32, entry: &Entry) -> Evidence {
        let reference = merkle::leaf_hash(&canonical::encode(entry));
        let position = Position { height: self.height, index: self.first + u64::from(index), reference };
        Evidence { ledger: ledger.clone(), fact: entry.fact(), position, at: self.at }
    }
}

/// The tree over `entries`: its root is a batch's.
#[must_use]
pub fn entries_tree<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> merkle::Tree {
    entries.into_iter().map(|entry| merkle::leaf_hash(&canonical::encode(entry))).collect()
}

impl BatchProof {
    /// Checks the chain's part: from then on, [`Batch::entry`] checks any number of records.
    ///
    /// # Errors
    /// [`BadProof`] names the first part that does not hold.
    pub fn batches(&self, ledger: &LedgerId) -> Result<(Anchor, Vec<Batch>), BadProof> {
        let (anchor, logs) = self.chain.logs(ledger)?;
        let read = |logged: &ProvenLog| {
            Batch::read(&logged.log, logged.position.height, logged.at)
                .map_err(|why| logged.refused(ledger, &why))
        };
        Ok((anchor, logs.iter().map(read).collect::<Result<_, _>>()?))
    }

    pub(super) fn verify(&self, ledger: &LedgerId, manifest: &Manifest) -> Result<Proven, BadProof> {
        let bad = |part: String, why: String| BadProof { ledger: ledger.clone(), part, why };
        let (anchor, batches) = self.batches(ledger)?;
        if batches.len() != self.records.len() {
            let why = format!("{} lists of records for {} batches", self.records.len(), batches.len());
            return Err(bad("records".into(), why));
        }
        let mut evidence = Vec::new();
        for (at, (batch, records)) in batches.iter().zip(&self.records).enumerate() {
            check_order(records).map_err(|why| bad(format!("batch {at}"), why))?;
            for record in records {
                let refuse = |why| bad(format!("batch {at}, record {}", record.index), why);
                let entry = batch.entry(record).map_err(refuse)?;
                calendar::check(&entry, batch.at, ledger, manifest).map_err(refuse)?;
                evidence.push(batch.evidence(ledger, record.index, &entry));
            }
        }
        Ok(Proven { anchor, evidence })
    }
}

fn check_order(records: &[Record]) -> Result<(), String> {
    match records.len() {
        0 => Err("no record of it is here".into()),
        1..=MAX_RECORDS if records.is_sorted_by(|a, b| a.index < b.index) => Ok(()),
        1..=MAX_RECORDS => Err("its records are not ascending".into()),
        count => Err(format!("{count} records are more than {MAX_RECORDS}")),
    }
}

#[cfg(test)]
mod tests;
