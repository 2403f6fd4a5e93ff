//! Makes the receipt of an ended contract, or of a transaction alone: everything is taken from the journal and proven by
//! the ledgers anew.

use std::collections::BTreeMap;

use sofie_audit::receipt::{self, Actuation, Capability, LedgerProof, Party, Sealed, Seen, Thing};
use sofie_audit::{Body, Extract, topic};
use sofie_ledgers::Status;
use sofie_market::{BondPhase, Input, Part};
use sofie_model::{
    Digest, Evidence, Fact, LedgerId, Manifest, Operation, Terms, ThingId, Timestamp, Txid, canonical,
};
use sofie_transaction::State;

use crate::auditor;
use crate::contracts::{Contracts, Driven, Plan};
use crate::drive::{self, Machine};
use crate::executor::Executor;
use crate::gate::VERDICTS;
use crate::journal::{Entry, JournalError, Reader};
use crate::platforms::Platforms;
use crate::runtime::Runtime;

/// Facts of this group hold the receipts, by transaction.
pub(crate) const KEPT: &str = "receipt";
/// Facts of this group hold the descriptions of an unfinished contract's things, as they were when it was opened: what
/// was agreed on must not change, or be forgotten, before its receipt is made.
const DESCRIBED: &str = "described";

/// The receipt's bytes.
///
/// # Errors
/// In words: which ledger or part cannot be had now.
pub(crate) async fn make(node: &Contracts, driven: &Driven) -> Result<Vec<u8>, String> {
    let reader = node.executor().journal().reader().map_err(|e| e.to_string())?;
    let inputs: Vec<(Input, Timestamp)> = inputs(&reader, driven).map_err(|e| e.to_string())?;
    let mut facts = transaction_facts(&reader, driven.id()).map_err(|e| e.to_string())?;
    facts.extend(inputs.iter().filter_map(|(input, _)| match input {
        Input::Noted(evidence) | Input::Settled(evidence) | Input::Refunded(evidence) => {
            Some(evidence.clone())
        }
        Input::Presented(evidence) | Input::Overruled(evidence) => Some(evidence.clone()),
        _ => None,
    }));
    let agreement = driven.contract.agreement();
    let mut things = Vec::new();
    for id in agreement.things() {
        let shared = driven.contract.part() != Part::Both;
        let thing = match thing(&reader, driven, id) {
            // Another node knows it: the other side's, or that of a sensor's owner.
            Err(_) if shared || *id != agreement.thing => continue,
            thing => thing?,
        };
        let anchored = match &driven.plan.record_ledger {
            Some(ledger) => anchored(node, ledger, &thing).await,
            None => None,
        };
        // What no ledger of the contract anchors is no part of a receipt that two nodes can make.
        if shared && anchored.is_none() {
            continue;
        }
        facts.extend(anchored);
        things.push(thing);
    }
    let operator = node.operator().to_string();
    let keys = node.parties().named(&operator).ok_or("the operator's keys are not on this node")?;
    let of_bond = driven.contract.bond().filter(|bond| *bond.phase() == BondPhase::Paid);
    let seen: Vec<_> =
        of_bond.map_or_else(|| driven.contract.seen().collect(), |_| driven.contract.missed().collect());
    let mut seen = seen.into_iter().map(|seen: sofie_market::Seen| Seen {
        observation: seen.observation,
        salt: seen.salt,
        attestation: seen.attestation,
    });
    let (evidence, others) = (seen.next(), seen.collect::<Vec<_>>());
    let body = Body {
        version: receipt::VERSION,
        txid: driven.contract.txid(),
        manifest: driven.plan.manifest.clone(),
        parties: parties(node, driven, &operator),
        operator,
        proofs: proofs(node.executor(), &driven.plan.manifest, facts).await?,
        things,
        agreement: Some(Sealed { payload: canonical::encode(agreement), salt: driven.plan.salt }),
        capability: capability(&reader, driven, &inputs).map_err(|e| e.to_string())?,
        actuation: actuation(driven, &inputs),
        evidence,
        audit: extract(&reader, driven.id()).map_err(|e| e.to_string())?,
        others: (!others.is_empty()).then_some(others),
    };
    Ok(body.sign(keys.secp256k1()).to_bytes())
}

