//! Transfers on verifying ledgers and at custodians: the decision alone pays them or gives them back.

use sofie_model::{Account, Class, Fact, LegId, Rule, Span, Step};

use super::{
    Case, Failure, Needs, World,
    world::{During, LEG, abort, commit_of, other, same, step},
};
use crate::LedgerError;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "transfer: COMMIT pays the payee, once, and nothing gives it back; all of it is proven together",
        needs: Needs::Leg(Class::Verifying),
        run: |w| Box::pin(pays(w)),
    },
    Case { name: "transfer: ABORT pays back, once", needs: Needs::Judges, run: |w| Box::pin(pays_back(w)) },
    Case {
        name: "transfer: a COMMIT without the leg pays it back",
        needs: Needs::Judges,
        run: |w| Box::pin(left_out(w)),
    },
    Case {
        name: "transfer: neither evidence nor time moves it",
        needs: Needs::Judges,
        run: |w| Box::pin(only_by_the_decision(w)),
    },
];

async fn pays(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.transfer_of(Rule::All).await?;
    let before = held(&world, world.site.escrow).await?;
    let prepared = world.carry_out(&step(&manifest, Step::Prepare)).await?;
    same("what the escrow holds", &(before + world.site.amount), &held(&world, world.site.escrow).await?)?;
    let apply = step(&manifest, Step::Apply);
    world.is_refused(&apply).await?;
    let decided = world.carry_out(&commit_of(&manifest, 1, &prepared)).await?;
    world.is_refused(&step(&manifest, Step::Revert)).await?;
    let (payee, from) = (world.site.payee, world.ledger.head().await.during("head")?.height);
    let poorer = held(&world, payee).await?;
    let applied = world.carry_out(&apply).await?;
    same("fact", &Fact::Applied(manifest.txid(), LEG), &applied.fact)?;
    same("the second payment", &applied, &world.contend(&apply).await?)?;
    world.is_refused(&step(&manifest, Step::Revert)).await?;
    same("what the escrow holds", &before, &held(&world, world.site.escrow).await?)?;
    let to = world.ledger.head().await.during("head")?.height;
    let richer = held(&world, payee).await? + fees(&world, payee, from, to).await?;
    same("what the payee holds", &(poorer + world.site.amount), &richer)?;
    world.proves(&manifest, &[prepared, decided, applied]).await
}

async fn pays_back(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.transfer_of(Rule::All).await?;
    let before = held(&world, world.site.escrow).await?;
    let prepared = world.carry_out(&step(&manifest, Step::Prepare)).await?;
    let decided = world.carry_out(&abort(&manifest)).await?;
    world.is_refused(&step(&manifest, Step::Apply)).await?;
    let revert = step(&manifest, Step::Revert);
    let reverted = world.carry_out(&revert).await?;
    same("fact", &Fact::Reverted(manifest.txid(), LEG), &reverted.fact)?;
    same("the second revert", &reverted, &world.contend(&revert).await?)?;
    same("what the escrow holds", &before, &held(&world, world.site.escrow).await?)?;
    world.proves(&manifest, &[prepared, decided, reverted]).await
}

async fn left_out(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.transfer_of(Rule::AtLeast(1)).await?;
    let prepared = world.prepare(&manifest).await?;
    let decided = world.carry_out(&commit_of(&manifest, 0b10, &prepared)).await?;
    world.is_refused(&step(&manifest, Step::Apply)).await?;
    let reverted = world.carry_out(&step(&manifest, Step::Revert)).await?;
    world.proves(&manifest, &[prepared, decided, reverted]).await
}

async fn only_by_the_decision(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.transfer_of(Rule::All).await?;
    let (_, decided) = world.commit(&manifest).await?;
    let attestation = sofie_model::Attestation {
        chain_id: world.site.chain_id,
        contract: world.site.escrow,
        txid: manifest.txid(),
        leg: LegId(0),
        observation: sofie_model::Digest::sha256(b"the door is open"),
        fulfilled: true,
        observed_at: decided.at,
    };
    world.harness.pass(decided.at + Span::from_seconds(1)).await?;
    for wrong in [Step::Settle(world.harness.attest(attestation)), Step::Refund] {
        match world.ledger.intend(&step(&manifest, wrong)).await {
            Err(LedgerError::Unsupported { .. } | LedgerError::Refused { .. }) => {}
            answer => return other("intend".into(), "unsupported", &answer),
        }
    }
    world.carry_out(&step(&manifest, Step::Apply)).await.map(drop)
}

/// What `account` holds; 0 on a ledger that shows no balances.
async fn held(world: &World<'_>, account: Account) -> Result<u128, Failure> {
    match world.ledger.treasury() {
        Some(treasury) => treasury.balance(account).await.during("balance"),
        None => Ok(0),
    }
}

async fn fees(world: &World<'_>, payer: Account, from: u64, to: u64) -> Result<u128, Failure> {
    match world.ledger.treasury() {
        Some(treasury) => treasury.fees(&[payer], from + 1, to).await.during("fees"),
        None => other("treasury".into(), "one", &"none"),
    }
}
