//! A ledger in memory with the rules of the contracts, for tests and for the simulation: of any class and finality,
//! with faults by script. Deterministic; its time comes from the [`Clock`] that it is given.
//!
//! With [`Finality::Instant`] each transaction is a block of its own. Otherwise transactions wait until [`Fake::mine`],
//! [`Fake::reorg`] takes blocks back and [`Fake::fork`] puts others in their place. It has no proofs: [`Ledger::prove`] is
//! unsupported. It takes no fees. A handle holds everyone's keys, or those of some ([`Fake::held_by`]), and makes no
//! intent that another's key would have to sign. Signatures under evidence, of the guard and under an early ABORT are
//! checked.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use sofie_model::{
    Account, Class, Digest, Evidence, Fact, Finality, Manifest, Operation, Position, Proof, Step, Terms,
    Timestamp, Txid,
};

use crate::{Clock, Hashlocks, Head, Intent, Ledger, LedgerError, Profile, Status, Treasury};

mod hashlock;
mod intent;
mod keys;
mod rules;
mod view;

pub use rules::Breach;
use rules::Rules;

/// What goes wrong once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `submit` is refused for good.
    Refuse(String),
    /// `submit` fails, and nothing has arrived.
    FailBefore,
    /// `submit` fails, but the transaction has arrived.
    FailAfter,
    /// `submit` succeeds, but the transaction arrives only after so many `status` calls: late, not lost.
    Delay(u32),
    /// `submit` succeeds, and the transaction never arrives, unless it is submitted again.
    Lose,
    /// The transaction arrives twice.
    Duplicate,
    /// The next so many calls of `status` and `head` fail.
    Away(u32),
    /// The next so many calls of `status` and `head` are answered with nonsense.
    Mad(u32),
}

/// A fake ledger. Clones are handles to the same one.
#[derive(Clone)]
pub struct Fake {
    profile: Profile,
    clock: Clock,
    chain: Arc<Mutex<Chain>>,
    keys: keys::Keys,
}

#[derive(Default)]
struct Chain {
    /// The rules before the first block.
    genesis: Rules,
    rules: Rules,
    facts: Vec<Evidence>,
    blocks: Vec<Block>,
    mempool: Vec<Intent>,
    late: Vec<(u32, Intent)>,
    script: VecDeque<(Option<&'static str>, Fault)>,
    away: u32,
    mad: u32,
    tries: u64,
}

struct Block {
    time: Timestamp,
    transactions: Vec<(Intent, Result<(), String>)>,
}

impl Fake {
    /// An empty ledger.
    #[must_use]
    pub fn new(profile: Profile, chain_id: u64, clock: Clock) -> Self {
        let genesis = Rules::new(chain_id);
        let chain = Chain { rules: genesis.clone(), genesis, ..Chain::default() };
        Self { profile, clock, chain: Arc::new(Mutex::new(chain)), keys: keys::Keys::default() }
    }

    /// Gives `account` money, before the first block.
    pub fn endow(&self, account: Account, amount: u128) {
        let mut chain = self.chain();
        *chain.genesis.balances.entry(account).or_default() += amount;
        *chain.rules.balances.entry(account).or_default() += amount;
    }

    /// The next `submit` of an operation with this verb ([`Operation::verb`]; `None`: of any) meets `fault`.
    pub fn script(&self, verb: Option<&'static str>, fault: Fault) {
        let mut chain = self.chain();
        match fault {
            Fault::Away(calls) => chain.away = calls,
            Fault::Mad(calls) => chain.mad = calls,
            fault => chain.script.push_back((verb, fault)),
        }
    }

    /// Makes a block of what waits, an empty one if nothing does.
    pub fn mine(&self) {
        self.mine_some(|_| Some(true));
    }

    /// Makes a block of what is `Some(true)`; the rest goes on waiting, or is forgotten for `None`, as by a node whose
    /// memory is full.
    pub fn mine_some(&self, choose: impl FnMut(&Intent) -> Option<bool>) {
        let now = (self.clock)();
        self.chain().mine(&self.profile, now, choose);
    }

    /// Takes the last `blocks` blocks back; their transactions wait again. Past the declared depth it breaks the
    /// ledger's promise, as real ones have.
    pub fn reorg(&self, blocks: usize) {
        self.chain().reorg(&self.profile, blocks);
    }

    /// Locks are told apart by their transactions' own inputs alone, as coins are: a second lock of the same leg, made by
    /// another intent, is a second lock. Before the first block.
    pub fn coins(&self) {
        let mut chain = self.chain();
        chain.genesis.coins = true;
        chain.rules.coins = true;
    }

