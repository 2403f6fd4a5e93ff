//! P3, written down a second time, from docs/specs/inter-ledger.md and not from the code that it judges: what becomes of a
//! transaction when a ledger undoes what it had declared final.
//!
//! While a ledger may break its word, nobody can promise that all legs agree. What still holds: a node believes only what a
//! ledger has once declared final; what it has seen decided it never asks otherwise of D; once it has seen that the decision
//! is gone it begins nothing more on any ledger, and only what may have left is followed to its end; a lock that is gone is
//! made by what made it, or not at all; and no node shows a transaction as ended well whose decision, or whose ends, are
//! gone. A node looks once more after the end, when its ledgers have had as long again as they take to make a record
//! final; what is undone later, or after a restart before it, it may miss (docs/guide/limits.md).

use std::collections::{BTreeMap, BTreeSet};

use sofie_ledgers::fake::Fake;
use sofie_ledgers::{Intent, Ledger};
use sofie_model::{
    Class, Decide, Decision, Evidence, Fact, Finality, LedgerId, LegId, Manifest, Operation, Step, Txid,
};
use sofie_node::journal::{Entry, Machine, Reader};
use sofie_transaction::{Input, Phase, State};

use super::check::{Found, ensure};
use super::life::Life;
use super::scenario::TransactionPlan;
use super::time::DAWN;
use super::words::{fact_words, intent_words};
use super::world::World;

/// What ledgers have declared final, and what nodes rest on.
#[derive(Debug, Clone, Default)]
pub(super) struct Stability {
    /// Whatever was final on a ledger, and since when it is not, in the world's milliseconds.
    finals: BTreeMap<LedgerId, Vec<(Fact, Option<u64>)>>,
    nodes: BTreeMap<(usize, Txid), Rests>,
}

/// What one node rests on in one transaction.
#[derive(Debug, Clone, Default)]
struct Rests {
    decision: Option<Decision>,
    closed: Vec<(LedgerId, Fact)>,
    /// It has seen that D does not hold its decision any more.
    noticed: bool,
    /// When, and in which of the node's runs.
    ended: Option<(u64, u32)>,
    /// What may lock its legs: written ahead before the decision.
    locks: BTreeSet<Vec<u8>>,
    /// What may have left before it noticed.
    begun: BTreeSet<Vec<u8>>,
}

impl Stability {
    /// A ledger shows this.
    pub(super) fn saw(&mut self, ledger: &LedgerId, record: &[(Evidence, bool)], now: u64) {
        let known = self.finals.entry(ledger.clone()).or_default();
        let finals = || record.iter().filter(|(_, is_final)| *is_final).map(|(one, _)| &one.fact);
        for fact in finals() {
            if !known.iter().any(|(one, _)| one == fact) {
                known.push((fact.clone(), None));
            }
        }
        for (fact, gone) in known {
            let stands = finals().any(|one| one == fact);
            *gone = if stands { None } else { gone.or(Some(now)) };
        }
    }

    /// Whether the ledger has ever declared it final.
    fn was_final(&self, ledger: &LedgerId, fact: &Fact) -> bool {
        self.finals.get(ledger).is_some_and(|known| known.iter().any(|(one, _)| one == fact))
    }

    /// Since when what was final is not.
    fn gone(&self, ledger: &LedgerId, fact: &Fact) -> Option<u64> {
        self.finals.get(ledger)?.iter().find(|(one, _)| one == fact)?.1
    }

    /// Whether some node takes the transaction for decided.
    pub(super) fn is_decided(&self, id: Txid) -> bool {
        self.nodes.iter().any(|((_, of), rests)| *of == id && rests.decision.is_some())
    }

    /// Whether this node has ended the transaction.
    pub(super) fn has_ended(&self, node: usize, id: Txid) -> bool {
        self.nodes.get(&(node, id)).is_some_and(|rests| rests.ended.is_some())
    }

    fn rests(&mut self, node: usize, id: Txid) -> &mut Rests {
        self.nodes.entry((node, id)).or_default()
    }

