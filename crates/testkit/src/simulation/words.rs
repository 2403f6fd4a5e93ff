//! What a trace says.

use sofie_ledgers::Intent;
use sofie_ledgers::fake::Fake;
use sofie_model::{Decision, Fact, Operation, Txid};

/// A fact in a few words.
pub(super) fn fact_words(fact: &Fact) -> String {
    let short = |id: &Txid| id.to_string().chars().take(6).collect::<String>();
    match fact {
        Fact::Prepared(id, leg) => format!("{} prepared {leg}", short(id)),
        Fact::Applied(id, leg) => format!("{} applied {leg}", short(id)),
        Fact::Reverted(id, leg) => format!("{} reverted {leg}", short(id)),
        Fact::Decided(id, Decision::Commit { included, .. }) => {
            format!("{} COMMIT of legs {included:b}", short(id))
        }
        Fact::Decided(id, Decision::Abort { by }) => format!("{} ABORT by {by}", short(id)),
        other => format!("{other:?}"),
    }
}

/// An intent in a few words.
pub(super) fn intent_words(fake: &Fake, intent: &Intent) -> String {
    let Ok(operation) = fake.operation(intent) else { return "bytes that are no intent".into() };
    let id: String = operation.txid().map(|id| id.to_string().chars().take(6).collect()).unwrap_or_default();
    match &operation {
        Operation::Leg { leg, .. } => format!("{id} {} {leg}", operation.verb()),
        _ => format!("{id} {}", operation.verb()),
    }
}
