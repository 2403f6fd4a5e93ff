//! What a transaction asks of the participants whose keys are here, and what it looks for on the ledgers: nothing is
//! believed that this node has not seen itself (design "Secrets", P2, P3).

use std::time::Duration;

use sofie_ledgers::{LedgerError, Status, port::Revealed};
use sofie_model::{Account, Decide, Digest, Evidence, Finality, LedgerId, LegId, Operation, Step, contract};
use sofie_transaction::{Effect, Input, Look, State};

use super::Transactions;
use crate::journal::JournalError;

/// The longest wait between two looks at what another does.
pub(super) const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// A participant verifies by itself that nothing is decided and that every prepare still stands, before it gives its
/// secret away (P2); and, on a node that shares the transaction, that it could finish the pivot without the others.
pub(super) async fn release(all: &Transactions, state: &State, who: u16) -> Result<Input, JournalError> {
    // First: what is looked at afterwards is as it is now.
    if let Some(missing) = all.lacks_presigned(state).await? {
        return Ok(Input::Withheld(who, missing));
    }
    Ok(checked(all, state, who).await)
}

async fn checked(all: &Transactions, state: &State, who: u16) -> Input {
    match foreign_decision(all, state).await {
        Ok(None) => {}
        Ok(Some(evidence)) => return Input::Decided(evidence),
        Err(reason) => return Input::Withheld(who, reason),
    }
    for (leg, evidence) in state.prepared() {
        match still_stands(all, state, leg, evidence).await {
            Ok(Stands::Yes) => {}
            Ok(Stands::Undone(reason)) => return Input::Undone(leg, reason),
            Err(reason) => return Input::Withheld(who, reason),
        }
    }
    match all.secrets.preimage(state, who) {
        Some(preimage) => Input::Released(who, preimage),
        None => Input::Withheld(who, "its key is not on this node".into()),
    }
}

/// Whoever signs releases nothing any more; that nothing was released before, the state has seen to.
pub(super) fn renounce(all: &Transactions, state: &State, who: u16) -> Input {
    let account = state.manifest().participants.get(usize::from(who)).map(|one| one.account);
    let digest = contract::abort_digest(state.manifest());
    match account.and_then(|account| all.secrets.sign(account, digest)) {
        Some(signature) => Input::Renounced(who, signature),
        None => Input::Withheld(who, "its key is not on this node".into()),
    }
}

/// The guard signs only once it has itself seen that the claim is final (P1). A ledger that does not tell now is asked
/// again: without the signature the claim stays undecided until G, and is aborted then.
pub(super) async fn permit(all: &Transactions, state: &State, included: u64, evidence_root: Digest) -> Input {
    let manifest = state.manifest();
    let digest = contract::commit_digest(manifest, included, evidence_root);
    let Some(signature) = all.secrets.sign(manifest.guard, digest) else {
        return Input::PermitRefused("the guard's key is not on this node".into());
    };
    let mut pace = Pace::of(all, &manifest.decision.ledger);
    while !claim(all, state).await.is_some_and(|claim| claim.finally) {
        pace.rest(all).await;
    }
    Input::Permitted(signature)
}

/// Looks until there is something to tell. The first look comes after a poll interval: a transaction that goes well has
/// moved on by then.
pub(super) async fn observe(all: &Transactions, state: &State, look: Look) -> Input {
    let mut pace = Pace::of(all, &state.manifest().decision.ledger);
    loop {
        pace.rest(all).await;
        if let Some(seen) = seen(all, state, look).await {
            return seen;
        }
    }
}

async fn seen(all: &Transactions, state: &State, look: Look) -> Option<Input> {
    match (look, decision(all, state).await) {
        (Look::Stands, Some(status)) => return shaken(state, status),
        (_, Some(Status::Final(evidence))) => return Some(Input::Decided(evidence)),
        _ => {}
    }
    let claim = match look {
        Look::Open | Look::Claim => claim(all, state).await?,
        Look::Decision | Look::Stands => return None,
    };
    let news = look == Look::Open || claim.finally;
    news.then_some(Input::Revealed { preimages: claim.preimages, finally: claim.finally })
}

