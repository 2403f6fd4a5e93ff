//! Escrows whose evidence may be overruled: the window runs by the ledger's own clock from the moment at which the evidence is
//! presented, a ruling within it pays back, and silence pays.

use std::sync::Arc;

use k256::ecdsa::SigningKey;
use sofie_model::{
    Account, Class, Digest, Evidence, Fact, LegId, Manifest, Operation, Ruling, SignedAttestation, Span,
    Step, Terms, Timestamp, Txid,
    manifest::{Dispute, EscrowTerms},
};

use super::{
    Case, Failure, Needs, World,
    escrow::{good, terms},
    world::{During, LEG, other, same, step},
};
use crate::LedgerError;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "dispute: presented evidence pays once its window is over, whatever comes then",
        needs: Needs::Leg(Class::Verifying),
        run: |w| Box::pin(stands(w)),
    },
    Case {
        name: "dispute: the arbiter's ruling on what was presented pays back, and no other ruling does",
        needs: Needs::Leg(Class::Verifying),
        run: |w| Box::pin(overruled(w)),
    },
    Case {
        name: "dispute: what could not be disputed in time is not presented, and paid back by time",
        needs: Needs::Leg(Class::Verifying),
        run: |w| Box::pin(too_late(w)),
    },
    Case {
        name: "dispute: a custodian refuses an escrow with an arbiter by name",
        needs: Needs::Leg(Class::Escrow),
        run: |w| Box::pin(refused_by_name(w)),
    },
];

/// Longer than any machine takes between two calls.
const DISPUTE_WINDOW: Span = Span::from_seconds(600);
const ONE_SECOND: Span = Span::from_seconds(1);

fn key(byte: u8) -> SigningKey {
    SigningKey::from_slice(&[byte; 32]).expect("below the curve's order")
}

fn arbiter() -> SigningKey {
    key(9)
}

/// A new transaction whose escrow has an arbiter.
async fn disputable(world: &World<'_>) -> Result<Arc<Manifest>, Failure> {
    let mut manifest = Arc::unwrap_or_clone(world.manifest().await?);
    if let Terms::Escrow(terms) = &mut manifest.legs[0].terms {
        let arbiter = Account::from(arbiter().verifying_key());
        terms.dispute = Some(Dispute { arbiter, window: DISPUTE_WINDOW });
        terms.submission_window = DISPUTE_WINDOW * 2;
    }
    Ok(Arc::new(manifest))
}

/// An armed escrow with an arbiter, what was recorded so far, and the word that settles it.
struct Armed {
    manifest: Arc<Manifest>,
    terms: EscrowTerms,
    facts: Vec<Evidence>,
    word: SignedAttestation,
}

impl Armed {
    async fn new(world: &World<'_>) -> Result<Self, Failure> {
        let manifest = disputable(world).await?;
        let (prepared, decided) = world.commit(&manifest).await?;
        let applied = world.carry_out(&step(&manifest, Step::Apply)).await?;
        let word = world.harness.attest(good(world, &manifest, &decided)?);
        let terms = terms(&manifest)?;
        Ok(Self { facts: vec![prepared, decided, applied], terms, word, manifest })
    }

    fn present(&self) -> Operation {
        step(&self.manifest, Step::Present(self.word.clone()))
    }

    fn settle(&self) -> Operation {
        step(&self.manifest, Step::Settle(self.word.clone()))
    }

    fn overrule(&self, change: impl FnOnce(&mut Ruling), key: &SigningKey) -> Operation {
        let mut ruling = Ruling::on(&self.word.attestation);
        change(&mut ruling);
        step(&self.manifest, Step::Overrule(ruling.sign(key)))
    }

    /// Presents the word: when that was.
    async fn presented(&mut self, world: &World<'_>) -> Result<Timestamp, Failure> {
        let present = self.present();
        let presented = world.carry_out(&present).await?;
        same("fact", &Fact::Presented(self.manifest.txid(), LEG), &presented.fact)?;
        same("what is presented again", &presented, &world.contend(&present).await?)?;
        let at = presented.at;
        self.facts.push(presented);
        Ok(at)
    }
}

