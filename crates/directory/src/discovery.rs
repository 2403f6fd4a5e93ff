//! The pure part of the directory API of W3C WoT Discovery (section 7.3): the directory's own Thing Description, what it
//! serves, its `Link` headers, and problem details (RFC 9457). Whoever speaks HTTP wires these to routes.
//!
//! Left out, and so not advertised: search by XPath and SPARQL (section 7.3.2.3).

mod core;
mod own;

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use sofie_model::Timestamp;

pub use core::{Filter, LINK_FORMAT, MAX_LINKS, Resources, path_segment, resources};
pub use own::{Door, own_description};

use crate::canonical::DISCOVERY_CONTEXT;
use crate::jsonpath::{JsonPath, Node, TooMuch};
use crate::problem::Errors;
use crate::store::{DirectoryError, Record, registration};

/// Media type of a Thing Description.
pub const TD_JSON: &str = "application/td+json";
/// Media type of a listing.
pub const LD_JSON: &str = "application/ld+json";
/// Media type of problem details.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The document as a directory serves it: with the `registration` and the context that explains it. Its digest
/// ([`crate::canonical::hash`]) is that of the document as it was registered.
#[must_use]
pub fn enriched(record: &Record, now: Timestamp) -> Value {
    let mut document = record.thing.document().clone();
    document["registration"] = registration::served(record, now);
    let contexts = match document["@context"].take() {
        Value::Array(mut contexts) => {
            if !contexts.iter().any(|context| context == DISCOVERY_CONTEXT) {
                contexts.push(DISCOVERY_CONTEXT.into());
            }
            contexts
        }
        one => vec![one, DISCOVERY_CONTEXT.into()],
    };
    document["@context"] = contexts.into();
    document
}

/// The longest answer to a search, in bytes.
pub const MAX_FOUND: usize = 8 * 1024 * 1024;

/// What a search by JSONPath finds, as the text of a JSON array: whole things as they are served, and parts of things as
/// they were registered (`registration`, which the directory adds, is not searched).
///
/// # Errors
/// [`TooMuch`].
pub fn found(records: &[Arc<Record>], query: &JsonPath, now: Timestamp) -> Result<String, TooMuch> {
    let documents: Vec<&Value> = records.iter().map(|record| record.thing.document()).collect();
    let mut text = String::from("[");
    let add = |text: &mut String, value: &Value| {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&value.to_string());
        if text.len() < MAX_FOUND { Ok(()) } else { Err(TooMuch::Answer) }
    };
    for node in query.find(&documents)? {
        match node {
            Node::Root => {
                let mut all = String::from("[");
                records.iter().try_for_each(|record| add(&mut all, &enriched(record, now)))?;
                let comma = if text.len() > 1 { "," } else { "" };
                text.push_str(&format!("{comma}{all}]"));
            }
            Node::Thing(index) => add(&mut text, &enriched(&records[index], now))?,
            Node::Value(value) => add(&mut text, value)?,
        }
        if text.len() >= MAX_FOUND {
            return Err(TooMuch::Answer);
        }
    }
    text.push(']');
    Ok(text)
}

/// How a listing is laid out (`format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A list of Thing Descriptions; where it goes on stands in [`links`].
    #[default]
    Array,
    /// An object with members, total and next.
    Collection,
}

impl Format {
    /// Reads the query parameter: `array` or `collection`.
    #[must_use]
    pub fn from_parameter(text: &str) -> Option<Self> {
        match text {
            "array" => Some(Self::Array),
            "collection" => Some(Self::Collection),
            _ => None,
        }
    }
}

/// Where a page stands in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// How many things come before it.
    pub offset: usize,
    /// How many it could hold.
    pub limit: usize,
    /// How many it holds.
    pub count: usize,
    /// How many there are in all.
    pub total: usize,
}

impl Place {
    /// Where the next page starts, if there is one.
    #[must_use]
    pub fn next(&self) -> Option<usize> {
        let next = self.offset.saturating_add(self.count);
        (self.count > 0 && next < self.total).then_some(next)
    }

