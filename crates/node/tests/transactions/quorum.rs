//! k of N: what COMMIT leaves out is undone, or was inert; and so is every success of one that is aborted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sofie_ledgers::fake::{Fake, Fault};
use sofie_ledgers::{Ledger as _, Profile};
use sofie_model::manifest::TransferTerms;
use sofie_model::{Class, Decision, Finality, LegId, Operation, Rule, Step, Terms};
use sofie_node::clock;
use sofie_transaction::{Leg, Phase, Plan, State};

use super::halts::{Miner, until};
use super::world::*;

/// An escrow on the chain that decides, a record on the log, a payment at a bank, whose ledger makes blocks and never looks
/// at D. What the payer has stands on the chain and at the bank.
struct Three {
    world: World,
    bank: Fake,
    folder: tempfile::TempDir,
}

impl Three {
    fn new() -> Self {
        let profile = Profile { finality: Finality::Depth(0), ..profile("bank", Class::Escrow, false) };
        let bank = Fake::new(profile, 0, clock::clock());
        bank.endow(PAYER, ENDOWED);
        Self { world: World::new(), bank, folder: tempfile::tempdir().unwrap() }
    }

    async fn node(&self, held: Held) -> Node {
        node_on(&[&self.world.evm, &self.world.log, &self.bank], self.folder.path(), None, held).await
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        facts_on(&[("evm", &self.world.evm), ("log", &self.world.log), ("bank", &self.bank)])
    }

    /// What the payer and the escrow hold on the chain, the payer and the payee at the bank: to the unit.
    async fn money(&self) -> [u128; 4] {
        let (payer, escrow) = self.world.money().await;
        assert_eq!((self.world.evm.supply(), self.bank.supply()), (ENDOWED, ENDOWED));
        [payer, escrow, self.bank.holds(PAYER), self.bank.holds(PAYEE)]
    }

    /// The escrow and the record took effect; the payment at the bank was locked and is undone.
    async fn bank_was_undone(&self) {
        let expected = [
            ("bank", "prepared 2"),
            ("bank", "reverted 2"),
            ("evm", "applied 0"),
            ("evm", "committed 11"),
            ("evm", "prepared 0"),
            ("log", "applied 1"),
            ("log", "prepared 1"),
        ];
        assert_eq!(self.facts(), expect(expected));
        assert_eq!(self.money().await, [ENDOWED - AMOUNT, AMOUNT, ENDOWED, 0]);
    }
}

/// 2 of the 3, one of which must be among them.
fn two_of_three(seconds: u64, required: u16) -> Plan {
    let mut plan = plan(seconds);
    let pays = TransferTerms { contract: ESCROW, payer: PAYER, payee: PAYEE, amount: AMOUNT };
    let mut at_bank = leg("bank", Class::Escrow, Terms::Transfer(pays));
    at_bank.finality = Finality::Depth(0);
    plan.manifest.legs.push(at_bank);
    plan.manifest.rule = Rule::AtLeast(2);
    for (index, leg) in (0..).zip(&mut plan.manifest.legs) {
        leg.required = index == required;
    }
    plan.manifest.check(clock::now()).unwrap();
    plan
}

/// The legs of the COMMIT by which it has ended.
#[track_caller]
fn included(state: &State) -> u64 {
    match state.phase() {
        Phase::Done(Decision::Commit { included, .. }) => *included,
        other => panic!("{other:?}"),
    }
}

