//! Two companies' nodes share a transaction by commands, as docs/guide/two-nodes.md tells it: two `sofie up` on loopback
//! and one anvil that both reach, and for a swap one bitcoind.

#[path = "../common/bitcoin.rs"]
mod bitcoin;
#[path = "../common/mod.rs"]
mod common;
mod contracts;
mod evidence;
mod members;
mod swap;

use std::time::Instant;

pub(crate) use common::company::{AMOUNT, Company, PATIENCE, PAUSE, leg};
use serde_json::json;
pub(crate) use sofie_peers::Anvil;

/// Alice's node and Bob's, who may pay half of what the draft asks of him without being asked.
async fn companies(chain: &Anvil) -> (Company, Company) {
    let mut alice = Company::new("alice", &[], chain).await;
    let mut bob = Company::new("bob", &[], chain).await;
    alice.knows(&bob, 0);
    bob.knows(&alice, AMOUNT);
    (alice, bob)
}

pub(crate) async fn held(chain: &Anvil, companies: [&Company; 2]) -> [u128; 2] {
    let [alice, bob] = companies;
    [chain.balance(&alice.account).await, chain.balance(&bob.account).await]
}

/// Whether `after` is what `before` becomes by a change of `whole` [`AMOUNT`]s, but for fees.
#[track_caller]
pub(crate) fn changed(before: u128, after: u128, whole: i128) {
    let signed = |amount: u128| i128::try_from(amount).expect("it fits");
    let fees = signed(before) + whole * signed(AMOUNT) - signed(after);
    assert!((0..signed(AMOUNT) / 10).contains(&fees), "{before} to {after} is not {whole} amounts less fees");
}

