//! `sofie offer` and `sofie agree`: what is for sale between companies' nodes.

use std::process::ExitCode;

use sofie_node::api::{AgreeToOffer, Contract, Offer, Offers};

use super::draft;
use super::nouns::{print_contract, show};
use crate::cli::{Id, Node, OfferVerb};
use crate::client::{Client, one_of_digests};
use crate::failure::Failure;
use crate::output;

const OFFERS: &str = "/api/v1/offers";

pub(crate) async fn run(verb: OfferVerb, node: &Node) -> Result<ExitCode, Failure> {
    let client = Client::of(node)?;
    match verb {
        OfferVerb::Publish { file } => {
            let asked = draft::read(&file, None, draft::OFFER)?;
            let one: Offer = client.post(OFFERS, &asked).await?;
            show(node, &one, || print(&one));
        }
        OfferVerb::Ls => {
            let all: Offers = client.get(OFFERS).await?;
            show(node, &all, || list(&all));
        }
        OfferVerb::Withdraw { id } => {
            let id = whole(&client, &id).await?;
            client.delete(&format!("{OFFERS}/{id}")).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn agree(
    offer: &Id,
    payer: String,
    key: Option<String>,
    node: &Node,
) -> Result<ExitCode, Failure> {
    let client = Client::of(node)?;
    let id = whole(&client, offer).await?;
    let asked = AgreeToOffer { payer, idempotency_key: key };
    let one: Contract = client.post(&format!("{OFFERS}/{id}/agree"), &asked).await?;
    show(node, &one, || print_contract(&one));
    Ok(ExitCode::SUCCESS)
}

async fn whole(client: &Client, id: &Id) -> Result<String, Failure> {
    if let Some(whole) = id.whole() {
        return Ok(whole.to_owned());
    }
    let all: Offers = client.get(OFFERS).await?;
    one_of_digests("offer", id, all.offers.into_iter().map(|one| one.id)).map(|id| id.to_string())
}

fn list(all: &Offers) {
    let row = |one: &Offer| {
        vec![
            one.id.to_string().chars().take(12).collect(),
            one.peer.clone().unwrap_or_else(|| "(own)".into()),
            one.owner.clone(),
            one.action.clone(),
            one.price.to_string(),
            one.ledger.to_string(),
            one.until.to_string(),
        ]
    };
    let head = ["ID", "PEER", "OWNER", "ACTION", "PRICE", "LEDGER", "UNTIL"];
    output::table(&head, &all.offers.iter().map(row).collect::<Vec<_>>());
    all.silent.iter().for_each(|why| output::line(&format!("no answer: {why}")));
}

fn print(one: &Offer) {
    let rule = &one.evidence;
    for (name, value) in [
        ("offer", one.id.to_string()),
        ("for", output::shorten(&format!("{} on {}", one.action, one.thing))),
        ("pays", format!("{} on {} to {}", one.price, one.ledger, one.owner)),
        ("evidence", output::shorten(&format!("{} = {} of {}", rule.property, rule.equals, rule.thing))),
        ("signed by", one.evidence_by.clone()),
        ("decided in", format!("{} s", one.decision_within_s)),
        ("then seen in", format!("{} s", one.evidence_within_s)),
        ("and brought", format!("{} s later at most", one.submission_window_s)),
        ("until", one.until.to_string()),
        ("asks", if one.ask { "a person decides about each contract".into() } else { "no".into() }),
    ] {
        output::line(&format!("{name:<12} {value}"));
    }
    if let Some(penalty) = one.penalty {
        let within =
            format!("{} if it is still not so, as seen in {} s more", penalty.amount, penalty.within_s);
        output::line(&format!("{:<12} {within}", "penalty"));
    }
    if let Some(dispute) = &one.dispute {
        let told = format!("{} may overrule the evidence for {} s", dispute.arbiter, dispute.window_s);
        output::line(&format!("{:<12} {told}", "arbiter"));
    }
    for other in &rule.others {
        let seen = format!("{} = {} of {}", other.property, other.equals, other.thing);
        output::line(&format!("{:<12} {}", "or evidence", output::shorten(&seen)));
    }
}
