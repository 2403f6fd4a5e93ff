//! Whole contracts on ledgers in memory, with no platform: the device is never told, so that the money goes back, unless
//! somebody else brings the evidence.

mod dispute;
mod panel;
mod penalty;
mod shared;

use sofie_ledgers::fake::{Fake, Fault};
use sofie_ledgers::{Ledger, Profile};
use sofie_market::{EvidenceRule, Phase};
use sofie_model::manifest::{DecisionSite, EscrowTerms, Participant};
use sofie_model::{Attestation, Class, Finality, Leg, LegId, Rule, Span, Step, Terms, Value};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::auditor::Auditor;
use crate::config::Config;
use crate::journal::Journal;
use crate::keys::PartyKeys;

const PRICE: u128 = 1_000;
const CHAIN: u64 = 7;
/// Longer than any of these stories; only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(40);
const ESCROW: LegId = LegId(0);

struct World {
    contracts: Contracts,
    evm: Fake,
    _folder: TempDir,
}

fn profile(id: &str, class: Class, decides: bool) -> Profile {
    Profile {
        id: id.parse().expect("a name"),
        classes: vec![class],
        decides,
        finality: Finality::Instant,
        inclusion: Span::ZERO,
        finalises: Span::ZERO,
        single_operator: true,
        poll: Span::from_millis(5),
    }
}

impl World {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let parties = ["renter", "locker-co", "sensor-co", "operator"];
        let parties: String = parties.map(|name| format!("[[party]]\nname = \"{name}\"\n")).concat();
        let text =
            format!("[node]\nname = \"test\"\n{parties}[[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n");
        let config = Config::parse(&text, &folder.path().join("sofie.toml")).expect("a configuration");
        let parties = Parties::load(&config).expect("keys");
        let evm = Fake::new(profile("evm", Class::Verifying, true), CHAIN, clock::clock());
        let calendar = Fake::new(profile("calendar", Class::Record, false), CHAIN, clock::clock());
        evm.endow(parties.named("renter").expect("a party").account(), PRICE);
        let ledgers = [evm.clone(), calendar]
            .map(|ledger| (ledger.profile().id.clone(), Arc::new(ledger) as Arc<dyn Ledger>));
        let journal = Journal::open(&folder.path().join("journal.sqlite"), None).expect("a journal");
        let auditor = Auditor::open(journal.clone()).expect("an audit log");
        let keeper = Keeper { auditor, fatal: mpsc::channel(1).0 };
        let executor = Executor::new(Arc::new(ledgers.into()), journal);
        let transactions = Transactions::new(executor.clone(), keeper.clone(), Arc::new(parties.clone()));
        let platforms = Platforms::load(
            executor.clone(),
            keeper.clone(),
            parties.clone(),
            None,
            "urn:sofie:node:test".parse().unwrap(),
        );
        let platforms = platforms.expect("an empty directory");
        let operator = config.node.operator.clone();
        let contracts =
            Contracts::new(executor, keeper, transactions, parties, platforms, Arc::default(), operator);
        Self { contracts, evm, _folder: folder }
    }

    fn party(&self, name: &str) -> &PartyKeys {
        self.contracts.parties().named(name).expect("a party")
    }

    fn plan(&self) -> Plan {
        let now = clock::now();
        let (renter, owner) = (self.party("renter"), self.party("locker-co"));
        let second = |after: u64| Timestamp::from_seconds(now.as_seconds() + after);
        let agreement = Agreement {
            thing: "urn:locker:1".parse().expect("a name"),
            action: "lock".into(),
            input: String::new(),
            renter: renter.account(),
            owner: owner.account(),
            price: PRICE,
            not_before: now,
            not_after: second(600),
            evidence: EvidenceRule {
                thing: "urn:door:1".parse().expect("a name"),
                property: "open".into(),
                equals: Value::Bool(true),
            },
            witnesses: None,
            penalty: None,
            dispute: None,
        };
        let escrow = EscrowTerms {
            contract: Account([0xe5; 20]),
            payer: renter.account(),
            payee: owner.account(),
            amount: PRICE,
            evidence_key: self.party("sensor-co").account(),
            evidence_deadline: second(6),
            submission_window: Span::ZERO,
            dispute: None,
        };
        let nonce = Digest([9; 32]);
        let participant = |keys: &PartyKeys| Participant {
            account: keys.account(),
            hashlock: Digest::sha256(crate::parties::preimage(keys, nonce).as_bytes()),
        };
        let leg = |ledger: &str, class, terms| Leg {
            ledger: ledger.parse().expect("a name"),
            class,
            finality: Finality::Instant,
            required: true,
            terms,
            fee_limit: 0,
        };
        let salt = Salt::new([3; 32]);
        let decision = DecisionSite {
            ledger: "evm".parse().expect("a name"),
            chain_id: CHAIN,
            contract: Account([0xdd; 20]),
            finality: Finality::Instant,
            fee_limit: 0,
        };
        let manifest = Manifest {
            version: 1,
            legs: vec![
                leg("evm", Class::Verifying, Terms::Escrow(escrow)),
                leg("calendar", Class::Record, Terms::Record(agreement.commitment(&salt))),
            ],
            rule: Rule::All,
            decision,
            deadline: second(5),
            grace: Span::ZERO,
            guard: Account::ZERO,
            participants: vec![participant(renter), participant(owner)],
            nonce,
        };
        manifest.check(now).expect("a good manifest");
        Plan {
            agreement,
            salt,
            manifest,
            record_ledger: Some("calendar".parse().expect("a name")),
            opened_at: now,
            part: None,
            offer: None,
        }
    }

    async fn begin(&self) -> Handle<Driven> {
        self.begin_with(self.plan()).await
    }

    async fn begin_with(&self, plan: Plan) -> Handle<Driven> {
        let entries = self.contracts.begun(&plan);
        let transaction = sofie_transaction::Plan {
            manifest: plan.manifest.clone(),
            acts_for: vec![0, 1],
            decision_time: Span::ZERO,
            pivot: None,
        };
        let driven = Driven::begin(plan).expect("an escrow leg");
        self.contracts.transactions.begin(transaction, entries, Vec::new()).await.expect("it is journaled");
        self.contracts.run(driven, 0, None)
    }

    async fn halted(&self, txid: Txid) -> Handle<sofie_transaction::State> {
        let mut transaction = self.contracts.transactions.live(txid).expect("it runs");
        let halted = |state: &sofie_transaction::State| {
            matches!(state.phase(), sofie_transaction::Phase::Halted { .. })
        };
        timeout(PATIENCE, transaction.until(halted)).await.expect("it halts").expect("it still runs");
        transaction
    }
}

