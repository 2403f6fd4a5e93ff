//! The chain by itself: its blocks, its pool, its file. (The ledger over it: `tests/evm`.)

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Signature, TxKind};
use k256::ecdsa::SigningKey;
use sofie_model::Timestamp;
use sofie_model::proof::evm::trie;

use super::*;

const CHAIN: u64 = 7;
const BALANCE: u128 = 1_000_000_000_000_000_000;
const GWEI: u128 = 1_000_000_000;
const TRANSFER_GAS: u64 = 21_000;
/// Set in the child that is killed: the chain's file.
const CHILD: &str = "SOFIE_TEST_CHAIN";

fn key() -> SigningKey {
    SigningKey::from_slice(&[0x11; 32]).unwrap()
}

fn sender() -> Address {
    contract::address(Account::from(key().verifying_key()))
}

fn genesis() -> Genesis {
    let balances = vec![(Account(sender().into_array()), BALANCE)];
    Genesis { chain_id: CHAIN, base_fee: DEFAULT_BASE_FEE, balances }
}

fn transfer(nonce: u64, change: impl FnOnce(&mut TxEip1559)) -> Bytes {
    let mut transaction = TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: TRANSFER_GAS,
        max_fee_per_gas: 3 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to: TxKind::Call(Address::repeat_byte(0xbb)),
        value: U256::from(5),
        ..TxEip1559::default()
    };
    change(&mut transaction);
    let key = secp256k1::SecretKey::from_byte_array(key().to_bytes().into()).unwrap();
    Signed::sign(transaction, &key)
}

fn plain(nonce: u64) -> Bytes {
    transfer(nonce, |_| {})
}

struct Place {
    folder: tempfile::TempDir,
    seconds: Arc<AtomicU64>,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), seconds: Arc::new(AtomicU64::new(1_000)) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("chain.db")
    }

    fn clock(&self) -> Clock {
        let seconds = Arc::clone(&self.seconds);
        Arc::new(move || Timestamp::from_seconds(seconds.load(Ordering::SeqCst)))
    }

    fn open(&self) -> Result<EmbeddedChain, OpenError> {
        EmbeddedChain::open(&self.path(), &genesis(), self.clock())
    }

    fn chain(&self) -> EmbeddedChain {
        self.open().unwrap()
    }

    fn error(&self) -> String {
        self.open().err().expect("must be refused").to_string()
    }

    fn sql(&self, batch: &str) {
        Connection::open(self.path()).unwrap().execute_batch(batch).unwrap();
    }
}

#[tokio::test]
async fn a_block_has_the_roots_links_and_payments_of_ethereum() {
    let place = Place::new();
    let chain = place.chain();
    for nonce in 0..3 {
        chain.submit(plain(nonce)).await.unwrap();
    }
    let genesis = chain.header(0).await.unwrap().unwrap();
    let first = chain.block(1).await.unwrap().unwrap();
    assert_eq!(first.header.parent_hash, genesis.hash_slow());
    assert_eq!(first.header.transactions_root, trie::root(&first.transactions));
    assert_eq!(first.header.receipts_root, trie::root(&first.receipts));
    assert_eq!(first.header.gas_used, TRANSFER_GAS);
    assert_eq!(first.transactions, [plain(0)]);
    assert_eq!(first.payments, [(sender(), 2 * GWEI * u128::from(TRANSFER_GAS))]);
    assert_ne!(first.header.state_root, genesis.state_root);
    // The base fee is burnt, the rest is the coinbase's, and nothing else is lost.
    let spent = 3 * (2 * GWEI * u128::from(TRANSFER_GAS) + 5);
    assert_eq!(chain.balance(sender()).await.unwrap(), BALANCE - spent);
    assert_eq!(chain.balance(COINBASE).await.unwrap(), 3 * GWEI * u128::from(TRANSFER_GAS));
    assert_eq!(chain.balance(Address::repeat_byte(0xbb)).await.unwrap(), 15);
    assert_eq!(chain.block(4).await.unwrap(), None);
}

#[tokio::test]
async fn time_stands_or_goes_on_and_never_goes_back() {
    let place = Place::new();
    let chain = place.chain();
    let mut times = vec![];
    for (nonce, clock) in [1_000, 1_000, 900, 1_001].into_iter().enumerate() {
        place.seconds.store(clock, Ordering::SeqCst);
        chain.submit(plain(nonce as u64)).await.unwrap();
        times.push(chain.header(nonce as u64 + 1).await.unwrap().unwrap().timestamp);
    }
    assert_eq!(times, [1_000, 1_000, 1_000, 1_001]);
    place.seconds.store(2_000, Ordering::SeqCst);
    assert_eq!(chain.tip().await.unwrap(), Tip { number: 4, time: 2_000, base_fee: DEFAULT_BASE_FEE });
}

