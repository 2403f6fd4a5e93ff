//! Participants outside of every node, who keep no rule but the ledgers': they lock or not, hear what is told to all,
//! and act together. Each transaction sees one [`Manner`] of them (design "Promises": the attackers).

use std::collections::BTreeMap;
use std::sync::Arc;

use sofie_ledgers::fake::Fake;
use sofie_ledgers::{Hashlocks, Ledger, Spend};
use sofie_model::{Account, Class, Decide, Digest, Fact, LegId, Operation, Step, Timestamp, contract};
use sofie_transaction::Input;

use super::dice::Dice;
use super::keys::{account, owner, sign};
use super::scenario::TransactionPlan;
use super::time::DAWN;
use super::world::World;

/// They rest so many milliseconds after the last instant at which something of the transaction can be done.
const AFTER: u64 = 30_000;
/// Their submissions for one transaction at most.
const MOVES: u32 = 120;
/// So many of them are kept for what must wait.
const KEPT: u32 = 80;
/// How often a node is told a secret that it does not take.
const TELLINGS: u32 = 5;
/// Nothing of theirs is locked later than this before T_D.
const LAST_LOCK: u64 = 4_000;

/// What they do once they hold every secret, or may give theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// They release, commit and claim.
    Fair,
    /// They lock, and say nothing once the others have released.
    Silent,
    /// They commit, and nothing is heard of them any more.
    Dies,
    /// They commit at the last moment of T_D.
    LastMoment,
    /// They claim the pivot, and decide nothing.
    ClaimsOnly,
    /// They claim it when T_D is over, so that COMMIT needs the guard.
    ClaimsOverdue,
    /// They claim it when it can be paid back already.
    ClaimsLate,
    /// They claim it when G is all but over.
    ClaimsLast,
    /// They claim, and ask D for ABORT at once.
    ClaimsAndAborts,
    /// They take the pivot back, and commit then: its guard is theirs.
    RefundsAndCommits,
    /// They release, and turn back by every means.
    TurnsBack,
}

/// Of anybody, and besides them of the pivot's claimant, and of its payer.
const ANYBODY: [Manner; 5] =
    [Manner::Fair, Manner::Silent, Manner::Dies, Manner::LastMoment, Manner::TurnsBack];
const CLAIMANT: [Manner; 8] = [
    Manner::Dies,
    Manner::Dies,
    Manner::ClaimsOnly,
    Manner::ClaimsOverdue,
    Manner::ClaimsOverdue,
    Manner::ClaimsLate,
    Manner::ClaimsLast,
    Manner::ClaimsAndAborts,
];
const PAYER: [Manner; 3] = [Manner::RefundsAndCommits; 3];

struct Rogue {
    world: Arc<World>,
    plan: TransactionPlan,
    manner: Manner,
    /// The ledgers, with their keys.
    ledgers: Vec<Fake>,
    /// How far from an edge they move, in milliseconds.
    aim: u64,
    committed: bool,
    /// So many submissions are left to them.
    moves: u32,
    /// How often each node is still told each secret.
    tellings: BTreeMap<(usize, u16), u32>,
}

/// Plays their part in one transaction.
pub(super) async fn play(world: Arc<World>, n: usize) {
    let mut dice = Dice::new(world.seed, 400 + n as u64);
    // Nothing is promised to nobody.
    let people = (0..).zip(&world.scenario.transactions[n].secrets).map(|(who, _)| who);
    if people.into_iter().all(|who: u8| world.scenario.outside.contains(&who)) {
        return;
    }
    let busy = world.hold();
    let plan = world.scenario.transactions[n].clone();
    let keys = || world.scenario.outside.iter().map(|who| account(*who));
    let ledgers = world.fakes.iter().map(|fake| fake.held_by(keys())).collect();
    let aim = dice.below(6_000);
    let mut rogue = Rogue {
        world: world.clone(),
        plan,
        manner: Manner::Fair,
        ledgers,
        aim,
        committed: false,
        moves: MOVES,
        tellings: BTreeMap::new(),
    };
    rogue.choose(&mut dice);
    let locks = dice.percent(92);
    let end = rogue.end();
    while world.wheel.millis() < end && !world.is_closed(&rogue.plan) && rogue.moves > 0 {
        world.wheel.sleep(dice.between(300, 2_500)).await;
        if locks {
            rogue.lock().await;
        }
        rogue.speak().await;
        rogue.act().await;
        rogue.take_back().await;
    }
    drop(busy);
}

impl Rogue {
    fn holds(&self, who: u16) -> bool {
        self.world.scenario.outside.iter().any(|one| u16::from(*one) == who)
    }

