//! `sofie try swap` and its faults, on an anvil and a bitcoind that the program starts itself: from where the
//! other tests find them, the user's cache or the PATH, and installs where they are nowhere.

mod common;

use common::{sofie, text};
use serde_json::Value;
use sofie_model::{Span, Timestamp};
use sofie_node::api::At;

/// In the smallest unit of each ledger.
const ETHER: i128 = 1_000_000_000_000_000;
const BITCOIN: i128 = 1_000_000;
/// T_D of examples/swap/swap.toml.
const DEADLINE: Span = Span::from_seconds(30);
/// What COMMIT may take by examples/swap/node.toml.
const DECISION: Span = Span::from_seconds(5);

struct Swap(Value);

fn swap(args: &[&str]) -> Swap {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = sofie(&["try", "swap", "--json", "--receipt-dir"]);
    let output = command.arg(folder.path()).args(args).output().expect("it runs");
    let (told, said) = (text(&output.stdout), text(&output.stderr));
    let report: Value =
        serde_json::from_str(&told).unwrap_or_else(|e| panic!("{args:?}: {e}: {told:?}\n{said}"));
    assert_eq!(output.status.code(), Some(0), "{report:#}\n{said}");
    let swap = Swap(report);
    swap.adds_up();
    swap
}

impl Swap {
    fn outcome(&self) -> &str {
        self.0["outcome"].as_str().expect("it tells how it ended")
    }

    fn steps(&self) -> &[Value] {
        self.0["steps"].as_array().expect("steps")
    }

    fn has(&self, step: &str) -> bool {
        self.steps().iter().any(|one| one["name"] == step)
    }

    /// What became of the lock on `ledger` until the first secret went out, one word once.
    fn lock_until_release(&self, ledger: &str) -> Vec<&str> {
        let before = self.steps().iter().take_while(|one| one["name"] != "released");
        let mut names: Vec<_> =
            before.filter(|one| one["ledger"] == ledger).filter_map(|one| one["name"].as_str()).collect();
        names.dedup();
        names
    }

    /// When the step came the last time.
    fn at(&self, step: &str) -> Timestamp {
        let last = self.steps().iter().rev().find(|one| one["name"] == step);
        let last = last.unwrap_or_else(|| panic!("no {step}: {:#}", self.0));
        serde_json::from_value::<At>(last["at"].clone()).expect("an instant").0
    }

    fn held(&self, when: &str, ledger: &str, party: &str) -> i128 {
        self.0["balances"][when][ledger][party]
            .as_i64()
            .map_or_else(|| panic!("{when} {ledger} {party}: {:#}", self.0), i128::from)
    }

    fn change(&self, ledger: &str, party: &str) -> i128 {
        self.held("after", ledger, party) - self.held("before", ledger, party)
    }

    /// Nothing is lost or made, to the unit, and nobody has more than was agreed.
    fn adds_up(&self) {
        for (ledger, payer, payee, amount) in
            [("ethereum", "alice", "bob", ETHER), ("bitcoin", "bob", "alice", BITCOIN)]
        {
            let changes = ["alice", "bob", "operator", "fees"].map(|party| self.change(ledger, party));
            assert_eq!(changes.iter().sum::<i128>(), 0, "{ledger}: {:#}", self.0);
            let (paid, got) = (self.change(ledger, payer), self.change(ledger, payee));
            let fees = self.change(ledger, "fees");
            let moved = if self.outcome() == "committed" { amount } else { 0 };
            assert!(paid <= -moved && paid >= -moved - fees, "{ledger}: {:#}", self.0);
            assert!(got <= moved && got >= moved - fees, "{ledger}: {:#}", self.0);
        }
    }
}

#[test]
fn both_are_paid_and_the_calendar_keeps_it() {
    let swap = swap(&[]);
    assert_eq!(swap.outcome(), "committed");
    for step in ["ledgers", "submitted", "prepared", "released", "decided", "applied"] {
        assert!(swap.has(step), "{step}: {:#}", swap.0);
    }
    assert!(swap.0["least_slack_ms"].as_u64().is_some_and(|slack| slack > 0), "{:#}", swap.0);
}

#[test]
fn a_node_that_is_killed_or_oversleeps_still_commits() {
    std::thread::scope(|scope| {
        for fault in ["crash", "sleep", "late-claim"] {
            scope.spawn(move || {
                let swap = swap(&["--fault", fault]);
                assert_eq!((swap.outcome(), &swap.0["restarts"]), ("committed", &Value::from(1)), "{fault}");
            });
        }
    });
}

#[test]
fn without_bitcoin_nothing_has_moved() {
    let swap = swap(&["--fault", "bitcoin-down"]);
    assert_eq!(swap.outcome(), "aborted");
    assert!(swap.has("renounced") && swap.has("reverted"), "{:#}", swap.0);
    // An alarm came before, and is not why.
    let reason = swap.0["reason"].as_str().unwrap_or_default();
    assert!(swap.has("alarm") && !reason.is_empty() && !reason.contains("left to"), "{:#}", swap.0);
}

/// P3: what was undone before a secret was out is locked again, nothing is released before, and the receipt names the lock
/// that stands.
#[test]
fn a_lock_that_a_reorganisation_of_either_chain_undoes_is_made_again() {
    std::thread::scope(|scope| {
        for (fault, ledger) in [("reorg-evm", "ethereum"), ("reorg-bitcoin", "bitcoin")] {
            scope.spawn(move || {
                let swap = swap(&["--fault", fault]);
                let lock = swap.lock_until_release(ledger);
                assert_eq!(lock, ["prepared", "reorganised", "undone", "prepared"], "{fault}: {:#}", swap.0);
                assert_eq!(swap.0["verified"], "verified", "{fault}: {:#}", swap.0);
                // Only time may keep it from COMMIT.
                let too_late = swap.at("prepared") + DECISION > swap.at("submitted") + DEADLINE;
                assert!(swap.outcome() == "committed" || too_late, "{fault}: {:#}", swap.0);
            });
        }
    });
}
