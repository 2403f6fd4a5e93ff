//! Operations as entries of a ledger that only records, and the rules of such a ledger: a leg is closed once prepared, and
//! never prepared once closed.

use sofie_model::{LedgerId, LegId, Operation, Step, Terms, Txid, proof::calendar::Entry};

use crate::LedgerError;

/// The entry that carries `operation` out on `ledger`. Decisions have none here.
pub(crate) fn of(ledger: &LedgerId, operation: &Operation) -> Result<Entry, LedgerError> {
    let unsupported =
        |reason: String| LedgerError::Unsupported { ledger: ledger.clone(), verb: operation.verb(), reason };
    let (manifest, leg, step) = match operation {
        Operation::Note { topic, commitment } => {
            return Ok(Entry::Note { topic: *topic, commitment: *commitment });
        }
        Operation::Decide { .. } => return Err(unsupported("it takes records, not decisions".into())),
        Operation::Leg { manifest, leg, step } => (manifest, *leg, step),
    };
    let found = manifest.leg(leg).filter(|found| found.ledger == *ledger);
    let found = found.ok_or_else(|| unsupported(format!("the manifest has no {leg} here")))?;
    let Terms::Record(commitment) = found.terms else {
        return Err(unsupported(format!("{leg} is a {} leg, and it takes records", found.class)));
    };
    let txid = manifest.txid();
    Ok(match step {
        Step::Prepare => Entry::Prepared { txid, leg, commitment },
        Step::Apply => Entry::Closed { txid, leg, applied: true },
        Step::Revert => Entry::Closed { txid, leg, applied: false },
        Step::Claim(_) | Step::Present(_) | Step::Settle(_) | Step::Overrule(_) | Step::Refund => {
            return Err(unsupported("it holds no value".into()));
        }
    })
}

/// Why the rules do not let `entry` in, if they do not.
pub(crate) fn objection(
    entry: &Entry,
    is_closed: impl Fn(Txid, LegId) -> bool,
    is_prepared: impl Fn(Txid, LegId) -> bool,
) -> Option<String> {
    match entry {
        Entry::Prepared { txid, leg, .. } if is_closed(*txid, *leg) => {
            Some(format!("{leg} of {txid} is closed"))
        }
        Entry::Closed { txid, leg, applied: true } if !is_prepared(*txid, *leg) => {
            Some(format!("nothing is prepared for {leg} of {txid}"))
        }
        _ => None,
    }
}
