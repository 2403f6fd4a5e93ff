//! What the books promise: no balance below zero, no unit made or lost, one statement for one step, whoever is killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sofie_ledgers::escrow::Escrow;
use sofie_ledgers::{Intent, Ledger as _, LedgerError, Status};
use sofie_model::manifest::{DecisionSite, Participant, TransferTerms};
use sofie_model::{
    Account, Class, Digest, Finality, Leg, LegId, Manifest, Operation, Rule, Span, Step, Terms, custodian,
};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::cluster::Cluster;
use crate::parties::{AMOUNT, Parties};
use crate::process::{Custodian, endow, key, sum};

/// D is a log, by its key: nothing is decided in these tests.
const LOG: &str = "[[log]]\nledger = \"log\"\norigin = \"log.example\"\n\
    key = \"3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29\"\n";
/// How many holds are under way at once.
const HOLDS: u8 = 48;
/// How often a hold is tried again while the custodian is away.
const TRIES: usize = 2_000;

async fn hold(ledger: &Escrow, nonce: u8) -> Operation {
    let parties = Parties::new();
    let (contract, payer, payee) = (custodian::account(&key()), parties.payer, parties.payee);
    let leg = Leg {
        ledger: "bank".parse().unwrap(),
        class: Class::Escrow,
        finality: Finality::Instant,
        required: true,
        terms: Terms::Transfer(TransferTerms { contract, payer, payee, amount: AMOUNT }),
        fee_limit: 0,
    };
    let head = ledger.head().await.unwrap().time;
    let manifest = Manifest {
        version: 1,
        legs: vec![leg],
        rule: Rule::All,
        decision: DecisionSite {
            ledger: "log".parse().unwrap(),
            chain_id: 0,
            contract: Account::ZERO,
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: sofie_model::Timestamp::from_seconds(head.as_seconds() + 600),
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: vec![Participant { account: payer, hashlock: Digest::ZERO }],
        nonce: Digest([nonce; 32]),
    };
    Operation::Leg { manifest: Arc::new(manifest), leg: LegId(0), step: Step::Prepare }
}

async fn holds(ledger: &Escrow) -> Vec<(Operation, Intent)> {
    let mut all = Vec::new();
    for nonce in 0..HOLDS {
        let operation = hold(ledger, nonce).await;
        let intent = ledger.intend(&operation).await.unwrap();
        all.push((operation, intent));
    }
    all
}

async fn number(sql: &Client, question: &str) -> i64 {
    sql.query_one(question, &[]).await.unwrap().get(0)
}

/// One line of the book for each hold, without a gap.
async fn is_in_order(sql: &Client, holds: i64) {
    assert_eq!(number(sql, "select height from book").await, holds);
    let lines = "select count(*) from statements s join legs l using (txid, leg) where l.state = 'held'";
    assert_eq!(number(sql, lines).await, holds);
    assert_eq!(number(sql, "select count(distinct (txid, leg)) from statements").await, holds);
    assert_eq!(number(sql, "select coalesce(max(height), 0) - count(*) from statements").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_at_once_never_take_more_than_there_is() {
    let Some(cluster) = Cluster::start() else { return };
    let custodian = Custodian::start(&cluster, LOG);
    let (sql, parties) = (cluster.connect().await, Parties::new());
    let affordable = 10;
    endow(&sql, parties.payer, AMOUNT * affordable + 1).await;
    endow(&sql, parties.payee, 0).await;
    let (before, ledger) = (sum(&sql).await, Arc::new(custodian.ledger(BTreeMap::new()).await));
    let mut tasks = JoinSet::new();
    for (_, intent) in holds(&ledger).await {
        // Each twice, at the same time.
        for _ in 0..2 {
            let (ledger, intent) = (Arc::clone(&ledger), intent.clone());
            tasks.spawn(async move { ledger.submit(&intent).await });
        }
    }
    let mut refused = 0;
    for answer in tasks.join_all().await {
        match answer {
            Ok(()) => {}
            Err(LedgerError::Refused { reason, .. }) => {
                assert!(reason.contains("does not have"), "{reason}");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(refused, 2 * (u128::from(HOLDS) - affordable));
    assert_eq!(sum(&sql).await, before);
    let rest = "select balance::bigint from accounts order by balance desc limit 1";
    assert_eq!(number(&sql, rest).await, 1);
    is_in_order(&sql, affordable as i64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_custodian_killed_in_the_middle_holds_each_leg_once() {
    let Some(cluster) = Cluster::start() else { return };
    let mut custodian = Custodian::start(&cluster, LOG);
    let (sql, parties) = (cluster.connect().await, Parties::new());
    endow(&sql, parties.payer, AMOUNT * 1_000).await;
    endow(&sql, parties.payee, 0).await;
    let (before, ledger) = (sum(&sql).await, Arc::new(custodian.ledger(BTreeMap::new()).await));
    let done = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for (operation, intent) in holds(&ledger).await {
        let (ledger, done) = (Arc::clone(&ledger), Arc::clone(&done));
        tasks.spawn(async move {
            for _ in 0..TRIES {
                match ledger.submit(&intent).await {
                    Ok(()) => break,
                    Err(LedgerError::Transient { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(error) => panic!("{error}"),
                }
            }
            done.fetch_add(1, Ordering::SeqCst);
            operation
        });
    }
    // Killed each time that some more are done and others are under way.
    for wave in 1..=4 {
        while done.load(Ordering::SeqCst) < wave * usize::from(HOLDS) / 6 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        custodian.kill_and_start();
    }
    let mut places = std::collections::BTreeSet::new();
    for operation in tasks.join_all().await {
        match ledger.status(&operation, None).await.unwrap() {
            Status::Final(evidence) => places.insert(evidence.position.height),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(places, (1..=u64::from(HOLDS)).collect());
    assert_eq!(sum(&sql).await, before);
    is_in_order(&sql, HOLDS.into()).await;
}
