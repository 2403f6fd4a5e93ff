//! Hashlock legs: value that the claimant takes with every preimage, or the payer takes back after T_p.

use std::sync::Arc;

use sofie_model::manifest::OpenedBy;
use sofie_model::{Class, Digest, Evidence, Fact, Manifest, Operation, Span, Step, Terms, Timestamp};

use super::{
    Case, Failure, MAX_POLLS, Needs, World,
    world::{During, LEG, other, same, secrets, step},
};
use crate::{Hashlocks, Intent, LedgerError, Spend, Status};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "hashlock: a claim takes every preimage, becomes final, and shows them all",
        needs: Needs::Leg(Class::Hashlock),
        run: |w| Box::pin(claims(w)),
    },
    Case {
        name: "hashlock: a claim with a preimage missing, wrong or in another's place is refused",
        needs: Needs::Leg(Class::Hashlock),
        run: |w| Box::pin(wrong_preimages(w)),
    },
    Case {
        name: "hashlock: one hash opens to its claimant's preimage, to no other, and is refunded as well",
        needs: Needs::Leg(Class::Hashlock),
        run: |w| Box::pin(single(w)),
    },
    Case {
        name: "hashlock: a refund waits until T_p, and is final after it",
        needs: Needs::Leg(Class::Hashlock),
        run: |w| Box::pin(refunds(w)),
    },
    Case {
        name: "hashlock: what was claimed is not refunded",
        needs: Needs::Leg(Class::Hashlock),
        run: |w| Box::pin(one_end(w, Spend::Claim)),
    },
    Case {
        name: "hashlock: what was refunded is not claimed",
        needs: Needs::Leg(Class::Hashlock),
        run: |w| Box::pin(one_end(w, Spend::Refund)),
    },
    Case {
        name: "hashlock: of a claim and a refund at once exactly one stands",
        needs: Needs::Leg(Class::Hashlock),
        run: |w| Box::pin(race(w)),
    },
    Case {
        name: "hashlock: a claim that was fixed before a restart is brought after it",
        needs: Needs::Leg(Class::Hashlock),
        run: |w| Box::pin(claim_over_restart(w)),
    },
    Case {
        name: "hashlock: who holds no key finishes with what the claimant signed",
        needs: Needs::Leg(Class::Hashlock),
        run: |w| Box::pin(presigned(w, Spend::Claim)),
    },
    Case {
        name: "hashlock: who holds no key finishes with what the payer signed",
        needs: Needs::Leg(Class::Hashlock),
        run: |w| Box::pin(presigned(w, Spend::Refund)),
    },
];

/// How long a refund that comes too early is watched.
const EARLY_POLLS: u32 = 4;

fn claim(manifest: &Arc<Manifest>) -> Operation {
    step(manifest, Step::Claim(secrets().to_vec()))
}

fn refund(manifest: &Arc<Manifest>) -> Operation {
    step(manifest, Step::Revert)
}

fn of(manifest: &Arc<Manifest>, spend: Spend) -> Operation {
    match spend {
        Spend::Claim => claim(manifest),
        Spend::Refund => refund(manifest),
    }
}

/// The first instant at which every ledger takes a refund: past T_p.
fn after_timelock(manifest: &Manifest) -> Result<Timestamp, Failure> {
    match &manifest.legs[0].terms {
        Terms::Hashlock(terms) => Ok(terms.timelock + Span::from_seconds(1)),
        _ => Err(Failure::Harness("leg 0 is not a hashlock".into())),
    }
}

/// A new transaction whose lock is final.
async fn locked(world: &World<'_>) -> Result<(Arc<Manifest>, Evidence), Failure> {
    locked_to(world, None).await
}

/// The same, where one secret alone may open the lock.
async fn locked_to(
    world: &World<'_>,
    opened_by: Option<OpenedBy>,
) -> Result<(Arc<Manifest>, Evidence), Failure> {
    let manifest = world.pivot(opened_by).await?;
    let prepared = world.carry_out(&step(&manifest, Step::Prepare)).await?;
    same("fact", &Fact::Prepared(manifest.txid(), LEG), &prepared.fact)?;
    Ok((manifest, prepared))
}

