//! Forms (TD 1.1, section 5.3.4.2): how an operation is carried out, and which operations each kind of affordance has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::affordance::Scope;
use super::schema::DataSchema;
use super::security;
use crate::node::Node;
use crate::problem::{Code, quote};
use crate::syntax;

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// `op`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is the term of its name")]
        pub enum Operation {
            $($name,)*
        }

        impl Operation {
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The term.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

operations! {
    ReadProperty = "readproperty",
    WriteProperty = "writeproperty",
    ObserveProperty = "observeproperty",
    UnobserveProperty = "unobserveproperty",
    InvokeAction = "invokeaction",
    QueryAction = "queryaction",
    CancelAction = "cancelaction",
    SubscribeEvent = "subscribeevent",
    UnsubscribeEvent = "unsubscribeevent",
    ReadAllProperties = "readallproperties",
    WriteAllProperties = "writeallproperties",
    ReadMultipleProperties = "readmultipleproperties",
    WriteMultipleProperties = "writemultipleproperties",
    ObserveAllProperties = "observeallproperties",
    UnobserveAllProperties = "unobserveallproperties",
    QueryAllActions = "queryallactions",
    SubscribeAllEvents = "subscribeallevents",
    UnsubscribeAllEvents = "unsubscribeallevents",
}

/// What the forms of one kind of affordance may do, and what they do when they do not say.
pub(super) struct Kind {
    what: &'static str,
    allowed: &'static [Operation],
    default: &'static [Operation],
}

pub(super) const PROPERTY: Kind = Kind {
    what: "a property",
    allowed: &[
        Operation::ReadProperty,
        Operation::WriteProperty,
        Operation::ObserveProperty,
        Operation::UnobserveProperty,
    ],
    default: &[Operation::ReadProperty, Operation::WriteProperty],
};
pub(super) const ACTION: Kind = Kind {
    what: "an action",
    allowed: &[Operation::InvokeAction, Operation::QueryAction, Operation::CancelAction],
    default: &[Operation::InvokeAction],
};
pub(super) const EVENT: Kind = Kind {
    what: "an event",
    allowed: &[Operation::SubscribeEvent, Operation::UnsubscribeEvent],
    default: &[Operation::SubscribeEvent, Operation::UnsubscribeEvent],
};
pub(super) const ROOT: Kind = Kind {
    what: "the thing as a whole",
    allowed: &[
        Operation::ReadAllProperties,
        Operation::WriteAllProperties,
        Operation::ReadMultipleProperties,
        Operation::WriteMultipleProperties,
        Operation::ObserveAllProperties,
        Operation::UnobserveAllProperties,
        Operation::QueryAllActions,
        Operation::SubscribeAllEvents,
        Operation::UnsubscribeAllEvents,
    ],
    default: &[],
};

/// A form.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// Where: a URI reference, or a template of one.
    pub href: String,
    /// The variables of the template.
    pub variables: Vec<String>,
    /// `op`, or what it is by default (section 5.4).
    pub operations: Vec<Operation>,
    /// `contentType`, or `application/json` by default.
    pub content_type: String,
    /// `contentCoding`.
    pub content_coding: Option<String>,
    /// `subprotocol`: `longpoll`, `sse`, `websub`, or another.
    pub subprotocol: Option<String>,
    /// Names of schemes; empty: the thing's hold.
    pub security: Vec<String>,
    /// Scopes of OAuth 2.0.
    pub scopes: Vec<String>,
    /// Content type of the response, when it differs.
    pub response: Option<String>,
    /// `additionalResponses`.
    pub additional_responses: Vec<AdditionalResponse>,
    /// Terms of protocol bindings and other vocabularies: `htv:methodName`, `cov:method`, `mqv:retain`.
    pub extensions: Map<String, Value>,
}

/// A further response that may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdditionalResponse {
    /// True when it is not an error.
    pub success: bool,
    /// Its content type, or the form's by default.
    pub content_type: String,
    /// A name in `schemaDefinitions`.
    pub schema: Option<String>,
}

const TERMS: [&str; 9] = [
    "href",
    "op",
    "contentType",
    "contentCoding",
    "subprotocol",
    "security",
    "scopes",
    "response",
    "additionalResponses",
];

/// `forms` of an affordance, or of the thing. `variables` are those that the affordance declares itself.
pub(super) fn read_all(
    node: &Node<'_>,
    scope: &Scope<'_>,
    kind: &Kind,
    variables: &BTreeMap<String, DataSchema>,
) -> Vec<Form> {
    node.filled_list_of("forms", |form| Form::read(&form, scope, kind, variables))
}

