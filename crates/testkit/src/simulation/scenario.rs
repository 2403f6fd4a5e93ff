//! What a seed says of its world, before anything runs: ledgers, nodes, transactions, and what goes wrong.

use sofie_ledgers::Profile;
use sofie_model::manifest::{
    Class, DecisionSite, EscrowTerms, Finality, Leg, Participant, Rule, Terms, TransferTerms,
};
use sofie_model::{Account, Digest, LedgerId, Manifest, Span, Txid};

use sofie_transaction::PivotClock;

use super::breaking::Undoing;
use super::dice::Dice;
use super::keys::{PEOPLE, account};
use super::time::DAWN;

mod parties;
pub(super) mod pivot;

/// After so many milliseconds nothing goes wrong any more in a world without a pivot (P6 counts from here).
const CALM: u64 = 240_000;
/// So many of a hundred worlds have a pivot.
const SWAPS: u64 = 35;
/// Of a hundred crashes at a write so many are errors of the disk.
const FAULTY: u64 = 30;
/// The longest that a node is down.
const LONGEST_DOWN: u64 = 120_000;
/// The largest error of a node's clock, in milliseconds, declared to everyone.
pub(super) const SKEW: u64 = 400;
/// The longest time that one answer takes when nothing is wrong.
const SLOWEST_ANSWER: u64 = 400;
/// What each participant owns on each ledger that holds value.
pub(super) const ENDOWMENT: u128 = 1_000_000;
/// The chain id of D and of every fake ledger.
pub(super) const CHAIN: u64 = 7;
/// Who holds locked value.
pub(super) const VAULT: Account = Account([0xee; 20]);

/// One world.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) ledgers: Vec<LedgerPlan>,
    pub(super) nodes: Vec<NodePlan>,
    pub(super) transactions: Vec<TransactionPlan>,
    /// One participant follows no rule but the ledgers'.
    pub(super) hostile: bool,
    /// Whether a ledger breaks its declared finality: outside the label's assumption.
    pub(super) beyond: bool,
    /// What it waits for, if it does so at the worst moment.
    pub(super) undoing: Option<Undoing>,
    /// Whether the executors of a pivot are kept away for longer than was declared: outside the label's assumption, too.
    pub(super) asleep: bool,
    /// Each node acts for participants of its own.
    pub(super) split: bool,
    /// Participants who are at no node, and follow no rule but the ledgers'.
    pub(super) outside: Vec<u8>,
    /// After so many milliseconds nothing goes wrong any more (P6 counts from here).
    pub(super) calm: u64,
}

/// A ledger, and what goes wrong with it.
#[derive(Debug, Clone)]
pub(super) struct LedgerPlan {
    pub(super) profile: Profile,
    /// Milliseconds from block to block; 0 when each transaction is a block of its own.
    pub(super) block: u64,
    /// What is locked there is told apart by the transaction's own inputs alone, as coins are.
    pub(super) coins: bool,
    /// Of a hundred submissions so many are lost, and so many fail although they arrived, arrive late, or arrive twice.
    pub(super) lost: u64,
    pub(super) unsure: u64,
    pub(super) late: u64,
    pub(super) doubled: u64,
    /// From, to: it does not answer.
    pub(super) away: Vec<(u64, u64)>,
    /// When, and how many blocks are undone.
    pub(super) forks: Vec<(u64, u32)>,
    /// At most so many submissions of the same thing by one run of a node fail to arrive in time.
    pub(super) stubborn: u32,
    /// How far its clock is ahead of the true time, in milliseconds.
    pub(super) ahead: i64,
}

/// A node, and when it dies.
#[derive(Debug, Clone)]
pub(super) struct NodePlan {
    /// How far its clock is off, in milliseconds.
    pub(super) skew: i64,
    pub(super) crashes: Vec<Crash>,
    /// From, to: it is down, whatever it was at.
    pub(super) naps: Vec<(u64, u64)>,
    /// Whose keys and secrets it holds, by their places among the participants.
    pub(super) acts_for: Vec<u8>,
}

/// A crash at a step of a node's life since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crash {
    pub(super) at: Moment,
    /// For how many milliseconds it is down.
    pub(super) down: u64,
}

/// Steps are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The n-th list of the journal is lost.
    BeforeWrite(u32),
    /// The n-th list is durable, and nobody is told.
    AfterWrite(u32),
    /// Before the n-th submission leaves.
    BeforeSubmit(u32),
    /// The n-th submission has left, its answer is not heard.
    AfterSubmit(u32),
    /// The disk refuses the n-th list: the node must stop.
    RefusedWrite(u32),
    /// The disk says that it refuses the n-th list, and has kept it.
    UnsureWrite(u32),
}

