//! `[[webhook]]`: where the node tells what happens.

use std::collections::BTreeSet;

use toml::de::DeValue;
use url::Url;

use super::{
    Name, RpcUrl, peer,
    scalar::{self, Read},
    section::{Placed, Section},
};
use crate::events::KINDS;

/// A receiver of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// What it is called here; under this name the node remembers how far it has come.
    pub name: Name,
    /// Where events are posted. Its path may hold a secret.
    pub url: RpcUrl,
    /// The party whose key signs; `None` for the operator.
    pub party: Option<Name>,
    /// What is told; `None` for everything.
    pub kinds: Option<BTreeSet<&'static str>>,
}

impl Webhook {
    /// Host and port, as they are signed (RFC 9421, section 2.2.3).
    #[must_use]
    pub fn authority(&self) -> String {
        peer::authority(self.url.reveal())
    }

    /// Whether it is told of records of this kind.
    #[must_use]
    pub fn wants(&self, kind: &str) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind))
    }
}

/// A webhook, and where the party whose key signs is named.
pub(super) type ReadWebhook = Placed<(Webhook, Option<Placed<Name>>)>;

pub(super) fn read(mut section: Section<'_, '_>) -> Option<ReadWebhook> {
    let place = section.place();
    let name = section.require("name", "\"erp\"", scalar::parsed::<Name>);
    let url = section.require("url", "\"http://127.0.0.1:9000/sofie\"", target);
    let party = section.get("party", scalar::parsed::<Name>);
    let words = KINDS.map(|kind| (kind, kind));
    let kinds = section.get("kinds", |value| {
        match scalar::list(value, KINDS.len(), |kind| scalar::word(kind, &words))? {
            kinds if kinds.is_empty() => {
                Err("names nothing that could be told; leave it out for everything".into())
            }
            kinds => Ok(kinds.into_iter().collect()),
        }
    });
    section.finish();
    let webhook = Webhook {
        name: name?.value,
        url: RpcUrl::new(url?.value),
        party: party.as_ref().map(|party| party.value.clone()),
        kinds: kinds.map(|kinds| kinds.value),
    };
    Some(Placed { place, value: (webhook, party) })
}

/// What is signed has no query, and a user's password would go over the wire in the clear.
fn target(value: &DeValue<'_>) -> Read<Url> {
    let url = scalar::url(value, &["http"])?;
    let bare = url.query().is_none() && url.fragment().is_none();
    if bare && url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err("names more than scheme, host, port and path; the receiver knows the node by its signature"
            .to_owned())
    }
}
