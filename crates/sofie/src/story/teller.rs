//! Tells a story's steps as they happen, and keeps them. Where a person looks, the last line shows what is awaited.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::report::ReportStep;
use crate::output;

/// How often the waiting line moves.
const TICK: Duration = Duration::from_millis(120);

/// The steps so far.
pub(crate) struct Teller {
    pub(crate) steps: Vec<ReportStep>,
    aloud: bool,
    waiting: Option<ProgressBar>,
}

impl Teller {
    /// Keeps steps; says them too when `aloud`.
    pub(crate) fn new(aloud: bool) -> Self {
        let waiting = (aloud && output::person_is_there()).then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(TICK);
            bar.set_message("starting the devices");
            bar
        });
        Self { steps: Vec::new(), aloud, waiting }
    }

    /// The next step.
    pub(crate) fn step(&mut self, step: ReportStep) {
        let mark = if step.ok { "✓" } else { "✗" };
        let ledger = step.ledger.as_ref().map(|ledger| format!(" ({ledger})")).unwrap_or_default();
        let line =
            format!("{mark} {:<28} {}", format!("{}{ledger}", step.name), output::shorten(&step.detail));
        match &self.waiting {
            Some(bar) => {
                bar.println(line);
                bar.set_message(awaited(&step.name));
                bar.reset_elapsed();
            }
            None if self.aloud => output::say(&line),
            None => {}
        }
        self.steps.push(step);
    }

    /// Nothing more is awaited.
    pub(crate) fn done(&self) {
        if let Some(bar) = &self.waiting {
            bar.finish_and_clear();
        }
    }
}

/// What comes after a step.
fn awaited(step: &str) -> &'static str {
    match step {
        "devices" => "the node starts and joins both platforms",
        "joined" => "the next platform, or the offer",
        "offered" | "accepted" => "both ledgers prepare",
        "prepared" | "released" => "the decision",
        "decided" => "both ledgers apply it",
        "applied" | "armed" | "capability-issued" | "asked" | "admitted" => "the device acts",
        "actuated" | "fate-unknown" | "rejected" | "evidence-refused" => {
            "the other owner's sensor; without it, the refund at the deadline"
        }
        "observed" | "attested" | "noted" => "the escrow settles",
        "denied" | "deadline" => "the refund",
        "settled" | "refunded" | "reverted" => "the receipt",
        _ => "the next step",
    }
}
