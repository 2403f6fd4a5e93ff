//! Worlds from seeds: the same seed is the same run, and no seed breaks a promise.

use sofie_testkit::simulation;

/// Worlds of the quick loop; `cargo xtask ci` runs 10,000.
const SEEDS: u64 = 60;

#[test]
fn the_same_seed_is_the_same_run_byte_for_byte() {
    for seed in [0, 3, 7, 11] {
        let first = simulation::run(seed, None, true).unwrap();
        assert!(first.trace.len() > 20, "seed {seed} shows {} steps", first.trace.len());
        assert_eq!(first, simulation::run(seed, None, true).unwrap(), "seed {seed}");
        let silent = simulation::run(seed, None, false).unwrap();
        assert_eq!((silent.steps, silent.tally), (first.steps, first.tally), "watching changes seed {seed}");
    }
}

#[test]
fn no_seed_breaks_a_promise() {
    let sweep = simulation::sweep(0..SEEDS, None).unwrap();
    let found = sweep.found.map(|world| (world.seed, world.violation));
    assert_eq!(found, None, "see it with sofie simulate --seed N --trace");
    assert_eq!(sweep.worlds, SEEDS);
    let tally = sweep.tally;
    let dull = [tally.committed, tally.aborted, tally.crashes, tally.undone].contains(&0);
    assert!(!dull, "a world in which nothing happens proves nothing: {tally:?}");
}

/// A decision that D drops while legs follow it, ends that are undone after all have ended, a lock that COMMIT includes.
#[test]
fn what_rests_on_a_ledger_that_breaks_its_word_halts() {
    let run = |seed| simulation::run(seed, None, true).unwrap();
    let worlds = [57, 146, 193].map(run);
    for world in &worlds {
        assert_eq!(world.violation, None, "seed {}: {}", world.seed, world.trace.join("\n"));
    }
    let halts = worlds.iter().filter(|world| world.beyond && world.tally.halted > 0);
    assert!(halts.count() > 0, "no ledger breaks its word there any more: take other seeds");
}

/// A COMMIT that missed T_D, a refund at T_p, and the payer's own COMMIT after that: a long run found it
/// (docs/adr/0014-pivot-rules.md).
#[test]
fn what_was_found_once_is_not_found_again() {
    // A COMMIT that came too late; one that includes a record that is then undone; a leg that refuses before others follow;
    // one that includes a lock that was never made; a claim begun after the halt.
    for seed in [26_999, 49_960, 67_774, 83_085, 305_385, 359_602] {
        let world = simulation::run(seed, None, true).unwrap();
        assert_eq!(world.violation, None, "{}", world.trace.join("\n"));
    }
}
