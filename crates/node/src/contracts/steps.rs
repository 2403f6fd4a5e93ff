//! What a contract's inputs leave in the audit log: the timeline that people see.

use sofie_market::{Effect, Input, Phase};
use sofie_model::{Digest, Evidence, Fact, Observation, SignedAttestation};

use super::Driven;
use crate::auditor::Note;
use crate::drive::Machine;

/// The records of one step.
pub(super) fn notes(before: &Driven, input: &Input, after: &Driven) -> Vec<Note> {
    let id = before.id();
    let agreement = before.contract.agreement();
    let about = |kind, ok, detail: String| vec![Note::about(id, kind, ok, detail)];
    let on = |kind, evidence: &Evidence| vec![Note::on_ledger(id, kind, evidence)];
    // A late answer that moves nothing is no step; but what the device said is one, also when its sensor was faster.
    let tells =
        matches!(input, Input::FateUnknown(_) | Input::Receipted(_) | Input::Acted(_) | Input::Reported(_));
    if before.contract == after.contract && !tells {
        return Vec::new();
    }
    match input {
        // The transaction's own records tell these.
        Input::Committed(_) | Input::Aborted(_) => Vec::new(),
        Input::Armed => about("armed", true, "the escrow waits for evidence".into()),
        Input::Issued(_) => {
            let detail = format!(
                "{} on {} from {} until {}",
                agreement.action,
                agreement.thing,
                Rfc3339(agreement.not_before),
                Rfc3339(agreement.not_after)
            );
            about("capability-issued", true, detail)
        }
        Input::Acting => about("asked", true, format!("{} on {}", agreement.action, agreement.thing)),
        Input::Acted(answer) => about("actuated", true, answer.clone()),
        Input::Denied(reason) => about("denied", false, reason.clone()),
        Input::FateUnknown(reason) => about("fate-unknown", false, reason.clone()),
        Input::Observed(observation, _) => vec![observed(id, observation)],
        Input::Brought(seen) => [observed(id, &seen.observation), attested(id, &seen.attestation)].into(),
        Input::Attested(signed) if is_bare(before, signed) => {
            about("vouched", signed.attestation.fulfilled, format!("signed by {}", signer(signed)))
        }
        Input::Attested(signed) => vec![attested(id, signed)],
        Input::Noted(evidence) => on("noted", evidence),
        Input::NoteRefused(reason) => about("note-refused", false, reason.clone()),
        Input::Missed(observation, _) => vec![observed(id, observation)],
        Input::BondRefused(reason) => about("penalty-refused", false, reason.clone()),
        Input::Settled(evidence) if of_bond(after, evidence) => on("penalty-paid", evidence),
        Input::Refunded(evidence) if of_bond(after, evidence) => on("penalty-returned", evidence),
        Input::Settled(evidence) => on("settled", evidence),
        Input::SettleRefused(reason) => about("settle-refused", false, reason.clone()),
        Input::Refunded(evidence) => on("refunded", evidence),
        Input::RefundRefused(reason) => about("refund-refused", false, reason.clone()),
        Input::Receipted(digest) => about("receipt", true, format!("kept, its digest is {digest}")),
        Input::Presented(evidence) => on("presented", evidence),
        Input::Ruled(_) => about("ruled", true, "the arbiter's word is brought to the escrow".into()),
        Input::Overruled(evidence) => on("overruled", evidence),
        Input::OverruleRefused(reason) => about("overrule-refused", false, reason.clone()),
        Input::Reported(_) => reported(before, after),
        Input::Woken if asked_in_vain(before, after) => {
            let detail =
                "nobody has told in time on which word the stake was paid: the receipt cannot say why";
            about("unheard", false, detail.into())
        }
        Input::Woken if before.contract.phase() == after.contract.phase() => Vec::new(),
        Input::Woken => match after.contract.phase() {
            Phase::Refunding { reason } => about("deadline", false, reason.clone()),
            Phase::Settling { .. } if matches!(before.contract.phase(), Phase::Disputable { .. }) => {
                about("undisputed", true, "the dispute window is over: the evidence stands".into())
            }
            Phase::Presenting { .. } | Phase::Settling { .. } => {
                let detail =
                    "the record ledger has not taken the evidence yet; the payment does not wait for it";
                about("note-late", false, detail.into())
            }
            _ => Vec::new(),
        },
    }
}

/// What the owner's node says, and what is new by it.
fn reported(before: &Driven, after: &Driven) -> Vec<Note> {
    let (id, known, report) = (before.id(), before.contract.report(), after.contract.report());
    let mut notes = Vec::new();
    if let (None, Some(told_at)) = (known.told_at, report.told_at) {
        let detail = format!("the owner's node says: at {}", Rfc3339(told_at));
        notes.push(Note::about(id, "asked", true, detail));
    }
    if let (None, Some(outcome)) = (&known.outcome, &report.outcome) {
        notes.push(Note::about(id, "answered", true, format!("the owner's node says: {outcome}")));
    }
    let before: Vec<_> = known.all_seen().collect();
    let before: Vec<_> = before.into_iter().chain(known.missed.iter().flatten()).collect();
    let all = report.all_seen().chain(report.missed.iter().flatten());
    for seen in all.filter(|seen| !before.contains(seen)) {
        notes.extend([observed(id, &seen.observation), attested(id, &seen.attestation)]);
    }
    notes
}

fn asked_in_vain(before: &Driven, after: &Driven) -> bool {
    let asks = |driven: &Driven| driven.contract.asks_why_until().is_some();
    asks(before) && !asks(after)
}

/// Whether an escrow's evidence is about the owner's stake.
fn of_bond(driven: &Driven, evidence: &Evidence) -> bool {
    let bond = driven.contract.bond().map(|bond| bond.escrow().0);
    matches!(evidence.fact, Fact::Settled(_, leg) | Fact::Refunded(_, leg) if Some(leg) == bond)
}

fn observed(id: Digest, observation: &Observation) -> Note {
    let Observation { thing, property, quantity, observed_at, .. } = observation;
    let told = format!("{thing} {property} = {} at {}", quantity.value, Rfc3339(*observed_at));
    Note::about(id, "observed", true, told)
}

fn attested(id: Digest, signed: &SignedAttestation) -> Note {
    Note::about(id, "attested", signed.attestation.fulfilled, format!("signed by {}", signer(signed)))
}

fn signer(signed: &SignedAttestation) -> String {
    signed.signer().map_or_else(|bad| bad.to_string(), |account| account.to_string())
}

/// One of several words, about a reading that nobody has shown here: others may be observed after it.
fn is_bare(before: &Driven, signed: &SignedAttestation) -> bool {
    let asked = |effect: &Effect| match effect {
        Effect::Attest { observation, salt, .. } => {
            observation.digest(salt) == signed.attestation.observation
        }
        _ => false,
    };
    before.contract.voices().count() > 1 && !before.contract.effects().iter().any(asked)
}

/// An instant as people read it.
pub(crate) struct Rfc3339(pub(crate) sofie_model::Timestamp);

impl std::fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(instant) => write!(f, "{instant:.3}"),
            Err(_) => write!(f, "{millis} ms"),
        }
    }
}
