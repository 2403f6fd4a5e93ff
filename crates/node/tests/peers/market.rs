//! Two ledgers in memory, one that decides and one with hashlocks, and the nodes of Alice and Bob on them: she pays him on
//! the first, he pays her on the second. A node is killed by dropping it, or dies at a step of its journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sofie_ledgers::fake::Fake;
use sofie_ledgers::{Hashlocks, Ledger, Presigned, Profile, Spend};
use sofie_model::manifest::{DecisionSite, HashlockTerms, OpenedBy, Participant, TransferTerms};
use sofie_model::{
    Account, Class, Decide, Digest, Finality, Leg, LegId, Manifest, Operation, PublicKey, Rule, Span, Step,
    Terms, Timestamp, Txid,
};
use sofie_node::api::{ApiError, Draft, Federation};
use sofie_node::clock;
use sofie_node::config::Config;
use sofie_node::contracts::Deployment;
use sofie_node::journal::{Pause, PauseAt};
use sofie_node::opening::Opened;
use sofie_node::runtime::Runtime;
use sofie_transaction::Phase;

use crate::world::{Node, PATIENCE, Who};

const CHAIN: u64 = 7;
const ESCROW: Account = Account([0xe5; 20]);
const DECISION: Account = Account([0xdd; 20]);
const ENDOWED: u128 = 100;
/// What Alice pays on the chain.
const TOKENS: u128 = 5;
/// What Bob pays in coin.
const COINS: u128 = 7;
/// A peer may have this paid unasked.
pub(crate) const ANYTHING: &str = "chain = \"100\", coin = \"100\"";
/// The ledgers as the configuration of a node has them that are not inside it.
pub(crate) const OUTSIDE: &str = "
[[ledger]]
id = \"chain\"
kind = \"evm-rpc\"
url = \"http://127.0.0.1:1\"
chain_id = 7
finality = \"depth:1\"
skew = \"0ms\"

[[ledger]]
id = \"coin\"
kind = \"bitcoin-rpc\"
url = \"http://127.0.0.1:1\"
cookie = \"cookie\"
network = \"regtest\"
finality = \"depth:1\"
skew = \"0ms\"
";
/// The leg that Alice pays.
pub(crate) const TRANSFER: LegId = LegId(0);
/// The leg that Bob pays.
pub(crate) const PIVOT: LegId = LegId(1);

/// What Alice and Bob have on the chain, and what they have in coin.
pub(crate) type Held = [u128; 4];
pub(crate) const BEFORE: Held = [ENDOWED, 0, 0, ENDOWED];
pub(crate) const SWAPPED: Held = [ENDOWED - TOKENS, TOKENS, COINS, ENDOWED - COINS];

/// The ledgers, which outlive every node, and who the nodes are.
pub(crate) struct Market {
    pub(crate) chain: Fake,
    pub(crate) coin: Fake,
    /// Those that every node has besides.
    pub(crate) others: Vec<Fake>,
    pub(crate) alice: Who,
    pub(crate) bob: Who,
    /// Who opens Bob's lock; without it both secrets do.
    opened_by: Option<OpenedBy>,
}

impl Market {
    pub(crate) fn new() -> Self {
        let chain = Fake::new(profile("chain", Class::Verifying, true), CHAIN, clock::clock());
        let coin = Fake::new(profile("coin", Class::Hashlock, false), 0, clock::clock());
        let (alice, bob) = (Who::new("alice"), Who::new("bob"));
        chain.endow(alice.account(), ENDOWED);
        coin.endow(bob.account(), ENDOWED);
        Self { chain, coin, others: Vec::new(), alice, bob, opened_by: None }
    }

    /// Where Alice's secret alone opens Bob's lock.
    pub(crate) fn with_single_hash() -> Self {
        Self { opened_by: Some(OpenedBy::Claimant), ..Self::new() }
    }

    pub(crate) fn alice(&self) -> Life {
        self.life(&self.alice, &self.bob, None)
    }

    pub(crate) fn bob(&self) -> Life {
        self.life(&self.bob, &self.alice, None)
    }

    /// A node of `who` with the one peer, which may have it pay anything; its journal ends at the step.
    pub(crate) fn life(&self, who: &Who, peer: &Who, dies: Option<PauseAt>) -> Life {
        self.open(who, who.config_on(&self.ledgers(), &[peer], ANYTHING), dies)
    }

