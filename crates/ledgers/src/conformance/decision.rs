//! Decision ledgers: exactly one decision stands, and the ledger checks it itself (design: "Secrets").

use sofie_model::{Account, Decide, Decision, Digest, Fact, Operation, Rule, Span};

use super::{
    Case, Failure, Needs, World,
    world::{During, abort, commit, commit_of, is_commit, other, same, secrets},
};
use crate::Status;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "decision: COMMIT stands with its preimages and evidence root",
        needs: Needs::Decides,
        run: |w| Box::pin(commit_stands(w)),
    },
    Case {
        name: "decision: ABORT stands with its author",
        needs: Needs::Decides,
        run: |w| Box::pin(abort_stands(w)),
    },
    Case {
        name: "decision: after COMMIT an ABORT finds the COMMIT",
        needs: Needs::Decides,
        run: |w| Box::pin(commit_wins(w)),
    },
    Case {
        name: "decision: after ABORT a COMMIT finds the ABORT",
        needs: Needs::Decides,
        run: |w| Box::pin(abort_wins(w)),
    },
    Case {
        name: "decision: COMMIT and ABORT in a race leave one, the same for both",
        needs: Needs::Decides,
        run: |w| Box::pin(race(w)),
    },
    Case {
        name: "decision: a wrong or missing preimage commits nothing",
        needs: Needs::Decides,
        run: |w| Box::pin(wrong_preimage(w)),
    },
    Case {
        name: "decision: a COMMIT of other legs than the rule allows is none",
        needs: Needs::Decides,
        run: |w| Box::pin(wrong_legs(w)),
    },
    Case {
        name: "decision: a stranger aborts nothing",
        needs: Needs::Decides,
        run: |w| Box::pin(stranger(w)),
    },
    Case {
        name: "decision: no COMMIT after the deadline, and an ABORT still",
        needs: Needs::Decides,
        run: |w| Box::pin(too_late(w)),
    },
    Case { name: "decision: it survives a restart", needs: Needs::Decides, run: |w| Box::pin(survives(w)) },
];

async fn commit_stands(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let (prepared, decided) = world.commit(&manifest).await?;
    let evidence_root = sofie_model::evidence::root([&prepared]);
    let expected = Decision::Commit { included: 1, evidence_root, preimages: secrets().to_vec() };
    same("decision", &Fact::Decided(manifest.txid(), expected), &decided.fact)?;
    world.proves(&manifest, &[prepared, decided]).await
}

async fn abort_stands(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let undecided = world.ledger.status(&abort(&manifest), None).await.during("status")?;
    same("status before", &Status::Absent, &undecided)?;
    let decided = world.carry_out(&abort(&manifest)).await?;
    let expected = Decision::Abort { by: world.site.payer };
    same("decision", &Fact::Decided(manifest.txid(), expected), &decided.fact)?;
    world.proves(&manifest, &[decided]).await
}

async fn commit_wins(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let (_, decided) = world.commit(&manifest).await?;
    same("what stands", &decided, &world.contend(&abort(&manifest)).await?)
}

async fn abort_wins(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let prepared = world.prepare(&manifest).await?;
    let decided = world.carry_out(&abort(&manifest)).await?;
    same("what stands", &decided, &world.contend(&commit(&manifest, &prepared)).await?)
}

async fn race(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let prepared = world.prepare(&manifest).await?;
    let (for_it, against) = (commit(&manifest, &prepared), abort(&manifest));
    let (first, second) = tokio::join!(world.contend(&for_it), world.contend(&against));
    same("what both see", &first?, &second?)
}

async fn wrong_preimage(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let prepared = world.prepare(&manifest).await?;
    let [first, second] = secrets();
    let evidence_root = sofie_model::evidence::root([&prepared]);
    for preimages in [vec![], vec![first], vec![second, first], vec![first, Digest::ZERO]] {
        let decide = Decide::Commit { included: 1, evidence_root, preimages, guard: None };
        world.is_refused(&Operation::Decide { manifest: manifest.clone(), decide }).await?;
    }
    let decided = world.carry_out(&commit(&manifest, &prepared)).await?;
    if is_commit(&decided) { Ok(()) } else { other("decision".into(), "COMMIT", &decided) }
}

async fn wrong_legs(world: World<'_>) -> Result<(), Failure> {
    let all = world.manifest().await?;
    let prepared = world.prepare(&all).await?;
    for included in [0, 0b10, 0b11, u64::MAX] {
        world.is_refused(&commit_of(&all, included, &prepared)).await?;
    }
    let one_of_two = world.manifest_of(Rule::AtLeast(1)).await?;
    let prepared = world.prepare(&one_of_two).await?;
    for included in [0, 0b100] {
        world.is_refused(&commit_of(&one_of_two, included, &prepared)).await?;
    }
    world.carry_out(&commit_of(&one_of_two, 0b10, &prepared)).await.map(drop)
}

async fn stranger(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let decide = Decide::Abort { by: Account([0x5a; 20]), signatures: Vec::new() };
    let strange = Operation::Decide { manifest: manifest.clone(), decide };
    match world.ledger.intend(&strange).await {
        // A ledger that signs for the participants has no key for a stranger.
        Err(_) => {}
        Ok(_) => world.is_refused(&strange).await?,
    }
    let undecided = world.ledger.status(&abort(&manifest), None).await.during("status")?;
    same("status", &Status::Absent, &undecided)
}

async fn too_late(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let prepared = world.prepare(&manifest).await?;
    world.harness.pass(manifest.grace_end() + Span::from_seconds(1)).await?;
    world.is_refused(&commit(&manifest, &prepared)).await?;
    let decided = world.contend(&abort(&manifest)).await?;
    if is_commit(&decided) { other("decision".into(), "ABORT", &decided) } else { Ok(()) }
}

async fn survives(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let (prepared, decided) = world.commit(&manifest).await?;
    let world = world.restart().await?;
    same("decision", &decided, &world.stands(&abort(&manifest), None).await?)?;
    same("decision", &decided, &world.contend(&commit(&manifest, &prepared)).await?)
}
