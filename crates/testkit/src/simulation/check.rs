//! The promises (P1 to P6 after each step, that everything ends and the balances at the end), judged from the ledgers' true state and from
//! what nodes wrote down. No node sees any of this.

use std::collections::BTreeMap;

use sofie_ledgers::Ledger;
use sofie_ledgers::fake::Fake;
use sofie_model::manifest::{Class, Leg, Terms};
use sofie_model::{Account, Decision, Digest, Evidence, Fact, LegId, Manifest, Timestamp, Txid, canonical};
use sofie_node::journal::{Entry, Machine, Reader};
use sofie_transaction::{Input, Phase};

use super::bounds::is_timely;
use super::keys::{PEOPLE, account};
use super::life::Life;
use super::scenario::{ENDOWMENT, Scenario, TransactionPlan, VAULT};
use super::stability::Stability;
use super::words::fact_words;
use super::world::World;

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which: `P1` to `P6`, or `balances`.
    pub promise: &'static str,
    /// When, in milliseconds since the world began.
    pub at: u64,
    /// What was seen.
    pub what: String,
}

/// Nothing found, or which promise and what.
pub(super) type Found = Result<(), (&'static str, String)>;

/// What was seen so far.
pub(super) struct Check {
    /// A ledger has broken its declared finality: the label's assumption does not hold, nor what rests on it.
    pub(super) broken: bool,
    /// P3.
    pub(super) stability: Stability,
    /// A pivot's executors are away for too long: the pivot may end otherwise than D says.
    asleep: bool,
    first: BTreeMap<Txid, Decision>,
    told: Vec<Vec<(Fact, bool)>>,
}

impl Check {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            broken: false,
            stability: Stability::default(),
            asleep: scenario.asleep,
            first: BTreeMap::new(),
            told: vec![Vec::new(); scenario.ledgers.len()],
        }
    }

    /// D's first final decision.
    pub(super) fn decision(&self, id: Txid) -> Option<Decision> {
        self.first.get(&id).cloned()
    }

    /// What a ledger shows that it did not show before.
    pub(super) fn new_facts(&mut self, world: &World, ledger: usize) -> Vec<(Fact, bool)> {
        let now: Vec<_> =
            world.fakes[ledger].record().into_iter().map(|(one, is_final)| (one.fact, is_final)).collect();
        let new = now.iter().filter(|one| !self.told[ledger].contains(one)).cloned().collect();
        self.told[ledger] = now;
        new
    }

    /// After a ledger has changed.
    pub(super) fn ledger(&mut self, world: &World, ledger: usize) -> Found {
        let fake = &world.fakes[ledger];
        let record = fake.record();
        conserved(fake)?;
        once(&record)?;
        if world.scenario.beyond {
            self.stability.saw(&fake.profile().id, &record, world.wheel.millis());
        }
        if fake.profile().decides {
            self.decisions(world, &record)?;
        }
        if self.broken {
            return Ok(());
        }
        // A decision may come after what it contradicts.
        let pivot = |fake: &&Fake| fake.profile().classes.contains(&Class::Hashlock);
        if fake.profile().decides {
            world.fakes.iter().filter(pivot).try_for_each(|fake| self.acted(world, fake, &fake.record()))?;
        }
        self.acted(world, fake, &record)
    }

    /// P2 and P3.
    fn decisions(&mut self, world: &World, record: &[(Evidence, bool)]) -> Found {
        for (evidence, is_final) in record {
            let Fact::Decided(id, decision) = &evidence.fact else { continue };
            if *is_final && !self.first.contains_key(id) {
                self.first.insert(*id, decision.clone());
                if !self.broken {
                    valid(world, *id, decision, evidence.at)?;
                }
            }
        }
        if self.broken {
            return Ok(());
        }
        for (id, decision) in &self.first {
            let stands = record
                .iter()
                .any(|(one, is_final)| *is_final && one.fact == Fact::Decided(*id, decision.clone()));
            ensure(stands, "P3", || format!("D no longer holds its final decision of {id}"))?;
        }
        Ok(())
    }

    /// P1: what a leg did is what D decided, finally, before.
    fn acted(&self, world: &World, fake: &Fake, record: &[(Evidence, bool)]) -> Found {
        for (evidence, _) in record {
            let (id, leg, applied) = match &evidence.fact {
                Fact::Applied(id, leg) => (id, *leg, true),
                Fact::Reverted(id, leg) => (id, *leg, false),
                _ => continue,
            };
            let here = record.iter().find_map(|(one, _)| match &one.fact {
                Fact::Decided(of, decision) if of == id => Some(decision),
                _ => None,
            });
            // A leg on D's own ledger stands and falls with the decision before it.
            let decision = if fake.profile().decides { here } else { self.first.get(id) };
            let fact = || format!("{}: {}", fake.profile().id, fact_words(&evidence.fact));
            let pivot = plan(world, *id).and_then(|one| one.manifest.pivot()) == Some(leg);
            if pivot && self.asleep {
                continue;
            }
            let Some(decision) = decision else {
                // It is claimed before COMMIT by who has every secret, and refunded before ABORT by time.
                if pivot {
                    continue;
                }
                return Err(("P1", format!("{}, and D holds no final decision", fact())));
            };
            if pivot && applied && unguarded(world, *id) {
                continue;
            }
            ensure(decision.includes(leg) == applied, "P1", || {
                format!("{}, and D holds {}", fact(), fact_words(&Fact::Decided(*id, decision.clone())))
            })?;
        }
        Ok(())
    }

    /// What a node wrote down must be so.
    pub(super) fn journaled(&mut self, world: &World, life: &Life, entry: &Entry, now: Timestamp) -> Found {
        let node = life.node;
        self.stability.journaled(life, entry);
        let by = |what: String| format!("node {node} {what}");
        let (id, input) = match entry {
            Entry::Intent { .. } if self.broken => return Ok(()),
            Entry::Intent { id, task, .. } => {
                let locks = task.starts_with("prepare")
                    && plan(world, Txid(*id)).is_some_and(|plan| !is_timely(plan));
                return ensure(!locks, "P5", || {
                    by(format!("is about to {task} although the times are not safe"))
                });
            }
            Entry::Input { machine: Machine::Transaction, id, input, .. } => (id, input),
            _ => return Ok(()),
        };
        let (Ok(input), Some(plan)) =
            (canonical::decode::<Input>(input, input.len()), plan(world, Txid(*id)))
        else {
            return Ok(());
        };
        self.stability.took(node, plan.id, &input);
        if self.broken {
            return self.stability.believed(node, &input);
        }
        match input {
            Input::Released(..) if is_kept(world, plan, now) => Ok(()),
            Input::Permitted(_) => ensure(pivot_end(world, plan) == Some(true), "P1", || {
                by("signs a late COMMIT, and no claim is final".to_owned())
            }),
            // Only its own participants' releases are its deed.
            Input::Released(who, _) if !world.acts_for(node, who) => Ok(()),
            Input::Released(who, _) => release(world, plan, who)
                .map_err(|why| ("P2", by(format!("releases the secret of participant {who}: {why}")))),
            Input::Prepared(leg, _) => ensure(is_prepared(world, &plan.manifest, leg), "P2", || {
                by(format!("takes {leg} for prepared, and its ledger does not hold that finally"))
            }),
            Input::Decided(evidence) => {
                let Fact::Decided(id, decision) = &evidence.fact else { return Ok(()) };
                ensure(self.first.get(id) == Some(decision), "P1", || {
                    by(format!(
                        "takes for final: {}; D does not hold that finally",
                        fact_words(&evidence.fact)
                    ))
                })
            }
            Input::Closed(leg, evidence) => ensure(holds(world, &evidence), "P1", || {
                by(format!("takes {leg} for closed, and {} does not hold that finally", evidence.ledger))
            }),
            _ => Ok(()),
        }
    }
}

