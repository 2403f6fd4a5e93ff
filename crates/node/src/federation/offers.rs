//! Offers between companies' nodes, and the contracts that are made of them.

use sofie_market::{ContractTerms, Offer, Part, Witness};
use sofie_model::manifest::Participant;
use sofie_model::{Account, Digest, Txid};
use sofie_transaction::Plan;

use super::submit::{not_won, once};
use super::{internal, no_such, view};
use crate::api::{
    self, AgreeToOffer, Amount, ApiError, At, Contract, Dispute, ErrorKind, EvidenceRule, Federation,
    Penalty, Sensor,
};
use crate::auditor::Note;
use crate::clock;
use crate::config::Peer;
use crate::contracts::{Refused, next_second, random};
use crate::drafts::{self, Submitted};
use crate::offers::{MAX_OFFERS, Published};
use crate::parties::preimage;
use crate::peers::Word;
use crate::runtime::Runtime;

/// This node's own, then those of the peers.
pub(super) async fn list(node: &Runtime) -> api::Offers {
    let own = node.peers().offers().open_at(clock::now());
    let mut all =
        api::Offers { offers: own.iter().map(|one| shown_own(node, one)).collect(), silent: Vec::new() };
    let asked = node.peers().all().iter().map(async |peer| (peer, node.peers().browse(peer).await));
    for (peer, answer) in futures::future::join_all(asked).await {
        match answer {
            Ok(offers) => all.offers.extend(offers.iter().map(|offer| shown(node, offer, Some(peer)))),
            Err(error) => all.silent.push(error.to_string()),
        }
    }
    all
}

/// Offers it to peers.
pub(super) async fn publish(node: &Runtime, asked: api::PublishOffer) -> Result<api::Offer, ApiError> {
    let mut to = Vec::new();
    for name in &asked.to {
        let peer = node.peers().all().iter().find(|peer| peer.name.as_str() == name);
        let known =
            || node.peers().all().iter().map(|peer| peer.name.to_string()).collect::<Vec<_>>().join(", ");
        let peer = peer.ok_or_else(|| Refused::Unknown {
            field: "to".into(),
            what: "peer",
            name: name.clone(),
            known: known(),
        })?;
        to.push(peer.name.to_string());
    }
    let now = clock::now();
    let offer = node.contracts().offer_of(&asked, now)?;
    let published = Published { offer, to, ask: asked.ask };
    let id = published.offer.id();
    let entries = node.peers().offers().publish(published.clone(), now).ok_or_else(|| {
        let detail = format!("{MAX_OFFERS} offers of this node stand");
        ApiError::new(ErrorKind::TooMany, "too many offers", detail)
            .next("withdraw one that is no longer meant")
    })?;
    let note = Note::about(id, "published", true, format!("{} on {}", asked.action, asked.thing));
    node.auditor().keep(entries, vec![note], now).await?;
    Ok(shown_own(node, &published))
}

/// Takes it back.
pub(super) async fn withdraw(node: &Runtime, id: Digest) -> Result<(), ApiError> {
    let Some(entry) = node.peers().offers().withdraw(id) else {
        let detail = format!("this node offers nothing of the id {id}");
        return Err(ApiError::new(ErrorKind::NotFound, "no such offer", detail)
            .next("list them with GET /api/v1/offers"));
    };
    let note = Note::about(id, "withdrawn", true, "by its owner");
    Ok(node.auditor().keep(vec![entry], vec![note], clock::now()).await?)
}

/// Proposes a contract to the node that offers it.
pub(super) async fn agree(node: &Runtime, id: Digest, asked: AgreeToOffer) -> Result<Contract, ApiError> {
    drafts::check_key(asked.idempotency_key.as_deref())?;
    let request = Digest::of("sofie.agree-request.v1", &[id.as_bytes(), asked.payer.as_bytes()]);
    let begin = begin(node, id, &asked, request);
    let txid = once(node, asked.idempotency_key.as_deref(), request, begin).await?;
    Federation::contract(node, txid).await
}

async fn begin(node: &Runtime, id: Digest, asked: &AgreeToOffer, request: Digest) -> Result<Txid, ApiError> {
    let payer = node.contracts().party(&asked.payer, "payer")?;
    let (peer, offer) = node.peers().find_offer(id).await.map_err(|silent| no_offer(id, &silent))?;
    trusted(node, &peer, &offer, payer.account())?;
    let now = clock::now();
    let deadline = next_second(now) + offer.decision_within;
    let agreement = offer.agreement(payer.account(), now, deadline);
    let salt = random().map(sofie_model::Salt::new).map_err(|error| internal(&error))?;
    let nonce = agreement.commitment(&salt);
    let (owner, _) = node.peers().enquire(offer.owner, nonce).await.map_err(|error| not_won(&error))?;
    let hashlock = Digest::sha256(preimage(payer, nonce).as_bytes());
    let participants = [Participant { account: payer.account(), hashlock }, owner];
    let contracts = node.contracts();
    let manifest = contracts.manifest_of(&offer, participants, (deadline, nonce))?;
    manifest.check(now).map_err(|fault| unfit(&peer, &fault.to_string()))?;
    let decision_time = contracts.decision_time(&offer.ledger)?;
    if now + decision_time > deadline {
        return Err(unfit(
            &peer,
            &format!("{} may need {decision_time} to decide: it would always abort", offer.ledger),
        ));
    }
    let terms = ContractTerms { offer: id, agreement, salt };
    let contract = contracts.plan_of(terms, manifest.clone(), Part::Payer);
    let txid = manifest.txid();
    let submitted = Submitted { asked: request, txid };
    let entries = asked.idempotency_key.clone().map(|key| submitted.entry(key)).into_iter().collect();
    let plan = Plan { manifest, acts_for: vec![0], decision_time, pivot: None };
    let proposed = node.peers().propose_with(plan, (Vec::new(), Some(contract)), entries, Vec::new());
    proposed.await.map_err(|error| not_won(&error))??;
    Ok(txid)
}

