//! What a seed says of a world with a hashlock leg: its ledger, times by P5, and what goes wrong around them.
//!
//! P5 speaks of bounds, so here they hold: what D and the pivot's ledger declare is the worst that this world does to
//! them, and *detection* is the longest that its executors are away in all. A world that is *asleep* breaks that: every
//! executor is away from before T_D until after T_p.

use sofie_model::manifest::{HashlockTerms, OpenedBy};
use sofie_model::{Class, Digest, Leg, Span, Terms, Timestamp};
use sofie_transaction::PivotClock;

use super::super::dice::Dice;
use super::super::keys::{account, owner, public};
use super::super::time::DAWN;
use super::{LedgerPlan, NodePlan, SKEW, SLOWEST_ANSWER, Scenario, TransactionPlan, name, small};

/// The longest that a ledger of such a world is away at once.
const LONGEST_AWAY: u64 = 6_000;
/// The longest that a node is down at once, where the assumption is kept.
const LONGEST_NAP: u64 = 10_000;
/// The most that the clock of the pivot's ledger is off.
const FARTHEST: u64 = 2_000;
/// So long after the last G something may still go wrong.
const AFTER: u64 = 20_000;
/// The executor submits again after so many polls that find nothing, each after its way.
const POLLS: u64 = 9;
/// Its longest pause after a ledger did not answer, and the longest between two looks.
const PAUSE: u64 = 5_000;
/// Of a hundred pivots so many have a single hash.
const SINGLE: u64 = 30;
/// Opening the journal, adopting, asking and writing.
const RISE: u64 = 3_000;

impl TransactionPlan {
    /// The pivot's terms.
    pub(in super::super) fn pivot(&self) -> Option<&HashlockTerms> {
        self.manifest.pivot_terms()
    }

    /// The pivot's claimant, by its place.
    pub(in super::super) fn claimant(&self) -> Option<u16> {
        owner(self.pivot()?.claimant).map(u16::from)
    }

    /// Who pays on a pivot with a single hash, by its place.
    pub(in super::super) fn single_payer(&self) -> Option<u16> {
        let terms = self.pivot().filter(|terms| terms.opened_by.is_some())?;
        owner(terms.payer).map(u16::from)
    }
}

/// Gives some pivots a single hash, as an ILP packet has it.
pub(super) fn unify(plans: &mut [TransactionPlan], dice: &mut Dice) {
    for plan in plans.iter_mut().filter(|plan| plan.pivot().is_some()) {
        let opened_by = dice.percent(SINGLE).then_some(OpenedBy::Claimant);
        let terms = plan.manifest.legs.iter_mut().find_map(|leg| match &mut leg.terms {
            Terms::Hashlock(terms) => Some(terms),
            _ => None,
        });
        terms.into_iter().for_each(|terms| terms.opened_by = opened_by);
        plan.id = plan.manifest.txid();
    }
}

/// Makes the world one with a pivot.
pub(super) fn add(world: &mut Scenario, dice: &mut Dice) {
    world.asleep = dice.percent(20);
    let beyond = world.beyond && dice.percent(50);
    let mut coin = super::ledger(dice, "coin", &[Class::Hashlock], false, beyond);
    coin.coins = (world.nodes.len() == 1 || world.split) && dice.percent(75);
    coin.ahead = i64::try_from(dice.below(2 * FARTHEST + 1)).unwrap_or(0) - FARTHEST.cast_signed();
    coin.profile.single_operator = false;
    world.ledgers.push(coin);
    let pivot = world.ledgers.len() - 1;
    [0, pivot].into_iter().for_each(|n| tame(&mut world.ledgers[n], dice));
    let asleep = world.asleep;
    world.nodes.iter_mut().for_each(|node| rest(node, asleep, dice));
    let clock = clock(world, pivot);
    for plan in &mut world.transactions {
        retime(plan, &world.ledgers, dice);
        if dice.percent(75) {
            lock(plan, &world.ledgers[pivot], clock, &world.outside, dice);
        }
        plan.id = plan.manifest.txid();
    }
    let edges = edges(&world.transactions);
    world.calm = world.calm.max(edges.iter().max().copied().unwrap_or(0) + AFTER);
    [0, pivot].into_iter().for_each(|n| place(&mut world.ledgers[n].away, &edges, dice));
    world.nodes.iter_mut().for_each(|node| place(&mut node.naps, &edges, dice));
    if world.asleep {
        oversleep(world, dice);
    }
}

