//! The W3C Thing Description 1.1 (Recommendation of 5 December 2023) as types that cannot be wrong.
//!
//! [`ThingDescription::parse`] enforces what the official JSON schema demands and what only the normative text does:
//! unique names, references that lead somewhere, the order of contexts, templates and their variables, values against
//! types. The document itself is kept as it came: terms of other vocabularies are in it, and in each type's
//! `extensions`. Left out: JSON-LD processing (terms are read by their plain names), Thing Models, and every rule that
//! the text only recommends (SHOULD).

mod affordance;
mod context;
mod form;
mod link;
mod schema;
mod security;

use std::{collections::BTreeMap, ops::Deref};

use serde_json::{Map, Value};
use sofie_model::{Digest, ThingId};

pub use affordance::{About, Action, Event, Property};
pub use context::{Context, TD_1_0, TD_1_1};
pub use form::{AdditionalResponse, Form, Operation};
pub use link::{Link, Version};
pub use schema::{DataSchema, DataType, Mismatch};
pub use security::{Combination, MAX_SCHEMES, Scheme, SecurityScheme};

use crate::{
    canonical,
    json::{self, Limits},
    node::Node,
    problem::{Code, Errors, Report, quote},
    syntax,
};
use affordance::Scope;

/// A valid Thing Description: the document, and what it says. The fields of [`Thing`] are read through this type.
///
/// ```
/// use sofie_directory::{Operation, ThingDescription};
/// let lamp = ThingDescription::parse(br#"{
///     "@context": "https://www.w3.org/2022/wot/td/v1.1", "id": "urn:dev:lamp", "title": "Lamp",
///     "securityDefinitions": {"psk": {"scheme": "psk"}}, "security": "psk",
///     "properties": {"on": {"type": "boolean", "readOnly": true, "forms": [{"href": "coaps://lamp.example/on"}]}}
/// }"#)?;
/// assert_eq!(lamp.title, "Lamp");
/// assert_eq!(lamp.properties["on"].forms[0].operations, [Operation::ReadProperty]);
/// # Ok::<(), sofie_directory::Errors>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ThingDescription {
    document: Value,
    thing: Thing,
}

/// What a Thing Description says (section 5.3.1.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    /// `@context`, in order.
    pub context: Vec<Context>,
    /// `id`; an anonymous Thing Description has none.
    pub id: Option<ThingId>,
    /// Title, description, semantic types.
    pub about: About,
    /// `title`, the mandatory one.
    pub title: String,
    /// `version`.
    pub version: Option<Version>,
    /// `created`, as written.
    pub created: Option<String>,
    /// `modified`, as written.
    pub modified: Option<String>,
    /// `support`: where help is.
    pub support: Option<String>,
    /// `base` of relative references.
    pub base: Option<String>,
    /// Property affordances by name.
    pub properties: BTreeMap<String, Property>,
    /// Action affordances by name.
    pub actions: BTreeMap<String, Action>,
    /// Event affordances by name.
    pub events: BTreeMap<String, Event>,
    /// `links`.
    pub links: Vec<Link>,
    /// Forms for several affordances at once.
    pub forms: Vec<Form>,
    /// Names of the schemes that hold where a form names none.
    pub security: Vec<String>,
    /// The schemes by name.
    pub security_definitions: BTreeMap<String, SecurityScheme>,
    /// Schemas that additional responses name.
    pub schema_definitions: BTreeMap<String, DataSchema>,
    /// Variables of the templates.
    pub uri_variables: BTreeMap<String, DataSchema>,
    /// `profile`: the WoT profiles that the thing follows.
    pub profile: Vec<String>,
    /// `registration`, as a directory wrote it or as the registrant asks for it; [`crate::store`] reads it.
    pub registration: Option<Value>,
    /// Terms of other vocabularies.
    pub extensions: Map<String, Value>,
}

const TERMS: [&str; 23] = [
    "@context",
    "@type",
    "id",
    "title",
    "titles",
    "description",
    "descriptions",
    "version",
    "created",
    "modified",
    "support",
    "base",
    "properties",
    "actions",
    "events",
    "links",
    "forms",
    "security",
    "securityDefinitions",
    "schemaDefinitions",
    "uriVariables",
    "profile",
    "registration",
];

impl ThingDescription {
    /// Reads and checks a document within [`Limits::THING`].
    ///
    /// # Errors
    /// The first fault of the text, or every broken rule of the document.
    pub fn parse(bytes: &[u8]) -> Result<Self, Errors> {
        Self::from_value(json::read(bytes, Limits::THING)?)
    }

    /// Checks a document that is JSON already. Names that stood twice in its text can no longer be seen here: text from
    /// outside goes through [`ThingDescription::parse`].
    ///
    /// # Errors
    /// Every broken rule.
    pub fn from_value(document: Value) -> Result<Self, Errors> {
        let report = Report::default();
        let thing = Thing::read(&Node::root(&document, &report));
        report.finish()?;
        let thing = thing.expect("a document that is not an object was reported");
        Ok(Self { document, thing })
    }

