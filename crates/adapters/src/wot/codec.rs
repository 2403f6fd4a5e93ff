//! A Thing Description (W3C TD 1.1) of a foreign servient, pure: what of it can be read, observed, written and invoked over
//! HTTP,
//! and why the rest cannot.
//!
//! Nothing is dropped without a word: each affordance becomes a plan or a [`LeftOut`] with its reason. Left out are
//! events, arrays, schemas of several types, actions that answer before they are done, and what [`super`]'s forms
//! do not speak. A description is data of a stranger: it has a longest length, a greatest depth, and each list of it a
//! number of entries that are looked at.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use url::Url;

pub use super::forms::Target;
use super::forms::{Operation, Servient};
use crate::{
    binding::{ActionMethod, Kind},
    infer,
    port::cut,
};

/// The longest Thing Description, or list of them, in bytes.
pub const MAX_DOCUMENT: usize = 1024 * 1024;
/// How deep it may be nested.
pub const MAX_DEPTH: usize = 32;
/// How many entries of a list of things are looked at.
pub const MAX_ENTRIES: usize = 256;
/// How many affordances of one thing are planned.
pub const MAX_AFFORDANCES: usize = 256;
/// How many parts of one object are taken, and how deep they lie.
const MAX_PARTS: usize = 64;
const MAX_PART_DEPTH: usize = 3;
/// The longest name of an affordance.
const MAX_NAME: usize = 128;
/// The longest unit.
const MAX_UNIT: usize = 32;

/// What a servient tells at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One Thing Description.
    Thing(Map<String, Value>),
    /// A list of things: at most the first [`MAX_ENTRIES`].
    List(Vec<Entry>),
}

/// One entry of a list of things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A Thing Description.
    Thing(Map<String, Value>),
    /// The address of one.
    At(String),
}

/// Why a document is neither a Thing Description nor a list of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Longer or deeper than a limit of ours.
    #[error("a document with {what} of {got}, at most {limit} is taken")]
    TooMuch {
        /// `a length` or `a depth`.
        what: &'static str,
        /// What came.
        got: usize,
        /// What is taken.
        limit: usize,
    },
    /// Not JSON (RFC 8259).
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON of another kind.
    #[error("neither a Thing Description nor a list of them")]
    NotThings,
}

/// Reads what a servient tells: one Thing Description, or a list of descriptions or of their addresses.
///
/// # Errors
/// [`CodecError`].
///
/// ```
/// use sofie_adapters::wot::codec::{Document, Entry, read};
///
/// let list = read(br#"["http://127.0.0.1:8080/lamp"]"#)?;
/// assert_eq!(list, Document::List(vec![Entry::At("http://127.0.0.1:8080/lamp".into())]));
/// # Ok::<(), sofie_adapters::wot::codec::CodecError>(())
/// ```
pub fn read(document: &[u8]) -> Result<Document, CodecError> {
    if document.len() > MAX_DOCUMENT {
        return Err(CodecError::TooMuch { what: "a length", got: document.len(), limit: MAX_DOCUMENT });
    }
    let value: Value =
        serde_json::from_slice(document).map_err(|e| CodecError::NotJson(cut(&e.to_string())))?;
    let depth = depth(&value);
    if depth > MAX_DEPTH {
        return Err(CodecError::TooMuch { what: "a depth", got: depth, limit: MAX_DEPTH });
    }
    let entry = |value| match value {
        Value::Object(td) if is_description(&td) => Some(Entry::Thing(td)),
        Value::String(address) => Some(Entry::At(address)),
        _ => None,
    };
    match value {
        Value::Object(td) if is_description(&td) => Ok(Document::Thing(td)),
        Value::Array(entries) => {
            let entries: Option<Vec<Entry>> = entries.into_iter().take(MAX_ENTRIES).map(entry).collect();
            entries.map(Document::List).ok_or(CodecError::NotThings)
        }
        _ => Err(CodecError::NotThings),
    }
}

/// TD 1.1, section 5.3.1.1: its context is mandatory, and tells it from other JSON.
fn is_description(value: &Map<String, Value>) -> bool {
    let is_td = |context: &Value| context.as_str().is_some_and(|uri| uri.contains("/wot/td"));
    match value.get("@context") {
        Some(Value::Array(contexts)) => contexts.iter().any(is_td),
        Some(context) => is_td(context),
        None => false,
    }
}

fn depth(value: &Value) -> usize {
    // The reader of JSON bounds the recursion.
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// What can be done with a thing, and what cannot.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Its title, else its path.
    pub title: String,
    /// The `id` by which it calls itself.
    pub own_id: Option<String>,
    /// The security that it states, unless that is none: its definitions, and the names of those that hold.
    pub security: Option<(Map<String, Value>, Vec<String>)>,
    /// What can be read.
    pub properties: Vec<Property>,
    /// What can be invoked.
    pub actions: Vec<Action>,
    /// What cannot be used, and why.
    pub left_out: Vec<LeftOut>,
}

