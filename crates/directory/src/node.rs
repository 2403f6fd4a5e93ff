//! A JSON value while it is read into the typed model: it knows its place and reports what is wrong there.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::json::pointer_step;
use crate::problem::{Code, Report, quote};
use crate::syntax;

#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

/// A value at its place.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) value: &'a Value,
    parent: Option<(&'a Node<'a>, Step<'a>)>,
    report: &'a Report,
}

impl<'a> Node<'a> {
    pub(crate) fn root(value: &'a Value, report: &'a Report) -> Self {
        Self { value, parent: None, report }
    }

    pub(crate) fn pointer(&self) -> String {
        match self.parent {
            None => String::new(),
            Some((parent, Step::Name(name))) => pointer_step(parent.pointer(), name),
            Some((parent, Step::Index(index))) => pointer_step(parent.pointer(), &index.to_string()),
        }
    }

    /// The whole document.
    pub(crate) fn document(&self) -> &'a Value {
        self.parent.map_or(self.value, |(parent, _)| parent.document())
    }

    /// Reports a problem with this value.
    pub(crate) fn fail(&self, code: Code, message: impl Into<String>) {
        self.report.add(|| self.pointer(), code, message);
    }

    /// Reports a problem with the member `name`, whether it is there or not.
    pub(crate) fn fail_at(&self, name: &str, code: Code, message: impl Into<String>) {
        self.report.add(|| pointer_step(self.pointer(), name), code, message);
    }

    fn wrong_type(&self, expected: &str) {
        self.fail(Code::WrongType, format!("{} stands where {expected} belongs", kind(self.value)));
    }

    /// The members; a problem when it is not an object.
    pub(crate) fn object(&self) -> Option<&'a Map<String, Value>> {
        let members = self.value.as_object();
        if members.is_none() {
            self.wrong_type("an object");
        }
        members
    }

    pub(crate) fn get<'s>(&'s self, name: &'s str) -> Option<Node<'s>> {
        let value = self.value.as_object()?.get(name)?;
        Some(Node { value, parent: Some((self, Step::Name(name))), report: self.report })
    }

    /// As [`Node::get`]; a problem when it is absent.
    pub(crate) fn require<'s>(&'s self, name: &'s str) -> Option<Node<'s>> {
        let member = self.get(name);
        if member.is_none() && self.value.is_object() {
            let message = format!("the mandatory term {} is missing: add it", quote(name));
            self.fail_at(name, Code::Missing, message);
        }
        member
    }

    /// This value as text, free of placeholders.
    pub(crate) fn text(&self) -> Option<String> {
        let Some(text) = self.value.as_str() else {
            self.wrong_type("a string");
            return None;
        };
        Some(text.to_owned())
    }

    /// This value as text that a Thing Model's placeholder may not stand in.
    pub(crate) fn filled(&self) -> Option<String> {
        let text = self.text()?;
        if let Some(found) = syntax::placeholder(&text) {
            let message = format!("{} is a placeholder of a Thing Model: fill it in", quote(found));
            self.fail(Code::Placeholder, message);
            return None;
        }
        Some(text)
    }

    pub(crate) fn text_of(&self, name: &str) -> Option<String> {
        self.get(name)?.text()
    }

    /// Text that must pass `check`; `what` completes "… is not".
    pub(crate) fn checked(
        &self,
        name: &str,
        code: Code,
        what: &str,
        check: fn(&str) -> bool,
    ) -> Option<String> {
        self.get(name)?.checked_text(code, what, check)
    }

    /// As [`Node::checked`], for this value.
    pub(crate) fn checked_text(&self, code: Code, what: &str, check: fn(&str) -> bool) -> Option<String> {
        let text = self.filled()?;
        if check(&text) {
            return Some(text);
        }
        self.fail(code, format!("{} is not {what}: correct it", quote(&text)));
        None
    }

    /// A URI reference (`anyURI`).
    pub(crate) fn reference_of(&self, name: &str) -> Option<String> {
        self.checked(name, Code::Uri, "a URI reference (RFC 3986)", syntax::is_reference)
    }

    pub(crate) fn flag_of(&self, name: &str) -> Option<bool> {
        let member = self.get(name)?;
        let flag = member.value.as_bool();
        if flag.is_none() {
            member.wrong_type("true or false");
        }
        flag
    }

    pub(crate) fn number_of(&self, name: &str) -> Option<f64> {
        let member = self.get(name)?;
        let number = member.value.as_f64();
        if number.is_none() {
            member.wrong_type("a number");
        }
        number
    }

    /// A whole number from 0, also when it is written with a fraction of zero.
    pub(crate) fn count_of(&self, name: &str) -> Option<u64> {
        let member = self.get(name)?;
        let count = member.value.as_u64().or_else(|| {
            let number = member.value.as_f64()?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked: whole, not below 0"
            )]
            (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
        });
        if count.is_none() {
            member.wrong_type("a whole number from 0");
        }
        count
    }

    /// A language map (TD 1.1, section 5.3.1.8): tags of BCP 47 to text.
    pub(crate) fn languages_of(&self, name: &str) -> BTreeMap<String, String> {
        self.map_of(name, |tag, node| {
            if !syntax::is_language_tag(tag) {
                let message =
                    format!("{} is not a language tag (BCP 47), such as \"en\" or \"zh-Hans\"", quote(tag));
                node.fail(Code::LanguageTag, message);
            }
            node.text()
        })
    }

    /// Each member of the object `name`, read by `read`.
    pub(crate) fn map_of<T>(
        &self,
        name: &str,
        read: impl Fn(&str, Node<'_>) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let mut read_members = BTreeMap::new();
        let Some(map) = self.get(name) else { return read_members };
        for (key, value) in map.object().into_iter().flatten() {
            let node = Node { value, parent: Some((&map, Step::Name(key))), report: map.report };
            if let Some(item) = read(key, node) {
                read_members.insert(key.clone(), item);
            }
        }
        read_members
    }

    /// Each item of this list, read by `read`; a problem when it is not a list.
    pub(crate) fn items<T>(&self, read: impl Fn(Node<'_>) -> Option<T>) -> Vec<T> {
        let Some(items) = self.value.as_array() else {
            self.wrong_type("a list");
            return Vec::new();
        };
        let place =
            |(index, value)| Node { value, parent: Some((self, Step::Index(index))), report: self.report };
        items.iter().enumerate().map(place).filter_map(read).collect()
    }

    /// Each item of the list `name`, none when it is absent.
    pub(crate) fn list_of<T>(&self, name: &str, read: impl Fn(Node<'_>) -> Option<T>) -> Vec<T> {
        self.get(name).map(|list| list.items(read)).unwrap_or_default()
    }

    /// As [`Node::list_of`]; a problem when it is there and empty.
    pub(crate) fn filled_list_of<T>(&self, name: &str, read: impl Fn(Node<'_>) -> Option<T>) -> Vec<T> {
        if let Some(list) = self.get(name) {
            list.not_empty();
        }
        self.list_of(name, read)
    }

    /// A value that may stand alone or in a list, each read by `read`.
    pub(crate) fn one_or_many<T>(&self, read: impl Fn(Node<'_>) -> Option<T>) -> Vec<T> {
        if self.value.is_array() { self.items(read) } else { read(*self).into_iter().collect() }
    }

    /// A problem when this list or object holds nothing.
    pub(crate) fn not_empty(&self) {
        let empty = match self.value {
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        if empty {
            self.fail(
                Code::Empty,
                "nothing stands here: name at least one, or leave the term out if it is optional",
            );
        }
    }

    /// The members that `known` does not name: terms of other vocabularies.
    pub(crate) fn extensions(&self, known: &[&str]) -> Map<String, Value> {
        let members = self.value.as_object().into_iter().flatten();
        members
            .filter(|(name, _)| !known.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// A JSON value's type, for a message.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
