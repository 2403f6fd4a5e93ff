//! A ledger behind something that fails for now, with an executor's patience.

use async_trait::async_trait;
use sofie_model::{Account, Evidence, LegId, Manifest, Operation, Proof};

use crate::{
    Coins, Hashlocks, Head, Intent, Ledger, LedgerError, Presigned, Profile, Revealed, Spend, Status,
    Treasury,
};

/// So often a call that failed for now is made again.
pub const MAX_TRIES: u32 = 64;

/// Makes each call again while it fails for now, as an executor does: the same intent, never a new one.
pub struct Patient<L>(pub L);

macro_rules! patiently {
    ($call:expr) => {{
        let mut tries = 0;
        loop {
            match $call.await {
                Err(LedgerError::Transient { .. }) if tries < MAX_TRIES => tries += 1,
                answer => break answer,
            }
        }
    }};
}

impl<L: Ledger> Patient<L> {
    fn money(&self) -> Result<&dyn Treasury, LedgerError> {
        self.0.treasury().ok_or_else(|| self.lacks("treasury"))
    }

    fn locks(&self) -> Result<&dyn Hashlocks, LedgerError> {
        self.0.hashlocks().ok_or_else(|| self.lacks("hashlocks"))
    }

    fn lacks(&self, verb: &'static str) -> LedgerError {
        LedgerError::Unsupported { ledger: self.0.profile().id.clone(), verb, reason: "it has none".into() }
    }
}

#[async_trait]
impl<L: Ledger> Ledger for Patient<L> {
    fn profile(&self) -> &Profile {
        self.0.profile()
    }

    async fn intend(&self, operation: &Operation) -> Result<Intent, LedgerError> {
        patiently!(self.0.intend(operation))
    }

    async fn adopt(&self, intent: &Intent) -> Result<(), LedgerError> {
        patiently!(self.0.adopt(intent))
    }

    async fn submit(&self, intent: &Intent) -> Result<(), LedgerError> {
        patiently!(self.0.submit(intent))
    }

    async fn status(&self, operation: &Operation, intent: Option<&Intent>) -> Result<Status, LedgerError> {
        patiently!(self.0.status(operation, intent))
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        patiently!(self.0.head())
    }

    async fn prove(&self, manifest: &Manifest, facts: &[Evidence]) -> Result<Proof, LedgerError> {
        patiently!(self.0.prove(manifest, facts))
    }

    fn treasury(&self) -> Option<&dyn Treasury> {
        self.0.treasury().is_some().then_some(self)
    }

    fn hashlocks(&self) -> Option<&dyn Hashlocks> {
        self.0.hashlocks().is_some().then_some(self)
    }
}

#[async_trait]
impl<L: Ledger> Treasury for Patient<L> {
    async fn balance(&self, account: Account) -> Result<u128, LedgerError> {
        patiently!(self.money()?.balance(account))
    }

    fn address(&self, account: Account) -> Option<String> {
        self.0.treasury()?.address(account)
    }

    async fn coins(&self, account: Account) -> Result<Option<Coins>, LedgerError> {
        patiently!(self.money()?.coins(account))
    }

    async fn fees(&self, payers: &[Account], from: u64, to: u64) -> Result<u128, LedgerError> {
        // Block by block: a question of hundreds of blocks would not once go through whole.
        let mut sum = 0;
        for block in from..=to {
            sum += patiently!(self.money()?.fees(payers, block, block))?;
        }
        Ok(sum)
    }
}

#[async_trait]
impl<L: Ledger> Hashlocks for Patient<L> {
    async fn revealed(&self, manifest: &Manifest, leg: LegId) -> Result<Option<Revealed>, LedgerError> {
        patiently!(self.locks()?.revealed(manifest, leg))
    }

    async fn presign(&self, manifest: &Manifest, leg: LegId, spend: Spend) -> Result<Presigned, LedgerError> {
        patiently!(self.locks()?.presign(manifest, leg, spend))
    }

    async fn accept(&self, manifest: &Manifest, leg: LegId, signed: &Presigned) -> Result<(), LedgerError> {
        patiently!(self.locks()?.accept(manifest, leg, signed))
    }
}