/// A property that can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name in the foreign description.
    pub name: String,
    /// Where it is read.
    pub read: Target,
    /// Where it tells of its changes (`sse`), or is asked for the next one (`longpoll`).
    pub poll: Option<Target>,
    /// Where it is written, if it is one scalar: an object cannot be rebuilt from one of its members.
    pub write: Option<Target>,
    /// Its scalars: itself, or those of an object.
    pub parts: Vec<Part>,
}

/// A scalar of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name in our description.
    pub name: String,
    /// Where it stands in the value: a JSON Pointer, empty for the whole.
    pub pointer: String,
    /// What it must be.
    pub kind: Kind,
    /// The unit as the servient writes it, or empty.
    pub unit: String,
}

/// An action that can be invoked.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// Where it is invoked.
    pub target: Target,
    /// By which method.
    pub method: ActionMethod,
    /// The schema of its input, cut to what a reader needs; null without one.
    pub input: Value,
}

/// An affordance, or a part of one, that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// `property`, `action`, `event` or `thing`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Plans what a Thing Description offers. `at` is where it was read: on the owner's own platform, which alone is ever asked.
#[must_use]
pub fn plan(td: &Map<String, Value>, at: &Url) -> Plan {
    let servient = Servient::new(td, at);
    let text = |term: &str| td.get(term).and_then(Value::as_str).map(cut).filter(|text| !text.is_empty());
    let mut plan = Plan {
        title: text("title").unwrap_or_else(|| cut(at.path())),
        own_id: text("id"),
        security: servient.security(),
        properties: Vec::new(),
        actions: Vec::new(),
        left_out: Vec::new(),
    };
    let mut names = BTreeMap::new();
    for (name, affordance) in affordances(td, "properties", "property", &mut plan.left_out) {
        match property(name, affordance, &servient, &mut plan.left_out) {
            Ok(mut property) => {
                property.parts.iter_mut().for_each(|part| name_apart(part, &mut names));
                plan.properties.push(property);
            }
            Err(reason) => plan.left_out.push(LeftOut { kind: "property", name: name.into(), reason }),
        }
    }
    for (name, affordance) in affordances(td, "actions", "action", &mut plan.left_out) {
        match action(name, affordance, &servient) {
            Ok(action) => plan.actions.push(action),
            Err(reason) => plan.left_out.push(LeftOut { kind: "action", name: name.into(), reason }),
        }
    }
    for (name, _) in affordances(td, "events", "event", &mut Vec::new()) {
        let reason = "this adapter does not subscribe to events yet".into();
        plan.left_out.push(LeftOut { kind: "event", name: name.into(), reason });
    }
    plan
}

/// No two properties have one name: `a` with a member `b`, and `a_b`.
fn name_apart(part: &mut Part, names: &mut BTreeMap<String, ()>) {
    if names.contains_key(&part.name) {
        part.name = infer::free_name(names, &part.name);
    }
    names.insert(part.name.clone(), ());
}

/// The affordances of a group whose names can be shown, at most [`MAX_AFFORDANCES`].
fn affordances<'a>(
    td: &'a Map<String, Value>,
    group: &str,
    kind: &'static str,
    left_out: &mut Vec<LeftOut>,
) -> Vec<(&'a str, &'a Map<String, Value>)> {
    let Some(members) = td.get(group).and_then(Value::as_object) else { return Vec::new() };
    let mut taken = Vec::new();
    for (name, affordance) in members {
        let fits = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
        match affordance.as_object() {
            Some(affordance) if fits && taken.len() < MAX_AFFORDANCES => {
                taken.push((name.as_str(), affordance))
            }
            _ if left_out.len() < MAX_AFFORDANCES => {
                let reason = format!(
                    "it is no object, or one beyond {MAX_AFFORDANCES}, or its name is longer than {MAX_NAME} bytes"
                );
                left_out.push(LeftOut { kind, name: cut(name), reason });
            }
            _ => {}
        }
    }
    taken
}

fn property(
    name: &str,
    schema: &Map<String, Value>,
    servient: &Servient<'_>,
    left_out: &mut Vec<LeftOut>,
) -> Result<Property, String> {
    if schema.get("writeOnly") == Some(&Value::Bool(true)) {
        return Err("it can only be written".into());
    }
    let mut parts = Vec::new();
    let mut beside = Vec::new();
    collect(schema, name, "", &mut parts, &mut beside);
    if parts.is_empty() {
        return Err(beside.pop().map_or_else(|| "its schema has no members".into(), |(_, reason)| reason));
    }
    let read = servient.choose(schema, Operation::Read)?;
    // A property that cannot be observed is read again and again.
    // A stream tells every change, a long poll none between two of its requests.
    let streamed = servient.choose(schema, Operation::Stream);
    let poll = streamed.or_else(|_| servient.choose(schema, Operation::Observe)).ok();
    let write = writing(schema, servient, &read, &parts).unwrap_or_else(|reason| {
        left_out.push(LeftOut { kind: "property", name: name.into(), reason: format!("writing: {reason}") });
        None
    });
    let lost = beside.into_iter().take(MAX_PARTS);
    left_out.extend(lost.map(|(name, reason)| LeftOut { kind: "property", name, reason }));
    Ok(Property { name: name.into(), read, poll, write, parts })
}

