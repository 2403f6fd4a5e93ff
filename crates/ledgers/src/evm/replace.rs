//! What to do about a transaction that the chain holds and does not mine: it is replaced by the next step of its ladder
//! ([`Plan`]), at the same nonce.
//!
//! Only the account's oldest one is hurried: the later ones wait for it, whatever they offer. When its fee limit allows no
//! more and others wait, it is given up: an empty transfer takes its nonce ([`Plan::filler`]). Whichever of them is mined
//! is the only one (P4); that it was the empty one is told when it is final, as [`crate::Status::Displaced`], and what a
//! reorganisation undoes before that is brought again (docs/adr/0041-a-nonce-is-given-up.md).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256, Bytes, keccak256};
use sofie_model::Account;

use super::chain::{At, ChainError, Mined, Tip};
use super::ledger::{EvmLedger, PRIORITY_FEE};
use super::plan::{Ladder, Plan};
use super::signed::Signed;
use crate::LedgerError;

/// So many blocks may go by without a waiting transaction before it is replaced.
pub const PATIENCE_BLOCKS: u64 = 2;
/// How many waiting transactions are remembered. One that is forgotten is found again by what the chain answers.
const MAX_WAITING: usize = 4_096;

/// A transaction that was seen waiting.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// What the chain holds of its ladder.
    step: u32,
    /// Since which block.
    since: u64,
}

/// Waiting transactions, by the hash of their first step.
#[derive(Debug, Default)]
pub(super) struct Replaced(Mutex<HashMap<B256, Waiting>>);

impl Replaced {
    /// Which step was brought last, of the transaction whose first step is `first`.
    pub(super) fn step(&self, first: &Bytes) -> u32 {
        let all = self.lock();
        if all.is_empty() { 0 } else { all.get(&keccak256(first)).map_or(0, |waiting| waiting.step) }
    }

    /// Whether it has waited long enough at block `tip`. It is counted from when it was first seen waiting.
    fn is_overdue(&self, first: B256, step: u32, tip: u64) -> bool {
        let mut all = self.lock();
        if all.len() >= MAX_WAITING && !all.contains_key(&first) {
            all.clear();
        }
        let waiting = all.entry(first).or_insert(Waiting { step, since: tip });
        waiting.since.saturating_add(PATIENCE_BLOCKS) <= tip
    }

    fn remember(&self, first: B256, step: u32, since: u64) {
        self.lock().insert(first, Waiting { step, since });
    }

