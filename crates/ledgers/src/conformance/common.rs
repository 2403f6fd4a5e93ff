//! What holds for a leg of every class: one record for one operation, whatever happens to the one who asks.

use sofie_model::{Fact, Step};
use tokio::task::JoinSet;

use super::{
    CONCURRENT, Case, Failure, Needs, World,
    world::{During, LEG, other, same, step},
};
use crate::{Intent, LedgerError, Status};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "leg: a prepare becomes final and says where and when",
        needs: Needs::AnyLeg,
        run: |w| Box::pin(prepare_becomes_final(w)),
    },
    Case {
        name: "leg: an intent that was never submitted stays absent",
        needs: Needs::AnyLeg,
        run: |w| Box::pin(unsubmitted_is_absent(w)),
    },
    Case {
        name: "leg: the same intent twice is one record",
        needs: Needs::AnyLeg,
        run: |w| Box::pin(twice_is_once(w)),
    },
    Case {
        name: "leg: two executors' intents make one record, seen by both and by a third",
        needs: Needs::AnyLeg,
        run: |w| Box::pin(two_executors(w)),
    },
    Case {
        name: "leg: a restart before submit: adopted, absent, submitted, final",
        needs: Needs::AnyLeg,
        run: |w| Box::pin(restart_before_submit(w)),
    },
    Case {
        name: "leg: a restart after submit: adopted and final, without a second submit",
        needs: Needs::AnyLeg,
        run: |w| Box::pin(restart_after_submit(w)),
    },
    Case {
        name: "leg: an adopted intent leaves room for later ones",
        needs: Needs::AnyLeg,
        run: |w| Box::pin(adopted_leaves_room(w)),
    },
    Case {
        name: "leg: bytes that are no intent are nonsense",
        needs: Needs::AnyLeg,
        run: |w| Box::pin(nonsense_is_named(w)),
    },
    Case {
        name: "leg: many intents at once all land, none twice",
        needs: Needs::AnyLeg,
        run: |w| Box::pin(concurrent(w)),
    },
    Case {
        name: "leg: the proof gives back the evidence",
        needs: Needs::AnyLeg,
        run: |w| Box::pin(proof_gives_back(w)),
    },
    Case { name: "leg: the head never goes back", needs: Needs::AnyLeg, run: |w| Box::pin(head_goes_on(w)) },
];

async fn prepare_becomes_final(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let evidence = world.carry_out(&step(&manifest, Step::Prepare)).await?;
    same("fact", &Fact::Prepared(manifest.txid(), LEG), &evidence.fact)?;
    same("ledger", &world.profile.id, &evidence.ledger)?;
    let head = world.ledger.head().await.during("head")?;
    if evidence.position.height > head.height || evidence.at > head.time {
        return other("evidence".into(), &format!("nothing past the head {head:?}"), &evidence);
    }
    Ok(())
}

async fn unsubmitted_is_absent(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let prepare = step(&manifest, Step::Prepare);
    let intent = world.ledger.intend(&prepare).await.during("intend")?;
    for intent in [Some(&intent), None] {
        let status = world.ledger.status(&prepare, intent).await.during("status")?;
        same("status", &Status::Absent, &status)?;
        world.harness.step().await?;
    }
    Ok(())
}

async fn twice_is_once(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let prepare = step(&manifest, Step::Prepare);
    let intent = world.ledger.intend(&prepare).await.during("intend")?;
    world.ledger.submit(&intent).await.during("submit")?;
    world.ledger.submit(&intent).await.during("submit again, at once")?;
    let first = world.stands(&prepare, Some(&intent)).await?;
    world.ledger.submit(&intent).await.during("submit again, once final")?;
    world.harness.step().await?;
    let second = world.stands(&prepare, Some(&intent)).await?;
    same("evidence after a second submit", &first, &second)
}

async fn two_executors(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let prepare = step(&manifest, Step::Prepare);
    let ours = world.ledger.intend(&prepare).await.during("intend")?;
    let theirs = world.ledger.intend(&prepare).await.during("intend, by another")?;
    world.ledger.submit(&theirs).await.during("submit, by another")?;
    match world.ledger.submit(&ours).await {
        Ok(()) | Err(LedgerError::Refused { .. }) => {}
        Err(error) => return Err(error).during("submit"),
    }
    let evidence = world.stands(&prepare, None).await?;
    for intent in [&ours, &theirs] {
        same("evidence", &evidence, &world.stands(&prepare, Some(intent)).await?)?;
    }
    Ok(())
}

