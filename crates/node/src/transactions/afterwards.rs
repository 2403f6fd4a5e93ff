//! What has ended is looked at once more (P3): after as long again as its ledgers take to make a record final, D must still
//! hold its decision, and each leg's ledger what closed the leg. One that does not goes on, and tells its operator. No task
//! waits for that: one sweep looks, in the order of time. Where nothing is ever undone, nothing is looked at; nor is what
//! ended before the node's last start.

use std::collections::BTreeSet;
use std::time::Duration;

use sofie_model::{Finality, Manifest, Span, Timestamp, Txid, canonical};
use sofie_transaction::{Input, Phase, State};

use super::undone::{self, Aftermath};
use super::{Transactions, ledgers_of, notes, replay};
use crate::drive::Machine;
use crate::journal::{Entry, JournalError};

/// At most so many wait for their look; what ends beyond is told, and not looked at.
const MOST: usize = 65_536;
/// How often it is seen whose time has come.
const TICK: Duration = Duration::from_secs(1);
/// At most so many are looked at each [`TICK`].
const LOOKS: usize = 128;
/// A ledger that does not tell is asked again after so long.
const AGAIN: Span = Span::from_seconds(5);

/// Those that have ended and are to be looked at.
#[derive(Debug, Default)]
pub(super) struct Afterwards {
    due: BTreeSet<(Timestamp, Txid)>,
    /// A sweep runs.
    sweeps: bool,
}

impl Transactions {
    /// How many have ended and wait for one more look.
    #[must_use]
    pub fn looked_at_later(&self) -> usize {
        self.afterwards().due.len()
    }

    /// Its drive is over.
    pub(super) fn look_later(&self, txid: Txid, manifest: &Manifest) {
        if let Some(span) = self.undoable(manifest) {
            self.look_at(txid, self.clock().now() + span);
        }
    }

    /// How long its ledgers take to make a record final; `None` where none ever undoes anything.
    fn undoable(&self, manifest: &Manifest) -> Option<Span> {
        let known = ledgers_of(manifest)
            .filter_map(|id| self.executor.ledgers().get(id))
            .map(|ledger| ledger.profile());
        known.filter(|profile| profile.finality != Finality::Instant).map(|profile| profile.finalises).max()
    }

    fn look_at(&self, txid: Txid, at: Timestamp) {
        let mut afterwards = self.afterwards();
        if afterwards.due.len() >= MOST {
            tracing::warn!(transaction = %txid, "too many have ended at once: it is not looked at again");
            return;
        }
        afterwards.due.insert((at, txid));
        if !std::mem::replace(&mut afterwards.sweeps, true) {
            tokio::spawn(self.clone().sweep());
        }
    }

    fn afterwards(&self) -> std::sync::MutexGuard<'_, Afterwards> {
        self.afterwards.lock().expect("no holder of this lock panics")
    }

    async fn sweep(self) {
        loop {
            self.clock().sleep(TICK).await;
            let due = self.afterwards().due(self.clock().now());
            for txid in due {
                let looked = self.look_again(txid).await;
                if self.or_stop(looked).is_none() {
                    return;
                }
            }
            if self.afterwards().rests() {
                return;
            }
        }
    }

    async fn look_again(&self, txid: Txid) -> Result<(), JournalError> {
        let Some(state) = self.state(txid)? else { return Ok(()) };
        if !matches!(state.phase(), Phase::Done(_)) {
            return Ok(());
        }
        match undone::aftermath(self, &state).await {
            Aftermath::Stands => Ok(()),
            Aftermath::Unclear => {
                self.look_at(txid, self.clock().now() + AGAIN);
                Ok(())
            }
            Aftermath::Shaken(input) => self.reopen(txid, &input).await,
        }
    }

    /// It has not ended after all: it is driven on from what was seen.
    async fn reopen(&self, txid: Txid, input: &Input) -> Result<(), JournalError> {
        let record = self.executor.journal().reader()?.machine(State::KIND, txid.0)?;
        let Some(record) = record.filter(|record| record.ended) else { return Ok(()) };
        let (before, seq) = (replay(&record)?, record.inputs.len() as u64);
        let now = self.clock().now();
        let next = before.clone().next(input, now).map_err(|rejected| record.corrupt(rejected))?;
        if next.ended() {
            return Ok(());
        }
        let kept = Entry::Input { machine: State::KIND, id: txid.0, seq, input: canonical::encode(input) };
        let entries = vec![kept, Entry::Reopened { machine: State::KIND, id: txid.0 }];
        self.keeper.auditor.keep(entries, notes::notes(&before, input, &next), now).await?;
        drop(self.run(next, seq + 1));
        Ok(())
    }
}

impl Afterwards {
    /// Whose time has come, at most [`LOOKS`].
    fn due(&mut self, now: Timestamp) -> Vec<Txid> {
        let due: Vec<_> = self.due.iter().take_while(|(at, _)| *at <= now).take(LOOKS).copied().collect();
        self.due.retain(|one| !due.contains(one));
        due.into_iter().map(|(_, txid)| txid).collect()
    }

    /// Whether the sweep ends: nobody waits.
    fn rests(&mut self) -> bool {
        self.sweeps = !self.due.is_empty();
        !self.sweeps
    }
}
