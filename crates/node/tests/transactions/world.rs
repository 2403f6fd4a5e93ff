//! Two ledgers, one of which decides; a payer and a payee whose secrets the node holds; and nodes that come and go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sofie_ledgers::fake::Fake;
use sofie_ledgers::{Ledger, Profile, Treasury};
use sofie_model::manifest::{DecisionSite, EscrowTerms, Participant};
use sofie_model::{
    Account, Class, Decide, Decision, Digest, Fact, Finality, Leg, Manifest, Operation, Rule, Signature,
    Span, Terms, Timestamp,
};
use sofie_node::auditor::{Auditor, Record};
use sofie_node::clock;
use sofie_node::drive::{Handle, Keeper};
use sofie_node::executor::{Executor, Ledgers};
use sofie_node::journal::{Journal, JournalError, Pause};
use sofie_node::restored::Restored;
use sofie_node::transactions::{Secrets, Transactions};
use sofie_transaction::{Phase, Plan, State};
use tokio::sync::mpsc;

/// A bound on waiting, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const PAYER: Account = Account([1; 20]);
pub(crate) const PAYEE: Account = Account([2; 20]);
pub(crate) const ESCROW: Account = Account([0xe5; 20]);
pub(crate) const AMOUNT: u128 = 5;
pub(crate) const ENDOWED: u128 = 100;
const CHAIN: u64 = 7;

/// The secrets of both participants; `first` is done when one is asked for: after the last look, before COMMIT.
pub(crate) struct Held {
    pub(crate) asked: AtomicU32,
    pub(crate) first: Box<dyn Fn(&State) + Send + Sync>,
    /// What it signs.
    pub(crate) sign: Box<dyn Fn(Account, Digest) -> Option<Signature> + Send + Sync>,
}

impl Default for Held {
    fn default() -> Self {
        Self { asked: AtomicU32::new(0), first: Box::new(|_| {}), sign: Box::new(|_, _| None) }
    }
}

impl Secrets for Held {
    fn preimage(&self, state: &State, who: u16) -> Option<Digest> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            (self.first)(state);
        }
        Some(secret(who))
    }

    fn sign(&self, account: Account, digest: Digest) -> Option<Signature> {
        (self.sign)(account, digest)
    }
}

pub(crate) fn secret(who: u16) -> Digest {
    Digest([u8::try_from(who).unwrap() + 1; 32])
}

/// The ledgers, which outlive every node.
#[derive(Clone)]
pub(crate) struct World {
    /// Verifies, and decides.
    pub(crate) evm: Fake,
    /// Records.
    pub(crate) log: Fake,
}

impl World {
    pub(crate) fn new() -> Self {
        let evm = Fake::new(profile("evm", Class::Verifying, true), CHAIN, clock::clock());
        let log = Fake::new(profile("log", Class::Record, false), 0, clock::clock());
        evm.endow(PAYER, ENDOWED);
        Self { evm, log }
    }

    /// A record ledger that makes blocks, final at the head, and can take them back.
    pub(crate) fn with_blocks() -> Self {
        let profile = Profile { finality: Finality::Depth(0), ..profile("log", Class::Record, false) };
        Self { log: Fake::new(profile, 0, clock::clock()), ..Self::new() }
    }

    /// A node with a journal in `folder`.
    pub(crate) async fn node(&self, folder: &Path, pause: Option<Pause>) -> Node {
        self.node_with(folder, pause, Box::new(|_| {})).await
    }

    pub(crate) async fn node_with(
        &self,
        folder: &Path,
        pause: Option<Pause>,
        first: Box<dyn Fn(&State) + Send + Sync>,
    ) -> Node {
        node_on(&[&self.evm, &self.log], folder, pause, Held { first, ..Held::default() }).await
    }

    /// A node whose configuration has lost the ledger that records.
    pub(crate) async fn node_without_log(&self, folder: &Path) -> Node {
        node_on(&[&self.evm], folder, None, Held::default()).await
    }

