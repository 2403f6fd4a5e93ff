//! What the audit log is told of a transaction's steps.

use sofie_model::{Evidence, Fact, LegId};
use sofie_transaction::{Input, Phase, State};

use crate::auditor::Note;

/// The audit records that an input makes. Whatever halts a transaction, a record says so.
pub(super) fn notes(before: &State, input: &Input, next: &State) -> Vec<Note> {
    let mut notes = told(before, input, next);
    if let Phase::Halted { reason } = next.phase()
        && !matches!(before.phase(), Phase::Halted { .. })
    {
        notes.push(Note::about(before.txid().0, "halted", false, reason.clone()));
    }
    notes
}

fn told(before: &State, input: &Input, next: &State) -> Vec<Note> {
    let id = before.txid().0;
    let on = |kind, evidence: &Evidence| Note::on_ledger(id, kind, evidence);
    let ledger_of = |leg: &LegId| before.manifest().leg(*leg).map(|leg| leg.ledger.clone());
    match input {
        Input::Prepared(_, evidence) => vec![on("prepared", evidence)],
        Input::PrepareRefused(leg, reason) => {
            let note = Note::about(id, "prepare-refused", false, reason.clone());
            vec![Note { ledger: ledger_of(leg), ..note }]
        }
        Input::Released(who, _) => vec![Note::about(id, "released", true, format!("participant {who}"))],
        Input::Withheld(who, reason) => {
            vec![Note::about(id, "withheld", false, format!("participant {who}: {reason}"))]
        }
        Input::Decided(evidence) if before.decided().is_none() => {
            let verdict = match &evidence.fact {
                Fact::Decided(_, sofie_model::Decision::Commit { .. }) => "COMMIT",
                _ => "ABORT",
            };
            let note = on("decided", evidence);
            vec![Note { detail: format!("{verdict}, {}", note.detail), ..note }]
        }
        Input::DecideRefused(reason) => vec![Note::about(id, "decide-refused", false, reason.clone())],
        Input::Closed(_, evidence) => {
            let kind = if matches!(evidence.fact, Fact::Applied(..)) { "applied" } else { "reverted" };
            vec![on(kind, evidence)]
        }
        Input::CloseRefused(leg, reason) | Input::RevertRefused(leg, reason) => {
            let note = Note::about(id, "close-refused", false, reason.clone());
            vec![Note { ledger: ledger_of(leg), ..note }]
        }
        Input::Undone(leg, reason) => {
            let note = Note::about(id, "undone", false, reason.clone());
            vec![Note { ledger: ledger_of(leg), ..note }]
        }
        Input::Revealed { finally, .. } => {
            let detail = if *finally { "every secret, in a final claim" } else { "every secret, in a claim" };
            let ledger = before.manifest().pivot().as_ref().and_then(ledger_of);
            vec![Note { ledger, ..Note::about(id, "revealed", true, detail.to_owned()) }]
        }
        Input::Permitted(_) => vec![Note::about(id, "permitted", true, "by the guard".to_owned())],
        Input::PermitRefused(reason) => vec![Note::about(id, "permit-refused", false, reason.clone())],
        Input::Renounced(who, _) => {
            vec![Note::about(id, "renounced", true, format!("participant {who} signed ABORT"))]
        }
        Input::Resumed => vec![Note::about(id, "resumed", true, "by the operator")],
        Input::Woken | Input::Decided(_) | Input::Undecided(_) => match (before.phase(), next.phase()) {
            (Phase::Aborting { .. }, _) => Vec::new(),
            (_, Phase::Aborting { reason, .. }) => vec![Note::about(id, "deadline", false, reason.clone())],
            _ => Vec::new(),
        },
    }
}
