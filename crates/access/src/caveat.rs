//! The conditions of a capability. Each part of a token lists some; a request must meet those of every part, so that
//! another part can only narrow.

use biscuit_auth::builder::{Check, Term};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sofie_model::{ThingId, Timestamp, Txid};

use crate::{Affordance, Error, PublicKey, affordance::is_plain};

/// Most caveats in one part of a token.
pub const MAX_CAVEATS: usize = 16;
/// Most things, or affordances, in one caveat.
pub const MAX_CHOICES: usize = 16;

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caveat {
    /// Valid from this instant on.
    #[n(0)]
    NotBefore(#[n(0)] Timestamp),
    /// Void from this instant on.
    #[n(1)]
    Expires(#[n(0)] Timestamp),
    /// Only for one of these things, in ascending order.
    #[n(2)]
    Things(#[n(0)] Vec<ThingId>),
    /// Only for one of these operations, in ascending order.
    #[n(3)]
    Affordances(#[n(0)] Vec<Affordance>),
    /// At most this often, counted at the door over all tokens that contain this very part.
    #[n(4)]
    Uses(#[n(0)] u64),
    /// Passed on at most this often in all, from the grant on.
    #[n(5)]
    Delegations(#[n(0)] u64),
    /// Only as part of this transaction.
    #[n(6)]
    Transaction(#[n(0)] Txid),
}

impl Caveat {
    /// Only for these things.
    #[must_use]
    pub fn things(things: impl IntoIterator<Item = ThingId>) -> Self {
        Self::Things(ascending(things))
    }

    /// Only for these operations.
    #[must_use]
    pub fn affordances(affordances: impl IntoIterator<Item = Affordance>) -> Self {
        Self::Affordances(ascending(affordances))
    }

    /// Whether the caveat can stand in a token.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::NotBefore(at) => representable("not_before", at.as_millis()),
            Self::Expires(at) => representable("expires", at.as_millis()),
            Self::Things(things) => {
                if let Some(odd) = things.iter().find(|thing| !is_plain(thing.as_str())) {
                    return Err(Error::Name { what: "thing", got: odd.to_string() });
                }
                choices("things", things)
            }
            Self::Affordances(affordances) => choices("affordances", affordances),
            Self::Uses(limit) => representable("uses", *limit),
            Self::Delegations(limit) => representable("delegations", *limit),
            Self::Transaction(_) => Ok(()),
        }
    }

    /// The check that says the same in Datalog, in part `index` of a token. The facts it reads are the door's.
    pub(crate) fn datalog(&self, index: usize) -> Check {
        match self {
            Self::NotBefore(at) => check("check if time($t), $t >= {v}", [("v", number(at.as_millis()))]),
            Self::Expires(at) => check("check if time($t), $t < {v}", [("v", number(at.as_millis()))]),
            Self::Things(things) => check(
                "check if thing($x), {v}.contains($x)",
                [("v", set(things.iter().map(ThingId::to_string)))],
            ),
            Self::Affordances(affordances) => check(
                "check if affordance($x), {v}.contains($x)",
                [("v", set(affordances.iter().map(Affordance::to_string)))],
            ),
            Self::Uses(limit) => check(
                "check if used({i}, $n), $n < {v}",
                [("i", number(index as u64)), ("v", number(*limit))],
            ),
            Self::Delegations(limit) => check("check if delegated($n), $n <= {v}", [("v", number(*limit))]),
            Self::Transaction(txid) => {
                check("check if transaction({v})", [("v", Term::Bytes(txid.0.0.to_vec()))])
            }
        }
    }
}

/// The check that the request is made in `key`'s name: by its signature, or by one that it delegated to.
pub(crate) fn speaks_for(key: &PublicKey) -> Check {
    check("check if speaks_for({v})", [("v", Term::Bytes(key.0.0.to_vec()))])
}

/// An integer of Datalog. [`Caveat::check`] has kept it below 2⁶³.
pub(crate) fn number(value: u64) -> Term {
    Term::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

fn check<const N: usize>(source: &str, values: [(&str, Term); N]) -> Check {
    let mut check = Check::try_from(source).expect("the sources above are Datalog");
    for (name, value) in values {
        check.set(name, value).expect("the sources above have these parameters");
    }
    check
}

fn set(texts: impl Iterator<Item = String>) -> Term {
    Term::Set(texts.map(Term::Str).collect())
}

fn ascending<T: Ord>(choices: impl IntoIterator<Item = T>) -> Vec<T> {
    choices.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

fn representable(field: &'static str, value: u64) -> Result<(), Error> {
    if i64::try_from(value).is_ok() {
        Ok(())
    } else {
        Err(Error::Grant { field, why: format!("{value} is past 2^63") })
    }
}

fn choices<T: Ord>(field: &'static str, choices: &[T]) -> Result<(), Error> {
    if !(1..=MAX_CHOICES).contains(&choices.len()) {
        return Err(Error::Grant {
            field,
            why: format!("{}, 1 to {MAX_CHOICES} are expected", choices.len()),
        });
    }
    if choices.windows(2).all(|pair| pair[0] < pair[1]) {
        Ok(())
    } else {
        Err(Error::Grant { field, why: "not in ascending order".into() })
    }
}
