//! Data schemas (TD 1.1, section 5.3.2): a small part of JSON Schema, and whether a value fits one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::affordance::About;
use crate::canonical;
use crate::json::pointer_step;
use crate::node::{Node, kind};
use crate::problem::{Code, quote};

/// `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataType {
    /// true or false.
    Boolean,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// Text.
    String,
    /// Named members.
    Object,
    /// A list.
    Array,
    /// Only null.
    Null,
}

/// A data schema. Absent terms restrict nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DataSchema {
    /// Title, description, semantic types.
    pub about: About,
    /// `type`.
    pub data_type: Option<DataType>,
    /// `const`.
    pub constant: Option<Value>,
    /// `default`.
    pub default: Option<Value>,
    /// `enum`; empty when absent.
    pub allowed: Vec<Value>,
    /// `oneOf`.
    pub one_of: Vec<DataSchema>,
    /// `unit`.
    pub unit: Option<String>,
    /// `format`.
    pub format: Option<String>,
    /// `readOnly`.
    pub read_only: bool,
    /// `writeOnly`.
    pub write_only: bool,
    /// `items`: one schema for all, or one for each place.
    pub items: Vec<DataSchema>,
    /// True when `items` was a list.
    pub tuple: bool,
    /// `minItems` and `maxItems`.
    pub item_count: (Option<u64>, Option<u64>),
    /// `minLength` and `maxLength`, in Unicode characters.
    pub length: (Option<u64>, Option<u64>),
    /// `minimum` and `maximum`.
    pub bounds: (Option<f64>, Option<f64>),
    /// `exclusiveMinimum` and `exclusiveMaximum`.
    pub open_bounds: (Option<f64>, Option<f64>),
    /// `multipleOf`.
    pub multiple_of: Option<f64>,
    /// `properties` of an object.
    pub properties: BTreeMap<String, DataSchema>,
    /// `required` of an object.
    pub required: Vec<String>,
    /// `pattern`, `contentEncoding`, `contentMediaType` and terms of other vocabularies.
    pub others: Map<String, Value>,
}

const TERMS: [&str; 29] = [
    "@type",
    "title",
    "titles",
    "description",
    "descriptions",
    "type",
    "const",
    "default",
    "enum",
    "oneOf",
    "unit",
    "format",
    "readOnly",
    "writeOnly",
    "items",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "properties",
    "required",
    // Of the property affordance that a schema may be:
    "forms",
    "observable",
    "uriVariables",
];

impl DataSchema {
    pub(super) fn read(node: &Node<'_>) -> Option<Self> {
        node.object()?;
        if node.get("tm:ref").is_some() {
            let message = "an unresolved reference of a Thing Model: put what it refers to in its place";
            node.fail_at("tm:ref", Code::ThingModel, message);
        }
        for term in ["contentEncoding", "contentMediaType", "pattern"] {
            node.text_of(term);
        }
        let items = node.get("items");
        let list = |name: &str| node.list_of(name, |item| Self::read(&item));
        let schema = Self {
            about: About::read(node),
            data_type: read_type(node),
            constant: node.get("const").map(|value| value.value.clone()),
            default: node.get("default").map(|value| value.value.clone()),
            allowed: node.filled_list_of("enum", |item| Some(item.value.clone())),
            one_of: list("oneOf"),
            unit: node.text_of("unit"),
            format: node.text_of("format"),
            read_only: node.flag_of("readOnly").unwrap_or(false),
            write_only: node.flag_of("writeOnly").unwrap_or(false),
            tuple: items.is_some_and(|items| items.value.is_array()),
            items: items.map(|items| items.one_or_many(|item| Self::read(&item))).unwrap_or_default(),
            item_count: (node.count_of("minItems"), node.count_of("maxItems")),
            length: (node.count_of("minLength"), node.count_of("maxLength")),
            bounds: (node.number_of("minimum"), node.number_of("maximum")),
            open_bounds: (node.number_of("exclusiveMinimum"), node.number_of("exclusiveMaximum")),
            multiple_of: node.number_of("multipleOf"),
            properties: node.map_of("properties", |_, property| Self::read(&property)),
            required: node.list_of("required", |name| name.text()),
            others: node.extensions(&TERMS),
        };
        schema.check(node);
        Some(schema)
    }

