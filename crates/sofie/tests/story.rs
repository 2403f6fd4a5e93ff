//! `sofie try locker` and each of its faults, with the real program, its real devices and its embedded ledgers.

mod common;

use common::{PRICE, Story, accepted, story, tamper};

/// The ledgers on which a step happened, in order of their names.
fn ledgers(story: &Story, name: &str) -> Vec<String> {
    let mut ledgers: Vec<_> =
        story.steps().into_iter().filter(|step| step.name == name).filter_map(|step| step.ledger).collect();
    ledgers.sort();
    ledgers
}

#[track_caller]
fn ended(story: &Story, outcome: &str) {
    let (report, said) = (&story.report, &story.said);
    assert_eq!((story.field("outcome"), story.code), (outcome, 0), "{report:#}\n{said}");
    assert_eq!(story.field("verified"), "verified", "{report:#}");
    // The steps are in order of time.
    let times: Vec<_> = story.steps().into_iter().map(|step| step.at).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn the_good_story_pays_the_owner_and_proves_it() {
    let story = story(&[]);
    ended(&story, "committed");
    story.went_well();
    let went_wrong = |step: &&common::Step| !step.ok && step.name != "alarm";
    assert_eq!(story.steps().iter().find(went_wrong), None, "{:?}", story.steps());
    for (step, expected) in [
        ("prepared", &["calendar", "evm"][..]),
        ("decided", &["evm"]),
        ("applied", &["calendar", "evm"]),
        ("noted", &["calendar"]),
        ("settled", &["evm"]),
    ] {
        assert_eq!(ledgers(&story, step), expected, "{step}");
    }
    assert_eq!((story.restarts(), story.report["reason"].as_str()), (0, None));
    story.money().check(true);
    accepted(&story, "settled");
    // The line that the report names is one that works.
    assert!(story.field("verify").starts_with("sofie verify "), "{}", story.field("verify"));
    assert!(story.field("console").starts_with("http://127.0.0.1:"), "{}", story.field("console"));
}

#[test]
fn a_file_tells_the_same_story() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/locker/embedded.toml");
    let story = story(&["-c", file]);
    ended(&story, "committed");
    story.went_well();
    story.money().check(true);
}

#[test]
fn records_in_batches_on_the_same_chain_tell_the_same_story() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/locker/batches.toml");
    let story = story(&["-c", file]);
    ended(&story, "committed");
    story.went_well();
    for (step, expected) in [("prepared", &["evm", "records"]), ("applied", &["evm", "records"])] {
        assert_eq!(ledgers(&story, step), expected, "{step}");
    }
    assert_eq!(ledgers(&story, "noted"), ["records"]);
    story.money().check(true);
    accepted(&story, "settled");
    let lies = tamper::damaged(&std::fs::read(story.receipt()).expect("it was written"));
    tamper::refused(&story, &lies);
}

#[test]
fn a_node_that_is_killed_finds_its_batches_again() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/locker/batches.toml");
    let story = story(&["-c", file, "--fault", "crash"]);
    ended(&story, "committed");
    assert_eq!(story.restarts(), 1);
    story.went_well();
    story.money().check(true);
    accepted(&story, "settled");
}

#[test]
fn a_door_that_is_stuck_is_refunded_at_the_deadline() {
    let story = story(&["--fault", "door-stuck"]);
    ended(&story, "refunded");
    for step in ["actuated", "deadline", "refunded"] {
        assert!(story.has(step), "{step}: {:?}", story.names());
    }
    assert!(!story.has("attested") && !story.has("settled"), "{:?}", story.names());
    story.money().check(false);
    accepted(&story, "refunded");
}

#[test]
fn evidence_by_a_key_without_authority_is_refused_and_recorded_and_refunded() {
    let story = story(&["--fault", "forged-sensor"]);
    ended(&story, "refunded");
    let refused: Vec<_> = story.steps().into_iter().filter(|step| step.name == "evidence-refused").collect();
    assert!(refused.iter().any(|step| !step.ok && step.detail.contains("has authority")), "{refused:?}");
    assert!(!story.has("attested") && !story.has("settled"), "{:?}", story.names());
    story.money().check(false);
    accepted(&story, "refunded");
}

#[test]
fn a_ledger_that_refuses_aborts_and_nothing_has_moved() {
    let story = story(&["--fault", "ledger-down"]);
    ended(&story, "aborted");
    let reason = story.field("reason");
    assert!(reason.starts_with("calendar: ") && !reason.contains("left to"), "{reason}");
    assert_eq!(ledgers(&story, "prepare-refused"), ["calendar"]);
    for never in ["released", "applied", "capability-issued", "asked", "settled"] {
        assert!(!story.has(never), "{never}: {:?}", story.names());
    }
    story.money().check(false);
    accepted(&story, "aborted");
}

#[test]
fn a_node_that_is_killed_before_the_decision_commits_after_its_restart() {
    let story = story(&["--fault", "crash"]);
    ended(&story, "committed");
    assert_eq!(story.restarts(), 1);
    story.went_well();
    let money = story.money();
    money.check(true);
    assert_eq!(money.change("locker-co"), i128::try_from(PRICE).expect("small"), "paid once");
    accepted(&story, "settled");
}