/// A release that comes too late by the node's own clock is told to nobody: the node aborts.
pub(super) fn is_kept(world: &World, plan: &TransactionPlan, now: Timestamp) -> bool {
    now + last_release(world, plan) > plan.manifest.deadline
}

/// What a node leaves for COMMIT before T_D.
fn last_release(world: &World, plan: &TransactionPlan) -> sofie_model::Span {
    world.decision_time(plan) + plan.clock.map_or(sofie_model::Span::ZERO, |clock| clock.skew)
}

/// Whether the pivot's guard is hostile: who refuses its word for a claim of what it has locked itself robs nobody else.
pub(super) fn unguarded(world: &World, id: Txid) -> bool {
    plan(world, id).is_some_and(|plan| world.scenario.is_outside(plan.manifest.guard))
}

/// Whether COMMIT includes value that nobody has ever locked: a hostile participant named an optional leg before its prepare,
/// and D takes it at his word. That leg is not live, which is all that P6 speaks of: what has followed with the others halts.
pub(super) fn names_no_lock(world: &World, id: Txid, decision: Option<Decision>) -> bool {
    let Some((plan, decision)) = plan(world, id).zip(decision) else { return false };
    let unlocked = |(leg, one): (LegId, &Leg)| {
        let ledger = world.fake(&one.ledger).filter(|_| one.class != Class::Record && decision.includes(leg));
        ledger.is_some_and(|fake| !fake.facts().contains(&Fact::Prepared(id, leg)))
    };
    world.scenario.hostile && plan.manifest.legs().any(unlocked)
}