    /// The rules that span several terms.
    fn check(&self, node: &Node<'_>) {
        if self.multiple_of.is_some_and(|step| step <= 0.0) {
            node.fail_at(
                "multipleOf",
                Code::MultipleOf,
                "a step is above zero: give the real one, or leave it out",
            );
        }
        for (low, high, broken) in [
            ("minItems", "maxItems", above(self.item_count)),
            ("minLength", "maxLength", above(self.length)),
            ("minimum", "maximum", above(self.bounds)),
            ("exclusiveMinimum", "exclusiveMaximum", above(self.open_bounds)),
        ] {
            if broken {
                node.fail_at(
                    low,
                    Code::Range,
                    format!("{low} is above {high}, so no value fits: swap or mend them"),
                );
            }
        }
        let mut seen = BTreeSet::new();
        for (index, value) in self.allowed.iter().enumerate() {
            let place = format!("{index}");
            let Some(list) = node.get("enum") else { break };
            if !seen.insert(canonical::text(value)) {
                list.fail_at(
                    &place,
                    Code::EnumDuplicate,
                    format!("{} stands twice: keep one", quote(&value.to_string())),
                );
            }
            if let Some(expected) = self.data_type.filter(|expected| !expected.holds(value)) {
                list.fail_at(&place, Code::EnumType, contradiction(value, expected));
            }
        }
        if let (Some(value), Some(expected)) = (&self.constant, self.data_type)
            && !expected.holds(value)
        {
            node.fail_at("const", Code::EnumType, contradiction(value, expected));
        }
    }

    /// Whether `value` fits. `format`, `pattern` and content terms are not looked at.
    ///
    /// # Errors
    /// The first [`Mismatch`].
    pub fn accepts(&self, value: &Value) -> Result<(), Mismatch> {
        let fail = |why: String| Err(Mismatch { pointer: String::new(), why });
        if let Some(expected) = self.data_type.filter(|expected| !expected.holds(value)) {
            return fail(format!("{} stands where the schema wants {}", kind(value), expected.as_str()));
        }
        if self.constant.is_some() || !self.allowed.is_empty() {
            let text = canonical::text(value);
            let same = |other: &Value| canonical::text(other) == text;
            if self.constant.as_ref().is_some_and(|constant| !same(constant)) {
                return fail("not the constant that the schema names".into());
            }
            if !self.allowed.is_empty() && !self.allowed.iter().any(same) {
                return fail("not one of the values that the schema lists".into());
            }
        }
        if !self.one_of.is_empty() {
            let fits = self.one_of.iter().filter(|schema| schema.accepts(value).is_ok()).count();
            if fits != 1 {
                return fail(format!(
                    "it fits {fits} of the {} schemas in oneOf; one is wanted",
                    self.one_of.len()
                ));
            }
        }
        match value {
            Value::Number(number) => self.accepts_number(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => within("character", text.chars().count() as u64, self.length),
            Value::Array(items) => self.accepts_items(items),
            Value::Object(members) => self.accepts_members(members),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    fn accepts_number(&self, number: f64) -> Result<(), Mismatch> {
        let low = self.bounds.0.is_none_or(|low| number >= low)
            && self.open_bounds.0.is_none_or(|low| number > low);
        let high = self.bounds.1.is_none_or(|high| number <= high)
            && self.open_bounds.1.is_none_or(|high| number < high);
        // A quotient as near to whole as doubles can tell: 0.3 is a multiple of 0.1.
        let step = self.multiple_of.is_none_or(|step| {
            let quotient = number / step;
            (quotient - quotient.round()).abs() <= f64::EPSILON * quotient.abs().max(1.0)
        });
        match (low && high, step) {
            (true, true) => Ok(()),
            (false, _) => Err(Mismatch::here(format!("{number} is outside the schema's bounds"))),
            (true, false) => Err(Mismatch::here(format!("{number} is not a multiple of the schema's step"))),
        }
    }

    fn accepts_items(&self, items: &[Value]) -> Result<(), Mismatch> {
        within("item", items.len() as u64, self.item_count)?;
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = self.items.get(if self.tuple { index } else { 0 }) {
                schema.accepts(item).map_err(|inner| inner.below(&index.to_string()))?;
            }
        }
        Ok(())
    }

    fn accepts_members(&self, members: &Map<String, Value>) -> Result<(), Mismatch> {
        if let Some(name) = self.required.iter().find(|name| !members.contains_key(*name)) {
            return Err(Mismatch::here(format!("the required member {} is missing", quote(name))));
        }
        for (name, schema) in &self.properties {
            if let Some(member) = members.get(name) {
                schema.accepts(member).map_err(|inner| inner.below(name))?;
            }
        }
        Ok(())
    }
}

impl DataType {
    /// The term.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Object => "object",
            Self::Array => "array",
            Self::Null => "null",
        }
    }

