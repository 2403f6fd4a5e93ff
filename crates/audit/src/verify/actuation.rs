//! What was agreed, seen, paid and noted.

use sofie_model::{
    Digest, Evidence, Fact, LegId, SignedAttestation, Terms, ThingId, canonical, commitment,
    manifest::EscrowTerms,
};

use super::{CLOCK_SKEW, Case, legs::place};
use crate::{
    Agreement, Body, Outcome, Report, Story,
    agreement::{MAX_AGREEMENT, Witnesses},
    receipt::{Seen, Thing},
    topic,
};

/// The agreement opens the record leg's commitment, or the nonce, and says what the escrow says.
pub(super) fn agreement(case: &Case<'_>, report: &mut Report) {
    match read(case) {
        None => case.missing(report, "agreement", case.story.rests_on_evidence(), "agreement"),
        Some(result) => report.found(
            "agreement",
            result.map(|agreed| format!("{} of {} for {}", agreed.action, agreed.thing, agreed.price)),
        ),
    }
}

fn read(case: &Case<'_>) -> Option<Result<Agreement, String>> {
    let sealed = case.body.agreement.as_ref()?;
    let commitment = commitment::commit(&sealed.salt, &sealed.payload);
    let recorded = case.body.manifest.legs.iter().any(|leg| leg.terms == Terms::Record(commitment));
    // Between two nodes, which reach no record ledger together, the manifest's nonce is the commitment.
    if !recorded && case.body.manifest.nonce != commitment {
        return Some(Err("it opens neither the commitment of a record leg nor the manifest's nonce".into()));
    }
    let agreed: Result<Agreement, _> = canonical::decode(&sealed.payload, MAX_AGREEMENT);
    Some(agreed.map_err(|error| error.to_string()).and_then(|agreed| matches(case, agreed)))
}

fn matches(case: &Case<'_>, agreed: Agreement) -> Result<Agreement, String> {
    let priced = if agreed.penalty.is_some() { escrows(case.body).next() } else { escrow(case) };
    let Some((id, terms)) = priced else {
        return Ok(agreed);
    };
    staked(case, &agreed, terms)?;
    let agrees = [
        ("payer", agreed.renter == terms.payer),
        ("payee", agreed.owner == terms.payee),
        ("amount", agreed.price == terms.amount),
        ("panel of sensors", believes(&agreed, terms)),
        ("arbiter or dispute window", agreed.dispute == terms.dispute),
    ];
    match agrees.into_iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(format!("the {field} of {id} is not the agreed one")),
        None => Ok(agreed),
    }
}

/// Where several sensors are agreed on, the escrow believes the panel that their owners make.
fn believes(agreed: &Agreement, terms: &EscrowTerms) -> bool {
    let panel = agreed.witnesses.as_ref().map(Witnesses::panel);
    panel.is_none_or(|panel| panel.is_ok_and(|panel| panel.account() == terms.evidence_key))
}

/// The second escrow holds the agreed stake, on the terms of the price turned round.
fn staked(case: &Case<'_>, agreed: &Agreement, price: &EscrowTerms) -> Result<(), String> {
    let Some(penalty) = agreed.penalty else { return Ok(()) };
    let (id, bond) = escrows(case.body).nth(1).ok_or("no escrow holds the agreed penalty")?;
    let expected = EscrowTerms {
        payer: agreed.owner,
        payee: agreed.renter,
        amount: penalty.amount,
        evidence_deadline: penalty.until,
        ..price.clone()
    };
    if *bond == expected { Ok(()) } else { Err(format!("{id} does not hold the agreed penalty")) }
}

/// The leg of the owner's stake, if the agreement names one.
pub(super) fn stake(body: &Body) -> Option<LegId> {
    let agreed: Agreement = canonical::decode(&body.agreement.as_ref()?.payload, MAX_AGREEMENT).ok()?;
    agreed.penalty.and_then(|_| Some(escrows(body).nth(1)?.0))
}

fn escrows(body: &Body) -> impl Iterator<Item = (LegId, &EscrowTerms)> {
    body.manifest.legs().filter_map(|(id, leg)| match &leg.terms {
        Terms::Escrow(terms) => Some((id, terms)),
        Terms::Hashlock(_) | Terms::Record(_) | Terms::Transfer(_) => None,
    })
}

/// The escrow leg that the story turns on: the attested one, or else the first.
fn escrow<'a>(case: &Case<'a>) -> Option<(LegId, &'a EscrowTerms)> {
    let attested = case.body.evidence.as_ref().map(|seen| seen.attestation.attestation.leg);
    let mut escrows = escrows(case.body);
    match attested {
        Some(leg) => escrows.find(|(id, _)| *id == leg),
        None => escrows.next(),
    }
}

