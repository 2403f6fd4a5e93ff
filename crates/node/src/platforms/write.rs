//! Writes a property in its owner's name: by a capability that the node makes of the owner's key for this one write, and that
//! the owner's door judges as it does every other. Before it leaves, the log says that it was asked for; afterwards, what
//! became of it. One that its client has named is not written a second time, also after a restart.

use serde::{Deserialize, Serialize};
use sofie_access::{Affordance, Grant, Op, proof, token};
use sofie_adapters::port::{Outcome, Refuser, Write};
use sofie_model::{Digest, Span, ThingId, canonical};

use super::{Joined, PlatformError, Platforms, corrupt, subject};
use crate::api::{WriteOutcome, WriteProperty, Written};
use crate::auditor::Note;
use crate::clock;
use crate::contracts::random;
use crate::gate::{Shown, write_request};
use crate::journal::Entry;
use crate::parties::capability_key;

/// Facts of this group hold the writes that their clients have named.
const WRITES: &str = "property-write";
/// How long a capability for one write is good: longer than any adapter waits before it sends.
const GOOD_FOR: Span = Span::from_seconds(60);
/// At most so much of a device's answer is told.
const MAX_ANSWER: usize = 256;

/// A write that its client has named.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Named {
    /// What was to be written.
    asked: Digest,
    /// What became of it, once that is known.
    written: Option<Written>,
}

/// A write that is under way, until this is dropped.
struct UnderWay<'a> {
    all: &'a Platforms,
    name: Digest,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.all.0.writing.lock().expect("no holder of this lock panics").remove(&self.name);
    }
}

impl Platforms {
    /// Writes a property, if its owner's policy allows it.
    ///
    /// # Errors
    /// [`PlatformError`]: nothing was sent.
    pub async fn write(
        &self,
        thing: &ThingId,
        property: &str,
        asked: &WriteProperty,
    ) -> Result<Written, PlatformError> {
        let joined = self.with(thing).ok_or_else(|| PlatformError::NoThing { thing: thing.clone() })?;
        let key = asked.idempotency_key.as_deref();
        let name = match key {
            Some(key) => Digest::of(
                "sofie.write.v1",
                &[thing.as_str().as_bytes(), property.as_bytes(), key.as_bytes()],
            ),
            None => Digest(random().map_err(|e| unwritten(thing, property, &e.to_string(), "try again"))?),
        };
        let write = Write {
            thing: thing.clone(),
            property: property.to_owned(),
            value: asked.value.clone(),
            unit: asked.unit.clone(),
            message: name,
            capability: Vec::new(),
        };
        let _under_way = self.begin(&write)?;
        let whole =
            write_request(&write).map_err(|e| unwritten(thing, property, &e.to_string(), "see its name"))?;
        match key.map(|_| self.named(name)).transpose()?.flatten() {
            None => {}
            Some(Named { asked, .. }) if asked != whole.digest() => {
                return Err(conflict(
                    &write,
                    "this idempotency key stands for another value",
                    "use another one",
                ));
            }
            Some(Named { written: Some(written), .. }) => return Ok(written),
            Some(Named { written: None, .. }) => {
                let detail = "the node stopped while it was written; it is not written again".into();
                return Ok(Written { outcome: WriteOutcome::Unknown, detail });
            }
        }
        let named = key.map(|_| Named { asked: whole.digest(), written: None });
        self.send(joined, write, named).await
    }

