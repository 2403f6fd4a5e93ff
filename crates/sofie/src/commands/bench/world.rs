//! What is measured: the embedded ledgers and the node's own journal, auditor and executor, in a folder of their own
//! that is gone afterwards. Keys are fixed: nothing here is worth stealing.

use std::path::Path;
use std::sync::Arc;

use sofie_ledgers::calendar::{self, Calendar, SigningKey};
use sofie_ledgers::evm::chain::Chain;
use sofie_ledgers::evm::{EmbeddedChain, EvmLedger, Genesis, Keyring, embedded, embedded_profile};
use sofie_ledgers::{Ledger, Status};
use sofie_model::manifest::{DecisionSite, EscrowTerms, Participant};
use sofie_model::{
    Account, Class, Decide, Digest, Fact, LedgerId, Leg, Manifest, Operation, Rule, Span, Step, Terms,
    Timestamp,
};
use sofie_node::auditor::Auditor;
use sofie_node::clock;
use sofie_node::drive::Keeper;
use sofie_node::executor::{Executor, Ledgers};
use sofie_node::journal::{Journal, JournalError};
use sofie_node::transactions::{Secrets, Transactions};
use sofie_transaction::State;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::failure::Failure;

const CHAIN_ID: u64 = 424_242;
/// What every account begins with, in wei: enough for a million transactions.
const BALANCE: u128 = 1_000_000_000_000_000_000_000_000;
/// What a transaction locks, in wei.
const AMOUNT: u128 = 1_000;
/// From the manifest to T_D: no transaction of a run may wait so long.
const DECISION_WITHIN: Span = Span::from_seconds(3_600);
/// From T_D to T_E, and the submission window after it: nobody settles here.
const EVIDENCE_WITHIN: Span = Span::from_seconds(3_600);
/// Far above what one transaction costs here.
const FEE_LIMIT: u128 = 1_000_000_000_000_000_000;

const TRIED: &str = "open the ledgers to measure";

/// The ledgers, and the node's parts over them. Clones share it.
#[derive(Clone)]
pub(super) struct World {
    pub(super) evm: Arc<EvmLedger>,
    pub(super) chain: Arc<dyn Chain>,
    ledgers: Arc<Ledgers>,
    /// The ledgers of the records, in the order of their legs.
    calendars: Arc<Vec<LedgerId>>,
    pub(super) transactions: Transactions,
    parties: Arc<Parties>,
    nonces: Arc<std::sync::atomic::AtomicU64>,
    /// The journal's failure ends a node; here the transaction that waits for it says so.
    _failed: Arc<mpsc::Receiver<JournalError>>,
    _folder: Option<Arc<tempfile::TempDir>>,
}

/// Who takes part, and their keys.
pub(super) struct Parties {
    pub(super) keyring: Keyring,
    pub(super) operator: Account,
    /// Who sends what anyone may send, beside the operator.
    pub(super) lanes: Vec<Account>,
    payers: Vec<Account>,
    payee: Account,
    evidence_key: Account,
}

impl Parties {
    pub(super) fn new(payers: u64) -> Result<Self, Failure> {
        Self::with_lanes(payers, 1)
    }

    /// So many accounts that pay, and that send what anyone may send.
    pub(super) fn with_lanes(payers: u64, lanes: u64) -> Result<Self, Failure> {
        let mut keyring = Keyring::default();
        let mut account = |name: String| {
            let secret = Zeroizing::new(Digest::of("sofie.bench.key", &[name.as_bytes()]).0);
            keyring.insert(&secret).map_err(wrong)
        };
        let operator = account("operator".into())?;
        let (payee, evidence_key) = (account("payee".into())?, account("sensor".into())?);
        let payers = (0..payers).map(|who| account(format!("payer {who}"))).collect::<Result<_, _>>()?;
        let lanes = (1..lanes).map(|lane| account(format!("lane {lane}"))).collect::<Result<_, _>>()?;
        Ok(Self { keyring, operator, lanes, payers, payee, evidence_key })
    }

    /// Who pays for something, fees or a price, and what it begins with, in wei.
    pub(super) fn balances(&self) -> Vec<(Account, u128)> {
        self.payers.iter().chain(&self.lanes).chain([&self.operator]).map(|who| (*who, BALANCE)).collect()
    }
}

/// Each participant's secret follows from its account and the manifest's nonce.
#[derive(Debug)]
struct Fixed;

impl Fixed {
    fn secret(account: Account, nonce: Digest) -> Digest {
        Digest::of("sofie.bench.secret", &[&account.0, nonce.as_bytes()])
    }
}

impl Secrets for Fixed {
    fn preimage(&self, state: &State, who: u16) -> Option<Digest> {
        let manifest = state.manifest();
        let participant = manifest.participants.get(usize::from(who))?;
        Some(Self::secret(participant.account, manifest.nonce))
    }
}