    /// The ledger no longer keeps this rule. Before the first block.
    pub fn breach(&self, breach: Breach) {
        let mut chain = self.chain();
        chain.genesis.breach = Some(breach);
        chain.rules.breach = Some(breach);
    }

    /// The last `blocks` blocks are undone and one more than that stand in their place. `place` says for each undone
    /// transaction which of the new ones it is in (from 0; past the last: it waits), or that it is forgotten.
    pub fn fork(&self, blocks: usize, place: impl FnMut(&Intent) -> Option<usize>) {
        let now = (self.clock)();
        self.chain().fork(&self.profile, blocks, now, place);
    }

    /// What the ledger has recorded, in order, final or not.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        self.chain().facts.iter().map(|one| one.fact.clone()).collect()
    }

    fn chain(&self) -> MutexGuard<'_, Chain> {
        // No state is left half-changed by a panic elsewhere: each change is one call under the lock.
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transient(&self, reason: &str) -> LedgerError {
        LedgerError::Transient { ledger: self.profile.id.clone(), reason: reason.to_owned() }
    }

    fn answers(&self) -> Result<MutexGuard<'_, Chain>, LedgerError> {
        let mut chain = self.chain();
        if chain.away > 0 {
            chain.away -= 1;
            return Err(self.transient("it is away, by script"));
        }
        if chain.mad > 0 {
            chain.mad -= 1;
            let reason = "a block is its own parent, by script".to_owned();
            return Err(LedgerError::Nonsense { ledger: self.profile.id.clone(), reason });
        }
        Ok(chain)
    }

    fn check_carries(&self, operation: &Operation) -> Result<(), LedgerError> {
        let reason = match operation {
            Operation::Leg { manifest, leg, step } => match manifest.leg(*leg) {
                None => Some(format!("the manifest has no {leg}")),
                Some(found) if found.ledger != self.profile.id => {
                    Some(format!("{leg} is on {}", found.ledger))
                }
                Some(found) if !self.profile.classes.contains(&found.class) => {
                    Some(format!("it carries no {} legs", found.class))
                }
                Some(found) => match (step, &found.terms) {
                    (
                        Step::Present(_) | Step::Settle(_) | Step::Overrule(_) | Step::Refund,
                        Terms::Record(_) | Terms::Transfer(_),
                    ) => Some(format!("{leg} holds no value for evidence")),
                    (Step::Present(_) | Step::Overrule(_), Terms::Escrow(terms))
                        if terms.dispute.is_none() =>
                    {
                        Some(format!("{leg} names no arbiter"))
                    }
                    (Step::Apply, Terms::Hashlock(_)) => Some(format!("{leg} is claimed with preimages")),
                    (Step::Claim(_), terms) if !matches!(terms, Terms::Hashlock(_)) => {
                        Some(format!("{leg} has no hashlock"))
                    }
                    _ => None,
                },
            },
            Operation::Decide { manifest, .. } => {
                let here = self.profile.decides && manifest.decision.ledger == self.profile.id;
                (!here).then(|| format!("D is {}", manifest.decision.ledger))
            }
            Operation::Note { .. } => {
                (!self.profile.classes.contains(&Class::Record)).then(|| "it takes no records".into())
            }
        };
        match reason {
            None => Ok(()),
            Some(reason) => {
                let (ledger, verb) = (self.profile.id.clone(), operation.verb());
                Err(LedgerError::Unsupported { ledger, verb, reason })
            }
        }
    }

    fn decode(&self, intent: &Intent) -> Result<Operation, LedgerError> {
        intent::decode(intent).map_err(|error| LedgerError::Nonsense {
            ledger: self.profile.id.clone(),
            reason: error.to_string(),
        })
    }
}