    /// True when `value` is of this type; a number with a fraction of zero is whole.
    #[must_use]
    pub fn holds(self, value: &Value) -> bool {
        match self {
            Self::Boolean => value.is_boolean(),
            Self::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            Self::Number => value.is_number(),
            Self::String => value.is_string(),
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::Null => value.is_null(),
        }
    }
}

/// Where and why a value does not fit its schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", if pointer.is_empty() { "the value" } else { pointer })]
pub struct Mismatch {
    /// RFC 6901 pointer into the value.
    pub pointer: String,
    /// What does not fit.
    pub why: String,
}

impl Mismatch {
    fn here(why: String) -> Self {
        Self { pointer: String::new(), why }
    }

    fn below(self, step: &str) -> Self {
        Self { pointer: pointer_step(String::new(), step) + &self.pointer, why: self.why }
    }
}

fn read_type(node: &Node<'_>) -> Option<DataType> {
    use DataType::{Array, Boolean, Integer, Null, Number, Object, String};
    let member = node.get("type")?;
    let name = member.text()?;
    let known =
        [Boolean, Integer, Number, String, Object, Array, Null].into_iter().find(|t| t.as_str() == name);
    if known.is_none() {
        let message = format!(
            "{} is not a data type: use boolean, integer, number, string, object, array or null",
            quote(&name)
        );
        member.fail(Code::DataType, message);
    }
    known
}

fn above<T: PartialOrd>((low, high): (Option<T>, Option<T>)) -> bool {
    matches!((low, high), (Some(low), Some(high)) if low > high)
}

fn contradiction(value: &Value, expected: DataType) -> String {
    let value = quote(&value.to_string());
    format!("{value} can never be of type {}: correct the type or the value", expected.as_str())
}

fn within(what: &str, count: u64, (low, high): (Option<u64>, Option<u64>)) -> Result<(), Mismatch> {
    if low.is_some_and(|low| count < low) || high.is_some_and(|high| count > high) {
        return Err(Mismatch::here(format!("{count} {what}(s) are outside the schema's bounds")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::problem::Report;

    fn schema(value: &Value) -> DataSchema {
        let report = Report::default();
        let schema = DataSchema::read(&Node::root(value, &report));
        report.finish().expect("a valid schema");
        schema.expect("an object")
    }

    #[test]
    fn values_fit_or_do_not() {
        let object = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "array", "items": [{"type": "integer"}, {"type": "string"}], "maxItems": 2}}});
        for (schema_text, value, misfit) in [
            (json!({"type": "integer", "minimum": 1, "maximum": 3}), json!(3.0), None),
            (json!({"type": "integer"}), json!(0.5), Some("")),
            (json!({"minimum": 1}), json!(0), Some("")),
            (json!({"exclusiveMaximum": 1}), json!(1), Some("")),
            (json!({"multipleOf": 0.1}), json!(0.3), None),
            (json!({"multipleOf": 2}), json!(3), Some("")),
            (json!({"enum": [1, "a"]}), json!(1.0), None),
            (json!({"enum": [1, "a"]}), json!("b"), Some("")),
            (json!({"const": {"a": 1}}), json!({"a": 1}), None),
            (json!({"const": true}), json!(false), Some("")),
            (json!({"type": "string", "maxLength": 2}), json!("éé"), None),
            (json!({"type": "string", "minLength": 3}), json!("éé"), Some("")),
            (json!({"oneOf": [{"type": "number"}, {"type": "integer"}]}), json!(1), Some("")),
            (json!({"oneOf": [{"type": "number"}, {"type": "integer"}]}), json!(1.5), None),
            (json!({"type": "array", "items": {"type": "null"}}), json!([null, 1]), Some("/1")),
            (object.clone(), json!({"a": [1, "x"], "b": 0}), None),
            (object.clone(), json!({"a": [1, 2]}), Some("/a/1")),
            (object, json!({}), Some("")),
        ] {
            let got = schema(&schema_text).accepts(&value).err().map(|misfit| misfit.pointer);
            assert_eq!(got.as_deref(), misfit, "{value} in {schema_text}");
        }
    }
}