/// A transaction, and when each node begins it.
#[derive(Debug, Clone)]
pub(super) struct TransactionPlan {
    pub(super) id: Txid,
    pub(super) manifest: Manifest,
    pub(super) secrets: Vec<Digest>,
    pub(super) begins: Vec<u64>,
    /// inclusion(D) + finality(D), and twice the skew.
    pub(super) decision_time: Span,
    /// What its pivot's times are made of, if it has one.
    pub(super) clock: Option<PivotClock>,
}

impl Scenario {
    /// The world of this seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let beyond = dice.percent(3);
        let nodes = if dice.percent(25) { 1 } else { dice.between(1, 4) };
        let coins = nodes == 1 && dice.percent(75);
        let mut ledgers = ledgers(&mut dice, coins, beyond);
        let count = dice.between(1, 3);
        let transactions: Vec<_> =
            (0..count).map(|n| transaction(&mut dice, seed, n, &ledgers, nodes)).collect();
        // The last moment for COMMIT is when D is away most dangerously.
        if dice.percent(25) {
            let last = transactions
                .iter()
                .map(|one| one.manifest.deadline.since(DAWN).as_millis())
                .min()
                .unwrap_or(0);
            let from = last.saturating_sub(dice.below(6_000));
            ledgers[0].away.push((from, (last + dice.below(6_000)).min(CALM)));
        }
        let hostile = dice.percent(50);
        let nodes = (0..nodes).map(|_| node(&mut dice)).collect();
        let mut one = Self {
            ledgers,
            nodes,
            transactions,
            hostile,
            beyond,
            undoing: None,
            asleep: false,
            split: false,
            outside: Vec::new(),
            calm: CALM,
        };
        let mut dice = Dice::new(seed, 2);
        let swaps = dice.percent(SWAPS);
        parties::split(&mut one, if swaps { 65 } else { 10 }, &mut Dice::new(seed, 3));
        if swaps {
            pivot::add(&mut one, &mut dice);
            pivot::unify(&mut one.transactions, &mut Dice::new(seed, 4));
        }
        let mut dice = Dice::new(seed, 6);
        one.nodes.iter_mut().for_each(|node| fail(node, &mut dice));
        one.undoing = Undoing::draw(&one, &mut Dice::new(seed, 5));
        one.beyond |= one.undoing.is_some();
        one
    }

    /// The world in a few lines, for a trace.
    pub(super) fn told(&self) -> Vec<String> {
        let ledger = |one: &LedgerPlan| {
            let LedgerPlan { profile, block, coins, lost, unsure, late, doubled, away, forks, ahead, .. } =
                one;
            format!(
                "ledger {}: {:?}, {:?}, a block each {block} ms, coins {coins}; of a hundred {lost} lost, {unsure} unsure, \
                 {late} late, {doubled} doubled; away {away:?}, undone {forks:?}; its clock is {ahead} ms ahead",
                profile.id, profile.classes, profile.finality
            )
        };
        let node = |(n, one): (usize, &NodePlan)| {
            let NodePlan { skew, crashes, naps, acts_for } = one;
            format!(
                "node {n}: acts for {acts_for:?}; its clock is off by {skew} ms; {crashes:?}, down {naps:?}"
            )
        };
        let transaction = |one: &TransactionPlan| {
            let leg =
                |leg: &Leg| format!("{} {}{}", leg.class, leg.ledger, if leg.required { "" } else { "?" });
            let legs: Vec<_> = one.manifest.legs.iter().map(leg).collect();
            let deadline = one.manifest.deadline.since(DAWN);
            let pivot = one.pivot().map(|terms| {
                let (timelock, grace) = (terms.timelock.since(DAWN), one.manifest.grace_end().since(DAWN));
                let hashes = if terms.opened_by.is_some() { "one hash" } else { "every hash" };
                format!("; locked to {hashes}, paid back after {timelock}, and until {grace}")
            });
            format!(
                "transaction {}: {:?} of [{}], until {deadline}{}",
                one.id,
                one.manifest.rule,
                legs.join(", "),
                pivot.unwrap_or_default()
            )
        };
        let kinds = [
            ("a hostile participant", self.hostile),
            ("beyond the declared finality", self.beyond),
            ("asleep for longer than was declared", self.asleep),
        ];
        let kinds = kinds.into_iter().filter(|(_, is)| *is).map(|(kind, _)| kind.to_owned());
        let undoing =
            self.undoing.map(|one| format!("{} undoes {one:?}", self.ledgers[one.ledger].profile.id));
        let kinds = kinds.chain(undoing);
        let ledgers = self.ledgers.iter().map(ledger);
        let nodes = self.nodes.iter().enumerate().map(node);
        ledgers.chain(nodes).chain(self.transactions.iter().map(transaction)).chain(kinds).collect()
    }

    /// When everything must have ended, in milliseconds since the world began: G and the end of all faults, and then the
    /// longest pause between two tries, detection, inclusion and finality of D and of the slowest leg (P6).
    pub(super) fn bound(&self) -> u64 {
        let grace = |one: &TransactionPlan| one.manifest.grace_end().since(DAWN).as_millis();
        let last = self.transactions.iter().map(grace).max().unwrap_or(0).max(self.calm + LONGEST_DOWN);
        let slowest = |one: &LedgerPlan| (one.profile.inclusion + one.profile.finalises).as_millis();
        let ledgers = self.ledgers.iter().map(slowest).max().unwrap_or(0);
        last + 2 * 300_000 + 4 * ledgers + 60_000
    }
}

