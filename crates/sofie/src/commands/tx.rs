//! `sofie tx`: inter-ledger transactions, as a node tells them, or as a journal holds them whose node is down.

use std::process::ExitCode;

use serde_json::json;
use sofie_model::Txid;
use sofie_node::api::{At, Transaction};
use sofie_node::journal::JournalError;
use sofie_node::offline;

use super::nouns::{show, step_line};
use super::up;
use crate::cli::{Id, Node, Offline, TxVerb};
use crate::client::{Client, one_of};
use crate::failure::Failure;
use crate::output;

const TRANSACTIONS: &str = "/api/v1/transactions";

pub(crate) async fn run(verb: TxVerb, node: &Node) -> Result<ExitCode, Failure> {
    match verb {
        TxVerb::Ls { offline } => {
            let all = match journal(&offline)? {
                Some(journal) => journal.transactions().map_err(unread)?,
                None => Client::of(node)?.get(TRANSACTIONS).await?,
            };
            show(node, &all, || list(&all));
        }
        TxVerb::Show { id, offline } => {
            let one = match journal(&offline)? {
                Some(journal) => held(&journal, &id)?,
                None => {
                    let client = Client::of(node)?;
                    let id = client.whole("transaction", TRANSACTIONS, &id).await?;
                    client.get(&format!("{TRANSACTIONS}/{id}")).await?
                }
            };
            show(node, &one, || print(&one));
        }
        TxVerb::Resume { id } => {
            let client = Client::of(node)?;
            let id = client.whole("transaction", TRANSACTIONS, &id).await?;
            let one: Transaction = client.post(&format!("{TRANSACTIONS}/{id}/resume"), &json!({})).await?;
            show(node, &one, || print(&one));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn journal(asked: &Offline) -> Result<Option<offline::Offline>, Failure> {
    let folder = match (&asked.data_dir, &asked.config) {
        (Some(folder), _) => folder.clone(),
        (None, Some(file)) => up::load(file)?.node.data_dir,
        (None, None) => return Ok(None),
    };
    offline::Offline::open(&folder).map(Some).map_err(unread)
}

fn held(journal: &offline::Offline, id: &Id) -> Result<Transaction, Failure> {
    let id: Txid = match id.whole() {
        Some(whole) => whole.parse().map_err(|e| Failure::usage("read the id", e, ""))?,
        None => {
            let all = journal.transactions().map_err(unread)?;
            one_of("transaction", id, all.into_iter().map(|one| one.id))?
        }
    };
    journal.transaction(id).map_err(unread)?.ok_or_else(|| {
        let why = format!("the journal holds no transaction {id}");
        Failure::refused("show it", why, "list them with the same flags and `sofie tx ls`")
    })
}

fn unread(error: JournalError) -> Failure {
    Failure::lacking("read it", error, "")
}

fn list(all: &[Transaction]) {
    let row = |one: &Transaction| {
        let decision = decision(one).unwrap_or("-");
        let deadline = one.deadline.to_string();
        vec![output::short_id(&one.id), one.phase.clone(), decision.into(), one.label.clone(), deadline]
    };
    let head = ["ID", "PHASE", "DECISION", "LABEL", "DEADLINE"];
    output::table(&head, &all.iter().map(row).collect::<Vec<_>>());
}

fn print(one: &Transaction) {
    output::line(&format!("transaction  {}", one.id));
    output::line(&format!("phase        {}", one.phase));
    output::line(&format!("decision     {}", decision(one).unwrap_or("none yet")));
    output::line(&format!("label        {}", one.label));
    output::line(&format!("deadline     {}", deadline(one)));
    for leg in &one.legs {
        output::line(&format!("leg {:<8} {} ({}): {}", leg.leg.0, leg.ledger, leg.class, leg.state));
    }
    one.steps.iter().for_each(|step| output::line(&step_line(step)));
}

fn decision(one: &Transaction) -> Option<&'static str> {
    use sofie_node::api::Verdict;
    one.decision.map(|verdict| match verdict {
        Verdict::Commit => "commit",
        Verdict::Abort => "abort",
    })
}

/// T_D, and while nothing is decided how much time is left until it.
fn deadline(one: &Transaction) -> String {
    let now = sofie_node::clock::now();
    let At(deadline) = one.deadline;
    if one.decision.is_some() {
        one.deadline.to_string()
    } else if deadline > now {
        format!("{} ({} left)", one.deadline, deadline.since(now))
    } else {
        format!("{} (passed {} ago: it aborts)", one.deadline, now.since(deadline))
    }
}