/// A ledger whose declared bounds are what really happens to it at the worst. Outages have their lengths, and no place
/// yet.
fn tame(ledger: &mut LedgerPlan, dice: &mut Dice) {
    ledger.stubborn = 1;
    ledger.away = (0..dice.below(3)).map(|_| (0, dice.between(500, LONGEST_AWAY))).collect();
    let away: u64 = ledger.away.iter().map(|(_, long)| long + PAUSE).sum();
    let inclusion = ledger.block + SLOWEST_ANSWER + again(ledger) + away;
    let depth = ledger.forks.iter().map(|(_, depth)| u64::from(*depth)).max().unwrap_or(0);
    let buried = ledger.profile.finalises.as_millis();
    // A fork may undo what was nearly final, and forget it; what it reordered may have to be made anew.
    let finalises = if depth == 0 { buried } else { 3 * buried + inclusion + 2 * ledger.block };
    let gap = 2 * (inclusion + finalises);
    let mut last = None;
    ledger.forks.retain_mut(|(at, _)| {
        *at *= 3;
        let apart = last.is_none_or(|before| *at >= before + gap);
        last = if apart { Some(*at) } else { last };
        apart
    });
    ledger.profile.inclusion = Span::from_millis(inclusion);
    ledger.profile.finalises = Span::from_millis(finalises);
}

/// How long it takes to submit again what was lost.
fn again(ledger: &LedgerPlan) -> u64 {
    POLLS * (ledger.profile.poll.as_millis() + SLOWEST_ANSWER) * u64::from(ledger.stubborn)
}

/// A node that is down for no longer than will be declared. Naps have their lengths, and no place yet.
fn rest(node: &mut NodePlan, asleep: bool, dice: &mut Dice) {
    node.naps = (0..dice.below(3)).map(|_| (0, dice.between(500, LONGEST_NAP))).collect();
    if !asleep {
        node.crashes.truncate(2);
        node.crashes.iter_mut().for_each(|crash| crash.down = crash.down.min(LONGEST_NAP));
    }
}

/// One executor is enough: the one that is away for the shortest time in all is what is declared. Where each acts for
/// others, it is the one that is away for the longest.
fn clock(world: &Scenario, pivot: usize) -> PivotClock {
    let (d, p) = (&world.ledgers[0], &world.ledgers[pivot]);
    let away = |node: &NodePlan| {
        let downs = node.crashes.iter().map(|crash| crash.down.min(LONGEST_NAP));
        let naps = node.naps.iter().map(|(_, long)| *long);
        downs.chain(naps).map(|long| long + RISE + again(d).max(again(p))).sum::<u64>()
    };
    let each = world.nodes.iter().map(away);
    let away = if world.split { each.max() } else { each.min() }.unwrap_or(0);
    PivotClock {
        inclusion_d: d.profile.inclusion,
        finality_d: d.profile.finalises,
        inclusion_p: p.profile.inclusion,
        finality_p: p.profile.finalises,
        detection: Span::from_millis(away + 2 * PAUSE + again(d).max(again(p))),
        skew: Span::from_millis(FARTHEST + SKEW),
    }
}

/// D's bounds have changed: most deadlines leave the time that ledgers and nodes may take.
fn retime(plan: &mut TransactionPlan, ledgers: &[LedgerPlan], dice: &mut Dice) {
    let slowest = |ledger: &LedgerPlan| (ledger.profile.inclusion + ledger.profile.finalises).as_millis();
    let d = Span::from_millis(slowest(&ledgers[0]));
    plan.decision_time = d + Span::from_millis(2 * SKEW);
    let prepare: u64 = ledgers.iter().map(slowest).max().unwrap_or(0);
    let wide = Span::from_millis(dice.between(0, 2 * prepare)) + plan.decision_time + Span::from_seconds(8);
    if dice.percent(85) {
        plan.manifest.deadline = (DAWN + wide).whole_second();
    }
}

