//! One hashlock leg from its prepare to either end, step by step.

use std::sync::Arc;

use sofie_ledgers::bitcoin::BitcoinLedger;
use sofie_ledgers::{Intent, Ledger, LedgerError, Status};
use sofie_model::manifest::{DecisionSite, HashlockTerms, OpenedBy, Participant};
use sofie_model::{
    Class, Digest, Evidence, Fact, Finality, Leg, LegId, Manifest, Operation, Rule, Span, Step, Terms,
    Timestamp,
};

use crate::node::Bitcoind;
use crate::parties::{ALL, CLAIMANT, DEPTH, PAYER, Party, endow, open, profile};

pub(crate) const LEG: LegId = LegId(0);
pub(crate) const AMOUNT: u64 = 1_000_000;
pub(crate) const FEE_LIMIT: u64 = 20_000;
/// From the chain's clock to T_p.
pub(crate) const TIMELOCK: u64 = 1_000;

pub(crate) struct Scenario {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) secrets: Vec<Digest>,
    pub(crate) timelock: u64,
}

impl Scenario {
    pub(crate) async fn new(ledger: &BitcoinLedger, nonce: u8) -> Self {
        let now = Timestamp::from_seconds(ledger.head().await.unwrap().time.as_seconds());
        let timelock = now + Span::from_seconds(TIMELOCK);
        let secrets = vec![Digest([nonce; 32]), Digest([nonce ^ 0xff; 32])];
        let participants = [PAYER, CLAIMANT].iter().zip(&secrets).map(|(party, secret)| Participant {
            account: party.account(),
            hashlock: Digest::sha256(secret.as_bytes()),
        });
        let participants: Vec<_> = participants.collect();
        let terms = Terms::Hashlock(HashlockTerms {
            payer: PAYER.account(),
            claimant: CLAIMANT.account(),
            amount: AMOUNT.into(),
            timelock,
            payer_key: PAYER.public(),
            claimant_key: CLAIMANT.public(),
            opened_by: None,
        });
        let manifest = Manifest {
            version: 1,
            legs: vec![Leg {
                ledger: ledger.profile().id.clone(),
                class: Class::Hashlock,
                finality: Finality::Depth(DEPTH),
                required: true,
                terms,
                fee_limit: FEE_LIMIT.into(),
            }],
            rule: Rule::All,
            decision: DecisionSite {
                ledger: "evm".parse().unwrap(),
                chain_id: 1,
                contract: sofie_model::Account([1; 20]),
                finality: Finality::Instant,
                fee_limit: 0,
            },
            deadline: now + Span::from_seconds(100),
            grace: Span::from_seconds(5_000),
            guard: PAYER.account(),
            participants,
            nonce: Digest([nonce; 32]),
        };
        manifest.check(now).unwrap();
        Self { manifest: Arc::new(manifest), secrets, timelock: timelock.as_seconds() }
    }

    /// The same, whose lock opens to its claimant's secret alone.
    pub(crate) fn single(mut self) -> Self {
        if let Terms::Hashlock(terms) = &mut Arc::make_mut(&mut self.manifest).legs[0].terms {
            terms.opened_by = Some(OpenedBy::Claimant);
        }
        self.secrets.remove(0);
        self
    }

    fn step(&self, step: Step) -> Operation {
        Operation::Leg { manifest: Arc::clone(&self.manifest), leg: LEG, step }
    }

    pub(crate) fn prepare(&self) -> Operation {
        self.step(Step::Prepare)
    }

    pub(crate) fn claim(&self) -> Operation {
        self.step(Step::Claim(self.secrets.clone()))
    }

    pub(crate) fn refund(&self) -> Operation {
        self.step(Step::Revert)
    }
}

pub(crate) async fn started(parties: &[Party], coins: u32) -> Option<(Bitcoind, BitcoinLedger)> {
    let node = Bitcoind::start().await?;
    endow(&node, &ALL, coins).await;
    let ledger = open(&node, parties, profile(&[Class::Hashlock, Class::Record])).await.unwrap();
    Some((node, ledger))
}

/// Intends and submits, and has the node make blocks until it is final.
pub(crate) async fn carry_out(node: &Bitcoind, ledger: &BitcoinLedger, operation: &Operation) -> Evidence {
    let intent = ledger.intend(operation).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    finally(node, ledger, operation, Some(&intent)).await
}