    /// What both ledgers hold of the transaction, each fact once (P4).
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        facts_on(&[("evm", &self.evm), ("log", &self.log)])
    }

    /// What the payer and the escrow hold.
    pub(crate) async fn money(&self) -> (u128, u128) {
        (self.evm.balance(PAYER).await.unwrap(), self.evm.balance(ESCROW).await.unwrap())
    }

    /// The whole outcome of a COMMIT on both legs.
    pub(crate) async fn assert_committed(&self) {
        let expected = [
            ("evm", "applied 0"),
            ("evm", "committed 11"),
            ("evm", "prepared 0"),
            ("log", "applied 1"),
            ("log", "prepared 1"),
        ];
        assert_eq!(self.facts(), expected.map(|(ledger, fact)| (ledger, fact.to_owned())));
        assert_eq!(self.money().await, (ENDOWED - AMOUNT, AMOUNT));
    }

    /// Another executor, somewhere else, decides.
    pub(crate) fn decide(&self, manifest: &Manifest, commit: bool) {
        if commit {
            self.commit(manifest, 0b11);
        } else {
            self.bring(manifest, Decide::Abort { by: PAYEE, signatures: Vec::new() });
        }
    }

    /// The same, by a COMMIT of these legs.
    pub(crate) fn commit(&self, manifest: &Manifest, included: u64) {
        let preimages = vec![secret(0), secret(1)];
        self.bring(
            manifest,
            Decide::Commit { included, evidence_root: Digest::ZERO, preimages, guard: None },
        );
    }

    fn bring(&self, manifest: &Manifest, decide: Decide) {
        let operation = Operation::Decide { manifest: Arc::new(manifest.clone()), decide };
        futures::executor::block_on(async {
            let intent = self.evm.intend(&operation).await.unwrap();
            self.evm.submit(&intent).await.unwrap();
        });
    }
}

/// What these hold, in the order of the words; each fact once (P4).
pub(crate) fn facts_on(ledgers: &[(&'static str, &Fake)]) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for (name, ledger) in ledgers {
        let facts: Vec<String> = ledger.facts().iter().map(told).collect();
        let mut unique = facts.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), facts.len(), "a fact stands twice on {name}: {facts:?}");
        all.extend(facts.into_iter().map(|fact| (*name, fact)));
    }
    all.sort();
    all
}

pub(crate) fn told(fact: &Fact) -> String {
    match fact {
        Fact::Prepared(_, leg) => format!("prepared {}", leg.0),
        Fact::Applied(_, leg) => format!("applied {}", leg.0),
        Fact::Reverted(_, leg) => format!("reverted {}", leg.0),
        Fact::Decided(_, Decision::Commit { included, .. }) => format!("committed {included:b}"),
        Fact::Decided(_, Decision::Abort { .. }) => "aborted".into(),
        other => format!("{other:?}"),
    }
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
        poll: Span::from_millis(1),
    }
}

pub(crate) async fn node_on(ledgers: &[&Fake], folder: &Path, pause: Option<Pause>, held: Held) -> Node {
    let journal = open(&folder.join("journal.sqlite"), pause);
    let (fatal, failed) = mpsc::channel(1);
    let keeper = Keeper { auditor: Auditor::open(journal.clone()).unwrap(), fatal };
    let named =
        |ledger: &&Fake| (ledger.profile().id.clone(), Arc::new((*ledger).clone()) as Arc<dyn Ledger>);
    let ledgers: Ledgers = ledgers.iter().map(named).collect();
    let executor = Executor::new(Arc::new(ledgers), journal.clone()).adopt().unwrap();
    let secrets = Arc::new(held);
    let restored = Restored::read(&journal.reader().unwrap()).unwrap();
    let transactions = Transactions::new(executor, keeper, secrets.clone()).after(restored);
    Node { transactions, journal, failed, secrets }
}

/// A node in this process.
pub(crate) struct Node {
    pub(crate) transactions: Transactions,
    pub(crate) journal: Journal,
    pub(crate) failed: mpsc::Receiver<JournalError>,
    pub(crate) secrets: Arc<Held>,
}

impl Node {
    pub(crate) async fn begin(&self, plan: Plan) -> Result<Handle<State>, JournalError> {
        self.transactions.begin(plan, Vec::new(), Vec::new()).await
    }

