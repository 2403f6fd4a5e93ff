//! Every broken protocol is found out by the simulation, within a few seeds.

use sofie_testkit::simulation::{self, Mutant};

/// A mutant that needs more worlds than this is not caught.
const SEEDS: u64 = 400;

#[test]
fn every_mutant_is_found_out() {
    let mut alive = Vec::new();
    for mutant in Mutant::ALL {
        match simulation::sweep(0..SEEDS, Some(*mutant)).unwrap().found {
            Some(world) => {
                let violation = world.violation.expect("it was found for its violation");
                println!("{mutant}: seed {}, {}: {}", world.seed, violation.promise, violation.what);
            }
            None => alive.push(mutant.name()),
        }
    }
    assert!(alive.is_empty(), "these live through {SEEDS} worlds: {alive:?}");
    assert!(Mutant::ALL.len() >= 12);
}