/// The receipt's bytes of a transaction that is no contract's, and has ended.
///
/// # Errors
/// In words: which ledger or part cannot be had now.
pub(crate) async fn of_transaction(node: &Runtime, state: &State) -> Result<Vec<u8>, String> {
    let reader = node.journal().reader().map_err(|e| e.to_string())?;
    let operator = node.config().node.operator.to_string();
    let keys = node.parties().named(&operator).ok_or("the operator's keys are not on this node")?;
    let participants = state.manifest().participants.iter().map(|one| one.account);
    let attest = state.manifest().legs.iter().filter_map(|leg| match &leg.terms {
        Terms::Escrow(terms) => Some(terms.evidence_key),
        Terms::Hashlock(_) | Terms::Record(_) | Terms::Transfer(_) => None,
    });
    let mut parties: Vec<Party> = Vec::new();
    for account in participants.chain(attest).chain([keys.account()]) {
        if parties.iter().all(|party| party.account != account) {
            parties.push(Party { name: node.parties().name_of(account), account });
        }
    }
    let facts = transaction_facts(&reader, state.id()).map_err(|e| e.to_string())?;
    let body = Body {
        version: receipt::VERSION,
        txid: state.txid(),
        manifest: Manifest::clone(state.manifest()),
        parties,
        operator,
        proofs: proofs(node.executor(), state.manifest(), facts).await?,
        things: Vec::new(),
        agreement: None,
        capability: None,
        actuation: None,
        evidence: None,
        audit: extract(&reader, state.id()).map_err(|e| e.to_string())?,
        others: None,
    };
    Ok(body.sign(keys.secp256k1()).to_bytes())
}

fn inputs(reader: &Reader, driven: &Driven) -> Result<Vec<(Input, Timestamp)>, JournalError> {
    let record = reader.machine(Driven::KIND, driven.id())?;
    record.as_ref().map_or_else(|| Ok(Vec::new()), drive::inputs)
}

/// What the ledgers hold of the transaction itself.
fn transaction_facts(reader: &Reader, id: Digest) -> Result<Vec<Evidence>, JournalError> {
    let record = reader.machine(<sofie_transaction::State as Machine>::KIND, id)?;
    let mut facts = Vec::new();
    for (input, _) in record.as_ref().map_or_else(|| Ok(Vec::new()), drive::inputs)? {
        match input {
            sofie_transaction::Input::Prepared(_, evidence)
            | sofie_transaction::Input::Decided(evidence)
            | sofie_transaction::Input::Closed(_, evidence) => facts.push(evidence),
            // A reorganisation took it back; it was prepared again, elsewhere.
            sofie_transaction::Input::Undone(leg, _) => facts
                .retain(|evidence| !matches!(&evidence.fact, Fact::Prepared(_, undone) if *undone == leg)),
            _ => {}
        }
    }
    Ok(facts)
}

/// What the journal keeps, from a contract's beginning to its receipt, of the things that it names.
pub(crate) fn described(platforms: &Platforms, plan: &Plan) -> Vec<Entry> {
    let (agreement, id) = (&plan.agreement, plan.manifest.txid());
    let entry = |thing: &ThingId| {
        let text = platforms.directory(|directory| {
            Some(sofie_directory::canonical::text(directory.get(thing)?.thing.document()))
        });
        text.map(|text| Entry::Fact { group: DESCRIBED, key: key(id, thing), value: text.into_bytes() })
    };
    agreement.things().into_iter().filter_map(entry).collect()
}

/// The receipt itself, which makes the descriptions superfluous.
pub(crate) fn kept(driven: &Driven, receipt: Vec<u8>) -> Vec<Entry> {
    let (agreement, id) = (driven.contract.agreement(), driven.contract.txid());
    let forget = |thing| Entry::Fact { group: DESCRIBED, key: key(id, thing), value: Vec::new() };
    let things = agreement.things().into_iter().map(forget);
    let receipt = Entry::Fact { group: KEPT, key: id.to_string(), value: receipt };
    [receipt].into_iter().chain(things).collect()
}

fn key(id: Txid, thing: &ThingId) -> String {
    format!("{id} {thing}")
}