/// The attestation is by the agreed key, or k of the panel's, and about this escrow; each observation is the agreed one, at
/// the right time.
pub(super) fn evidence(case: &Case<'_>, report: &mut Report) {
    let needed = case.story.rests_on_evidence();
    let Some(signed) = testimony(case) else {
        for name in ["attestation", "observation", "evidence time"] {
            case.missing(report, name, needed, "evidence");
        }
        return;
    };
    case.judge(report, "attestation", signed.and_then(|signed| attested(case, &signed)));
    case.judge(report, "observation", each(case, observed).map(|told| told.join(", ")));
    let timely =
        each(case, timely).map(|_| "after the decision and the act, before the evidence deadline".into());
    case.judge(report, "evidence time", timely);
}

fn each<T>(case: &Case<'_>, check: fn(&Case<'_>, &Seen) -> Result<T, String>) -> Result<Vec<T>, String> {
    case.body.all_seen().map(|seen| check(case, seen)).collect()
}

/// The word that the escrow took: the one key's, or the certificate of those of the panel whose readings it paid for, or were overruled.
fn testimony(case: &Case<'_>) -> Option<Result<SignedAttestation, String>> {
    let words: Vec<_> = case.body.all_seen().map(|seen| seen.attestation.clone()).collect();
    let first = words.first()?.clone();
    let witnesses = read(case).and_then(Result::ok).and_then(|agreed| agreed.witnesses);
    let Some(witnesses) = witnesses else {
        let alone = words.len() == 1;
        return Some(alone.then_some(first).ok_or_else(|| "one sensor is agreed on, several speak".into()));
    };
    let leg = first.attestation.leg;
    let ended = case.facts.settlement(leg).or_else(|| case.facts.ruling(leg));
    let paid = ended.map(|event| (event.observation, event.observed_at));
    let certificate = witnesses.panel().and_then(|panel| match paid {
        Some((observation, at)) => panel.attest_as(&words, observation, at),
        None => panel.attest(&words),
    });
    Some(certificate.map_err(|bad| bad.to_string()))
}

fn attested(case: &Case<'_>, signed: &SignedAttestation) -> Result<String, String> {
    let said = &signed.attestation;
    let (_, terms) = escrow(case).ok_or_else(|| format!("{} is no escrow", said.leg))?;
    let site = &case.body.manifest.decision;
    if said.txid != case.body.txid {
        return Err(format!("it is about transaction {}", said.txid));
    }
    if (said.chain_id, said.contract) != (site.chain_id, terms.contract) {
        return Err(format!("it is for contract {} of chain {}", said.contract, said.chain_id));
    }
    if !said.fulfilled {
        return Err("it says that the agreed condition does not hold".into());
    }
    signed.speaks_for(terms).map_err(|no| no.to_string())?;
    Ok(match signed.panel() {
        Some(panel) => format!("signed by {} of the panel's {} keys", panel.threshold(), panel.keys().len()),
        None => format!("signed by the evidence key {}", terms.evidence_key),
    })
}

fn observed(case: &Case<'_>, seen: &Seen) -> Result<String, String> {
    let observation = &seen.observation;
    if observation.digest(&seen.salt) != seen.attestation.attestation.observation {
        return Err("the observation is not the one that was attested".into());
    }
    let agreed = read(case).ok_or("there is no agreement to hold it against")?;
    let agreed = agreed.map_err(|_| "there is no sound agreement to hold it against")?;
    let by = seen.attestation.signer().map_err(|bad| bad.to_string())?;
    let rule = agreed.rule_of(by).ok_or_else(|| format!("{by} signs for none of the agreed sensors"))?;
    let missed = Some(seen.attestation.attestation.leg) == stake(case.body);
    let how = if missed { "not as agreed" } else { "as agreed" };
    if missed {
        rule.check_missed(observation)?
    } else {
        rule.check(observation)?
    }
    Ok(format!("{} of {} was {}, {how}", observation.property, observation.thing, observation.quantity.value))
}

/// decided_at ≤ observed_at ≤ T_E, as the escrow contract demands, and not before the device was told.
fn timely(case: &Case<'_>, seen: &Seen) -> Result<(), String> {
    let (_, terms) = escrow(case).ok_or("there is no escrow")?;
    let observed_at = seen.attestation.attestation.observed_at;
    if seen.observation.observed_at.as_seconds() != observed_at.as_seconds() {
        return Err("the attestation gives the observation another time".into());
    }
    if observed_at.as_seconds() < case.decided.evidence.at.as_seconds() {
        return Err("it was observed before the decision".into());
    }
    if observed_at > terms.evidence_deadline {
        return Err("it was observed after the evidence deadline".into());
    }
    // What was agreed was due at the price's last instant of evidence.
    if Some(seen.attestation.attestation.leg) == stake(case.body) {
        let due = escrows(case.body).next().map_or(observed_at, |(_, price)| price.evidence_deadline);
        return if observed_at < due { Err("it was observed before it was due".into()) } else { Ok(()) };
    }
    if let Some(actuation) = &case.body.actuation {
        if actuation.told_at + CLOCK_SKEW < case.decided.evidence.at {
            return Err("the device was told before the decision".into());
        }
        if seen.observation.observed_at < actuation.told_at {
            return Err("it was observed before the device was told".into());
        }
    }
    Ok(())
}