async fn restart_before_submit(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let prepare = step(&manifest, Step::Prepare);
    let intent = world.ledger.intend(&prepare).await.during("intend")?;
    let world = world.restart().await?;
    world.ledger.adopt(&intent).await.during("adopt")?;
    let status = world.ledger.status(&prepare, Some(&intent)).await.during("status")?;
    same("status after a restart", &Status::Absent, &status)?;
    world.ledger.submit(&intent).await.during("submit")?;
    world.stands(&prepare, Some(&intent)).await.map(drop)
}

async fn restart_after_submit(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let prepare = step(&manifest, Step::Prepare);
    let intent = world.ledger.intend(&prepare).await.during("intend")?;
    world.ledger.submit(&intent).await.during("submit")?;
    let world = world.restart().await?;
    world.ledger.adopt(&intent).await.during("adopt")?;
    let first = world.stands(&prepare, Some(&intent)).await?;
    let world = world.restart().await?;
    let second = world.stands(&prepare, None).await?;
    same("evidence after another restart", &first, &second)
}

async fn adopted_leaves_room(world: World<'_>) -> Result<(), Failure> {
    let early = step(&world.manifest().await?, Step::Prepare);
    let intent = world.ledger.intend(&early).await.during("intend")?;
    let world = world.restart().await?;
    world.ledger.adopt(&intent).await.during("adopt")?;
    let late = step(&world.manifest().await?, Step::Prepare);
    let later = world.ledger.intend(&late).await.during("intend after adopt")?;
    world.ledger.submit(&intent).await.during("submit the adopted intent")?;
    world.ledger.submit(&later).await.during("submit the later intent")?;
    world.stands(&early, Some(&intent)).await?;
    world.stands(&late, Some(&later)).await.map(drop)
}

async fn nonsense_is_named(world: World<'_>) -> Result<(), Failure> {
    for bytes in [Vec::new(), vec![0xff; 40]] {
        match world.ledger.adopt(&Intent(bytes)).await {
            Err(LedgerError::Nonsense { .. }) => {}
            answer => return other("adopt".into(), "nonsense", &answer),
        }
    }
    Ok(())
}

async fn concurrent(world: World<'_>) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    for _ in 0..CONCURRENT {
        let prepare = step(&world.manifest().await?, Step::Prepare);
        let ledger = world.ledger.clone();
        tasks.spawn(async move {
            let intent = ledger.intend(&prepare).await?;
            ledger.submit(&intent).await?;
            Ok((prepare, intent))
        });
    }
    let mut sent = Vec::new();
    while let Some(task) = tasks.join_next().await {
        sent.push(task.map_err(|error| Failure::Harness(error.to_string()))?.during("intend and submit")?);
    }
    let mut places = std::collections::BTreeSet::new();
    for (prepare, intent) in &sent {
        let position = world.stands(prepare, Some(intent)).await?.position;
        places.insert((position.height, position.index, position.reference));
    }
    same("different places on the ledger", &sent.len(), &places.len())
}

async fn proof_gives_back(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let evidence = world.carry_out(&step(&manifest, Step::Prepare)).await?;
    world.proves(&manifest, std::slice::from_ref(&evidence)).await?;
    // Later records do not spoil it, and a restart neither.
    let later = world.manifest().await?;
    world.carry_out(&step(&later, Step::Prepare)).await?;
    let world = world.restart().await?;
    world.proves(&manifest, std::slice::from_ref(&evidence)).await?;
    if !world.harness.proves() {
        return Ok(());
    }
    // It speaks of its own transaction only.
    let proof = world.ledger.prove(&manifest, &[evidence]).await.during("prove")?;
    match proof.verify(&world.profile.id, &later) {
        Err(_) => Ok(()),
        Ok(proven) => other("verify for another manifest".into(), "a refusal", &proven),
    }
}

async fn head_goes_on(world: World<'_>) -> Result<(), Failure> {
    let mut last = world.ledger.head().await.during("head")?;
    for _ in 0..3 {
        world.carry_out(&step(&world.manifest().await?, Step::Prepare)).await?;
        let head = world.ledger.head().await.during("head")?;
        if head.height <= last.height || head.time < last.time {
            return other("head".into(), &format!("one past {last:?}"), &head);
        }
        last = head;
    }
    let world = world.restart().await?;
    let head = world.ledger.head().await.during("head")?;
    if head.height < last.height {
        return other("head after a restart".into(), &format!("no less than {last:?}"), &head);
    }
    Ok(())
}