    /// One of a name at a time.
    fn begin(&self, write: &Write) -> Result<UnderWay<'_>, PlatformError> {
        let mut writing = self.0.writing.lock().expect("no holder of this lock panics");
        if writing.insert(write.message) {
            return Ok(UnderWay { all: self, name: write.message });
        }
        Err(conflict(
            write,
            "a request with this idempotency key is under way",
            "ask again once it has ended",
        ))
    }

    fn named(&self, name: Digest) -> Result<Option<Named>, PlatformError> {
        let journal = self.0.executor.journal();
        let kept = journal.reader()?.fact(WRITES, &name.to_string())?;
        let read = |bytes: Vec<u8>| {
            serde_json::from_slice(&bytes).map_err(|e| corrupt(journal, &name.to_string(), &e))
        };
        Ok(kept.map(read).transpose()?)
    }

    async fn send(
        &self,
        joined: Joined,
        write: Write,
        mut named: Option<Named>,
    ) -> Result<Written, PlatformError> {
        let owner = &joined.kept.platform.owner;
        let shown = self.show(owner, &write)?;
        let value = format!("{} = {}", write.property, write.value);
        let note = |kind: &'static str, ok, detail: String| {
            Note::about(subject(write.thing.as_str()), kind, ok, detail).by(owner.clone())
        };
        let asked = Note::about(subject(write.thing.as_str()), "write-asked", true, value.clone());
        self.keep_write(write.message, named.as_ref(), asked.by(owner.clone())).await?;
        let sent =
            joined.adapter.write(&Write { capability: canonical::encode(&shown), ..write.clone() }).await;
        let forget = |reason: String| {
            let (key, value) = (write.message.to_string(), Vec::new());
            let gone = named.as_ref().map(|_| Entry::Fact { group: WRITES, key, value });
            let note = Note::about(subject(write.thing.as_str()), "write-refused", false, reason);
            let notes = vec![note.by(owner.clone())];
            self.0.keeper.auditor.keep(gone.into_iter().collect(), notes, clock::now())
        };
        let written = match sent {
            // Nothing was sent: its name is free again.
            Err(error) => {
                forget(format!("{value}: {error}")).await?;
                return Err(error.into());
            }
            Ok(Outcome::Refused(Refuser::Gate(refusal))) => {
                forget(format!("{value}: {refusal}")).await?;
                let next = "name it in policy.writes of the [[platform]], or join it with --allow-write";
                return Err(unwritten(&write.thing, &write.property, &refusal.to_string(), next));
            }
            Ok(outcome) => told(outcome),
        };
        let detail = format!("{value}: {}", written.detail);
        let note = match written.outcome {
            WriteOutcome::Done => note("written", true, detail),
            WriteOutcome::Refused => note("write-refused", false, detail),
            WriteOutcome::Unknown => note("write-unknown", false, detail),
        };
        if let Some(named) = &mut named {
            named.written = Some(written.clone());
        }
        self.keep_write(write.message, named.as_ref(), note).await?;
        Ok(written)
    }

    /// A capability for this write alone, shown by the owner, whose node this is.
    fn show(&self, owner: &str, write: &Write) -> Result<Shown, PlatformError> {
        let keys = self.0.parties.named(owner);
        let keys = keys.ok_or_else(|| PlatformError::NoOwner { owner: owner.to_owned() })?;
        let wrong = |reason: String| unwritten(&write.thing, &write.property, &reason, "see the node's log");
        let (key, now) = (capability_key(keys), clock::now());
        let affordance =
            Affordance::new(Op::WriteProperty, &write.property).map_err(|e| wrong(e.to_string()))?;
        let grant = Grant::new(key.public(), write.thing.clone(), affordance, now, now + GOOD_FOR);
        let token =
            token::issue(&key, &Grant { uses: Some(1), ..grant }).map_err(|e| wrong(e.to_string()))?;
        let asked = write_request(write).map_err(|e| wrong(e.to_string()))?;
        let nonce = Digest(random().map_err(|e| wrong(e.to_string()))?);
        let proof = proof::sign(&key, owner, &token, &asked, nonce, now);
        Ok(Shown { token, proof, transaction: None })
    }

    async fn keep_write(&self, name: Digest, named: Option<&Named>, note: Note) -> Result<(), PlatformError> {
        let entry = named.map(|named| {
            let value = serde_json::to_vec(named).expect("texts and digests are JSON");
            Entry::Fact { group: WRITES, key: name.to_string(), value }
        });
        let kept = self.0.keeper.auditor.keep(entry.into_iter().collect(), vec![note], clock::now());
        kept.await.map_err(Into::into)
    }
}

fn told(outcome: Outcome) -> Written {
    let cut = |text: String| text.chars().take(MAX_ANSWER).collect::<String>().trim_end().to_owned();
    match outcome {
        Outcome::Answered { code, payload } => {
            let detail = cut(format!("the device answers {code} {}", String::from_utf8_lossy(&payload)));
            Written { outcome: WriteOutcome::Done, detail }
        }
        Outcome::Refused(Refuser::Device { code, diagnostic }) => {
            let detail = cut(format!("the device refuses: {code} {diagnostic}"));
            Written { outcome: WriteOutcome::Refused, detail }
        }
        Outcome::Refused(Refuser::Gate(refusal)) => {
            Written { outcome: WriteOutcome::Refused, detail: refusal.to_string() }
        }
        Outcome::Unknown { reason } => Written { outcome: WriteOutcome::Unknown, detail: cut(reason) },
    }
}

fn unwritten(thing: &ThingId, property: &str, reason: &str, next: &str) -> PlatformError {
    PlatformError::Unwritten {
        thing: thing.clone(),
        property: property.chars().take(MAX_ANSWER).collect(),
        reason: reason.to_owned(),
        next: next.to_owned(),
        conflict: false,
    }
}

fn conflict(write: &Write, reason: &str, next: &str) -> PlatformError {
    let (thing, property) = (write.thing.clone(), write.property.clone());
    PlatformError::Unwritten { thing, property, reason: reason.into(), next: next.into(), conflict: true }
}
