//! What is wrong with a document: where (an RFC 6901 pointer), which rule (a stable code), and what to do about it.

use std::{cell::RefCell, fmt};

use serde::Serialize;

/// How many problems of one document are reported; the rest is counted.
pub const MAX_PROBLEMS: usize = 64;
/// Longest pointer that a report repeats, in bytes.
const MAX_POINTER: usize = 512;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The rule that was broken. Its text form is stable: programs may match on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// The stable text form.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// Not JSON (RFC 8259).
    Syntax = "json-syntax",
    /// An object has a name twice (RFC 8259, section 4; TD 1.1, section 6.1: names of a map are unique).
    DuplicateKey = "duplicate-key",
    /// More nested than [`crate::json::Limits::depth`].
    TooDeep = "too-deep",
    /// Longer than [`crate::json::Limits::bytes`].
    TooLong = "too-long",
    /// More values than [`crate::json::Limits::nodes`].
    TooMany = "too-many-values",
    /// A value of another JSON type than the term has.
    WrongType = "wrong-type",
    /// A mandatory term is absent.
    Missing = "missing",
    /// A list or map that must hold something is empty.
    Empty = "empty",
    /// `@context` is not one that TD 1.1 allows, or in another order (section 5.3.1.1).
    Context = "context",
    /// The document is a Thing Model, or still holds parts of one (section 10).
    ThingModel = "thing-model",
    /// A `{{placeholder}}` of a Thing Model was not filled in (section 10.3.3).
    Placeholder = "placeholder",
    /// Not a well-formed language tag (BCP 47).
    LanguageTag = "language-tag",
    /// Not a URI, or not a URI reference (RFC 3986, RFC 3987).
    Uri = "uri",
    /// Not a URI template (RFC 6570).
    Template = "uri-template",
    /// A template uses a variable that nobody declares, or a declaration breaks its rules.
    UriVariable = "uri-variable",
    /// Not a date and time of RFC 3339.
    DateTime = "date-time",
    /// Not a media type (RFC 6838).
    MediaType = "media-type",
    /// An operation that this kind of form does not have (section 5.3.4.2).
    Operation = "operation",
    /// An operation that `readOnly` or `writeOnly` rules out.
    ReadWrite = "read-write",
    /// A name that `securityDefinitions` does not define.
    SecurityReference = "security-reference",
    /// A security scheme that breaks the rules of its kind (section 5.3.3).
    SecurityScheme = "security-scheme",
    /// A name that `schemaDefinitions` does not define.
    SchemaReference = "schema-reference",
    /// More than one link has `rel: type` (section 10.2).
    RelType = "rel-type",
    /// A link that breaks the rules of its relation (section 5.3.4.1).
    Link = "link",
    /// An unknown data type (section 5.3.2).
    DataType = "data-type",
    /// An `enum` lists a value twice.
    EnumDuplicate = "enum-duplicate",
    /// An `enum` or `const` value that the schema's `type` can never be.
    EnumType = "enum-type",
    /// A lower bound above its upper bound.
    Range = "range",
    /// `multipleOf` is not above zero.
    MultipleOf = "multiple-of",
    /// `registration` is not what W3C WoT Discovery, section 7.3.1, describes.
    Registration = "registration",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// RFC 6901 pointer to the value; empty for the whole document.
    pub pointer: String,
    /// Which rule.
    pub code: Code,
    /// What is wrong and what to do, in a sentence.
    pub message: String,
    /// Line in the text, from 1; only where the text itself was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in that line, in bytes from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "line {line}, column {column}: ")?;
        }
        let place = if self.pointer.is_empty() { "the document" } else { &self.pointer };
        write!(f, "{place}: {} [{}]", self.message, self.code)
    }
}

/// All that is wrong with one document, in the order in which it was read. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// At most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub left_out: usize,
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        if self.left_out > 0 {
            write!(f, "\n… and {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl From<Problem> for Errors {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem], left_out: 0 }
    }
}

/// Collects problems while a document is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    errors: RefCell<(Vec<Problem>, usize)>,
}

impl Report {
    /// Adds one, or counts it when the report is full. `pointer` is only written out when it is kept.
    pub(crate) fn add(&self, pointer: impl FnOnce() -> String, code: Code, message: impl Into<String>) {
        let mut errors = self.errors.borrow_mut();
        if errors.0.len() < MAX_PROBLEMS {
            let pointer = cut(pointer(), MAX_POINTER);
            errors.0.push(Problem { pointer, code, message: message.into(), line: None, column: None });
        } else {
            errors.1 += 1;
        }
    }

    /// Nothing, or all that was added.
    pub(crate) fn finish(self) -> Result<(), Errors> {
        let (problems, left_out) = self.errors.into_inner();
        if problems.is_empty() { Ok(()) } else { Err(Errors { problems, left_out }) }
    }
}

/// `text` cut to `limit` bytes at a character's border.
pub(crate) fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push('…');
    }
    text
}

/// `text` in quotes, cut for a message.
pub(crate) fn quote(text: &str) -> String {
    format!("{:?}", cut(text.to_owned(), 80))
}
