//! The inter-ledger protocol as a reader sees it: prepared, decided once, applied or reverted as decided.

use sofie_model::{
    Account, Class, Decision, Digest, Evidence, Fact, Leg, LegId, Manifest, Timestamp, evidence,
};

use super::{CLOCK_SKEW, Case, ledgers::Facts};
use crate::{Body, Outcome, Report};

/// The decision that D holds.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    pub(super) evidence: Evidence,
    pub(super) decision: Decision,
}

impl Decided {
    pub(super) fn commits(&self) -> bool {
        matches!(self.decision, Decision::Commit { .. })
    }

    /// Whether `later` does not lie before the decision: by position on D's own ledger, by time elsewhere.
    pub(super) fn precedes(&self, later: &Evidence) -> bool {
        if later.ledger == self.evidence.ledger {
            place(&self.evidence) < place(later)
        } else {
            later.at + CLOCK_SKEW >= self.evidence.at
        }
    }

    fn follows(&self, earlier: &Evidence) -> bool {
        if earlier.ledger == self.evidence.ledger {
            place(earlier) < place(&self.evidence)
        } else {
            earlier.at <= self.evidence.at + CLOCK_SKEW
        }
    }
}

/// Where a fact stands among those of its ledger.
pub(super) fn place(evidence: &Evidence) -> (u64, u64) {
    (evidence.position.height, evidence.position.index)
}

/// Exactly one decision, on D, valid by D's rules. On an anchor that the reader has not pinned it is never passed.
pub(super) fn decision(
    body: &Body,
    facts: &Facts,
    contracts_known: bool,
    report: &mut Report,
) -> Option<Decided> {
    let decided = match only(body, facts) {
        Ok(decided) => decided,
        Err(why) => {
            report.add("decision", Outcome::Failed, why);
            return None;
        }
    };
    match valid(&body.manifest, &decided) {
        Err(why) => report.add("decision", Outcome::Failed, why),
        Ok(reason) if contracts_known && facts.is_anchored(&body.manifest.decision.ledger) => {
            report.add("decision", Outcome::Passed, reason);
        }
        Ok(reason) => {
            let reason =
                format!("{reason}, if the block and the contracts that it rests on are the real ones");
            report.add("decision", Outcome::Unanchored, reason);
        }
    }
    Some(decided)
}

fn only(body: &Body, facts: &Facts) -> Result<Decided, String> {
    let mut found = facts.all().filter_map(|one| match &one.fact {
        Fact::Decided(txid, decision) if *txid == body.txid => {
            Some(Decided { evidence: one.clone(), decision: decision.clone() })
        }
        _ => None,
    });
    let decided = found.next().ok_or("no proof shows one")?;
    if found.next().is_some() {
        return Err("more than one is shown".into());
    }
    let site = &body.manifest.decision.ledger;
    if decided.evidence.ledger == *site {
        Ok(decided)
    } else {
        Err(format!("it stands on {}, the manifest says {site}", decided.evidence.ledger))
    }
}

fn valid(manifest: &Manifest, decided: &Decided) -> Result<String, String> {
    let at = decided.evidence.at;
    match &decided.decision {
        Decision::Commit { included, preimages, .. } => {
            if !manifest.quorum().allows(*included) {
                return Err(format!("COMMIT of legs {included:#b} breaks the manifest's rule"));
            }
            opened(manifest, preimages)?;
            in_time(manifest, at)?;
            Ok(format!("COMMIT at {at}", at = seconds(at)))
        }
        Decision::Abort { by } => Ok(format!("ABORT at {}, {}", seconds(at), entitled(manifest, *by, at))),
    }
}

fn opened(manifest: &Manifest, preimages: &[Digest]) -> Result<(), String> {
    let (expected, got) = (manifest.participants.len(), preimages.len());
    if expected != got {
        return Err(format!("{got} preimages, {expected} are expected"));
    }
    let pairs = manifest.participants.iter().zip(preimages);
    match pairs.into_iter().find(|(one, preimage)| Digest::sha256(preimage.as_bytes()) != one.hashlock) {
        Some((one, _)) => Err(format!("the preimage of {} does not open its hashlock", one.account)),
        None => Ok(()),
    }
}

fn in_time(manifest: &Manifest, at: Timestamp) -> Result<(), String> {
    let end = if manifest.guard == Account::ZERO { manifest.deadline } else { manifest.grace_end() };
    // D counts whole seconds, whatever its clock shows.
    if at.as_seconds() <= end.as_seconds() {
        Ok(())
    } else {
        Err(format!("COMMIT at {}, {} was the last second", seconds(at), seconds(end)))
    }
}

/// Why the contract took this ABORT.
fn entitled(manifest: &Manifest, by: Account, at: Timestamp) -> String {
    let participant = manifest.participants.iter().any(|one| one.account == by);
    if at.as_seconds() > manifest.grace_end().as_seconds() {
        format!("by {by}, after the end of the decision's time")
    } else if participant && manifest.guard == Account::ZERO {
        format!("by the participant {by}")
    } else {
        format!(
            "brought by {by}, which before {} the contract takes only with every participant's signature",
            seconds(manifest.grace_end())
        )
    }
}

fn seconds(at: Timestamp) -> String {
    format!("second {}", at.as_seconds())
}