fn wrong(why: impl Into<Box<dyn std::error::Error>>) -> Failure {
    Failure::refused(TRIED, why, "look at the folder for temporary files (TMPDIR) and its disk")
}

impl World {
    /// Opens new ledgers and a new journal, with so many accounts that pay, for so many legs.
    pub(super) async fn open(payers: u64, legs: u64) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(wrong)?;
        let world = Self::open_in(folder.path(), payers, legs, || ()).await?;
        Ok(Self { _folder: Some(Arc::new(folder)), ..world })
    }

    /// Opens the embedded ledgers and the journal in `folder`, or makes them; `opened` is called once the ledgers are open.
    /// What the journal holds unfinished is not continued.
    pub(super) async fn open_in(
        folder: &Path,
        payers: u64,
        legs: u64,
        opened: impl FnOnce(),
    ) -> Result<Self, Failure> {
        let parties = Parties::new(payers)?;
        let evm = open_evm(folder, &parties).await?;
        Self::over(evm, folder, parties, legs, opened).await
    }

    /// As [`World::open_in`], over this chain.
    pub(super) async fn over(
        (evm, chain): (EvmLedger, Arc<dyn Chain>),
        folder: &Path,
        parties: Parties,
        legs: u64,
        opened: impl FnOnce(),
    ) -> Result<Self, Failure> {
        let evm = Arc::new(evm);
        let mut ledgers = Ledgers::new();
        ledgers.insert(evm.profile().id.clone(), evm.clone());
        let mut calendars = Vec::new();
        for number in 1..legs {
            let calendar = open_calendar(folder, number)?;
            calendars.push(calendar.profile().id.clone());
            ledgers.insert(calendar.profile().id.clone(), Arc::new(calendar));
        }
        let ledgers = Arc::new(ledgers);
        opened();
        let journal = Journal::open(&folder.join("journal.sqlite"), None).map_err(wrong)?;
        let (fatal, failed) = mpsc::channel(1);
        let keeper = Keeper { auditor: Auditor::open(journal.clone()).map_err(wrong)?, fatal };
        let executor = Executor::new(ledgers.clone(), journal).adopt().map_err(wrong)?;
        let transactions = Transactions::new(executor, keeper, Arc::new(Fixed));
        Ok(Self {
            evm,
            chain,
            ledgers,
            calendars: Arc::new(calendars),
            transactions,
            parties: Arc::new(parties),
            nonces: Arc::default(),
            _failed: Arc::new(failed),
            _folder: None,
        })
    }

    /// Who sends what anyone may send.
    pub(super) fn operator(&self) -> Account {
        self.parties.operator
    }

    /// The next manifest has this number.
    pub(super) fn number_from(&self, number: u64) {
        self.nonces.store(number, std::sync::atomic::Ordering::Relaxed);
    }

    /// The ledger of this name.
    pub(super) fn ledger(&self, id: &LedgerId) -> Arc<dyn Ledger> {
        self.ledgers[id].clone()
    }

    /// The longest time that D needs.
    pub(super) fn decision_time(&self) -> Span {
        let profile = self.evm.profile();
        profile.inclusion + profile.finalises
    }

    /// So many new transactions, checked.
    pub(super) fn manifests(&self, count: u64) -> Result<Vec<Arc<Manifest>>, Failure> {
        let now = clock::now();
        let manifest = |_| {
            let manifest = self.manifest(Timestamp::from_seconds(now.as_seconds() + 1));
            manifest.check(now).map_err(|fault| wrong(format!("{}: {}", fault.path, fault.why)))?;
            Ok(Arc::new(manifest))
        };
        (0..count).map(manifest).collect()
    }

    fn manifest(&self, from: Timestamp) -> Manifest {
        let number = self.nonces.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let nonce = Digest::of("sofie.bench.nonce", &[&number.to_be_bytes()]);
        let Parties { payers, payee, evidence_key, .. } = &*self.parties;
        let payer = payers[usize::try_from(number).unwrap_or_default() % payers.len()];
        let deadline = from + DECISION_WITHIN;
        let escrow = EscrowTerms {
            contract: self.evm.escrow_address(),
            payer,
            payee: *payee,
            amount: AMOUNT,
            evidence_key: *evidence_key,
            evidence_deadline: deadline + EVIDENCE_WITHIN,
            submission_window: EVIDENCE_WITHIN,
            dispute: None,
        };
        let leg = |ledger: &dyn Ledger, class, terms| {
            let profile = ledger.profile();
            Leg {
                ledger: profile.id.clone(),
                class,
                finality: profile.finality,
                required: true,
                terms,
                fee_limit: FEE_LIMIT,
            }
        };
        let record = |id| leg(self.ledger(id).as_ref(), Class::Record, Terms::Record(nonce));
        let participant = |account| Participant {
            account,
            hashlock: Digest::sha256(Fixed::secret(account, nonce).as_bytes()),
        };
        Manifest {
            version: 1,
            legs: [leg(self.evm.as_ref(), Class::Verifying, Terms::Escrow(escrow))]
                .into_iter()
                .chain(self.calendars.iter().map(record))
                .collect(),
            rule: Rule::All,
            decision: DecisionSite {
                ledger: self.evm.profile().id.clone(),
                chain_id: self.evm.chain_id(),
                contract: self.evm.decision_address(),
                finality: self.evm.profile().finality,
                fee_limit: FEE_LIMIT,
            },
            deadline,
            grace: Span::ZERO,
            guard: Account::ZERO,
            participants: [payer, *payee].map(participant).to_vec(),
            nonce,
        }
    }

    /// COMMIT of all legs.
    pub(super) fn commit(&self, manifest: &Arc<Manifest>, evidence_root: Digest) -> Operation {
        let secret = |one: &Participant| Fixed::secret(one.account, manifest.nonce);
        let preimages = manifest.participants.iter().map(secret).collect();
        let included = (1 << manifest.legs.len()) - 1;
        let decide = Decide::Commit { included, evidence_root, preimages, guard: None };
        Operation::Decide { manifest: manifest.clone(), decide }
    }

    /// Asks the ledgers themselves: each transaction is committed, and prepared and applied on the legs that `concern`.
    pub(super) async fn verify(
        &self,
        manifests: &[Arc<Manifest>],
        concern: impl Fn(&Leg) -> bool,
    ) -> Result<(), Failure> {
        for manifest in manifests {
            let txid = manifest.txid();
            for (id, leg) in manifest.legs().filter(|(_, leg)| concern(leg)) {
                for (step, fact) in
                    [(Step::Prepare, Fact::Prepared(txid, id)), (Step::Apply, Fact::Applied(txid, id))]
                {
                    let operation = Operation::Leg { manifest: manifest.clone(), leg: id, step };
                    self.stands(self.ledger(&leg.ledger).as_ref(), &operation, |found| *found == fact)
                        .await?;
                }
            }
            let decision = self.commit(manifest, Digest::ZERO);
            let is_commit = |fact: &Fact| {
                let Fact::Decided(of, decision) = fact else { return false };
                *of == txid && manifest.legs().all(|(id, _)| decision.includes(id))
            };
            self.stands(self.evm.as_ref(), &decision, is_commit).await?;
        }
        Ok(())
    }

    async fn stands(
        &self,
        ledger: &dyn Ledger,
        operation: &Operation,
        expected: impl Fn(&Fact) -> bool,
    ) -> Result<(), Failure> {
        let wrong = |why| Failure::refused("verify what was measured", why, "");
        match ledger.status(operation, None).await {
            Ok(Status::Final(evidence)) if expected(&evidence.fact) => Ok(()),
            Ok(other) => Err(wrong(format!(
                "{} of {:?} on {}: {other:?}",
                operation.verb(),
                operation.txid(),
                ledger.profile().id
            ))),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// The money of so many transactions is locked, to the unit.
    pub(super) async fn check_balance(&self, count: usize) -> Result<(), Failure> {
        let wrong = |why: String| Failure::refused("verify the escrowed sum", why, "");
        let Some(treasury) = self.evm.treasury() else { return Err(wrong("no treasury".into())) };
        let locked = treasury.balance(self.evm.escrow_address()).await.map_err(|e| wrong(e.to_string()))?;
        let expected = AMOUNT * count as u128;
        if locked == expected {
            return Ok(());
        }
        Err(wrong(format!("the escrow holds {locked} wei, {expected} are expected")))
    }
}

async fn open_evm(folder: &Path, parties: &Parties) -> Result<(EvmLedger, Arc<dyn Chain>), Failure> {
    let genesis =
        Genesis { chain_id: CHAIN_ID, base_fee: embedded::DEFAULT_BASE_FEE, balances: parties.balances() };
    let chain = EmbeddedChain::open(&folder.join("evm.sqlite"), &genesis, clock::clock()).map_err(wrong)?;
    let profile = embedded_profile("evm".parse().map_err(|_| wrong("evm is no ledger's name"))?);
    let chain: Arc<dyn Chain> = Arc::new(chain);
    let ledger =
        EvmLedger::open(Arc::clone(&chain), profile, parties.keyring.clone(), parties.operator).await;
    Ok((ledger.map_err(wrong)?, chain))
}

/// Each calendar has a log and a key of its own.
fn open_calendar(folder: &Path, number: u64) -> Result<Calendar, Failure> {
    let name = format!("calendar-{number}");
    let id = name.parse().map_err(|_| wrong("this is no ledger's name"))?;
    let file = folder.join(format!("{name}.log"));
    let settings = calendar::Config::new(id, format!("bench.example/{name}"), file);
    let key = SigningKey::from_bytes(&Digest::of("sofie.bench.key", &[name.as_bytes()]).0);
    tokio::task::block_in_place(|| Calendar::open(settings, key, clock::clock())).map_err(wrong)
}
