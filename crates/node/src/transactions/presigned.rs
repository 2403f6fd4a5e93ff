//! What is signed ahead for the pivot, so that a node finishes it without the key (design "Phases", "Recovery"): its claim
//! by the claimant, its refund by the payer. A node signs what its own parties may spend; what others' nodes bring it keeps
//! once the ledger itself has checked it for the lock that stands. A ledger forgets it with its process, so it is brought
//! again before it is needed.

use std::time::Duration;

use sofie_ledgers::port::MAX_PRESIGNED_BYTES;
use sofie_ledgers::{Hashlocks, LedgerError, Presigned, Spend};
use sofie_model::{Account, Digest, LegId};
use sofie_transaction::{Leg, State, Task};

use super::{Transactions, asking};
use crate::auditor::Note;
use crate::journal::{Entry, JournalError};

/// Facts of this group: a txid and a spend, with what was signed.
const GROUP: &str = "presigned";
pub(crate) const SPENDS: [Spend; 2] = [Spend::Claim, Spend::Refund];

/// Whose key signs this spend of the pivot; `None` without a pivot.
pub(crate) fn signer(state: &State, spend: Spend) -> Option<Account> {
    let terms = state.manifest().pivot_terms()?;
    Some(if spend == Spend::Claim { terms.claimant } else { terms.payer })
}

/// The ledger transaction that locked the pivot, while the lock stands.
pub(crate) fn lock(state: &State) -> Option<Digest> {
    match state.legs().get(usize::from(state.manifest().pivot()?.0))? {
        Leg::Prepared(lock) => Some(lock.position.reference),
        _ => None,
    }
}

/// The spends that this node's parties sign for the others while a lock stands, each with the lock's ledger transaction.
pub(crate) fn due(state: &State) -> Vec<(Spend, Digest)> {
    let Some(lock) = lock(state) else { return Vec::new() };
    let ours = SPENDS.into_iter().filter(|spend| is_ours(state, *spend));
    ours.map(|spend| (spend, lock)).collect()
}

/// Whether this node acts for whoever signs it.
fn is_ours(state: &State, spend: Spend) -> bool {
    let signer = signer(state, spend);
    let participants = &state.manifest().participants;
    let account = |who: &u16| participants.get(usize::from(*who)).map(|one| one.account);
    state.acts_for().iter().any(|who| account(who) == signer)
}

fn key(state: &State, spend: Spend) -> String {
    format!("{} {}", state.txid(), word(spend))
}

pub(crate) const fn word(spend: Spend) -> &'static str {
    match spend {
        Spend::Claim => "claim",
        Spend::Refund => "refund",
    }
}

impl Transactions {
    /// Releases nothing of a transaction with a pivot before it holds what others sign ahead, and keeps that.
    #[must_use]
    pub fn wanting_presigned(self) -> Self {
        Self { wants_presigned: true, ..self }
    }

    /// The pivot, and its ledger.
    pub(super) fn pivot_of(&self, state: &State) -> Option<(LegId, &dyn Hashlocks)> {
        let leg = state.manifest().pivot()?;
        let ledger = self.executor.ledgers().get(&state.manifest().leg(leg)?.ledger)?;
        Some((leg, ledger.hashlocks()?))
    }

    /// Signs this spend of the pivot's lock for the others.
    ///
    /// # Errors
    /// [`LedgerError`] of its ledger; [`LedgerError::Unsupported`] where it carries no hashlock.
    pub(crate) async fn presign(&self, state: &State, spend: Spend) -> Result<Presigned, LedgerError> {
        let (leg, locks) = self.pivot_of(state).ok_or_else(|| no_pivot(state))?;
        locks.presign(state.manifest(), leg, spend).await
    }

