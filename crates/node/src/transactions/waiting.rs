//! What a restart finds unfinished (ADR 0026). A transaction that only waits, for another's deed or for a time, is not
//! driven: nothing of it is in memory but its name and when it must be driven again. What has something to do is driven as
//! the journal is read, in pages, while the node already serves; whoever is asked for meanwhile is driven at once.
//!
//! One with a pivot rests on time (P5), and one that is shared with another node must be accompanied: both are driven before
//! [`Transactions::recover_with`] returns.

use std::collections::BTreeMap;
use std::time::Duration;

use sofie_model::{LedgerId, Manifest, Span, Timestamp, Txid};
use sofie_transaction::{Effect, Plan, State};

use super::{Transactions, asking, replay};
use crate::drive::{self, Handle, Machine};
use crate::journal::{JournalError, Reader};
use crate::slack;

/// So many unfinished transactions are read from the journal before others get their turn.
const PAGE: u32 = 64;
/// How often the time of those that wait is looked at.
const TICK: Duration = Duration::from_secs(1);
/// At most so many of those that wait are looked up on the ledgers each [`TICK`].
const LOOKS: usize = 128;
/// So long before a transaction's slack could alarm, it is driven again: its slack is shown from then on.
const MARGIN: Span = Span::from_seconds(60);

/// Those that have no drive.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Places in the journal after this one, up to `last`, have not been read yet.
    read: i64,
    last: i64,
    /// How many stand there.
    unread: usize,
    /// The first last safe instant of each: what must be sent for it must be sent by then.
    waiting: BTreeMap<Txid, Timestamp>,
    /// How long until this node notices and acts, a restart included: less slack than that is an alarm.
    detection: Span,
    /// Who was looked up last.
    looked: Option<Txid>,
}

impl Transactions {
    /// Continues what the journal holds unfinished, on a node that shares none of it with another.
    ///
    /// # Errors
    /// As [`Transactions::recover_with`].
    pub fn recover(&self) -> Result<usize, JournalError> {
        self.recover_with(|_| false)
    }

    /// Continues what the journal holds unfinished; `at_once` names those that are driven before this returns. Answers how
    /// many there are.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read; [`JournalError::NoLedger`], then nothing is continued. One whose inputs do
    /// not fit is found later: then the node stops.
    pub fn recover_with(&self, at_once: impl Fn(&Manifest) -> bool) -> Result<usize, JournalError> {
        let reader = self.executor.journal().reader()?;
        let (mut last, mut count, mut urgent) = (0, 0, Vec::new());
        // All or none: without its ledger a lock would look as if it had never been made.
        loop {
            let page = reader.unfinished(State::KIND, last, PAGE)?;
            let Some((end, _)) = page.last() else { break };
            last = *end;
            count += page.len();
            for (_, id) in page {
                let Some(record) = reader.begun(State::KIND, id)? else { continue };
                let manifest = drive::plan::<Plan>(&record)?.manifest;
                self.has_ledgers_of(&manifest)?;
                if manifest.pivot().is_some() || at_once(&manifest) {
                    urgent.push(Txid(id));
                }
            }
        }
        let detection = self.room().detection;
        *self.room() = Room { last, unread: count, detection, ..Room::default() };
        for id in urgent {
            self.wake(id)?;
        }
        if count > 0 {
            tokio::spawn(self.clone().read_on(reader));
        }
        Ok(count)
    }