    fn path(&self, path: &str, offset: usize, format: Format) -> String {
        let suffix = if format == Format::Collection { "&format=collection" } else { "" };
        format!("{path}?offset={offset}&limit={}{suffix}", self.limit)
    }
}

/// The body of `GET /things`: a page's things, each as [`enriched`].
#[must_use]
pub fn listing(members: Vec<Value>, place: Place, path: &str, format: Format) -> Value {
    if format == Format::Array {
        return members.into();
    }
    let mut body = json!({
        "@context": DISCOVERY_CONTEXT,
        "@type": "ThingCollection",
        "@id": place.path(path, place.offset, format),
        "total": place.total,
        "members": members,
    });
    if let Some(next) = place.next() {
        body["next"] = place.path(path, next, format).into();
    }
    body
}

/// The `Link` header fields of a listing (RFC 8288): the whole list with its state, and the next page, if there is one.
/// `revision` is [`crate::store::Directory::latest_event`]: a reader who sees it change starts again.
#[must_use]
pub fn links(place: Place, path: &str, format: Format, revision: u64) -> Vec<String> {
    let canonical = format!("<{path}>; rel=\"canonical\"; etag=\"{revision}\"");
    let next = place.next().map(|next| format!("<{}>; rel=\"next\"", place.path(path, next, format)));
    std::iter::once(canonical).chain(next).collect()
}

/// Problem details (RFC 9457) with what to do next and, for a document that was refused, each rule that it breaks
/// (`validationErrors`, WoT Discovery, section 7.3.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProblemBody {
    /// The kind, a URI.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kind, for people.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// This case.
    pub detail: String,
    /// What to do.
    pub next: &'static str,
    /// Where the document breaks which rule.
    #[serde(rename = "validationErrors", skip_serializing_if = "Vec::is_empty")]
    pub validation_errors: Vec<ValidationError>,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValidationError {
    /// RFC 6901 pointer.
    pub field: String,
    /// The rule's code and what to do.
    pub description: String,
}

impl From<&Errors> for ProblemBody {
    fn from(errors: &Errors) -> Self {
        let each = |problem: &crate::Problem| {
            let field = problem.pointer.clone();
            ValidationError { field, description: format!("{}: {}", problem.code, problem.message) }
        };
        Self {
            kind: "urn:sofie:problem:invalid",
            title: "the Thing Description is not valid",
            status: 400,
            detail: match errors.problems.len() + errors.left_out {
                0 | 1 => errors.to_string(),
                all => format!("{} (and {} more)", errors.problems[0], all - 1),
            },
            next: "mend each place that validationErrors names and send the whole document again",
            validation_errors: errors.problems.iter().map(each).collect(),
        }
    }
}

impl From<&DirectoryError> for ProblemBody {
    fn from(error: &DirectoryError) -> Self {
        let (kind, title, status, next) = match error {
            DirectoryError::Invalid(errors) => return errors.into(),
            DirectoryError::NotFound { .. } => {
                ("urn:sofie:problem:not-found", "no such thing", 404, "list the things with GET /things")
            }
            DirectoryError::OtherId { .. } => (
                "urn:sofie:problem:invalid",
                "two ids for one thing",
                400,
                "use the document's id in the path",
            ),
            DirectoryError::OtherOwner { .. } => (
                "urn:sofie:problem:refused",
                "the thing belongs to somebody else",
                403,
                "register it under another id",
            ),
            DirectoryError::BadOwner { .. } => {
                ("urn:sofie:problem:invalid", "not an owner's name", 400, "shorten the owner's name")
            }
            DirectoryError::Full { .. } => {
                ("urn:sofie:problem:refused", "the directory is full", 403, "delete things that are gone")
            }
        };
        Self { kind, title, status, detail: error.to_string(), next, validation_errors: Vec::new() }
    }
}
