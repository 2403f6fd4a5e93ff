//! The record file: a record ledger in one text file, and the example of docs/guide/new-ledger.md. A line is one signed
//! statement (`sofie_model::proof::statement`) in hexadecimal digits; its reference is a hash over the line before, so that a
//! changed past shows. It is synced before it is acknowledged.
//!
//! Left out: batches (one sync an entry; the calendar shares one), time from others than its operator, and a format that a
//! witness could read. Its proof is its operator's word, and nothing more.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ed25519_dalek::SigningKey;
use sofie_model::proof::statement::{MAX_STATEMENTS, Signed, Statement, Statements};
use sofie_model::{
    Class, Digest, Evidence, Fact, Finality, LedgerId, Leg, Manifest, Operation, Position, Proof, Span, Step,
    Terms, Timestamp, canonical,
};

use crate::{Clock, Head, Intent, Ledger, LedgerError, Profile, Status};

/// The longest statement in a line.
const MAX_STATEMENT: usize = 1024;

/// What a record file is by itself.
#[must_use]
pub fn profile(id: LedgerId) -> Profile {
    Profile {
        id,
        classes: vec![Class::Record],
        decides: false,
        finality: Finality::Instant,
        inclusion: Span::from_seconds(2),
        finalises: Span::ZERO,
        single_operator: true,
        poll: Span::from_millis(20),
    }
}

/// A record file that is open.
pub struct RecordFile {
    profile: Profile,
    clock: Clock,
    book: Arc<Mutex<Book>>,
}

/// The lines, and where each fact is.
struct Book {
    ledger: LedgerId,
    key: SigningKey,
    file: File,
    length: u64,
    lines: Vec<Signed>,
    places: BTreeMap<Vec<u8>, usize>,
    /// A write failed: what the disk holds is known at the next opening.
    broken: bool,
}

impl RecordFile {
    /// Opens the file, or makes one, and checks every line. A last line without its end is cut off. Blocks.
    ///
    /// # Errors
    /// What the system says, or that another process has it open; [`io::ErrorKind::InvalidData`] names the first line
    /// that does not follow from the one before under this key, and nothing was changed.
    pub fn open(path: &Path, profile: Profile, key: SigningKey, clock: Clock) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        file.try_lock().map_err(io::Error::from)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let (ledger, lines, places) = (profile.id.clone(), Vec::new(), BTreeMap::new());
        let mut book = Book { ledger, key, file, length: 0, lines, places, broken: false };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for (line, text) in (1..).zip(text[..whole].lines()) {
            let why = || format!("line {line} is not the next one of {}", book.public());
            let read = book.read(text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, why()))?;
            book.keep(read, text.len());
        }
        book.file.set_len(book.length)?;
        book.file.sync_all()?;
        Ok(Self { profile, clock, book: Arc::new(Mutex::new(book)) })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A line is kept only once it is whole: a panic elsewhere leaves no half of one.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What carrying `operation` out would state.
    fn fact(&self, operation: &Operation) -> Result<Fact, LedgerError> {
        let here = |leg: &Leg| leg.ledger == self.profile.id && matches!(leg.terms, Terms::Record(_));
        match operation {
            Operation::Note { topic, commitment } => return Ok(Fact::Noted(*topic, *commitment)),
            Operation::Leg { manifest, leg, step } if manifest.leg(*leg).is_some_and(here) => match step {
                Step::Prepare => return Ok(Fact::Prepared(manifest.txid(), *leg)),
                Step::Apply => return Ok(Fact::Applied(manifest.txid(), *leg)),
                Step::Revert => return Ok(Fact::Reverted(manifest.txid(), *leg)),
                Step::Claim(_) | Step::Present(_) | Step::Settle(_) | Step::Overrule(_) | Step::Refund => {}
            },
            Operation::Leg { .. } | Operation::Decide { .. } => {}
        }
        let (ledger, reason) =
            (self.profile.id.clone(), "it takes records of its own legs, and notes".into());
        Err(LedgerError::Unsupported { ledger, verb: operation.verb(), reason })
    }

    fn read(&self, intent: &Intent) -> Result<Fact, LedgerError> {
        canonical::decode(&intent.0, MAX_STATEMENT).map_err(|error| self.profile.nonsense(error.to_string()))
    }
}

impl Book {
    fn public(&self) -> Digest {
        Digest(self.key.verifying_key().to_bytes())
    }

    /// A line, if it is the next one of this operator.
    fn read(&self, text: &str) -> Option<Signed> {
        let bytes = hex::decode(text).ok()?;
        let signed: Signed = canonical::decode(&bytes, MAX_STATEMENT).ok()?;
        let said = &signed.statement.evidence;
        let follows = said.position == self.next(&said.fact) && said.ledger == self.ledger;
        (follows && signed.is_by(&self.public()) && hex::encode(bytes) == text).then_some(signed)
    }

