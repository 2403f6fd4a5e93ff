//! A pivot with a single hash, as an ILP packet has it: it opens to its claimant's secret alone, so a claim shows no other.
//! Whoever pays on it locks it only when it holds every other secret, and gives its own only when the lock is final.

use crate::{
    broken::Broken,
    protocol::Protocol,
    state::{PREPARES, Set, State, Tx, Who},
};

impl Protocol {
    /// The prepares that `who` must see final before it releases: the pivot's is not there yet when those release who have no
    /// part in it.
    pub(crate) fn looks_at(&self, who: Who) -> &'static [Tx] {
        let early = who == Who::Carol || (who == Who::Alice && self.breaks(Broken::PayerReleasesEarly));
        if self.single && early { &[Tx::LockVerifying, Tx::AppendRecord] } else { &PREPARES }
    }

    /// The honest payer locks last, and nothing once ABORT is signed.
    pub(crate) fn is_its_turn(&self, state: &State, tx: Tx) -> bool {
        let others = state.is_final(Tx::LockVerifying) && state.is_final(Tx::AppendRecord);
        let told = state.released.has(Who::Carol) && state.odd != Some(Who::Carol);
        let waits = self.single && tx == Tx::LockPivot && state.is_honest(Who::Alice);
        !waits || self.breaks(Broken::LocksBeforeReleases) || (others && told && !state.abort_signed)
    }

    /// The honest payer has locked, which is its word: a claim may follow, and it would COMMIT with its own secret.
    pub(crate) fn has_promised(&self, state: &State) -> bool {
        let locked = state.is_honest(Who::Alice) && !state.is_absent(Tx::LockPivot);
        self.single && locked && !self.breaks(Broken::SignsAbortAfterLocking)
    }

    /// The lock's own check of the secrets' lengths passes.
    pub(crate) fn lock_takes_lengths(&self, state: &State) -> bool {
        if self.single { state.odd != Some(Who::Bob) } else { state.odd.is_none() }
    }

    /// Somebody who runs, or will run again, holds every secret once a claim is seen: everyone, or the payer with its own.
    pub(crate) fn somebody_has_all(&self, state: &State) -> bool {
        let payers = state.released.with(Who::Alice) == Set::EVERYONE && state.is_honest(Who::Alice);
        state.released == Set::EVERYONE || (self.single && payers)
    }

    /// Since when COMMIT answers a claim: a single hash may be claimed before its lock is final, and COMMIT waits for that.
    pub(crate) fn answers_claim_since(&self, state: &State) -> Option<u8> {
        let seen = state.seen(Tx::Claim)?;
        if !self.single {
            return Some(seen);
        }
        state.final_at(Tx::LockPivot).filter(|at| *at <= state.now).map(|at| at.max(seen))
    }

    /// Whether the hostile ones have the secrets that the move needs.
    pub(crate) fn hostile_can(&self, state: &State, tx: Tx) -> bool {
        match tx {
            Tx::Claim if self.single => state.released.and(state.hostile).has(Who::Bob),
            Tx::Commit | Tx::Claim => state.hostile_know_all(),
            _ => true,
        }
    }

    /// P2: an honest payer's lock is its last release but for one: once it is final, a claim makes it COMMIT.
    pub(crate) fn promise(&self, state: &mut State, tx: Tx) {
        if self.single && tx == Tx::LockPivot && state.is_honest(Who::Alice) {
            let others = state.is_final(Tx::LockVerifying) && state.is_final(Tx::AppendRecord);
            state.released_well = others && state.now <= self.times.deadline;
        }
    }

    /// What everyone learns from a transaction as soon as it is seen.
    pub(crate) fn publish(&self, state: &mut State, tx: Tx) {
        match tx {
            Tx::Claim if self.single => state.released = state.released.with(Who::Bob),
            Tx::Commit | Tx::Claim => state.released = Set::EVERYONE,
            _ => {}
        }
    }
}
