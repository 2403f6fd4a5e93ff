//! What an owner grants, and what is left of it at the end of a token.

use minicbor::{Decode, Encode};
use serde::Serialize;
use sofie_model::{ThingId, Timestamp, Txid};

use crate::{Affordance, Caveat, Error, PublicKey, RevocationId, caveat::MAX_CAVEATS, token::Part};

/// A grant: the first part of a token, signed by the owner.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct Grant {
    /// Whose key speaks: the holder proves it with each request.
    #[n(0)]
    pub holder: PublicKey,
    /// Which things, in ascending order.
    #[n(1)]
    pub things: Vec<ThingId>,
    /// Which operations on them, in ascending order.
    #[n(2)]
    pub affordances: Vec<Affordance>,
    /// Valid from this instant on.
    #[n(3)]
    pub not_before: Timestamp,
    /// Void from this instant on.
    #[n(4)]
    pub expires: Timestamp,
    /// How often, if there is a limit.
    #[n(5)]
    pub uses: Option<u64>,
    /// How often the capability may be passed on to another key; 0 keeps it with the holder.
    #[n(6)]
    pub delegations: u64,
    /// The transaction that it belongs to, if it does to one.
    #[n(7)]
    pub transaction: Option<Txid>,
}

impl Grant {
    /// A grant for one operation on one thing, as often as wanted in its time, not to be passed on.
    #[must_use]
    pub fn new(
        holder: PublicKey,
        thing: ThingId,
        affordance: Affordance,
        not_before: Timestamp,
        expires: Timestamp,
    ) -> Self {
        Self {
            holder,
            things: vec![thing],
            affordances: vec![affordance],
            not_before,
            expires,
            uses: None,
            delegations: 0,
            transaction: None,
        }
    }

    /// The same conditions as a list.
    pub(crate) fn caveats(&self) -> Vec<Caveat> {
        let mut caveats = vec![
            Caveat::Things(self.things.clone()),
            Caveat::Affordances(self.affordances.clone()),
            Caveat::NotBefore(self.not_before),
            Caveat::Expires(self.expires),
            Caveat::Delegations(self.delegations),
        ];
        caveats.extend(self.uses.map(Caveat::Uses));
        caveats.extend(self.transaction.map(Caveat::Transaction));
        caveats
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_all(&self.caveats())?;
        if self.not_before < self.expires {
            Ok(())
        } else {
            Err(Error::Grant { field: "expires", why: "lies before its start".into() })
        }
    }
}

/// Whether every caveat can stand in a token, and all of them in one part.
pub(crate) fn check_all(caveats: &[Caveat]) -> Result<(), Error> {
    if caveats.len() > MAX_CAVEATS {
        return Err(Error::TooMuch { what: "caveats in a part", got: caveats.len(), limit: MAX_CAVEATS });
    }
    caveats.iter().try_for_each(Caveat::check)
}

/// What a token allows after all its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    /// Who granted.
    pub owner: PublicKey,
    /// The key that must sign requests: the last one the capability was passed on to.
    pub holder: PublicKey,
    /// Every key it was passed on by, the grant's holder first.
    pub passed_on_by: Vec<PublicKey>,
    /// Which things.
    pub things: Vec<ThingId>,
    /// Which operations.
    pub affordances: Vec<Affordance>,
    /// Valid from this instant on.
    pub not_before: Timestamp,
    /// Void from this instant on.
    pub expires: Timestamp,
    /// How often it may be passed on in all.
    pub delegations: u64,
    /// The transactions that it names; a request can meet one only.
    pub transactions: Vec<Txid>,
    /// The tightest limit of uses of each part that has one, by the part's number.
    pub uses: Vec<(usize, u64)>,
    /// What names each part in a revocation list.
    pub revocation_ids: Vec<RevocationId>,
}

impl View {
    /// What `parts` leave of the grant.
    pub(crate) fn of(
        owner: PublicKey,
        grant: &Grant,
        parts: &[Part],
        revocation_ids: Vec<RevocationId>,
    ) -> Self {
        let mut view = Self {
            owner,
            holder: grant.holder,
            passed_on_by: Vec::new(),
            things: grant.things.clone(),
            affordances: grant.affordances.clone(),
            not_before: grant.not_before,
            expires: grant.expires,
            delegations: grant.delegations,
            transactions: Vec::new(),
            uses: Vec::new(),
            revocation_ids,
        };
        for (index, part) in parts.iter().enumerate() {
            if let Part::Delegate { to, .. } = part {
                let by = std::mem::replace(&mut view.holder, *to);
                view.passed_on_by.push(by);
            }
            for caveat in part.caveats() {
                view.narrow(index, caveat);
            }
        }
        view
    }

    fn narrow(&mut self, index: usize, caveat: Caveat) {
        match caveat {
            Caveat::NotBefore(at) => self.not_before = self.not_before.max(at),
            Caveat::Expires(at) => self.expires = self.expires.min(at),
            Caveat::Things(things) => self.things.retain(|thing| things.contains(thing)),
            Caveat::Affordances(some) => self.affordances.retain(|affordance| some.contains(affordance)),
            Caveat::Delegations(limit) => self.delegations = self.delegations.min(limit),
            Caveat::Transaction(txid) if self.transactions.contains(&txid) => {}
            Caveat::Transaction(txid) => self.transactions.push(txid),
            Caveat::Uses(limit) => match self.uses.last_mut() {
                Some((last, known)) if *last == index => *known = limit.min(*known),
                _ => self.uses.push((index, limit)),
            },
        }
    }
}
