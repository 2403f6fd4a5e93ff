//! Money on a Bitcoin ledger, for those who show it.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bitcoin::key::CompressedPublicKey;
use bitcoin::{Address, Network, ScriptBuf, Transaction};
use sofie_model::Account;

use super::ledger::BitcoinLedger;
use super::pay::coins_of;
use crate::{Coins, LedgerError, Treasury};

/// The most blocks that [`Treasury::fees`] looks through.
pub const MAX_FEE_BLOCKS: u64 = 10_000;

#[async_trait]
impl Treasury for BitcoinLedger {
    async fn balance(&self, account: Account) -> Result<u128, LedgerError> {
        let key = self.known(account)?;
        let (state, _) = self.synced().await?;
        Ok(state.index.coins(&coins_of(&key)).map(|(_, coin)| u128::from(coin.value)).sum())
    }

    /// The segwit address (BIP 173) of the script whose coins are counted.
    fn address(&self, account: Account) -> Option<String> {
        let network = Network::from_core_arg(&self.config.network).ok()?;
        Some(Address::p2wpkh(&self.wallet.key(account)?, network).to_string())
    }

    async fn coins(&self, account: Account) -> Result<Option<Coins>, LedgerError> {
        let key = self.known(account)?;
        let (state, _) = self.synced().await?;
        let (free, _) = state.free_coins(&coins_of(&key));
        let worth = free.iter().map(|(_, coin)| u128::from(coin.value)).sum();
        Ok(Some(Coins { count: free.len() as u64, worth }))
    }

    async fn fees(&self, payers: &[Account], from: u64, to: u64) -> Result<u128, LedgerError> {
        if to.saturating_sub(from) >= MAX_FEE_BLOCKS {
            return Err(self.profile.refused(format!("at most {MAX_FEE_BLOCKS} blocks at once")));
        }
        let keys: Vec<CompressedPublicKey> = payers.iter().filter_map(|one| self.wallet.key(*one)).collect();
        let scripts: BTreeSet<ScriptBuf> = keys.iter().map(coins_of).collect();
        let mut sum = 0;
        for height in from..=to {
            sum += self.fees_at(height, &keys, &scripts).await?;
        }
        Ok(sum)
    }
}

impl BitcoinLedger {
    fn known(&self, account: Account) -> Result<CompressedPublicKey, LedgerError> {
        let unknown = || self.profile.refused(format!("the key of {account} is not known here"));
        self.wallet.key(account).ok_or_else(unknown)
    }

    async fn fees_at(
        &self,
        height: u64,
        keys: &[CompressedPublicKey],
        scripts: &BTreeSet<ScriptBuf>,
    ) -> Result<u128, LedgerError> {
        let hash = self.node.block_hash(height).await.map_err(|error| self.error(error))?;
        let Some(hash) = hash else { return Ok(0) };
        let block = self.node.block(hash).await.map_err(|error| self.error(error))?;
        let theirs = block.txdata.iter().filter(|one| is_paid_by(one, keys, scripts));
        let theirs: BTreeSet<_> = theirs.map(Transaction::compute_txid).collect();
        if theirs.is_empty() {
            return Ok(0);
        }
        let fees = self.node.fees(hash).await.map_err(|error| self.error(error))?;
        Ok(fees.iter().filter(|(txid, _)| theirs.contains(txid)).map(|(_, fee)| u128::from(*fee)).sum())
    }
}

/// Whose coins a transaction spends is seen from its witnesses, which show their keys (BIP 141, P2WPKH). A claim and a
/// refund take their fee out of what they pay to their own key.
fn is_paid_by(
    transaction: &Transaction,
    keys: &[CompressedPublicKey],
    scripts: &BTreeSet<ScriptBuf>,
) -> bool {
    let spends_coin = transaction.input.iter().any(|input| {
        let key = (input.witness.len() == 2).then(|| input.witness.nth(1)).flatten();
        key.is_some_and(|bytes| keys.iter().any(|key| key.to_bytes() == bytes))
    });
    let spends_lock = transaction.input.iter().any(|input| input.witness.len() > 2)
        && matches!(transaction.output.as_slice(), [only] if scripts.contains(&only.script_pubkey));
    spends_coin || spends_lock
}
