//! A transaction whose decision ledger is a calendar: a record on it, a record on a second calendar, and value by a
//! custodian's word on a third ledger (a double). The calendars are real, with real files.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sofie_ledgers::calendar::{AccountKey, Calendar, Config, SigningKey};
use sofie_ledgers::fake::Fake;
use sofie_ledgers::{Ledger, Profile, Treasury};
use sofie_model::manifest::{DecisionSite, Participant, TransferTerms};
use sofie_model::{
    Account, Class, Decision, Digest, Evidence, Fact, Finality, LedgerId, Leg, LegId, Manifest, Rule, Span,
    Terms, Timestamp,
};
use sofie_node::auditor::Auditor;
use sofie_node::clock;
use sofie_node::drive::Keeper;
use sofie_node::executor::Executor;
use sofie_node::journal::Journal;
use sofie_node::transactions::{Secrets, Transactions};
use sofie_transaction::{Label, Leg as LegState, Phase, Plan, State, label};

/// A bound on waiting, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);
const CUSTODIAN: Account = Account([0xc5; 20]);
const AMOUNT: u128 = 5;
const ENDOWED: u128 = 100;

fn key(byte: u8) -> AccountKey {
    AccountKey::from_slice(&[byte; 32]).unwrap()
}

fn account(byte: u8) -> Account {
    Account::from(key(byte).verifying_key())
}

/// Participant `who` holds key and secret `who + 1`; whoever is named keeps its secret to itself.
struct Held {
    withheld: Option<u16>,
}

impl Secrets for Held {
    fn preimage(&self, _: &State, who: u16) -> Option<Digest> {
        let secret = Digest([u8::try_from(who).unwrap() + 1; 32]);
        (self.withheld != Some(who)).then_some(secret)
    }
}

fn calendar(folder: &Path, name: &str, decides: bool) -> Arc<Calendar> {
    let id: LedgerId = name.parse().unwrap();
    let own = Config::new(id, format!("example.com/{name}"), folder.join(format!("{name}.log")));
    let settings = Config { decides, poll: Span::from_millis(1), ..own };
    let calendar = Calendar::open(settings, SigningKey::from_bytes(&[7; 32]), clock::clock()).unwrap();
    Arc::new(calendar.acting_for([key(1), key(2)]))
}

fn custodian() -> Fake {
    let profile = Profile {
        id: "bank".parse().unwrap(),
        classes: vec![Class::Escrow],
        decides: false,
        finality: Finality::Instant,
        inclusion: Span::from_millis(10),
        finalises: Span::ZERO,
        single_operator: true,
        poll: Span::from_millis(1),
    };
    let bank = Fake::new(profile, 0, clock::clock());
    bank.endow(account(1), ENDOWED);
    bank
}

