//! What nodes of different participants tell each other, by a post that loses and delays: released secrets, that somebody
//! will not release, signatures under ABORT, and what was signed ahead for the pivot, without which no node releases. Each thing is told until it is
//! heard, as `sofie_node::peers` does it; what there is to say is `State::news` for both.

use std::collections::BTreeSet;
use std::sync::Arc;

use sofie_ledgers::{Presigned, Spend};
use sofie_model::Txid;
use sofie_node::executor::Ledgers;
use sofie_node::transactions::Transactions;
use sofie_transaction::{Leg, Phase, State};

use super::dice::Dice;
use super::keys::sign;
use super::life::Life;
use super::mutant::Mutant;
use super::scenario::TransactionPlan;
use super::world::PATIENCE;

/// Of a hundred messages so many are lost.
const LOST: u64 = 20;
/// The longest way of a message, and the pause before it is said again, in milliseconds.
const LONGEST_WAY: u64 = 1_500;

/// Begins to tell the other nodes, and whoever is at no node, of every transaction.
pub(super) fn open(life: &Life, transactions: &Transactions, ledgers: &Arc<Ledgers>) {
    for (n, plan) in life.world.scenario.transactions.iter().enumerate() {
        for to in (0..life.world.scenario.nodes.len()).filter(|to| *to != life.node) {
            let part =
                10_000 * (life.node as u64 + 1) + 1_000 * to as u64 + 100 * n as u64 + u64::from(life.run);
            let dice = Dice::new(life.world.seed, part);
            tokio::spawn(tell(life.clone(), transactions.clone(), plan.clone(), to, dice));
        }
        if life.world.mutant == Some(Mutant::RenounceLate) && plan.claimant().is_some() {
            tokio::spawn(renounce_late(life.clone(), transactions.clone(), plan.clone()));
        }
        for to in (0..life.world.scenario.nodes.len()).filter(|to| *to != life.node) {
            let part = 500_000 + 10_000 * (life.node as u64 + 1) + 1_000 * to as u64 + 100 * n as u64;
            let dice = Dice::new(life.world.seed, part + u64::from(life.run));
            let (life, all, plan) = (life.clone(), transactions.clone(), plan.clone());
            tokio::spawn(bring(life, all, plan, to, dice));
        }
        tokio::spawn(sign_ahead(life.clone(), transactions.clone(), plan.clone(), ledgers.clone()));
    }
}

/// Tells one other node what it must know of one transaction, until D has decided.
async fn tell(life: Life, transactions: Transactions, plan: TransactionPlan, to: usize, mut dice: Dice) {
    let Some(mut handle) = begun(&life, &transactions, plan.id).await else { return };
    let mut heard = BTreeSet::new();
    loop {
        let is_news =
            |state: &State| state.is_silent() || state.news().iter().any(|one| !heard.contains(&one.0));
        let Some(state) = handle.until(is_news).await else { return };
        if state.is_silent() {
            return;
        }
        for (name, input) in state.news() {
            life.takes(dice.between(2, LONGEST_WAY)).await;
            let lost = !life.world.is_calm() && dice.percent(LOST);
            if !heard.contains(&name) && !lost && life.world.tell(to, plan.id, input).await {
                heard.insert(name);
            }
        }
        life.takes(LONGEST_WAY).await;
    }
}

/// The transaction, once this node has begun it.
async fn begun(
    life: &Life,
    transactions: &Transactions,
    id: Txid,
) -> Option<sofie_node::drive::Handle<State>> {
    while transactions.live(id).is_none() {
        if life.world.has_begun(life.node, id) || life.world.wheel.millis() >= life.world.scenario.calm {
            return None;
        }
        life.takes(500).await;
    }
    transactions.live(id)
}

