//! `sofie party`: whom the node acts for, where each is paid on every ledger, and what it lacks to pay.

use std::process::ExitCode;

use sofie_node::api::{Holder, Holding, Party};

use super::nouns::show;
use crate::cli::{Node, PartyVerb};
use crate::client::{Client, url_segment};
use crate::failure::Failure;
use crate::output;

const PARTIES: &str = "/api/v1/parties";

pub(crate) async fn run(verb: PartyVerb, node: &Node) -> Result<ExitCode, Failure> {
    let client = Client::of(node)?;
    match verb {
        PartyVerb::Ls => {
            let mut all = Vec::new();
            for party in client.get::<Vec<Party>>(PARTIES).await? {
                all.push(holder(&client, &party.name).await?);
            }
            show(node, &all, || print(&all));
        }
        PartyVerb::Show { party } => {
            let one = holder(&client, &party).await?;
            show(node, &one, || {
                output::line(&format!("party    {}", one.name));
                output::line(&format!("account  {}", one.account));
                print(std::slice::from_ref(&one));
                one.ledgers.iter().filter_map(missing).for_each(|line| output::line(&line));
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn holder(client: &Client, name: &str) -> Result<Holder, Failure> {
    client.get(&format!("{PARTIES}/{}", url_segment(name))).await
}

fn print(all: &[Holder]) {
    let rows = |one: &Holder| one.ledgers.iter().map(|held| row(one, held)).collect::<Vec<_>>();
    let rows: Vec<_> = all.iter().flat_map(rows).collect();
    output::table(&["PARTY", "LEDGER", "ADDRESS", "HOLDS", "FREE COINS", "CAN PAY"], &rows);
}

fn row(one: &Holder, held: &Holding) -> Vec<String> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let coins = held.coins.map(|coins| format!("{} of {}", coins.count, coins.worth));
    let pays = held.address.as_ref().map(|_| if held.missing.is_none() { "yes" } else { "no" }.to_owned());
    vec![
        one.name.clone(),
        held.ledger.to_string(),
        or_none(held.address.clone()),
        or_none(held.amount.map(|amount| amount.to_string())),
        or_none(coins),
        or_none(pays),
    ]
}

fn missing(held: &Holding) -> Option<String> {
    held.missing.as_ref().map(|why| format!("on {}: {}", held.ledger, output::plain(why)))
}
