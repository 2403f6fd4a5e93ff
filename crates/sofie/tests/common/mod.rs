//! Runs the real program and reads what it says.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test stops where it cannot go on; not every file uses all of it"
)]

pub(crate) mod company;
pub(crate) mod processes;
pub(crate) mod receiver;
pub(crate) mod tamper;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What the renter pays, in the smallest unit.
pub(crate) const PRICE: u128 = 1_000_000_000_000;

/// The steps of a story that goes well. Both ledgers prepare, and apply, in whichever order they come.
pub(crate) const GOOD: &[&str] = &[
    "devices",
    "joined",
    "joined",
    "offered",
    "accepted",
    "prepared",
    "prepared",
    "released",
    "released",
    "decided",
    "applied",
    "applied",
    "armed",
    "capability-issued",
    "asked",
    "admitted",
    "actuated",
    "observed",
    "attested",
    "noted",
    "settled",
    "receipt",
    "verified",
];

/// The program, with arguments.
pub(crate) fn sofie(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sofie"));
    command.args(args).stdin(Stdio::null()).env_remove("SOFIE_LOG").env_remove("SOFIE_NODE");
    command.env("SOFIE_PEERS", sofie_peers::folder());
    command
}

/// One whole story, told as data.
pub(crate) struct Story {
    pub(crate) report: Value,
    pub(crate) code: i32,
    pub(crate) said: String,
    pub(crate) folder: TempDir,
}

/// `sofie try locker --json ARGS`.
pub(crate) fn story(args: &[&str]) -> Story {
    let folder = tempfile::tempdir().unwrap();
    let mut command = sofie(&["try", "locker", "--json", "--receipt-dir"]);
    let output = command.arg(folder.path()).args(args).output().unwrap();
    let (told, said) = (text(&output.stdout), text(&output.stderr));
    let report = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{args:?}: {e}: {told:?}\n{said}"));
    Story { report, code: output.status.code().unwrap_or(-1), said, folder }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One step of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) ledger: Option<String>,
    pub(crate) ok: bool,
    pub(crate) detail: String,
    pub(crate) at: String,
}

impl Story {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.report[name].as_str().unwrap_or_default()
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        let word = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let step = |step: &Value| Step {
            name: word(&step["name"]).unwrap(),
            ledger: word(&step["ledger"]),
            ok: step["ok"].as_bool().unwrap(),
            detail: word(&step["detail"]).unwrap(),
            at: word(&step["at"]).unwrap(),
        };
        self.report["steps"].as_array().unwrap().iter().map(step).collect()
    }

    /// The steps' names, but for what may come at any time: readings that count for nothing, and alarms of how little time
    /// is left, on a busy machine.
    pub(crate) fn names(&self) -> Vec<String> {
        let any_time = ["reading-ignored", "alarm"];
        let names = self.steps().into_iter().map(|step| step.name);
        names.filter(|name| !any_time.contains(&name.as_str())).collect()
    }

    /// Every step of [`GOOD`] once and in order. The device's answer may come after what its sensor saw, and is missing
    /// where the node died before it came.
    #[track_caller]
    pub(crate) fn went_well(&self) {
        let answers = ["actuated", "fate-unknown"];
        let (told, rest): (Vec<_>, Vec<_>) =
            self.names().into_iter().partition(|name| answers.contains(&name.as_str()));
        let expected: Vec<_> = GOOD.iter().filter(|name| !answers.contains(name)).collect();
        assert_eq!(rest.iter().collect::<Vec<_>>(), expected, "{:#}", self.report);
        assert_eq!(told.len(), 1, "{told:?}: {:#}", self.report);
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().iter().any(|known| known == name)
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.report["restarts"].as_u64().unwrap()
    }

    pub(crate) fn receipt(&self) -> PathBuf {
        self.field("receipt").into()
    }

    pub(crate) fn anchors(&self) -> PathBuf {
        self.field("anchors").into()
    }

    /// What each party of the only ledger with money held before and after.
    pub(crate) fn money(&self) -> Money {
        let at = |when: &str| -> BTreeMap<String, u128> {
            let ledgers = self.report["balances"][when].as_object().unwrap();
            let (_, held) = ledgers.iter().next().expect("a ledger with money");
            let amount = |value: &Value| value.to_string().parse().expect("a whole number");
            held.as_object().unwrap().iter().map(|(party, held)| (party.clone(), amount(held))).collect()
        };
        Money { before: at("before"), after: at("after") }
    }
}

/// Who held what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Money {
    pub(crate) before: BTreeMap<String, u128>,
    pub(crate) after: BTreeMap<String, u128>,
}

impl Money {
    /// Gained, or lost.
    pub(crate) fn change(&self, party: &str) -> i128 {
        let signed = |amount: u128| i128::try_from(amount).unwrap();
        signed(self.after[party]) - signed(self.before[party])
    }

    /// Adds up to the unit, fees included; and nobody gained or lost but the price, and fees by who sends transactions.
    #[track_caller]
    pub(crate) fn check(&self, paid: bool) {
        let sum = |held: &BTreeMap<String, u128>| held.values().sum::<u128>();
        assert_eq!(sum(&self.before), sum(&self.after), "{self:?}");
        let price = if paid { i128::try_from(PRICE).unwrap() } else { 0 };
        assert_eq!(self.change("locker-co"), price, "the payee: {self:?}");
        assert_eq!(self.change("sensor-co"), 0, "who only signs: {self:?}");
        assert!(self.change("operator") <= 0, "{self:?}");
        let renters_fees = -self.change("renter") - price;
        let fees = self.change("fees");
        assert!(renters_fees > 0 && fees > 0, "a transaction is never free: {self:?}");
        assert_eq!(
            renters_fees - self.change("operator"),
            fees,
            "the renter lost more than price and fees: {self:?}"
        );
    }
}

/// `sofie verify`: its exit code and verdict in words.
pub(crate) fn verify(receipt: &Path, anchors: Option<&Path>) -> (i32, String) {
    let mut command = sofie(&["verify"]);
    command.arg(receipt);
    if let Some(anchors) = anchors {
        command.arg("--anchors").arg(anchors);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().unwrap_or(-1), format!("{}{}", text(&stdout), text(&stderr)))
}

/// Both with and without anchors; the story that the receipt tells begins with `tells`.
#[track_caller]
pub(crate) fn accepted(story: &Story, tells: &str) {
    let (code, said) = verify(&story.receipt(), Some(&story.anchors()));
    assert!(code == 0 && said.contains(&format!("\nverified: {tells}")), "{code}: {said}");
    let (code, said) = verify(&story.receipt(), None);
    assert!(
        code == 0 && said.contains(&format!("\nconsistent, anchors not pinned: {tells}")),
        "{code}: {said}"
    );
    assert!(said.lines().any(|line| line.starts_with("? ")), "something is shown as unanchored: {said}");
}
