//! What is promised of times and labels, written down a second time, from docs/specs/inter-ledger.md and not from the code
//! that it judges (P5, P6, P7).

use sofie_ledgers::Ledger;
use sofie_model::{Class, LedgerId, Span, Timestamp};
use sofie_transaction::Label;

use super::check::{Found, ensure, has_parted};
use super::mutant::Mutant;
use super::scenario::TransactionPlan;
use super::world::World;

/// A ledger that counts whole seconds takes COMMIT until the end of T_D's.
const COUNTED: u64 = 1_000;
/// Whoever asks for ABORT waits until G is over by such a ledger's clock, too.
const AFTER_GRACE: u64 = 2_000;

/// P5: whether the pivot's times leave what its clock asks for. True without a pivot.
pub(super) fn is_timely(plan: &TransactionPlan) -> bool {
    let (Some(clock), Some(terms)) = (plan.clock, plan.pivot()) else { return true };
    let sum =
        |from: Timestamp, spans: &[Span]| from.as_millis() + spans.iter().map(|s| s.as_millis()).sum::<u64>();
    let (claims, settles) = (clock.inclusion_p, clock.finality_p);
    let claimed = sum(
        plan.manifest.deadline,
        &[clock.finality_d, clock.detection, claims, settles, clock.skew, clock.skew],
    );
    let refunded = [clock.detection, claims, settles];
    let decided = [clock.detection, clock.inclusion_d, clock.finality_d, clock.skew, clock.skew];
    claimed + COUNTED <= terms.timelock.as_millis()
        && sum(terms.timelock, &[refunded.as_slice(), &decided].concat())
            <= plan.manifest.grace_end().as_millis()
}

/// P6, at a block of D, in a world that keeps its bounds: a transaction with a pivot, which somebody has begun, has a
/// decision by G + detection + inclusion(D) + finality(D) + skew.
pub(super) fn decided_in_time(world: &World, ledger: usize) -> Found {
    let bound = !world.is_broken() && !world.scenario.asleep;
    if !bound || !world.fakes[ledger].profile().decides {
        return Ok(());
    }
    world.scenario.transactions.iter().try_for_each(|plan| is_decided(world, plan))
}

fn is_decided(world: &World, plan: &TransactionPlan) -> Found {
    let Some(clock) = plan.clock.filter(|_| world.decision(plan.id).is_none()) else { return Ok(()) };
    let spans = [clock.detection, clock.inclusion_d, clock.finality_d, clock.skew];
    let after: u64 = spans.iter().map(|span| span.as_millis()).sum();
    let bound = plan.manifest.grace_end() + Span::from_millis(after + AFTER_GRACE);
    let begun = (0..world.scenario.nodes.len()).any(|node| world.has_begun(node, plan.id));
    ensure(world.wheel.now() <= bound || !begun, "P6", || {
        format!("D has not decided {} by G and what a decision takes", plan.id)
    })
}

/// P7: the label says no more than what the transaction rests on, and no leg parts from D under a label that promises
/// otherwise.
pub(super) fn label(world: &World, plan: &TransactionPlan) -> Result<Label, (&'static str, String)> {
    let single = |id: &LedgerId| world.fake(id).is_some_and(|fake| fake.profile().single_operator);
    let blind = world.mutant == Some(Mutant::StrongLabel);
    let said = sofie_transaction::label(&plan.manifest, |id| !blind && single(id));
    let legs = &plan.manifest.legs;
    let one = legs.iter().any(|leg| leg.class == Class::Escrow || single(&leg.ledger))
        || single(&plan.manifest.decision.ledger);
    let expected = match plan.pivot() {
        _ if one => Label::Custodial,
        Some(_) => Label::SwapSafe(plan.manifest.grace),
        None => Label::Verified,
    };
    ensure(said == expected, "P7", || format!("{} is called {said}, and rests on {expected}", plan.id))?;
    let promised = matches!(said, Label::Verified | Label::Quorum) && has_parted(world, plan);
    ensure(!promised, "P7", || format!("{} is called {said}, and its pivot parted from D", plan.id))?;
    Ok(said)
}