    /// The ledgers, as far as a node's configuration must name them.
    pub(crate) fn ledgers(&self) -> String {
        let told =
            |fake: &Fake| format!("[[ledger]]\nid = \"{}\"\nkind = \"calendar\"\n\n", fake.profile().id);
        self.fakes().map(told).collect()
    }

    /// As [`Market::life`], by this configuration.
    pub(crate) fn open(&self, who: &Who, config: Config, dies: Option<PauseAt>) -> Life {
        let dead = Arc::new(AtomicBool::new(false));
        let node = Node::opened(config, async |config| {
            let pause = dies.clone().map(|at| death(at, dead.clone()));
            Runtime::open_on(config, pause, self.opened(who)).await
        });
        Life { node: node.ok(), dead, opened_by: self.opened_by }
    }

    fn fakes(&self) -> impl Iterator<Item = &Fake> {
        [&self.chain, &self.coin].into_iter().chain(&self.others)
    }

    /// The ledgers as one who has this key only sees them.
    fn opened(&self, who: &Who) -> Opened {
        let ledgers = self.fakes().map(|fake| {
            let ledger: Arc<dyn Ledger> = Arc::new(fake.held_by([who.account()]));
            (ledger.profile().id.clone(), ledger)
        });
        let contracts = Deployment { chain_id: CHAIN, decision: DECISION, escrow: ESCROW };
        let deployments = BTreeMap::from([(self.chain.profile().id.clone(), contracts)]);
        Opened { ledgers: ledgers.collect(), deployments, ..Opened::default() }
    }

    pub(crate) fn held(&self) -> Held {
        let of = |ledger: &Fake, who: &Who| ledger.holds(who.account());
        let Self { chain, coin, alice, bob, .. } = self;
        [of(chain, alice), of(chain, bob), of(coin, alice), of(coin, bob)]
    }

    /// Each fact stands once (P4), and what everybody holds is what is expected.
    #[track_caller]
    pub(crate) fn ends(&self, expected: Held) {
        for ledger in [&self.chain, &self.coin] {
            let facts: Vec<String> = ledger.facts().iter().map(|fact| format!("{fact:?}")).collect();
            let mut once = facts.clone();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), facts.len(), "{facts:?}");
        }
        assert_eq!(self.held(), expected, "{:?} {:?}", self.chain.facts(), self.coin.facts());
    }

    /// The swap as a manifest by hand: T_D in so many seconds, T_p and G so many after the one before.
    pub(crate) fn manifest(&self, both: [Participant; 2], nonce: Digest, seconds: [u64; 3]) -> Manifest {
        let now = clock::now().as_seconds();
        let [deadline, timelock, grace] = seconds;
        let deadline = Timestamp::from_seconds(now + deadline);
        let key = |who: &Who| PublicKey::from(who.keys.secp256k1().verifying_key());
        let (alice, bob) = (self.alice.account(), self.bob.account());
        let leg = |ledger: &Fake, class, terms| Leg {
            ledger: ledger.profile().id.clone(),
            class,
            finality: Finality::Instant,
            required: true,
            terms,
            fee_limit: 0,
        };
        let transfer = TransferTerms { contract: ESCROW, payer: alice, payee: bob, amount: TOKENS };
        let hashlock = HashlockTerms {
            payer: bob,
            claimant: alice,
            amount: COINS,
            timelock: deadline + Span::from_seconds(timelock),
            payer_key: key(&self.bob),
            claimant_key: key(&self.alice),
            opened_by: self.opened_by,
        };
        Manifest {
            version: 1,
            legs: vec![
                leg(&self.chain, Class::Verifying, Terms::Transfer(transfer)),
                leg(&self.coin, Class::Hashlock, Terms::Hashlock(hashlock)),
            ],
            rule: Rule::All,
            decision: DecisionSite {
                ledger: self.chain.profile().id.clone(),
                chain_id: CHAIN,
                contract: DECISION,
                finality: Finality::Instant,
                fee_limit: 0,
            },
            deadline,
            grace: Span::from_seconds(timelock + grace),
            guard: bob,
            participants: both.to_vec(),
            nonce,
        }
    }

    /// Does by hand what needs the key of `who` only.
    pub(crate) fn by_hand(&self, who: &Who, manifest: &Manifest, leg: LegId, step: Step) {
        let ledger = if leg == PIVOT { &self.coin } else { &self.chain };
        let ledger = ledger.held_by([who.account()]);
        let operation = Operation::Leg { manifest: Arc::new(manifest.clone()), leg, step };
        futures::executor::block_on(async {
            let intent = ledger.intend(&operation).await.unwrap();
            ledger.submit(&intent).await.unwrap();
        });
    }

    /// What the key of `who` signs ahead of the pivot's lock.
    pub(crate) fn sign_ahead(&self, who: &Who, manifest: &Manifest, spend: Spend) -> Presigned {
        let coin = self.coin.held_by([who.account()]);
        futures::executor::block_on(Hashlocks::presign(&coin, manifest, PIVOT, spend)).unwrap()
    }

    /// COMMIT of both legs, by Alice's hand.
    pub(crate) fn commit(&self, manifest: &Manifest, evidence_root: Digest, preimages: Vec<Digest>) {
        let decide = Decide::Commit { included: 0b11, evidence_root, preimages, guard: None };
        let operation = Operation::Decide { manifest: Arc::new(manifest.clone()), decide };
        let chain = self.chain.held_by([self.alice.account()]);
        futures::executor::block_on(async {
            let intent = chain.intend(&operation).await.unwrap();
            chain.submit(&intent).await.unwrap();
        });
    }

    /// Whether the leg is locked.
    pub(crate) fn is_locked(&self, txid: Txid, leg: LegId) -> bool {
        let ledger = if leg == PIVOT { &self.coin } else { &self.chain };
        ledger.facts().contains(&sofie_model::Fact::Prepared(txid, leg))
    }
}