async fn reach(contract: &mut Handle<Driven>, wanted: fn(&Phase) -> bool) -> Phase {
    let reached = timeout(PATIENCE, contract.until(|driven| wanted(driven.contract.phase()))).await;
    let reached = reached.unwrap_or_else(|_| panic!("it stays {:?}", contract.state().contract.phase()));
    reached.expect("it still runs").contract.phase().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_escrow_that_another_has_settled_is_settled_here_too() {
    let world = World::open();
    let mut contract = world.begin().await;
    reach(&mut contract, |phase| matches!(phase, Phase::Waiting { .. })).await;
    let plan = contract.state().plan.clone();
    let said = Attestation {
        chain_id: CHAIN,
        contract: Account([0xe5; 20]),
        txid: plan.manifest.txid(),
        leg: ESCROW,
        observation: Digest::ZERO,
        fulfilled: true,
        observed_at: Timestamp::from_seconds(clock::now().as_seconds()),
    };
    let word = said.sign(world.party("sensor-co").secp256k1());
    let manifest = Arc::new(plan.manifest.clone());
    let settle = Operation::Leg { manifest, leg: ESCROW, step: Step::Settle(word) };
    let intent = world.evm.intend(&settle).await.expect("an intent");
    world.evm.submit(&intent).await.expect("it is taken");
    let over = |phase: &Phase| !matches!(phase, Phase::Waiting { .. } | Phase::Refunding { .. });
    assert_eq!(reach(&mut contract, over).await, Phase::Settled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_goes_on_when_its_halted_transaction_is_driven_on() {
    let world = World::open();
    world.evm.script(Some("apply"), Fault::Refuse("paused".into()));
    let mut contract = world.begin().await;
    let txid = contract.state().contract.txid();
    world.halted(txid).await;
    world.contracts.transactions.resume(txid).await.expect("it is driven on");
    reach(&mut contract, |phase| matches!(phase, Phase::Waiting { .. })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_halts_undecided_is_not_called_aborted() {
    let world = World::open();
    // Neither participant, nor anyone after grace.
    for verb in ["commit", "abort", "abort", "abort"] {
        world.evm.script(Some(verb), Fault::Refuse("paused".into()));
    }
    let mut contract = world.begin().await;
    let txid = contract.state().contract.txid();
    let mut transaction = world.halted(txid).await;
    world.contracts.transactions.resume(txid).await.expect("it is driven on");
    let Phase::Aborted { reason } = reach(&mut contract, |phase| *phase != Phase::Recording).await else {
        panic!("{:?}", contract.state().contract.phase())
    };
    assert_eq!(reason, "paused");
    let done = |state: &sofie_transaction::State| matches!(state.phase(), sofie_transaction::Phase::Done(_));
    timeout(PATIENCE, transaction.until(done)).await.expect("it ends").expect("its state stays");
    let held = world.evm.treasury().expect("money").balance(world.party("renter").account()).await;
    assert_eq!(held, Ok(PRICE), "the lock is undone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_tells_of_the_things_as_they_were_agreed_on_also_when_they_are_gone() {
    let world = World::open();
    let platforms = &world.contracts.platforms;
    let things = ["urn:locker:1", "urn:door:1"].map(|id| id.parse::<sofie_model::ThingId>().expect("a name"));
    for id in &things {
        let thing = sofie_directory::ThingDescription::from_value(serde_json::json!({
            "@context": "https://www.w3.org/2022/wot/td/v1.1", "id": id, "title": "a thing",
            "securityDefinitions": { "none": { "scheme": "nosec" } }, "security": "none",
        }));
        let thing = thing.expect("a description");
        platforms.change(|all, now| all.put(id, thing, "locker-co", now)).await.expect("it is registered");
    }
    let mut contract = world.begin().await;
    for id in &things {
        platforms.change(|all, now| all.delete(id, now)).await.expect("it is forgotten");
    }
    reach(&mut contract, |phase| matches!(phase, Phase::Waiting { .. })).await;
    // The descriptions are there; what ledgers in memory cannot do is prove.
    let made = receipts::make(&world.contracts, &contract.state()).await.map(drop);
    assert!(made.as_ref().is_err_and(|why| why.ends_with("a fake ledger proves nothing")), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_contracts_run_as_may_and_one_that_ends_makes_room() {
    let mut world = World::open();
    world.contracts.room = Arc::new(Semaphore::new(1));
    let asked: crate::api::OpenContract = serde_json::from_value(serde_json::json!({
        "renter": "renter", "thing": "urn:locker:1", "action": "lock", "price": PRICE.to_string(), "open_for_s": 60,
        "ledger": "evm", "record_ledger": "calendar",
        "evidence": { "thing": "urn:door:1", "property": "open", "equals": true },
        "decision_within_s": 5, "evidence_within_s": 60, "submission_window_s": 0,
    }))
    .expect("a request");
    let plan = world.plan();
    let first = world.contracts.start(&asked, plan, Span::ZERO).await.expect("there is room");
    let refused = world.contracts.start(&asked, world.plan(), Span::ZERO).await.expect_err("there is none");
    assert!(matches!(refused, Refused::TooMany), "{refused}");
    assert_eq!(world.contracts.all().expect("a journal").len(), 1, "nothing was begun");
    let mut contract = world.contracts.live(first).expect("it runs");
    // No receipt is ever made on ledgers in memory: it is over by what the drive is told.
    reach(&mut contract, |phase| matches!(phase, Phase::Refunded { .. })).await;
    contract.give(Input::Receipted(Digest::ZERO)).await.expect("it ends");
    while world.contracts.room.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
}