fn manifest() -> Manifest {
    let leg = |ledger: &str, class, terms| Leg {
        ledger: ledger.parse().unwrap(),
        class,
        finality: Finality::Instant,
        required: true,
        terms,
        fee_limit: 0,
    };
    let record = |ledger: &str, byte| leg(ledger, Class::Record, Terms::Record(Digest([byte; 32])));
    let (payer, payee) = (account(1), account(2));
    let transfer = TransferTerms { contract: CUSTODIAN, payer, payee, amount: AMOUNT };
    let participant = |byte| Participant { account: account(byte), hashlock: Digest::sha256(&[byte; 32]) };
    let manifest = Manifest {
        version: 1,
        legs: vec![
            record("notary", 6),
            record("copy", 7),
            leg("bank", Class::Escrow, Terms::Transfer(transfer)),
        ],
        rule: Rule::All,
        decision: DecisionSite {
            ledger: "notary".parse().unwrap(),
            chain_id: 0,
            contract: Account::ZERO,
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline: Timestamp::from_seconds(clock::now().as_seconds() + 60),
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: vec![participant(1), participant(2)],
        nonce: Digest([8; 32]),
    };
    manifest.check(clock::now()).unwrap();
    manifest
}

struct Story {
    folder: tempfile::TempDir,
    bank: Fake,
    state: Arc<State>,
}

/// Runs the transaction to its end, on ledgers that nobody used before; the node is gone then.
async fn run(withheld: Option<u16>) -> Story {
    let folder = tempfile::tempdir().unwrap();
    let bank = custodian();
    let notary = calendar(folder.path(), "notary", true);
    let copy = calendar(folder.path(), "copy", false);
    let ledgers: [Arc<dyn Ledger>; 3] = [notary, copy, Arc::new(bank.clone())];
    let ledgers: BTreeMap<_, _> =
        ledgers.into_iter().map(|ledger| (ledger.profile().id.clone(), ledger)).collect();
    let journal = Journal::open(&folder.path().join("journal.sqlite"), None).unwrap();
    let (fatal, _failed) = tokio::sync::mpsc::channel(1);
    let keeper = Keeper { auditor: Auditor::open(journal.clone()).unwrap(), fatal };
    let executor = Executor::new(Arc::new(ledgers.into_iter().collect()), journal).adopt().unwrap();
    let transactions = Transactions::new(executor, keeper, Arc::new(Held { withheld }));
    let plan = Plan {
        manifest: manifest(),
        acts_for: vec![0, 1],
        decision_time: Span::from_millis(100),
        pivot: None,
    };
    let mut handle = transactions.begin(plan, Vec::new(), Vec::new()).await.unwrap();
    let over = |state: &State| matches!(state.phase(), Phase::Done(_) | Phase::Halted { .. });
    let ended = tokio::time::timeout(PATIENCE, handle.until(over)).await;
    let state = ended.expect("it ends").expect("its node lives");
    Story { folder, bank, state }
}

impl Story {
    /// What the closed legs' ledgers say.
    fn closed(&self) -> Vec<Fact> {
        let evidence = |leg: &LegState| match leg {
            LegState::Closed { evidence: Some(evidence), .. } => evidence.fact.clone(),
            other => panic!("{other:?}"),
        };
        self.state.legs().iter().map(evidence).collect()
    }

    async fn money(&self) -> [u128; 3] {
        let mut held = [0; 3];
        for (slot, who) in held.iter_mut().zip([account(1), account(2), CUSTODIAN]) {
            *slot = self.bank.balance(who).await.unwrap();
        }
        held
    }

    /// The decision, proven from the file alone by a log that is opened again, and read without that log.
    async fn proven(&self) -> Vec<Evidence> {
        let (decided, manifest) = (self.state.decided().unwrap(), self.state.manifest());
        let notary = calendar(self.folder.path(), "notary", true);
        let proof = notary.prove(manifest, std::slice::from_ref(decided)).await.unwrap();
        drop(notary);
        let proven = proof.verify(&"notary".parse().unwrap(), manifest).unwrap();
        assert_eq!(proven.evidence, std::slice::from_ref(decided));
        proven.evidence
    }
}

#[tokio::test]
async fn a_commit_on_a_calendar_applies_every_leg() {
    let story = run(None).await;
    assert!(matches!(story.state.phase(), Phase::Done(Decision::Commit { included: 0b111, .. })));
    let txid = story.state.txid();
    assert_eq!(story.closed(), [0, 1, 2].map(|leg| Fact::Applied(txid, LegId(leg))));
    assert_eq!(story.money().await, [ENDOWED - AMOUNT, AMOUNT, 0]);
    let proven = story.proven().await;
    let preimages = vec![Digest([1; 32]), Digest([2; 32])];
    let Fact::Decided(_, Decision::Commit { preimages: shown, .. }) = &proven[0].fact else {
        panic!("{proven:?}")
    };
    assert_eq!(*shown, preimages);
    // One operator holds the notary's key.
    assert_eq!(label(story.state.manifest(), |ledger| ledger.as_str() == "notary"), Label::Custodial);
}

#[tokio::test]
async fn an_abort_on_a_calendar_undoes_every_leg() {
    let story = run(Some(1)).await;
    let txid = story.state.txid();
    assert_eq!(story.closed(), [0, 1, 2].map(|leg| Fact::Reverted(txid, LegId(leg))));
    assert_eq!(story.money().await, [ENDOWED, 0, 0]);
    let proven = story.proven().await;
    assert_eq!(proven[0].fact, Fact::Decided(txid, Decision::Abort { by: account(1) }));
}