fn expect<const N: usize>(facts: [(&'static str, &str); N]) -> Vec<(&'static str, String)> {
    facts.map(|(ledger, fact)| (ledger, fact.to_owned())).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_commit_without_the_leg_that_was_refused() {
    let three = Three::new();
    three.bank.script(Some("prepare"), Fault::Refuse("closed today".into()));
    let node = three.node(Held::default()).await;
    let state = node.run(two_of_three(60, 0)).await;
    assert_eq!(included(&state), 0b011);
    assert!(matches!(&state.legs()[2], Leg::Refused(why) if why.contains("closed today")), "{state:?}");
    let expected = [
        ("evm", "applied 0"),
        ("evm", "committed 11"),
        ("evm", "prepared 0"),
        ("log", "applied 1"),
        ("log", "prepared 1"),
    ];
    assert_eq!(three.facts(), expect(expected));
    assert_eq!(three.money().await, [ENDOWED - AMOUNT, AMOUNT, ENDOWED, 0]);
}

/// The bank takes the payment late: half of the time before the last safe release is over by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_comes_after_the_commit_of_two_of_three_that_left_it_out_is_undone() {
    let three = Three::new();
    let blocks = Miner::of(&three.bank, "prepare");
    let node = three.node(Held::default()).await;
    let mut handle = node.begin(two_of_three(4, 0)).await.unwrap();
    until(&mut handle, |state| state.decided().is_some()).await;
    assert_eq!(three.bank.facts(), [], "it is under way");
    blocks.let_go();
    let state = ended(handle).await;
    assert_eq!(included(&state), 0b011);
    assert!(matches!(state.legs()[2], Leg::Closed { applied: false, evidence: Some(_) }), "{state:?}");
    three.bank_was_undone().await;
    assert!(node.audit().contains(&"reverted".to_owned()), "{:?}", node.audit());
}

/// Who sends the COMMIT chooses among the sets that the rule allows: another executor's comes first, when all three stand.
async fn left_out_by_another(legs: u64) -> (Three, Arc<State>) {
    let three = Three::new();
    let _blocks = Miner::of(&three.bank, "");
    let other = three.world.clone();
    let first = Box::new(move |state: &State| {
        assert_eq!(state.prepared().count(), 3, "all of them are successes");
        other.commit(state.manifest(), legs);
    });
    let node = three.node(Held { first, ..Held::default() }).await;
    let state = node.run(two_of_three(60, 0)).await;
    assert_eq!(included(&state), legs);
    (three, state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_was_prepared_and_that_the_commit_of_two_of_three_leaves_out_is_undone() {
    let (three, state) = left_out_by_another(0b011).await;
    assert!(matches!(state.legs()[2], Leg::Closed { applied: false, evidence: Some(_) }), "{state:?}");
    three.bank_was_undone().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_prepared_and_that_the_commit_of_two_of_three_leaves_out_is_inert() {
    let (three, state) = left_out_by_another(0b101).await;
    assert!(matches!(state.legs()[1], Leg::Closed { applied: false, evidence: Some(_) }), "{state:?}");
    let expected = expect([
        ("bank", "applied 2"),
        ("bank", "prepared 2"),
        ("evm", "applied 0"),
        ("evm", "committed 101"),
        ("evm", "prepared 0"),
        ("log", "prepared 1"),
        ("log", "reverted 1"),
    ]);
    assert_eq!(three.facts(), expected);
    assert_eq!(three.money().await, [ENDOWED - AMOUNT, AMOUNT, ENDOWED - AMOUNT, AMOUNT]);
    // Nor does anybody bring it to life afterwards.
    let (manifest, leg, step) = (state.manifest().clone(), LegId(1), Step::Apply);
    let apply = Operation::Leg { manifest, leg, step };
    let intent = three.world.log.intend(&apply).await.unwrap();
    let _refused = three.world.log.submit(&intent).await;
    assert_eq!(three.facts(), expected);
}

/// The leg that must be there is the one that is late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_success_of_two_of_three_is_undone_or_inert_when_the_deadline_passes() {
    let three = Three::new();
    let blocks = Miner::of(&three.bank, "prepare");
    let node = three.node(Held::default()).await;
    let mut handle = node.begin(two_of_three(2, 2)).await.unwrap();
    let stands = until(&mut handle, |state| state.prepared().count() == 2).await;
    assert!(stands.prepared().map(|(leg, _)| leg.0).eq([0, 1]), "{stands:?}");
    assert_eq!(three.money().await, [ENDOWED - AMOUNT, AMOUNT, ENDOWED, 0], "the escrow is locked");
    until(&mut handle, |state| state.decided().is_some()).await;
    assert_eq!(three.bank.facts(), [], "it is under way");
    blocks.let_go();
    let state = ended(handle).await;
    assert!(aborted(&state), "{:?}", state.phase());
    let expected = [
        ("bank", "prepared 2"),
        ("bank", "reverted 2"),
        ("evm", "aborted"),
        ("evm", "prepared 0"),
        ("evm", "reverted 0"),
        ("log", "prepared 1"),
        ("log", "reverted 1"),
    ];
    assert_eq!(three.facts(), expect(expected));
    assert_eq!(three.money().await, [ENDOWED, 0, ENDOWED, 0]);
    let closed = |leg: &Leg| matches!(leg, Leg::Closed { applied: false, evidence: Some(_) });
    assert!(state.legs().iter().all(closed), "{state:?}");
    assert!(node.audit().contains(&"deadline".to_owned()), "{:?}", node.audit());
    assert_eq!(node.secrets.asked.load(Ordering::SeqCst), 0, "no secret went out");
}
