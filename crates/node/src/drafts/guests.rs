//! The parties of a draft: those whose keys are here, and guests, whose keys are at a peer. A guest says itself, for this
//! one draft's nonce, under which hash it takes part.

use std::collections::BTreeMap;

use sofie_model::manifest::Participant;
use sofie_model::{Account, Digest, PublicKey};

use super::{Desk, Refused, refused};
use crate::api::Draft;
use crate::config::{Name, nearest};
use crate::keys::PartyKeys;
use crate::parties::preimage;

/// A party at a peer, as it was enquired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) name: Name,
    pub(crate) participant: Participant,
    pub(crate) key: PublicKey,
}

/// A party that a draft may name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Party<'a> {
    /// Its keys are here.
    Here(&'a PartyKeys),
    /// Its keys are at a peer.
    There(&'a Guest),
}

impl Party<'_> {
    pub(super) fn account(self) -> Account {
        match self {
            Self::Here(keys) => keys.account(),
            Self::There(guest) => guest.participant.account,
        }
    }

    /// The key of its account, which locks value on other ledgers, too.
    pub(super) fn key(self) -> PublicKey {
        match self {
            Self::Here(keys) => PublicKey::from(keys.secp256k1().verifying_key()),
            Self::There(guest) => guest.key,
        }
    }

    pub(super) const fn is_here(self) -> bool {
        matches!(self, Self::Here(_))
    }

    pub(super) fn participant(self, nonce: Digest) -> Participant {
        match self {
            Self::Here(keys) => Participant {
                account: keys.account(),
                hashlock: Digest::sha256(preimage(keys, nonce).as_bytes()),
            },
            Self::There(guest) => guest.participant,
        }
    }
}

impl Desk {
    /// The parties of the draft whose keys are at peers, each with the field that names it first.
    ///
    /// # Errors
    /// [`Refused`] for a name that nobody has: before any peer is troubled.
    pub(crate) fn guests_of(&self, draft: &Draft) -> Result<BTreeMap<Name, String>, Refused> {
        let mut wanted = BTreeMap::new();
        for (field, name) in named(draft) {
            match self.elsewhere.keys().find(|known| known.as_str() == name) {
                Some(name) => drop(wanted.entry(name.clone()).or_insert(field)),
                None if self.parties.named(name).is_some() => {}
                None => return Err(self.no_party(name, &field)),
            }
        }
        Ok(wanted)
    }

    pub(super) fn party<'a>(
        &'a self,
        guests: &'a [Guest],
        name: &str,
        field: &str,
    ) -> Result<Party<'a>, Refused> {
        let guest = || guests.iter().find(|guest| guest.name.as_str() == name).map(Party::There);
        self.parties.named(name).map(Party::Here).or_else(guest).ok_or_else(|| self.no_party(name, field))
    }

    pub(super) fn no_party(&self, name: &str, field: &str) -> Refused {
        let here: Vec<_> = self.parties.iter().map(|keys| keys.name().as_str()).collect();
        let there: Vec<_> = self.elsewhere.keys().map(Name::as_str).collect();
        let all = [&here[..], &there[..]].concat();
        let hint = nearest(name, &all).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        let peers = if there.is_empty() { "" } else { ", and its peers have " };
        let there: Vec<_> = self.elsewhere.iter().map(|(name, peer)| format!("{name} ({peer})")).collect();
        let (here, there) = (here.join(", "), there.join(", "));
        refused(field, format!("this node has no party {name:?}; it has {here}{peers}{there}{hint}"))
    }
}

/// Every party that the draft names, with the field.
fn named(draft: &Draft) -> impl Iterator<Item = (String, &str)> {
    let participants = draft.participants.iter().enumerate();
    let participants = participants.map(|(index, name)| (format!("participants[{index}]"), name.as_str()));
    let legs = draft.legs.iter().enumerate().flat_map(|(index, leg)| {
        let by = leg.evidence.as_ref().map(|evidence| &evidence.by);
        let others = leg.evidence.iter().flat_map(|evidence| &evidence.others).enumerate();
        let others = others
            .map(move |(other, name)| (format!("legs[{index}].evidence.others[{other}]"), name.as_str()));
        let fields = [("from", leg.from.as_ref()), ("to", leg.to.as_ref()), ("evidence.by", by)];
        fields
            .into_iter()
            .filter_map(move |(field, name)| Some((format!("legs[{index}].{field}"), name?.as_str())))
            .chain(others)
    });
    participants.chain(legs)
}