/// Whether every leg that can follow D has.
fn live_legs_follow(world: &World, plan: &TransactionPlan) -> bool {
    let Some(decision) = world.decision(plan.id) else { return false };
    plan.manifest.legs().all(|(leg, one)| {
        let facts = world.fake(&one.ledger).map(|fake| fake.facts()).unwrap_or_default();
        let is_live = decision.includes(leg) && facts.contains(&Fact::Prepared(plan.id, leg));
        !is_live || facts.contains(&Fact::Applied(plan.id, leg))
    })
}

/// Whether the pivot is claimed (true) or paid back (false), finally; `None` while neither is so.
pub(super) fn pivot_end(world: &World, plan: &TransactionPlan) -> Option<bool> {
    let leg = plan.manifest.pivot()?;
    let fake = world.fake(&plan.manifest.leg(leg)?.ledger)?;
    let end = |(one, is_final): (Evidence, bool)| match one.fact {
        Fact::Applied(id, which) if is_final && (id, which) == (plan.id, leg) => Some(true),
        Fact::Reverted(id, which) if is_final && (id, which) == (plan.id, leg) => Some(false),
        _ => None,
    };
    fake.record().into_iter().find_map(end)
}

/// Whether the pivot's lock stands, unspent.
pub(super) fn pivot_stands(world: &World, plan: &TransactionPlan) -> bool {
    let locked = plan.manifest.pivot().and_then(|leg| {
        let fake = world.fake(&plan.manifest.leg(leg)?.ledger)?;
        fake.facts().contains(&Fact::Prepared(plan.id, leg)).then_some(())
    });
    locked.is_some() && pivot_end(world, plan).is_none()
}

/// Whether the pivot ended otherwise than D says: only where nobody promised that it would not.
pub(super) fn has_parted(world: &World, plan: &TransactionPlan) -> bool {
    let decided = world.decision(plan.id).zip(plan.manifest.pivot());
    let decided = decided.map(|(decision, leg)| decision.includes(leg));
    decided.zip(pivot_end(world, plan)).is_some_and(|(decided, ended)| decided != ended)
}

pub(super) fn ensure(holds: bool, promise: &'static str, what: impl FnOnce() -> String) -> Found {
    if holds { Ok(()) } else { Err((promise, what())) }
}

fn plan(world: &World, id: Txid) -> Option<&TransactionPlan> {
    world.scenario.transactions.iter().find(|one| one.id == id)
}

fn conserved(fake: &Fake) -> Found {
    let given = u128::from(PEOPLE) * ENDOWMENT;
    ensure(fake.supply() == given, "balances", || {
        format!("{} holds {} in all, and was given {given}", fake.profile().id, fake.supply())
    })
}

