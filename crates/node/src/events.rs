//! The audit log as a feed: each of its records is one CloudEvent, and a record's place in the log is the cursor from which
//! a reader goes on, whatever was restarted meanwhile. Server-sent events and [`crate::webhooks`] tell the same.

use std::collections::VecDeque;

use futures::{Stream, stream};
use sofie_audit::Record;

use crate::api::{ApiError, At, CloudEvent, ErrorKind, EventData};
use crate::auditor;
use crate::journal::{JournalError, Reader};
use crate::runtime::Runtime;

/// What a record can be about; a webhook asks for some of them. `crates/testkit/tests/tidy/kinds.rs` compares them with the
/// notes that the node makes.
pub const KINDS: [&str; 71] = [
    "accepted",
    "actuated",
    "admitted",
    "agreed",
    "alarm",
    "anchored",
    "answered",
    "applied",
    "armed",
    "asked",
    "attested",
    "capability-issued",
    "close-refused",
    "deadline",
    "decide-refused",
    "decided",
    "declined",
    "denied",
    "directory",
    "disputed",
    "entrusted",
    "evidence-refused",
    "fate-unknown",
    "halted",
    "joined",
    "note-late",
    "note-refused",
    "noted",
    "observed",
    "offered",
    "overrule-refused",
    "overruled",
    "peer-refused",
    "penalty-paid",
    "penalty-refused",
    "penalty-returned",
    "permit-refused",
    "permitted",
    "prepare-refused",
    "prepared",
    "presented",
    "presigned",
    "proposed",
    "published",
    "reading-ignored",
    "receipt",
    "refund-refused",
    "refunded",
    "refused-at-door",
    "rejected",
    "released",
    "renounced",
    "resumed",
    "revealed",
    "reverted",
    "ruled",
    "settle-refused",
    "settled",
    "submitted",
    "testified",
    "undisputed",
    "undone",
    "unheard",
    "vouched",
    "watched",
    "withdrawn",
    "withheld",
    "write-asked",
    "write-refused",
    "write-unknown",
    "written",
];
/// The media type of one event (CloudEvents 1.0.2, JSON format, section 3).
pub const MEDIA_TYPE: &str = "application/cloudevents+json";
/// So many records are read at once.
pub(crate) const BATCH: u32 = 64;

/// The node of this name as events tell it.
pub(crate) fn source(node: &str) -> String {
    format!("urn:sofie:node:{node}")
}

/// A record as an event of `source`.
pub(crate) fn event(source: &str, record: Record) -> CloudEvent {
    CloudEvent {
        specversion: "1.0".into(),
        id: record.hash().to_string(),
        source: source.to_owned(),
        kind: format!("sofie.audit.{}", record.kind),
        subject: record.subject.to_string(),
        time: At(record.at),
        sequence: format!("{:020}", record.seq + 1),
        datacontenttype: "application/json".into(),
        data: EventData {
            name: record.kind,
            actor: record.actor,
            ledger: record.ledger.map(|ledger| ledger.to_string()),
            ok: record.ok,
            detail: record.detail,
        },
    }
}

/// The records from place `first` on, at most [`BATCH`].
///
/// # Errors
/// [`JournalError`].
pub(crate) fn records(journal: &Reader, first: u64) -> Result<Vec<Record>, JournalError> {
    let records = journal.audit_from(first, BATCH)?;
    records.iter().map(|bytes| auditor::decode(journal.path(), bytes)).collect()
}

/// The events after number `after` as they come, or those from now on.
///
/// # Errors
/// [`ApiError`] when there is no such number yet: what the reader knows is of another log.
pub(crate) fn follow(
    runtime: &Runtime,
    after: Option<u64>,
) -> Result<impl Stream<Item = CloudEvent> + Send + use<>, ApiError> {
    let known = runtime.auditor().len();
    let next = after.unwrap_or(known);
    if next > known {
        let detail = format!("the log ends at event {known}, and {next} is asked for as known");
        return Err(ApiError::new(ErrorKind::Conflict, "no such event", detail).next(
            "the node was put back from a backup: read from ?after=0 again, and know events by their id",
        ));
    }
    let source = source(runtime.config().node.name.as_str());
    let (journal, grown) = (runtime.journal().clone(), runtime.auditor().watch());
    let start = (grown, next, VecDeque::new());
    Ok(stream::unfold(start, move |(mut grown, mut next, mut read)| {
        let (journal, source) = (journal.clone(), source.clone());
        async move {
            while read.is_empty() {
                grown.wait_for(|known| *known > next).await.ok()?;
                // A journal that cannot be read ends the stream: its reader comes back, or finds no node.
                read = records(&journal.reader().ok()?, next).ok()?.into();
            }
            let record: Record = read.pop_front()?;
            next = record.seq + 1;
            Some((event(&source, record), (grown, next, read)))
        }
    }))
}