async fn shown(
    hashlocks: &dyn Hashlocks,
    manifest: &Manifest,
) -> Result<Option<(Vec<Digest>, bool)>, Failure> {
    let revealed = hashlocks.revealed(manifest, LEG).await.during("revealed")?;
    Ok(revealed.map(|claim| (claim.preimages, claim.finally)))
}

async fn claims(world: World<'_>) -> Result<(), Failure> {
    let (manifest, prepared) = locked(&world).await?;
    if let Some(hashlocks) = world.ledger.hashlocks() {
        same("revealed before the claim", &None, &shown(hashlocks, &manifest).await?)?;
    }
    let claimed = world.carry_out(&claim(&manifest)).await?;
    same("fact", &Fact::Applied(manifest.txid(), LEG), &claimed.fact)?;
    if let Some(hashlocks) = world.ledger.hashlocks() {
        let expected = Some((secrets().to_vec(), true));
        same("revealed after the claim", &expected, &shown(hashlocks, &manifest).await?)?;
    }
    world.proves(&manifest, &[claimed, prepared]).await
}

async fn wrong_preimages(world: World<'_>) -> Result<(), Failure> {
    let (manifest, _) = locked(&world).await?;
    let [payer, payee] = secrets();
    let wrong = Digest::of("sofie.conformance.secret.v1", &[b"stranger"]);
    for preimages in [vec![], vec![payer], vec![payer, wrong], vec![payee, payer], vec![payer, payee, payer]]
    {
        world.is_refused(&step(&manifest, Step::Claim(preimages))).await?;
    }
    world.carry_out(&claim(&manifest)).await.map(drop)
}

async fn single(world: World<'_>) -> Result<(), Failure> {
    let (manifest, prepared) = locked_to(&world, Some(OpenedBy::Claimant)).await?;
    let [payer, payee] = secrets();
    for preimages in [vec![], vec![payer], vec![payer, payee], vec![payee, payer]] {
        world.is_refused(&step(&manifest, Step::Claim(preimages))).await?;
    }
    let claimed = world.carry_out(&step(&manifest, Step::Claim(vec![payee]))).await?;
    same("fact", &Fact::Applied(manifest.txid(), LEG), &claimed.fact)?;
    if let Some(hashlocks) = world.ledger.hashlocks() {
        let expected = Some((vec![payee], true));
        same("revealed after the claim", &expected, &shown(hashlocks, &manifest).await?)?;
    }
    world.proves(&manifest, &[claimed, prepared]).await?;
    let (manifest, prepared) = locked_to(&world, Some(OpenedBy::Claimant)).await?;
    world.harness.pass(after_timelock(&manifest)?).await?;
    let refunded = world.carry_out(&refund(&manifest)).await?;
    world.proves(&manifest, &[prepared, refunded]).await
}

async fn refunds(world: World<'_>) -> Result<(), Failure> {
    let (manifest, prepared) = locked(&world).await?;
    let refund = refund(&manifest);
    for _ in 0..EARLY_POLLS {
        // Neither taken nor refused for good: it is only too early.
        if let Ok(intent) = world.ledger.intend(&refund).await {
            let _ = world.ledger.submit(&intent).await;
        }
        world.harness.step().await?;
        let status = world.ledger.status(&refund, None).await.during("status before T_p")?;
        same("status before T_p", &Status::Absent, &status)?;
    }
    world.harness.pass(after_timelock(&manifest)?).await?;
    let refunded = world.carry_out(&refund).await?;
    same("fact", &Fact::Reverted(manifest.txid(), LEG), &refunded.fact)?;
    world.proves(&manifest, &[prepared, refunded]).await
}

