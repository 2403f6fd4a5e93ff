//! P5: the inequalities on which a pivot, the one leg that rests on time, depends. Each term is needed:
//! `crates/testkit/tests/model` finds what happens with one tick less.

use minicbor::{Decode, Encode};
use sofie_model::{Manifest, Span, Terms, Timestamp};

/// What the pivot's inequalities are made of. D's and the pivot ledger's times come from their profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct PivotClock {
    /// D: from submitted to recorded, censorship included.
    #[n(0)]
    pub inclusion_d: Span,
    /// D: from recorded to final.
    #[n(1)]
    pub finality_d: Span,
    /// The pivot's ledger: from submitted to recorded, censorship included.
    #[n(2)]
    pub inclusion_p: Span,
    /// The pivot's ledger: from recorded to final.
    #[n(3)]
    pub finality_p: Span,
    /// How long until this node notices and acts, a restart included.
    #[n(4)]
    pub detection: Span,
    /// The largest difference between the two ledgers' clocks.
    #[n(5)]
    pub skew: Span,
}

/// A contract, a log and a group count whole seconds.
const D_COUNTS: Span = Span::from_seconds(1);

/// How much time is left over at each of the two edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slack {
    /// From the last possible COMMIT to T_p: the claimant's time to claim.
    pub claim: Span,
    /// From T_p to G: the payer's time to have a late claim decided.
    pub settle: Span,
}

/// P5 does not hold: prepare must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{edge} must be {needed} or later, it is {missing} too early")]
pub struct TooTight {
    /// The field of the manifest that lies too early: the pivot's timelock, or the end of grace.
    pub edge: &'static str,
    /// The earliest instant that is safe, in milliseconds since 1970.
    pub needed: EarliestMillis,
    /// By how much it misses it.
    pub missing: Span,
}

/// An instant that prints as milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarliestMillis(pub Timestamp);

impl std::fmt::Display for EarliestMillis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_millis().fmt(f)
    }
}

/// The slack of `manifest`'s pivot; `None` without a pivot.
///
/// # Errors
/// [`TooTight`] names the edge that lies too early.
pub fn slack(manifest: &Manifest, clock: PivotClock) -> Result<Option<Slack>, TooTight> {
    let Some(leg) = manifest.pivot().and_then(|id| manifest.leg(id)) else { return Ok(None) };
    let Terms::Hashlock(terms) = &leg.terms else { return Ok(None) };
    let claim = margin("the pivot's timelock", terms.timelock, clock.claim_by(manifest.deadline))?;
    let settle = margin("the end of grace", manifest.grace_end(), clock.decide_by(terms.timelock))?;
    Ok(Some(Slack { claim, settle }))
}

impl PivotClock {
    /// The earliest T_p that is safe: T_D + 1 s + finality(D) + detection + inclusion(p) + finality(p) + 2·skew. D counts
    /// whole seconds, and takes COMMIT until the end of that of T_D. A claim that is only recorded when a refund becomes
    /// valid may still be undone for it (docs/specs/inter-ledger.md, "What the model found").
    #[must_use]
    pub fn claim_by(&self, deadline: Timestamp) -> Timestamp {
        let recorded = deadline + D_COUNTS + self.finality_d + self.detection + self.inclusion_p;
        recorded + self.finality_p + self.skew * 2
    }

    /// The earliest G that is safe: T_p + detection + inclusion(p) + finality(p) + detection + inclusion(D) +
    /// finality(D) + 2·skew. Whoever refunds may be restarting when T_p passes, and a claim is valid until the refund
    /// stands.
    #[must_use]
    pub fn decide_by(&self, timelock: Timestamp) -> Timestamp {
        let refunded = timelock + self.detection + self.inclusion_p + self.finality_p;
        refunded + self.detection + self.inclusion_d + self.finality_d + self.skew * 2
    }

    /// T_p where nobody names one: the earliest that is safe, and a detection more, in whole seconds. A restart may cost
    /// as much again before the alarm would be the last warning.
    #[must_use]
    pub fn timelock(&self, deadline: Timestamp) -> Timestamp {
        (self.claim_by(deadline) + self.detection).whole_second()
    }

    /// G − T_D where nobody names it, with the same in reserve as [`PivotClock::timelock`].
    #[must_use]
    pub fn grace(&self, deadline: Timestamp, timelock: Timestamp) -> Span {
        (self.decide_by(timelock) + self.detection).whole_second().since(deadline)
    }
}

fn margin(edge: &'static str, at: Timestamp, needed: Timestamp) -> Result<Span, TooTight> {
    if at >= needed {
        Ok(at.since(needed))
    } else {
        Err(TooTight { edge, needed: EarliestMillis(needed), missing: needed.since(at) })
    }
}
