//! What becomes of a transaction that has begun if nobody acts, and why it goes wrong where it does.

use sofie_model::Decision;
use sofie_transaction::{Aborter, Phase, State};

use crate::api::{At, Step};
use crate::peers::{Pending, Standing};
use crate::transactions;

/// What happens if nobody acts.
pub(super) fn next(state: &State) -> String {
    let manifest = state.manifest();
    let (decides, deadline) = (&manifest.decision.ledger, At(manifest.deadline));
    let grace_end = At(manifest.grace_end());
    match state.phase() {
        Phase::Preparing | Phase::Releasing => undecided(state),
        Phase::Committing => {
            format!("COMMIT is on its way to {decides}; not recorded there by {deadline}, it may still abort")
        }
        Phase::Late => {
            format!("its claim is followed by COMMIT on {decides} until {grace_end}, else it aborts")
        }
        Phase::Aborting { by: Aborter::Participant(_) | Aborter::Anyone, .. } => {
            format!("ABORT is on its way to {decides}, then every lock is undone")
        }
        Phase::Aborting { by: Aborter::Together, .. } => format!(
            "once every participant has signed ABORT, or after {grace_end}, {decides} takes it and every lock is undone"
        ),
        Phase::Aborting { by: Aborter::AfterGrace, .. } => {
            format!("after {grace_end} {decides} takes ABORT, then every lock is undone")
        }
        Phase::Closing(Decision::Commit { .. }) => {
            "every leg that is included is driven until it is applied, every other until it is undone".into()
        }
        Phase::Closing(Decision::Abort { .. }) => "every leg is driven until it is undone".into(),
        Phase::Done(Decision::Commit { .. }) => "nothing: it has taken effect".into(),
        Phase::Done(Decision::Abort { .. }) => "nothing: it takes effect nowhere".into(),
        Phase::Halted { .. } => transactions::to_do(state).into(),
    }
}

/// What happens to a proposal if nobody acts.
pub(super) fn of_proposal(pending: &Pending) -> String {
    match pending.standing {
        Standing::Proposed => {
            let deadline = At(pending.manifest.deadline);
            format!("without every owner's word it expires at {deadline}, and nothing moves")
        }
        Standing::Declined | Standing::Expired => "nothing: it never begins".into(),
    }
}

/// With a pivot nothing aborts before the end of grace, unless every participant signs it.
fn undecided(state: &State) -> String {
    let manifest = state.manifest();
    let deadline = At(manifest.deadline);
    if manifest.pivot().is_none() {
        return format!("not decided by {deadline}, it aborts and every lock is undone");
    }
    let grace_end = At(manifest.grace_end());
    format!("not decided by {deadline}, it aborts, at the latest after {grace_end}, and every lock is undone")
}

/// The kinds of the steps that lead to ABORT.
const AGAINST: [&str; 3] = ["prepare-refused", "withheld", "deadline"];

/// Why it aborts or stands still; `None` for one that does neither, and where this node was not told.
pub(super) fn reason(state: &State, steps: &[Step]) -> Option<String> {
    match state.phase() {
        Phase::Aborting { reason, .. } | Phase::Halted { reason } => Some(reason.clone()),
        Phase::Closing(Decision::Abort { .. }) | Phase::Done(Decision::Abort { .. }) => {
            let before = steps.iter().take_while(|step| step.name != "decided");
            before.filter(|step| AGAINST.contains(&step.name.as_str())).last().map(told)
        }
        _ => None,
    }
}

fn told(step: &Step) -> String {
    match &step.ledger {
        Some(ledger) => format!("{ledger} refuses: {}", step.detail),
        None => step.detail.clone(),
    }
}

#[cfg(test)]
mod tests {
    use sofie_model::{Account, Digest, Fact, LegId};
    use sofie_transaction::Input;

    use super::*;
    use crate::slack::tests::{at, begun, evidence};

    fn after(state: State, inputs: &[Input]) -> State {
        inputs.iter().fold(state, |state, input| state.next(input, at(20)).unwrap())
    }

    fn prepared(state: &State) -> Input {
        Input::Prepared(LegId(0), evidence(Fact::Prepared(state.txid(), LegId(0))))
    }

    fn decided(state: &State, commit: bool) -> Input {
        let decision = if commit {
            Decision::Commit { included: 1, evidence_root: Digest::ZERO, preimages: vec![] }
        } else {
            Decision::Abort { by: Account::ZERO }
        };
        Input::Decided(evidence(Fact::Decided(state.txid(), decision)))
    }

    fn step(name: &str, ledger: Option<&str>, detail: &str) -> Step {
        let ledger = ledger.map(|id| id.parse().unwrap());
        Step { seq: 1, name: name.into(), at: At(at(20)), ledger, ok: false, detail: detail.into() }
    }

    #[test]
    fn each_phase_says_what_comes_next() {
        let state = begun();
        let (deadline, grace_end) = ("1970-01-01T00:01:40.000Z", "1970-01-01T00:03:20.000Z");
        let undecided = format!(
            "not decided by {deadline}, it aborts, at the latest after {grace_end}, and every lock is undone"
        );
        assert_eq!((next(&state), reason(&state, &[])), (undecided, None));
        let committing = after(state.clone(), &[prepared(&state)]);
        assert!(next(&committing).starts_with("COMMIT is on its way to l; not recorded there by "));
        let closing = after(committing, &[decided(&state, true)]);
        assert!(next(&closing).starts_with("every leg that is included is driven until it is applied"));
        let applied = Input::Closed(LegId(0), evidence(Fact::Applied(state.txid(), LegId(0))));
        assert_eq!(next(&after(closing.clone(), &[applied])), "nothing: it has taken effect");
        let halted = after(closing, &[Input::Undecided("D holds no decision any more".into())]);
        assert!(next(&halted).starts_with("nothing by itself: the operator must look"));
        let why = "l no longer holds its final decision (P3): D holds no decision any more";
        assert_eq!(reason(&halted, &[]).as_deref(), Some(why));
    }

    #[test]
    fn an_abort_says_why_also_when_it_is_over() {
        let state = begun();
        let refused = Input::PrepareRefused(LegId(0), "the payer holds 3".into());
        let aborting = after(state.clone(), &[refused]);
        // All together, by their signatures: there is no participant, so it waits for none.
        assert!(next(&aborting).ends_with("every lock is undone"), "{}", next(&aborting));
        assert!(reason(&aborting, &[]).is_some());
        let over = after(aborting, &[decided(&state, false)]);
        assert_eq!(next(&over), "nothing: it takes effect nowhere");
        let late = step("decided", Some("l"), "ABORT");
        let steps = [
            step("undone", Some("l"), "a reorganisation"),
            step("prepare-refused", Some("l"), "the payer holds 3"),
            late,
            step("deadline", None, "after the decision it says nothing"),
        ];
        assert_eq!(reason(&over, &steps).as_deref(), Some("l refuses: the payer holds 3"));
        let withheld = step("withheld", None, "participant 1: the price has changed");
        let why = reason(&over, &[steps[1].clone(), withheld]);
        assert_eq!(why.as_deref(), Some("participant 1: the price has changed"));
        assert_eq!(reason(&over, &[]), None, "others aborted it");
    }
}
