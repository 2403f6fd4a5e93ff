//! Takes a draft: resolved, checked, begun once.

use sofie_audit::receipt::Sealed;
use sofie_model::{LegId, Txid, canonical};

use crate::api::{
    ApiError, Draft, DraftLeg, ErrorKind, Federation, LegKind, MAX_PAYLOAD, Opening, Transaction, Violation,
};
use crate::auditor::Note;
use crate::clock;
use crate::contracts::random;
use crate::drafts::{self, Refused, Resolved, Submitted};
use crate::journal::{Entry, JournalError};
use crate::runtime::Runtime;

/// Facts of this group hold what opens the commitments of record legs, by transaction and leg.
const OPENINGS: &str = "opening";
/// The longest stored fact.
const MAX_BYTES: usize = MAX_PAYLOAD + 128;

pub(super) async fn submit(node: &Runtime, draft: Draft) -> Result<Transaction, ApiError> {
    let Some(key) = draft.idempotency_key.clone() else {
        let txid = begin(node, &draft, None).await?;
        return Federation::transaction(node, txid).await;
    };
    // Held until the journal holds the transaction: of two at once the second finds it, or is told to wait.
    let _working = node.once().claim(&key).ok_or_else(|| {
        let detail = format!("the first request with the key {key:?} is still being worked on");
        ApiError::new(ErrorKind::Conflict, "the same request, at once", detail)
            .next("send it again in a moment")
    })?;
    let digest = drafts::digest(&draft);
    let txid = match Submitted::read(&node.journal().reader()?, &key)? {
        Some(earlier) if earlier.draft == digest => earlier.txid,
        Some(earlier) => return Err(used(&key, earlier.txid)),
        None => begin(node, &draft, Some(key)).await?,
    };
    Federation::transaction(node, txid).await
}

async fn begin(node: &Runtime, draft: &Draft, key: Option<String>) -> Result<Txid, ApiError> {
    let Resolved { plan, openings } = node.desk().resolve(draft, clock::now(), &mut random)?;
    let txid = plan.manifest.txid();
    let submitted = Submitted { draft: drafts::digest(draft), txid };
    let opening = |(leg, sealed)| Entry::Fact {
        group: OPENINGS,
        key: opening_key(txid, leg),
        value: canonical::encode::<Sealed>(&sealed),
    };
    let entries = openings.into_iter().map(opening).chain(key.map(|key| submitted.entry(key))).collect();
    let notes = vec![Note::about(txid.0, "submitted", true, summary(draft))];
    node.transactions().begin(plan, entries, notes).await?;
    Ok(txid)
}

/// What is asked for, in a line. A payload is not told: the record of the audit log outlives it.
fn summary(draft: &Draft) -> String {
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let leg = |leg: &DraftLeg| match leg.kind {
        LegKind::Record => format!("a record on {}", leg.ledger),
        _ => {
            let (from, to) = (name(&leg.from), name(&leg.to));
            let amount = leg.amount.unwrap_or_default();
            format!("{from} pays {to} {amount} on {}", leg.ledger)
        }
    };
    draft.legs.iter().map(leg).collect::<Vec<_>>().join(", ")
}

/// Adds what opens the commitments of the record legs that were submitted here.
pub(super) fn show_openings(node: &Runtime, shown: &mut Transaction) -> Result<(), ApiError> {
    let reader = node.journal().reader()?;
    for leg in &mut shown.legs {
        let Some(bytes) = reader.fact(OPENINGS, &opening_key(shown.id, leg.leg))? else { continue };
        let corrupt = |e: &dyn std::fmt::Display| {
            let what = format!("what opens {} of {}: {e}", leg.leg, shown.id);
            JournalError::Corrupt { path: reader.path().to_owned(), what }
        };
        let sealed: Sealed = canonical::decode(&bytes, MAX_BYTES).map_err(|e| corrupt(&e))?;
        let payload = String::from_utf8(sealed.payload).map_err(|e| corrupt(&e))?;
        leg.opening = Some(Opening { payload, salt: sealed.salt });
    }
    Ok(())
}

fn opening_key(txid: Txid, leg: LegId) -> String {
    format!("{txid} {}", leg.0)
}

fn used(key: &str, txid: Txid) -> ApiError {
    let detail = format!("the key {key:?} is that of another draft, which began transaction {txid}");
    ApiError::new(ErrorKind::Conflict, "the key is used", detail)
        .next("choose another idempotency key for another transaction")
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let mut error =
            Self::new(ErrorKind::Invalid, "the draft cannot become a transaction", refused.to_string())
                .next("mend that field and submit the draft again: nothing was prepared");
        error.violations = vec![Violation { field: pointer(&refused.field), description: refused.why }];
        error
    }
}

/// The field as a JSON pointer (RFC 6901): no name of a draft's field needs an escape.
fn pointer(field: &str) -> String {
    let steps = field.split(['.', '[', ']']).filter(|step| !step.is_empty());
    steps.fold(String::new(), |pointer, step| pointer + "/" + step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_pointer_too() {
        for (field, expected) in [
            ("deadline", "/deadline"),
            ("legs[1].evidence.by", "/legs/1/evidence/by"),
            ("legs[2]", "/legs/2"),
        ] {
            assert_eq!(pointer(field), expected);
        }
    }
}