fn thing(reader: &Reader, driven: &Driven, id: &ThingId) -> Result<Thing, String> {
    let kept = reader.fact(DESCRIBED, &key(driven.contract.txid(), id)).map_err(|e| e.to_string())?;
    let kept = kept.ok_or_else(|| format!("{id} was not described when the contract was opened"))?;
    let text = String::from_utf8(kept).map_err(|e| format!("the description of {id}: {e}"))?;
    let document = serde_json::from_str(&text).map_err(|e| format!("the description of {id}: {e}"))?;
    let description = sofie_directory::canonical::hash(&document);
    // A receipt carries no longer one; its hash tells which it was.
    let text = (text.len() <= receipt::MAX_DESCRIPTION).then_some(text);
    Ok(Thing { id: id.clone(), description, text })
}

/// The note that anchors a description; none when the ledger does not hold it, for a reader to see.
async fn anchored(node: &Contracts, ledger: &LedgerId, thing: &Thing) -> Option<Evidence> {
    let operation = Operation::Note { topic: topic::thing(&thing.id), commitment: thing.description };
    match node.executor().ledgers().get(ledger)?.status(&operation, None).await {
        Ok(Status::Final(evidence)) => Some(evidence),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(%error, thing = %thing.id, "the receipt is made without the note of its description");
            None
        }
    }
}

async fn proofs(
    executor: &Executor,
    manifest: &Manifest,
    facts: Vec<Evidence>,
) -> Result<Vec<LedgerProof>, String> {
    let mut by_ledger: BTreeMap<LedgerId, Vec<Evidence>> = BTreeMap::new();
    for fact in facts {
        let of_ledger = by_ledger.entry(fact.ledger.clone()).or_default();
        if !of_ledger.contains(&fact) {
            of_ledger.push(fact);
        }
    }
    let mut proofs = Vec::new();
    for (id, mut facts) in by_ledger {
        facts.sort_by_key(|fact| (fact.position.height, fact.position.index));
        let ledger = executor.ledgers().get(&id).ok_or_else(|| format!("this node has no ledger {id}"))?;
        let proof = ledger.prove(manifest, &facts).await.map_err(|error| error.to_string())?;
        proofs.push(LedgerProof { ledger: id, proof });
    }
    Ok(proofs)
}

fn parties(node: &Contracts, driven: &Driven, operator: &str) -> Vec<Party> {
    let agreement = driven.contract.agreement();
    let mut parties: Vec<Party> = Vec::new();
    let operator = node.parties().named(operator).map(crate::keys::PartyKeys::account);
    let attest = driven.contract.keys();
    for account in [agreement.renter, agreement.owner].into_iter().chain(attest).chain(operator) {
        if parties.iter().all(|party| party.account != account) {
            parties.push(Party { name: node.parties().name_of(account), account });
        }
    }
    parties
}

fn capability(
    reader: &Reader,
    driven: &Driven,
    inputs: &[(Input, Timestamp)],
) -> Result<Option<Capability>, JournalError> {
    let token = inputs.iter().find_map(|(input, _)| match input {
        Input::Issued(token) => Some(token.clone()),
        _ => None,
    });
    let name = driven.contract.txid().to_string();
    let verdict = reader.fact(VERDICTS, &name)?;
    Ok(token.zip(verdict).map(|(token, verdict)| Capability { token, verdict }))
}

fn actuation(driven: &Driven, inputs: &[(Input, Timestamp)]) -> Option<Actuation> {
    if driven.contract.part() == Part::Payer {
        let report = driven.contract.report();
        let answer = report.outcome.unwrap_or_default().into_bytes();
        return Some(Actuation { told_at: report.told_at?, answered_at: None, answer });
    }
    let told_at = inputs.iter().find(|(input, _)| *input == Input::Acting).map(|(_, at)| *at)?;
    let answer = inputs.iter().find_map(|(input, at)| match input {
        Input::Acted(answer) => Some((*at, answer.clone().into_bytes())),
        _ => None,
    });
    let (answered_at, answer) = answer.map_or((None, Vec::new()), |(at, answer)| (Some(at), answer));
    Some(Actuation { told_at, answered_at, answer })
}

fn extract(reader: &Reader, id: Digest) -> Result<Extract, JournalError> {
    let decode = |bytes: &Vec<u8>| auditor::decode(reader.path(), bytes);
    let records: Result<Vec<_>, _> = reader.audit()?.iter().map(decode).collect();
    Ok(Extract::of(&records?, id))
}