/// A broken node signs ABORT for whomever it acts for, once it wants it.
async fn renounce_late(life: Life, transactions: Transactions, plan: TransactionPlan) {
    let Some(mut handle) = begun(&life, &transactions, plan.id).await else { return };
    let aborts = |state: &State| state.is_silent() || matches!(state.phase(), Phase::Aborting { .. });
    let Some(state) = handle.until(aborts).await.filter(|state| !state.is_silent()) else { return };
    let digest = sofie_model::contract::abort_digest(state.manifest());
    let keys = state.acts_for().iter().filter_map(|who| Some((*who, u8::try_from(*who).ok()?)));
    keys.for_each(|(who, key)| life.world.renounce(life.node, state.txid(), who, sign(key, digest)));
}

/// Brings one other node what is signed here for the pivot's lock, until it has kept that.
async fn bring(life: Life, transactions: Transactions, plan: TransactionPlan, to: usize, mut dice: Dice) {
    if begun(&life, &transactions, plan.id).await.is_none() {
        return;
    }
    let world = &life.world;
    let brings = world.scenario.awaits_words() && world.mutant != Some(Mutant::NothingAhead);
    let Some(terms) = plan.pivot().filter(|_| brings) else { return };
    let signed = [(Spend::Claim, terms.claimant), (Spend::Refund, terms.payer)];
    let ours = |(spend, who)| life.world.scenario.holds(life.node, who).then_some(spend);
    let mut unkept: Vec<_> = signed.into_iter().filter_map(ours).collect();
    while !unkept.is_empty() && transactions.live(plan.id).is_some() {
        life.takes(dice.between(2, LONGEST_WAY)).await;
        let mut left = Vec::new();
        for spend in unkept {
            let lost = !life.world.is_calm() && dice.percent(LOST);
            let word = life.world.word(plan.id, spend).filter(|_| !lost);
            let kept = match word {
                Some(word) => kept(&life, to, plan.id, word).await,
                None => false,
            };
            if !kept {
                left.push(spend);
            }
        }
        unkept = left;
    }
}

/// Whether the other node has taken what was signed ahead, and keeps it.
async fn kept(life: &Life, to: usize, id: Txid, word: Presigned) -> bool {
    let Some(there) = life.world.transactions_of(to) else { return false };
    let Some(handle) = there.live(id) else { return false };
    let (state, run) = (handle.state(), life.world.run_of(to));
    tokio::select! {
        biased;
        taken = there.take_presigned(&state, word) => match taken {
            Ok(taken) => taken.is_ok(),
            Err(error) => {
                let failed = Life { world: life.world.clone(), node: to, run };
                super::node::stop(&failed, &format!("stops: {error}"));
                false
            }
        },
        // It is down, or its disk is.
        () = life.world.wheel.sleep(PATIENCE) => false,
    }
}

/// Once the pivot's lock is final, whoever may spend it signs for the others: each can finish then.
async fn sign_ahead(life: Life, transactions: Transactions, plan: TransactionPlan, ledgers: Arc<Ledgers>) {
    let Some(leg) = plan.manifest.pivot() else { return };
    let Some(mut handle) = begun(&life, &transactions, plan.id).await else { return };
    let locked = |state: &State| {
        let found = state.legs().get(usize::from(leg.0));
        state.is_silent() || matches!(found, Some(Leg::Prepared(_)))
    };
    if handle.until(locked).await.is_none() {
        return;
    }
    let ledger = plan.manifest.leg(leg).and_then(|leg| ledgers.get(&leg.ledger));
    let Some(locks) = ledger.and_then(|ledger| ledger.hashlocks()) else { return };
    let Some(terms) = plan.pivot() else { return };
    for (spend, who) in [(Spend::Claim, terms.claimant), (Spend::Refund, terms.payer)] {
        if !life.world.scenario.holds(life.node, who) {
            continue;
        }
        while life.world.word(plan.id, spend).is_none() && transactions.live(plan.id).is_some() {
            match locks.presign(&plan.manifest, leg, spend).await {
                Ok(word) => life.world.sign(plan.id, word),
                Err(_) => life.takes(LONGEST_WAY).await,
            }
        }
    }
}