#[async_trait]
impl Ledger for Fake {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        self.check_carries(operation)?;
        let mut chain = self.chain();
        self.may_intend(&chain, operation)?;
        chain.tries += 1;
        Ok(intent::encode(chain.tries, operation))
    }

    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        self.decode(intent).map(drop)
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        let operation = self.decode(intent)?;
        self.check_carries(&operation)?;
        let now = (self.clock)();
        let mut chain = self.chain();
        if chain.rules.is_too_early(&operation, now) {
            return Err(self.transient("the timelock has not passed: nothing that waits for it is taken"));
        }
        match chain.next_fault(operation.verb()) {
            Some(Fault::Refuse(reason)) => {
                return Err(LedgerError::Refused { ledger: self.profile.id.clone(), reason });
            }
            Some(Fault::FailBefore) => {
                return Err(self.transient("the line broke before it arrived, by script"));
            }
            Some(Fault::FailAfter) => {
                chain.arrive(&self.profile, intent, now);
                return Err(self.transient("the line broke after it arrived, by script"));
            }
            Some(Fault::Delay(polls)) => chain.late.push((polls, intent.clone())),
            Some(Fault::Lose) => {}
            Some(Fault::Duplicate) => {
                chain.arrive(&self.profile, intent, now);
                chain.arrive(&self.profile, intent, now);
            }
            Some(Fault::Away(_) | Fault::Mad(_)) | None => chain.arrive(&self.profile, intent, now),
        }
        Ok(())
    }

    async fn status(&self, operation: &Operation, intent: Option<&Intent>) -> Result<Status, LedgerError> {
        self.check_carries(operation)?;
        let now = (self.clock)();
        let mut chain = self.answers()?;
        chain.let_in_late_ones(&self.profile, now);
        Ok(chain.status(&self.profile, operation, intent))
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        let chain = self.answers()?;
        // An instant ledger's clock goes on without blocks.
        let floor = chain.blocks.last().map(|block| block.time);
        let time = match self.profile.finality {
            Finality::Instant => Some((self.clock)()).max(floor),
            _ => floor,
        };
        Ok(Head { height: chain.blocks.len() as u64, time: time.unwrap_or_else(|| (self.clock)()) })
    }

    async fn prove(&self, _: &Manifest, _: &[Evidence]) -> Result<Proof, LedgerError> {
        let reason = "a fake ledger proves nothing".to_owned();
        Err(LedgerError::Unsupported { ledger: self.profile.id.clone(), verb: "prove", reason })
    }

    fn treasury(&self) -> Option<&dyn Treasury> {
        Some(self)
    }

    fn hashlocks(&self) -> Option<&dyn Hashlocks> {
        self.profile.classes.contains(&Class::Hashlock).then_some(self)
    }
}

#[async_trait]
impl Treasury for Fake {
    async fn balance(&self, account: Account) -> Result<u128, LedgerError> {
        Ok(self.chain().rules.balances.get(&account).copied().unwrap_or_default())
    }

    async fn fees(&self, _: &[Account], _: u64, _: u64) -> Result<u128, LedgerError> {
        Ok(0)
    }
}

impl Chain {
    fn next_fault(&mut self, verb: &str) -> Option<Fault> {
        let fits = |(only, _): &(Option<&str>, Fault)| only.is_none_or(|only| only == verb);
        let place = self.script.iter().position(fits)?;
        self.script.remove(place).map(|(_, fault)| fault)
    }

    fn arrive(&mut self, profile: &Profile, intent: &Intent, now: Timestamp) {
        if self.mempool.contains(intent) || self.outcome(intent).is_some() {
            return;
        }
        self.mempool.push(intent.clone());
        if profile.finality == Finality::Instant {
            self.mine(profile, now, |_| Some(true));
        }
    }

    fn let_in_late_ones(&mut self, profile: &Profile, now: Timestamp) {
        let mut still_late = Vec::new();
        for (polls, intent) in std::mem::take(&mut self.late) {
            match polls.checked_sub(1) {
                Some(polls) => still_late.push((polls, intent)),
                None => self.arrive(profile, &intent, now),
            }
        }
        self.late = still_late;
    }

    fn mine(&mut self, profile: &Profile, now: Timestamp, mut choose: impl FnMut(&Intent) -> Option<bool>) {
        let time = self.blocks.last().map_or(now, |block| block.time.max(now));
        let mut mined = Vec::new();
        for intent in std::mem::take(&mut self.mempool) {
            match choose(&intent) {
                Some(true) => mined.push(intent),
                Some(false) => self.mempool.push(intent),
                None => {}
            }
        }
        self.seal(profile, time, mined);
    }

    fn seal(&mut self, profile: &Profile, time: Timestamp, intents: Vec<Intent>) {
        let height = self.blocks.len() as u64 + 1;
        let mut transactions = Vec::with_capacity(intents.len());
        for (index, intent) in (0..).zip(intents) {
            let reference = Digest::sha256(&intent.0);
            let result = match intent::decode_numbered(&intent) {
                Ok((number, operation)) => self.rules.execute(number, &operation, time),
                Err(error) => Err(error.to_string()),
            };
            let result = result.map(|fact| {
                let position = Position { height, index, reference };
                self.facts.push(Evidence { ledger: profile.id.clone(), fact, position, at: time });
            });
            transactions.push((intent, result));
        }
        self.blocks.push(Block { time, transactions });
    }

