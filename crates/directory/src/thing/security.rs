//! Security schemes (TD 1.1, section 5.3.3).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::node::Node;
use crate::problem::{Code, quote};

/// The kind of a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// None needed.
    NoSec,
    /// Negotiated by the protocol.
    Auto,
    /// Several schemes.
    Combo(Combination),
    /// HTTP basic authentication.
    Basic,
    /// HTTP digest authentication.
    Digest,
    /// An opaque key.
    ApiKey,
    /// A bearer token.
    Bearer,
    /// A pre-shared key.
    Psk,
    /// OAuth 2.0.
    OAuth2,
    /// Of another vocabulary: a prefixed name.
    Other(String),
}

/// How the schemes of a `combo` go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Combination {
    /// One of them is enough.
    OneOf(Vec<String>),
    /// All of them are needed.
    AllOf(Vec<String>),
}

/// One entry of `securityDefinitions`.
#[derive(Debug, Clone, PartialEq)]
pub struct SecurityScheme {
    /// Its kind.
    pub scheme: Scheme,
    /// `@type`.
    pub types: Vec<String>,
    /// For people.
    pub description: Option<String>,
    /// Where the credential goes: `header`, `query`, `body`, `cookie`, `uri`, `auto`.
    pub place: Option<String>,
    /// The name of that header, parameter or variable.
    pub name: Option<String>,
    /// `authorization`: the server that issues tokens, or asks the user.
    pub authorization: Option<String>,
    /// `token`: the token server.
    pub token: Option<String>,
    /// Scopes of OAuth 2.0.
    pub scopes: Vec<String>,
    /// `flow` of OAuth 2.0.
    pub flow: Option<String>,
    /// Every other term: `proxy`, `alg`, `format`, `qop`, `identity`, `refresh`, and other vocabularies.
    pub others: Map<String, Value>,
}

const TERMS: [&str; 11] = [
    "scheme",
    "@type",
    "description",
    "in",
    "name",
    "authorization",
    "token",
    "scopes",
    "flow",
    "oneOf",
    "allOf",
];

/// How many schemes a thing may define, and how many a combination may name: SOFIE's own limits.
pub const MAX_SCHEMES: usize = 64;

/// `securityDefinitions`.
pub(super) fn definitions(thing: &Node<'_>) -> BTreeMap<String, SecurityScheme> {
    let Some(node) = thing.get("securityDefinitions") else { return BTreeMap::new() };
    let count = node.value.as_object().map_or(0, serde_json::Map::len);
    if count > MAX_SCHEMES {
        let message = format!("{count} schemes; at most {MAX_SCHEMES} are read: define only those in use");
        node.fail(Code::TooMany, message);
        return BTreeMap::new();
    }
    let definitions = thing.map_of("securityDefinitions", |_, node| SecurityScheme::read(&node));
    check_combinations(&node, &definitions);
    definitions
}

/// The names in `security`, each of which must be defined.
pub(super) fn references(node: &Node<'_>, definitions: &BTreeMap<String, SecurityScheme>) -> Vec<String> {
    let Some(member) = node.get("security") else { return Vec::new() };
    member.one_or_many(|item| {
        let name = item.filled()?;
        // A definition that is there and wrong is reported once, at the definition.
        if !definitions.contains_key(&name) && !is_defined(&item, &name) {
            let message = format!(
                "{} is not in securityDefinitions: define it there, or correct the name",
                quote(&name)
            );
            item.fail(Code::SecurityReference, message);
        }
        Some(name)
    })
}

fn is_defined(node: &Node<'_>, name: &str) -> bool {
    node.document().get("securityDefinitions").and_then(|definitions| definitions.get(name)).is_some()
}

impl SecurityScheme {
    fn read(node: &Node<'_>) -> Option<Self> {
        node.object()?;
        for term in ["proxy", "refresh"] {
            node.reference_of(term);
        }
        for term in ["alg", "format", "identity"] {
            node.text_of(term);
        }
        node.languages_of("descriptions");
        let scheme = read_scheme(node);
        let read = Self {
            types: super::context::types(node),
            description: node.text_of("description"),
            place: node.text_of("in"),
            name: node.get("name").and_then(|name| name.filled()),
            authorization: node.reference_of("authorization"),
            token: node.reference_of("token"),
            scopes: node
                .get("scopes")
                .map(|scopes| scopes.one_or_many(|scope| scope.text()))
                .unwrap_or_default(),
            flow: node.text_of("flow"),
            others: node.extensions(&TERMS),
            scheme: scheme?,
        };
        read.check(node);
        Some(read)
    }

    /// The rules of each kind.
    fn check(&self, node: &Node<'_>) {
        match self.scheme {
            Scheme::Basic | Scheme::Digest | Scheme::Bearer => {
                self.check_place(node, &["header", "query", "body", "cookie", "auto"])
            }
            Scheme::ApiKey => self.check_place(node, &["header", "query", "body", "cookie", "uri", "auto"]),
            Scheme::Auto if node.get("name").is_some() => {
                node.fail_at("name", Code::SecurityScheme, "the scheme \"auto\" has no name: leave it out");
            }
            Scheme::OAuth2 => self.check_flow(node),
            _ => {}
        }
        if self.scheme == Scheme::Digest {
            one_of(node, "qop", &["auth", "auth-int"]);
        }
        if self.scheme == Scheme::ApiKey && self.place.as_deref() == Some("uri") && self.name.is_none() {
            node.fail_at(
                "name",
                Code::SecurityScheme,
                "in \"uri\" needs the name of the template's variable: add it",
            );
        }
    }

