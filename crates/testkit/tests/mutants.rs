//! Every broken protocol is found out by the simulation, within a few seeds, and for what it breaks: the column "found by"
//! of docs/guide/simulation.md.

use std::collections::BTreeMap;

use sofie_testkit::simulation::{self, Mutant};

/// A mutant that needs more worlds than this is not caught.
const SEEDS: u64 = 400;

/// What breaks only in rare worlds is looked for from these on: CI has no time for all before them.
const FROM: &[(Mutant, u64)] = &[
    (Mutant::HastyGuard, 715),
    (Mutant::SlowAbort, 95),
    (Mutant::BlindFinality, 146),
    (Mutant::ReDecide, 57),
    (Mutant::FreshLock, 193),
];

const PAGE: &str = include_str!("../../../docs/guide/simulation.md");

/// What may find each mutant, as the guide's table says: promises by their names, and the balances.
fn expected() -> BTreeMap<&'static str, Vec<&'static str>> {
    let (_, rows) = PAGE.split_once("| mutant | breaks | found by |").expect("the guide's table");
    let rows = rows.lines().skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &'static str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let words = cells[3].split([',', ':', ' ']);
        let promise = |word: &&str| *word == "balances" || word.len() == 2 && word.starts_with('P');
        (cells[1], words.filter(promise).collect())
    };
    rows.map(row).collect()
}

#[test]
fn every_mutant_is_found_out_for_what_it_breaks() {
    let (expected, mut wrong) = (expected(), Vec::new());
    for mutant in Mutant::ALL {
        let from = FROM.iter().find(|(one, _)| one == mutant).map_or(0, |(_, from)| *from);
        let Some(world) = simulation::sweep(from..from + SEEDS, Some(*mutant)).unwrap().found else {
            wrong.push(format!("{mutant} lives through {SEEDS} worlds from {from}"));
            continue;
        };
        let violation = world.violation.expect("it was found for its violation");
        println!("{mutant}: seed {}, {}: {}", world.seed, violation.promise, violation.what);
        let by = expected.get(mutant.name());
        if !by.is_some_and(|by| by.contains(&violation.promise)) {
            wrong.push(format!("{mutant} was found by {}, the guide says {by:?}", violation.promise));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(Mutant::ALL.len() >= 12);
    let stale = expected.keys().filter(|name| !Mutant::ALL.iter().any(|mutant| mutant.name() == **name));
    assert_eq!(stale.count(), 0, "the guide names mutants that are not there: {expected:?}");
}