    /// Runs a transaction to its end.
    pub(crate) async fn run(&self, plan: Plan) -> Arc<State> {
        ended(self.begin(plan).await.unwrap()).await
    }

    /// The kinds of the audit records, in order.
    pub(crate) fn audit(&self) -> Vec<String> {
        self.records().into_iter().map(|record| record.kind).collect()
    }

    /// The words of the audit records of a kind.
    pub(crate) fn told(&self, kind: &str) -> Vec<String> {
        let of_kind = self.records().into_iter().filter(|record| record.kind == kind);
        of_kind.map(|record| record.detail).collect()
    }

    fn records(&self) -> Vec<Record> {
        let records = self.journal.reader().unwrap().audit().unwrap();
        let decode = |bytes: &Vec<u8>| sofie_node::auditor::decode(self.journal.path(), bytes).unwrap();
        let records: Vec<_> = records.iter().map(decode).collect();
        sofie_audit::chain::verify(&records).expect("the chain holds");
        records
    }
}

/// Waits for the end; a halt is one that no test wants.
pub(crate) async fn ended(mut handle: Handle<State>) -> Arc<State> {
    let over = |state: &State| matches!(state.phase(), Phase::Done(_) | Phase::Halted { .. });
    tokio::time::timeout(PATIENCE, handle.until(over)).await.expect("it ends").expect("its node lives")
}

pub(crate) fn committed(state: &State) -> bool {
    matches!(state.phase(), Phase::Done(Decision::Commit { included: 0b11, .. }))
}

pub(crate) fn aborted(state: &State) -> bool {
    matches!(state.phase(), Phase::Done(Decision::Abort { .. }))
}

/// The journal's thread lets go a moment after its last handle.
pub(crate) fn open(path: &Path, pause: Option<Pause>) -> Journal {
    let start = Instant::now();
    // Waits without the pause, which can be given only once.
    loop {
        match Journal::open(path, None) {
            Ok(free) if pause.is_none() => return free,
            Ok(free) => {
                drop(free);
                break;
            }
            Err(JournalError::Held { .. }) if start.elapsed() < PATIENCE => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    let lock = PathBuf::from(path).with_extension("lock");
    // SQLite takes its log away when the last connection is closed, which is after the lock.
    let log = PathBuf::from(path).with_extension("sqlite-wal");
    let is_held = || std::fs::File::open(&lock).unwrap().try_lock().is_err() || log.exists();
    while is_held() && start.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    Journal::open(path, pause).unwrap()
}

pub(crate) fn leg(ledger: &str, class: Class, terms: Terms) -> Leg {
    Leg {
        ledger: ledger.parse().unwrap(),
        class,
        finality: Finality::Instant,
        required: true,
        terms,
        fee_limit: 0,
    }
}

/// An escrow on the one and a record on the other, to be decided within `seconds`.
pub(crate) fn plan(seconds: u64) -> Plan {
    let now = clock::now();
    let deadline = Timestamp::from_seconds(now.as_seconds() + seconds);
    let escrow = EscrowTerms {
        contract: ESCROW,
        payer: PAYER,
        payee: PAYEE,
        amount: AMOUNT,
        evidence_key: Account([3; 20]),
        evidence_deadline: deadline + Span::from_seconds(60),
        submission_window: Span::from_seconds(10),
        dispute: None,
    };
    let participant =
        |account, who| Participant { account, hashlock: Digest::sha256(secret(who).as_bytes()) };
    let manifest = Manifest {
        version: 1,
        legs: vec![
            leg("evm", Class::Verifying, Terms::Escrow(escrow)),
            leg("log", Class::Record, Terms::Record(Digest([6; 32]))),
        ],
        rule: Rule::All,
        decision: DecisionSite {
            ledger: "evm".parse().unwrap(),
            chain_id: CHAIN,
            contract: Account([0xdd; 20]),
            finality: Finality::Instant,
            fee_limit: 0,
        },
        deadline,
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: vec![participant(PAYER, 0), participant(PAYEE, 1)],
        nonce: Digest([7; 32]),
    };
    manifest.check(now).unwrap();
    Plan { manifest, acts_for: vec![0, 1], decision_time: Span::from_millis(100), pivot: None }
}
