//! `sofie try`: a whole story with real processes: devices of two owners and a broker, or the nodes of two chains, and a
//! SOFIE node that is driven by its HTTP API alone, as any user would.

mod bitcoind;
pub(crate) mod funding;
mod locker;
mod node;
mod peers;
mod process;
mod receipt;
mod report;
mod setup;
mod swap;
mod teller;

use std::process::ExitCode;

use crate::cli::{Story, Try};
use crate::failure::Failure;
use crate::output::{self, Format};
use report::Report;

/// Runs the story.
pub(crate) async fn run(args: Try) -> Result<ExitCode, Failure> {
    let json = args.json || args.output.output == Format::Json;
    let stay = !args.no_wait && !json && output::person_is_there();
    check(&args)?;
    let (report, node) = match args.story {
        Story::Locker => locker::run(&args, !json).await?,
        Story::Swap => swap::run(&args, !json).await?,
    };
    if json {
        output::json(&report);
    } else {
        tell(&report, &node.console());
    }
    if args.hold {
        sofie_testkit::devices::told_to_stop().await;
    }
    if stay {
        output::say("the console stays until you press Ctrl-C");
        // Without a handler the first Ctrl-C ends the process, which is what it is for.
        let _ = tokio::signal::ctrl_c().await;
    }
    node.stop().await;
    Ok(if report.as_promised { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each story has faults of its own.
fn check(args: &Try) -> Result<(), Failure> {
    let Some(fault) = args.fault else { return Ok(()) };
    let known = match args.story {
        Story::Locker => locker::has(fault),
        Story::Swap => swap::has(fault),
    };
    if known {
        return Ok(());
    }
    Err(Failure::usage("run the story", "that fault belongs to another story", "see sofie try --help"))
}

fn tell(report: &Report, console: &str) {
    let reason = report.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    // Between the steps and what came of them.
    output::say("");
    output::line(&format!("outcome   {}{reason}", report.outcome.as_str()));
    for (ledger, before) in &report.balances.before {
        for (party, had) in before {
            let has =
                report.balances.after.get(ledger).and_then(|after| after.get(party)).copied().unwrap_or(0);
            if has != *had {
                let sign = if has > *had { '+' } else { '-' };
                output::line(&format!("{ledger:<9} {party:<12} {sign}{}", has.abs_diff(*had)));
            }
        }
    }
    output::line(&format!("label     {}", report.label));
    if let Some(slack) = report.least_slack_ms {
        output::line(&format!("slack     {} at the least", sofie_model::Span::from_millis(slack)));
    }
    output::line(&format!("console   {console}"));
    output::line(&format!("receipt   {}", report.receipt));
    output::line(&format!("verify    {}", report.verify));
}