pub(crate) async fn finally(
    node: &Bitcoind,
    ledger: &BitcoinLedger,
    operation: &Operation,
    intent: Option<&Intent>,
) -> Evidence {
    for _ in 0..20 {
        match ledger.status(operation, intent).await.unwrap() {
            Status::Final(evidence) => return evidence,
            Status::Refused { reason } | Status::Displaced { reason } => {
                panic!("{}: {reason}", operation.verb())
            }
            Status::Absent | Status::Pending => node.mine(1).await,
        }
    }
    panic!("{} never became final", operation.verb())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_claimed_with_every_preimage_and_the_money_adds_up() {
    let Some((node, ledger)) = started(&ALL, 2).await else { return };
    let treasury = ledger.treasury().unwrap();
    let before = [PAYER, CLAIMANT].map(|party| party.account());
    let held = [treasury.balance(before[0]).await.unwrap(), treasury.balance(before[1]).await.unwrap()];
    let coins = async || treasury.coins(before[0]).await.unwrap().unwrap();
    assert_eq!((coins().await.count, coins().await.worth), (2, held[0]));
    let address = treasury.address(before[0]).unwrap();
    let found = node.ask("scantxoutset", serde_json::json!(["start", [format!("addr({address})")]])).await;
    let found = found["total_amount"].as_f64().unwrap() * 1e8;
    assert_eq!(found.round() as u128, held[0], "{address}");
    assert_eq!(treasury.address(sofie_model::Account([9; 20])), None);
    let from = ledger.head().await.unwrap().height + 1;
    let scenario = Scenario::new(&ledger, 1).await;
    // A payment that is on its way has its coin for itself.
    ledger.intend(&scenario.prepare()).await.unwrap();
    assert_eq!(coins().await.count, 1);
    let prepared = carry_out(&node, &ledger, &scenario.prepare()).await;
    assert_eq!(prepared.fact, Fact::Prepared(scenario.manifest.txid(), LEG));

    // Without every preimage, or with another one, there is no claim.
    for wrong in [vec![], scenario.secrets[..1].to_vec(), vec![scenario.secrets[0], Digest([9; 32])]] {
        let claim = scenario.step(Step::Claim(wrong));
        assert!(matches!(ledger.intend(&claim).await, Err(LedgerError::Refused { .. })));
    }
    let claim = scenario.claim();
    let hashlocks = ledger.hashlocks().unwrap();
    assert_eq!(hashlocks.revealed(&scenario.manifest, LEG).await, Ok(None));
    let intent = ledger.intend(&claim).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    // Seen before any block holds it.
    let seen = hashlocks.revealed(&scenario.manifest, LEG).await.unwrap().unwrap();
    assert_eq!((seen.preimages, seen.finally), (scenario.secrets.clone(), false));
    assert_eq!(ledger.status(&claim, Some(&intent)).await, Ok(Status::Absent));
    let claimed = finally(&node, &ledger, &claim, Some(&intent)).await;
    assert_eq!(claimed.fact, Fact::Applied(scenario.manifest.txid(), LEG));
    let seen = hashlocks.revealed(&scenario.manifest, LEG).await.unwrap().unwrap();
    assert_eq!((seen.reference, seen.finally), (claimed.position.reference, true));
    assert!(matches!(ledger.status(&scenario.refund(), None).await, Ok(Status::Refused { .. })));

    let to = ledger.head().await.unwrap().height;
    let fee = async |party: Party| treasury.fees(&[party.account()], from, to).await.unwrap();
    let (paid, claimed_for) = (fee(PAYER).await, fee(CLAIMANT).await);
    assert!(paid > 0 && paid <= FEE_LIMIT.into() && claimed_for > 0 && claimed_for <= FEE_LIMIT.into());
    assert_eq!(treasury.balance(before[0]).await.unwrap(), held[0] - u128::from(AMOUNT) - paid);
    assert_eq!(treasury.balance(before[1]).await.unwrap(), held[1] + u128::from(AMOUNT) - claimed_for);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_waits_for_the_chains_own_clock() {
    let Some((node, ledger)) = started(&ALL, 2).await else { return };
    let scenario = Scenario::new(&ledger, 2).await;
    carry_out(&node, &ledger, &scenario.prepare()).await;
    let refund = scenario.refund();
    let intent = ledger.intend(&refund).await.unwrap();
    let early = ledger.submit(&intent).await;
    assert!(
        matches!(&early, Err(LedgerError::Transient { reason, .. }) if reason.contains("non-final")),
        "{early:?}"
    );
    assert_eq!(ledger.status(&refund, Some(&intent)).await, Ok(Status::Absent));
    // At T_p itself it is still too early: BIP 113 wants the median to be past it.
    node.pass(scenario.timelock + 1).await;
    ledger.submit(&intent).await.unwrap();
    let refunded = finally(&node, &ledger, &refund, Some(&intent)).await;
    assert_eq!(refunded.fact, Fact::Reverted(scenario.manifest.txid(), LEG));
    assert!(matches!(ledger.status(&scenario.claim(), None).await, Ok(Status::Refused { .. })));
    assert!(matches!(ledger.intend(&scenario.claim()).await, Err(LedgerError::Refused { .. })));
}