async fn stands(world: World<'_>) -> Result<(), Failure> {
    let mut armed = Armed::new(&world).await?;
    let ruling = armed.overrule(|_| (), &arbiter());
    for early in [armed.settle(), ruling.clone()] {
        world.is_refused(&early).await?;
    }
    let presented_at = armed.presented(&world).await?;
    world.is_refused(&armed.settle()).await?;
    world.harness.pass(presented_at + DISPUTE_WINDOW + ONE_SECOND).await?;
    world.is_refused(&ruling).await?;
    // Nobody asked for the payment so far, and it is still no refund's turn.
    world.harness.pass(armed.terms.window_end() + ONE_SECOND).await?;
    world.is_refused(&step(&armed.manifest, Step::Refund)).await?;
    let settled = world.carry_out(&armed.settle()).await?;
    same("fact", &Fact::Settled(armed.manifest.txid(), LEG), &settled.fact)?;
    same("the second settlement", &settled, &world.contend(&armed.settle()).await?)?;
    world.is_refused(&ruling).await?;
    armed.facts.push(settled);
    world.proves(&armed.manifest, &armed.facts).await
}

async fn overruled(world: World<'_>) -> Result<(), Failure> {
    let mut armed = Armed::new(&world).await?;
    armed.presented(&world).await?;
    let changes: [fn(&mut Ruling); 6] = [
        |r| r.chain_id = r.chain_id.wrapping_add(1),
        |r| r.contract = Account([0x77; 20]),
        |r| r.txid = Txid(Digest::sha256(b"another")),
        |r| r.leg = LegId(1),
        |r| r.observation = Digest::sha256(b"another reading"),
        |r| r.observed_at = r.observed_at + ONE_SECOND,
    ];
    for change in changes {
        world.is_refused(&armed.overrule(change, &arbiter())).await?;
    }
    world.is_refused(&armed.overrule(|_| (), &key(8))).await?;
    let ruling = armed.overrule(|_| (), &arbiter());
    let overruled = world.carry_out(&ruling).await?;
    same("fact", &Fact::Overruled(armed.manifest.txid(), LEG), &overruled.fact)?;
    same("the second ruling", &overruled, &world.contend(&ruling).await?)?;
    world.harness.pass(armed.terms.window_end() + ONE_SECOND).await?;
    for late in [armed.settle(), step(&armed.manifest, Step::Refund)] {
        world.is_refused(&late).await?;
    }
    armed.facts.push(overruled);
    world.proves(&armed.manifest, &armed.facts).await
}

async fn too_late(world: World<'_>) -> Result<(), Failure> {
    let mut armed = Armed::new(&world).await?;
    world.harness.pass(armed.terms.last_evidence() + ONE_SECOND).await?;
    let refund = step(&armed.manifest, Step::Refund);
    for early in [armed.present(), armed.settle(), refund.clone()] {
        world.is_refused(&early).await?;
    }
    world.harness.pass(armed.terms.window_end() + ONE_SECOND).await?;
    let refunded = world.carry_out(&refund).await?;
    same("fact", &Fact::Refunded(armed.manifest.txid(), LEG), &refunded.fact)?;
    armed.facts.push(refunded);
    world.proves(&armed.manifest, &armed.facts).await
}

async fn refused_by_name(world: World<'_>) -> Result<(), Failure> {
    if world.profile.classes.contains(&Class::Verifying) {
        return Ok(());
    }
    let manifest = disputable(&world).await?;
    match world.ledger.intend(&step(&manifest, Step::Prepare)).await {
        Err(LedgerError::Unsupported { ledger, verb: "prepare", reason }) => {
            same("who refuses", &world.profile.id, &ledger)?;
            same("the reason names the arbiter", &true, &reason.contains("arbiter"))
        }
        Ok(_) => other("a lock with an arbiter".into(), "unsupported", &"an intent"),
        Err(error) => Err(error).during("prepare"),
    }
}
