//! JSONPath (RFC 9535) over all Thing Descriptions of a directory, as WoT Discovery's search API wants it: `$` is the
//! array of what is registered, in the order of the ids.
//!
//! What a stranger asks must cost no more than he may: [`MAX_QUERY`] bytes, [`MAX_DEPTH`] levels, [`MAX_STEPS`] looks at
//! a value, [`MAX_NODES`] values kept at once. A query that needs more is refused, never cut short
//! (docs/adr/0053-a-jsonpath-that-counts-its-steps.md).
//!
//! Left out: normalized paths (section 2.7), and functions beyond the five of section 2.4. Regular expressions are those
//! of the `regex` crate, of which RFC 9485's are a part, but for the dot, which is read as RFC 9485 says.

mod read;
mod walk;

use serde_json::Value;

pub use walk::{MAX_NODES, MAX_STEPS, Node, TooMuch};

/// A longer query is refused unread, in bytes.
pub const MAX_QUERY: usize = 1_024;
/// How deep filters, brackets and functions may be nested.
pub const MAX_DEPTH: usize = 16;

/// A query that was read.
///
/// ```
/// use serde_json::json;
/// use sofie_directory::jsonpath::{JsonPath, Node};
/// let (lamp, lock) = (json!({"title": "Lamp"}), json!({"title": "Lock", "actions": {"lock": {}}}));
/// let (query, things) = (JsonPath::read("$[?@.actions.lock].title").unwrap(), [&lamp, &lock]);
/// let found = query.find(&things).unwrap();
/// assert_eq!(found, [Node::Value(&json!("Lock"))]);
/// assert_eq!(JsonPath::read("$[?@.title == 1").unwrap_err().at, 15);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    segments: Vec<Segment>,
}

/// A text that is no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("JSONPath, byte {at}: {expected} is expected")]
pub struct BadQuery {
    /// Offset in bytes.
    pub at: usize,
    /// What should stand there.
    pub expected: &'static str,
}

impl JsonPath {
    /// Reads a query.
    ///
    /// # Errors
    /// [`BadQuery`]: the first place that breaks the grammar, a function's types, or a limit.
    pub fn read(text: &str) -> Result<Self, BadQuery> {
        read::query(text)
    }

    /// What the query selects, in order; the same value twice where it is selected twice.
    ///
    /// # Errors
    /// [`TooMuch`].
    pub fn find<'a>(&'a self, things: &'a [&'a Value]) -> Result<Vec<Node<'a>>, TooMuch> {
        walk::find(&self.segments, things)
    }
}

/// Section 2.5.
#[derive(Debug, Clone, PartialEq)]
struct Segment {
    descendant: bool,
    selectors: Vec<Selector>,
}

/// Section 2.3.
#[derive(Debug, Clone, PartialEq)]
enum Selector {
    Name(String),
    Wildcard,
    Index(i64),
    Slice { start: Option<i64>, end: Option<i64>, step: i64 },
    Filter(Logical),
}

/// Section 2.3.5.
#[derive(Debug, Clone, PartialEq)]
enum Logical {
    Any(Vec<Logical>),
    All(Vec<Logical>),
    Not(Box<Logical>),
    Compare(Operand, Comparison, Operand),
    Exists(Inner),
    Matches { whole: bool, text: Operand, pattern: Operand },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A query inside a filter.
#[derive(Debug, Clone, PartialEq)]
struct Inner {
    absolute: bool,
    segments: Vec<Segment>,
}

/// What has one value, or none (`ValueType`, section 2.4.1).
#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Literal(Value),
    Singular(Inner),
    Length(Box<Operand>),
    Count(Inner),
    Value(Inner),
}

impl Inner {
    /// Section 2.3.5.1: it selects one value at most.
    fn is_singular(&self) -> bool {
        let one = |selectors: &[Selector]| matches!(selectors, [Selector::Name(_) | Selector::Index(_)]);
        self.segments.iter().all(|segment| !segment.descendant && one(&segment.selectors))
    }
}
