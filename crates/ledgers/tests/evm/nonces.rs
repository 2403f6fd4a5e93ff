//! One operation's fate never holds up another's: nonces are given out, given back and filled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use alloy_consensus::{Header, SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_sol_types::SolCall;
use async_trait::async_trait;
use sofie_ledgers::evm::chain::{At, Block, Call, Chain, ChainError, Logged, Mined, Tip, Wanted};
use sofie_ledgers::evm::{EmbeddedChain, EvmLedger, Keyring, OpenLedgerError, embedded_profile};
use sofie_ledgers::{Intent, Ledger, LedgerError, Status};
use sofie_model::contract::{self, Escrow};
use sofie_model::manifest::EscrowTerms;
use sofie_model::{Account, Fact, Finality, LegId, Operation, Terms};

use crate::embedded::{Hand, genesis};
use crate::parties::{Parties, secret};
use crate::scenario::{Scenario, carry_out};

/// The embedded chain, and a node in front of it that does with the next transactions what it is told to.
pub(crate) struct Moody {
    chain: EmbeddedChain,
    pub(crate) refuses: AtomicBool,
    pub(crate) is_away: AtomicBool,
    pub(crate) drops_answer: AtomicBool,
    /// It counts nonces, and shows neither logs nor receipts yet.
    pub(crate) is_behind: AtomicBool,
    /// Every transaction that was brought, whatever became of it.
    pub(crate) brought: Mutex<Vec<Bytes>>,
}

impl Moody {
    pub(crate) fn new(chain: EmbeddedChain) -> Self {
        let (refuses, is_away, drops_answer, is_behind) = Default::default();
        Self { chain, refuses, is_away, drops_answer, is_behind, brought: Mutex::default() }
    }
}

#[async_trait]
impl Chain for Moody {
    fn chain_id(&self) -> u64 {
        self.chain.chain_id()
    }

    async fn tip(&self) -> Result<Tip, ChainError> {
        self.chain.tip().await
    }

    async fn finalized(&self) -> Result<u64, ChainError> {
        self.chain.finalized().await
    }

    async fn safe(&self) -> Result<u64, ChainError> {
        self.chain.safe().await
    }

    async fn header(&self, number: u64) -> Result<Option<Header>, ChainError> {
        self.chain.header(number).await
    }

    async fn block(&self, number: u64) -> Result<Option<Block>, ChainError> {
        self.chain.block(number).await
    }

    async fn submit(&self, transaction: Bytes) -> Result<(), ChainError> {
        self.brought.lock().unwrap().push(transaction.clone());
        if self.refuses.swap(false, Ordering::SeqCst) {
            return Err(ChainError::Refused("no".into()));
        }
        if self.is_away.load(Ordering::SeqCst) {
            return Err(ChainError::Away("gone fishing".into()));
        }
        let answer = self.chain.submit(transaction).await;
        match self.drops_answer.swap(false, Ordering::SeqCst) {
            true => Err(ChainError::Away("the line went dead".into())),
            false => answer,
        }
    }

    async fn nonce(&self, account: Address, at: At) -> Result<u64, ChainError> {
        self.chain.nonce(account, at).await
    }

    async fn balance(&self, account: Address) -> Result<u128, ChainError> {
        self.chain.balance(account).await
    }

    async fn code(&self, account: Address) -> Result<Bytes, ChainError> {
        self.chain.code(account).await
    }

    async fn call(&self, call: &Call) -> Result<Bytes, ChainError> {
        self.chain.call(call).await
    }

    async fn mined(&self, transaction: B256) -> Result<Option<Mined>, ChainError> {
        match self.is_behind.load(Ordering::SeqCst) {
            true => Ok(None),
            false => self.chain.mined(transaction).await,
        }
    }

