//! Custodians: what a transfer is there, whose balances nobody is shown.

use sofie_model::{Class, Fact, Rule, Step};

use super::{
    Case, Failure, Needs, World,
    world::{LEG, abort, commit, same, step},
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "custody: COMMIT pays a transfer, once, and nothing takes it back",
        needs: Needs::Leg(Class::Escrow),
        run: |w| Box::pin(pays(w)),
    },
    Case {
        name: "custody: what was never held is neither paid nor given back",
        needs: Needs::Leg(Class::Escrow),
        run: |w| Box::pin(never_held(w)),
    },
];

async fn pays(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.transfer_of(Rule::All).await?;
    let prepared = world.carry_out(&step(&manifest, Step::Prepare)).await?;
    let apply = step(&manifest, Step::Apply);
    world.is_refused(&apply).await?;
    let decided = world.carry_out(&commit(&manifest, &prepared)).await?;
    world.is_refused(&step(&manifest, Step::Revert)).await?;
    let applied = world.carry_out(&apply).await?;
    same("fact", &Fact::Applied(manifest.txid(), LEG), &applied.fact)?;
    same("the second payment", &applied, &world.contend(&apply).await?)?;
    world.is_refused(&step(&manifest, Step::Revert)).await?;
    world.proves(&manifest, &[prepared, decided, applied]).await
}

async fn never_held(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.transfer_of(Rule::All).await?;
    world.carry_out(&abort(&manifest)).await?;
    for late in [Step::Apply, Step::Revert] {
        world.is_refused(&step(&manifest, late)).await?;
    }
    Ok(())
}
