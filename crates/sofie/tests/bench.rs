//! `sofie bench` as a process: short runs print every field, and only after the ledgers hold what was done, or wait for it.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sofie"));
    command.env("SOFIE_PEERS", sofie_peers::folder());
    command.arg("bench").args(args).output().expect("the binary is built")
}

#[test]
fn a_short_run_prints_one_object_with_every_field() {
    let ran = bench(&["tx", "--count", "20", "--concurrency", "4", "-o", "json"]);
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{stderr}");
    let measure: Value = serde_json::from_slice(&ran.stdout).expect("one JSON object");
    assert_eq!(measure["name"], "tx-two-leg");
    assert_eq!(measure["unit"], "atomic transactions/s");
    assert_eq!(measure["peer"], "raw submits to the same ledgers");
    assert_eq!((&measure["count"], &measure["concurrency"]), (&20.into(), &4.into()));
    for field in ["ours", "theirs", "ratio", "p50_ms", "p99_ms", "peer_p50_ms", "peer_p99_ms"] {
        assert!(measure[field].as_f64().is_some_and(|value| value > 0.0), "{field} in {measure}");
    }
    assert!(measure["p50_ms"].as_f64() <= measure["p99_ms"].as_f64(), "{measure}");
    assert!(measure["bound"].as_str().is_some_and(|bound| !bound.is_empty()), "{measure}");
}

#[test]
fn three_legs_are_committed_and_applied_on_all_three_ledgers() {
    let ran = bench(&["tx", "--legs", "3", "--count", "6", "--concurrency", "3"]);
    let stdout = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(stdout.contains("tx-three-leg"), "{stdout}");
    assert!(
        stdout.ends_with("all 12 transactions of both sides are committed and applied on all 3 ledgers\n"),
        "{stdout}"
    );
}

#[test]
fn transactions_on_a_real_node_are_looked_up_there() {
    let Some(_) = sofie_peers::program("anvil") else { return };
    let args = ["anvil", "--count", "7", "--concurrency", "4", "--payers", "2", "--block-ms", "100"];
    let ran = bench(&[&args[..], &["-o", "json"]].concat());
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    let measure: Value = serde_json::from_slice(&ran.stdout).expect("one JSON object");
    assert_eq!((&measure["name"], &measure["count"]), (&"tx-anvil".into(), &7.into()));
    assert_eq!((&measure["block_ms"], &measure["block_gas"]), (&100.into(), &1_000_000_000.into()));
    for field in ["ours", "theirs", "ratio", "p50_ms", "p99_ms"] {
        assert!(measure[field].as_f64().is_some_and(|value| value > 0.0), "{field} in {measure}");
    }
}

#[test]
fn records_are_sent_in_one_transaction_and_their_proofs_are_checked() {
    let ran = bench(&["records", "--count", "150", "--concurrency", "8", "-o", "json"]);
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{stderr}");
    let stdout = String::from_utf8_lossy(&ran.stdout);
    let lines: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let [sent, verified] = lines.as_slice() else { panic!("{stdout}") };
    assert_eq!((&sent["name"], &sent["count"]), (&"records-sent".into(), &150.into()));
    assert_eq!((&sent["transactions"], &verified["count"]), (&2.into(), &300.into()));
    assert_eq!(verified["name"], "records-verified");
    for (measure, fields) in [
        (sent, ["ours", "theirs", "ratio", "p99_ms", "gas_per_record", "peer_gas_per_record"]),
        (verified, ["ours", "theirs", "ratio", "count", "proof_bytes", "checkpoint_bytes"]),
    ] {
        for field in fields {
            assert!(measure[field].as_f64().is_some_and(|value| value > 0.0), "{field} in {measure}");
        }
    }
    // One transaction's gas, shared by 150; and each record of the peer pays it alone.
    let gas = |field: &str| sent[field].as_f64().expect("a number");
    assert!(gas("gas_per_record") < 200.0 && gas("peer_gas_per_record") > 28_000.0, "{sent}");
    assert!(verified["proof_bytes"].as_u64() < Some(1_024), "{verified}");
}

fn restart(args: &[&str], chain: &str) {
    let ran = bench(&[&["restart", "--count", "12", "-o", "json"], args].concat());
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    let measure: Value = serde_json::from_slice(&ran.stdout).expect("one JSON object");
    assert_eq!((&measure["name"], &measure["count"]), (&"restart".into(), &12.into()));
    assert_eq!(measure["chain"], chain);
    for field in ["ours", "theirs", "ratio", "ledgers_s", "journal_s", "adopted_s", "all_read_s"] {
        assert!(measure[field].as_f64().is_some_and(|value| value > 0.0), "{field} in {measure}");
    }
    assert!(measure["bound"].as_str().is_some_and(|bound| bound.ends_with(" %")), "{measure}");
    for (before, after) in [("ledgers_s", "journal_s"), ("journal_s", "ours"), ("journal_s", "adopted_s")] {
        assert!(measure[before].as_f64() <= measure[after].as_f64(), "{measure}");
    }
}

#[test]
fn a_restart_finds_every_transaction_waiting() {
    restart(&[], "embedded");
}

#[test]
fn a_restart_finds_every_transaction_waiting_whose_escrow_is_on_anvil() {
    let Some(_) = sofie_peers::program("anvil") else { return };
    restart(&["--anvil"], "anvil");
}

#[test]
fn people_get_a_table_and_what_bounds_it() {
    let ran = bench(&["tx", "--count", "3", "--concurrency", "2", "--payers", "1"]);
    let stdout = String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    for expected in ["tx-two-leg", "ours", "raw submits to the same ledgers", "ratio", "bound", "all 6 "] {
        assert!(stdout.contains(expected), "{expected} in {stdout}");
    }
}

#[test]
fn counts_outside_the_limits_are_wrong_use() {
    for args in [
        ["tx", "--legs", "4"],
        ["tx", "--count", "0"],
        ["tx", "--concurrency", "5000"],
        ["tx", "--payers", "0"],
        ["anvil", "--block-gas", "1"],
    ] {
        assert_eq!(bench(&args).status.code(), Some(2), "{args:?}");
    }
}