    fn choose(&mut self, dice: &mut Dice) {
        let claimant = self.claims_pivot().then_some(CLAIMANT).into_iter().flatten();
        let payer = self.pays_pivot().then_some(PAYER).into_iter().flatten();
        self.manner = *dice.pick(&ANYBODY.into_iter().chain(claimant).chain(payer).collect::<Vec<_>>());
        self.world.log("hostile", || format!("{} will see them: {:?}", self.plan.id, self.manner));
    }

    fn is_theirs(&self, account: Account) -> bool {
        owner(account).is_some_and(|who| self.holds(who.into()))
    }

    fn pays_pivot(&self) -> bool {
        self.plan.pivot().is_some_and(|terms| self.is_theirs(terms.payer))
    }

    fn claims_pivot(&self) -> bool {
        self.plan.pivot().is_some_and(|terms| self.is_theirs(terms.claimant))
    }

    fn timelock(&self) -> Option<Timestamp> {
        self.plan.pivot().map(|terms| terms.timelock)
    }

    fn end(&self) -> u64 {
        self.plan.manifest.grace_end().since(DAWN).as_millis() + AFTER
    }

    /// So many milliseconds before `at`, or later.
    fn is_close(&self, at: Timestamp, before: u64) -> bool {
        self.world.wheel.now() + sofie_model::Span::from_millis(before) >= at
    }

    async fn send(&mut self, what: &str, operation: &Operation) {
        let ledger = match operation {
            Operation::Leg { manifest, leg, .. } => manifest.leg(*leg).map(|leg| leg.ledger.clone()),
            _ => Some(self.plan.manifest.decision.ledger.clone()),
        };
        let fake = self.ledgers.iter().find(|fake| Some(&fake.profile().id) == ledger.as_ref());
        let Some(fake) = fake else { return };
        let Ok(intent) = fake.intend(operation).await else { return };
        self.world.log("hostile", || format!("{what}: {}", super::words::intent_words(fake, &intent)));
        self.world.deliver(fake, intent, 5);
        self.moves = self.moves.saturating_sub(1);
    }

    fn step(&self, leg: LegId, step: Step) -> Operation {
        Operation::Leg { manifest: self.plan.manifest.clone().into(), leg, step }
    }

    fn shows(&self, fact: &Fact) -> bool {
        self.world.fakes.iter().any(|fake| fake.facts().contains(fact))
    }

    /// Their legs, once each: the pivot whenever they like.
    async fn lock(&mut self) {
        let manifest = self.plan.manifest.clone();
        if self.is_close(manifest.deadline, LAST_LOCK) || self.world.has_decision(self.plan.id) {
            return;
        }
        for (leg, found) in manifest.legs() {
            let theirs = found.terms.payer().is_some_and(|payer| self.is_theirs(payer));
            if theirs && !self.world.is_asked_for(self.plan.id, leg) {
                let locks = self.step(leg, Step::Prepare);
                self.send("locks", &locks).await;
            }
        }
    }

    /// What they tell: secrets, and what is signed ahead for the pivot's lock.
    async fn speak(&mut self) {
        let tells = !matches!(self.manner, Manner::Silent);
        let claimant = self.plan.pivot().map(|terms| terms.claimant);
        for (who, secret) in (0..).zip(&self.plan.secrets) {
            let publishes = self.plan.manifest.participants[usize::from(who)].account;
            if !tells || !self.holds(who) || Some(publishes) == claimant {
                continue;
            }
            for node in 0..self.world.scenario.nodes.len() {
                let tellings = self.tellings.entry((node, who)).or_insert(TELLINGS);
                if *tellings > 0 {
                    let taken = self.world.tell(node, self.plan.id, Input::Released(who, *secret)).await;
                    *tellings = if taken { 0 } else { *tellings - 1 };
                }
            }
        }
        let Some(leg) = self.plan.manifest.pivot() else { return };
        let Some(locks) = self.ledgers.last().and_then(|fake| fake.hashlocks()) else { return };
        for (spend, theirs) in [(Spend::Claim, self.claims_pivot()), (Spend::Refund, self.pays_pivot())] {
            if theirs
                && self.world.word(self.plan.id, spend).is_none()
                && let Ok(word) = Hashlocks::presign(locks, &self.plan.manifest, leg, spend).await
            {
                self.world.sign(self.plan.id, word);
            }
        }
    }

    /// Theirs, what was told, and what was published.
    fn secrets(&self) -> Option<Vec<Digest>> {
        let know = |(who, secret): (u16, &Digest)| {
            let known = self.holds(who) || self.world.is_known(self.plan.id, who);
            known.then_some(*secret)
        };
        (0..).zip(&self.plan.secrets).map(know).collect()
    }

    /// Those of them that open the pivot.
    fn opening(&self) -> Option<Vec<Digest>> {
        match self.plan.single_payer() {
            Some(_) => Some(self.plan.manifest.lock_preimages(self.plan.pivot()?, &self.plan.secrets)),
            None => self.secrets(),
        }
    }

