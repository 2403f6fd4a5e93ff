//! The line between one run of a node and one ledger: it takes its time, loses, doubles, delays and reorders what is
//! submitted, and breaks off.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use sofie_ledgers::fake::Fake;
use sofie_ledgers::{
    Hashlocks, Head, Intent, Ledger, LedgerError, Presigned, Profile, Revealed, Spend, Status,
};
use sofie_model::{Evidence, LegId, Manifest, Operation, Proof, Step};

use super::dice::Dice;
use super::life::{self, Life};
use super::mutant::Mutant;
use super::scenario::{LedgerPlan, Moment};

/// The longest way from a node to a ledger, in milliseconds, when nothing is wrong.
const LONGEST_WAY: u64 = 150;
/// What comes late comes after at most so many milliseconds more.
const LATEST: u64 = 60_000;

/// One node's view of one ledger.
pub(super) struct Line {
    fake: Fake,
    plan: LedgerPlan,
    life: Life,
    dice: Mutex<Dice>,
    /// How often each intent did not arrive in time.
    failed: Mutex<BTreeMap<Vec<u8>, u32>>,
}

/// What becomes of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    Lost,
    Unsure,
    Late,
    Doubled,
}

impl Line {
    pub(super) fn new(fake: Fake, plan: LedgerPlan, life: Life, dice: Dice) -> Self {
        Self { fake, plan, life, dice: Mutex::new(dice), failed: Mutex::default() }
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Dice) -> T) -> T {
        draw(&mut self.dice.lock().expect("no holder of this lock panics"))
    }

    fn transient(&self, reason: &str) -> LedgerError {
        LedgerError::Transient { ledger: self.plan.profile.id.clone(), reason: reason.to_owned() }
    }

    /// The way there; fails while the ledger is away.
    async fn reach(&self) -> Result<(), LedgerError> {
        self.life.alive().await;
        self.life.takes(self.draw(|dice| dice.between(2, LONGEST_WAY))).await;
        if self.life.world.is_away(&self.plan) {
            return Err(self.transient("it is away"));
        }
        Ok(())
    }

    fn fate(&self, intent: &Intent) -> Fate {
        let mut failed = self.failed.lock().expect("no holder of this lock panics");
        let times = failed.entry(intent.0.clone()).or_default();
        let fate = self.drawn();
        if !matches!(fate, Fate::Lost | Fate::Late) {
            return fate;
        }
        *times += 1;
        if *times > self.plan.stubborn { Fate::Arrives } else { fate }
    }

    fn drawn(&self) -> Fate {
        if self.life.world.is_calm() {
            return Fate::Arrives;
        }
        let plan = &self.plan;
        let drawn = self.draw(|dice| dice.below(100));
        let kinds = [
            (Fate::Lost, plan.lost),
            (Fate::Unsure, plan.unsure),
            (Fate::Late, plan.late),
            (Fate::Doubled, plan.doubled),
        ];
        let mut over = 0;
        let hit = kinds.into_iter().find(|(_, chance)| {
            over += chance;
            drawn < over
        });
        hit.map_or(Fate::Arrives, |(fate, _)| fate)
    }

    fn send(&self, intent: &Intent, more: u64) {
        let way = self.draw(|dice| dice.between(2, LONGEST_WAY));
        self.life.world.deliver(&self.fake, intent.clone(), way + more);
    }

    /// What others signed ahead for this spend, as a node that stored it brings it after every restart.
    async fn bring_words(&self, operation: &Operation) {
        let Operation::Leg { manifest, leg, step } = operation else { return };
        let spend = match step {
            Step::Claim(_) => Spend::Claim,
            Step::Revert => Spend::Refund,
            _ => return,
        };
        // Where all are at nodes, each keeps what it was brought, and brings it itself.
        let world = &self.life.world;
        let brings = world.mutant != Some(Mutant::NothingAhead) && !world.scenario.awaits_words();
        if let Some(word) = self.life.world.word(manifest.txid(), spend).filter(|_| brings) {
            // One for a lock that is there no more is refused, and of no use.
            let _ = Hashlocks::accept(&self.fake, manifest, *leg, &word).await;
        }
    }

    fn tell(&self, intent: &Intent, fate: Fate) {
        self.life.log(|| {
            let fate = if fate == Fate::Arrives { String::new() } else { format!(" ({fate:?})") };
            format!(
                "submits {} to {}{fate}",
                super::words::intent_words(&self.fake, intent),
                self.plan.profile.id
            )
        });
    }
}

#[async_trait]
impl Ledger for Line {
    fn profile(&self) -> &Profile {
        &self.plan.profile
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        self.life.alive().await;
        self.bring_words(operation).await;
        self.fake.intend(operation).await
    }

    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.reach().await?;
        self.fake.adopt(intent).await
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.life.alive().await;
        let crash = self.life.step(life::Step::Submit);
        if let Some(Moment::BeforeSubmit(nth)) = crash {
            self.life.die(&format!("dies before submission {nth} leaves")).await;
        }
        self.life.world.submits(self.life.node, &self.fake, intent);
        let fate = self.fate(intent);
        self.tell(intent, fate);
        let late = self.draw(|dice| dice.below(LATEST));
        match fate {
            Fate::Lost => {}
            Fate::Late => self.send(intent, late),
            Fate::Doubled => {
                self.send(intent, 0);
                self.send(intent, late);
            }
            Fate::Arrives | Fate::Unsure => self.send(intent, 0),
        }
        if let Some(Moment::AfterSubmit(nth)) = crash {
            self.life.die(&format!("dies after submission {nth} has left")).await;
        }
        self.reach().await?;
        if fate == Fate::Unsure { Err(self.transient("the line broke")) } else { Ok(()) }
    }

    async fn status(&self, operation: &Operation, intent: Option<&Intent>) -> Result<Status, LedgerError> {
        self.reach().await?;
        let status = self.fake.status(operation, intent).await?;
        self.life.takes(1).await;
        Ok(status)
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        self.reach().await?;
        self.fake.head().await
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        self.fake.prove(manifest, facts).await
    }

    fn hashlocks(&self) -> Option<&dyn Hashlocks> {
        self.fake.hashlocks().map(|_| self as &dyn Hashlocks)
    }
}

#[async_trait]
impl Hashlocks for Line {
    async fn revealed(&self, manifest: &Manifest, leg: LegId) -> Result<Option<Revealed>, LedgerError> {
        self.reach().await?;
        self.fake.revealed(manifest, leg).await
    }

    async fn presign(&self, manifest: &Manifest, leg: LegId, spend: Spend) -> Result<Presigned, LedgerError> {
        self.reach().await?;
        self.fake.presign(manifest, leg, spend).await
    }

    async fn accept(
        &self,
        manifest: &Manifest,
        leg: LegId,
        presigned: &Presigned,
    ) -> Result<(), LedgerError> {
        self.reach().await?;
        self.fake.accept(manifest, leg, presigned).await
    }
}
