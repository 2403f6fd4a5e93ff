//! What a node's participants have to say to the nodes of the others (design "Secrets"). It is said until it is heard,
//! or until nothing need be said any more; the words are the inputs that the others take.

use super::{Phase, State};
use crate::Input;

/// What a participant says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// Its secret.
    Released,
    /// That it will not release.
    Withheld,
    /// Its signature under ABORT.
    Renounced,
}

impl State {
    /// Whether nothing need be said any more: D has decided, or nothing is done here.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.decided.is_some() || matches!(self.phase, Phase::Halted { .. } | Phase::Done(_))
    }

    /// What those have to say whom this node acts for, by participant. Where there is a pivot, only every participant's
    /// signature ends it before G, so that one that will not release says nothing else.
    #[must_use]
    pub fn news(&self) -> Vec<((u16, News), Input)> {
        let aborts = match &self.phase {
            Phase::Aborting { reason, .. } => Some(reason),
            _ => None,
        };
        let pivot = self.manifest.pivot().is_some();
        let says = |who: u16| match (aborts, self.preimage(who)) {
            (Some(reason), _) if !pivot => Some((News::Withheld, Input::Withheld(who, reason.clone()))),
            (Some(_), None) => Some((News::Renounced, Input::Renounced(who, self.abort_signature(who)?))),
            // The pivot's claimant releases by publishing: COMMIT on D, or the claim.
            (None, Some(preimage)) if self.claimant() != Some(who) && self.may_tell(who) => {
                Some((News::Released, Input::Released(who, preimage)))
            }
            _ => None,
        };
        let all = self.own.acts_for.iter();
        all.filter_map(|who| says(*who).map(|(kind, input)| ((*who, kind), input))).collect()
    }
}
