//! What a ledger undoes beyond its depth after the decision (P3): a lock that COMMIT includes, what closed a leg, the
//! decision itself. Where nothing is ever undone, nothing is looked for.

use sofie_ledgers::Status;
use sofie_model::{Class, Decision, Finality, LedgerId, LegId, Operation, Step};
use sofie_transaction::{Input, Leg, Phase, State, Task};

use super::Transactions;
use super::asking::{Pace, ask, decision, shaken};

/// The leg whose value `task` locks again after a COMMIT that includes it.
pub(super) fn relocks(state: &State, task: Task) -> Option<LegId> {
    let (Task::Prepare(leg), Phase::Closing(decision)) = (task, state.phase()) else { return None };
    let has_value = state.manifest().leg(leg).is_some_and(|leg| leg.class != Class::Record);
    (has_value && decision.includes(leg)).then_some(leg)
}

/// The leg that `task` applies after the decision, on a ledger that may undo its lock.
fn follows_commit(all: &Transactions, state: &State, task: Task) -> Option<LegId> {
    let (Task::Apply(leg), Phase::Closing(_)) = (task, state.phase()) else { return None };
    let terms = state.manifest().leg(leg)?;
    (may_undo(all, &terms.ledger) && terms.class != Class::Record).then_some(leg)
}

/// What has become of the lock of a leg that is not applied: `None` while that cannot be told.
async fn unapplied_lock(all: &Transactions, state: &State, leg: LegId, apply: &Operation) -> Option<Status> {
    let ledger = &state.manifest().leg(leg)?.ledger;
    let prepare = Operation::Leg { manifest: state.manifest().clone(), leg, step: Step::Prepare };
    let lock = ask(all, ledger, &prepare).await?;
    (ask(all, ledger, apply).await? == Status::Absent).then_some(lock)
}

/// P3: while a hashlock is claimed, returns once its lock is gone: until then a ledger only says that it sees none yet.
pub(super) async fn await_gone(all: &Transactions, state: &State, task: Task, apply: &Operation) -> Input {
    let Some(leg) = follows_commit(all, state, task) else { return std::future::pending().await };
    let ledger = state.manifest().leg(leg).map(|leg| leg.ledger.clone());
    let Some(mut pace) = ledger.map(|ledger| Pace::of(all, &ledger)) else {
        return std::future::pending().await;
    };
    loop {
        pace.rest(all).await;
        if unapplied_lock(all, state, leg, apply).await == Some(Status::Absent) {
            return gone(state, leg);
        }
    }
}

/// P3: whether a ledger that refuses to apply the leg does so because its lock is gone, or is not final any more.
pub(super) async fn refused_for_no_lock(
    all: &Transactions,
    state: &State,
    task: Task,
    apply: &Operation,
) -> Option<Input> {
    let leg = follows_commit(all, state, task)?;
    let lock = unapplied_lock(all, state, leg, apply).await?;
    matches!(lock, Status::Absent | Status::Pending).then(|| gone(state, leg))
}

fn gone(state: &State, leg: LegId) -> Input {
    let reason = format!("{leg} is no longer prepared, and COMMIT includes it (P3)");
    tracing::error!(transaction = %state.txid(), %reason, "a ledger has undone what it had declared final");
    Input::Undone(leg, reason)
}

/// What one look at an ended transaction shows.
pub(super) enum Aftermath {
    /// All is as it was.
    Stands,
    /// A ledger does not tell now.
    Unclear,
    /// P3.
    Shaken(Input),
}

/// P3: whether D still holds its decision, and each leg's ledger what closed it.
pub(super) async fn aftermath(all: &Transactions, state: &State) -> Aftermath {
    if may_undo(all, &state.manifest().decision.ledger) {
        match decision(all, state).await {
            None | Some(Status::Pending) => return Aftermath::Unclear,
            Some(status) => {
                if let Some(input) = shaken(state, status) {
                    return Aftermath::Shaken(input);
                }
            }
        }
    }
    for (leg, known) in (0..).map(LegId).zip(state.legs()) {
        match aftermath_of(all, state, leg, known).await {
            Aftermath::Stands => {}
            other => return other,
        }
    }
    Aftermath::Stands
}

fn may_undo(all: &Transactions, ledger: &LedgerId) -> bool {
    all.executor.ledgers().get(ledger).is_some_and(|known| known.profile().finality != Finality::Instant)
}

async fn aftermath_of(all: &Transactions, state: &State, leg: LegId, known: &Leg) -> Aftermath {
    let Leg::Closed { applied, evidence: Some(evidence) } = known else { return Aftermath::Stands };
    let is_record = state.manifest().leg(leg).is_some_and(|leg| leg.class == Class::Record);
    // What was undone of a record was inert.
    if !may_undo(all, &evidence.ledger) || is_record && !applied {
        return Aftermath::Stands;
    }
    let step = |step| Operation::Leg { manifest: state.manifest().clone(), leg, step };
    match ask(all, &evidence.ledger, &step(closing(state, leg, *applied))).await {
        Some(Status::Final(_)) => return Aftermath::Stands,
        None | Some(Status::Pending) => return Aftermath::Unclear,
        Some(Status::Absent | Status::Refused { .. } | Status::Displaced { .. }) => {}
    }
    // A lock that is gone together with its undoing is undone.
    match ask(all, &evidence.ledger, &step(Step::Prepare)).await {
        None => Aftermath::Unclear,
        Some(Status::Absent | Status::Refused { .. } | Status::Displaced { .. }) if !applied => {
            Aftermath::Stands
        }
        Some(_) => {
            let end = if *applied { "applied" } else { "undone" };
            let reason = format!("{leg} is no longer {end}, and was so finally (P3)");
            tracing::error!(transaction = %state.txid(), %reason, "a ledger has undone what it had declared final");
            Aftermath::Shaken(Input::Undone(leg, reason))
        }
    }
}

/// The step that closed the leg.
fn closing(state: &State, leg: LegId, applied: bool) -> Step {
    let class = state.manifest().leg(leg).map(|leg| leg.class);
    match (applied, class, state.phase()) {
        (false, ..) => Step::Revert,
        (true, Some(Class::Hashlock), Phase::Done(Decision::Commit { preimages, .. })) => {
            Step::Claim(preimages.clone())
        }
        (true, ..) => Step::Apply,
    }
}