/// Whoever signs the evidence could have the money paid for nothing: it must be somebody whom this node's owner knows, and
/// the payee must be the peer's own.
fn trusted(node: &Runtime, peer: &Peer, offer: &Offer, payer: Account) -> Result<(), ApiError> {
    let refused = |why: String, next: String| {
        Err(ApiError::new(ErrorKind::Refused, "the offer is not taken up", why).next(next))
    };
    if !peer.has(offer.owner) {
        let why =
            format!("peer {} offers what is paid to {}, which is no party of it", peer.name, offer.owner);
        return refused(why, format!("add it to [peer.parties] of {} if its operator says so", peer.name));
    }
    if let Err(bad) = offer.check_witnesses(payer) {
        return refused(format!("of its sensors: {bad}"), format!("tell the operator of peer {}", peer.name));
    }
    let known = |key| node.parties().with_account(key).is_some() || node.peers().with_account(key).is_some();
    if let Some(key) = offer.keys().into_iter().find(|key| !known(*key)) {
        let why = format!("its evidence is signed by {key}, whom nobody here has a name for");
        return refused(why, "ask whose key that is; a party of a peer stands under [peer.parties]".into());
    }
    Ok(())
}

/// Cancels what has not begun.
pub(super) async fn cancel(node: &Runtime, id: Txid, reason: String) -> Result<Contract, ApiError> {
    if let Some(driven) = node.contracts().state(id)? {
        let detail = format!("contract {id} has begun: {}", view::next(&driven));
        return Err(ApiError::new(ErrorKind::Conflict, "it is too late to cancel", detail)
            .next("see `sofie contract show`"));
    }
    let contract = node.peers().proposal(id).filter(|pending| pending.contract.is_some());
    let pending = contract.ok_or_else(|| no_such("contract", id))?;
    let word = if pending.peer.is_none() { Word::Withdraw(reason) } else { Word::Decline(reason) };
    super::peers::decide(node.peers(), id, word).await?;
    Federation::contract(node, id).await
}

fn no_offer(id: Digest, silent: &[String]) -> ApiError {
    match silent {
        [] => {
            ApiError::new(ErrorKind::NotFound, "no such offer", format!("no peer offers {id} to this node"))
                .next("list them with `sofie offer ls`")
        }
        _ => ApiError::new(ErrorKind::Unavailable, "no such offer", silent.join("; "))
            .next("ask again when that peer answers"),
    }
}

fn unfit(peer: &Peer, why: &str) -> ApiError {
    ApiError::new(ErrorKind::Refused, "no contract can be made of the offer", why)
        .next(format!("tell the operator of peer {}", peer.name))
}

fn shown_own(node: &Runtime, published: &Published) -> api::Offer {
    api::Offer { to: published.to.clone(), ask: published.ask, ..shown(node, &published.offer, None) }
}

fn shown(node: &Runtime, offer: &Offer, peer: Option<&Peer>) -> api::Offer {
    api::Offer {
        id: offer.id(),
        peer: peer.map(|peer| peer.name.to_string()),
        thing: offer.thing.clone(),
        action: offer.action.clone(),
        input: serde_json::from_str(&offer.input).ok(),
        owner: node.called(offer.owner),
        price: Amount(offer.price),
        ledger: offer.ledger.clone(),
        evidence: rule(node, offer),
        evidence_by: signers(node, offer),
        decision_within_s: offer.decision_within.as_seconds(),
        evidence_within_s: offer.evidence_within.as_seconds(),
        submission_window_s: offer.submission_window.as_seconds(),
        penalty: offer
            .penalty
            .map(|stake| Penalty { amount: Amount(stake.amount), within_s: stake.within.as_seconds() }),
        dispute: offer.dispute.map(|agreed| Dispute {
            arbiter: node.called(agreed.arbiter),
            window_s: agreed.window.as_seconds(),
        }),
        until: At(offer.until),
        to: Vec::new(),
        ask: false,
    }
}

fn rule(node: &Runtime, offer: &Offer) -> EvidenceRule {
    let (first, several) = (&offer.evidence, offer.witnesses.as_ref());
    let sensor = |one: &Witness| Sensor {
        thing: one.rule.thing.clone(),
        property: one.rule.property.clone(),
        equals: one.rule.equals.clone(),
        by: Some(node.called(one.key)),
    };
    EvidenceRule {
        thing: first.thing.clone(),
        property: first.property.clone(),
        equals: first.equals.clone(),
        by: several.map(|all| node.called(all.key)),
        threshold: several.map(|all| all.threshold),
        others: several.iter().flat_map(|all| &all.others).map(sensor).collect(),
    }
}

/// Whose word counts, as people say it.
fn signers(node: &Runtime, offer: &Offer) -> String {
    let names: Vec<_> = offer.keys().into_iter().map(|key| node.called(key)).collect();
    match &offer.witnesses {
        Some(all) => format!("{} of {}", all.threshold, names.join(", ")),
        None => names.concat(),
    }
}