/// P3: what was final on D is there no more, or is something else.
pub(super) fn shaken(state: &State, status: Status) -> Option<Input> {
    match status {
        Status::Final(evidence) => {
            let same = state.decided().is_some_and(|known| known.fact == evidence.fact);
            (!same).then_some(Input::Decided(evidence))
        }
        Status::Absent => Some(Input::Undecided("it holds none".into())),
        Status::Pending => Some(Input::Undecided("it is not final any more".into())),
        Status::Refused { reason } | Status::Displaced { reason } => Some(Input::Undecided(reason)),
    }
}

/// Waits for a lock that another node's party makes, or for a decision without it.
pub(super) async fn await_lock(all: &Transactions, state: &State, leg: LegId) -> Input {
    let Some(ledger) = state.manifest().leg(leg).map(|leg| leg.ledger.clone()) else {
        return Input::PrepareRefused(leg, "there is no such leg".into());
    };
    let mut pace = Pace::of(all, &ledger);
    loop {
        match lock(all, state, leg, &ledger).await {
            Some(input) => return input,
            None => pace.rest(all).await,
        }
    }
}

async fn lock(all: &Transactions, state: &State, leg: LegId, ledger: &LedgerId) -> Option<Input> {
    let operation = Operation::Leg { manifest: state.manifest().clone(), leg, step: Step::Prepare };
    match ask(all, ledger, &operation).await? {
        Status::Final(evidence) => Some(Input::Prepared(leg, evidence)),
        Status::Refused { reason } => Some(Input::PrepareRefused(leg, reason)),
        Status::Absent | Status::Pending | Status::Displaced { .. } => None,
    }
}

/// Whether one look at the ledgers shows something that a waiting transaction waits for.
pub(super) async fn has_news(all: &Transactions, state: &State) -> bool {
    for effect in state.effects() {
        let found = match effect {
            Effect::Observe(look) => seen(all, state, look).await,
            Effect::Await(id) => match state.manifest().leg(id) {
                Some(leg) => lock(all, state, id, &leg.ledger).await,
                None => None,
            },
            _ => None,
        };
        if found.is_some() {
            return true;
        }
    }
    false
}

async fn claim(all: &Transactions, state: &State) -> Option<Revealed> {
    let (leg, locks) = all.pivot_of(state)?;
    let ledger = &state.manifest().leg(leg)?.ledger;
    match all.executor.trusted(ledger.clone(), locks.revealed(state.manifest(), leg)).await {
        Ok(claim) => claim,
        Err(_) if all.executor.quarantined(ledger).is_some() => None,
        Err(error) => {
            tracing::warn!(%error, "a claim cannot be looked for; it is tried again");
            None
        }
    }
}

pub(super) async fn decision(all: &Transactions, state: &State) -> Option<Status> {
    ask(all, &state.manifest().decision.ledger, &any_decision(state)).await
}

/// `None`: it does not answer now.
pub(super) async fn ask(all: &Transactions, ledger: &LedgerId, operation: &Operation) -> Option<Status> {
    let known = all.executor.ledgers().get(ledger)?;
    match all.executor.look(known.as_ref(), operation).await {
        Ok(status) => Some(status),
        // That it is in quarantine was told once.
        Err(_) if all.executor.quarantined(ledger).is_some() => None,
        Err(error) => {
            tracing::warn!(%error, "a ledger does not tell; it is asked again");
            None
        }
    }
}

/// From the ledger's poll, doubling to [`LONGEST_LOOK`]: thousands that wait do not crowd out those that move.
pub(super) struct Pace(Duration);

