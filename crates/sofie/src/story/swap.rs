//! The story of the swap: Alice pays Bob on an Ethereum chain, Bob pays Alice in bitcoin, a calendar records it. Three
//! real ledgers, one transaction; and what becomes of it when one of them, or the node, fails at the worst moment.

mod faults;
mod world;

use std::time::Duration;

use serde_json::Value;
use sofie_node::api::{At, Draft, Transaction, Verdict};

use super::node::{Node, Running};
use super::report::{Balances, Outcome, Report, ReportStep};
use super::teller::Teller;
use super::{receipt, report};
use crate::cli::{Fault, Try};
use crate::client::Client;
use crate::failure::Failure;
use faults::Faults;
use world::World;

/// What is submitted: the file that a user could submit, too.
const DRAFT: &str = include_str!("../../../../examples/swap/swap.toml");
/// Those with money on them.
const VALUE: [&str; 2] = ["ethereum", "bitcoin"];
const TRANSACTIONS: &str = "/api/v1/transactions";
/// How often the transaction is looked at.
const POLL: Duration = Duration::from_millis(200);
/// A story that takes longer hangs: T_p and G lie within two minutes.
const PATIENCE: Duration = Duration::from_secs(400);

/// Runs the story. The node still runs when this returns.
pub(crate) async fn run(args: &Try, aloud: bool) -> Result<(Report, Running), Failure> {
    if args.config.is_some() {
        let next = "leave -c out, or submit examples/swap/swap.toml to a node of your own";
        return Err(Failure::usage("run the story", "the swap starts its own ledgers", next));
    }
    let mut teller = Teller::new(aloud);
    let mut world = World::start(&mut teller).await?;
    let mut node = Node::start(world.folder(), faults::pause(args)).await?;
    let (before, from) = held(&mut node).await?;
    let mut faults = Faults::new(args.fault);
    faults.before(&mut world, &mut teller).await?;
    let begun = submit(&mut node).await?;
    let followed = follow(&mut node, &mut world, &mut faults, &begun, &mut teller);
    let ended = tokio::time::timeout(PATIENCE, followed).await;
    let (ended, slack) = ended.map_err(|_| {
        Failure::refused(
            "see the swap end",
            format!("{} goes on", begun.id),
            "see node.log in the story's folder",
        )
    })??;
    let (mut after, to) = held(&mut node).await?;
    let fees = fees(&mut node, &from, &to).await?;
    let balances = with_fees(before, &mut after, &fees);
    let path = format!("{TRANSACTIONS}/{}/receipt", ended.id);
    let files =
        receipt::take(&mut node, &args.receipt_dir, &path, &ended.id.to_string(), &world.config, &mut teller)
            .await?;
    teller.done();
    let outcome = match ended.decision {
        Some(Verdict::Commit) if ended.phase == "done" => Outcome::Committed,
        Some(Verdict::Abort) if ended.phase == "done" => Outcome::Aborted,
        _ => Outcome::Refused,
    };
    let report = Report {
        outcome,
        reason: ended.reason,
        transaction: ended.id.to_string(),
        label: ended.label,
        receipt: files.receipt.display().to_string(),
        anchors: files.anchors.display().to_string(),
        verify: files.command(),
        verified: files.verdict,
        console: node.console(),
        steps: teller.steps,
        as_promised: faults::keeps(args.fault, outcome) && files.good && balances.add_up(),
        balances,
        least_slack_ms: slack,
        restarts: node.restarts,
    };
    Ok((report, Running::new(node, world)))
}

/// The draft's key makes it harmless to ask again after a crash.
async fn submit(node: &mut Node) -> Result<Transaction, Failure> {
    let draft: Draft = toml::from_str(DRAFT).map_err(|e| Failure::usage("read the story's draft", e, ""))?;
    node.ask(async |client: Client| client.post(TRANSACTIONS, &draft).await).await
}

/// Tells the steps as they come, and lets the fault act, until nothing more happens. The least slack that was seen.
async fn follow(
    node: &mut Node,
    world: &mut World,
    faults: &mut Faults,
    begun: &Transaction,
    teller: &mut Teller,
) -> Result<(Transaction, Option<u64>), Failure> {
    let path = format!("{TRANSACTIONS}/{}", begun.id);
    let (mut seen, mut least) = (0, None);
    loop {
        let one: Transaction = node.ask(async |client: Client| client.get(&path).await).await?;
        for step in one.steps.iter().filter(|step| step.seq > seen) {
            teller.step(step.clone().into());
        }
        seen = one.steps.last().map_or(seen, |step| step.seq);
        let now = one.legs.iter().filter_map(|leg| Some(leg.slack.as_ref()?.left_ms)).min();
        least = least.into_iter().chain(now).min();
        if matches!(one.phase.as_str(), "done" | "halted") {
            return Ok((one, least));
        }
        faults.act(&one, node, world, teller).await?;
        tokio::time::sleep(POLL).await;
    }
}

/// What the parties hold on each ledger with money, and at which heights.
async fn held(node: &mut Node) -> Result<(report::Held, Vec<u64>), Failure> {
    let (mut held, mut heights) = (report::Held::new(), Vec::new());
    for ledger in VALUE {
        let path = format!("/api/v1/ledgers/{ledger}/balances");
        let now: sofie_node::api::Balances = node.ask(async |client: Client| client.get(&path).await).await?;
        let parties = now.balances.into_iter().map(|(party, amount)| (party, amount.0)).collect();
        held.insert(ledger.to_owned(), parties);
        heights.push(now.height);
    }
    Ok((held, heights))
}

async fn fees(node: &mut Node, from: &[u64], to: &[u64]) -> Result<Vec<u128>, Failure> {
    let mut all = Vec::new();
    for ((ledger, from), to) in VALUE.iter().zip(from).zip(to) {
        let path = format!("/api/v1/ledgers/{ledger}/fees?from={}&to={to}", (from + 1).min(*to));
        let fees: sofie_node::api::Fees = node.ask(async |client: Client| client.get(&path).await).await?;
        all.push(fees.fees.0);
    }
    Ok(all)
}

/// Fees are a party of their own, so that everything adds up.
fn with_fees(mut before: report::Held, after: &mut report::Held, fees: &[u128]) -> Balances {
    for (ledger, fees) in VALUE.iter().zip(fees) {
        before.entry((*ledger).to_owned()).or_default().insert("fees".into(), 0);
        after.entry((*ledger).to_owned()).or_default().insert("fees".into(), *fees);
    }
    Balances { before, after: std::mem::take(after) }
}

/// A step that the story itself takes on a ledger.
fn on(ledger: &str, name: &str, detail: impl Into<String>) -> ReportStep {
    ReportStep { ledger: Some(ledger.to_owned()), ..ReportStep::own(name, detail) }
}

/// Whether a leg of `ledger` is in `state`.
fn is(one: &Transaction, ledger: &str, state: &str) -> bool {
    one.legs.iter().any(|leg| leg.ledger.as_str() == ledger && leg.state == state)
}

/// T_p of the pivot.
fn timelock(one: &Transaction) -> Option<At> {
    one.legs.iter().find_map(|leg| leg.timelock)
}

/// What a development chain answers.
async fn call(url: &str, method: &str, params: Value) -> Result<Value, Failure> {
    super::funding::call(url, method, params).await
}

/// Which faults belong to this story.
pub(crate) const fn has(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::Crash
            | Fault::BitcoinDown
            | Fault::ReorgEvm
            | Fault::ReorgBitcoin
            | Fault::Sleep
            | Fault::LateClaim
    )
}
