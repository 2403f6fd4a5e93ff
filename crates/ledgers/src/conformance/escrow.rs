//! Verifying ledgers and custodians: the decision moves value, and evidence does, and nothing else.

use std::sync::Arc;

use k256::ecdsa::SigningKey;
use sofie_model::{
    Account, Attestation, Digest, Evidence, Fact, LegId, Manifest, Rule, Span, Step, Terms, Timestamp,
    attestation::Panel, manifest::EscrowTerms,
};

use super::{
    Case, Failure, Needs, World,
    world::{During, LEG, abort, commit_of, other, same, step},
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "escrow: nothing applies or reverts before the decision",
        needs: Needs::Judges,
        run: |w| Box::pin(undecided(w)),
    },
    Case {
        name: "escrow: after the decision nothing is locked any more",
        needs: Needs::Judges,
        run: |w| Box::pin(no_late_lock(w)),
    },
    Case {
        name: "escrow: COMMIT arms, evidence settles, once; all of it is proven together",
        needs: Needs::Judges,
        run: |w| Box::pin(settles(w)),
    },
    Case { name: "escrow: ABORT pays back, once", needs: Needs::Judges, run: |w| Box::pin(reverts(w)) },
    Case {
        name: "escrow: a COMMIT without the leg pays it back",
        needs: Needs::Judges,
        run: |w| Box::pin(left_out(w)),
    },
    Case {
        name: "escrow: no refund before the window is over, then a refund",
        needs: Needs::Judges,
        run: |w| Box::pin(refunds(w)),
    },
    Case {
        name: "escrow: evidence that is unfulfilled, untimely or of another leg or key settles nothing",
        needs: Needs::Judges,
        run: |w| Box::pin(bad_evidence(w)),
    },
    Case {
        name: "escrow: a panel settles by as many words as its threshold, each by its own key and in time",
        needs: Needs::Judges,
        run: |w| Box::pin(panel(w)),
    },
    Case {
        name: "escrow: balances and fees add up to the unit",
        needs: Needs::Treasury,
        run: |w| Box::pin(adds_up(w)),
    },
];

async fn undecided(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    world.carry_out(&step(&manifest, Step::Prepare)).await?;
    for early in [Step::Apply, Step::Revert, Step::Refund] {
        world.is_refused(&step(&manifest, early)).await?;
    }
    world.carry_out(&abort(&manifest)).await.map(drop)
}

async fn no_late_lock(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    world.carry_out(&abort(&manifest)).await?;
    world.is_refused(&step(&manifest, Step::Prepare)).await
}

async fn settles(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let (prepared, decided) = world.commit(&manifest).await?;
    world.is_refused(&step(&manifest, Step::Revert)).await?;
    world.is_refused(&settle(&world, &good(&world, &manifest, &decided)?, &manifest)).await?;
    let applied = world.carry_out(&step(&manifest, Step::Apply)).await?;
    same("fact", &Fact::Applied(manifest.txid(), LEG), &applied.fact)?;
    let by_evidence = settle(&world, &good(&world, &manifest, &decided)?, &manifest);
    let settled = world.carry_out(&by_evidence).await?;
    same("fact", &Fact::Settled(manifest.txid(), LEG), &settled.fact)?;
    same("the second settlement", &settled, &world.contend(&by_evidence).await?)?;
    world.is_refused(&step(&manifest, Step::Refund)).await?;
    world.proves(&manifest, &[prepared, decided, applied, settled]).await
}

async fn reverts(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let prepared = world.carry_out(&step(&manifest, Step::Prepare)).await?;
    let decided = world.carry_out(&abort(&manifest)).await?;
    world.is_refused(&step(&manifest, Step::Apply)).await?;
    let revert = step(&manifest, Step::Revert);
    let reverted = world.carry_out(&revert).await?;
    same("fact", &Fact::Reverted(manifest.txid(), LEG), &reverted.fact)?;
    same("the second revert", &reverted, &world.contend(&revert).await?)?;
    world.proves(&manifest, &[prepared, decided, reverted]).await
}