/// Adds the leg, at any place, with its times as a draft gets them (`sofie_node::drafts`), as early as P5 allows, or too
/// early for it: then nothing may be locked.
fn lock(plan: &mut TransactionPlan, ledger: &LedgerPlan, clock: PivotClock, outside: &[u8], dice: &mut Dice) {
    let deadline = plan.manifest.deadline;
    let (timelock, grace) = match dice.below(100) {
        0..5 => (deadline + Span::from_seconds(5), Span::from_seconds(20)),
        5..50 => {
            let timelock = clock.claim_by(deadline).whole_second();
            (timelock, clock.decide_by(timelock).whole_second().since(deadline))
        }
        _ => {
            let timelock = clock.timelock(deadline);
            (timelock, clock.grace(deadline, timelock))
        }
    };
    let people = plan.secrets.len() as u64;
    let payer = small(dice.below(people));
    let claimant = (payer + small(dice.between(1, people - 1))) % small(people);
    // The label rests on that these two are not one party (docs/specs/inter-ledger.md, "What the model found").
    if outside.contains(&payer) && outside.contains(&claimant) {
        return;
    }
    let terms = HashlockTerms {
        payer: account(payer),
        claimant: account(claimant),
        amount: u128::from(dice.between(1, 1_000)),
        timelock,
        payer_key: public(payer),
        claimant_key: public(claimant),
        opened_by: None,
    };
    let leg = Leg {
        ledger: name("coin"),
        class: Class::Hashlock,
        finality: ledger.profile.finality,
        required: true,
        terms: Terms::Hashlock(terms),
        fee_limit: 0,
    };
    // One whose secret has 33 bytes: nobody else's protocol has that.
    let odd = outside.iter().find(|who| u64::from(**who) < people).filter(|_| dice.percent(15));
    if let Some(who) = odd.map(|who| usize::from(*who)) {
        let long = [&[0], plan.secrets[who].as_bytes().as_slice()].concat();
        plan.manifest.participants[who].hashlock = Digest::sha256(&long);
    }
    let place = dice.index(plan.manifest.legs.len() + 1);
    plan.manifest.legs.insert(place, leg);
    plan.manifest.guard = account(payer);
    plan.manifest.grace = grace;
    for leg in &mut plan.manifest.legs {
        if let Terms::Escrow(terms) = &mut leg.terms {
            terms.evidence_deadline = deadline + grace + Span::from_seconds(600);
        }
    }
    plan.clock = Some(clock);
}

/// T_D, T_p and G: when it is worst to be away.
fn edges(plans: &[TransactionPlan]) -> Vec<u64> {
    let of = |plan: &TransactionPlan| {
        let timelock = plan.pivot().map(|terms| terms.timelock);
        [Some(plan.manifest.deadline), timelock, timelock.map(|_| plan.manifest.grace_end())]
    };
    let millis = |at: Timestamp| at.since(DAWN).as_millis();
    plans.iter().flat_map(of).flatten().map(millis).collect()
}

/// Gives lengths a place in time: around an edge, or anywhere before the last.
fn place(spans: &mut [(u64, u64)], edges: &[u64], dice: &mut Dice) {
    for (from, to) in spans {
        let (long, last) = (*to, edges.iter().max().copied().unwrap_or(0));
        let at = if dice.percent(70) { *dice.pick(edges) } else { dice.below(last + 1) };
        *from = at.saturating_sub(dice.below(long + 5_000));
        *to = *from + long;
    }
}

/// From shortly before the first T_D until after the last T_p, more or less.
fn oversleep(world: &mut Scenario, dice: &mut Dice) {
    let timelock = |plan: &TransactionPlan| plan.pivot().map(|terms| terms.timelock.since(DAWN));
    let Some(latest) = world.transactions.iter().filter_map(timelock).max() else { return };
    let deadline = |plan: &TransactionPlan| plan.manifest.deadline.since(DAWN).as_millis();
    let first = world.transactions.iter().map(deadline).min().unwrap_or(0);
    for node in &mut world.nodes {
        let from = first.saturating_sub(dice.below(20_000));
        node.naps.push((from, latest.as_millis() + dice.between(1_000, 90_000)));
    }
}
