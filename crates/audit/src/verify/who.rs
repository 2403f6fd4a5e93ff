//! Who signed, and who is who.

use sofie_model::{Account, Terms, attestation, canonical};

use crate::{Agreement, Anchors, Body, Outcome, Receipt, Report, agreement::MAX_AGREEMENT, anchors::Pin};

/// Every signature holds, each is of a party, and the operator's is among them.
pub(super) fn signatures(receipt: &Receipt, report: &mut Report) {
    report.found("signatures", signers(receipt));
}

fn signers(receipt: &Receipt) -> Result<String, String> {
    let body = &receipt.body;
    let digest = body.digest();
    let mut names: Vec<&str> = Vec::new();
    for one in &receipt.signatures {
        let by = attestation::recover(digest, &one.signature)
            .map_err(|error| format!("that of {}: {error}", one.by))?;
        if by != one.by {
            return Err(format!(
                "that of {} does not hold: the receipt or the signature was changed",
                one.by
            ));
        }
        let party = body.parties.iter().find(|party| party.account == by);
        let party = party.ok_or_else(|| format!("{by} is no party of this receipt"))?;
        if names.contains(&party.name.as_str()) {
            return Err(format!("{} signed twice", party.name));
        }
        names.push(&party.name);
    }
    if names.contains(&body.operator.as_str()) {
        Ok(format!("by {}", names.join(", ")))
    } else {
        Err(format!("the operator {} did not sign", body.operator))
    }
}

/// Names and accounts are one to one, all that the manifest names have a name, and the reader knows them.
pub(super) fn parties(body: &Body, anchors: &Anchors, report: &mut Report) {
    if let Err(why) = named(body) {
        return report.add("parties", Outcome::Failed, why);
    }
    let mut missing = Vec::new();
    for party in &body.parties {
        match anchors.account(&party.name, party.account) {
            Pin::Holds(_) => {}
            Pin::Differs(why) => return report.add("parties", Outcome::Failed, why),
            Pin::Missing(why) => missing.push(why),
        }
    }
    if missing.is_empty() {
        report.add("parties", Outcome::Passed, format!("{}, all pinned", body.parties.len()));
    } else {
        report.add("parties", Outcome::Unanchored, missing.join(", "));
    }
}

fn named(body: &Body) -> Result<(), String> {
    for (index, party) in body.parties.iter().enumerate() {
        let others = &body.parties[..index];
        if others.iter().any(|other| other.name == party.name || other.account == party.account) {
            return Err(format!("{} or its account stands twice", party.name));
        }
    }
    let mut needed: Vec<_> = body.manifest.participants.iter().map(|one| one.account).collect();
    for leg in &body.manifest.legs {
        match &leg.terms {
            Terms::Escrow(terms) => {
                needed.extend([terms.payer, terms.payee]);
                needed.extend(witnesses(body, terms.evidence_key));
            }
            Terms::Hashlock(terms) => needed.extend([terms.payer, terms.claimant]),
            Terms::Transfer(terms) => needed.extend([terms.payer, terms.payee]),
            Terms::Record(_) => {}
        }
    }
    match needed.into_iter().find(|account| body.parties.iter().all(|party| party.account != *account)) {
        Some(unnamed) => Err(format!("{unnamed} acts in the manifest and has no name")),
        None => Ok(()),
    }
}

/// Who signs for an escrow that believes `named`: the keys of the panel that has this account, if the agreement shows one.
/// The account itself binds the keys, whatever else the agreement is worth.
fn witnesses(body: &Body, named: Account) -> Vec<Account> {
    let payload = body.agreement.as_ref().map(|sealed| &sealed.payload);
    let agreed = payload.and_then(|bytes| canonical::decode::<Agreement>(bytes, MAX_AGREEMENT).ok());
    let panel = agreed.and_then(|agreed| agreed.witnesses?.panel().ok());
    panel.filter(|panel| panel.account() == named).map_or_else(|| vec![named], |panel| panel.keys().to_vec())
}