    /// How many have no drive, those included that the journal holds and that were not read yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let room = self.room();
        room.unread + room.waiting.len()
    }

    /// How many the journal holds that were not read yet.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.room().unread
    }

    /// The earliest last safe instant of those that only wait.
    #[must_use]
    pub fn waiting_until(&self) -> Option<Timestamp> {
        self.room().waiting.values().min().copied()
    }

    /// Tells how long until this node notices and acts, a restart included: what waits is driven again so
    /// much earlier.
    pub fn set_detection(&self, detection: Span) {
        self.room().detection = detection;
    }

    /// The first last safe instant of one that may wait without a drive; `None` for one that has something to do, or rests on
    /// time.
    fn waits(&self, state: &State) -> Option<Timestamp> {
        let profile = |id: &LedgerId| self.executor.ledgers().get(id).map(|ledger| ledger.profile());
        let wake = waits(state)?;
        let legs = state.manifest().legs();
        // How long is left is asked elsewhere.
        let edge = |(id, _)| slack::of_leg(state, id, profile, Span::ZERO, Timestamp::default());
        Some(legs.filter_map(edge).fold(wake, |first, edge| first.min(edge.until)))
    }

    fn room(&self) -> std::sync::MutexGuard<'_, Room> {
        self.room.lock().expect("no holder of this lock panics")
    }

    /// Drives one that has no drive. The room is locked meanwhile: only here, and where the journal is read on, a drive of
    /// an earlier run's transaction begins, so that there are never two.
    pub(super) fn wake(&self, id: Txid) -> Result<Option<Handle<State>>, JournalError> {
        let mut room = self.room();
        if let Some(handle) = self.driven(id) {
            return Ok(Some(handle));
        }
        let waited = room.waiting.remove(&id).is_some();
        if !waited && room.unread == 0 {
            return Ok(None);
        }
        let reader = self.executor.journal().reader()?;
        // What this run began has a drive, or has ended.
        let is_unread = |place: &i64| *place > room.read && *place <= room.last;
        if !waited && reader.place(State::KIND, id.0)?.filter(is_unread).is_none() {
            return Ok(None);
        }
        Ok(unfinished(&reader, id)?.map(|(state, seq)| self.run(state, seq)))
    }

    async fn read_on(self, reader: Reader) {
        while let Some(true) = self.or_stop(self.read_page(&reader)) {
            tokio::task::yield_now().await;
        }
        drop(reader);
        tracing::info!(waiting = self.waiting(), "the journal's unfinished transactions are read");
        tokio::spawn(self.clone().look_around());
        self.keep_time().await;
    }

    /// Whether there is more to read.
    fn read_page(&self, reader: &Reader) -> Result<bool, JournalError> {
        let mut guard = self.room();
        let room = &mut *guard;
        let mut page = reader.unfinished(State::KIND, room.read, PAGE)?;
        page.retain(|(place, _)| *place <= room.last);
        let now = self.clock().now();
        for (_, id) in page.iter().map(|(place, id)| (*place, Txid(*id))) {
            // Asked before it is read: what has a drive moves on.
            if self.driven(id).is_some() {
                continue;
            }
            let Some((state, seq)) = unfinished(reader, id)? else { continue };
            match self.waits(&state).filter(|safe| !room.is_due(*safe, now)) {
                Some(safe) => drop(room.waiting.insert(id, safe)),
                None => drop(self.run(state, seq)),
            }
        }
        match page.last() {
            Some((place, _)) => (room.read, room.unread) = (*place, room.unread.saturating_sub(page.len())),
            None => room.unread = 0,
        }
        Ok(!page.is_empty())
    }

    /// Drives each whose time has come.
    async fn keep_time(self) {
        while !self.room().waiting.is_empty() {
            self.clock().sleep(TICK).await;
            let now = self.clock().now();
            // The room is not locked while one is woken.
            let due = self.room().due(now);
            for id in due {
                if self.or_stop(self.wake(id)).is_none() {
                    return;
                }
            }
        }
    }

    /// Looks for what others do, one after the other: thousands that wait do not crowd out those that move. A ledger that
    /// does not answer holds up nobody's time.
    async fn look_around(self) {
        while !self.room().waiting.is_empty() {
            self.clock().sleep(TICK).await;
            let turn = self.room().turn(LOOKS);
            for id in turn {
                let Some(state) = self.or_stop(self.state(id)) else { return };
                let Some(state) = state else { continue };
                if asking::has_news(&self, &state).await && self.or_stop(self.wake(id)).is_none() {
                    return;
                }
            }
        }
    }
}

impl Room {
    fn is_due(&self, safe: Timestamp, now: Timestamp) -> bool {
        safe <= now + self.detection + MARGIN
    }

    /// Each whose time has come.
    fn due(&self, now: Timestamp) -> Vec<Txid> {
        let due = self.waiting.iter().filter(|(_, safe)| self.is_due(**safe, now));
        due.map(|(id, _)| *id).collect()
    }

    /// The next ones, in a circle.
    fn turn(&mut self, count: usize) -> Vec<Txid> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.looked.map_or(Unbounded, Excluded);
        let next: Vec<_> = self.waiting.range((after, Unbounded)).map(|(id, _)| *id).take(count).collect();
        // At the end of the circle it begins anew.
        self.looked = next.last().copied();
        next
    }
}

/// One that no drive moves now, so that what is read stands: its state, and how many inputs made it.
fn unfinished(reader: &Reader, id: Txid) -> Result<Option<(State, u64)>, JournalError> {
    let record = reader.machine(State::KIND, id.0)?.filter(|record| !record.ended);
    record.map(|record| Ok((replay(&record)?, record.inputs.len() as u64))).transpose()
}

/// The last instant at which what comes after its waiting is still in time on D.
fn waits(state: &State) -> Option<Timestamp> {
    if state.manifest().pivot().is_some() {
        return None;
    }
    let mut until: Option<Timestamp> = None;
    for effect in state.effects() {
        match effect {
            Effect::Observe(_) | Effect::Await(_) => {}
            Effect::Wake(at) => until = Some(until.map_or(at, |earlier| earlier.min(at))),
            _ => return None,
        }
    }
    let early = state.decision_time();
    until.map(|at| Timestamp::from_millis(at.as_millis().saturating_sub(early.as_millis())))
}