/// The escrow paid the right party, once, for this evidence or for want of it.
pub(super) fn settlement(case: &Case<'_>, report: &mut Report) {
    match case.story {
        Story::Settled | Story::Penalised => report.found("settlement", settled(case)),
        Story::Refunded => report.found("settlement", refunded(case)),
        Story::Overruled => report.found("settlement", all_back(case)),
        Story::Committed => case.missing(report, "settlement", false, "settlement"),
        Story::Aborted => match paid(case) {
            Some(why) => report.add("settlement", Outcome::Failed, why),
            None => report.add("settlement", Outcome::Absent, "nothing was to be settled"),
        },
    }
}

fn paid(case: &Case<'_>) -> Option<String> {
    let mut paid = case.facts.settled().chain(case.facts.refunded()).chain(case.facts.overruled());
    paid.next().map(|(leg, _)| format!("{leg} was paid out in spite of ABORT"))
}

/// Whether one escrow has paid more than once.
fn twice(case: &Case<'_>) -> bool {
    let ended = case.facts.settled().chain(case.facts.refunded()).chain(case.facts.overruled());
    let mut legs: Vec<_> = ended.map(|(leg, _)| leg).collect();
    let all = legs.len();
    legs.sort_unstable();
    legs.dedup();
    legs.len() < all
}

fn settled(case: &Case<'_>) -> Result<String, String> {
    if twice(case) {
        return Err("an escrow paid both ways".into());
    }
    let back = [refunded(case)?, overruled(case)?];
    let (id, terms) = escrow(case).ok_or("there is no escrow that was attested")?;
    let mut settled = case.facts.settled();
    let (leg, evidence) = settled.next().ok_or("no proof shows it")?;
    if leg != id || settled.next().is_some() {
        return Err(format!("{leg} was paid, the attestation is for {id}"));
    }
    after_apply(case, id, evidence)?;
    match terms.dispute {
        None if evidence.at.as_seconds() > terms.window_end().as_seconds() => {
            return Err("it came after the submission window".into());
        }
        Some(_) if evidence.at.as_seconds() <= disputable_until(case, id, terms, evidence)? => {
            return Err("it was paid before the dispute window was over".into());
        }
        _ => {}
    }
    let said = testimony(case).ok_or("no evidence to pay for")??.attestation;
    let event = case.facts.settlement(id).ok_or("the proof does not show for which observation")?;
    if (event.observation, event.observed_at) != (said.observation, said.observed_at) {
        return Err("the contract paid for another observation".into());
    }
    let paid = format!("{} paid to {} for this observation", terms.amount, terms.payee);
    Ok([paid].into_iter().chain(back).filter(|one| !one.is_empty()).collect::<Vec<_>>().join(", "))
}

fn refunded(case: &Case<'_>) -> Result<String, String> {
    let mut reasons = Vec::new();
    for (id, evidence) in case.facts.refunded() {
        let Some(Terms::Escrow(terms)) = case.body.manifest.leg(id).map(|leg| &leg.terms) else {
            return Err(format!("{id} is no escrow"));
        };
        after_apply(case, id, evidence)?;
        if evidence.at.as_seconds() <= terms.window_end().as_seconds() {
            return Err(format!("{id} was refunded before the submission window was over"));
        }
        if case.facts.of_leg(&case.body.manifest, id, Fact::Presented).is_some() {
            return Err(format!("{id} was refunded although its evidence was presented"));
        }
        reasons.push(format!("{} paid back to {} after the deadline", terms.amount, terms.payer));
    }
    Ok(reasons.join(", "))
}

/// The evidence of an escrow was overruled; what else there was came back by time.
fn all_back(case: &Case<'_>) -> Result<String, String> {
    if twice(case) {
        return Err("an escrow paid back twice".into());
    }
    let back = [overruled(case)?, refunded(case)?];
    Ok(back.into_iter().filter(|one| !one.is_empty()).collect::<Vec<_>>().join(", "))
}

