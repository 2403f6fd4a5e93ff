//! `kill -9` when the journal has taken a write, whichever of the transaction's phases that falls into, and a start on it.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::Value;
use sofie_peers::Anvil;

use crate::bitcoin::Bitcoin;
use crate::books::add_up;
use crate::common::company::{AMOUNT, Company};
use crate::common::{sofie, text};
use crate::{Swap, ledgers, node};

/// After so many writes since its start each node is killed. How many come before the transaction, and which of its steps
/// shares a write, is the journal's affair: that every phase is met is asserted.
const WRITES: [u64; 6] = [3, 6, 8, 9, 11, 14];
const SWAP: Swap = Swap { name: "swap", ether: AMOUNT, satoshi: 1_000_000 };

/// The phase in which the node was killed, as its journal tells it, and whether the swap took place in the end.
fn killed_at(company: &mut Company, write: u64) -> (String, bool) {
    company.start(&["--pause-at", &format!("write:{write}")]);
    // It may never be answered.
    let draft = SWAP.draft(company);
    let mut submit = sofie(&["tx", "submit", &draft, "--key", SWAP.name, "--node", &company.url]);
    let mut asked = submit.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    company.process.as_mut().expect("it runs").paused();
    company.kill();
    asked.wait().expect("it ends");
    let phase = phase(company);
    company.start(&[]);
    let id = SWAP.submit(company);
    (phase, SWAP.ended(company, &id))
}

/// What the journal of a node that is down holds.
fn phase(company: &Company) -> String {
    let data = company.folder.path().join("sofie-data").display().to_string();
    let listed = sofie(&["tx", "ls", "-o", "json", "--data-dir", &data]).output().expect("it runs");
    let all: Value =
        serde_json::from_slice(&listed.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&listed.stderr)));
    all[0]["phase"].as_str().unwrap_or("nothing").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_in_any_phase_of_a_swap_on_real_ledgers_ends_it() {
    let Some(chain) = Anvil::start() else { return };
    let mut nodes = Vec::new();
    for _ in WRITES {
        nodes.push(node(&chain).await);
    }
    let coins: Vec<_> = nodes.iter().map(|company| company.bitcoin_key(1)).collect();
    let Some(bitcoin) = Bitcoin::start(&coins).await else { return };
    // The contracts are there before the others come.
    node(&chain).await.start(&[]);
    for company in &mut nodes {
        company.ledgers = ledgers(&chain.url, &bitcoin, bitcoin.node.url.as_str());
    }
    let ended: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = nodes
            .iter_mut()
            .zip(WRITES)
            .map(|(company, write)| scope.spawn(move || killed_at(company, write)))
            .collect();
        all.into_iter().map(|one| one.join().expect("it ends")).collect()
    });
    let phases: BTreeSet<_> = ended.iter().map(|(phase, _)| phase.as_str()).collect();
    eprintln!("{ended:?}");
    assert!(
        phases.is_superset(&BTreeSet::from(["preparing", "collecting", "deciding", "applying"])),
        "{ended:?}"
    );
    assert!(ended.iter().all(|(_, committed)| *committed), "there was time: {ended:?}");
    let all: Vec<_> = nodes
        .iter()
        .zip(&ended)
        .map(|(company, (_, committed))| (company, vec![(&SWAP, *committed)]))
        .collect();
    add_up(&chain, &bitcoin, WRITES.len() as u64, &all).await;
}