fn node(dice: &mut Dice) -> NodePlan {
    let skew = i64::try_from(dice.below(2 * SKEW + 1)).unwrap_or(0) - i64::try_from(SKEW).unwrap_or(0);
    let crashes = (0..dice.below(5)).map(|_| crash(dice)).collect();
    NodePlan { skew, crashes, naps: Vec::new(), acts_for: (0..PEOPLE).collect() }
}

fn crash(dice: &mut Dice) -> Crash {
    let step = |dice: &mut Dice, most| u32::try_from(dice.between(1, most)).unwrap_or(1);
    let at = match dice.below(4) {
        0 => Moment::BeforeWrite(step(dice, 16)),
        1 => Moment::AfterWrite(step(dice, 16)),
        2 => Moment::BeforeSubmit(step(dice, 8)),
        _ => Moment::AfterSubmit(step(dice, 8)),
    };
    let long = dice.percent(20);
    Crash { at, down: if long { dice.between(30_000, LONGEST_DOWN) } else { dice.between(50, 5_000) } }
}

/// Some crashes at a write are the disk's fault. The node is down as long.
fn fail(node: &mut NodePlan, dice: &mut Dice) {
    for crash in &mut node.crashes {
        crash.at = match crash.at {
            Moment::BeforeWrite(nth) if dice.percent(FAULTY) => Moment::RefusedWrite(nth),
            Moment::AfterWrite(nth) if dice.percent(FAULTY) => Moment::UnsureWrite(nth),
            other => other,
        };
    }
}

/// D first, then a custodian or a chain of coins, then record ledgers.
fn ledgers(dice: &mut Dice, coins: bool, beyond: bool) -> Vec<LedgerPlan> {
    let mut all = vec![ledger(dice, "d", &[Class::Verifying], true, beyond)];
    if dice.percent(70) {
        let custodian = ledger(dice, "custodian", &[Class::Escrow], false, false);
        // A second lock comes of a first one that was only late.
        let late = if coins { custodian.late + 20 } else { custodian.late };
        all.push(LedgerPlan { coins, late, ..custodian });
    }
    for name in ["log", "archive"].into_iter().take(dice.index(3)) {
        all.push(ledger(dice, name, &[Class::Record], false, false));
    }
    all
}

fn ledger(dice: &mut Dice, id: &str, classes: &[Class], decides: bool, beyond: bool) -> LedgerPlan {
    let finality = match dice.below(3) {
        0 => Finality::Instant,
        _ => Finality::Depth(u32::try_from(dice.between(1, 4)).unwrap_or(1)),
    };
    let (block, depth) = match finality {
        Finality::Depth(depth) => (*dice.pick(&[500, 1_000, 2_000, 4_000]), depth),
        _ => (0, 0),
    };
    let profile = Profile {
        id: name(id),
        classes: classes.to_vec(),
        decides,
        finality,
        inclusion: Span::from_millis(block + SLOWEST_ANSWER),
        finalises: Span::from_millis(block * u64::from(depth)),
        single_operator: classes.contains(&Class::Escrow) || finality == Finality::Instant,
        poll: Span::from_millis(*dice.pick(&[200, 500, 1_000])),
    };
    let stormy = dice.percent(60);
    let chance = |dice: &mut Dice| if stormy { dice.below(25) } else { 0 };
    LedgerPlan {
        profile,
        block,
        coins: false,
        lost: chance(dice),
        unsure: chance(dice),
        late: chance(dice),
        doubled: chance(dice),
        away: (0..dice.below(3)).map(|_| outage(dice)).collect(),
        forks: if depth == 0 { Vec::new() } else { forks(dice, depth, beyond) },
        stubborn: u32::MAX,
        ahead: 0,
    }
}

