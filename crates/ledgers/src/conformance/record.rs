//! Record ledgers: they append, and leave it to the reader to look at D.

use sofie_model::{
    Account, Class, Digest, Fact, Finality, Manifest, Operation, Rule, Span, Step, Timestamp,
    manifest::DecisionSite,
};

use super::{
    Case, Failure, Needs, World,
    world::{During, LEG, other, same, step},
};
use crate::{LedgerError, Status};

/// A manifest that names nothing: for proofs of notes alone.
///
/// # Panics
/// Never.
#[must_use]
pub fn no_manifest() -> Manifest {
    Manifest {
        version: 1,
        legs: vec![],
        rule: Rule::All,
        decision: DecisionSite {
            ledger: "evm".parse().expect("it is a name"),
            chain_id: 1,
            contract: Account([1; 20]),
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: Timestamp::from_seconds(1),
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: vec![],
        nonce: Digest::ZERO,
    }
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "record: a prepared entry is closed as applied, and both are proven together",
        needs: Needs::Leg(Class::Record),
        run: |w| Box::pin(closes(w, Step::Apply)),
    },
    Case {
        name: "record: a prepared entry is closed as reverted, and both are proven together",
        needs: Needs::Leg(Class::Record),
        run: |w| Box::pin(closes(w, Step::Revert)),
    },
    Case {
        name: "record: what was never prepared is not applied",
        needs: Needs::Leg(Class::Record),
        run: |w| Box::pin(nothing_to_apply(w)),
    },
    Case {
        name: "record: a second note is the same note",
        needs: Needs::Leg(Class::Record),
        run: |w| Box::pin(note_is_one(w)),
    },
    Case {
        name: "record: a value step is unsupported, and blocks nothing",
        needs: Needs::Leg(Class::Record),
        run: |w| Box::pin(value_step_is_unsupported(w)),
    },
];

async fn closes(world: World<'_>, close: Step) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    let prepared = world.carry_out(&step(&manifest, Step::Prepare)).await?;
    let close = step(&manifest, close);
    same("status", &Status::Absent, &world.ledger.status(&close, None).await.during("status")?)?;
    let closed = world.carry_out(&close).await?;
    let expected = match close {
        Operation::Leg { step: Step::Apply, .. } => Fact::Applied(manifest.txid(), LEG),
        _ => Fact::Reverted(manifest.txid(), LEG),
    };
    same("fact", &expected, &closed.fact)?;
    world.proves(&manifest, &[closed, prepared]).await
}

async fn nothing_to_apply(world: World<'_>) -> Result<(), Failure> {
    let manifest = world.manifest().await?;
    world.is_refused(&step(&manifest, Step::Apply)).await?;
    world.carry_out(&step(&manifest, Step::Prepare)).await?;
    world.carry_out(&step(&manifest, Step::Apply)).await.map(drop)
}

async fn note_is_one(world: World<'_>) -> Result<(), Failure> {
    let topic = Digest::of("sofie.conformance.topic.v1", &[]);
    let note = |text: &[u8]| Operation::Note { topic, commitment: Digest::sha256(text) };
    let first = world.carry_out(&note(b"a")).await?;
    same("fact", &Fact::Noted(topic, Digest::sha256(b"a")), &first.fact)?;
    let second = world.carry_out(&note(b"a")).await?;
    same("the second note", &first, &second)?;
    let different = world.carry_out(&note(b"b")).await?;
    if different.position == first.position {
        return other("another note".into(), "a place of its own", &different);
    }
    let manifest = world.manifest().await?;
    world.proves(&manifest, &[first, different]).await
}

async fn value_step_is_unsupported(world: World<'_>) -> Result<(), Failure> {
    if world.profile.classes.iter().any(|class| *class != Class::Record) {
        return Ok(());
    }
    let manifest = world.manifest().await?;
    match world.ledger.intend(&step(&manifest, Step::Refund)).await {
        Err(LedgerError::Unsupported { verb: "refund", .. }) => {}
        answer => return other("refund".into(), "unsupported", &answer),
    }
    world.carry_out(&step(&manifest, Step::Prepare)).await.map(drop)
}
