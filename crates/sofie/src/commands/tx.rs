//! `sofie tx`: begins inter-ledger transactions, agrees to another node's or declines; shows them as a node tells them, or
//! as a journal holds them whose node is down.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use sofie_model::{Span, Txid};
use sofie_node::api::{At, Decline, LegStatus, Payment, Transaction, Verdict, Watcher};
use sofie_node::journal::JournalError;
use sofie_node::offline;

use super::draft;
use super::nouns::{self, show, step_line};
use super::up;
use crate::cli::{Id, Node, Offline, TxVerb};
use crate::client::{Client, one_of};
use crate::failure::Failure;
use crate::{input, output};

const TRANSACTIONS: &str = "/api/v1/transactions";
/// The media type of a manifest.
const MANIFEST: &str = "application/vnd.sofie.manifest";
/// The longest manifest that is sent, in bytes: no node reads a longer one.
const MAX_MANIFEST: usize = 64 * 1024;
/// How often a transaction that is waited for is asked for.
const POLL: Duration = Duration::from_millis(200);

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
        TxVerb::Submit { file, key, wait } => {
            let draft = draft::read(&file, key, draft::TRANSACTION)?;
            let client = Client::of(node)?;
            let mut one: Transaction = client.post(TRANSACTIONS, &draft).await?;
            if wait {
                one = ended(&client, one).await?;
            }
            show(node, &one, || print(&one));
            if wait && (one.phase != "done" || one.decision != Some(Verdict::Commit)) {
                return Ok(ExitCode::FAILURE);
            }
        }
        TxVerb::Agree { id } => change(node, &id, "agree", &json!({})).await?,
        TxVerb::Decline { id, reason } => change(node, &id, "decline", &Decline { reason }).await?,
        TxVerb::Withdraw { id, reason } => change(node, &id, "withdraw", &Decline { reason }).await?,
        TxVerb::Manifest { id, file } => fetch(node, &id, "manifest", &file).await?,
        TxVerb::Receipt { id, file } => fetch(node, &id, "receipt", &file).await?,
        TxVerb::Watch { file } => {
            let manifest = input::read(&file, MAX_MANIFEST, "name a file that `sofie tx manifest` wrote")?;
            let client = Client::of(node)?;
            let one: Transaction =
                client.post_bytes(&format!("{TRANSACTIONS}/watch"), MANIFEST, manifest).await?;
            show(node, &one, || print(&one));
        }
        TxVerb::Resume { id } => change(node, &id, "resume", &json!({})).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes what the node has of one transaction to a file.
async fn fetch(node: &Node, id: &Id, part: &str, file: &Path) -> Result<(), Failure> {
    let client = Client::of(node)?;
    let id = client.whole("transaction", TRANSACTIONS, id).await?;
    nouns::keep(file, &client.bytes(&format!("{TRANSACTIONS}/{id}/{part}")).await?)
}

/// Has the node do something to one transaction, and shows what it has become.
async fn change(node: &Node, id: &Id, verb: &str, body: &impl Serialize) -> Result<(), Failure> {
    let client = Client::of(node)?;
    let id = client.whole("transaction", TRANSACTIONS, id).await?;
    let one: Transaction = client.post(&format!("{TRANSACTIONS}/{id}/{verb}"), body).await?;
    show(node, &one, || print(&one));
    Ok(())
}

/// Asks until nothing more happens by itself.
async fn ended(client: &Client, mut one: Transaction) -> Result<Transaction, Failure> {
    while !matches!(one.phase.as_str(), "done" | "halted" | "declined" | "expired") {
        tokio::time::sleep(POLL).await;
        one = client.get(&format!("{TRANSACTIONS}/{}", one.id)).await?;
    }
    Ok(one)
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
    all.iter().filter_map(because).flatten().for_each(|line| output::line(&line));
}

/// Of one that is not over and stands still, or is about to abort: why, and what comes next.
fn because(one: &Transaction) -> Option<[String; 2]> {
    let over = matches!(one.phase.as_str(), "done" | "proposed" | "declined" | "expired");
    let why = one.reason.as_ref().filter(|_| !over)?;
    let head = output::short_id(&one.id);
    Some([format!("{head:<12} {}", output::plain(why)), format!("{:<12} {}", "next", one.next)])
}

