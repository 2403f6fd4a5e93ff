//! The nouns that a node answers for: platforms, transactions, contracts, ledgers.

use std::process::ExitCode;

use serde::Serialize;
use sofie_node::api::{Contract, JoinPlatform, LedgerStatus, Platform, PlatformKind, Step, Transaction};

use crate::cli::{ContractVerb, LedgerVerb, Node, PlatformVerb, TxVerb};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format};

pub(crate) async fn platform(verb: PlatformVerb, node: &Node) -> Result<ExitCode, Failure> {
    let client = Client::of(node)?;
    let head = ["ID", "OWNER", "KIND", "URL", "THINGS"];
    let row = |one: &Platform| {
        let kind = match one.kind {
            PlatformKind::Coap => "coap",
            PlatformKind::Mqtt => "mqtt",
        };
        vec![one.id.clone(), one.owner.clone(), kind.into(), one.url.clone(), one.things.len().to_string()]
    };
    match verb {
        PlatformVerb::Add { url, owner, kind, allow } => {
            let kind = if kind == "coap" { PlatformKind::Coap } else { PlatformKind::Mqtt };
            let joined: Platform =
                client.post("/api/v1/platforms", &JoinPlatform { owner, kind, url, allow }).await?;
            show(node, &joined, || output::table(&head, &[row(&joined)]));
        }
        PlatformVerb::Ls => {
            let all: Vec<Platform> = client.get("/api/v1/platforms").await?;
            show(node, &all, || output::table(&head, &all.iter().map(row).collect::<Vec<_>>()));
        }
        PlatformVerb::Show { id } => {
            let one: Platform = client.get(&format!("/api/v1/platforms/{id}")).await?;
            show(node, &one, || {
                output::table(&head, &[row(&one)]);
                one.things.iter().for_each(|thing| output::line(thing.as_str()));
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn tx(verb: TxVerb, node: &Node) -> Result<ExitCode, Failure> {
    let client = Client::of(node)?;
    let one: Transaction = match verb {
        TxVerb::Ls => {
            let all: Vec<Transaction> = client.get("/api/v1/transactions").await?;
            let row = |one: &Transaction| {
                let decision =
                    one.decision.map_or("-".into(), |verdict| format!("{verdict:?}").to_lowercase());
                vec![
                    one.id.to_string(),
                    one.phase.clone(),
                    decision,
                    one.label.clone(),
                    one.deadline.to_string(),
                ]
            };
            let head = ["ID", "PHASE", "DECISION", "LABEL", "DEADLINE"];
            show(node, &all, || output::table(&head, &all.iter().map(row).collect::<Vec<_>>()));
            return Ok(ExitCode::SUCCESS);
        }
        TxVerb::Show { id } => client.get(&format!("/api/v1/transactions/{id}")).await?,
        TxVerb::Resume { id } => {
            client.post(&format!("/api/v1/transactions/{id}/resume"), &serde_json::json!({})).await?
        }
    };
    show(node, &one, || {
        let decision =
            one.decision.map_or("none yet".into(), |verdict| format!("{verdict:?}").to_lowercase());
        output::line(&format!("{}  {}  decision {decision}  {}", one.id, one.phase, one.label));
        for leg in &one.legs {
            output::line(&format!("  {}  {} ({}): {}", leg.leg, leg.ledger, leg.class, leg.state));
        }
        one.steps.iter().for_each(|step| output::line(&step_line(step)));
    });
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn contract(verb: ContractVerb, node: &Node) -> Result<ExitCode, Failure> {
    let client = Client::of(node)?;
    let state = |one: &Contract| format!("{:?}", one.state).to_lowercase();
    match verb {
        ContractVerb::Ls => {
            let all: Vec<Contract> = client.get("/api/v1/contracts").await?;
            let row = |one: &Contract| {
                vec![
                    one.id.to_string(),
                    state(one),
                    one.renter.clone(),
                    one.owner.clone(),
                    one.price.to_string(),
                    one.next.clone(),
                ]
            };
            let head = ["ID", "STATE", "RENTER", "OWNER", "PRICE", "NEXT"];
            show(node, &all, || output::table(&head, &all.iter().map(row).collect::<Vec<_>>()));
        }
        ContractVerb::Show { id } => {
            let one: Contract = client.get(&format!("/api/v1/contracts/{id}")).await?;
            show(node, &one, || {
                output::line(&format!("{}  {}  {}", one.id, state(&one), one.label));
                one.steps.iter().for_each(|step| output::line(&step_line(step)));
                output::line(&format!("next: {}", one.next));
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn ledger(verb: LedgerVerb, node: &Node) -> Result<ExitCode, Failure> {
    let all: Vec<LedgerStatus> = Client::of(node)?.get("/api/v1/ledgers").await?;
    let row = |one: &LedgerStatus| {
        let height = one.height.map_or("-".into(), |height| height.to_string());
        let state = if one.ok { "ok".into() } else { one.error.clone().unwrap_or_default() };
        vec![one.id.to_string(), one.kind.clone(), height, state]
    };
    show(node, &all, || {
        output::table(&["ID", "KIND", "HEIGHT", "STATE"], &all.iter().map(row).collect::<Vec<_>>());
    });
    let checked = matches!(verb, LedgerVerb::Check) && all.iter().any(|ledger| !ledger.ok);
    Ok(if checked { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A step on one line.
pub(crate) fn step_line(step: &Step) -> String {
    let mark = if step.ok { "✓" } else { "✗" };
    let ledger = step.ledger.as_ref().map(|ledger| format!(" ({ledger})")).unwrap_or_default();
    format!("{mark} {:<28} {}", format!("{}{ledger}", step.name), step.detail)
}

fn show(node: &Node, data: &impl Serialize, text: impl FnOnce()) {
    match node.output.output {
        Format::Json => output::json(data),
        Format::Text => text(),
    }
}
