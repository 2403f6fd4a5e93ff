//! Batches on their way: cut, planned, sent, found on the chain, sent again when the chain has undone them.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Bytes, Log};
use alloy_sol_types::SolCall;
use sofie_model::proof::batch::Batch;
use sofie_model::proof::calendar::merkle;
use sofie_model::{Account, Digest, LedgerId, Timestamp, contract};

use super::store::{self, Kept, Write};
use super::{EvmRecords, locked, read};
use crate::evm::OpenLedgerError;
use crate::evm::chain::Logged;
use crate::evm::contracts::NOTARY;
use crate::evm::request::Request;
use crate::{Intent, Ledger, LedgerError, Status};

/// So many batches are under way at most; more entries wait for one of them to be final.
pub const MAX_OPEN: usize = 256;
/// Gas of a batch, whatever its size (contracts/gas-snapshot.txt: 46,000 for a chain's first).
const GAS: u64 = 80_000;

/// What is known of the contract on the chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Contract {
    #[default]
    Unknown,
    /// This run has sent it.
    Sent,
    Stands,
}

/// The chain as one turn sees it.
#[derive(Debug, Clone, Copy)]
struct View {
    tip: u64,
    /// The newest block whose facts are final.
    finally: Option<u64>,
}

impl EvmRecords {
    /// The ledger whose accounts send its batches.
    #[must_use]
    pub fn on(&self) -> &LedgerId {
        &self.evm.profile().id
    }

    /// Sends batches from now on, until the ledger is dropped. Called once every intent of an earlier run on
    /// [`on`](Self::on) is adopted.
    pub fn start(self: &Arc<Self>) {
        let (weak, full) = (Arc::downgrade(self), Arc::clone(&self.full));
        let poll = Duration::from(self.profile.poll);
        tokio::spawn(async move {
            let mut told = None;
            while let Some(this) = weak.upgrade() {
                let trouble = this.drive().await.err();
                if let Some(error) = trouble.as_ref().filter(|_| trouble != told) {
                    tracing::warn!(ledger = %this.profile.id, %error, "batches of records are held up");
                }
                told = trouble;
                drop(this);
                tokio::select! {
                    () = tokio::time::sleep(poll) => {}
                    () = full.notified() => {}
                }
            }
        });
    }

    /// One turn: cuts the batches that are due, brings to the chain what is not there, and looks what is. Never two at once.
    ///
    /// # Errors
    /// The first that stood in the way; the other batches had their turn. Until one goes through,
    /// [`Ledger::status`] of what is not final says the same.
    pub async fn drive(&self) -> Result<(), LedgerError> {
        let mut contract = self.turn.lock().await;
        let done = self.take_turn(&mut contract).await;
        *locked(&self.trouble) = done.as_ref().err().cloned();
        done
    }

    async fn take_turn(&self, contract: &mut Contract) -> Result<(), LedgerError> {
        self.cut().await?;
        let open = self.read(store::open_batches)?;
        if open.is_empty() {
            return Ok(());
        }
        if !self.contract_stands(contract).await? {
            return Ok(());
        }
        let view = self.view().await?;
        let mut done = Ok(());
        for batch in open {
            done = done.and(self.push(&batch, view).await);
        }
        done
    }

    /// Makes batches of the entries that wait: of as many as fill one, and of the rest when it has waited long enough.
    async fn cut(&self) -> Result<(), LedgerError> {
        for _ in self.read(store::open_batches)?.len()..MAX_OPEN {
            let (from, next) = self.read(|sql| Ok((store::next_uncut(sql)?, store::next_number(sql)?)))?;
            let most = u64::from(self.config.most);
            let waiting = next - from;
            if waiting == 0 {
                break;
            }
            let due = self.read(|sql| store::taken_at(sql, from))? + self.config.interval;
            if waiting < most && (self.clock)() < due {
                break;
            }
            let count = waiting.min(most) as u32;
            let root = self.tree(from, count).await?.root(count.into());
            let root = root.ok_or_else(|| self.profile.transient("entries were not there"))?;
            self.write(Write::Cut { count, root }).await?;
        }
        Ok(())
    }

