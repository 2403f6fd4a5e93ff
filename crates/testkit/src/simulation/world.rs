//! One world while it runs: its ledgers, what its nodes do, and what is found wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use sofie_ledgers::fake::Fake;
use sofie_ledgers::{Intent, Ledger, Presigned, Spend};
use sofie_model::{
    Decide, Digest, LedgerId, LegId, Operation, Signature, Span, Step as LegStep, Timestamp, Txid, canonical,
};
use sofie_node::clock::Time;
use sofie_node::journal::{Entry, Machine};
use sofie_node::transactions::Transactions;
use sofie_transaction::{Input, Phase, State};

use super::check::{self, Check, Violation};
use super::keys::{PEOPLE, account};
use super::life::{Life, Step};
use super::mutant::Mutant;
use super::scenario::{CHAIN, Crash, ENDOWMENT, LedgerPlan, Moment, Scenario, TransactionPlan};
use super::stability::Stability;
use super::time::{Skewed, Wheel};
use super::words::fact_words;

/// Whoever does not take a message within so many milliseconds is down.
pub(super) const PATIENCE: u64 = 5_000;
/// A trace longer than this is cut.
const MAX_TRACE: usize = 100_000;

/// Everything in one place. Nodes see it through [`super::line::Line`] and [`super::disk::Disk`] only.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) wheel: Wheel,
    pub(super) scenario: Scenario,
    pub(super) mutant: Option<Mutant>,
    pub(super) fakes: Vec<Fake>,
    inner: Mutex<Inner>,
}

struct Inner {
    nodes: Vec<Node>,
    check: Check,
    violation: Option<Violation>,
    trace: Option<Vec<String>>,
    /// What everyone sees on its way to a ledger.
    public: Vec<(usize, Intent)>,
    /// What the nodes' participants have told everyone: secrets, and signatures under ABORT.
    told: BTreeMap<(Txid, u16), Digest>,
    renounced: BTreeMap<(Txid, u16), Signature>,
    /// Secrets, and prepares, that were seen on their way to a ledger.
    published: BTreeSet<(Txid, u16)>,
    asked_for: BTreeSet<(Txid, LegId)>,
    /// Last secrets for which a COMMIT was written ahead.
    intended: BTreeSet<(Txid, u16)>,
    /// What was signed ahead for a pivot's lock, the newest last.
    words: Vec<(Txid, Presigned)>,
    /// Submissions on their way, and parts of the world that still have something to do.
    busy: u32,
    tally: Tally,
}

/// What happened, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Crashes of nodes.
    pub crashes: u32,
    /// Blocks that were undone.
    pub undone: u32,
    /// Transactions that D commits.
    pub committed: u32,
    /// Transactions that D aborts.
    pub aborted: u32,
    /// Pivots that were claimed.
    pub claimed: u32,
    /// Locked pivots that were paid back.
    pub refunded: u32,
    /// Pivots that ended otherwise than D says, where the assumption of their label did not hold.
    pub parted: u32,
    /// Transactions that a node has halted.
    pub halted: u32,
}

/// A node between its runs and in them.
#[derive(Default)]
pub(super) struct Node {
    run: u32,
    up: bool,
    /// Its disk has refused a write.
    failed: bool,
    writes: u32,
    submits: u32,
    transactions: Option<Transactions>,
    /// What its journal has begun.
    begun: BTreeSet<Txid>,
    /// What this run is still to begin.
    pending: BTreeSet<Txid>,
}