/// Submits all at once: each waits for a while, and then is answered all the same.
async fn park(chain: &Arc<EmbeddedChain>, nonces: std::ops::Range<u64>) {
    let mut parked = tokio::task::JoinSet::new();
    for nonce in nonces.rev() {
        let chain = Arc::clone(chain);
        parked.spawn(async move { chain.submit(plain(nonce)).await });
    }
    assert!(parked.join_all().await.into_iter().all(|answer| answer == Ok(())));
}

#[tokio::test]
async fn what_comes_too_early_waits_and_then_shares_a_block() {
    let place = Place::new();
    let chain = Arc::new(place.chain());
    park(&chain, 1..300).await;
    assert_eq!(chain.tip().await.unwrap().number, 0);
    assert_eq!(chain.submit(plain(7)).await, Err(ChainError::Known));
    let other = transfer(7, |transaction| transaction.value = U256::from(6));
    assert!(matches!(chain.submit(other).await, Err(ChainError::Away(_))));
    chain.submit(plain(0)).await.unwrap();
    assert_eq!(chain.tip().await.unwrap().number, 1);
    assert_eq!(chain.block(1).await.unwrap().unwrap().transactions.len(), 300);
    assert_eq!(chain.nonce(sender(), At::Latest).await, Ok(300));
    assert_eq!(chain.nonce(sender(), At::Block(0)).await, Ok(0));
}

#[tokio::test]
async fn who_came_too_early_is_answered_as_the_others_are() {
    let place = Place::new();
    let chain = place.chain();
    // Queued in this order.
    let answers = tokio::join!(chain.submit(plain(1)), chain.submit(plain(0)));
    assert_eq!(answers, (Ok(()), Ok(())));
    let mined = chain.mined(keccak256(plain(1))).await.unwrap();
    assert!(mined.as_ref().is_some_and(|mined| mined.success && mined.block == 1), "{mined:?}");
}

#[tokio::test]
async fn more_than_a_block_holds_goes_on_in_the_next_without_being_asked() {
    let place = Place::new();
    let chain = Arc::new(place.chain());
    let count = MAX_BLOCK_TRANSACTIONS as u64 + 10;
    park(&chain, 1..count).await;
    chain.submit(plain(0)).await.unwrap();
    // One more of the sender: it is answered only after those that waited before it.
    chain.submit(plain(count)).await.unwrap();
    let sizes =
        [1, 2].map(|number| chain.read(|sql| read::block(sql, number)).unwrap().unwrap().transactions.len());
    assert_eq!(sizes[0], MAX_BLOCK_TRANSACTIONS);
    assert!(sizes[1] >= 10, "{sizes:?}");
    assert_eq!(
        chain.mined(keccak256(plain(count - 1))).await.unwrap().map(|mined| mined.success),
        Some(true)
    );
}

#[tokio::test]
async fn a_transaction_that_breaks_a_rule_is_refused_and_costs_nothing() {
    let place = Place::new();
    let chain = place.chain();
    chain.submit(plain(0)).await.unwrap();
    let legacy = TxLegacy { chain_id: Some(CHAIN), ..TxLegacy::default() };
    let legacy = TxEnvelope::from(legacy.into_signed(Signature::test_signature())).encoded_2718();
    let table: [(&str, Bytes, &str); 7] = [
        ("another chain", transfer(1, |t| t.chain_id = 8), "signed for chain 8, this is 7"),
        ("a legacy one", legacy.into(), "only EIP-1559"),
        ("too dear", transfer(1, |t| t.value = U256::MAX >> 1), "lack of funds"),
        ("too little gas", transfer(1, |t| t.gas_limit = 20_999), "gas"),
        ("more gas than a block", transfer(1, |t| t.gas_limit = BLOCK_GAS_LIMIT + 1), "gas"),
        (
            "below the base fee",
            transfer(1, |t| (t.max_fee_per_gas, t.max_priority_fee_per_gas) = (1, 1)),
            "basefee",
        ),
        ("a spent nonce", transfer(0, |t| t.value = U256::ZERO), "nonce is used"),
    ];
    for (name, raw, expected) in table {
        let got = chain.submit(raw).await.expect_err(name).to_string();
        assert!(got.contains(expected), "{name}: {got}");
    }
    assert_eq!(chain.submit(plain(0)).await, Err(ChainError::Known));
    let far = chain.submit(plain(2 + MAX_AHEAD)).await;
    assert!(matches!(far, Err(ChainError::Away(_))), "{far:?}");
    assert_eq!(chain.tip().await.unwrap().number, 1);
    chain.submit(plain(1)).await.unwrap();
}