/// The contract checked the arbiter's signature; that the ruling came in time, and after what it overrules, shows here.
fn overruled(case: &Case<'_>) -> Result<String, String> {
    let mut reasons = Vec::new();
    for (id, evidence) in case.facts.overruled() {
        let Some(Terms::Escrow(terms)) = case.body.manifest.leg(id).map(|leg| &leg.terms) else {
            return Err(format!("{id} is no escrow"));
        };
        let arbiter = terms.dispute.ok_or_else(|| format!("{id} has no arbiter"))?.arbiter;
        after_apply(case, id, evidence)?;
        if evidence.at.as_seconds() > disputable_until(case, id, terms, evidence)? {
            return Err(format!("{id} was overruled after the dispute window"));
        }
        let event = case.facts.ruling(id).ok_or("the proof does not show what was overruled")?;
        let said = testimony(case).and_then(Result::ok).map(|signed| signed.attestation);
        if said.is_some_and(|said| said.leg == id && said.observation != event.observation) {
            return Err(format!("the arbiter of {id} overruled another observation"));
        }
        let (amount, payer) = (terms.amount, terms.payer);
        reasons.push(format!("{amount} paid back to {payer}: arbiter {arbiter} overruled the evidence"));
    }
    Ok(reasons.join(", "))
}

/// The last second of a ruling on `id`, whose evidence was presented before `ended`.
fn disputable_until(
    case: &Case<'_>,
    id: LegId,
    terms: &EscrowTerms,
    ended: &Evidence,
) -> Result<u64, String> {
    let presented = case.facts.of_leg(&case.body.manifest, id, Fact::Presented);
    let presented = presented
        .filter(|presented| place(presented) < place(ended))
        .ok_or_else(|| format!("no proof shows that the evidence of {id} was presented before"))?;
    after_apply(case, id, presented)?;
    if presented.at.as_seconds() > terms.last_evidence().as_seconds() {
        return Err(format!("the evidence of {id} was presented too late to be disputed in time"));
    }
    let window = terms.dispute.ok_or_else(|| format!("{id} has no arbiter"))?.window;
    Ok((presented.at + window).as_seconds())
}

fn after_apply(case: &Case<'_>, id: LegId, paid: &Evidence) -> Result<(), String> {
    match case.facts.of_leg(&case.body.manifest, id, Fact::Applied) {
        Some(applied) if place(applied) < place(paid) => Ok(()),
        _ => Err(format!("{id} was paid out before it was applied")),
    }
}

/// The notes on record ledgers: of the attestation, and of the things' descriptions.
pub(super) fn notes(case: &Case<'_>, report: &mut Report) {
    let records = case.body.manifest.legs.iter().any(|leg| matches!(leg.terms, Terms::Record(_)));
    match testimony(case) {
        None => case.missing(
            report,
            "note",
            records && case.story == Story::Settled,
            "evidence that could be noted",
        ),
        Some(_) if case.story == Story::Penalised => {
            case.missing(report, "note", false, "note of a penalty: none is agreed");
        }
        Some(_) if !records => case.missing(report, "note", false, "record leg, so that no note is agreed"),
        Some(signed) => {
            case.judge(report, "note", signed.and_then(|signed| attestation_noted(case, &signed)));
        }
    }
    for thing in &case.body.things {
        report.found(format!("thing {}", thing.id), described(case, thing));
    }
    for id in undescribed(case) {
        report.add(format!("thing {id}"), Outcome::Absent, "its description is no part of the receipt");
    }
}

fn attestation_noted(case: &Case<'_>, signed: &SignedAttestation) -> Result<String, String> {
    let note = noted(case, topic::attestation(case.body.txid), topic::attested(signed));
    let note = note.ok_or("no proof shows that the attestation was noted")?;
    if !case.decided.precedes(note) {
        return Err("the attestation was noted before the decision".into());
    }
    match case.facts.settled().next() {
        Some((_, paid)) if note.at > paid.at + CLOCK_SKEW => {
            Err("the attestation was noted only after the payment".into())
        }
        _ => Ok(format!("the attestation stands on {}", note.ledger)),
    }
}

fn described(case: &Case<'_>, thing: &Thing) -> Result<String, String> {
    if let Some(text) = &thing.text
        && topic::description(text) != thing.description
    {
        return Err("the description is not the one of this digest".into());
    }
    let note = noted(case, topic::thing(&thing.id), thing.description);
    let note = note.ok_or("no proof shows that its description was noted")?;
    if note.at > case.decided.evidence.at + CLOCK_SKEW {
        return Err("its description was noted only after the decision".into());
    }
    Ok(format!("description {} stands on {}", thing.description, note.ledger))
}

fn noted<'a>(case: &Case<'a>, topic: Digest, commitment: Digest) -> Option<&'a Evidence> {
    case.facts.all().find(|one| one.fact == Fact::Noted(topic, commitment))
}

/// The agreed things without a description in the receipt.
fn undescribed(case: &Case<'_>) -> Vec<ThingId> {
    let Some(Ok(agreed)) = read(case) else {
        return Vec::new();
    };
    let described = |id: &ThingId| case.body.things.iter().any(|thing| thing.id == *id);
    agreed.things().filter(|id| !described(id)).cloned().collect()
}