    /// The tree over `count` entries.
    pub(super) async fn tree(&self, from: u64, count: u32) -> Result<merkle::Tree, LedgerError> {
        let (reader, path) = (Arc::clone(&self.reader), self.config.path.clone());
        let work = move || {
            let contents = read(&reader, &path, |sql| store::contents(sql, from, count))?;
            Ok(contents.iter().map(|content| merkle::leaf_hash(content)).collect())
        };
        let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()));
        done.map_err(|why: String| self.profile.transient(why))
    }

    /// Whether the contract stands; it is put there once, as an EVM ledger's others are.
    async fn contract_stands(&self, contract: &mut Contract) -> Result<bool, LedgerError> {
        if *contract == Contract::Stands {
            return Ok(true);
        }
        let failed = |error: OpenLedgerError| self.profile.transient(error.to_string());
        if self.evm.code(NOTARY.address).await.map_err(failed)?.is_empty() {
            if *contract == Contract::Unknown {
                self.evm.send_deployment(&NOTARY).await.map_err(failed)?;
                *contract = Contract::Sent;
            }
            // A chain in the process has it already.
            return Ok(!self.evm.code(NOTARY.address).await.map_err(failed)?.is_empty());
        }
        *contract = Contract::Stands;
        Ok(true)
    }

    async fn push(&self, batch: &Kept, view: View) -> Result<(), LedgerError> {
        let looked = locked(&self.seen).get(&batch.number).map(|(_, at)| *at);
        if looked == Some(view.tip) || self.look(batch, view).await? {
            return Ok(());
        }
        self.send(batch, view.finally).await?;
        // A chain in the process has it already.
        self.look(batch, self.view().await?).await.map(drop)
    }

    /// Taken before the chain is asked for a batch: what is found later is at most taken for less deep than it is.
    async fn view(&self) -> Result<View, LedgerError> {
        let tip = self.evm.chain.tip().await.map_err(|error| self.evm.error(error))?;
        let finally = self.evm.final_height(tip).await.map_err(|error| self.evm.error(error))?;
        Ok(View { tip: tip.number, finally })
    }

    /// Whether the chain shows the batch; if it does so finally, that is kept.
    async fn look(&self, batch: &Kept, view: View) -> Result<bool, LedgerError> {
        let Some((place, _)) = self.event(batch).await? else {
            locked(&self.seen).remove(&batch.number);
            return Ok(false);
        };
        if view.finally.is_some_and(|height| place.height <= height) {
            self.write(Write::Stands { batch: batch.number, place }).await?;
            locked(&self.seen).remove(&batch.number);
        } else {
            locked(&self.seen).insert(batch.number, (place, view.tip));
        }
        Ok(true)
    }

    /// The first event of the batch on the chain, by whomever.
    pub(super) async fn event(&self, batch: &Kept) -> Result<Option<(Batch, Logged)>, LedgerError> {
        let place = |log: &Log, block, time| Batch::read(log, block, Timestamp::from_seconds(time)).ok();
        let wanted = |log: &Log| place(log, 0, 0).is_some_and(|found| is_of(batch, &found));
        let (notary, topic) = (contract::address(NOTARY.address), contract::word(batch.root));
        let logs =
            self.evm.chain.logs(notary, topic, &wanted).await.map_err(|error| self.evm.error(error))?;
        let found = logs.into_iter().next();
        Ok(found.and_then(|logged| Some((place(&logged.log, logged.block, logged.time)?, logged))))
    }

    /// Brings the batch to the chain, by the transaction that was synced for it; or by a new one if that can never be.
    async fn send(&self, batch: &Kept, finally: Option<u64>) -> Result<(), LedgerError> {
        let intent = match &batch.plan {
            None => self.plan(batch).await?,
            Some(intent) => match self.fate(intent, finally).await? {
                Status::Absent => intent.clone(),
                Status::Pending | Status::Final(_) => return Ok(()),
                Status::Refused { reason } | Status::Displaced { reason } => {
                    tracing::warn!(ledger = %self.profile.id, batch = batch.number, reason, "a batch is signed anew");
                    self.plan(batch).await?
                }
            },
        };
        match self.evm.submit(&intent).await {
            Err(error @ LedgerError::Refused { .. }) => {
                // Its nonce was given back: it is never brought again.
                self.write(Write::Plan { batch: batch.number, intent: None }).await?;
                Err(error)
            }
            done => done,
        }
    }

    async fn fate(&self, intent: &Intent, finally: Option<u64>) -> Result<Status, LedgerError> {
        match self.evm.read(intent) {
            Ok(plan) => self.evm.fate(&plan, finally).await.map_err(|error| self.evm.error(error)),
            // Signed with a key that this node no longer has. Should it be mined still, the first of both counts.
            Err(error) => Ok(Status::Refused { reason: error.to_string() }),
        }
    }

    /// Signs the batch's transaction, and syncs it: it is not sent before.
    async fn plan(&self, batch: &Kept) -> Result<Intent, LedgerError> {
        let data: Bytes = call(batch.root, batch.count);
        let request = |lane: Account| {
            let (to, value, data) = (NOTARY.address, 0, data.clone());
            Ok(Request { from: lane, to, value, data, gas: GAS, fee_limit: self.config.fee_limit })
        };
        let intent = self.evm.intend_by_lane(&request).await?;
        let kept = self.write(Write::Plan { batch: batch.number, intent: Some(intent.clone()) }).await;
        if kept.is_err()
            && let Ok(plan) = self.evm.read(&intent)
        {
            self.evm.nonces.release(plan.signed.sender, plan.signed.transaction.nonce);
        }
        kept.map(|()| intent)
    }

    /// The nonces of what an earlier run signed are taken.
    pub(super) async fn adopt_plans(&self) -> Result<(), LedgerError> {
        for batch in self.read(store::open_batches)? {
            let Some(intent) = &batch.plan else { continue };
            match self.evm.adopt(intent).await {
                Ok(()) => {}
                Err(error @ LedgerError::Transient { .. }) => return Err(error),
                Err(error) => tracing::warn!(
                    ledger = %self.profile.id, batch = batch.number, %error,
                    "the transaction of a batch is not adopted: it is signed anew"
                ),
            }
        }
        Ok(())
    }
}

/// A stranger may log the same root with another count: under that, no path leads to it.
fn is_of(batch: &Kept, found: &Batch) -> bool {
    (found.root, found.count) == (batch.root, batch.count)
}

fn call(root: Digest, count: u32) -> Bytes {
    contract::Notary::recordCall { root: contract::word(root), count }.abi_encode().into()
}
