//! Takes a draft: resolved, checked, begun once; or proposed once to the nodes of the parties whose keys are elsewhere.

use futures::future::join_all;
use sofie_audit::receipt::Sealed;
use sofie_model::{Digest, Txid};

use super::{internal, view};
use crate::api::{ApiError, Draft, DraftLeg, ErrorKind, Federation, LegKind, Transaction, Violation};
use crate::auditor::Note;
use crate::clock;
use crate::contracts::random;
use crate::drafts::{self, Guest, Refused, Resolved, Submitted};
use crate::openings;
use crate::peers::PeerError;
use crate::peers::message::Opening as Shown;
use crate::runtime::Runtime;

pub(super) async fn submit(node: &Runtime, draft: Draft) -> Result<Transaction, ApiError> {
    let key = draft.idempotency_key.as_deref();
    let txid = once(node, key, drafts::digest(&draft), begin(node, &draft)).await?;
    Federation::transaction(node, txid).await
}

/// What `begin` begins, or what it began when it was asked for under `key` before.
pub(super) async fn once(
    node: &Runtime,
    key: Option<&str>,
    asked: Digest,
    begin: impl Future<Output = Result<Txid, ApiError>>,
) -> Result<Txid, ApiError> {
    let Some(key) = key else { return begin.await };
    // Held until the journal holds the transaction: of two at once the second finds it, or is told to wait.
    let _working = node.once().claim(key).ok_or_else(|| {
        let detail = format!("the first request with the key {key:?} is still being worked on");
        ApiError::new(ErrorKind::Conflict, "the same request, at once", detail)
            .next("send it again in a moment")
    })?;
    match Submitted::read(&node.journal().reader()?, key)? {
        Some(earlier) if earlier.asked == asked => Ok(earlier.txid),
        Some(earlier) => Err(used(key, earlier.txid)),
        None => begin.await,
    }
}

async fn begin(node: &Runtime, draft: &Draft) -> Result<Txid, ApiError> {
    let nonce = random().map(Digest).map_err(|error| internal(&error))?;
    let guests = enquire(node, draft, nonce).await?;
    let resolved = node.desk().resolve(draft, (nonce, &guests), clock::now(), &mut random)?;
    let Resolved { plan, openings: opened } = resolved;
    let txid = plan.manifest.txid();
    let submitted = Submitted { asked: drafts::digest(draft), txid };
    let entries = opened.iter().map(|(leg, sealed)| openings::entry(txid, *leg, sealed));
    let key = draft.idempotency_key.clone();
    let entries = entries.chain(key.map(|key| submitted.entry(key))).collect();
    let notes = vec![Note::about(txid.0, "submitted", true, summary(draft))];
    if plan.acts_for.len() == plan.manifest.participants.len() {
        node.transactions().begin(plan, entries, notes).await?;
    } else {
        let shown = opened.into_iter().map(|(leg, Sealed { payload, salt })| Shown { leg, salt, payload });
        node.peers()
            .propose(plan, shown.collect(), entries, notes)
            .await
            .map_err(|error| not_won(&error))??;
    }
    Ok(txid)
}

/// Asks the peers under which hash their parties take part, all at once.
async fn enquire(node: &Runtime, draft: &Draft, nonce: Digest) -> Result<Vec<Guest>, ApiError> {
    let wanted = node.desk().guests_of(draft)?;
    let asked = wanted.into_iter().map(async |(name, field)| {
        let account = node.peers().account_of(name.as_str()).unwrap_or_default();
        match node.peers().enquire(account, nonce).await {
            Ok((participant, key)) => Ok(Guest { name, participant, key }),
            Err(error) => {
                let failed = not_won(&error);
                let detail = format!("{field}: for {name}, {}", failed.detail);
                Err(ApiError { detail, ..failed })
            }
        }
    });
    join_all(asked).await.into_iter().collect()
}

/// Nothing was begun by a peer that does not take part.
pub(super) fn not_won(error: &PeerError) -> ApiError {
    let (kind, next) = match error {
        PeerError::Silent { .. } => (
            ErrorKind::Unavailable,
            "see whether its node runs, is reached there, and has this node as a [[peer]]; then submit the draft again: \
             nothing was begun",
        ),
        PeerError::Forged { .. } => (
            ErrorKind::Refused,
            "compare key under [[peer]] with what its operator tells you; nothing was begun",
        ),
        PeerError::Unwilling { .. } => (ErrorKind::Refused, "ask its operator; nothing was begun"),
        PeerError::Nobody { .. } => {
            (ErrorKind::Invalid, "add it to [peer.parties] of its node; nothing was begun")
        }
        PeerError::TooMany => (
            ErrorKind::TooMany,
            "wait until some have begun or are past their deadline (`sofie tx ls`); nothing was begun",
        ),
        PeerError::TooLarge { .. } => {
            (ErrorKind::Invalid, "record digests in place of long payloads; nothing was begun")
        }
    };
    ApiError::new(kind, "a party of another node is not won", error.to_string()).next(next)
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

/// Adds what opens the commitments of the record legs that were submitted or shown here.
pub(super) fn show_openings(node: &Runtime, shown: &mut Transaction) -> Result<(), ApiError> {
    let reader = node.journal().reader()?;
    for leg in &mut shown.legs {
        leg.opening = openings::read(&reader, shown.id, leg.leg)?
            .map(|Sealed { payload, salt }| view::opening(&payload, salt));
    }
    Ok(())
}

fn used(key: &str, txid: Txid) -> ApiError {
    let detail = format!("the key {key:?} is that of another request, which began transaction {txid}");
    ApiError::new(ErrorKind::Conflict, "the key is used", detail)
        .next("choose another idempotency key for another transaction or contract")
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
