//! Transactions with a pivot at the edge of their time: a node that comes back too late gives no secret away, and a guard
//! whose ledger is away for a moment asks it again (docs/adr/0014-pivot-rules.md).

use std::path::Path;
use std::sync::Arc;

use k256::ecdsa::SigningKey;
use sofie_ledgers::Ledger;
use sofie_ledgers::fake::{Fake, Fault};
use sofie_model::manifest::HashlockTerms;
use sofie_model::{
    Account, Class, Digest, LegId, Operation, PublicKey, Signature, Span, Step, Terms, Timestamp,
};
use sofie_node::clock;
use sofie_node::journal::{Machine, PauseAt};
use sofie_transaction::{Phase, PivotClock, Plan, State};

use super::crashes::{death, life};
use super::world::*;

pub(crate) const PIVOT: LegId = LegId(1);
/// Everything here is done in less.
const MOMENT: Span = Span::from_millis(10);

fn key(who: u8) -> SigningKey {
    SigningKey::from_slice(&[who + 1; 32]).unwrap()
}

pub(crate) fn account(who: u8) -> Account {
    Account::from(key(who).verifying_key())
}

/// The keys of both; `signs` is done when the payer signs as the guard.
pub(crate) fn held(signs: impl Fn() + Send + Sync + 'static) -> Held {
    let sign = move |signer: Account, digest: Digest| {
        signs();
        (signer == account(0)).then(|| Signature::by(&key(0), digest))
    };
    Held { sign: Box::new(sign), ..Held::default() }
}

/// The payer of the lock is the guard; its claimant releases last. T_D is `deadline`, and the rest is far away.
pub(crate) fn pivot_plan(deadline: Timestamp, decision_time: Span, acts_for: &[u16]) -> Plan {
    let mut plan = plan(60);
    let (manifest, timelock) = (&mut plan.manifest, deadline + Span::from_seconds(300));
    manifest.deadline = deadline;
    manifest.grace = Span::from_seconds(900);
    manifest.guard = account(0);
    for (who, participant) in (0..).zip(&mut manifest.participants) {
        participant.account = account(who);
    }
    let public = |who| PublicKey::from(key(who).verifying_key());
    manifest.legs.remove(0);
    manifest.legs.push(leg(
        "coin",
        Class::Hashlock,
        Terms::Hashlock(HashlockTerms {
            payer: account(0),
            claimant: account(1),
            amount: AMOUNT,
            timelock,
            payer_key: public(0),
            claimant_key: public(1),
            opened_by: None,
        }),
    ));
    let pivot = PivotClock {
        inclusion_d: MOMENT,
        finality_d: Span::ZERO,
        inclusion_p: MOMENT,
        finality_p: Span::ZERO,
        detection: MOMENT,
        skew: Span::ZERO,
    };
    let plan = Plan { acts_for: acts_for.to_vec(), decision_time, pivot: Some(pivot), ..plan };
    plan.manifest.check(clock::now()).unwrap();
    plan.check().unwrap();
    plan
}

/// The world, and the ledger of the lock.
fn world() -> (World, Fake) {
    let coin = Fake::new(profile("coin", Class::Hashlock, false), 0, clock::clock());
    coin.endow(account(0), ENDOWED);
    (World::new(), coin)
}

async fn node((world, coin): &(World, Fake), folder: &Path, at: Option<PauseAt>, held: Held) -> Node {
    node_on(&[&world.evm, &world.log, coin], folder, at.map(death), held).await
}

/// A life that ends when every secret is in the journal and COMMIT, which would publish the last one, is not yet intended.
fn released(place: &(World, Fake), folder: &Path, plan: &Plan, write: u64) -> bool {
    life(async {
        let mut node = node(place, folder, Some(PauseAt::Write(write)), held(|| {})).await;
        if let Ok(mut handle) = node.begin(plan.clone()).await {
            let over = |state: &State| {
                !matches!(state.phase(), Phase::Preparing | Phase::Releasing | Phase::Committing)
            };
            tokio::select! { _ = handle.until(over) => {}, _ = node.failed.recv() => {} }
        }
    });
    life(async {
        let journal = open(&folder.join("journal.sqlite"), None);
        let reader = journal.reader().unwrap();
        let begun = reader.machines(Machine::Transaction, true).unwrap();
        let Some(record) = begun.last() else { return false };
        let state = sofie_node::transactions::replay(record).unwrap();
        state.commit_releases() && reader.intent(record.id, "commit").unwrap().is_none()
    })
}

#[test]
fn a_node_that_comes_back_too_late_does_not_publish_the_last_secret() {
    for write in 1.. {
        assert!(write < 40, "no life ended between the last release and COMMIT");
        let (place, folder) = (world(), tempfile::tempdir().unwrap());
        // D would take COMMIT for longer than this test lives; the last moment to send it is seconds away.
        let deadline = (clock::now() + Span::from_seconds(604)).whole_second();
        let plan = pivot_plan(deadline, Span::from_seconds(600), &[0, 1]);
        if !released(&place, folder.path(), &plan, write) {
            continue;
        }
        life(async {
            let last = Timestamp::from_millis(deadline.as_millis() - plan.decision_time.as_millis());
            clock::until(last + Span::from_millis(1)).await;
            let node = node(&place, folder.path(), None, held(|| {})).await;
            node.transactions.recover().unwrap();
            let mut handle = node.transactions.live(plan.manifest.txid()).expect("it has not ended");
            let judged = handle.until(|state| !matches!(state.phase(), Phase::Committing)).await.unwrap();
            assert!(matches!(judged.phase(), Phase::Aborting { .. }), "{:?}", judged.phase());
            assert!(place.0.facts().iter().all(|(_, fact)| !fact.starts_with("committed")));
            assert_eq!(node.journal.reader().unwrap().intent(judged.txid().0, "commit").unwrap(), None);
        });
        return;
    }
}

#[test]
fn a_guard_whose_ledger_is_away_for_a_moment_asks_it_again() {
    let (place, folder) = (world(), tempfile::tempdir().unwrap());
    let coin = place.1.clone();
    // From the moment of its signature on: the ledger does not answer the guard's own look.
    let payer = held(move || coin.script(None, Fault::Away(6)));
    life(async {
        let deadline = (clock::now() + Span::from_seconds(3)).whole_second();
        let plan = pivot_plan(deadline, MOMENT, &[0]);
        let node = node(&place, folder.path(), None, payer).await;
        let mut handle = node.begin(plan.clone()).await.unwrap();
        let locked = |state: &State| state.prepared().any(|(leg, _)| leg == PIVOT);
        handle.until(locked).await.expect("the payer locks");
        // The claimant stays silent until T_D, and claims.
        let late = |state: &State| matches!(state.phase(), Phase::Aborting { .. });
        handle.until(late).await.expect("nobody has committed");
        let manifest = Arc::new(plan.manifest.clone());
        let step = Step::Claim(vec![secret(0), secret(1)]);
        let claim = Operation::Leg { manifest, leg: PIVOT, step };
        let intent = place.1.intend(&claim).await.unwrap();
        place.1.submit(&intent).await.unwrap();
        let permitted = |state: &State| matches!(state.phase(), Phase::Done(_) | Phase::Halted { .. });
        let done = handle.until(permitted).await.expect("its node lives");
        assert!(committed(&done), "{:?}", done.phase());
        assert!(node.audit().contains(&"permitted".to_owned()), "{:?}", node.audit());
    });
}