/// Waits until it holds.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "not yet: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One life of a node.
pub(crate) struct Life {
    /// `None`: it died while it started.
    pub(crate) node: Option<Node>,
    dead: Arc<AtomicBool>,
    opened_by: Option<OpenedBy>,
}

impl Life {
    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().expect("it has started")
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Ends what is left of it.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// The same, with the life left empty.
    pub(crate) fn end(&mut self) {
        self.node.take().into_iter().for_each(Node::kill);
    }

    /// Submits the swap under a key: said again, it is the same one.
    pub(crate) fn submits(&self, seconds: u64) -> Result<Txid, ApiError> {
        let leg = |ledger: &str, kind: &str, from: &str, to: &str, amount: u128| json!({ "ledger": ledger, "kind": kind, "from": from, "to": to, "amount": amount.to_string() });
        let mut draft = json!({
            "idempotency_key": "swap",
            "deadline": format!("{seconds}s"),
            "legs": [
                leg("chain", "transfer", "alice", "bob", TOKENS),
                leg("coin", "hashlock", "bob", "alice", COINS),
            ],
        });
        if self.opened_by.is_some() {
            draft["legs"][1]["opened_by"] = json!("claimant");
        }
        let draft: Draft = serde_json::from_value(draft).unwrap();
        let node = self.node();
        node.run(Federation::submit(&node.runtime, draft)).map(|shown| shown.id)
    }

    /// Whether it is done.
    pub(crate) fn is_done(&self, txid: Txid) -> bool {
        let phase = self.node.as_ref().and_then(|node| node.phase(txid));
        matches!(phase, Some(Phase::Done(_)))
    }

    /// The kinds of its audit records.
    pub(crate) fn kinds(&self, txid: Txid) -> Vec<String> {
        self.node().told(txid.0).into_iter().map(|(kind, _)| kind).collect()
    }
}

/// The journal's thread dies at this step, after the write and before anybody is told of it.
fn death(at: PauseAt, dead: Arc<AtomicBool>) -> Pause {
    let reached = Box::new(move || {
        dead.store(true, Ordering::SeqCst);
        std::panic::resume_unwind(Box::new("the end of this life"))
    });
    Pause { at, reached }
}

pub(crate) fn profile(id: &str, class: Class, decides: bool) -> Profile {
    Profile {
        id: id.parse().unwrap(),
        classes: vec![class],
        decides,
        finality: Finality::Instant,
        inclusion: Span::from_millis(10),
        finalises: Span::ZERO,
        single_operator: true,
        poll: Span::from_millis(20),
    }
}