/// P4: each thing happens at most once, and not both of two that exclude each other.
fn once(record: &[(Evidence, bool)]) -> Found {
    for (place, (evidence, _)) in record.iter().enumerate() {
        let same = |(other, _): &(Evidence, bool)| match (&evidence.fact, &other.fact) {
            (Fact::Decided(one, _), Fact::Decided(other, _)) => one == other,
            (Fact::Applied(id, leg), Fact::Reverted(of, which))
            | (Fact::Reverted(id, leg), Fact::Applied(of, which)) => (id, leg) == (of, which),
            (one, other) => one == other,
        };
        ensure(!record[..place].iter().any(same), "P4", || {
            format!("{}: a second time: {}", evidence.ledger, fact_words(&evidence.fact))
        })?;
    }
    Ok(())
}

/// P2 at the decision: COMMIT in time, with the secrets, and with every required prepare final.
fn valid(world: &World, id: Txid, decision: &Decision, at: Timestamp) -> Found {
    let (Decision::Commit { preimages, .. }, Some(plan)) = (decision, plan(world, id)) else { return Ok(()) };
    let manifest = &plan.manifest;
    ensure(at.as_seconds() <= manifest.grace_end().as_seconds(), "P2", || {
        format!("COMMIT of {id} comes after the deadline")
    })?;
    let guarded = at.as_seconds() <= manifest.deadline.as_seconds()
        || world.scenario.is_outside(manifest.guard)
        || pivot_end(world, plan) == Some(true);
    ensure(guarded, "P2", || format!("COMMIT of {id} comes after T_D, and no claim is final"))?;
    let fits = |(one, secret): (&sofie_model::manifest::Participant, &Digest)| {
        Digest::sha256(secret.as_bytes()) == one.hashlock
    };
    let all = preimages.len() == manifest.participants.len()
        && manifest.participants.iter().zip(preimages).all(fits);
    ensure(all, "P2", || format!("COMMIT of {id} without every participant's secret"))?;
    let required = manifest.quorum().required;
    let missing = manifest
        .legs()
        .map(|(leg, _)| leg)
        .find(|leg| required >> leg.0 & 1 == 1 && !is_prepared(world, manifest, *leg));
    match missing {
        Some(leg) => Err(("P2", format!("COMMIT of {id}, and {leg} is not finally prepared"))),
        None => Ok(()),
    }
}

/// P2 at a release: enough is finally prepared, and COMMIT can still be final before T_D. Before a pivot with a single hash
/// is there, everybody but its claimant has released; its payer has told nobody then.
fn release(world: &World, plan: &TransactionPlan, who: u16) -> Result<(), String> {
    let (manifest, d) = (&plan.manifest, &world.scenario.ledgers[0].profile);
    if world.wheel.now() + d.inclusion + d.finalises > manifest.deadline {
        return Err("too late for COMMIT to be final before the deadline".into());
    }
    let prepared = |leg: &LegId| is_prepared(world, manifest, *leg);
    let mask =
        manifest.legs().map(|(leg, _)| leg).filter(prepared).fold(0, |mask, leg| mask | 1_u64 << leg.0);
    let early = plan.single_payer().is_some() && plan.claimant() != Some(who);
    let mask = mask | manifest.pivot().filter(|_| early).map_or(0, |leg| 1 << leg.0);
    if manifest.quorum().allows(mask) {
        Ok(())
    } else {
        Err(format!("only legs {mask:b} are finally prepared"))
    }
}

fn is_prepared(world: &World, manifest: &Manifest, leg: LegId) -> bool {
    let fact = Fact::Prepared(manifest.txid(), leg);
    let ledger = manifest.leg(leg).and_then(|found| world.fake(&found.ledger));
    ledger.is_some_and(|fake| fake.record().iter().any(|(one, is_final)| *is_final && one.fact == fact))
}

fn holds(world: &World, evidence: &Evidence) -> bool {
    let here =
        |fake: &Fake| fake.record().iter().any(|(one, is_final)| *is_final && one.fact == evidence.fact);
    world.fake(&evidence.ledger).is_some_and(here)
}