    fn keep(&mut self, line: Signed, digits: usize) {
        self.length += digits as u64 + 1;
        self.places.insert(canonical::encode(&line.statement.evidence.fact), self.lines.len());
        self.lines.push(line);
    }

    fn find(&self, fact: &Fact) -> Option<&Evidence> {
        let line = self.places.get(&canonical::encode(fact)).and_then(|place| self.lines.get(*place));
        line.map(|line| &line.statement.evidence)
    }

    fn next(&self, fact: &Fact) -> Position {
        let before = self.lines.last().map(|line| line.statement.digest()).unwrap_or_default();
        let reference = Digest::of("sofie.file.line.v1", &[before.as_bytes(), &canonical::encode(fact)]);
        Position { height: self.lines.len() as u64 + 1, index: 0, reference }
    }

    /// When the last entry was taken.
    fn last(&self) -> Timestamp {
        self.lines.last().map(|line| line.statement.evidence.at).unwrap_or_default()
    }

    /// The record ledger's rules: a leg is closed once, and applied only if it was prepared.
    fn objection(&self, fact: &Fact) -> Option<&'static str> {
        let stands = |fact: Fact| self.find(&fact).is_some();
        let (prepared, applied, reverted) = match *fact {
            Fact::Prepared(txid, leg) | Fact::Applied(txid, leg) | Fact::Reverted(txid, leg) => (
                stands(Fact::Prepared(txid, leg)),
                stands(Fact::Applied(txid, leg)),
                stands(Fact::Reverted(txid, leg)),
            ),
            _ => return None,
        };
        match fact {
            Fact::Applied(..) if !prepared => Some("the leg was never prepared"),
            Fact::Prepared(..) if !prepared && (applied || reverted) => Some("the leg is closed"),
            Fact::Applied(..) if reverted => Some("the leg was reverted"),
            Fact::Reverted(..) if applied => Some("the leg was applied"),
            _ => None,
        }
    }

    /// Takes an entry, durably, unless it stands or the rules are against it. Blocks.
    fn take(&mut self, fact: Fact, now: Timestamp) -> Result<(), LedgerError> {
        let ledger = self.ledger.clone();
        if self.find(&fact).is_some() {
            return Ok(());
        }
        if let Some(why) = self.objection(&fact) {
            return Err(LedgerError::Refused { ledger, reason: why.into() });
        }
        let (position, at) = (self.next(&fact), now.max(self.last()));
        let evidence = Evidence { ledger: ledger.clone(), fact, position, at };
        let line = Statement { evidence, settlement: None }.sign(&self.key);
        let text = hex::encode(canonical::encode(&line)) + "\n";
        self.broken =
            self.broken || self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()).is_err();
        if self.broken {
            let reason = "its disk failed: restart the node once the disk is well".into();
            return Err(LedgerError::Transient { ledger, reason });
        }
        self.keep(line, text.len() - 1);
        Ok(())
    }
}

#[async_trait]
impl Ledger for RecordFile {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        let fact = self.fact(operation)?;
        match self.book().objection(&fact) {
            None => Ok(Intent(canonical::encode(&fact))),
            Some(why) => Err(LedgerError::Refused { ledger: self.profile.id.clone(), reason: why.into() }),
        }
    }

    /// An entry is named by its content: there is no nonce to keep.
    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.read(intent).map(drop)
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        let (fact, book, now) = (self.read(intent)?, Arc::clone(&self.book), (self.clock)());
        let work = move || book.lock().unwrap_or_else(PoisonError::into_inner).take(fact, now);
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(self.profile.nonsense(error.to_string())))
    }

    async fn status(&self, operation: &Operation, _: Option<&Intent>) -> Result<Status, LedgerError> {
        let (fact, book) = (self.fact(operation)?, self.book());
        Ok(match (book.find(&fact), book.objection(&fact)) {
            (Some(evidence), _) => Status::Final(evidence.clone()),
            // What is closed is never prepared any more. All other objections may pass.
            (None, Some(why)) if matches!(fact, Fact::Prepared(..)) => Status::Refused { reason: why.into() },
            (None, _) => Status::Absent,
        })
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        let book = self.book();
        Ok(Head { height: book.lines.len() as u64, time: (self.clock)().max(book.last()) })
    }

    async fn prove(&self, _: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        let book = self.book();
        let held = facts.iter().all(|fact| book.find(&fact.fact) == Some(fact));
        if !held || facts.len() > MAX_STATEMENTS {
            return Err(self.profile.nonsense(format!("it does not hold all {} facts", facts.len())));
        }
        let mut places: Vec<_> = facts.iter().map(|fact| fact.position.height as usize - 1).collect();
        places.sort_unstable();
        let statements = places.into_iter().map(|place| book.lines[place].clone()).collect();
        Ok(Proof::Operator(Statements { key: book.public(), statements }))
    }
}

#[cfg(test)]
mod tests;