    fn reorg(&mut self, profile: &Profile, blocks: usize) {
        let kept = self.blocks.len().saturating_sub(blocks);
        let mut history = std::mem::take(&mut self.blocks);
        let undone = history.split_off(kept);
        let waiting = undone.into_iter().flat_map(|block| block.transactions).map(|(intent, _)| intent);
        let waiting: Vec<_> = waiting.chain(std::mem::take(&mut self.mempool)).collect();
        self.rules = self.genesis.clone();
        self.facts.clear();
        for block in history {
            let intents = block.transactions.into_iter().map(|(intent, _)| intent).collect();
            self.seal(profile, block.time, intents);
        }
        self.mempool = waiting;
    }

    fn fork(
        &mut self,
        profile: &Profile,
        blocks: usize,
        now: Timestamp,
        mut place: impl FnMut(&Intent) -> Option<usize>,
    ) {
        let blocks = blocks.min(self.blocks.len());
        self.reorg(profile, blocks);
        let mut fresh = vec![Vec::new(); blocks + 1];
        let mut waiting = Vec::new();
        for intent in std::mem::take(&mut self.mempool) {
            match place(&intent) {
                Some(block) if block <= blocks => fresh[block].push(intent),
                Some(_) => waiting.push(intent),
                None => {}
            }
        }
        let time = self.blocks.last().map_or(now, |block| block.time.max(now));
        fresh.into_iter().for_each(|intents| self.seal(profile, time, intents));
        self.mempool = waiting;
    }

    fn status(&self, profile: &Profile, operation: &Operation, intent: Option<&Intent>) -> Status {
        let wanted = Wanted::of(operation);
        if let Some(evidence) = self.facts.iter().find(|one| wanted.is(&one.fact)) {
            return match self.is_final(profile, evidence.position.height) {
                true => Status::Final(evidence.clone()),
                false => Status::Pending,
            };
        }
        if let Some(reason) = self.closed_otherwise(profile, operation) {
            return Status::Refused { reason };
        }
        match intent.and_then(|intent| self.outcome(intent)) {
            Some((height, Err(reason))) if self.is_final(profile, height) => {
                Status::Refused { reason: reason.clone() }
            }
            Some(_) => Status::Pending,
            None => Status::Absent,
        }
    }

    fn is_final(&self, profile: &Profile, height: u64) -> bool {
        let depth = match profile.finality {
            Finality::Instant => 0,
            Finality::Depth(depth) => u64::from(depth),
            Finality::Tag | Finality::Safe => TAG_DEPTH,
        };
        height + depth <= self.blocks.len() as u64
    }

    fn outcome(&self, intent: &Intent) -> Option<(u64, &Result<(), String>)> {
        (1..).zip(&self.blocks).find_map(|(height, block)| {
            let (_, result) = block.transactions.iter().find(|(other, _)| other == intent)?;
            Some((height, result))
        })
    }
}

/// Where the `finalized` tag of a fake ledger stands behind its head.
const TAG_DEPTH: u64 = 2;

/// The fact that an operation asks for.
enum Wanted {
    Exactly(Fact),
    /// Any decision.
    Decision(Txid),
}

impl Wanted {
    fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Note { topic, commitment } => Self::Exactly(Fact::Noted(*topic, *commitment)),
            Operation::Decide { manifest, .. } => Self::Decision(manifest.txid()),
            Operation::Leg { manifest, leg, step } => {
                let txid = manifest.txid();
                Self::Exactly(match step {
                    Step::Prepare => Fact::Prepared(txid, *leg),
                    Step::Apply | Step::Claim(_) => Fact::Applied(txid, *leg),
                    Step::Revert => Fact::Reverted(txid, *leg),
                    Step::Present(_) => Fact::Presented(txid, *leg),
                    Step::Settle(_) => Fact::Settled(txid, *leg),
                    Step::Overrule(_) => Fact::Overruled(txid, *leg),
                    Step::Refund => Fact::Refunded(txid, *leg),
                })
            }
        }
    }

    fn is(&self, fact: &Fact) -> bool {
        match self {
            Self::Exactly(wanted) => fact == wanted,
            Self::Decision(id) => matches!(fact, Fact::Decided(txid, _) if txid == id),
        }
    }
}

#[cfg(test)]
mod tests;