    /// The document as it came.
    #[must_use]
    pub const fn document(&self) -> &Value {
        &self.document
    }

    /// The document as it came.
    #[must_use]
    pub fn into_document(self) -> Value {
        self.document
    }

    /// The digest that ledgers anchor: [`canonical::hash`].
    #[must_use]
    pub fn hash(&self) -> Digest {
        canonical::hash(&self.document)
    }
}

impl serde::Serialize for ThingDescription {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.document.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for ThingDescription {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Deref for ThingDescription {
    type Target = Thing;

    fn deref(&self) -> &Thing {
        &self.thing
    }
}

impl Thing {
    /// The names of the schemes that hold for `form`: its own, else the thing's (section 5.3.3).
    #[must_use]
    pub fn security_of<'t>(&'t self, form: &'t Form) -> &'t [String] {
        if form.security.is_empty() { &self.security } else { &form.security }
    }

    /// The absolute URI of `reference` (an `href` whose variables were filled in), resolved against `base`
    /// (RFC 3986, section 5). `None` when it is relative and there is no base, or is no reference.
    #[must_use]
    pub fn resolve(&self, reference: &str) -> Option<String> {
        let reference = fluent_uri::IriRef::parse(reference).ok()?;
        if reference.has_scheme() {
            return Some(reference.as_str().to_owned());
        }
        let base = fluent_uri::Iri::parse(self.base.as_deref()?).ok()?;
        reference.resolve_against(&base.strip_fragment()).ok().map(|absolute| absolute.as_str().to_owned())
    }

    fn read(node: &Node<'_>) -> Option<Self> {
        node.object()?;
        let context = context::read(node);
        let about = About::read(node);
        node.require("title");
        node.require("security");
        node.require("securityDefinitions");
        let security_definitions = security::definitions(node);
        let schema_definitions = node.map_of("schemaDefinitions", |_, schema| DataSchema::read(&schema));
        for name in ["securityDefinitions", "schemaDefinitions", "security"] {
            if let Some(member) = node.get(name) {
                member.not_empty();
            }
        }
        let uri_variables = affordance::uri_variables(node, &security_definitions);
        let security = security::references(node, &security_definitions);
        let credentials = security::credentials(&security_definitions);
        let scope = Scope {
            definitions: &security_definitions,
            credentials: &credentials,
            schemas: &schema_definitions,
            security: &security,
            variables: &uri_variables,
        };
        Some(Self {
            context,
            id: read_id(node),
            title: about.title.clone().unwrap_or_default(),
            about,
            version: Version::read(node),
            created: date_of(node, "created"),
            modified: date_of(node, "modified"),
            support: node.reference_of("support"),
            base: read_base(node),
            properties: node.map_of("properties", |_, property| Property::read(&property, &scope)),
            actions: node.map_of("actions", |_, action| Action::read(&action, &scope)),
            events: node.map_of("events", |_, event| Event::read(&event, &scope)),
            links: link::read_all(node),
            forms: form::read_all(node, &scope, &form::ROOT, &uri_variables),
            profile: read_profile(node),
            registration: node.get("registration").map(|registration| registration.value.clone()),
            extensions: node.extensions(&TERMS),
            security,
            security_definitions,
            schema_definitions,
            uri_variables,
        })
    }
}

/// `id` is a URI; SOFIE's names are at most 256 bytes.
fn read_id(node: &Node<'_>) -> Option<ThingId> {
    let text = node.checked("id", Code::Uri, "a URI (RFC 3986)", syntax::is_uri)?;
    match text.parse() {
        Ok(id) => Some(id),
        Err(bad) => {
            node.fail_at("id", Code::Uri, format!("{bad}"));
            None
        }
    }
}

fn date_of(node: &Node<'_>, name: &str) -> Option<String> {
    let is_date = |text: &str| syntax::date_time(text).is_some();
    node.checked(
        name,
        Code::DateTime,
        "a date and time with its zone (RFC 3339), such as 2024-05-01T12:00:00Z",
        is_date,
    )
}

/// `base` is absolute, and may be a template (section 5.3.1.1).
fn read_base(node: &Node<'_>) -> Option<String> {
    let member = node.get("base")?;
    let base = member.filled()?;
    match syntax::template_variables(&base) {
        Err(why) => member.fail(Code::Template, format!("{} is not a URI: {why}", quote(&base))),
        Ok(variables) if variables.is_empty() && !syntax::is_iri(&base) => {
            let message = format!("{} is relative: write the base with its scheme and host", quote(&base));
            member.fail(Code::Uri, message);
        }
        Ok(_) => {}
    }
    Some(base)
}

fn read_profile(node: &Node<'_>) -> Vec<String> {
    let Some(member) = node.get("profile") else { return Vec::new() };
    member.not_empty();
    member
        .one_or_many(|item| item.checked_text(Code::Uri, "a URI reference (RFC 3986)", syntax::is_reference))
}
