//! Opening a ledger: its contracts are found where CREATE2 puts them, or are put there.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Bytes;
use sofie_model::{Account, LedgerId, contract};

use super::chain::{Chain, ChainError};
use super::contracts::{DECISION, Deployment, ESCROW, refusal};
use super::keyring::Keyring;
use super::ledger::EvmLedger;
use super::request::Request;
use crate::Profile;

/// Gas to create one of the contracts: 200 a byte, and its constructor.
const GAS_DEPLOY: u64 = 4_000_000;
/// How many times it is looked whether a contract stands now.
const MAX_POLLS: u32 = 600;

/// Why an EVM ledger could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenLedgerError {
    /// The chain does not have the proxy through which the contracts are deployed.
    #[error(
        "ledger {ledger}: chain {chain_id} has no deployment proxy at {proxy}: deploy it first (its signed \
         transaction is published with it), or use another chain"
    )]
    NoProxy {
        /// Which ledger.
        ledger: LedgerId,
        /// Its chain.
        chain_id: u64,
        /// Where the proxy stands elsewhere.
        proxy: Account,
    },
    /// The operator's key is not in the keyring.
    #[error("ledger {ledger}: no key of its operator {operator} is there: add it to the keyring")]
    NoOperatorKey {
        /// Which ledger.
        ledger: LedgerId,
        /// The operator.
        operator: Account,
    },
    /// A contract could not be deployed.
    #[error("ledger {ledger}: contract {contract} could not be deployed by {operator}: {why}")]
    NotDeployed {
        /// Which ledger.
        ledger: LedgerId,
        /// Which contract.
        contract: &'static str,
        /// Who tried.
        operator: Account,
        /// What happened.
        why: String,
    },
    /// The chain does not answer as it should.
    #[error("ledger {ledger}: {source}")]
    Chain {
        /// Which ledger.
        ledger: LedgerId,
        /// What happened.
        source: ChainError,
    },
}

impl EvmLedger {
    /// Opens the ledger on `chain`. `operator` sends, and pays for, what anyone may send.
    ///
    /// # Errors
    /// [`OpenLedgerError`] says what is missing.
    pub async fn open(
        chain: Arc<dyn Chain>,
        profile: Profile,
        keyring: Keyring,
        operator: Account,
    ) -> Result<Self, OpenLedgerError> {
        let ledger = profile.id.clone();
        if keyring.get(operator).is_none() {
            return Err(OpenLedgerError::NoOperatorKey { ledger, operator });
        }
        let this = Self::assembled(chain, profile, keyring, operator);
        for deployment in [&*DECISION, &*ESCROW] {
            if this.code(deployment.address).await?.is_empty() {
                this.deploy(deployment).await?;
            }
        }
        Ok(this)
    }

    pub(super) async fn code(&self, account: Account) -> Result<Bytes, OpenLedgerError> {
        let code = self.chain.code(contract::address(account)).await;
        code.map_err(|source| OpenLedgerError::Chain { ledger: self.profile.id.clone(), source })
    }

    async fn deploy(&self, deployment: &Deployment) -> Result<(), OpenLedgerError> {
        self.send_deployment(deployment).await?;
        for _ in 0..MAX_POLLS {
            if !self.code(deployment.address).await?.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from(self.profile.poll)).await;
        }
        let why = format!("nothing stands at {} after {MAX_POLLS} looks", deployment.address);
        Err(self.not_deployed(deployment, why))
    }

    fn not_deployed(&self, deployment: &Deployment, why: String) -> OpenLedgerError {
        let (ledger, contract, operator) = (self.profile.id.clone(), deployment.name, self.operator);
        OpenLedgerError::NotDeployed { ledger, contract, operator, why }
    }

    /// Sends what puts the contract there, paid by the operator.
    pub(super) async fn send_deployment(&self, deployment: &Deployment) -> Result<(), OpenLedgerError> {
        let ledger = self.profile.id.clone();
        if self.code(contract::DEPLOYER).await?.is_empty() {
            let (chain_id, proxy) = (self.site.chain_id, contract::DEPLOYER);
            return Err(OpenLedgerError::NoProxy { ledger, chain_id, proxy });
        }
        let request = Request {
            from: self.operator,
            to: contract::DEPLOYER,
            value: 0,
            data: deployment.input.clone(),
            gas: GAS_DEPLOY,
            // No transaction's manifest bounds it: the operator pays once for the ledger.
            fee_limit: u128::MAX,
        };
        let failed = |error| self.not_deployed(deployment, words(error));
        let raw = self.sign(&request).await.map_err(failed)?;
        match self.chain.submit(raw).await {
            Ok(()) | Err(ChainError::Known) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

fn words(error: ChainError) -> String {
    match error {
        ChainError::Reverted(data) => refusal(&data),
        other => other.to_string(),
    }
}