    /// A node has written this down.
    pub(super) fn journaled(&mut self, life: &Life, entry: &Entry) {
        match entry {
            Entry::Ended { machine: Machine::Transaction, id } => {
                let at = life.world.wheel.millis();
                self.rests(life.node, Txid(*id)).ended = Some((at, life.run));
            }
            Entry::Reopened { machine: Machine::Transaction, id } => {
                self.rests(life.node, Txid(*id)).ended = None;
            }
            Entry::Intent { id, task, bytes, .. } => {
                let rests = self.rests(life.node, Txid(*id));
                if !rests.noticed {
                    rests.begun.insert(bytes.clone());
                }
                if rests.decision.is_none() && task.starts_with("prepare") {
                    rests.locks.insert(bytes.clone());
                }
            }
            _ => {}
        }
    }

    /// A node has taken this input.
    pub(super) fn took(&mut self, node: usize, id: Txid, input: &Input) {
        let rests = self.rests(node, id);
        match input {
            Input::Decided(evidence) => match (&rests.decision, &evidence.fact) {
                (None, Fact::Decided(_, decision)) => rests.decision = Some(decision.clone()),
                (Some(known), Fact::Decided(_, decision)) => rests.noticed |= known != decision,
                _ => {}
            },
            Input::Undecided(_) => rests.noticed |= rests.decision.is_some(),
            Input::Closed(_, evidence) => {
                rests.closed.push((evidence.ledger.clone(), evidence.fact.clone()));
            }
            _ => {}
        }
    }

    /// Where a ledger breaks its word: a node takes for final only what a ledger has once declared so.
    pub(super) fn believed(&self, node: usize, input: &Input) -> Found {
        let (promise, evidence) = match input {
            Input::Prepared(_, evidence) => ("P2", evidence),
            Input::Decided(evidence) | Input::Closed(_, evidence) => ("P1", evidence),
            _ => return Ok(()),
        };
        ensure(self.was_final(&evidence.ledger, &evidence.fact), promise, || {
            let (what, ledger) = (fact_words(&evidence.fact), &evidence.ledger);
            format!("node {node} takes for final: {what}; {ledger} never held that finally")
        })
    }

    /// A node submits this.
    pub(super) fn submitted(&self, node: usize, fake: &Fake, intent: &Intent) -> Found {
        let Ok(operation) = fake.operation(intent) else { return Ok(()) };
        let Some(id) = operation.txid() else { return Ok(()) };
        let Some(rests) = self.nodes.get(&(node, id)) else { return Ok(()) };
        let Some(decision) = &rests.decision else { return Ok(()) };
        let does = || format!("node {node} submits {}", intent_words(fake, intent));
        match &operation {
            Operation::Decide { decide, .. } => ensure(agrees(decide, decision), "P3", || {
                format!("{}, and has seen another decision stand", does())
            })?,
            Operation::Leg { manifest, leg, step: Step::Prepare } => {
                let lock = Fact::Prepared(id, *leg);
                let lost = relocks(manifest, *leg, decision) && !fake.facts().contains(&lock);
                let anew = lost && self.was_final(&fake.profile().id, &lock);
                return ensure(!anew || rests.locks.contains(&intent.0), "P3", || {
                    format!("{}, and it is not the lock that COMMIT includes", does())
                });
            }
            _ => {}
        }
        ensure(!rests.noticed || rests.begun.contains(&intent.0), "P3", || {
            format!("{} anew, and has seen that D's decision is gone", does())
        })
    }

    /// At the end: who shows a transaction as ended well rests on what stands; who has halted has said so.
    pub(super) fn at_end(&self, world: &World) -> Found {
        for (node, transactions) in world.running() {
            for plan in world.scenario.transactions.iter().filter(|plan| world.has_begun(node, plan.id)) {
                let state = transactions.state(plan.id).map_err(|e| ("P4", e.to_string()))?;
                if let Some(state) = state {
                    self.shown(world, node, plan, &state)?;
                }
            }
        }
        Ok(())
    }

    fn shown(&self, world: &World, node: usize, plan: &TransactionPlan, state: &State) -> Found {
        let Some(rests) = self.nodes.get(&(node, plan.id)) else { return Ok(()) };
        match state.phase() {
            Phase::Done(decision) => {
                ensure(rests.decision.as_ref() == Some(decision), "P3", || {
                    format!("node {node} ends {}, and has seen another decision stand", plan.id)
                })?;
                self.ended(world, node, plan, rests)
            }
            Phase::Halted { .. } => alarmed(world, node, plan.id),
            Phase::Closing(_) => self.decided(plan, rests, |what| format!("node {node} goes on, and {what}")),
            _ => Ok(()),
        }
    }