/// What the legs show before and after the decision.
pub(super) fn legs(case: &Case<'_>, report: &mut Report) {
    match &case.decided.decision {
        Decision::Commit { evidence_root, .. } => {
            let prepared = all_prepared(case);
            if let Ok(prepared) = &prepared {
                report.found("evidence root", root(prepared, evidence_root));
            }
            report.found("prepared", prepared.map(|all| format!("{} legs, before the decision", all.len())));
            report.found("applied", applied(case));
            if let Some(told) = left_out(case) {
                report.found("left out", told);
            }
        }
        Decision::Abort { .. } => report.found("reverted", reverted(case)),
    }
}

/// The prepare evidence of the included legs, in their order.
fn all_prepared<'a>(case: &Case<'a>) -> Result<Vec<&'a Evidence>, String> {
    let (manifest, decided) = (&case.body.manifest, case.decided);
    let mut all = Vec::new();
    for (id, leg) in manifest.legs().filter(|(id, _)| decided.decision.includes(*id)) {
        let evidence = case.facts.of_leg(manifest, id, Fact::Prepared);
        let evidence =
            evidence.ok_or_else(|| format!("no proof shows that {id} was prepared on {}", leg.ledger))?;
        if !decided.follows(evidence) {
            return Err(format!("{id} was prepared on {} only after the decision", leg.ledger));
        }
        all.push(evidence);
    }
    Ok(all)
}

fn root(prepared: &[&Evidence], committed: &Digest) -> Result<String, String> {
    let root = evidence::root(prepared.iter().copied());
    if root == *committed {
        Ok("the COMMIT names exactly these prepares, so that it came after them".into())
    } else {
        Err(format!("the prepares shown have root {root}, the COMMIT names {committed}"))
    }
}

fn applied(case: &Case<'_>) -> Result<String, String> {
    let (manifest, decided) = (&case.body.manifest, case.decided);
    let mut count = 0;
    for (id, leg) in manifest.legs().filter(|(id, _)| decided.decision.includes(*id)) {
        if case.facts.of_leg(manifest, id, Fact::Reverted).is_some() {
            return Err(format!("{id} was reverted in spite of COMMIT"));
        }
        match case.facts.of_leg(manifest, id, Fact::Applied) {
            None => return Err(format!("no proof shows that {id} was applied on {}", leg.ledger)),
            Some(one) if !decided.precedes(one) => {
                return Err(format!("{id} was applied on {} before the decision", leg.ledger));
            }
            Some(_) => count += 1,
        }
    }
    Ok(format!("{count} legs, after the decision"))
}

/// k of N: what became of each leg that COMMIT does not name (docs/specs/inter-ledger.md, "k of N").
fn left_out(case: &Case<'_>) -> Option<Result<String, String>> {
    let manifest = &case.body.manifest;
    let legs = manifest.legs().filter(|(id, _)| !case.decided.decision.includes(*id));
    let told: Result<Vec<_>, _> = legs.map(|(id, leg)| without_effect(case, id, leg)).collect();
    match told {
        Ok(none) if none.is_empty() => None,
        told => Some(told.map(|all| all.join("; "))),
    }
}

fn without_effect(case: &Case<'_>, id: LegId, leg: &Leg) -> Result<String, String> {
    let manifest = &case.body.manifest;
    if case.facts.of_leg(manifest, id, Fact::Applied).is_some() {
        return Err(format!("{id} was applied although COMMIT leaves it out"));
    }
    let reverted = case.facts.of_leg(manifest, id, Fact::Reverted);
    undone(case, id, reverted)?;
    let told = match (leg.class, reverted.is_some()) {
        (Class::Record, true) => "a record, inert, and closed as one without effect",
        (Class::Record, false) if prepared(case, id) => {
            "a record that stands, inert: it is without effect for want of a COMMIT that includes it"
        }
        (_, true) => "its lock was undone",
        (_, false) => "no proof shows that it was prepared",
    };
    Ok(format!("{id} on {}: {told}", leg.ledger))
}

fn reverted(case: &Case<'_>) -> Result<String, String> {
    let manifest = &case.body.manifest;
    let (mut count, mut inert) = (0, 0);
    for (id, _) in manifest.legs() {
        if case.facts.of_leg(manifest, id, Fact::Applied).is_some() {
            return Err(format!("{id} was applied in spite of ABORT"));
        }
        let reverted = case.facts.of_leg(manifest, id, Fact::Reverted);
        undone(case, id, reverted)?;
        count += usize::from(reverted.is_some());
        // No lock, or it were not undone.
        inert += usize::from(reverted.is_none() && prepared(case, id));
    }
    let told = format!("nothing took effect; {count} locks undone");
    Ok(match inert {
        0 => told,
        _ => format!("{told}; {inert} records stand that nobody closed, without effect for want of a COMMIT"),
    })
}

/// A leg without effect: what it locked is free again, after the decision. A record is inert by itself.
fn undone(case: &Case<'_>, id: LegId, reverted: Option<&Evidence>) -> Result<(), String> {
    let manifest = &case.body.manifest;
    let locks = manifest.leg(id).is_some_and(|leg| leg.class != Class::Record);
    match reverted {
        Some(one) if !case.decided.precedes(one) => Err(format!("{id} was reverted before the decision")),
        Some(_) => Ok(()),
        None if locks && prepared(case, id) => {
            Err(format!("no proof shows that the lock of {id} was undone"))
        }
        None => Ok(()),
    }
}

fn prepared(case: &Case<'_>, id: LegId) -> bool {
    case.facts.of_leg(&case.body.manifest, id, Fact::Prepared).is_some()
}
