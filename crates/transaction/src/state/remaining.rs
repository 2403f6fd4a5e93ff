//! How much time is left until each point after which a promise can no longer be kept (P5; docs/specs/inter-ledger.md,
//! "Slack"), so that others show it and alarm before it is gone.

use sofie_model::{Decision, LegId, Span, Timestamp};

use super::{Leg, Phase, State};

/// What must have begun before its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edge {
    /// The last release: COMMIT must be final on D by T_D. After it the transaction can only abort.
    Release,
    /// COMMIT that is on its way must be recorded by T_D.
    Commit,
    /// The pivot's claim must be final by T_p: a claim that is only recorded may be undone for a refund.
    Claim,
    /// The COMMIT that follows a claim must be final on D by G: after that anyone can abort what was claimed.
    Settle,
}

/// The time that is left until an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// The leg that it concerns; `None` for D.
    pub leg: Option<LegId>,
    /// Which edge.
    pub edge: Edge,
    /// The last instant at which it is not too late to begin.
    pub until: Timestamp,
    /// How long until then; zero when it is over.
    pub left: Span,
    /// Another restart of a node would not fit in any more.
    pub alarm: bool,
}

impl State {
    /// What is left until each edge that lies before this transaction at `now`, by this node's clock.
    #[must_use]
    pub fn slack(&self, now: Timestamp) -> Vec<Remaining> {
        let edges = match &self.phase {
            Phase::Preparing | Phase::Releasing => [self.release_edge(now), self.claim_edge(now)],
            Phase::Committing if self.late.claim.is_none() => [self.commit_edge(now), self.claim_edge(now)],
            Phase::Late if self.late.claim.is_none() => [self.claim_edge(now), None],
            Phase::Committing | Phase::Late => [self.settle_edge(now), None],
            Phase::Aborting { .. } if self.late.claim.is_some() => [self.settle_edge(now), None],
            Phase::Closing(Decision::Commit { .. }) => [self.claim_edge(now), None],
            Phase::Aborting { .. } | Phase::Closing(_) | Phase::Done(_) | Phase::Halted { .. } => {
                [None, None]
            }
        };
        edges.into_iter().flatten().collect()
    }

    fn release_edge(&self, now: Timestamp) -> Option<Remaining> {
        Some(self.remaining(None, Edge::Release, self.manifest.deadline, self.decision_time(), now))
    }

    fn commit_edge(&self, now: Timestamp) -> Option<Remaining> {
        let need = self.own.pivot.map_or(Span::ZERO, |clock| clock.inclusion_d + clock.skew);
        Some(self.remaining(None, Edge::Commit, self.manifest.deadline, need, now))
    }

    fn claim_edge(&self, now: Timestamp) -> Option<Remaining> {
        let (id, clock) = (self.manifest.pivot()?, self.own.pivot?);
        let terms = self.manifest.pivot_terms()?;
        if matches!(self.legs.get(usize::from(id.0)), Some(Leg::Closed { .. })) {
            return None;
        }
        let need = clock.inclusion_p + clock.finality_p + clock.skew * 2;
        Some(self.remaining(Some(id), Edge::Claim, terms.timelock, need, now))
    }

    fn settle_edge(&self, now: Timestamp) -> Option<Remaining> {
        let (id, clock) = (self.manifest.pivot()?, self.own.pivot?);
        let need = clock.inclusion_d + clock.finality_d + clock.skew * 2;
        Some(self.remaining(Some(id), Edge::Settle, self.manifest.grace_end(), need, now))
    }

    fn remaining(
        &self,
        leg: Option<LegId>,
        edge: Edge,
        at: Timestamp,
        need: Span,
        now: Timestamp,
    ) -> Remaining {
        let until = Timestamp::from_millis(at.as_millis().saturating_sub(need.as_millis()));
        let left = until.since(now);
        let restart = self.own.pivot.map_or(self.own.decision_time, |clock| clock.detection);
        Remaining { leg, edge, until, left, alarm: left < restart }
    }
}