async fn one_end(world: World<'_>, first: Spend) -> Result<(), Failure> {
    let (manifest, _) = locked(&world).await?;
    if first == Spend::Refund {
        world.harness.pass(after_timelock(&manifest)?).await?;
    }
    let stands = world.carry_out(&of(&manifest, first)).await?;
    if first == Spend::Claim {
        world.harness.pass(after_timelock(&manifest)?).await?;
    }
    let second = if first == Spend::Claim { Spend::Refund } else { Spend::Claim };
    world.is_refused(&of(&manifest, second)).await?;
    let still = world.stands(&of(&manifest, first), None).await?;
    same("what stood first", &stands, &still)
}

async fn race(world: World<'_>) -> Result<(), Failure> {
    let (manifest, _) = locked(&world).await?;
    world.harness.pass(after_timelock(&manifest)?).await?;
    let operations = [refund(&manifest), claim(&manifest)];
    let mut intents = Vec::new();
    for operation in &operations {
        intents.push(world.ledger.intend(operation).await.during("intend both")?);
    }
    for intent in &intents {
        match world.ledger.submit(intent).await {
            Ok(()) | Err(LedgerError::Refused { .. } | LedgerError::Transient { .. }) => {}
            Err(error) => return Err(error).during("submit both"),
        }
    }
    let mut stood = 0;
    for (operation, intent) in operations.iter().zip(&intents) {
        stood += u32::from(ends_final(&world, operation, intent).await?);
    }
    same("how many of the two stand", &1, &stood)
}

/// Waits for either end of `operation`.
async fn ends_final(world: &World<'_>, operation: &Operation, intent: &Intent) -> Result<bool, Failure> {
    let mut last = Status::Absent;
    for _ in 0..MAX_POLLS {
        last = world.ledger.status(operation, Some(intent)).await.during("status")?;
        match last {
            Status::Final(_) => return Ok(true),
            Status::Refused { .. } | Status::Displaced { .. } => return Ok(false),
            Status::Absent | Status::Pending => world.harness.step().await?,
        }
    }
    other(format!("status of {}", operation.verb()), "final or refused", &last)
}

async fn claim_over_restart(world: World<'_>) -> Result<(), Failure> {
    let (manifest, _) = locked(&world).await?;
    let claim = claim(&manifest);
    let intent = world.ledger.intend(&claim).await.during("intend")?;
    let world = world.restart().await?;
    world.ledger.adopt(&intent).await.during("adopt")?;
    same("status", &Status::Absent, &world.ledger.status(&claim, Some(&intent)).await.during("status")?)?;
    world.ledger.submit(&intent).await.during("submit")?;
    world.stands(&claim, Some(&intent)).await.map(drop)
}

async fn presigned(world: World<'_>, spend: Spend) -> Result<(), Failure> {
    let Some(stranger) = world.harness.stranger().await? else { return Ok(()) };
    let (Some(ours), Some(theirs)) = (world.ledger.hashlocks(), stranger.hashlocks()) else {
        return other("hashlocks".into(), "some", &"none");
    };
    let (manifest, _) = locked(&world).await?;
    let operation = of(&manifest, spend);
    let early = stranger.intend(&operation).await;
    if !matches!(early, Err(LedgerError::Transient { .. } | LedgerError::Refused { .. })) {
        return other("intend without a key".into(), "not now", &early);
    }
    let signed = ours.presign(&manifest, LEG, spend).await.during("presign")?;
    let mut changed = signed.clone();
    if let Some(byte) = changed.bytes.last_mut() {
        *byte ^= 1;
    }
    let refused = theirs.accept(&manifest, LEG, &changed).await;
    if !matches!(refused, Err(LedgerError::Refused { .. })) {
        return other("accept something changed".into(), "a refusal", &refused);
    }
    theirs.accept(&manifest, LEG, &signed).await.during("accept")?;
    if spend == Spend::Refund {
        world.harness.pass(after_timelock(&manifest)?).await?;
    }
    let intent = stranger.intend(&operation).await.during("intend with the other's word")?;
    stranger.submit(&intent).await.during("submit with the other's word")?;
    world.stands(&operation, None).await.map(drop)
}
