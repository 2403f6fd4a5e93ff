//! What an operator is told of a transaction that needs him: how little time it has left, that it has halted, that it waits
//! for a ledger in quarantine. The same by the API, the measures and the events.

use futures::StreamExt;
use sofie_ledgers::Profile;
use sofie_ledgers::fake::{Fake, Fault};
use sofie_model::{Class, LegId, Span, Txid};
use sofie_node::api::{CloudEvent, Federation, Transaction, Verdict};
use sofie_node::clock;
use sofie_node::journal::PauseAt;
use sofie_transaction::Phase;

use crate::market::{Life, Market, PIVOT, TRANSFER, profile, until};
use crate::pivots::AMPLE;

fn shown(life: &Life, txid: Txid) -> Transaction {
    let node = life.node();
    node.run(Federation::transaction(&node.runtime, txid)).unwrap()
}

/// The value of a measure without labels, or with these.
fn measure(life: &Life, name: &str) -> Option<f64> {
    let mut text = String::new();
    life.node().runtime.write_metrics(&mut text).unwrap();
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value)
}

/// The first event of this kind.
fn event(life: &Life, kind: &str) -> CloudEvent {
    let node = life.node();
    node.run(async {
        let mut events = Federation::events(&node.runtime, Some(0)).await.unwrap();
        loop {
            let event = events.next().await.expect("the stream goes on");
            if event.kind == format!("sofie.audit.{kind}") {
                return event;
            }
        }
    })
}

/// The node looks at one of its ledgers so seldom that the time until T_D may be less than it needs to notice.
#[test]
fn a_tight_pivot_is_shown_measured_and_told_by_its_own_node() {
    let mut market = Market::new();
    let seldom = Profile { poll: Span::from_seconds(150), ..profile("slow", Class::Record, false) };
    market.others.push(Fake::new(seldom, 0, clock::clock()));
    (0..2_000).for_each(|_| market.coin.script(Some("prepare"), Fault::Lose));
    let (a, _b) = (market.alice(), market.bob());
    assert_eq!((measure(&a, "sofie_slack_alarms"), measure(&a, "sofie_slack_seconds")), (Some(0.0), None));
    let txid = a.submits(AMPLE).unwrap();
    let slack = |leg: LegId| {
        let slack = shown(&a, txid).legs[usize::from(leg.0)].slack.clone();
        slack.map(|slack| (slack.due, slack.alarm))
    };
    until("both legs have too little", || {
        let expected = |due: &str| Some((due.to_owned(), true));
        slack(TRANSFER) == expected("decide") && slack(PIVOT) == expected("prepare")
    });
    assert_eq!(measure(&a, "sofie_slack_alarms"), Some(2.0));
    let seconds = measure(&a, "sofie_slack_seconds").expect("a leg rests on time");
    // T_D is the next whole second after that.
    assert!(0.0 < seconds && seconds < 122.0, "{seconds}");
    // Each leg by itself: what is due, and the pivot's lock before the decision.
    let of_leg = |leg: u16, ledger: &str, due: &str| {
        let labels = format!(r#"{{transaction="{txid}",leg="{leg}",ledger="{ledger}",due="{due}"}}"#);
        measure(&a, &format!("sofie_leg_slack_seconds{labels}"))
    };
    let pivot = of_leg(PIVOT.0, "coin", "prepare").expect("the pivot's is told");
    let transfer = of_leg(TRANSFER.0, "chain", "decide").expect("the transfer's is told");
    assert!(pivot < transfer && transfer < 122.0, "{pivot} {transfer}");
    let told = |leg: &str, due: &str| {
        let words = a.node().told(txid.0);
        words
            .iter()
            .filter(|(kind, what)| kind == "alarm" && what.starts_with(leg) && what.ends_with(due))
            .count()
    };
    until("the node tells of both legs", || {
        told("leg 0: ", "left to decide") > 0 && told("leg 1: ", "left to prepare") > 0
    });
    let event = event(&a, "alarm");
    assert_eq!((event.subject, event.data.ok), (txid.0.to_string(), false));
    // Once each, however long it lasts.
    assert_eq!((told("leg 0: ", ""), told("leg 1: ", "")), (1, 1));
}

#[test]
fn a_halted_transaction_is_shown_counted_and_told_with_the_next_step() {
    let market = Market::new();
    (0..1_000).for_each(|_| market.chain.script(Some("apply"), Fault::Refuse("it is frozen".into())));
    let (a, _b) = (market.alice(), market.bob());
    assert_eq!(measure(&a, "sofie_transactions_halted"), Some(0.0));
    let txid = a.submits(AMPLE).unwrap();
    a.node().until(txid, |phase| matches!(phase, Phase::Halted { .. }));
    assert_eq!(measure(&a, "sofie_transactions_halted"), Some(1.0));
    let one = shown(&a, txid);
    assert_eq!((one.phase.as_str(), one.decision), ("halted", Some(Verdict::Commit)));
    let why = one.reason.expect("it says why");
    assert_eq!(why, "leg 0 refuses what was decided: it is frozen");
    assert!(one.next.contains("`sofie tx resume`"), "{}", one.next);
    let listed = a.node().run(Federation::transactions(&a.node().runtime)).unwrap();
    assert_eq!(listed[0].reason.as_ref(), Some(&why));
    let event = event(&a, "halted");
    assert_eq!((event.subject, event.data.detail), (txid.0.to_string(), why));
}

#[test]
fn a_transaction_that_waits_for_a_ledger_in_quarantine_says_so() {
    let market = Market::new();
    let b = market.life(&market.bob, &market.alice, Some(PauseAt::Intent("prepare 1".into())));
    let a = market.alice();
    let txid = a.submits(AMPLE).unwrap();
    until("bob's node dies", || b.is_dead());
    b.kill();
    assert_eq!(shown(&a, txid).reason, None);
    assert_eq!(measure(&a, "sofie_ledger_quarantined{ledger=\"coin\"}"), Some(0.0));
    // Alice only looks there, for Bob's lock.
    market.coin.script(None, Fault::Mad(u32::MAX));
    until("its looks are enough", || shown(&a, txid).reason.is_some());
    let one = shown(&a, txid);
    let why = one.reason.expect("it waits");
    assert!(
        why.starts_with("ledger coin is in quarantine, it answers nonsense: a block is its own parent"),
        "{why}"
    );
    assert!(one.next.contains("`sofie tx resume`"), "{}", one.next);
    assert_eq!(measure(&a, "sofie_ledger_quarantined{ledger=\"coin\"}"), Some(1.0));
    assert_eq!(measure(&a, "sofie_ledger_quarantined{ledger=\"chain\"}"), Some(0.0));
    let node = a.node();
    let ledgers = node.run(Federation::ledgers(&node.runtime)).unwrap();
    let coin = ledgers.iter().find(|ledger| ledger.id.as_str() == "coin").unwrap();
    assert_eq!((coin.ok, coin.error.as_ref()), (false, Some(&why)));
    // It answers soundly again, and the operator has looked.
    market.coin.script(None, Fault::Mad(0));
    assert!(shown(&a, txid).reason.is_some(), "nothing is asked of it until then");
    let resumed = node.run(Federation::resume(&node.runtime, txid)).unwrap();
    assert_eq!((resumed.phase.as_str(), resumed.reason), ("preparing", None));
    assert_eq!(measure(&a, "sofie_ledger_quarantined{ledger=\"coin\"}"), Some(0.0));
}
