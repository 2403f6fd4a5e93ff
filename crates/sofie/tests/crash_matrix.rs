//! `kill -9` at every step of the journal, and a restart: the same outcome each time.
//!
//! The one exception has a name (design: "Recovery"): a node that is killed after it wrote that the device is told, and
//! before the device heard of it, never tells it again. No evidence comes, and the renter has the money back.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};

use common::{Story, accepted, story};

/// More steps than a story has.
const MOST: u64 = 200;
/// So many stories at once.
const AT_ONCE: usize = 2;

/// What a killed story did wrong, if anything.
fn judge(step: u64, story: &Story) {
    let names = story.names();
    let about = || format!("killed at {step}: {:#}\n{}", story.report, story.said);
    assert_eq!(story.restarts(), 1, "{}", about());
    assert_eq!(story.field("verified"), "verified", "{}", about());
    match story.field("outcome") {
        "committed" => {
            assert_eq!(story.code, 0, "{}", about());
            // Nothing is left out, nothing happens twice: also not the device's act.
            story.went_well();
            story.money().check(true);
            accepted(story, "settled");
        }
        "refunded" => {
            // Written: "is being told", perhaps "is let in"; and then nothing more by the node that was killed.
            let at =
                names.iter().position(|name| name == "fate-unknown").unwrap_or_else(|| panic!("{}", about()));
            assert!(matches!(names[at - 1].as_str(), "asked" | "admitted"), "{}", about());
            assert!(!story.has("actuated") && !story.has("observed"), "{}", about());
            story.money().check(false);
            accepted(story, "refunded");
        }
        _ => panic!("{}", about()),
    }
}

#[test]
fn killed_at_any_step_the_story_ends_the_same() {
    let next = AtomicU64::new(1);
    let (committed, refunded, whole) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while whole.load(Ordering::SeqCst) == 0 {
                    let step = next.fetch_add(1, Ordering::SeqCst);
                    assert!(step < MOST, "a story has no {MOST} steps");
                    let story = story(&["--kill-at-write", &step.to_string()]);
                    if story.restarts() == 0 {
                        // The journal has no such step: all were tried.
                        whole.store(step, Ordering::SeqCst);
                        return;
                    }
                    judge(step, &story);
                    let count = if story.field("outcome") == "committed" { &committed } else { &refunded };
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    let [committed, refunded, whole] = [committed, refunded, whole].map(|count| count.load(Ordering::SeqCst));
    eprintln!("{whole} steps: {committed} committed, {refunded} refunded");
    // Joining, preparing, deciding, applying, telling, seeing, settling: each is at least one step.
    assert!(committed > 25, "only {committed} steps were killed at");
    // Told and let in, and readings that count for nothing in between.
    assert!((1..=4).contains(&refunded), "{refunded} stories were refunded");
}