async fn left_out(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest_of(Rule::AtLeast(1)).await?;
    let prepared = world.prepare(&manifest).await?;
    let decided = world.carry_out(&commit_of(&manifest, 0b10, &prepared)).await?;
    world.is_refused(&step(&manifest, Step::Apply)).await?;
    let reverted = world.carry_out(&step(&manifest, Step::Revert)).await?;
    world.proves(&manifest, &[prepared, decided, reverted]).await
}

async fn refunds(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let (prepared, decided) = world.commit(&manifest).await?;
    let applied = world.carry_out(&step(&manifest, Step::Apply)).await?;
    let refund = step(&manifest, Step::Refund);
    world.is_refused(&refund).await?;
    let terms = terms(&manifest)?;
    world.harness.pass(terms.evidence_deadline + terms.submission_window + Span::from_seconds(1)).await?;
    let late = good(&world, &manifest, &decided)?;
    world.is_refused(&settle(&world, &late, &manifest)).await?;
    let refunded = world.carry_out(&refund).await?;
    same("fact", &Fact::Refunded(manifest.txid(), LEG), &refunded.fact)?;
    world.proves(&manifest, &[prepared, decided, applied, refunded]).await
}

async fn bad_evidence(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let (_, decided) = world.commit(&manifest).await?;
    world.carry_out(&step(&manifest, Step::Apply)).await?;
    let good = good(&world, &manifest, &decided)?;
    let second = Span::from_seconds(1);
    let before = Timestamp::from_seconds(decided.at.as_seconds().saturating_sub(1));
    let after = terms(&manifest)?.evidence_deadline + second;
    let bad = [
        Attestation { fulfilled: false, ..good },
        Attestation { observed_at: before, ..good },
        Attestation { observed_at: after, ..good },
        Attestation { leg: LegId(1), ..good },
        Attestation { chain_id: good.chain_id.wrapping_add(1), ..good },
        Attestation { contract: Account([0x77; 20]), ..good },
        Attestation { txid: sofie_model::Txid(Digest::sha256(b"another")), ..good },
    ];
    for attestation in &bad {
        world.is_refused(&settle(&world, attestation, &manifest)).await?;
    }
    // The right words under the signature of others.
    let mut forged = world.harness.attest(good);
    forged.attestation.observation = Digest::sha256(b"another reading");
    world.is_refused(&step(&manifest, Step::Settle(forged))).await?;
    world.carry_out(&settle(&world, &good, &manifest)).await.map(drop)
}

async fn panel(world: World<'_>) -> Result<(), Failure> {
    let keys = [1, 2, 3].map(|byte| SigningKey::from_slice(&[byte; 32]).expect("below the curve's order"));
    let accounts = keys.iter().map(|key| Account::from(key.verifying_key())).collect();
    let panel = Panel::new(2, accounts).map_err(harness)?;
    let manifest = world.manifest_by(panel.account()).await?;
    let (prepared, decided) = world.commit(&manifest).await?;
    let applied = world.carry_out(&step(&manifest, Step::Apply)).await?;
    let good = good(&world, &manifest, &decided)?;
    // The first two owners, of whom the second saw it at this time.
    let words = |seconds: u64| {
        let second = Attestation {
            observation: Digest::sha256(b"the light is on"),
            observed_at: Timestamp::from_seconds(seconds),
            ..good
        };
        panel.attest(&[good.sign(&keys[0]), second.sign(&keys[1])]).map_err(harness)
    };
    let decided_at = decided.at.as_seconds();
    let right = words(decided_at)?;
    let late = terms(&manifest)?.evidence_deadline.as_seconds() + 1;
    let (mut swapped, mut forged) = (right.clone(), right.clone());
    swapped.attestation.observation = Digest::sha256(b"another reading");
    forged.signature.iter_mut().rev().take(1).for_each(|v| *v ^= 7);
    let early = words(decided_at.saturating_sub(1))?;
    for bad in [early, words(late)?, swapped, forged, good.sign(&keys[0])] {
        world.is_refused(&step(&manifest, Step::Settle(bad))).await?;
    }
    let by_panel = step(&manifest, Step::Settle(right));
    let settled = world.carry_out(&by_panel).await?;
    same("the second settlement", &settled, &world.contend(&by_panel).await?)?;
    world.proves(&manifest, &[prepared, decided, applied, settled]).await
}