impl World {
    pub(super) fn new(seed: u64, wheel: Wheel, mutant: Option<Mutant>, trace: bool) -> Arc<Self> {
        let scenario = Scenario::of(seed);
        let fakes: Vec<Fake> = scenario.ledgers.iter().map(|plan| fake(plan, &wheel, mutant)).collect();
        let nodes = scenario.nodes.iter().map(|_| Node::default()).collect();
        let inner = Inner {
            nodes,
            check: Check::new(&scenario),
            violation: None,
            trace: trace.then(Vec::new),
            public: Vec::new(),
            told: BTreeMap::new(),
            renounced: BTreeMap::new(),
            published: BTreeSet::new(),
            asked_for: BTreeSet::new(),
            intended: BTreeSet::new(),
            words: Vec::new(),
            busy: 0,
            tally: Tally::default(),
        };
        Arc::new(Self { seed, wheel, scenario, mutant, fakes, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }

    /// Adds a line to the trace, if one is kept.
    pub(super) fn log(&self, who: &str, what: impl FnOnce() -> String) {
        let mut inner = self.inner();
        if let Some(trace) = &mut inner.trace
            && trace.len() < MAX_TRACE
        {
            let (seconds, millis) = (self.wheel.millis() / 1_000, self.wheel.millis() % 1_000);
            trace.push(format!("{seconds:>5}.{millis:03}  {who:<10} {}", what()));
        }
    }

    pub(super) fn is_calm(&self) -> bool {
        self.wheel.millis() >= self.scenario.calm
    }

    pub(super) fn is_away(&self, plan: &LedgerPlan) -> bool {
        let now = self.wheel.millis();
        plan.away.iter().any(|(from, to)| (*from..*to).contains(&now))
    }

    /// What is promised for this world at all (P7).
    pub(super) fn violate(&self, promise: &'static str, what: String) {
        let violation = Violation { promise, at: self.wheel.millis(), what };
        self.log("VIOLATION", || format!("{promise}: {}", violation.what));
        self.inner().violation.get_or_insert(violation);
    }

    pub(super) fn violation(&self) -> Option<Violation> {
        self.inner().violation.clone()
    }

    pub(super) fn take_trace(&self) -> Vec<String> {
        self.inner().trace.take().unwrap_or_default()
    }

    /// Nodes.
    pub(super) fn lives(&self, node: usize, run: u32) -> bool {
        let inner = self.inner();
        inner.nodes[node].up && inner.nodes[node].run == run && inner.violation.is_none()
    }

    /// A node's next run begins.
    pub(super) fn rise(self: &Arc<Self>, node: usize) -> Life {
        let mut inner = self.inner();
        let one = &mut inner.nodes[node];
        (one.up, one.failed, one.writes, one.submits) = (true, false, 0, 0);
        one.run += 1;
        Life { world: self.clone(), node, run: one.run }
    }

    /// The crash that the seed has for this run, if this is its step.
    pub(super) fn step(&self, node: usize, step: Step) -> Option<Moment> {
        if self.is_calm() {
            return None;
        }
        let mut inner = self.inner();
        let one = &mut inner.nodes[node];
        let count = match step {
            Step::Write => &mut one.writes,
            Step::Submit => &mut one.submits,
        };
        *count += 1;
        let count = *count;
        let Crash { at, .. } = self.crash(node, one.run)?;
        let here = match (step, at) {
            (
                Step::Write,
                Moment::BeforeWrite(nth)
                | Moment::AfterWrite(nth)
                | Moment::RefusedWrite(nth)
                | Moment::UnsureWrite(nth),
            ) => nth == count,
            (Step::Submit, Moment::BeforeSubmit(nth) | Moment::AfterSubmit(nth)) => nth == count,
            _ => false,
        };
        here.then_some(at)
    }

    /// The disk of this run refuses a write.
    pub(super) fn fail(&self, life: &Life) {
        self.inner().nodes[life.node].failed = true;
    }

    pub(super) fn has_failed(&self, life: &Life) -> bool {
        self.inner().nodes[life.node].failed
    }

    fn crash(&self, node: usize, run: u32) -> Option<Crash> {
        let index = usize::try_from(run).ok()?.checked_sub(1)?;
        self.scenario.nodes[node].crashes.get(index).copied()
    }

    /// The node of this run dies, and rises again when the seed says.
    pub(super) fn kill(self: &Arc<Self>, life: &Life, why: &str) {
        let down = self.crash(life.node, life.run).map_or(1_000, |crash| crash.down);
        self.down(life, down, why);
    }

    /// The node of this run dies, and rises again after so many milliseconds.
    fn down(self: &Arc<Self>, life: &Life, down: u64, why: &str) {
        if !self.lives(life.node, life.run) {
            return;
        }
        self.log(&format!("node {}", life.node), || why.to_owned());
        let mut inner = self.inner();
        inner.tally.crashes += 1;
        let node = &mut inner.nodes[life.node];
        node.up = false;
        node.transactions = None;
        node.pending.clear();
        drop(inner);
        let (world, node) = (self.clone(), life.node);
        tokio::spawn(async move {
            world.wheel.sleep(down).await;
            super::node::live(world.rise(node)).await;
        });
    }

    /// Whatever run the node is in dies, if one is.
    pub(super) fn nap(self: &Arc<Self>, node: usize, down: u64) {
        let run = self.inner().nodes[node].run;
        let life = Life { world: self.clone(), node, run };
        self.down(&life, down, "is down");
    }

    pub(super) fn runs(&self, life: &Life, transactions: Transactions) {
        let mut inner = self.inner();
        let node = &mut inner.nodes[life.node];
        node.transactions = Some(transactions);
        node.pending = self.scenario.transactions.iter().map(|one| one.id).collect();
    }

    /// This run has begun the transaction, or will not.
    pub(super) fn has_tried(&self, life: &Life, id: Txid) {
        if self.lives(life.node, life.run) {
            self.inner().nodes[life.node].pending.remove(&id);
        }
    }

    /// Something of the world has not ended yet.
    pub(super) fn hold(self: &Arc<Self>) -> Busy {
        self.inner().busy += 1;
        Busy(self.clone())
    }

    /// Whether nothing can happen any more.
    pub(super) fn is_over(&self) -> bool {
        let inner = self.inner();
        // One that has halted waits for an operator: that is an end where the label's assumption does not hold.
        let unbound = self.scenario.asleep || inner.check.broken;
        let partial = |id| check::names_no_lock(self, id, inner.check.decision(id));
        let excused = |id| unbound || check::unguarded(self, id) || partial(id);
        let halted = |state: &State| matches!(state.phase(), Phase::Halted { .. }) && excused(state.txid());
        let ended = |all: &Transactions| all.waiting() == 0 && all.states().iter().all(|state| halted(state));
        // Where something is undone after the end, each node still has to look.
        let looked = |all: &Transactions| !self.scenario.beyond || all.looked_at_later() == 0;
        let rests = |all: &Transactions| ended(all) && looked(all);
        let idle = |node: &Node| node.pending.is_empty() && node.transactions.as_ref().is_some_and(rests);
        inner.violation.is_some() || (inner.busy == 0 && inner.nodes.iter().all(idle))
    }

    /// What each node runs, the dead ones left out.
    pub(super) fn running(&self) -> Vec<(usize, Transactions)> {
        let inner = self.inner();
        let all = inner.nodes.iter().enumerate();
        all.filter_map(|(index, node)| Some((index, node.transactions.clone()?))).collect()
    }

    pub(super) fn has_begun(&self, node: usize, id: Txid) -> bool {
        self.inner().nodes[node].begun.contains(&id)
    }

    /// Whether the participant's keys are at this node.
    pub(super) fn acts_for(&self, node: usize, who: u16) -> bool {
        self.scenario.nodes[node].acts_for.iter().any(|one| u16::from(*one) == who)
    }

    /// Something is durable in a node's journal.
    pub(super) fn journaled(&self, life: &Life, entry: &Entry, now: Timestamp) {
        if let Entry::Begun { id, .. } = entry {
            self.inner().nodes[life.node].begun.insert(Txid(*id));
        }
        let found = self.inner().check.journaled(self, life, entry, now);
        self.found(found);
        self.hear(life.node, entry, now);
    }

    /// P2: the pivot's claimant releases by COMMIT, while that can still be final before T_D. What was intended once may
    /// have left.
    fn last_release(&self, node: usize, id: Txid, intent: &Intent) {
        let Ok(Operation::Decide { decide: Decide::Commit { .. }, .. }) = self.fakes[0].operation(intent)
        else {
            return;
        };
        let plans = &self.scenario.transactions;
        let Some(plan) = plans.iter().find(|one| one.id == id) else { return };
        let Some(who) = plan.claimant().filter(|who| self.acts_for(node, *who)) else { return };
        let d = &self.scenario.ledgers[0].profile;
        let in_time = self.wheel.now() + d.inclusion + d.finalises <= plan.manifest.deadline;
        let first = self.inner().intended.insert((id, who));
        if first && !in_time && !self.is_broken() && !self.is_known(id, who) {
            let what =
                format!("node {node} publishes the last secret of {id} too late for COMMIT to be final");
            self.violate("P2", what);
        }
    }

    /// What a node's participants give away is told to every other: the pivot's claimant only publishes.
    fn hear(&self, node: usize, entry: &Entry, now: Timestamp) {
        if let Entry::Intent { id, task, bytes, .. } = entry
            && task == "commit"
        {
            self.last_release(node, Txid(*id), &Intent(bytes.clone()));
        }
        let Entry::Input { machine: Machine::Transaction, id, input, .. } = entry else { return };
        let (id, plans) = (Txid(*id), &self.scenario.transactions);
        let Some(plan) = plans.iter().find(|one| one.id == id) else { return };
        let own = |who| self.acts_for(node, who);
        match canonical::decode::<Input>(input, input.len()) {
            Ok(Input::Released(who, secret)) if own(who) && self.is_told(plan, who, now) => {
                self.inner().told.insert((id, who), secret);
            }
            Ok(Input::Prepared(leg, _)) if plan.manifest.pivot() == Some(leg) => {
                if let Some(who) = plan.single_payer().filter(|who| own(*who)) {
                    self.inner().told.insert((id, who), plan.secrets[usize::from(who)]);
                }
            }
            Ok(Input::Renounced(who, signature)) if own(who) => {
                self.renounce(node, id, who, signature);
            }
            _ => {}
        }
    }

    /// Whether what `who` has released goes to the others at once. The payer of a single hash tells it once its lock is final.
    fn is_told(&self, plan: &TransactionPlan, who: u16, now: Timestamp) -> bool {
        let waits = plan.single_payer() == Some(who) && self.mutant != Some(Mutant::PayerTells);
        plan.claimant() != Some(who) && !waits && !check::is_kept(self, plan, now)
    }

    /// P1: whoever signs ABORT has released nothing.
    pub(super) fn renounce(&self, node: usize, id: Txid, who: u16, signature: Signature) {
        if self.scenario.split && !self.is_broken() && self.is_known(id, who) {
            let what = format!("node {node} signs ABORT for participant {who}, whose secret is out");
            self.violate("P1", what);
        }
        self.inner().renounced.insert((id, who), signature);
    }

    /// Whether everyone may know the participant's secret: it was told, or is in a COMMIT or a claim on its way.
    pub(super) fn is_known(&self, id: Txid, who: u16) -> bool {
        let inner = self.inner();
        inner.told.contains_key(&(id, who)) || inner.published.contains(&(id, who))
    }

    /// Whether a prepare of the leg was seen on its way.
    pub(super) fn is_asked_for(&self, id: Txid, leg: LegId) -> bool {
        self.inner().asked_for.contains(&(id, leg))
    }

    /// What everyone learns of an operation on its way.
    fn publish(&self, operation: &Operation) {
        let (manifest, preimages) = match operation {
            Operation::Decide { manifest, decide: Decide::Commit { preimages, .. } }
            | Operation::Leg { manifest, step: LegStep::Claim(preimages), .. } => (manifest, preimages),
            Operation::Leg { manifest, leg, step: LegStep::Prepare } => {
                self.inner().asked_for.insert((manifest.txid(), *leg));
                return;
            }
            _ => return,
        };
        let plans = &self.scenario.transactions;
        let Some(plan) = plans.iter().find(|one| one.manifest.nonce == manifest.nonce) else { return };
        for (who, secret) in (0..).zip(&plan.secrets) {
            if preimages.contains(secret) {
                self.inner().published.insert((plan.id, who));
            }
        }
    }

    /// A participant's signature under ABORT, if its node has given it.
    pub(super) fn abort_signature(&self, id: Txid, who: u16) -> Option<Signature> {
        self.inner().renounced.get(&(id, who)).copied()
    }

    /// Keeps what was signed ahead, for every node.
    pub(super) fn sign(&self, id: Txid, word: Presigned) {
        self.inner().words.push((id, word));
    }

    /// What was signed ahead for this spend of the transaction's pivot.
    pub(super) fn word(&self, id: Txid, spend: Spend) -> Option<Presigned> {
        let inner = self.inner();
        let of = |(of, word): &&(Txid, Presigned)| *of == id && word.spend == spend;
        inner.words.iter().rev().find(of).map(|(_, word)| word.clone())
    }

    /// Tells a node, if it is up and has begun the transaction; whether it has taken it.
    pub(super) async fn tell(&self, node: usize, id: Txid, input: Input) -> bool {
        let Some(there) = self.transactions_of(node).and_then(|all| all.live(id)) else { return false };
        tokio::select! {
            biased;
            taken = there.give(input) => taken.is_ok(),
            // It is down.
            () = self.wheel.sleep(PATIENCE) => false,
        }
    }

    /// Whether the pivot's lock stands, and nothing has spent it yet.
    pub(super) fn pivot_is_open(&self, plan: &TransactionPlan) -> bool {
        check::pivot_stands(self, plan)
    }

    /// The transactions of a node that is up.
    pub(super) fn transactions_of(&self, node: usize) -> Option<Transactions> {
        self.inner().nodes[node].transactions.clone()
    }

    /// Whether nothing of the transaction is left to be done: D has decided, and no node and no pivot waits.
    pub(super) fn is_closed(&self, plan: &TransactionPlan) -> bool {
        let waits = |(_, all): &(usize, Transactions)| all.live(plan.id).is_some();
        self.has_decision(plan.id) && !self.running().iter().any(waits) && !check::pivot_stands(self, plan)
    }

    /// Whether D holds a final decision of it.
    pub(super) fn has_decision(&self, id: Txid) -> bool {
        self.decision(id).is_some()
    }

    fn found(&self, found: Result<(), (&'static str, String)>) {
        if let Err((promise, what)) = found {
            self.violate(promise, what);
        }
    }

    /// Ledgers.
    pub(super) fn deliver(self: &Arc<Self>, fake: &Fake, intent: Intent, after: u64) {
        let ledger = self.fakes.iter().position(|one| one.profile().id == fake.profile().id).unwrap_or(0);
        if let Ok(operation) = fake.operation(&intent) {
            self.publish(&operation);
        }
        self.inner().public.push((ledger, intent.clone()));
        let (busy, fake) = (self.hold(), fake.clone());
        tokio::spawn(async move {
            let world = &busy.0;
            world.wheel.sleep(after).await;
            // A refusal is the ledger's own affair: nobody waits for this answer.
            let _ = fake.submit(&intent).await;
            world.observe(ledger);
        });
    }

    /// What anyone has seen on its way to a ledger.
    pub(super) fn public(&self) -> Vec<(usize, Intent)> {
        self.inner().public.clone()
    }

    pub(super) fn undone(&self, blocks: u32) {
        self.inner().tally.undone += blocks;
    }

    /// A ledger breaks its declared finality: from now on P3 is judged, and nothing that rests on that finality.
    pub(super) fn breaks(&self) {
        self.inner().check.broken = true;
    }

    pub(super) fn is_broken(&self) -> bool {
        self.inner().check.broken
    }

    /// A node submits this to a ledger.
    pub(super) fn submits(&self, node: usize, fake: &Fake, intent: &Intent) {
        let found = self.inner().check.stability.submitted(node, fake, intent);
        self.found(found);
    }

    /// Whether some node takes the transaction for decided.
    pub(super) fn is_followed(&self, id: Txid) -> bool {
        self.inner().check.stability.is_decided(id)
    }

    /// Whether every node that has begun the transaction has ended it, and one has.
    pub(super) fn is_ended(&self, id: Txid) -> bool {
        let inner = self.inner();
        let begun = |(n, node): (usize, &Node)| node.begun.contains(&id).then_some(n);
        let mut begun = inner.nodes.iter().enumerate().filter_map(begun).peekable();
        begun.peek().is_some() && begun.all(|n| inner.check.stability.has_ended(n, id))
    }

    /// What the node's run is.
    pub(super) fn run_of(&self, node: usize) -> u32 {
        self.inner().nodes[node].run
    }

    /// What is known of ledgers and of what nodes rest on.
    pub(super) fn stability(&self) -> Stability {
        self.inner().check.stability.clone()
    }

    /// Looks at a ledger after it has changed.
    pub(super) fn observe(&self, ledger: usize) {
        let found = self.inner().check.ledger(self, ledger);
        let found = found.and_then(|()| super::bounds::decided_in_time(self, ledger));
        self.tell_new(ledger);
        self.found(found);
    }

    fn tell_new(&self, ledger: usize) {
        let new = self.inner().check.new_facts(self, ledger);
        let id = self.fakes[ledger].profile().id.to_string();
        for (fact, is_final) in new {
            self.log(&id, || format!("{}{}", fact_words(&fact), if is_final { ", final" } else { "" }));
        }
    }

    /// Looks at everything once nothing moves any more.
    pub(super) fn judge(&self) -> Tally {
        let found = super::check::at_end(self);
        self.found(found);
        let mut tally = self.inner().tally;
        let halted = |(_, all): (usize, Transactions)| u32::try_from(all.halted()).unwrap_or(u32::MAX);
        tally.halted = self.running().into_iter().map(halted).sum();
        for one in &self.scenario.transactions {
            let end = super::check::pivot_end(self, one);
            tally.claimed += u32::from(end == Some(true));
            tally.refunded += u32::from(end == Some(false));
            tally.parted += u32::from(super::check::has_parted(self, one));
            match self.inner().check.decision(one.id) {
                Some(sofie_model::Decision::Commit { .. }) => tally.committed += 1,
                Some(sofie_model::Decision::Abort { .. }) => tally.aborted += 1,
                None => {}
            }
        }
        tally
    }

    /// What nodes are told of the time that COMMIT needs.
    pub(super) fn decision_time(&self, plan: &TransactionPlan) -> Span {
        if self.mutant == Some(Mutant::LateRelease) { Span::ZERO } else { plan.decision_time }
    }

    pub(super) fn decision(&self, id: Txid) -> Option<sofie_model::Decision> {
        self.inner().check.decision(id)
    }

    pub(super) fn fake(&self, ledger: &LedgerId) -> Option<&Fake> {
        self.fakes.iter().find(|one| one.profile().id == *ledger)
    }
}

/// While it lives, the world is not over.
pub(super) struct Busy(pub(super) Arc<World>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.inner().busy -= 1;
    }
}

fn fake(plan: &LedgerPlan, wheel: &Wheel, mutant: Option<Mutant>) -> Fake {
    let clock = Skewed { wheel: wheel.clone(), skew: plan.ahead };
    let fake = Fake::new(plan.profile.clone(), CHAIN, Arc::new(move || clock.now()));
    (0..PEOPLE).for_each(|who| fake.endow(account(who), ENDOWMENT));
    if plan.coins {
        fake.coins();
    }
    if let Some(breach) = mutant.and_then(Mutant::breach) {
        fake.breach(breach);
    }
    fake
}
