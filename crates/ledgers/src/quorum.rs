//! A group of members that decides (docs/adr/0023-quorum-certificates.md, docs/adr/0024-members-over-http.md): the ledger
//! that asks all of them ([`Quorum`]), and one member with its durable store ([`Member`]).
//!
//! All that is said is self-authenticating: requests by their preimages and signatures, votes and answers by the members'
//! keys, the decision by its certificate. Whoever stands between, or up to f lying members, can only delay. A group holds
//! decisions and nothing else: its ledger carries no legs and takes no notes.
//!
//! Left out: TLS (this build speaks plain HTTP: run a proxy next door), members that change, and who may ask: put a
//! member's door where only its users reach it.

use sofie_model::{Digest, LedgerId, Span, Txid};
use url::Url;

mod ledger;
mod member;
mod outbox;
mod store;
mod worker;

pub use ledger::{Config, Quorum, profile};
pub use member::{Member, MemberConfig, NotTaken};
pub use store::{OpenError, Stored};

/// The media type of all requests: none that a foreign page could send without asking first.
pub const MEDIA_TYPE: &str = "application/vnd.sofie.quorum";
/// Under which path of a member's door everything of groups is.
pub const PREFIX: [&str; 3] = ["api", "v1", "quorums"];

/// How long an honest member may take for one answer.
pub const TIMEOUT: Span = Span::from_seconds(5);
/// How long the first round waits for each step, and how often an undecided member repeats itself.
pub const PACE: Span = Span::from_millis(500);

/// Where a member of a group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seated {
    /// Its Ed25519 key.
    pub key: Digest,
    /// Its door, `http://HOST:PORT`.
    pub url: Url,
}

/// The segments of a path of group `group`.
fn path(group: &Digest, rest: &[&str]) -> Vec<String> {
    let group = group.to_string();
    PREFIX.iter().chain([&group.as_str()]).chain(rest).map(|one| (*one).to_owned()).collect()
}

fn word_path(group: &Digest, txid: Txid, nonce: &Digest) -> Vec<String> {
    path(group, &["words", &txid.to_string(), &nonce.to_string()])
}

fn ask_path(group: &Digest, nonce: &Digest) -> Vec<String> {
    path(group, &["asks", &nonce.to_string()])
}

fn bundle_path(group: &Digest) -> Vec<String> {
    path(group, &["bundles"])
}

/// As the client takes it.
fn segments(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

/// Why a group could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMembers {
    /// Its keys make no group.
    #[error(transparent)]
    Group(#[from] sofie_model::quorum::BadGroup),
    /// A member's URL is not one of plain HTTP.
    #[error("member {key} has a URL of scheme {scheme}, http is spoken: run a proxy on this machine")]
    Scheme {
        /// Whose.
        key: Digest,
        /// What the URL asks for.
        scheme: String,
    },
    /// No HTTP client can be made.
    #[error("no HTTP client can be made: {0}")]
    Client(String),
}

/// A group by the configuration's list.
///
/// # Errors
/// [`BadMembers`].
pub fn group(members: &[Seated]) -> Result<sofie_model::quorum::Group, BadMembers> {
    Ok(sofie_model::quorum::Group::new(members.iter().map(|one| one.key).collect())?)
}

/// One HTTP client a member, in the group's order.
fn clients(
    group: &sofie_model::quorum::Group,
    members: &[Seated],
    max_answer: usize,
) -> Result<Vec<crate::http::Client>, BadMembers> {
    use crate::http::{Client, NoClient};
    let of = |key: &Digest| {
        let seated = members.iter().find(|one| one.key == *key).expect("the group was made of this list");
        Client::new(seated.url.clone(), TIMEOUT.into(), max_answer).map_err(|error| match error {
            NoClient::Scheme(scheme) => BadMembers::Scheme { key: *key, scheme },
            NoClient::Broken(why) => BadMembers::Client(why),
        })
    };
    group.members().iter().map(of).collect()
}

/// The name of a member's store, for the ledger of this name.
#[must_use]
pub fn member_file(id: &LedgerId) -> String {
    format!("{id}.member.sqlite")
}