    async fn act(&mut self) {
        let deadline = self.plan.manifest.deadline;
        match self.manner {
            Manner::Fair => {
                self.commit().await;
                self.claim(self.world.has_decision(self.plan.id)).await;
            }
            Manner::Dies if !self.committed => self.commit().await,
            Manner::LastMoment if self.is_close(deadline, self.aim) => {
                self.commit().await;
                self.claim(true).await;
            }
            Manner::ClaimsOnly => self.claim(true).await,
            Manner::ClaimsOverdue => {
                let over = self.world.wheel.now() > deadline;
                // D refuses it without its guard; the claim it must not wait for.
                if over && self.moves > KEPT {
                    self.commit().await;
                }
                self.claim(over).await;
            }
            Manner::ClaimsLate => {
                let due = self.timelock().is_some_and(|at| self.is_close(at, self.aim / 2));
                self.claim(due).await;
            }
            Manner::ClaimsLast => {
                let due = self.is_close(self.plan.manifest.grace_end(), self.aim);
                self.claim(due).await;
            }
            Manner::ClaimsAndAborts => {
                self.claim(true).await;
                if self.secrets().is_some() && self.moves > KEPT {
                    self.abort().await;
                }
            }
            Manner::RefundsAndCommits if self.is_refunded() => self.commit().await,
            Manner::RefundsAndCommits => {}
            Manner::TurnsBack if self.moves > KEPT => self.abort().await,
            Manner::TurnsBack => {}
            Manner::Silent | Manner::Dies | Manner::LastMoment => {}
        }
    }

    async fn commit(&mut self) {
        let Some(preimages) = self.secrets() else { return };
        let manifest = &self.plan.manifest;
        let quorum = manifest.quorum();
        let stands = |leg: &LegId| self.shows(&Fact::Prepared(self.plan.id, *leg));
        let standing =
            manifest.legs().map(|(leg, _)| leg).filter(stands).fold(0, |mask, leg| mask | 1 << leg.0);
        let included = quorum.required | (quorum.optional & standing);
        if !quorum.allows(included) || self.world.has_decision(self.plan.id) {
            return;
        }
        let evidence_root = Digest::of("nonsense", &[self.plan.id.0.as_bytes()]);
        let digest = contract::commit_digest(manifest, included, evidence_root);
        let late = self.world.wheel.now() > manifest.deadline;
        let guard = owner(manifest.guard).filter(|who| late && self.holds((*who).into()));
        let guard = guard.map(|who| sign(who, digest));
        let decide = Decide::Commit { included, evidence_root, preimages, guard };
        let commits = Operation::Decide { manifest: manifest.clone().into(), decide };
        self.send("commits", &commits).await;
        self.committed = true;
    }

    async fn claim(&mut self, now: bool) {
        let Some(leg) = self.plan.manifest.pivot().filter(|_| now && self.claims_pivot()) else { return };
        if let Some(preimages) = self.opening().filter(|_| self.world.pivot_is_open(&self.plan)) {
            let claims = self.step(leg, Step::Claim(preimages));
            self.send("claims", &claims).await;
        }
    }

    /// By themselves, and with everyone's signature once the others have given theirs.
    async fn abort(&mut self) {
        let manifest = &self.plan.manifest;
        let digest = contract::abort_digest(manifest);
        let by = |who: u16| match u8::try_from(who) {
            Ok(own) if self.holds(who) => Some(sign(own, digest)),
            _ => self.world.abort_signature(self.plan.id, who),
        };
        let people = u16::try_from(manifest.participants.len()).unwrap_or(0);
        let signatures: Option<Vec<_>> = (0..people).map(by).collect();
        let who = self.world.scenario.outside.first().map_or(Account::ZERO, |who| account(*who));
        let decide = Decide::Abort { by: who, signatures: signatures.unwrap_or_default() };
        let turns = Operation::Decide { manifest: manifest.clone().into(), decide };
        self.send("turns back", &turns).await;
    }

    fn is_refunded(&self) -> bool {
        let pivot = self.plan.manifest.pivot();
        pivot.is_some_and(|leg| self.shows(&Fact::Reverted(self.plan.id, leg)))
    }

    /// The pivot, as soon as its time has passed, whatever D says; who turns back tries it before.
    async fn take_back(&mut self) {
        let Some(leg) = self.plan.manifest.pivot().filter(|_| self.pays_pivot()) else { return };
        let class = self.plan.manifest.leg(leg).map(|leg| leg.class);
        let early = self.manner == Manner::TurnsBack && self.moves > KEPT;
        let due = early || self.timelock().is_some_and(|at| self.is_close(at, 2_500));
        if class == Some(Class::Hashlock) && due && !self.is_refunded() {
            let takes = self.step(leg, Step::Revert);
            self.send("takes back", &takes).await;
        }
    }
}
