//! Signs calls for a client that brings them to the chain by itself and knows in which order they succeed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sofie_model::{Account, Operation, contract};

use super::chain::At;
use super::ledger::{EvmLedger, PRIORITY_FEE};
use crate::LedgerError;

impl EvmLedger {
    /// The signed transactions (EIP-2718 bytes) that carry these operations out, in this order for each account. Each
    /// offers all that its fee limit allows, and the usual part of it to the block's maker.
    ///
    /// Nothing is simulated and no nonce is kept: until all of them are mined, nothing else may send for these accounts.
    ///
    /// # Errors
    /// [`LedgerError::Unsupported`] for an operation that this ledger cannot carry; [`LedgerError::Refused`] when a key
    /// is not held here; [`LedgerError::Transient`] when the chain is away.
    pub async fn presign(&self, operations: &[Operation]) -> Result<Vec<Vec<u8>>, LedgerError> {
        let mut nonces: HashMap<Account, u64> = HashMap::new();
        let mut signed = Vec::with_capacity(operations.len());
        for operation in operations {
            let request = self.request(operation, self.operator)?;
            let nonce = match nonces.entry(request.from) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let sender = contract::address(request.from);
                    let nonce = self.chain.nonce(sender, At::Pending).await;
                    new.insert(nonce.map_err(|error| self.error(error))?)
                }
            };
            let highest = request.fee_limit / u128::from(request.gas.max(1));
            let fees = (highest, highest.min(PRIORITY_FEE.into()));
            let raw = self.signed(&request, fees, *nonce).map_err(|error| self.error(error))?;
            signed.push(raw.to_vec());
            *nonce += 1;
        }
        Ok(signed)
    }
}