fn outage(dice: &mut Dice) -> (u64, u64) {
    let from = dice.below(CALM / 2);
    let long = if dice.percent(15) { 100_000 } else { 8_000 };
    (from, (from + dice.between(500, long)).min(CALM))
}

fn forks(dice: &mut Dice, depth: u32, beyond: bool) -> Vec<(u64, u32)> {
    let mut all: Vec<_> = (0..dice.below(12))
        .map(|_| (dice.below(CALM / 2), u32::try_from(dice.between(1, depth.into())).unwrap_or(1)))
        .collect();
    if beyond {
        all.push((dice.between(5_000, CALM / 2), depth + u32::try_from(dice.between(1, 6)).unwrap_or(1)));
    }
    all.sort_unstable();
    all
}

fn name(id: &str) -> LedgerId {
    id.parse().expect("a name of the simulation's own is one")
}

/// Counts of a world are small.
fn small(n: u64) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

fn transaction(dice: &mut Dice, seed: u64, n: u64, ledgers: &[LedgerPlan], nodes: u64) -> TransactionPlan {
    let d = &ledgers[0].profile;
    let people = dice.between(2, 3);
    let begins: Vec<u64> = (0..nodes).map(|_| dice.below(6_000)).collect();
    let decision_time = d.inclusion + d.finalises + Span::from_millis(2 * SKEW);
    let deadline = DAWN + Span::from_seconds(dice.between(20, 120));
    let legs = legs(dice, ledgers, deadline, people);
    let rule = match legs.len() as u64 {
        several @ 2.. if dice.percent(30) => {
            Rule::AtLeast(u16::try_from(dice.between(1, several)).unwrap_or(1))
        }
        _ => Rule::All,
    };
    let secret = |who: u64| Digest::of("simulated secret", &[&seed.to_be_bytes(), &[small(n), small(who)]]);
    let secrets: Vec<Digest> = (0..people).map(secret).collect();
    let participant = |(who, secret): (u8, &Digest)| Participant {
        account: account(who),
        hashlock: Digest::sha256(secret.as_bytes()),
    };
    let manifest = Manifest {
        version: 1,
        legs,
        rule,
        decision: DecisionSite {
            ledger: d.id.clone(),
            chain_id: CHAIN,
            contract: Account([0xdd; 20]),
            finality: d.finality,
            fee_limit: 0,
        },
        deadline,
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: (0..).zip(&secrets).map(participant).collect(),
        nonce: Digest::of("simulated nonce", &[&seed.to_be_bytes(), &[small(n)]]),
    };
    TransactionPlan { id: manifest.txid(), manifest, secrets, begins, decision_time, clock: None }
}

/// One leg a ledger, and sometimes a second one on D.
fn legs(dice: &mut Dice, ledgers: &[LedgerPlan], deadline: sofie_model::Timestamp, people: u64) -> Vec<Leg> {
    let mut legs = Vec::new();
    for ledger in ledgers {
        let two = ledger.profile.decides && dice.percent(30);
        for _ in 0..if two { 2 } else { 1 } {
            let class = ledger.profile.classes[0];
            let payer = small(dice.below(people));
            let terms = match class {
                Class::Record => Terms::Record(Digest::of("simulated record", &[&dice.next().to_be_bytes()])),
                _ => value(dice, deadline, payer, (payer + 1) % small(people)),
            };
            let (id, finality) = (ledger.profile.id.clone(), ledger.profile.finality);
            legs.push(Leg { ledger: id, class, finality, required: dice.percent(60), terms, fee_limit: 0 });
        }
    }
    legs
}

fn value(dice: &mut Dice, deadline: sofie_model::Timestamp, payer: u8, payee: u8) -> Terms {
    let (payer, payee, amount) = (account(payer), account(payee), u128::from(dice.between(1, 1_000)));
    if dice.percent(70) {
        return Terms::Transfer(TransferTerms { contract: VAULT, payer, payee, amount });
    }
    Terms::Escrow(EscrowTerms {
        contract: VAULT,
        payer,
        payee,
        amount,
        evidence_key: Account([0x99; 20]),
        evidence_deadline: deadline + Span::from_seconds(600),
        submission_window: Span::from_seconds(60),
        dispute: None,
    })
}
