//! Properties, actions and events (TD 1.1, sections 5.3.1.2 to 5.3.1.5).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::form::{self, Form, Operation};
use super::schema::{DataSchema, DataType};
use super::security::{self, SecurityScheme};
use crate::node::Node;
use crate::problem::{Code, quote};

/// What people, and machines that know the types, can tell about something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// `@type`.
    pub types: Vec<String>,
    /// `title`.
    pub title: Option<String>,
    /// `titles` by language.
    pub titles: BTreeMap<String, String>,
    /// `description`.
    pub description: Option<String>,
    /// `descriptions` by language.
    pub descriptions: BTreeMap<String, String>,
}

/// A state that can be read, written or observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its values. A property is a data schema itself.
    pub schema: DataSchema,
    /// `observable`.
    pub observable: bool,
    /// How to reach it.
    pub forms: Vec<Form>,
    /// Variables of its templates.
    pub uri_variables: BTreeMap<String, DataSchema>,
}

/// A function that can be invoked.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Title, description, semantic types.
    pub about: About,
    /// What it takes.
    pub input: Option<DataSchema>,
    /// What it gives.
    pub output: Option<DataSchema>,
    /// It changes no state.
    pub safe: bool,
    /// Doing it twice is as doing it once.
    pub idempotent: bool,
    /// Whether the answer tells the outcome; unknown when absent.
    pub synchronous: Option<bool>,
    /// How to reach it.
    pub forms: Vec<Form>,
    /// Variables of its templates.
    pub uri_variables: BTreeMap<String, DataSchema>,
    /// Terms of other vocabularies.
    pub extensions: Map<String, Value>,
}

/// A source of notifications.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Title, description, semantic types.
    pub about: About,
    /// What a subscription takes.
    pub subscription: Option<DataSchema>,
    /// What a notification carries.
    pub data: Option<DataSchema>,
    /// What a consumer answers.
    pub data_response: Option<DataSchema>,
    /// What a cancellation takes.
    pub cancellation: Option<DataSchema>,
    /// How to reach it.
    pub forms: Vec<Form>,
    /// Variables of its templates.
    pub uri_variables: BTreeMap<String, DataSchema>,
    /// Terms of other vocabularies.
    pub extensions: Map<String, Value>,
}

/// What the thing declares for all its forms.
pub(super) struct Scope<'a> {
    pub(super) definitions: &'a BTreeMap<String, SecurityScheme>,
    pub(super) credentials: &'a BTreeMap<&'a str, BTreeSet<&'a str>>,
    pub(super) schemas: &'a BTreeMap<String, DataSchema>,
    pub(super) security: &'a [String],
    pub(super) variables: &'a BTreeMap<String, DataSchema>,
}

impl About {
    pub(super) fn read(node: &Node<'_>) -> Self {
        Self {
            types: super::context::types(node),
            title: node.get("title").and_then(|title| title.filled()),
            titles: node.languages_of("titles"),
            description: node.text_of("description"),
            descriptions: node.languages_of("descriptions"),
        }
    }
}

impl Property {
    pub(super) fn read(node: &Node<'_>, scope: &Scope<'_>) -> Option<Self> {
        node.require("forms");
        let schema = DataSchema::read(node)?;
        let uri_variables = uri_variables(node, scope.definitions);
        let mut property = Self {
            observable: node.flag_of("observable").unwrap_or(false),
            forms: form::read_all(node, scope, &form::PROPERTY, &uri_variables),
            schema,
            uri_variables,
        };
        property.check_direction(node);
        Some(property)
    }

    /// What `readOnly` and `writeOnly` rule out: it goes from the default of a form, and is refused where it is written.
    fn check_direction(&mut self, node: &Node<'_>) {
        use Operation::{ObserveProperty, ReadProperty, UnobserveProperty, WriteProperty};
        let (flag, ruled_out): (_, &[Operation]) = match (self.schema.read_only, self.schema.write_only) {
            (false, false) => return,
            (true, true) => {
                let message =
                    "a property that is both readOnly and writeOnly can do nothing: set one of them to false";
                return node.fail_at("writeOnly", Code::ReadWrite, message);
            }
            (true, false) => ("readOnly", &[WriteProperty]),
            (false, true) => ("writeOnly", &[ReadProperty, ObserveProperty, UnobserveProperty]),
        };
        node.list_of("forms", |form| {
            let operations =
                form.get("op").map(|op| op.one_or_many(|op| op.value.as_str().map(str::to_owned)));
            for operation in ruled_out {
                if operations.iter().flatten().any(|name| name == operation.as_str()) {
                    let message =
                        format!("{} does not go with {flag}: remove one of them", operation.as_str());
                    form.fail_at("op", Code::ReadWrite, message);
                }
            }
            Some(())
        });
        for form in &mut self.forms {
            form.operations.retain(|operation| !ruled_out.contains(operation));
        }
    }
}

impl Action {
    pub(super) fn read(node: &Node<'_>, scope: &Scope<'_>) -> Option<Self> {
        node.object()?;
        node.require("forms");
        let uri_variables = uri_variables(node, scope.definitions);
        Some(Self {
            about: About::read(node),
            input: schema_of(node, "input"),
            output: schema_of(node, "output"),
            safe: node.flag_of("safe").unwrap_or(false),
            idempotent: node.flag_of("idempotent").unwrap_or(false),
            synchronous: node.flag_of("synchronous"),
            forms: form::read_all(node, scope, &form::ACTION, &uri_variables),
            uri_variables,
            extensions: node.extensions(&[
                "@type",
                "title",
                "titles",
                "description",
                "descriptions",
                "input",
                "output",
                "safe",
                "idempotent",
                "synchronous",
                "forms",
                "uriVariables",
            ]),
        })
    }
}

impl Event {
    pub(super) fn read(node: &Node<'_>, scope: &Scope<'_>) -> Option<Self> {
        node.object()?;
        node.require("forms");
        let uri_variables = uri_variables(node, scope.definitions);
        Some(Self {
            about: About::read(node),
            subscription: schema_of(node, "subscription"),
            data: schema_of(node, "data"),
            data_response: schema_of(node, "dataResponse"),
            cancellation: schema_of(node, "cancellation"),
            forms: form::read_all(node, scope, &form::EVENT, &uri_variables),
            uri_variables,
            extensions: node.extensions(&[
                "@type",
                "title",
                "titles",
                "description",
                "descriptions",
                "subscription",
                "data",
                "dataResponse",
                "cancellation",
                "forms",
                "uriVariables",
            ]),
        })
    }
}

fn schema_of(node: &Node<'_>, name: &str) -> Option<DataSchema> {
    DataSchema::read(&node.get(name)?)
}

/// `uriVariables`: never objects or lists (section 5.3.1.2), and never the variable of a credential (5.3.3.5).
pub(super) fn uri_variables(
    node: &Node<'_>,
    definitions: &BTreeMap<String, SecurityScheme>,
) -> BTreeMap<String, DataSchema> {
    node.map_of("uriVariables", |name, variable| {
        let schema = DataSchema::read(&variable)?;
        if matches!(schema.data_type, Some(DataType::Object | DataType::Array)) {
            let message =
                "a variable is written into a URI and so is neither an object nor a list: use a simple type";
            variable.fail_at("type", Code::UriVariable, message);
        }
        if security::is_credential(name, definitions) {
            let message = format!("{} is the variable of a security scheme: rename one of them", quote(name));
            variable.fail(Code::UriVariable, message);
        }
        Some(schema)
    })
}