    async fn logs(
        &self,
        contract: Address,
        topic: B256,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Logged>, ChainError> {
        match self.is_behind.load(Ordering::SeqCst) {
            true => Ok(Vec::new()),
            false => self.chain.logs(contract, topic, wanted).await,
        }
    }
}

struct Setting {
    _folder: tempfile::TempDir,
    chain: Arc<Moody>,
    parties: Parties,
}

impl Setting {
    fn new() -> Self {
        let (folder, parties, hand) = (tempfile::tempdir().unwrap(), Parties::new(), Hand::new());
        let chain = EmbeddedChain::open(&folder.path().join("chain.db"), &genesis(&parties), hand.clock());
        Self { _folder: folder, chain: Arc::new(Moody::new(chain.unwrap())), parties }
    }

    /// A new process on the same chain: nothing is remembered.
    async fn ledger(&self) -> EvmLedger {
        let (keyring, operator) = (self.parties.keyring.clone(), self.parties.operator);
        let chain = Arc::clone(&self.chain) as Arc<dyn Chain>;
        EvmLedger::open(chain, embedded_profile("evm".parse().unwrap()), keyring, operator).await.unwrap()
    }

    async fn prepare(&self, ledger: &EvmLedger, nonce: u64) -> Operation {
        Scenario::new(ledger, &self.parties, nonce).await.prepare()
    }
}

async fn is_final(ledger: &EvmLedger, operation: &Operation, intent: &Intent) -> bool {
    matches!(ledger.status(operation, Some(intent)).await.unwrap(), Status::Final(_))
}

#[tokio::test]
async fn a_refused_transaction_holds_up_no_later_one() {
    let setting = Setting::new();
    let ledger = setting.ledger().await;
    let (first, second) = (setting.prepare(&ledger, 1).await, setting.prepare(&ledger, 2).await);
    let (one, two) = (ledger.intend(&first).await.unwrap(), ledger.intend(&second).await.unwrap());
    ledger.submit(&two).await.unwrap();
    assert_eq!(ledger.status(&second, Some(&two)).await, Ok(Status::Absent));
    setting.chain.refuses.store(true, Ordering::SeqCst);
    assert!(matches!(ledger.submit(&one).await, Err(LedgerError::Refused { .. })));
    assert!(is_final(&ledger, &second, &two).await, "the later one ran as soon as the hole was filled");
    let fate = ledger.status(&first, Some(&one)).await.unwrap();
    assert!(matches!(&fate, Status::Displaced { reason } if reason.contains("took nonce")), "{fate:?}");
    // And the operation itself can still be done.
    carry_out(&ledger, &first, || async {}).await;
}

#[tokio::test]
async fn a_refused_transactions_nonce_is_used_by_the_next() {
    let setting = Setting::new();
    let ledger = setting.ledger().await;
    let (first, second) = (setting.prepare(&ledger, 1).await, setting.prepare(&ledger, 2).await);
    let one = ledger.intend(&first).await.unwrap();
    setting.chain.refuses.store(true, Ordering::SeqCst);
    assert!(matches!(ledger.submit(&one).await, Err(LedgerError::Refused { .. })));
    let two = ledger.intend(&second).await.unwrap();
    ledger.submit(&two).await.unwrap();
    assert!(is_final(&ledger, &second, &two).await);
}

#[tokio::test]
async fn a_node_that_is_away_decides_nothing() {
    let setting = Setting::new();
    let ledger = setting.ledger().await;
    let prepare = setting.prepare(&ledger, 1).await;
    let intent = ledger.intend(&prepare).await.unwrap();
    setting.chain.is_away.store(true, Ordering::SeqCst);
    assert!(matches!(ledger.submit(&intent).await, Err(LedgerError::Transient { .. })));
    setting.chain.is_away.store(false, Ordering::SeqCst);
    ledger.submit(&intent).await.unwrap();
    assert!(is_final(&ledger, &prepare, &intent).await);
}

/// Some nodes count a transaction before they show its receipt: nobody else has taken its nonce.
#[tokio::test]
async fn a_receipt_that_comes_late_is_waited_for() {
    let setting = Setting::new();
    let ledger = setting.ledger().await;
    let prepare = setting.prepare(&ledger, 1).await;
    let intent = ledger.intend(&prepare).await.unwrap();
    ledger.submit(&intent).await.unwrap();
    setting.chain.is_behind.store(true, Ordering::SeqCst);
    for answer in [ledger.status(&prepare, Some(&intent)).await.map(drop), ledger.submit(&intent).await] {
        let error = answer.unwrap_err();
        let told = error.to_string().contains("does not show yet what took it");
        assert!(told && matches!(error, LedgerError::Transient { .. }), "{error}");
    }
    setting.chain.is_behind.store(false, Ordering::SeqCst);
    assert!(is_final(&ledger, &prepare, &intent).await);
}

#[tokio::test]
async fn an_intent_that_was_lost_before_it_was_persisted_leaves_no_gap() {
    let setting = Setting::new();
    let ledger = setting.ledger().await;
    let lost = ledger.intend(&setting.prepare(&ledger, 1).await).await.unwrap();
    let kept_operation = setting.prepare(&ledger, 2).await;
    let kept = ledger.intend(&kept_operation).await.unwrap();
    drop((ledger, lost));
    let ledger = setting.ledger().await;
    ledger.adopt(&kept).await.unwrap();
    ledger.submit(&kept).await.unwrap();
    assert_eq!(ledger.status(&kept_operation, Some(&kept)).await, Ok(Status::Absent));
    // The next intent takes the nonce that was lost, and both run.
    let next_operation = setting.prepare(&ledger, 3).await;
    let next = ledger.intend(&next_operation).await.unwrap();
    ledger.submit(&next).await.unwrap();
    assert!(is_final(&ledger, &next_operation, &next).await);
    assert!(is_final(&ledger, &kept_operation, &kept).await);
}

#[tokio::test]
async fn a_refusal_of_the_contract_tells_why_and_burns_nothing() {
    let setting = Setting::new();
    let ledger = setting.ledger().await;
    let scenario = Scenario::new(&ledger, &setting.parties, 1).await;
    let head = ledger.head().await.unwrap();
    let refused = ledger.intend(&scenario.apply()).await.unwrap_err().to_string();
    assert!(refused.contains("Undecided") || refused.contains("WrongState"), "{refused}");
    carry_out(&ledger, &scenario.prepare(), || async {}).await;
    carry_out(&ledger, &scenario.commit(), || async {}).await;
    carry_out(&ledger, &scenario.apply(), || async {}).await;
    assert_eq!(ledger.head().await.unwrap().height, head.height + 3);
}

/// Anyone may lock something of his own under a txid that he has seen: it is nobody's prepare.
#[tokio::test]
async fn a_strangers_lock_under_our_txid_is_not_ours() {
    let setting = Setting::new();
    let ledger = setting.ledger().await;
    let scenario = Scenario::new(&ledger, &setting.parties, 1).await;
    let txid = scenario.manifest.txid();
    let Terms::Escrow(terms) = &scenario.manifest.legs[0].terms else { panic!("leg 0 is an escrow") };
    let key = k256::ecdsa::SigningKey::from_slice(secret(0x22).as_slice()).unwrap();
    for nonce in 0..3 {
        let foreign =
            EscrowTerms { payer: setting.parties.payee, payee: Account([nonce + 1; 20]), ..terms.clone() };
        let lock = contract::lock(txid, LegId(0), &foreign);
        let transaction = TxEip1559 {
            chain_id: ledger.chain_id(),
            nonce: nonce.into(),
            gas_limit: 200_000,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 0,
            to: TxKind::Call(contract::address(terms.contract)),
            value: U256::from(terms.amount),
            input: Escrow::prepareCall { lock }.abi_encode().into(),
            ..Default::default()
        };
        let digest = transaction.signature_hash();
        let signature = key.sign_prehash_recoverable(digest.as_slice()).unwrap();
        let signed = TxEnvelope::from(transaction.into_signed(signature.into())).encoded_2718();
        setting.chain.submit(signed.clone().into()).await.unwrap();
        let mined = setting.chain.mined(keccak256(&signed)).await.unwrap();
        assert_eq!(mined.map(|mined| mined.success), Some(true), "the contract takes it, as somebody's lock");
    }
    let prepare = scenario.prepare();
    assert_eq!(ledger.status(&prepare, None).await, Ok(Status::Absent));
    let ours = carry_out(&ledger, &prepare, || async {}).await;
    assert!(ledger.prove(&scenario.manifest, &[ours]).await.is_ok());
}

/// Two nodes that know nothing of each other: one fact, and the slower one's transaction is said to have failed only if
/// nobody did the work.
#[tokio::test]
async fn what_another_executor_did_counts() {
    let setting = Setting::new();
    let (ours, theirs) = (setting.ledger().await, setting.ledger().await);
    let scenario = Scenario::new(&ours, &setting.parties, 1).await;
    let prepared = carry_out(&theirs, &scenario.prepare(), || async {}).await;
    assert_eq!(prepared.fact, Fact::Prepared(scenario.manifest.txid(), LegId(0)));
    assert_eq!(ours.status(&scenario.prepare(), None).await, Ok(Status::Final(prepared)));
    // Both fix a COMMIT with the operator's same nonce; only one can be mined.
    let commit = scenario.commit();
    let (our, their) = (ours.intend(&commit).await.unwrap(), theirs.intend(&commit).await.unwrap());
    assert_eq!(our, their, "the same operation by the same key is the same transaction");
    ours.submit(&our).await.unwrap();
    theirs.submit(&their).await.unwrap();
    let (one, two) = (ours.status(&commit, Some(&our)).await, theirs.status(&commit, Some(&their)).await);
    assert_eq!(one, two);
}

#[tokio::test]
async fn what_this_ledger_cannot_carry_is_unsupported_in_words() {
    let setting = Setting::new();
    let ledger = setting.ledger().await;
    let scenario = Scenario::new(&ledger, &setting.parties, 1).await;
    let mut elsewhere = (*scenario.manifest).clone();
    elsewhere.decision.contract = Account([9; 20]);
    let mut other_chain = (*scenario.manifest).clone();
    other_chain.decision.chain_id += 1;
    let leg = |manifest: sofie_model::Manifest, leg| {
        let step = sofie_model::Step::Prepare;
        Operation::Leg { manifest: Arc::new(manifest), leg: LegId(leg), step }
    };
    let note = Operation::Note { topic: Default::default(), commitment: Default::default() };
    let table = [
        (leg(elsewhere, 0), "0x0909"),
        (leg(other_chain, 0), "chain 424243"),
        (leg((*scenario.manifest).clone(), 1), "there is no leg 1"),
        (note, "takes no notes"),
    ];
    for (operation, expected) in table {
        for error in
            [ledger.intend(&operation).await.unwrap_err(), ledger.status(&operation, None).await.unwrap_err()]
        {
            let text = error.to_string();
            assert!(matches!(error, LedgerError::Unsupported { .. }) && text.contains(expected), "{text}");
        }
    }
}

#[tokio::test]
async fn an_operator_without_a_key_or_money_is_named() {
    let setting = Setting::new();
    let open = |keyring: Keyring, operator| {
        let chain = Arc::clone(&setting.chain) as Arc<dyn Chain>;
        EvmLedger::open(chain, embedded_profile("evm".parse().unwrap()), keyring, operator)
    };
    let error = open(Keyring::default(), setting.parties.operator).await.err().unwrap();
    assert!(matches!(error, OpenLedgerError::NoOperatorKey { .. }), "{error}");
    let mut keyring = Keyring::default();
    let poor = keyring.insert(&secret(0x55)).unwrap();
    let error = open(keyring, poor).await.err().unwrap();
    assert!(matches!(error, OpenLedgerError::NotDeployed { .. }), "{error}");
    assert!(error.to_string().contains("Decision") && error.to_string().contains("fund"), "{error}");
}

#[test]
fn a_profile_says_when_its_facts_are_final() {
    let embedded = embedded_profile("evm".parse().unwrap());
    assert!(embedded.single_operator && embedded.decides && embedded.finality == Finality::Instant);
}
