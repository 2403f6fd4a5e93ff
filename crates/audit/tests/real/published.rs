//! Roots of the calendar's seconds that were published: what is under one, and all who pretend to be, with the log's
//! own key.

use sofie_audit::{Anchors, Outcome, Publication, Receipt, Report, Verdict, verify_under};
use sofie_ledgers::evm::contracts::{DECISION, ESCROW};
use sofie_model::proof::calendar::{Extension, LogProof, PublishedRoot};
use sofie_model::{Digest, Operation, Proof, Step};

use crate::tale::{self, Tale, operator};
use crate::{Run, receipt};

/// A refunded story; the log has taken notes before it, each of these texts.
async fn refunded(before: &[&str]) -> (Run, Receipt) {
    let tale = Tale::refunded();
    let mut run = Run::begin(&tale).await;
    for text in before {
        note(&run, text).await;
    }
    run.describe(&tale.body()).await;
    run.commit(tale.preimages.clone()).await;
    run.ledgers.reach(tale.refunded_at);
    run.on_chain(run.step(0, Step::Refund)).await;
    let receipt = receipt(&run, &tale, |_| {}).await;
    (run, receipt)
}

/// Others go on using the log, in seconds of their own.
async fn go_on(run: &Run, from: u64, texts: &[&str]) {
    for (second, text) in (from..).zip(texts) {
        run.ledgers.reach(second);
        note(run, text).await;
    }
    run.ledgers.reach(from + texts.len() as u64);
    run.ledgers.calendar.publish().await.unwrap();
}

async fn note(run: &Run, text: &str) {
    let operation = Operation::Note { topic: Digest::ZERO, commitment: Digest::sha256(text.as_bytes()) };
    crate::carry_out(&run.ledgers.calendar, &operation).await.unwrap();
}

fn in_log(receipt: &Receipt) -> &LogProof {
    receipt
        .body
        .proofs
        .iter()
        .find_map(|one| match &one.proof {
            Proof::Calendar(proof) => Some(proof),
            _ => None,
        })
        .unwrap()
}

fn root(run: &Run) -> PublishedRoot {
    run.ledgers.calendar.published().parse().unwrap()
}

fn extension(run: &Run, of: &Receipt, seconds: u64) -> Extension {
    let head = in_log(of).head().unwrap();
    run.ledgers.calendar.extension(head.size, head.root, seconds).unwrap()
}

/// By anchors that know the chain and the parties, but not the log's key.
fn judged(receipt: &Receipt, roots: &[&PublishedRoot], extensions: &[&Extension]) -> Report {
    let mut anchors: Anchors = tale::anchors(receipt);
    anchors.calendar.clear();
    anchors.know_contracts(DECISION.address, ESCROW.address);
    anchors.chain.iter_mut().for_each(|chain| {
        (chain.decision, chain.escrow) = (Some(DECISION.address), Some(ESCROW.address));
    });
    let publication = Publication {
        roots: roots.iter().copied().cloned().collect(),
        extensions: extensions.iter().copied().cloned().collect(),
    };
    verify_under(&receipt.to_bytes(), Some(&anchors), &publication)
}