/// Emits a log whose first indexed argument is the first word that it is sent.
const LOGGER: [u8; 10] = [0x60, 0, 0x35, 0x60, 0, 0x60, 0, 0x60, 0, 0xa2];

fn log_of(nonce: u64, logger: Address, topic: B256) -> Bytes {
    transfer(nonce, |transaction| {
        (transaction.to, transaction.value) = (TxKind::Call(logger), U256::ZERO);
        (transaction.input, transaction.gas_limit) = (topic.into(), 50_000);
    })
}

/// Whoever asks early, late, again or after a restart is told the same, also of more logs than are remembered.
#[tokio::test]
async fn logs_are_those_of_the_file_whenever_they_are_asked_for() {
    let place = Place::new();
    let chain = Arc::new(place.chain());
    // PUSH10 code, PUSH1 0, MSTORE, PUSH1 10, PUSH1 22, RETURN.
    let creation = [&[0x69][..], &LOGGER, &[0x60, 0, 0x52, 0x60, 10, 0x60, 22, 0xf3]].concat();
    let create = transfer(0, |transaction| {
        (transaction.to, transaction.value) = (TxKind::Create, U256::ZERO);
        (transaction.input, transaction.gas_limit) = (creation.into(), 200_000);
    });
    chain.submit(create).await.unwrap();
    let (logger, topic, other) = (sender().create(0), B256::repeat_byte(1), B256::repeat_byte(2));
    let asked = async |chain: &EmbeddedChain, topic| chain.logs(logger, topic, &|_| true).await.unwrap();
    assert_eq!(asked(&chain, topic).await, []);
    for nonce in 1..4 {
        chain.submit(log_of(nonce, logger, topic)).await.unwrap();
        assert_eq!(asked(&chain, topic).await.len() as u64, nonce);
        assert_eq!(asked(&chain, other).await, []);
    }
    let mut many = tokio::task::JoinSet::new();
    for nonce in 4..=MAX_LOGS as u64 + 1 {
        let chain = Arc::clone(&chain);
        many.spawn(async move { chain.submit(log_of(nonce, logger, topic)).await });
    }
    assert!(many.join_all().await.into_iter().all(|answer| answer == Ok(())));
    chain.submit(log_of(MAX_LOGS as u64 + 2, logger, other)).await.unwrap();
    let (logs, others) = (asked(&chain, topic).await, asked(&chain, other).await);
    assert_eq!((logs.len(), others.len()), (MAX_LOGS + 1, 1));
    assert!(logs.is_sorted_by_key(|logged| (logged.block, logged.index)));
    assert_eq!(chain.logs(logger, topic, &|_| false).await.unwrap(), []);
    let chain = Arc::into_inner(chain).expect("nobody else holds it");
    drop(chain);
    let chain = place.chain();
    assert_eq!((asked(&chain, topic).await, asked(&chain, other).await), (logs, others));
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let place = Place::new();
    let chain = place.chain();
    for nonce in 0..300 {
        chain.submit(plain(nonce)).await.unwrap();
    }
    let before = (chain.header(300).await, chain.balance(sender()).await, chain.block(150).await);
    let locked = place.error();
    assert!(locked.contains("is in use"), "{locked}");
    drop(chain);
    let chain = place.chain();
    assert_eq!((chain.header(300).await, chain.balance(sender()).await, chain.block(150).await), before);
    assert_eq!(chain.code(contract::address(contract::DEPLOYER)).await.unwrap()[..], PROXY_CODE);
    chain.submit(plain(300)).await.unwrap();
    let next = chain.header(301).await.unwrap().unwrap();
    assert_eq!(next.parent_hash, before.0.unwrap().unwrap().hash_slow());
}