fn harness(error: impl std::error::Error) -> Failure {
    Failure::Harness(error.to_string())
}

async fn adds_up(world: World<'_>) -> Result<(), Failure> {
    let from = world.ledger.head().await.during("head")?.height;
    let before = Balances::read(&world).await?;
    let amount = world.site.amount;

    let manifest = world.manifest().await?;
    let (_, decided) = world.commit(&manifest).await?;
    world.carry_out(&step(&manifest, Step::Apply)).await?;
    let held = Balances::read(&world).await?;
    same("the escrow's balance", &(before.escrow + amount), &held.escrow)?;
    world.carry_out(&settle(&world, &good(&world, &manifest, &decided)?, &manifest)).await?;

    let undone = world.manifest().await?;
    world.carry_out(&step(&undone, Step::Prepare)).await?;
    world.carry_out(&abort(&undone)).await?;
    world.carry_out(&step(&undone, Step::Revert)).await?;

    let to = world.ledger.head().await.during("head")?.height;
    let after = Balances::read(&world).await?;
    same("the escrow's balance", &before.escrow, &after.escrow)?;
    let payee_fees = fees(&world, &[world.site.payee], from, to).await?;
    same("the payee's balance", &(before.payee + amount), &(after.payee + payee_fees))?;
    let all_fees = fees(&world, &everyone(&world), from, to).await?;
    same("all balances and fees", &before.sum, &(after.sum + all_fees))
}

struct Balances {
    escrow: u128,
    payee: u128,
    sum: u128,
}

impl Balances {
    async fn read(world: &World<'_>) -> Result<Self, Failure> {
        let escrow = balance(world, world.site.escrow).await?;
        let payee = balance(world, world.site.payee).await?;
        let mut sum = escrow;
        for account in everyone(world) {
            sum += balance(world, account).await?;
        }
        Ok(Self { escrow, payee, sum })
    }
}

/// Everyone who pays or is paid, each once.
fn everyone(world: &World<'_>) -> Vec<Account> {
    let mut all = vec![world.site.payer, world.site.payee];
    all.extend(&world.site.others);
    all.sort();
    all.dedup();
    all
}

async fn balance(world: &World<'_>, account: Account) -> Result<u128, Failure> {
    match world.ledger.treasury() {
        Some(treasury) => treasury.balance(account).await.during("balance"),
        None => other("treasury".into(), "one", &"none"),
    }
}

async fn fees(world: &World<'_>, payers: &[Account], from: u64, to: u64) -> Result<u128, Failure> {
    match world.ledger.treasury() {
        Some(treasury) => treasury.fees(payers, from + 1, to).await.during("fees"),
        None => other("treasury".into(), "one", &"none"),
    }
}

pub(super) fn terms(manifest: &Manifest) -> Result<EscrowTerms, Failure> {
    match manifest.leg(LEG).map(|leg| &leg.terms) {
        Some(Terms::Escrow(terms)) => Ok(terms.clone()),
        found => other("leg 0".into(), "an escrow", &found),
    }
}

/// An attestation that settles `manifest`'s leg, observed when it was decided.
pub(super) fn good(
    world: &World<'_>,
    manifest: &Manifest,
    decided: &Evidence,
) -> Result<Attestation, Failure> {
    Ok(Attestation {
        chain_id: world.site.chain_id,
        contract: terms(manifest)?.contract,
        txid: manifest.txid(),
        leg: LEG,
        observation: Digest::sha256(b"the door is open"),
        fulfilled: true,
        observed_at: Timestamp::from_seconds(decided.at.as_seconds()),
    })
}

fn settle(world: &World<'_>, attestation: &Attestation, manifest: &Arc<Manifest>) -> sofie_model::Operation {
    step(manifest, Step::Settle(world.harness.attest(*attestation)))
}