    fn check_place(&self, node: &Node<'_>, places: &[&str]) {
        one_of(node, "in", places);
        if self.place.as_deref() == Some("body") && self.name.as_deref().is_some_and(|name| !is_pointer(name))
        {
            let message = "in \"body\" the name is a JSON pointer (RFC 6901), such as /credentials/key";
            node.fail_at("name", Code::SecurityScheme, message);
        }
    }

    /// `code` and `device` need both servers; `client` needs the token server and has no other.
    fn check_flow(&self, node: &Node<'_>) {
        let flow = self.flow.as_deref().unwrap_or_default();
        let need = |term: &str| {
            if node.get(term).is_none() {
                node.fail_at(term, Code::SecurityScheme, format!("the flow {flow:?} needs {term:?}: add it"));
            }
        };
        match flow {
            "code" | "device" => ["authorization", "token"].into_iter().for_each(need),
            "client" => {
                need("token");
                if node.get("authorization").is_some() {
                    let message = "the flow \"client\" has no authorization server: leave it out";
                    node.fail_at("authorization", Code::SecurityScheme, message);
                }
            }
            _ => {}
        }
    }

    /// The variable that carries this scheme's credential in a URI.
    pub(super) fn uri_variable(&self) -> Option<&str> {
        (self.place.as_deref() == Some("uri")).then_some(self.name.as_deref()).flatten()
    }
}

fn is_pointer(name: &str) -> bool {
    (name.is_empty() || name.starts_with('/'))
        && name.split('~').skip(1).all(|after| after.starts_with(['0', '1']))
}

fn one_of(node: &Node<'_>, term: &str, allowed: &[&str]) {
    if let Some(text) = node.text_of(term)
        && !allowed.contains(&text.as_str())
    {
        let message = format!("{} is not one of {}", quote(&text), allowed.join(", "));
        node.fail_at(term, Code::SecurityScheme, message);
    }
}

fn read_scheme(node: &Node<'_>) -> Option<Scheme> {
    let name = node.require("scheme")?.filled()?;
    Some(match name.as_str() {
        "nosec" => Scheme::NoSec,
        "auto" => Scheme::Auto,
        "combo" => Scheme::Combo(read_combination(node)?),
        "basic" => Scheme::Basic,
        "digest" => Scheme::Digest,
        "apikey" => Scheme::ApiKey,
        "bearer" => Scheme::Bearer,
        "psk" => Scheme::Psk,
        "oauth2" => Scheme::OAuth2,
        other if other.find(':').is_some_and(|colon| colon > 0) => Scheme::Other(name),
        _ => {
            let message = format!(
                "{} is not a scheme of TD 1.1: use nosec, auto, combo, basic, digest, apikey, bearer, psk, oauth2, or a \
                 prefixed name of another vocabulary",
                quote(&name)
            );
            node.fail_at("scheme", Code::SecurityScheme, message);
            return None;
        }
    })
}

fn read_combination(node: &Node<'_>) -> Option<Combination> {
    let names = |term: &str| {
        let list = node.list_of(term, |item| item.text());
        if !(2..=MAX_SCHEMES).contains(&list.len()) {
            let message = format!("a combination has 2 to {MAX_SCHEMES} names, this one has {}", list.len());
            node.fail_at(term, Code::SecurityScheme, message);
        }
        list
    };
    match (node.get("oneOf").is_some(), node.get("allOf").is_some()) {
        (true, false) => Some(Combination::OneOf(names("oneOf"))),
        (false, true) => Some(Combination::AllOf(names("allOf"))),
        _ => {
            node.fail(Code::SecurityScheme, "a combo has exactly one of oneOf and allOf: keep or add one");
            None
        }
    }
}

/// Every name in a combination is defined, and none leads back to itself.
fn check_combinations(node: &Node<'_>, definitions: &BTreeMap<String, SecurityScheme>) {
    for (name, scheme) in definitions {
        let Scheme::Combo(Combination::OneOf(parts) | Combination::AllOf(parts)) = &scheme.scheme else {
            continue;
        };
        for part in parts.iter().filter(|part| !is_defined(node, part)) {
            let message = format!(
                "{} is not in securityDefinitions: define it there, or correct the name",
                quote(part)
            );
            node.fail_at(name, Code::SecurityReference, message);
        }
        if resolve(parts, definitions).contains(name.as_str()) {
            let message = "this combination contains itself: take it out of its own parts";
            node.fail_at(name, Code::SecurityScheme, message);
        }
    }
}

/// For each scheme, the variables of a URI template that carry its credential and those of all that it combines.
pub(super) fn credentials(definitions: &BTreeMap<String, SecurityScheme>) -> BTreeMap<&str, BTreeSet<&str>> {
    let of = |name: &String| {
        let parts = resolve(std::slice::from_ref(name), definitions);
        parts.into_iter().filter_map(|part| definitions.get(part)?.uri_variable()).collect()
    };
    definitions.keys().map(|name| (name.as_str(), of(name))).collect()
}

/// `names` and all that they combine.
fn resolve<'d>(names: &'d [String], definitions: &'d BTreeMap<String, SecurityScheme>) -> BTreeSet<&'d str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = names.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        if seen.insert(name)
            && let Some(Scheme::Combo(Combination::OneOf(parts) | Combination::AllOf(parts))) =
                definitions.get(name).map(|definition| &definition.scheme)
        {
            open.extend(parts.iter().map(String::as_str));
        }
    }
    seen
}

/// A scheme's credential in the URI: its variable must not be declared a second time (section 5.3.3.5).
pub(super) fn is_credential(name: &str, definitions: &BTreeMap<String, SecurityScheme>) -> bool {
    definitions.values().any(|scheme| scheme.uri_variable() == Some(name))
}
