//! P7: what a transaction's atomicity rests on, set by the weaker of its weakest leg and D.

use std::fmt;

use sofie_model::{Account, Class, LedgerId, Manifest, Span};

/// From the strongest to the weakest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Every leg checks D by itself, or is a record that a reader checks against D; D has many operators.
    Verified,
    /// D is a quorum's word.
    Quorum,
    /// One leg, the pivot, rests on time: safe while nobody is kept from D and the pivot's ledger for longer than this.
    SwapSafe(Span),
    /// One operator could rewrite D or a leg.
    Custodial,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified => f.write_str("verified"),
            Self::Quorum => f.write_str("quorum"),
            Self::SwapSafe(span) => write!(f, "swap-safe({span})"),
            Self::Custodial => f.write_str("custodial"),
        }
    }
}

/// The label of `manifest`, where `single_operator` tells which ledgers one party can rewrite.
#[must_use]
pub fn label(manifest: &Manifest, single_operator: impl Fn(&LedgerId) -> bool) -> Label {
    let decision = match &manifest.decision {
        site if single_operator(&site.ledger) => Label::Custodial,
        // A group's account, and no chain (docs/specs/inter-ledger.md, "A quorum that decides").
        site if site.chain_id == 0 && site.contract != Account::ZERO => Label::Quorum,
        _ => Label::Verified,
    };
    let of_leg = |leg: &sofie_model::Leg| match leg.class {
        Class::Escrow => Label::Custodial,
        _ if single_operator(&leg.ledger) => Label::Custodial,
        Class::Hashlock => Label::SwapSafe(manifest.grace),
        Class::Verifying | Class::Record => Label::Verified,
    };
    manifest.legs.iter().map(of_leg).fold(decision, Label::max)
}
