//! The two embedded ledgers on a clock that the test moves.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sofie_ledgers::{
    Clock, Ledger, LedgerError, Status,
    calendar::{Calendar, Config, SigningKey},
    evm::{EmbeddedChain, EvmLedger, Genesis, Keyring, embedded::DEFAULT_BASE_FEE, embedded_profile},
};
use sofie_model::{Evidence, Operation, Timestamp};
use zeroize::Zeroizing;

use crate::tale::{CHAIN_ID, at, calendar, evm};

const BALANCE: u128 = 10_000_000_000_000_000_000;

pub(crate) struct Ledgers {
    pub(crate) evm: EvmLedger,
    pub(crate) calendar: Calendar,
    now: Arc<AtomicU64>,
    _folder: tempfile::TempDir,
}

impl Ledgers {
    pub(crate) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicU64::new(at(0).as_millis()));
        let hand = Arc::clone(&now);
        let clock: Clock = Arc::new(move || Timestamp::from_millis(hand.load(Ordering::SeqCst)));

        let mut keyring = Keyring::default();
        let [_, _, operator] = [1, 2, 4].map(|byte| keyring.insert(&Zeroizing::new([byte; 32])).unwrap());
        let balances = keyring.accounts().map(|account| (account, BALANCE)).collect();
        let genesis = Genesis { chain_id: CHAIN_ID, base_fee: DEFAULT_BASE_FEE, balances };
        let path = folder.path().join("chain.db");
        let chain = EmbeddedChain::open(&path, &genesis, Arc::clone(&clock)).unwrap();
        let evm = EvmLedger::open(Arc::new(chain), embedded_profile(evm()), keyring, operator).await.unwrap();

        let config = Config::new(calendar(), "calendar.test/log".into(), folder.path().join("log"));
        let calendar = Calendar::open(config, SigningKey::from_bytes(&[9; 32]), clock).unwrap();
        Self { evm, calendar, now, _folder: folder }
    }

    pub(crate) fn reach(&self, second: u64) {
        self.now.store(at(second).as_millis(), Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }
}

/// Carries an operation out, as the port's documentation says.
pub(crate) async fn carry_out(ledger: &dyn Ledger, operation: &Operation) -> Result<Evidence, LedgerError> {
    let intent = ledger.intend(operation).await?;
    ledger.submit(&intent).await?;
    loop {
        match ledger.status(operation, Some(&intent)).await? {
            Status::Final(evidence) => return Ok(evidence),
            Status::Refused { reason } | Status::Displaced { reason } => {
                return Err(LedgerError::Refused { ledger: ledger.profile().id.clone(), reason });
            }
            Status::Absent | Status::Pending => tokio::time::sleep(ledger.profile().poll.into()).await,
        }
    }
}