#[tokio::test]
async fn what_one_company_submits_the_other_sees_and_declines_or_agrees_to() {
    let Some(chain) = Anvil::start() else { return };
    let (mut alice, mut bob) = companies(&chain).await;
    // Bob's node is away: nothing is begun.
    alice.start(&[]);
    let (code, _, said) = alice.tx(&["submit", &alice.draft("early", 90)]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("legs[0].to: for bob, peer bob-co at") && said.contains("nothing was begun"),
        "{said}"
    );
    assert_eq!(alice.one(&["ls"]), json!([]));
    bob.start(&[]);
    let before = held(&chain, [&alice, &bob]).await;

    let id = alice.submits("no", 120);
    bob.until(&id, "proposed", |shown| shown["phase"] == "proposed");
    let (code, told, _) = bob.tx(&["show", &id[..8]]);
    assert_eq!(code, 0);
    for part in [
        "phase        proposed",
        "label        verified",
        "leg 0        ethereum (verifying): proposed, alice pays bob 100000000000000000",
        "leg 1        ethereum (verifying): proposed, bob pays alice 200000000000000000",
        "proposed by  peer alice-co",
        "between      alice, bob",
        "because      with it 200000000000000000 is paid on ethereum, and 100000000000000000 is automatic",
        "next         sofie tx agree, or sofie tx decline",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(bob.one(&["decline", &id[..8], "--reason", "not this week"])["phase"], "declined");
    let (code, _, said) = bob.tx(&["agree", &id]);
    assert!(code == 1 && said.contains("its owner has declined: not this week"), "{code}: {said}");
    let declined = alice.until(&id, "declined", |shown| shown["phase"] == "declined");
    assert_eq!(declined["proposal"]["why"], "peer bob-co declines: its owner has declined: not this week");
    let id = alice.submits("back", 120);
    bob.until(&id, "proposed", |shown| shown["phase"] == "proposed");
    assert_eq!(alice.one(&["withdraw", &id[..8], "--reason", "sold elsewhere"])["phase"], "declined");
    let back = bob.until(&id, "declined", |shown| shown["phase"] == "declined");
    let why = "peer alice-co has withdrawn it: its owner has withdrawn it: sold elsewhere";
    assert_eq!(back["proposal"]["why"], why);
    let (code, _, said) = bob.tx(&["agree", &id]);
    assert!(code == 1 && said.contains("sold elsewhere"), "{code}: {said}");
    assert_eq!(held(&chain, [&alice, &bob]).await, before, "nothing was paid, not even a fee");

    let id = alice.submits("yes", 120);
    bob.until(&id, "proposed", |shown| shown["phase"] == "proposed");
    bob.one(&["agree", &id]);
    bob.one(&["agree", &id]);
    assert_eq!((alice.ends(&id), bob.ends(&id)), ("commit".into(), "commit".into()));
    let after = held(&chain, [&alice, &bob]).await;
    changed(before[0], after[0], 1);
    changed(before[1], after[1], -1);
}

/// Killed at a step of its journal and started again, either node ends as the other does.
#[tokio::test]
async fn a_node_that_is_killed_at_a_step_ends_as_the_other_does() {
    let Some(chain) = Anvil::start() else { return };
    let (mut alice, mut bob) = companies(&chain).await;
    // Each stops before it sends what its own party locks: the other's is locked, or about to be.
    for (name, whose, step) in [("a-locks", 0, "intent:prepare 0"), ("b-locks", 1, "intent:prepare 1")] {
        let before = held(&chain, [&alice, &bob]).await;
        let stop = ["--pause-at", step];
        alice.start(if whose == 0 { &stop } else { &[] });
        bob.start(if whose == 1 { &stop } else { &[] });
        let id = alice.submits(name, 120);
        bob.until(&id, "proposed", |shown| shown["phase"] == "proposed");
        // It may stop before it has answered: then the word is given, and its answer is not.
        let _ = bob.tx(&["agree", &id]);
        let killed = if whose == 0 { &mut alice } else { &mut bob };
        killed.process.as_mut().expect("it runs").paused();
        killed.kill();
        killed.start(&[]);
        let (hers, his) = (alice.ends(&id), bob.ends(&id));
        assert_eq!(hers, his, "killed at {step}");
        let after = held(&chain, [&alice, &bob]).await;
        let whole = i128::from(hers == "commit");
        changed(before[0], after[0], whole);
        changed(before[1], after[1], -whole);
    }
}

/// Both nodes are dead after D has decided; a third, which holds no key of theirs, drives the legs from the manifest.
#[tokio::test]
async fn a_watcher_elsewhere_finishes_what_dead_nodes_have_decided() {
    let Some(chain) = Anvil::start() else { return };
    let (mut alice, mut bob) = companies(&chain).await;
    let mut watcher = Company::new("watcher", &[], &chain).await;
    let before = held(&chain, [&alice, &bob]).await;
    let stop = ["--pause-at", "intent:apply 0"];
    alice.start(&stop);
    bob.start(&stop);
    watcher.start(&[]);
    let id = alice.submits("watched", 120);
    bob.until(&id, "proposed", |shown| shown["phase"] == "proposed");
    bob.one(&["agree", &id]);
    for company in [&mut alice, &mut bob] {
        company.process.as_mut().expect("it runs").paused();
    }
    let file = watcher.folder.path().join("story.manifest").display().to_string();
    assert_eq!(alice.tx(&["manifest", &id, &file]).0, 0);
    alice.kill();
    bob.kill();
    let cut = format!("{file}.cut");
    let manifest = std::fs::read(&file).expect("a manifest");
    std::fs::write(&cut, &manifest[1..]).expect("a file");
    let (code, _, said) = watcher.tx(&["watch", &cut]);
    assert!(code == 1 && said.contains("the manifest cannot be watched"), "{said}");
    // Neither has sent what pays Bob.
    changed(before[1], held(&chain, [&alice, &bob]).await[1], -2);

    for _ in 0..2 {
        assert_eq!(watcher.one(&["watch", &file])["id"], id.as_str());
    }
    assert_eq!(watcher.ends(&id), "commit");
    let after = held(&chain, [&alice, &bob]).await;
    changed(before[0], after[0], 1);
    changed(before[1], after[1], -1);
    // A node of a participant is no watcher: it takes part.
    let (code, told, _) = watcher.tx(&["show", &id]);
    assert!(code == 0 && told.contains("watched"), "{told}");
}
