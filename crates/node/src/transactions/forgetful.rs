//! What a node that was put back from a backup answers in place of doing it ([`crate::restored`]).

use sofie_ledgers::Status;
use sofie_model::{LegId, Operation};
use sofie_transaction::{Effect, Input, Task};

use super::{Transactions, asking};
use crate::restored::WHY;

/// `None`: it is done as ever.
pub(super) async fn answer(all: &Transactions, effect: &Effect) -> Option<Input> {
    match effect {
        Effect::Operate { task: Task::Prepare(leg), ledger, operation } => {
            Some(find(all, *leg, ledger, operation, WHY).await)
        }
        Effect::Release(who) | Effect::Renounce(who) => Some(Input::Withheld(*who, WHY.into())),
        Effect::Permit { .. } => Some(Input::PermitRefused(WHY.into())),
        Effect::Operate { .. }
        | Effect::Await(_)
        | Effect::Observe(_)
        | Effect::Wake(_)
        | Effect::Alarm(_) => None,
    }
}

/// The prepare as the ledger holds it, if it was made; none is made. One that arrives later is undone like any other.
pub(super) async fn find(
    all: &Transactions,
    leg: LegId,
    ledger: &sofie_model::LedgerId,
    operation: &Operation,
    why_not: &str,
) -> Input {
    loop {
        match asking::ask(all, ledger, operation).await {
            Some(Status::Final(evidence)) => return Input::Prepared(leg, evidence),
            Some(Status::Absent | Status::Refused { .. } | Status::Displaced { .. }) => {
                return Input::PrepareRefused(leg, why_not.into());
            }
            Some(Status::Pending) | None => asking::rest(all, ledger).await,
        }
    }
}