fn refused(report: &Report) -> String {
    match report.verdict() {
        Verdict::Refused(reasons) => reasons.join("; "),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_receipt_is_anchored_by_a_root_that_was_published_later_without_the_logs_key() {
    let (run, receipt) = refunded(&["before"]).await;
    let unpinned = judged(&receipt, &[], &[]);
    assert_eq!(unpinned.verdict(), Verdict::ConsistentUnanchored);
    assert_eq!(unpinned.check("anchor calendar").unwrap().outcome, Outcome::Unanchored);
    go_on(&run, 700, &["a", "b", "c"]).await;
    let root = root(&run);

    let why = refused(&judged(&receipt, &[&root], &[]));
    assert!(why.contains("nothing leads from there to the root of"), "{why}");
    let extension = extension(&run, &receipt, root.size);
    let report = judged(&receipt, &[&root], &[&extension]);
    assert_eq!(report.verdict(), Verdict::Verified);
    let anchor = &report.check("anchor calendar").unwrap().reason;
    let by = format!("log calendar.test/log, by its published root of {} seconds, not by its key", root.size);
    assert_eq!(*anchor, by);
    assert!(
        report.check("published calendar").unwrap().reason.contains("facts extended to the published root")
    );
    let [printed] = &report.published[..] else { panic!("{:?}", report.published) };
    let checks = ["proof calendar", "published calendar", "anchor calendar", "prepared", "applied", "note"];
    assert_eq!(printed.checks, checks);
    assert!(printed.checks.iter().take(5).all(|name| report.check(name).is_some()));

    // A pinned key must hold besides.
    let publication = Publication { roots: vec![root.clone()], extensions: vec![extension.clone()] };
    let mut anchors = tale::anchors(&receipt);
    let both = verify_under(&receipt.to_bytes(), Some(&anchors), &publication);
    assert!(both.check("anchor calendar").unwrap().reason.contains("; and by its published root"));
    anchors.calendar[0].key = Digest([1; 32]);
    let why = refused(&verify_under(&receipt.to_bytes(), Some(&anchors), &publication));
    assert!(why.contains("has key"), "{why}");

    // A root that is older than the receipt, and one of which the receipt shows nothing.
    let (note, _) = run.ledgers.calendar.published_at(1).unwrap();
    let why = refused(&judged(&receipt, &[&note.parse().unwrap()], &[&extension]));
    assert!(why.contains("leads to the root of"), "{why}");
    let other = PublishedRoot { log: "calendar.test/other".into(), ..root.clone() };
    let why = refused(&judged(&receipt, &[&root, &other], &[&extension]));
    assert_eq!(why, "published calendar.test/other: no proof of this receipt that holds is of that log");
}

/// The thief has the log's key and the operator's: he writes the log anew, and signs a receipt of it.
#[tokio::test]
async fn a_receipt_of_a_history_that_the_stolen_key_signed_is_refused_under_the_published_root() {
    let (run, receipt) = refunded(&["before"]).await;
    let (thief, forged) = refunded(&["before", "what was never there"]).await;
    assert_eq!(in_log(&receipt).key, in_log(&forged).key, "it is the same key");
    go_on(&run, 700, &["a", "b", "c"]).await;
    go_on(&thief, 700, &["a", "b", "c"]).await;
    let (root, theirs) = (root(&run), root(&thief));
    assert!(root.size == theirs.size && root.root != theirs.root, "two histories, equally long");

    // By the key alone both are good.
    for one in [&receipt, &forged] {
        let bytes = one.to_bytes();
        let mut anchors = tale::anchors(one);
        anchors.chain.iter_mut().for_each(|chain| {
            (chain.decision, chain.escrow) = (Some(DECISION.address), Some(ESCROW.address));
        });
        assert_eq!(
            verify_under(&bytes, Some(&anchors), &Publication::default()).verdict(),
            Verdict::Verified
        );
    }
    let honest = extension(&run, &receipt, root.size);
    let split = extension(&thief, &forged, theirs.size);
    // It does not connect: bent so that it seems to begin at the forged log, and to end at the printed root.
    let bent = Extension { size: split.size, root: split.root, ..honest.clone() };
    let mixed = Extension { checkpoint: honest.checkpoint.clone(), ..split.clone() };
    for (lie, expected) in [
        (&honest, "nothing leads from there"),
        (&split, "it shows two histories"),
        (&bent, "it is of another history"),
        (&mixed, "does not stand under the root"),
    ] {
        let why = refused(&judged(&forged, &[&root], &[lie]));
        assert!(why.contains("published calendar: ") && why.contains(expected), "{expected}: {why}");
    }
    // Its own words may be left out of the proof, and the receipt signed again.
    let mut stripped = forged.body.clone();
    for one in &mut stripped.proofs {
        if let Proof::Calendar(proof) = &mut one.proof {
            proof.published = None;
        }
    }
    let why = refused(&judged(&stripped.sign(&operator()), &[&root], &[&honest, &split, &bent, &mixed]));
    assert!(why.contains("published calendar: "), "{why}");
    assert!(thief.ledgers.calendar.extension(honest.size, honest.root, theirs.size).is_err());
    assert_eq!(judged(&receipt, &[&root], &[&split, &honest]).verdict(), Verdict::Verified);
}