impl Pace {
    pub(super) fn of(all: &Transactions, ledger: &LedgerId) -> Self {
        let known = all.executor.ledgers().get(ledger);
        Self(known.map_or(LONGEST_LOOK, |known| known.profile().poll.into()))
    }

    pub(super) async fn rest(&mut self, all: &Transactions) {
        all.clock().sleep(self.0.min(LONGEST_LOOK)).await;
        self.0 = self.0.saturating_mul(2).min(LONGEST_LOOK);
    }
}

/// One wait between two looks at this ledger.
pub(super) async fn rest(all: &Transactions, ledger: &LedgerId) {
    Pace::of(all, ledger).rest(all).await;
}

fn any_decision(state: &State) -> Operation {
    let decide = Decide::Abort { by: Account::ZERO, signatures: Vec::new() };
    Operation::Decide { manifest: state.manifest().clone(), decide }
}

/// What D holds already, by whomever.
async fn foreign_decision(all: &Transactions, state: &State) -> Result<Option<Evidence>, String> {
    match look(all, state, &state.manifest().decision.ledger, &any_decision(state)).await? {
        Status::Final(evidence) => Ok(Some(evidence)),
        // Not final yet, or none: COMMIT will meet it and learn which one stands.
        Status::Pending | Status::Absent | Status::Refused { .. } | Status::Displaced { .. } => Ok(None),
    }
}

/// Whether a prepare is where it was.
enum Stands {
    Yes,
    Undone(String),
}

/// A prepare that is not final any more is waited for while there is time to decide; one that is gone, or stands
/// elsewhere now, is undone.
async fn still_stands(
    all: &Transactions,
    state: &State,
    leg: LegId,
    evidence: &Evidence,
) -> Result<Stands, String> {
    let Some(ledger) = all.executor.ledgers().get(&evidence.ledger) else {
        return Err(format!("this node has no ledger {}", evidence.ledger));
    };
    // Nothing is ever undone there, and the evidence came from there.
    if ledger.profile().finality == Finality::Instant {
        return Ok(Stands::Yes);
    }
    let operation = Operation::Leg { manifest: state.manifest().clone(), leg, step: Step::Prepare };
    let undone = |how: &str| Ok(Stands::Undone(format!("{leg} on {} {how}", evidence.ledger)));
    loop {
        match look(all, state, &evidence.ledger, &operation).await? {
            Status::Final(seen) if seen == *evidence => return Ok(Stands::Yes),
            Status::Final(_) => return undone("stands elsewhere now"),
            Status::Absent => return undone("is no longer prepared"),
            Status::Refused { reason } | Status::Displaced { reason } => return undone(&reason),
            Status::Pending if too_late(all, state) => return undone("is not final any more"),
            Status::Pending => all.clock().sleep(ledger.profile().poll.into()).await,
        }
    }
}

/// Asks a ledger; one that is away, or talks nonsense once, is asked again while there is time to decide.
async fn look(
    all: &Transactions,
    state: &State,
    ledger: &LedgerId,
    operation: &Operation,
) -> Result<Status, String> {
    let Some(ledger) = all.executor.ledgers().get(ledger) else {
        return Err(format!("this node has no ledger {ledger}"));
    };
    loop {
        let error = match all.executor.look(ledger.as_ref(), operation).await {
            Ok(status) => return Ok(status),
            Err(error) => error,
        };
        if let Some(why) = all.executor.quarantined(&ledger.profile().id) {
            return Err(why);
        }
        match error {
            LedgerError::Transient { .. } | LedgerError::Nonsense { .. } if !too_late(all, state) => {
                all.clock().sleep(ledger.profile().poll.into()).await;
            }
            error => return Err(error.to_string()),
        }
    }
}

/// Whether a release would come too late for a COMMIT before T_D.
pub(super) fn too_late(all: &Transactions, state: &State) -> bool {
    all.clock().now() + state.decision_time() > state.manifest().deadline
}