    /// What is signed ahead of this spend: by a key that is here, or by another's, as it was brought. `None` while there is
    /// nothing.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) async fn signed_ahead(
        &self,
        state: &State,
        spend: Spend,
    ) -> Result<Option<Presigned>, JournalError> {
        if is_ours(state, spend) {
            let signed = self.presign(state, spend).await;
            return Ok(signed
                .inspect_err(|error| tracing::warn!(%error, "nothing is signed ahead yet"))
                .ok());
        }
        let brought = self.executor.journal().reader()?.fact(GROUP, &key(state, spend))?;
        Ok(brought.map(|bytes| Presigned { spend, bytes }))
    }

    /// Keeps what another's node has signed ahead, once the ledger has checked it.
    ///
    /// # Errors
    /// [`JournalError`]. `Ok(Err(_))` is the ledger's: [`LedgerError::Transient`] while it does not see the lock.
    pub async fn take_presigned(
        &self,
        state: &State,
        signed: Presigned,
    ) -> Result<Result<(), LedgerError>, JournalError> {
        if let Err(error) = self.accept(state, &signed).await {
            return Ok(Err(error));
        }
        let (spend, key) = (signed.spend, key(state, signed.spend));
        if self.executor.journal().reader()?.fact(GROUP, &key)?.is_some_and(|known| known == signed.bytes) {
            return Ok(Ok(()));
        }
        let by = signer(state, spend).unwrap_or_default();
        let detail = format!("the pivot's {}, signed ahead by {by}", word(spend));
        let note = Note::about(state.txid().0, "presigned", true, detail);
        let entry = Entry::Fact { group: GROUP, key, value: signed.bytes };
        self.keeper.auditor.keep(vec![entry], vec![note], self.clock().now()).await?;
        Ok(Ok(()))
    }

    async fn accept(&self, state: &State, signed: &Presigned) -> Result<(), LedgerError> {
        let (leg, locks) = self.pivot_of(state).ok_or_else(|| no_pivot(state))?;
        let (ledger, got) = (pivot_ledger(state), signed.bytes.len());
        if got > MAX_PRESIGNED_BYTES {
            let reason = format!("{got} bytes are signed ahead; at most {MAX_PRESIGNED_BYTES} are taken");
            return Err(LedgerError::Refused { ledger, reason });
        }
        locks.accept(state.manifest(), leg, signed).await
    }

    /// Whether this node can carry the spend out: by its own key, or by what was signed ahead for the lock that stands.
    async fn can_spend(&self, state: &State, spend: Spend) -> Result<bool, JournalError> {
        if is_ours(state, spend) {
            return Ok(true);
        }
        let Some(bytes) = self.executor.journal().reader()?.fact(GROUP, &key(state, spend))? else {
            return Ok(false);
        };
        let accepted = self.accept(state, &Presigned { spend, bytes }).await;
        Ok(accepted
            .inspect_err(|error| tracing::warn!(%error, "what was signed ahead is no use now"))
            .is_ok())
    }

    /// Waits until this node could finish the pivot either way without anybody's key, while there is time for COMMIT; tells
    /// what is missing then.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(super) async fn lacks_presigned(&self, state: &State) -> Result<Option<String>, JournalError> {
        // With a single hash some release before there is a lock: nothing could be signed ahead of it yet.
        if !self.wants_presigned || lock(state).is_none() {
            return Ok(None);
        }
        for spend in SPENDS {
            while !self.can_spend(state, spend).await? {
                if asking::too_late(self, state) {
                    let (by, what) = (signer(state, spend).unwrap_or_default(), word(spend));
                    return Ok(Some(format!(
                        "the node of {by} has not brought the pivot's {what}, signed ahead"
                    )));
                }
                self.clock().sleep(self.poll_of_pivot(state)).await;
            }
        }
        Ok(None)
    }

    /// While `task` runs: brings to the ledger what it needs of others' signatures, as soon as it is there. It returns only
    /// when the journal fails.
    pub(super) async fn bring_presigned(&self, state: &State, task: Task) -> JournalError {
        let spend = match task {
            Task::Apply(_) => Spend::Claim,
            _ => Spend::Refund,
        };
        if self.wants_presigned
            && let Err(error) = self.bring_once_there(state, spend).await
        {
            return error;
        }
        std::future::pending().await
    }

    async fn bring_once_there(&self, state: &State, spend: Spend) -> Result<(), JournalError> {
        let mut pace = asking::Pace::of(self, &pivot_ledger(state));
        while !self.can_spend(state, spend).await? {
            pace.rest(self).await;
        }
        Ok(())
    }

    fn poll_of_pivot(&self, state: &State) -> Duration {
        let ledger = self.executor.ledgers().get(&pivot_ledger(state));
        ledger.map_or(asking::LONGEST_LOOK, |ledger| ledger.profile().poll.into())
    }
}

/// The pivot's ledger, or D where there is no pivot.
fn pivot_ledger(state: &State) -> sofie_model::LedgerId {
    let manifest = state.manifest();
    let leg = manifest.pivot().and_then(|id| manifest.leg(id));
    leg.map_or(&manifest.decision.ledger, |leg| &leg.ledger).clone()
}

fn no_pivot(state: &State) -> LedgerError {
    let reason = "no hashlock leg of this transaction is carried here".to_owned();
    LedgerError::Unsupported { ledger: pivot_ledger(state), verb: "sign ahead", reason }
}
