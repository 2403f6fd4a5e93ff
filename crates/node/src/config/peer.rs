//! `[[peer]]`: the nodes of others, whose keys are pinned here.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::VerifyingKey;
use sofie_model::{Account, LedgerId};
use toml::de::DeValue;
use url::Url;

use super::{
    MAX_ENTRIES, Name,
    scalar::{self, Read},
    section::{Placed, Section},
};

/// Another company's node, and what its owner may have of this one's parties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What it is called here.
    pub name: Name,
    /// Where its HTTP door is.
    pub url: Url,
    /// The Ed25519 key of its operator: it signs all its messages.
    pub key: VerifyingKey,
    /// The parties whose keys are there, and their accounts.
    pub parties: BTreeMap<Name, Account>,
    /// The parties of this node that it may enquire after and propose to; `None`: all of them.
    pub publish: Option<BTreeSet<Name>>,
    /// The most that this node's parties may pay, without asking a person, in all transactions with this peer that have
    /// not ended, by ledger, in its smallest unit. Where a ledger is not named, a person decides about every payment.
    pub automatic: BTreeMap<LedgerId, u128>,
    /// It watches for this node: each transaction of this node's parties is entrusted to it.
    pub watcher: bool,
    /// This node watches for it: what it entrusts is taken.
    pub watched: bool,
}

impl Peer {
    /// Host and port, as they are signed (RFC 9421, section 2.2.3).
    #[must_use]
    pub fn authority(&self) -> String {
        authority(&self.url)
    }

    /// Whether it may know that this party of ours is here.
    #[must_use]
    pub fn may_know(&self, party: &Name) -> bool {
        self.publish.as_ref().is_none_or(|published| published.contains(party))
    }

    /// Whether the account is one of its parties'.
    #[must_use]
    pub fn has(&self, account: Account) -> bool {
        self.parties.values().any(|known| *known == account)
    }
}

/// Host in lower case, and the port where it is not the scheme's own.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

pub(super) fn read(mut section: Section<'_, '_>) -> Option<Placed<Peer>> {
    let place = section.place();
    let name = section.require("name", "\"mill\"", scalar::parsed::<Name>);
    let url = section.require("url", "\"http://127.0.0.1:8421\"", |value| door(value, &["http"]));
    let key = section.require("key", "\"the key that GET /api/v1/peers of that node shows\"", key);
    let parties = section.table("parties", "[peer.parties]");
    let parties =
        parties.entries(|name, value| Ok((name.parse::<Name>()?, scalar::parsed::<Account>(value)?)));
    let publish = section.get("publish", |value| scalar::list(value, MAX_ENTRIES, scalar::parsed::<Name>));
    let automatic = section.table("automatic", "[peer.automatic]");
    let automatic = automatic.entries(|ledger, value| {
        Ok((ledger.parse::<LedgerId>().map_err(|e| e.to_string())?, scalar::amount(value)?))
    });
    let [watcher, watched] = ["watcher", "watched"].map(|key| section.get_or(key, false, scalar::boolean));
    section.finish();
    let value = Peer {
        name: name?.value,
        url: url?.value,
        key: key?.value,
        parties: parties.into_iter().map(|entry| entry.value).collect(),
        publish: publish.map(|published| published.value.into_iter().collect()),
        automatic: automatic.into_iter().map(|entry| entry.value).collect(),
        watcher,
        watched,
    };
    Some(Placed { place, value })
}

/// A URL of a node: no path, no query, no user.
pub(super) fn door(value: &DeValue<'_>, schemes: &[&str]) -> Read<Url> {
    let url = scalar::url(value, schemes)?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if bare && url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err("names more than scheme, host and port; write for example \"http://127.0.0.1:8421\"".to_owned())
    }
}

fn key(value: &DeValue<'_>) -> Read<VerifyingKey> {
    let mut bytes = [0; 32];
    let read = hex::decode_to_slice(scalar::text(value)?, &mut bytes).ok();
    read.and_then(|()| VerifyingKey::from_bytes(&bytes).ok())
        .filter(|key| !key.is_weak())
        .ok_or_else(|| "is not an Ed25519 key of 64 hexadecimal digits".to_owned())
}