    fn decided(&self, plan: &TransactionPlan, rests: &Rests, told: impl FnOnce(String) -> String) -> Found {
        let Some(decision) = &rests.decision else { return Ok(()) };
        let d = &plan.manifest.decision.ledger;
        let gone = self.gone(d, &Fact::Decided(plan.id, decision.clone()));
        ensure(gone.is_none(), "P3", || told(format!("{d} no longer holds the decision of {}", plan.id)))
    }

    fn ended(&self, world: &World, node: usize, plan: &TransactionPlan, rests: &Rests) -> Found {
        let (Some((at, run)), Some(decision)) = (rests.ended, &rests.decision) else { return Ok(()) };
        let missing = plan.manifest.legs().find(|(id, leg)| {
            let applied = (leg.ledger.clone(), Fact::Applied(plan.id, *id));
            decision.includes(*id) && !rests.closed.contains(&applied)
        });
        ensure(missing.is_none(), "P3", || {
            format!("node {node} ends {}, and has seen no end of an included leg", plan.id)
        })?;
        // The look after the end is not made up for after a restart.
        if run != world.run_of(node) {
            return Ok(());
        }
        let until = at + looks_after(world, &plan.manifest);
        let decided = (plan.manifest.decision.ledger.clone(), Fact::Decided(plan.id, decision.clone()));
        let lost = rests.closed.iter().chain([&decided]).find(|(ledger, fact)| {
            let gone = self.gone(ledger, fact).is_some_and(|gone| gone <= until);
            gone && !is_moot(world, plan, ledger, fact, until)
        });
        ensure(lost.is_none(), "P3", || {
            let what = lost.map(|(ledger, fact)| format!("{ledger} no longer holds {}", fact_words(fact)));
            format!("node {node} shows {} as ended well, and {}", plan.id, what.unwrap_or_default())
        })
    }
}

/// Whether who asks D for this asks for what stands.
fn agrees(decide: &Decide, decision: &Decision) -> bool {
    match (decide, decision) {
        (
            Decide::Commit { included, evidence_root, .. },
            Decision::Commit { included: legs, evidence_root: root, .. },
        ) => (included, evidence_root) == (legs, root),
        (Decide::Abort { .. }, Decision::Abort { .. }) => true,
        _ => false,
    }
}

/// Whether the leg holds value that the decision includes.
fn relocks(manifest: &Manifest, leg: LegId, decision: &Decision) -> bool {
    decision.includes(leg) && manifest.leg(leg).is_some_and(|leg| leg.class != Class::Record)
}

/// For so many milliseconds after the end what is undone is noticed.
fn looks_after(world: &World, manifest: &Manifest) -> u64 {
    let named = manifest.legs.iter().map(|leg| &leg.ledger).chain([&manifest.decision.ledger]);
    let profiles = named.filter_map(|id| world.fake(id)).map(Ledger::profile);
    let undoable = profiles.filter(|profile| profile.finality != Finality::Instant);
    undoable.map(|profile| profile.finalises.as_millis()).max().unwrap_or(0)
}

/// What is gone is not missed: of a record what was undone was inert, and a lock that is gone as well, or came back only
/// after the look, needs no undoing.
fn is_moot(world: &World, plan: &TransactionPlan, ledger: &LedgerId, fact: &Fact, until: u64) -> bool {
    let Fact::Reverted(id, leg) = fact else { return false };
    let record = plan.manifest.leg(*leg).is_some_and(|leg| leg.class == Class::Record);
    let locked = world.fake(ledger).is_some_and(|fake| {
        let early = |one: &Evidence| one.at.since(DAWN).as_millis() <= until;
        fake.record().iter().any(|(one, _)| one.fact == Fact::Prepared(*id, *leg) && early(one))
    });
    record || !locked
}

/// A halt is an alarm: the audit log of the node has it.
fn alarmed(world: &World, node: usize, id: Txid) -> Found {
    let path = super::node::path(world, node);
    let records = Reader::open(&path).and_then(|reader| reader.audit()).map_err(|e| ("P4", e.to_string()))?;
    let told = records.iter().filter_map(|bytes| sofie_node::auditor::decode(&path, bytes).ok());
    let halted = told.filter(|record| record.subject == id.0).any(|record| record.kind == "halted");
    ensure(halted, "P3", || format!("node {node} has halted {id}, and its audit log does not say so"))
}