    fn forget(&self, first: B256) {
        self.lock().remove(&first);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<B256, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of bringing the steps of a ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Climbed {
    /// The chain holds this step.
    Taken(u32),
    /// A transaction with its nonce is mined.
    NonceUsed,
    /// The chain takes no step.
    Ended,
}

impl EvmLedger {
    /// The chain did not take step `step` of `plan` anew.
    pub(super) async fn not_taken(
        &self,
        plan: &Plan,
        step: u32,
        error: ChainError,
    ) -> Result<(), LedgerError> {
        match error {
            ChainError::Known => self.hurry(plan, step).await,
            ChainError::Underpriced(_) => self.raise(plan, step).await,
            // What took it may be undone: only `status` can tell its fate.
            ChainError::NonceUsed(_) => {
                self.replaced.forget(plan.signed.hash);
                Ok(())
            }
            ChainError::Refused(reason) => {
                self.give_back(&plan.signed).await;
                Err(self.profile.refused(reason))
            }
            other => Err(self.error(other)),
        }
    }

    /// Replaces a transaction that waits for too long, if it is the account's next and the limit allows it.
    async fn hurry(&self, plan: &Plan, step: u32) -> Result<(), LedgerError> {
        let sender = plan.signed.sender;
        if self.found(plan).await.map_err(|error| self.error(error))?.is_some() {
            return Ok(());
        }
        let tip = self.chain.tip().await.map_err(|error| self.error(error))?;
        if !self.replaced.is_overdue(plan.signed.hash, step, tip.number) {
            return Ok(());
        }
        let next = self.chain.nonce(sender, At::Latest).await.map_err(|error| self.error(error))?;
        if next == plan.signed.transaction.nonce
            && let Err(error) = self.raise(plan, step).await
        {
            // What waits may still be mined.
            tracing::warn!(%error, hash = %plan.signed.hash, "a transaction waits and is not replaced");
        }
        Ok(())
    }

    /// Brings the lowest step above `step` that the chain takes.
    async fn raise(&self, plan: &Plan, step: u32) -> Result<(), LedgerError> {
        let tip = self.chain.tip().await.map_err(|error| self.error(error))?;
        match self.climb(&plan.ladder(), plan.signed.sender, step + 1, tip).await? {
            Climbed::Taken(step) => self.replaced.remember(plan.signed.hash, step, tip.number),
            // Its fate is the next question.
            Climbed::NonceUsed => {}
            Climbed::Ended => self.give_up(plan, step, tip).await?,
        }
        Ok(())
    }

    /// Fills the nonce of a transaction that no fee within its limit gets mined, if it is the account's next, has waited
    /// long enough, and others wait behind it.
    async fn give_up(&self, plan: &Plan, step: u32, tip: Tip) -> Result<(), LedgerError> {
        let (sender, nonce) = (plan.signed.sender, plan.signed.transaction.nonce);
        let holds_up = self.nonces.has_later(sender, nonce)
            && self.replaced.is_overdue(plan.signed.hash, step, tip.number)
            && self.chain.nonce(sender, At::Latest).await.map_err(|error| self.error(error))? == nonce;
        let filler = plan.filler(tip.base_fee, PRIORITY_FEE).filter(|_| holds_up);
        let filled = match filler {
            Some(filler) => self.climb(&filler, sender, 0, tip).await?,
            None => Climbed::Ended,
        };
        match filled {
            Climbed::Taken(_) => {
                tracing::warn!(
                    ledger = %self.profile.id, %sender, nonce, hash = %plan.signed.hash,
                    "the fee limit keeps a transaction from being mined, and others wait for it: its nonce is given up"
                );
                self.replaced.remember(plan.signed.hash, step, tip.number);
                Ok(())
            }
            Climbed::NonceUsed => Ok(()),
            Climbed::Ended => Err(self.profile.transient(format!(
                "the fee limit allows no fee that the chain takes (base fee {} wei per gas)",
                tip.base_fee
            ))),
        }
    }

    /// Brings the lowest step of a ladder, `step` or above, that the chain takes.
    async fn climb(
        &self,
        ladder: &Ladder,
        sender: Address,
        mut step: u32,
        tip: Tip,
    ) -> Result<Climbed, LedgerError> {
        let key = self.keyring.get(Account(sender.into_array()));
        let key = key.ok_or_else(|| self.profile.refused("its key is not here"))?;
        // Each round is a higher step, and a ladder has few.
        while let Some((next, transaction)) = ladder.at_least(step, tip.base_fee) {
            match self.chain.submit(Signed::sign(transaction, key)).await {
                Ok(()) | Err(ChainError::Known) => return Ok(Climbed::Taken(next)),
                Err(ChainError::Underpriced(_)) => step = next + 1,
                Err(ChainError::NonceUsed(_)) => return Ok(Climbed::NonceUsed),
                Err(error) => return Err(self.profile.transient(error.to_string())),
            }
        }
        Ok(Climbed::Ended)
    }

    /// Where a transaction of the ladder was mined, if one was. While its nonce is unused, none was.
    pub(super) async fn found(&self, plan: &Plan) -> Result<Option<Mined>, ChainError> {
        if self.chain.nonce(plan.signed.sender, At::Latest).await? <= plan.signed.transaction.nonce {
            return Ok(None);
        }
        let tip = self.chain.tip().await?;
        self.searched(plan, tip.number).await
    }

    /// The same, where block `height` counts the nonce. `None` is sure: another transaction took it.
    pub(super) async fn searched(&self, plan: &Plan, height: u64) -> Result<Option<Mined>, ChainError> {
        if let Some(mined) = self.chain.mined(plan.signed.hash).await? {
            return Ok(Some(mined));
        }
        let mut hashes = vec![plan.signed.hash];
        if let Some(key) = self.keyring.get(Account(plan.signed.sender.into_array())) {
            hashes.extend(plan.ladder().hashes(key));
        }
        for hash in &hashes[1..] {
            if let Some(mined) = self.chain.mined(*hash).await? {
                return Ok(Some(mined));
            }
        }
        self.sure_to_lack(&hashes, plan, height).await.map(|()| None)
    }

    /// A node may count a nonce before it shows the receipts of its newest block: if it is that block which took this one,
    /// the block itself must say by which transaction.
    async fn sure_to_lack(&self, hashes: &[B256], plan: &Plan, height: u64) -> Result<(), ChainError> {
        let (sender, nonce) = (plan.signed.sender, plan.signed.transaction.nonce);
        if self.chain.nonce(sender, At::Block(height.saturating_sub(1))).await? > nonce {
            return Ok(());
        }
        let block = self.chain.block(height).await.ok().flatten();
        let ours = |raw: &Bytes| hashes.contains(&keccak256(raw));
        match block {
            Some(block) if !block.transactions.iter().any(ours) => Ok(()),
            _ => Err(ChainError::Away(format!(
                "block {height} counts nonce {nonce} of {sender}, and the node does not show yet what took it"
            ))),
        }
    }
}
