//! The node's own records: linked, and in the order of the story.

use super::Case;
use crate::{Body, Report, Story};

/// What must not come before what, where both were recorded. The words are those of the timeline.
const ORDER: &[(&str, &str)] = &[
    ("offered", "accepted"),
    ("accepted", "prepared"),
    PREPARED_FIRST,
    ("decided", "applied"),
    ("decided", "capability-issued"),
    ("decided", "asked"),
    ("decided", "actuated"),
    ("capability-issued", "asked"),
    ("capability-issued", "actuated"),
    ("asked", "actuated"),
    // Not "actuated" before "observed": the sensor may see the door before the locker's answer arrives.
    ("asked", "observed"),
    ("observed", "attested"),
    ("attested", "noted"),
    ("noted", "settled"),
    ("applied", "settled"),
    ("applied", "refunded"),
    ("applied", "presented"),
    ("presented", "settled"),
    ("presented", "overruled"),
];

/// P2: a COMMIT has seen every prepare.
const PREPARED_FIRST: (&str, &str) = ("prepared", "decided");

/// Every record is linked, and about this transaction.
pub(super) fn links(body: &Body) -> Result<String, String> {
    if body.audit.is_empty() {
        return Err("it shows no record of this transaction".into());
    }
    let head = body.audit.verify(body.txid.0).map_err(|broken| broken.to_string())?;
    let (shown, gaps) = (body.audit.records().count(), body.audit.gaps());
    Ok(format!("{shown} records, linked up to {head}, {gaps} long stretches about others left out"))
}

/// The records' times never decrease, and what succeeded did so in the order of the story.
pub(super) fn order(case: &Case<'_>, report: &mut Report) {
    report.found("order", in_order(case.body, case.story));
}

fn in_order(body: &Body, story: Story) -> Result<String, String> {
    let records: Vec<_> = body.audit.records().collect();
    if let Some(pair) = records.windows(2).find(|pair| pair[0].at > pair[1].at) {
        return Err(format!("record {} is older than the one before it", pair[1].seq));
    }
    let first = |kind: &str| records.iter().position(|record| record.ok && record.kind == kind);
    for (before, after) in ORDER {
        // A lock that was under way may arrive after ABORT: then it is undone.
        if story == Story::Aborted && (*before, *after) == PREPARED_FIRST {
            continue;
        }
        if let (Some(earlier), Some(later)) = (first(before), first(after))
            && later < earlier
        {
            return Err(format!("{after} was recorded before {before}"));
        }
    }
    Ok("the records tell the story in its order".into())
}
