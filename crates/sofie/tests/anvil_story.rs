//! The same story on a real Ethereum node, anvil with a block a second, by configuration alone. The program finds anvil
//! where the other tests do, in the user's cache or on the PATH, and installs it where it is nowhere.

mod common;

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use common::{PRICE, Step, Story, accepted, story, tamper};

/// `examples/locker/anvil.toml` with a port that is free now.
fn config(folder: &Path) -> PathBuf {
    let example = include_str!("../../../examples/locker/anvil.toml");
    let free =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let text = example.replace("http://127.0.0.1:8545", &format!("http://{free}"));
    assert_ne!(text, example, "the example's url has changed");
    let file = folder.join("anvil.toml");
    std::fs::write(&file, text).expect("it is written");
    file
}

fn on_anvil(args: &[&str]) -> Story {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(folder.path()).display().to_string();
    story(&[&["-c", &config], args].concat())
}

#[test]
fn records_go_to_the_same_node_in_batches() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = config(folder.path());
    let text = std::fs::read_to_string(&file).expect("it was written");
    let batches = "kind = \"evm-records\"\non = \"ethereum\"\ninterval = \"200ms\"";
    std::fs::write(&file, text.replace("kind = \"calendar\"", batches)).expect("it is written");
    let story = story(&["-c", &file.display().to_string()]);
    ended(&story, "committed");
    story.went_well();
    story.money().check(true);
    accepted(&story, "settled");
}

#[track_caller]
fn ended(story: &Story, outcome: &str) {
    assert_eq!((story.field("outcome"), story.code), (outcome, 0), "{:#}\n{}", story.report, story.said);
    assert_eq!(story.field("verified"), "verified", "{:#}", story.report);
}

#[test]
fn the_good_story_and_its_receipt() {
    let (one, other) = std::thread::scope(|scope| {
        let embedded = scope.spawn(|| story(&[]));
        (on_anvil(&[]), embedded.join().expect("it ends"))
    });
    ended(&one, "committed");
    one.went_well();
    let is_on_chain = |step: &Step| step.ok && step.ledger.as_deref() == Some("ethereum");
    let on_chain = one.steps().into_iter().filter(is_on_chain).count();
    assert_eq!(on_chain, 4, "prepared, decided, applied, settled: {:?}", one.steps());
    one.money().check(true);
    accepted(&one, "settled");
    let read = |story: &Story| std::fs::read(story.receipt()).expect("it was written");
    let (own, foreign) = (read(&one), read(&other));
    let mut lies = tamper::damaged(&own);
    lies.extend(tamper::spliced(&own, &foreign));
    tamper::refused(&one, &lies);
}

#[test]
fn a_node_that_is_killed_before_the_decision_commits_after_its_restart() {
    let story = on_anvil(&["--fault", "crash"]);
    ended(&story, "committed");
    assert_eq!(story.restarts(), 1);
    story.went_well();
    let money = story.money();
    money.check(true);
    assert_eq!(money.change("locker-co"), i128::try_from(PRICE).expect("small"), "paid once");
    accepted(&story, "settled");
}

#[test]
fn a_ledger_that_refuses_aborts_and_nothing_has_moved() {
    let story = on_anvil(&["--fault", "ledger-down"]);
    ended(&story, "aborted");
    story.money().check(false);
    accepted(&story, "aborted");
}

#[test]
fn evidence_by_a_key_without_authority_is_refunded() {
    let story = on_anvil(&["--fault", "forged-sensor"]);
    ended(&story, "refunded");
    assert!(story.has("evidence-refused") && !story.has("attested"), "{:?}", story.names());
    story.money().check(false);
    accepted(&story, "refunded");
}