impl Form {
    fn read(
        node: &Node<'_>,
        scope: &Scope<'_>,
        kind: &Kind,
        declared: &BTreeMap<String, DataSchema>,
    ) -> Option<Self> {
        node.object()?;
        let href = node.require("href").and_then(|href| href.filled());
        let security = security::references(node, scope.definitions);
        if let Some(member) = node.get("security") {
            member.not_empty();
        }
        let variables = read_variables(node, href.as_deref(), scope, declared, &security);
        let content_type = content_type(node).unwrap_or_else(|| "application/json".into());
        Some(Self {
            href: href?,
            variables,
            operations: read_operations(node, kind),
            content_coding: node.text_of("contentCoding"),
            subprotocol: node.get("subprotocol").and_then(|subprotocol| subprotocol.filled()),
            scopes: node
                .get("scopes")
                .map(|scopes| scopes.one_or_many(|scope| scope.text()))
                .unwrap_or_default(),
            response: node.get("response").and_then(|response| {
                response.object()?;
                response.require("contentType").and_then(|_| content_type_of(&response))
            }),
            additional_responses: node
                .list_of("additionalResponses", |item| AdditionalResponse::read(&item, scope, &content_type)),
            extensions: node.extensions(&TERMS),
            security,
            content_type,
        })
    }
}

impl AdditionalResponse {
    fn read(node: &Node<'_>, scope: &Scope<'_>, content_type: &str) -> Option<Self> {
        node.object()?;
        let schema = node.text_of("schema");
        let known = |name: &String| {
            scope.schemas.contains_key(name)
                || node.document().get("schemaDefinitions").and_then(|all| all.get(name)).is_some()
        };
        if let Some(name) = schema.as_ref().filter(|name| !known(name)) {
            let message =
                format!("{} is not in schemaDefinitions: define it there, or correct the name", quote(name));
            node.fail_at("schema", Code::SchemaReference, message);
        }
        Some(Self {
            success: node.flag_of("success").unwrap_or(false),
            content_type: content_type_of(node).unwrap_or_else(|| content_type.to_owned()),
            schema,
        })
    }
}

fn content_type(node: &Node<'_>) -> Option<String> {
    content_type_of(node)
}

fn content_type_of(node: &Node<'_>) -> Option<String> {
    node.checked(
        "contentType",
        Code::MediaType,
        "a media type, such as application/json",
        syntax::is_media_type,
    )
}

fn read_operations(node: &Node<'_>, kind: &Kind) -> Vec<Operation> {
    let Some(member) = node.get("op") else {
        if kind.default.is_empty() {
            node.require("op");
        }
        return kind.default.to_vec();
    };
    member.not_empty();
    member.one_or_many(|item| {
        let name = item.filled()?;
        let operation = Operation::ALL.iter().copied().find(|operation| operation.as_str() == name);
        if !operation.is_some_and(|operation| kind.allowed.contains(&operation)) {
            let allowed: Vec<_> = kind.allowed.iter().map(|operation| operation.as_str()).collect();
            let message =
                format!("{} is not an operation of {}: use {}", quote(&name), kind.what, allowed.join(", "));
            item.fail(Code::Operation, message);
        }
        operation
    })
}

/// The template's variables: each is declared by the affordance, by the thing, or by a scheme that holds for the form;
/// and a scheme whose credential goes into the URI finds its variable there (section 5.3.3.5).
fn read_variables(
    node: &Node<'_>,
    href: Option<&str>,
    scope: &Scope<'_>,
    declared: &BTreeMap<String, DataSchema>,
    security: &[String],
) -> Vec<String> {
    let Some(href) = href else { return Vec::new() };
    let used = match syntax::template_variables(href) {
        Ok(used) => used,
        Err(why) => {
            let code = if href.contains(['{', '}']) { Code::Template } else { Code::Uri };
            node.fail_at("href", code, format!("{} is not a URI reference: {why}", quote(href)));
            return Vec::new();
        }
    };
    let active = if security.is_empty() { scope.security } else { security };
    let credentials: BTreeSet<&str> =
        active.iter().filter_map(|name| scope.credentials.get(name.as_str())).flatten().copied().collect();
    for name in &used {
        if !(declared.contains_key(*name)
            || scope.variables.contains_key(*name)
            || credentials.contains(name))
        {
            let message = format!("the variable {} is not declared: add it to uriVariables", quote(name));
            node.fail_at("href", Code::UriVariable, message);
        }
    }
    for name in credentials.iter().filter(|name| !used.contains(name)) {
        let message =
            format!("the security scheme puts its credential into {}: add it to the template", quote(name));
        node.fail_at("href", Code::UriVariable, message);
    }
    used.into_iter().map(str::to_owned).collect()
}
