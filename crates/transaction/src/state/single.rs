//! A pivot whose lock has one hash, its claimant's, as an ILP packet's has (design "Secrets"). A claim shows no other secret,
//! so its payer could not answer one with COMMIT unless it held all the others before. Whoever has no part in the pivot
//! therefore releases as soon as all other legs are prepared; then the payer locks, and tells its own secret only once the
//! lock is final: before that nobody can COMMIT.

use super::{Leg, Phase, State};

impl State {
    fn has_single_hash(&self) -> bool {
        self.manifest.pivot_terms().is_some_and(|terms| terms.opened_by.is_some())
    }

    fn pivot_leg(&self) -> Option<&Leg> {
        self.legs.get(usize::from(self.manifest.pivot()?.0))
    }

    fn is_pivots_payer(&self, who: u16) -> bool {
        self.manifest.pivot_terms().is_some_and(|terms| self.index_of(terms.payer) == Some(who))
    }

    /// Whether every participant's secret is known here.
    pub(super) fn knows_all(&self) -> bool {
        self.preimages.iter().all(Option::is_some)
    }

    fn knows_of_all_but(&self, excepted: impl Fn(u16) -> bool) -> bool {
        (0..self.count()).all(|who| excepted(who) || self.preimage(who).is_some())
    }

    /// Whether the payer here would be able to COMMIT after a claim.
    pub(super) fn may_lock_pivot(&self) -> bool {
        !self.has_single_hash() || self.knows_of_all_but(|who| self.claimant() == Some(who))
    }

    /// Those that are held here and release before the pivot is locked: the payer last, to its own node only.
    pub(super) fn early_releases(&self) -> impl Iterator<Item = u16> {
        let due =
            self.has_single_hash() && self.is_pivots_turn() && matches!(self.pivot_leg(), Some(Leg::Open));
        let claims = |who: u16| self.claimant() == Some(who);
        let others = self.knows_of_all_but(|who| claims(who) || self.is_pivots_payer(who));
        self.held().filter(move |who| {
            let kept = self.preimage(*who).is_none() && !claims(*who);
            due && kept && (others || !self.is_pivots_payer(*who))
        })
    }

    /// Whether a secret that is known here may be told to others.
    pub(super) fn may_tell(&self, who: u16) -> bool {
        matches!(self.pivot_leg(), Some(Leg::Prepared(_)))
            || !self.has_single_hash()
            || !self.is_pivots_payer(who)
    }

    /// A claim was seen whose COMMIT needs a secret that is not here: its payer has them all, and commits.
    pub(super) fn await_payer(&mut self) {
        if self.phase == Phase::Preparing {
            self.phase = Phase::Releasing;
        }
    }
}