#[tokio::test]
async fn a_damaged_or_foreign_file_is_named() {
    type Damage = fn(&Place);
    let table: [(&str, Damage, &str); 11] = [
        (
            "a text",
            |p| std::fs::write(p.path(), "not a database, but long enough to be one".repeat(50)).unwrap(),
            "is not a chain file",
        ),
        ("cut short", |p| cut(p, 2), "damaged"),
        (
            "a balance",
            |p| p.sql("UPDATE account SET balance = zeroblob(32) WHERE nonce = 3"),
            "the state is not that of block 3",
        ),
        (
            "a nonce",
            |p| p.sql("UPDATE account SET nonce = 2 WHERE nonce = 3"),
            "the state is not that of block 3",
        ),
        (
            "an account more",
            |p| p.sql("INSERT INTO account VALUES (zeroblob(20), zeroblob(32), 1, zeroblob(32))"),
            "the state is not",
        ),
        (
            "a slot more",
            |p| p.sql("INSERT INTO slot VALUES (zeroblob(20), zeroblob(32), randomblob(32))"),
            "the state is not",
        ),
        ("the code", |p| p.sql("UPDATE code SET code = x'00'"), "code 0x"),
        (
            "a header",
            |p| {
                p.sql(
                    "UPDATE block SET header = (SELECT header FROM block WHERE number = 1) WHERE number = 2",
                )
            },
            "does not follow",
        ),
        (
            "its end",
            |p| p.sql("DELETE FROM block WHERE number = 3; DELETE FROM tx WHERE block = 3"),
            "damaged",
        ),
        ("another program's", |p| p.sql("PRAGMA application_id = 1"), "another program's"),
        ("a later version", |p| p.sql("PRAGMA user_version = 9"), "its version is 9"),
    ];
    for (name, damage, expected) in table {
        let place = Place::new();
        let chain = place.chain();
        for nonce in 0..3 {
            chain.submit(plain(nonce)).await.unwrap();
        }
        drop(chain);
        drop(place.open().expect("it was whole before"));
        damage(&place);
        let got = place.error();
        assert!(got.contains(expected), "{name}: {got}");
        assert!(got.contains("chain.db"), "{name}: {got}");
    }
}

/// Leaves the first pages.
fn cut(place: &Place, pages: u64) {
    place.sql("PRAGMA journal_mode = DELETE");
    std::fs::File::options().write(true).open(place.path()).unwrap().set_len(pages * 4_096).unwrap();
}

#[tokio::test]
async fn a_chain_that_lost_its_end_is_noticed() {
    let place = Place::new();
    let older = place.folder.path().join("older.db");
    let chain = place.chain();
    chain.submit(plain(0)).await.unwrap();
    drop(chain);
    place.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    std::fs::copy(place.path(), &older).unwrap();
    let chain = place.chain();
    chain.submit(plain(1)).await.unwrap();
    drop(chain);
    place.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    std::fs::copy(&older, place.path()).unwrap();
    let got = place.error();
    assert!(got.contains("it ends with block 1, but block 2 was written"), "{got}");
}

#[tokio::test]
async fn another_genesis_is_named() {
    let place = Place::new();
    drop(place.chain());
    let open = |genesis: Genesis| EmbeddedChain::open(&place.path(), &genesis, place.clock());
    for other in [
        Genesis { chain_id: 8, ..genesis() },
        Genesis { base_fee: 1, ..genesis() },
        Genesis { balances: vec![], ..genesis() },
    ] {
        let got = open(other).err().expect("must be refused").to_string();
        assert!(got.contains("the configuration's chain id and balances"), "{got}");
    }
    assert!(open(genesis()).is_ok());
}

/// Not a test: the process that the next one kills.
#[tokio::test]
async fn child_that_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let clock: Clock = Arc::new(|| Timestamp::from_seconds(1_000));
    let chain = EmbeddedChain::open(Path::new(&path), &genesis(), clock).unwrap();
    let first = chain.nonce(sender(), At::Latest).await.unwrap();
    for nonce in first..100_000 {
        chain.submit(plain(nonce)).await.unwrap();
        println!("\nanswered {nonce}");
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_answered() {
    let place = Place::new();
    let mut expected = 0;
    for round in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "evm::embedded::tests::child_that_is_killed", "--nocapture"])
            .env(CHILD, place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut answers = lines.filter_map(|line| line.strip_prefix("answered ")?.parse::<u64>().ok());
        let answered = answers.nth(5 * round).expect("the child answers until it is killed");
        child.kill().unwrap();
        child.wait().unwrap();
        // What was still in the pipe was answered as well.
        let answered = answers.last().unwrap_or(answered);
        assert!(answered >= expected);
        let chain = place.chain();
        expected = chain.nonce(sender(), At::Latest).await.unwrap();
        assert!(expected > answered, "nonce {answered} was answered, the chain counts {expected}");
        assert_eq!(
            chain.mined(keccak256(plain(answered))).await.unwrap().map(|mined| mined.success),
            Some(true)
        );
    }
}