/// Where a property is written; `None` for one that does not say that it can be, `Err` for one that cannot here.
fn writing(
    schema: &Map<String, Value>,
    servient: &Servient<'_>,
    read: &Target,
    parts: &[Part],
) -> Result<Option<Target>, String> {
    let read_only = schema.get("readOnly") == Some(&Value::Bool(true));
    // Without credentials it is not read either, which is said already.
    if read_only || read.needs.is_some() || !servient.offers(schema, Operation::Write) {
        return Ok(None);
    }
    let target = servient.choose(schema, Operation::Write)?;
    if let Some(scheme) = &target.needs {
        return Err(format!("it needs credentials of the scheme {scheme}"));
    }
    if target.format != read.format {
        return Err("it is written in another format than it is read".into());
    }
    match parts {
        [part] if part.pointer.is_empty() => Ok(Some(target)),
        _ => Err("it is an object, and one member of it cannot be written without the others".into()),
    }
}

/// The scalars of a schema: `Err`s are what is beside them, by name.
fn collect(
    schema: &Map<String, Value>,
    name: &str,
    pointer: &str,
    parts: &mut Vec<Part>,
    beside: &mut Vec<(String, String)>,
) {
    let kind = match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => Kind::Boolean,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("string") => Kind::String,
        Some("object") if pointer.matches('/').count() < MAX_PART_DEPTH => {
            let members = schema.get("properties").and_then(Value::as_object);
            for (member, schema) in members.into_iter().flatten().take(MAX_PARTS) {
                let step = member.replace('~', "~0").replace('/', "~1");
                let name = format!("{name}_{}", infer::name_of(member));
                let empty = Map::new();
                let schema = schema.as_object().unwrap_or(&empty);
                collect(schema, &name, &format!("{pointer}/{step}"), parts, beside);
            }
            return;
        }
        other => {
            let told = other.map_or_else(|| "no type".into(), |other| format!("the type {:?}", cut(other)));
            return beside.push((name.into(), format!("its schema says {told}, of which nothing is bound")));
        }
    };
    if parts.len() >= MAX_PARTS || name.len() > 2 * MAX_NAME {
        return beside
            .push((name.into(), format!("its name is too long, or it is one beyond {MAX_PARTS} parts")));
    }
    let unit = schema.get("unit").and_then(Value::as_str).unwrap_or_default();
    let fits = unit.len() <= MAX_UNIT && unit.chars().all(|c| c.is_ascii_graphic());
    let unit = if fits { unit.into() } else { String::new() };
    parts.push(Part { name: name.into(), pointer: pointer.into(), kind, unit });
}

fn action(name: &str, affordance: &Map<String, Value>, servient: &Servient<'_>) -> Result<Action, String> {
    if affordance.get("synchronous") == Some(&Value::Bool(false)) {
        return Err(
            "it answers before it is done (synchronous: false), and nobody asks it afterwards yet".into()
        );
    }
    let target = servient.choose(affordance, Operation::Invoke)?;
    let method = target.method.unwrap_or_default();
    let input = affordance.get("input").and_then(Value::as_object).map_or(Value::Null, narrowed);
    Ok(Action { name: name.into(), target, method, input })
}

/// A schema of which only the terms that hold what they must are left (TD 1.1, section 5.3.2).
fn narrowed(schema: &Map<String, Value>) -> Value {
    const TYPES: [&str; 7] = ["boolean", "integer", "number", "string", "object", "array", "null"];
    let mut kept = Map::new();
    for (term, value) in schema.iter().take(MAX_PARTS) {
        let value = match (term.as_str(), value) {
            ("type", Value::String(word)) if TYPES.contains(&word.as_str()) => value.clone(),
            ("title" | "description" | "unit", Value::String(text)) => cut(text).into(),
            ("minimum" | "maximum", Value::Number(_)) => value.clone(),
            ("required", Value::Array(names)) if names.iter().all(Value::is_string) => value.clone(),
            ("items", Value::Object(schema)) => narrowed(schema),
            ("properties", Value::Object(members)) => {
                let narrow =
                    |(name, schema): (&String, &Value)| Some((name.clone(), narrowed(schema.as_object()?)));
                Value::Object(members.iter().take(MAX_PARTS).filter_map(narrow).collect())
            }
            _ => continue,
        };
        kept.insert(term.clone(), value);
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests;
