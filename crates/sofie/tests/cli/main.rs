//! The command line, by its whole output: each folder of `cases`, `node`, `drafts` and `anvil` is one case.
//!
//! A case is `cmd` (a script for `sh`; `sofie` is on its PATH), `in/` (the files it starts from, optional), and what it
//! must give: `stdout`, `stderr`, `code`. Only what differs from run to run is masked: paths, ids, times, ports
//! (`mask.rs`). The cases of `node` and of `drafts` run in the order of their names against one running node and its devices.
//! `SOFIE_BLESS=1 cargo test -p sofie --test cli` writes what was given as what must be given: read the difference
//! before you keep it.

mod case;
mod double;
mod hostile;
mod liar;
mod mask;
mod world;

use std::path::{Path, PathBuf};

use case::{Case, Told};
use mask::Mask;

/// The folder of the cases of one sort.
fn folder(sort: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(sort)
}

#[tokio::test]
async fn alone() {
    let wrong_chain = double::ChainOfAnotherId::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken_port = taken.local_addr().expect("it is bound").port().to_string();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let free_port = free.local_addr().expect("it is bound").port().to_string();
    drop(free);
    let env = [
        ("RPC".to_owned(), wrong_chain.url()),
        ("TAKEN_PORT".to_owned(), taken_port),
        ("FREE_PORT".to_owned(), free_port),
    ];
    let mut told = Vec::new();
    for case in Case::all(&folder("cases")) {
        let run = case.run(&env).await;
        told.extend(case.judge(&run, &Mask::new(run.dir())));
    }
    fail_with(&told);
}

/// A real node with real devices: joined, rented, settled; then the same journal without the node.
#[tokio::test]
async fn with_a_node() {
    let mut world = world::World::start().await;
    let mut told = Vec::new();
    for case in Case::all(&folder("node")) {
        match case.name() {
            name if name.contains("-rented-") && world.transaction().is_none() => world.rent().await,
            name if name.contains("-stopped-") => world.stop().await,
            _ => {}
        }
        let run = case.run(&world.env()).await;
        let mut mask = Mask::new(run.dir());
        world.ids().into_iter().for_each(|(id, name)| mask.name(id, name));
        told.extend(case.judge(&run, &mask));
    }
    world.stop().await;
    fail_with(&told);
}

/// The same node, asked for transactions of the user's own: those that are refused, then those that run.
#[tokio::test]
async fn with_drafts() {
    let mut world = world::World::start().await;
    let mut told = Vec::new();
    for case in Case::all(&folder("drafts")) {
        let run = case.run(&world.env()).await;
        let mut mask = Mask::new(run.dir());
        world.ids().into_iter().for_each(|(id, name)| mask.name(id, name));
        told.extend(case.judge(&run, &mask));
    }
    hostile::a_draft_that_is_sent_again_begins_nothing_new(&mut world).await;
    world.stop().await;
    fail_with(&told);
}

#[tokio::test]
async fn hostile_users() {
    let mut world = world::World::start().await;
    world.join().await;
    hostile::every_bad_request_is_refused_before_anything_is_prepared(&world).await;
    hostile::a_renter_without_funds_aborts_and_nothing_moves(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_directory_that_lies_is_found_out() {
    let mut world = world::World::start().await;
    world.join().await;
    liar::every_lie_is_found_out(&world).await;
    world.stop().await;
}

/// The same fault as with the double, told by a real node.
#[tokio::test]
async fn with_a_real_chain() {
    let Some(chain) = sofie_peers::Anvil::start_with(&[]) else { return };
    let env = [("RPC".to_owned(), chain.url.clone())];
    let mut told = Vec::new();
    for case in Case::all(&folder("anvil")) {
        let run = case.run(&env).await;
        told.extend(case.judge(&run, &Mask::new(run.dir())));
    }
    fail_with(&told);
}

fn fail_with(told: &[Told]) {
    let all: Vec<String> = told.iter().map(ToString::to_string).collect();
    assert!(all.is_empty(), "{} outputs differ:\n{}", all.len(), all.join("\n"));
}