/// Once nothing moves any more: P3, P6, and every account.
pub(super) fn at_end(world: &World) -> Found {
    if world.violation().is_some() {
        return Ok(());
    }
    if world.scenario.beyond {
        world.stability().at_end(world)?;
    }
    if world.is_broken() {
        return Ok(());
    }
    for (node, transactions) in world.running() {
        for plan in &world.scenario.transactions {
            if world.has_begun(node, plan.id) {
                let state = transactions.state(plan.id).map_err(|e| ("P4", e.to_string()))?;
                let phase = state.map(|state| state.phase().clone());
                let parted = (world.scenario.asleep || unguarded(world, plan.id)) && has_parted(world, plan);
                let partial =
                    names_no_lock(world, plan.id, world.decision(plan.id)) && live_legs_follow(world, plan);
                let excused = matches!(phase, Some(Phase::Halted { .. })) && (parted || partial);
                ensure(excused || follows(world, plan.id, phase.as_ref()), "P6", || {
                    format!("node {node} leaves {} as {phase:?}", plan.id)
                })?;
            }
        }
        audited(world, node)?;
    }
    world.fakes.iter().try_for_each(|fake| settled(world, fake))
}

fn follows(world: &World, id: Txid, phase: Option<&Phase>) -> bool {
    matches!(phase, Some(Phase::Done(decision)) if world.decision(id).as_ref() == Some(decision))
}

/// The audit log of a node is one chain.
fn audited(world: &World, node: usize) -> Found {
    let path = super::node::path(world, node);
    let read = || -> Result<(), String> {
        let records = Reader::open(&path).and_then(|reader| reader.audit()).map_err(|e| e.to_string())?;
        let records: Result<Vec<_>, _> =
            records.iter().map(|bytes| sofie_node::auditor::decode(&path, bytes)).collect();
        sofie_audit::chain::verify(&records.map_err(|e| e.to_string())?).map_err(|e| e.to_string()).map(drop)
    };
    read().map_err(|why| ("P4", format!("the audit log of node {node}: {why}")))
}

/// Where the fake ledger keeps what is locked in script.
const SCRIPT: Account = Account([0x5c; 20]);

/// Every account holds what the decisions say, and nothing stays locked.
fn settled(world: &World, fake: &Fake) -> Found {
    let ledger = &fake.profile().id;
    let facts: Vec<Fact> = fake.facts();
    let mut expected: BTreeMap<Account, u128> = (0..PEOPLE).map(|who| (account(who), ENDOWMENT)).collect();
    expected.insert(VAULT, 0);
    for plan in &world.scenario.transactions {
        for (id, leg) in plan.manifest.legs().filter(|(_, leg)| leg.ledger == *ledger) {
            if leg.class == Class::Record || !facts.contains(&Fact::Prepared(plan.id, id)) {
                continue;
            }
            let applied = facts.contains(&Fact::Applied(plan.id, id));
            let reverted = facts.contains(&Fact::Reverted(plan.id, id));
            let (payer, payee, amount) = match &leg.terms {
                Terms::Transfer(terms) => (terms.payer, terms.payee, terms.amount),
                Terms::Escrow(terms) => (terms.payer, terms.contract, terms.amount),
                Terms::Hashlock(terms) => (terms.payer, terms.claimant, terms.amount),
                Terms::Record(_) => continue,
            };
            // What somebody outside of every node locks too late is its own loss.
            if !applied && !reverted && world.scenario.is_outside(payer) {
                *expected.entry(payer).or_default() -= amount;
                *expected.entry(leg.terms.holder().unwrap_or(SCRIPT)).or_default() += amount;
                continue;
            }
            ensure(applied || reverted, "P6", || format!("{ledger}: {id} of {} stays locked", plan.id))?;
            if applied {
                *expected.entry(payer).or_default() -= amount;
                *expected.entry(payee).or_default() += amount;
            }
        }
    }
    expected.into_iter().try_for_each(|(who, amount)| {
        let held = fake.holds(who);
        ensure(held == amount, "balances", || format!("{ledger}: {who} holds {held}, and {amount} is right"))
    })
}