fn print(one: &Transaction) {
    output::line(&format!("transaction  {}", one.id));
    output::line(&format!("phase        {}", one.phase));
    output::line(&format!("decision     {}", decision(one).unwrap_or("none yet")));
    output::line(&format!("decides      {}", one.decision_ledger));
    output::line(&format!("label        {}", one.label));
    output::line(&format!("deadline     {}", deadline(one)));
    for leg in &one.legs {
        output::line(&leg_line(leg));
    }
    if let Some(proposal) = &one.proposal {
        let by = proposal.by.as_ref().map_or_else(|| "this node".into(), |peer| format!("peer {peer}"));
        output::line(&format!("proposed by  {by}"));
        output::line(&format!("between      {}", proposal.participants.join(", ")));
        output::line(&format!("because      {}", output::plain(&proposal.why)));
        output::line(&format!("next         {}", proposal.next));
    } else {
        let because = one.reason.as_ref().map(|why| format!("because      {}", output::plain(why)));
        because.iter().for_each(|line| output::line(line));
        output::line(&format!("next         {}", one.next));
    }
    one.watchers.iter().for_each(|watcher| output::line(&watcher_line(watcher)));
    one.steps.iter().for_each(|step| output::line(&step_line(step)));
}

fn watcher_line(Watcher { name, has, lacks }: &Watcher) -> String {
    let has = if has.is_empty() { "nothing".to_owned() } else { has.join(", ") };
    let lacks = lacks.as_ref().map(|why| format!("; lacks more: {}", output::plain(why)));
    format!("watcher      {name} has {has}{}", lacks.unwrap_or_default())
}

fn leg_line(leg: &LegStatus) -> String {
    let timelock = leg.timelock.map(|at| format!(", refundable from {at}")).unwrap_or_default();
    let slack = leg.slack.as_ref().map(|slack| {
        let left = Span::from_millis(slack.left_ms);
        let alarm = if slack.alarm { " (too little)" } else { "" };
        format!(", {left} left to {}{alarm}", slack.due)
    });
    let what = match (&leg.payment, &leg.opening) {
        (Some(Payment { from, to, amount }), _) => format!(", {from} pays {to} {amount}"),
        (None, Some(opening)) => format!(", records {}", output::plain(&opening.payload)),
        (None, None) => String::new(),
    };
    let why = leg.reason.as_ref().map(|why| format!(" ({})", output::plain(why))).unwrap_or_default();
    let (at, state, slack) = (leg.leg.0, &leg.state, slack.unwrap_or_default());
    format!("leg {at:<8} {} ({}): {state}{why}{what}{timelock}{slack}", leg.ledger, leg.class)
}

fn decision(one: &Transaction) -> Option<&'static str> {
    one.decision.map(|verdict| match verdict {
        Verdict::Commit => "commit",
        Verdict::Abort => "abort",
    })
}

/// T_D, and while nothing is decided how much time is left until it.
fn deadline(one: &Transaction) -> String {
    let now = sofie_node::clock::now();
    let At(deadline) = one.deadline;
    if one.decision.is_some() || one.phase == "declined" {
        one.deadline.to_string()
    } else if deadline > now {
        format!("{} ({} left)", one.deadline, deadline.since(now))
    } else {
        let then = if one.proposal.is_some() { "it never begins" } else { "it aborts" };
        format!("{} (passed {} ago: {then})", one.deadline, now.since(deadline))
    }
}

#[cfg(test)]
mod tests {
    use sofie_model::{Class, LegId, Timestamp};
    use sofie_node::api::{LegKind, LegSlack};

    use super::*;

    fn leg(alarm: bool) -> LegStatus {
        let until = At(Timestamp::from_seconds(1_764_022_700));
        LegStatus {
            leg: LegId(1),
            ledger: "bitcoin".parse().unwrap(),
            class: Class::Hashlock,
            kind: LegKind::Hashlock,
            state: "prepared".into(),
            reason: None,
            payment: None,
            evidence: Vec::new(),
            timelock: Some(until),
            slack: Some(LegSlack { due: "claim".into(), until, left_ms: 9_500, alarm }),
            opening: None,
        }
    }

    #[test]
    fn a_leg_tells_what_time_it_has_left_and_whether_that_is_too_little() {
        let told = "leg 1        bitcoin (hashlock): prepared, refundable from 2025-11-24T22:18:20.000Z, 9500 ms left to claim";
        assert_eq!(leg_line(&leg(false)), told);
        assert_eq!(leg_line(&leg(true)), format!("{told} (too little)"));
    }

    #[test]
    fn what_has_halted_says_why_and_what_comes_next() {
        let shown = json!({
            "id": "05".repeat(32), "phase": "halted", "label": "verified", "decision": "commit", "decision_ledger": "evm",
            "deadline": "2025-11-24T22:18:20.000Z", "grace_end": "2025-11-24T22:18:20.000Z", "legs": [], "steps": [],
            "reason": "evm lost\u{1b} it", "next": "look, then `sofie tx resume`",
        });
        let one: Transaction = serde_json::from_value(shown).unwrap();
        let head = output::short_id(&one.id);
        let lines =
            [format!("{head:<12} evm lost\\u{{1b}} it"), "next         look, then `sofie tx resume`".into()];
        assert_eq!(because(&one), Some(lines));
        assert_eq!(because(&Transaction { phase: "done".into(), ..one.clone() }), None);
        assert_eq!(because(&Transaction { reason: None, ..one }), None);
    }
}
