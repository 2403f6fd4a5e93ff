//! The nouns that a node answers for: platforms, contracts, ledgers.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use sofie_node::api::{
    Contract, Decline, Drift, Introspected, JoinPlatform, LedgerStatus, Platform, PlatformKind, Probed, Step,
};

use super::{published, ruling};
use crate::cli::{ContractVerb, LedgerVerb, Node, PlatformVerb};
use crate::client::{Client, url_segment};
use crate::failure::Failure;
use crate::output::{self, Format};

pub(crate) async fn platform(verb: PlatformVerb, node: &Node) -> Result<ExitCode, Failure> {
    let client = Client::of(node)?;
    let head = ["ID", "OWNER", "KIND", "URL", "THINGS"];
    let row = |one: &Platform| {
        let kind = one.kind.as_str().into();
        vec![one.id.clone(), one.owner.clone(), kind, one.url.clone(), one.things.len().to_string()]
    };
    match verb {
        PlatformVerb::Add { url, owner, kind, allow, allow_write, originator, dry_run } => {
            let kind = kind.map_or_else(|| kind_of(&url), Ok)?;
            let asked = JoinPlatform { owner, kind, url, allow, allow_writes: allow_write, originator };
            if dry_run {
                let found: Introspected = client.post("/api/v1/platforms/introspect", &asked).await?;
                show(node, &found, || found.things.iter().for_each(describe));
                return Ok(ExitCode::SUCCESS);
            }
            let joined: Platform = client.post("/api/v1/platforms", &asked).await?;
            show(node, &joined, || output::table(&head, &[row(&joined)]));
        }
        PlatformVerb::Probe { id } => {
            let path = format!("/api/v1/platforms/{}/probe", url_segment(&id));
            let probed: Probed = client.post(&path, &serde_json::json!({})).await?;
            show(node, &probed, || drifted(&probed));
            return Ok(if probed.drift.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        PlatformVerb::Ls => {
            let all: Vec<Platform> = client.get("/api/v1/platforms").await?;
            show(node, &all, || output::table(&head, &all.iter().map(row).collect::<Vec<_>>()));
        }
        PlatformVerb::Show { id } => {
            let one: Platform = client.get(&format!("/api/v1/platforms/{}", url_segment(&id))).await?;
            show(node, &one, || {
                output::table(&head, &[row(&one)]);
                one.things.iter().for_each(|thing| output::line(thing.as_str()));
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a platform tells otherwise.
fn drifted(probed: &Probed) {
    if probed.drift.is_empty() {
        return output::line(&format!("{} tells what it told when it was joined", probed.platform));
    }
    let plain = |text: &Option<String>| text.as_deref().map(output::plain).unwrap_or_default();
    let row = |one: &Drift| {
        let (thing, kind) = (one.thing.to_string(), one.kind.as_str().to_owned());
        let affordance = if one.affordance.is_none() { "the thing".into() } else { plain(&one.affordance) };
        vec![thing, kind, affordance, plain(&one.was), plain(&one.is)]
    };
    output::table(&["THING", "DRIFT", "OF", "WAS", "IS"], &probed.drift.iter().map(row).collect::<Vec<_>>());
}

/// The kind of platform that an address's scheme means.
fn kind_of(url: &str) -> Result<PlatformKind, Failure> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    let means = |kind: &PlatformKind| kind.scheme().0 == scheme;
    PlatformKind::ALL.into_iter().find(means).ok_or_else(|| {
        let mut schemes = PlatformKind::ALL.map(|kind| kind.scheme().0).to_vec();
        schemes.dedup();
        let schemes = schemes.join(", ");
        let why = format!("the scheme of {url:?} is none of {schemes}");
        Failure::usage(
            "join a platform",
            why,
            "write it as coap://HOST:PORT, mqtt://HOST:PORT or http://HOST:PORT",
        )
    })
}

/// What a Thing Description says of each affordance, and what could not be mapped.
fn describe(td: &Value) {
    let text = |of: &Value, term: &str| of[term].as_str().unwrap_or_default().to_owned();
    output::line(&format!("{}  {}", text(td, "id"), text(td, "title")));
    let affordance = |kind: &str, name: &str, of: &Value| {
        let waits = of["sofie:awaits"].is_string();
        let note = match of["readOnly"] == false {
            _ if waits => format!("not offered without --allow {name}"),
            true => format!("not written without --allow-write {name}"),
            false => String::new(),
        };
        vec![kind.to_owned(), name.to_owned(), text(of, "sofie:source"), text(of, "sofie:confidence"), note]
    };
    let each = [("property", "properties"), ("action", "actions")].into_iter().flat_map(|(kind, term)| {
        let all = td[term].as_object().into_iter().flatten();
        all.map(move |(name, of)| affordance(kind, name, of))
    });
    let unmapped = td["sofie:unmapped"].as_array().into_iter().flatten().map(|one| {
        let note = format!("cannot be mapped: {}", text(one, "reason"));
        vec![text(one, "kind"), text(one, "name"), String::new(), String::new(), note]
    });
    let rows: Vec<Vec<String>> = each.chain(unmapped).collect();
    output::table(&["AFFORDANCE", "NAME", "FROM", "CONFIDENCE", "NOTE"], &rows);
}

pub(crate) async fn contract(verb: ContractVerb, node: &Node) -> Result<ExitCode, Failure> {
    let client = Client::of(node)?;
    match verb {
        ContractVerb::Ls => {
            let all: Vec<Contract> = client.get("/api/v1/contracts").await?;
            let row = |one: &Contract| {
                vec![
                    output::short_id(&one.id),
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
            let id = client.whole("contract", "/api/v1/contracts", &id).await?;
            let one: Contract = client.get(&format!("/api/v1/contracts/{id}")).await?;
            show(node, &one, || print_contract(&one));
        }
        ContractVerb::Cancel { id, reason } => {
            let id = client.whole("contract", "/api/v1/contracts", &id).await?;
            let one: Contract =
                client.post(&format!("/api/v1/contracts/{id}/cancel"), &Decline { reason }).await?;
            show(node, &one, || print_contract(&one));
        }
        ContractVerb::Dispute { id, reason, case } => {
            let id = client.whole("contract", "/api/v1/contracts", &id).await?;
            let one = ruling::dispute(&client, id, reason, case.as_deref()).await?;
            show(node, &one, || print_contract(&one));
        }
        ContractVerb::Rule { id, ruling } => {
            let id = client.whole("contract", "/api/v1/contracts", &id).await?;
            let one = ruling::rule(&client, id, ruling.as_deref()).await?;
            show(node, &one, || print_contract(&one));
        }
        ContractVerb::Sign { case, file } => ruling::sign(&client, &case, &file).await?,
        ContractVerb::Receipt { id, file } => {
            let id = client.whole("contract", "/api/v1/contracts", &id).await?;
            keep(&file, &client.bytes(&format!("/api/v1/contracts/{id}/receipt")).await?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn state(one: &Contract) -> String {
    format!("{:?}", one.state).to_lowercase()
}

pub(crate) fn print_contract(one: &Contract) {
    let state = state(one);
    let because = one.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let thing = output::shorten(&format!("{} on {}", one.action, one.thing));
    for (name, value) in [
        ("contract", one.id.to_string()),
        ("state", format!("{state}{because}")),
        ("for", thing),
        ("pays", format!("{} pays {} to {}", one.renter, one.price, one.owner)),
        ("label", one.label.clone()),
        ("decided by", one.deadlines.decision.to_string()),
        ("evidence by", one.deadlines.evidence.to_string()),
        ("refund from", one.deadlines.refund.to_string()),
        ("next", one.next.clone()),
    ] {
        output::line(&format!("{name:<12} {value}"));
    }
    if let Some(penalty) = &one.penalty {
        output::line(&format!("{:<12} {} {}: {}", "penalty", penalty.amount, penalty.state, penalty.next));
    }
    if let Some(dispute) = &one.dispute {
        let until = dispute.until.map_or_else(
            || format!("for {} s, once the evidence is presented", dispute.window_s),
            |until| format!("until {until}"),
        );
        output::line(&format!("{:<12} {} may overrule the evidence {until}", "arbiter", dispute.arbiter));
    }
    for one in &one.sensors {
        let who = output::shorten(&format!("{} of {}, by {}", one.property, one.thing, one.by));
        output::line(&format!("{:<12} {who}: {}", "sensor", one.says));
    }
    one.steps.iter().for_each(|step| output::line(&step_line(step)));
}

pub(crate) async fn ledger(verb: LedgerVerb, node: &Node) -> Result<ExitCode, Failure> {
    let client = Client::of(node)?;
    match verb {
        LedgerVerb::Published { ledger, size } => {
            return published::print(&client, node, &ledger, size).await;
        }
        LedgerVerb::Extend { receipt, root, file } => {
            return published::extend(&client, node, &receipt, &root, &file).await;
        }
        LedgerVerb::Ls | LedgerVerb::Check => {}
    }
    let all: Vec<LedgerStatus> = client.get("/api/v1/ledgers").await?;
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

/// Writes what the user asked for.
pub(crate) fn keep(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(file, bytes).map_err(|e| {
        Failure::lacking(&format!("write {}", file.display()), e, "name a file that can be written")
    })
}

/// A step on one line.
pub(crate) fn step_line(step: &Step) -> String {
    let mark = if step.ok { "✓" } else { "✗" };
    let ledger = step.ledger.as_ref().map(|ledger| format!(" ({ledger})")).unwrap_or_default();
    format!("{mark} {:<28} {}", format!("{}{ledger}", step.name), output::shorten(&step.detail))
}

/// Prints data as the flags ask.
pub(crate) fn show(node: &Node, data: &impl Serialize, text: impl FnOnce()) {
    match node.output.output {
        Format::Json => output::json(data),
        Format::Text => text(),
    }
}
