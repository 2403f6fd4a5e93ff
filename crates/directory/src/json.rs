//! A strict reader of JSON (RFC 8259, within I-JSON, RFC 7493): a name twice in an object, a text too long, too deep or
//! of too many values is refused, with line, column and pointer.
//!
//! The tokens are serde_json's; what it leaves open (it keeps the last of two equal names) is closed here.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::problem::{Code, Problem, cut, quote};

/// How much a document may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Objects and arrays inside each other. serde_json itself stops at 128.
    pub depth: usize,
    /// Values of any kind.
    pub nodes: usize,
}

impl Limits {
    /// What a Thing Description may hold. The largest of the public corpora has 10 kB.
    pub const THING: Self = Self { bytes: 1 << 20, depth: 48, nodes: 100_000 };
}

/// Reads one JSON text.
///
/// ```
/// use sofie_directory::json::{Limits, read};
/// let twice = br#"{"a": {"b": 1, "b": 2}}"#;
/// let problem = read(twice, Limits::THING).unwrap_err();
/// assert_eq!((problem.pointer.as_str(), problem.code.as_str()), ("/a/b", "duplicate-key"));
/// assert_eq!((problem.line, problem.column), (Some(1), Some(18)));
/// ```
///
/// # Errors
/// The first [`Problem`]: what follows cannot be trusted.
pub fn read(bytes: &[u8], limits: Limits) -> Result<Value, Problem> {
    if bytes.len() > limits.bytes {
        let message =
            format!("{} bytes; at most {} are read: shorten the document", bytes.len(), limits.bytes);
        return Err(Problem {
            pointer: String::new(),
            code: Code::TooLong,
            message,
            line: None,
            column: None,
        });
    }
    let state = RefCell::new(State { path: Vec::new(), nodes: 0, fault: None });
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let place = Place { state: &state, limits, depth: 0 };
    place.deserialize(&mut text).and_then(|value| text.end().map(|()| value)).map_err(|error| {
        let state = state.into_inner();
        let (code, message) = state.fault.unwrap_or_else(|| (Code::Syntax, plain(&error)));
        let pointer = cut(state.path.iter().fold(String::new(), |to, step| pointer_step(to, step)), 512);
        Problem { pointer, code, message, line: Some(error.line()), column: Some(error.column()) }
    })
}

/// Appends `/` and the escaped `step` (RFC 6901, section 3).
pub(crate) fn pointer_step(mut to: String, step: &str) -> String {
    to.push('/');
    for c in step.chars() {
        match c {
            '~' => to.push_str("~0"),
            '/' => to.push_str("~1"),
            c => to.push(c),
        }
    }
    to
}

/// serde_json's sentence without the position, which we give ourselves.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    format!("not valid JSON: {what}")
}

struct State {
    /// Names and indices down to the value at hand.
    path: Vec<String>,
    nodes: usize,
    fault: Option<(Code, String)>,
}

/// Where the next value goes.
#[derive(Clone, Copy)]
struct Place<'s> {
    state: &'s RefCell<State>,
    limits: Limits,
    depth: usize,
}

impl Place<'_> {
    fn fault<E: serde::de::Error>(&self, code: Code, message: String) -> E {
        self.state.borrow_mut().fault = Some((code, message));
        E::custom(code)
    }

    /// One level down, or the fault that there are too many.
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > self.limits.depth {
            let message = format!("nested more than {} times: flatten the document", self.limits.depth);
            return Err(self.fault(Code::TooDeep, message));
        }
        Ok(Self { depth, ..*self })
    }

    fn enter(&self, step: String) {
        self.state.borrow_mut().path.push(step);
    }

    fn leave(&self) {
        self.state.borrow_mut().path.pop();
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.state.borrow_mut().nodes += 1;
        if self.state.borrow().nodes > self.limits.nodes {
            let message = format!("more than {} values: split the document", self.limits.nodes);
            return Err(self.fault(Code::TooMany, message));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        loop {
            self.enter(list.len().to_string());
            let next = items.next_element_seed(inner)?;
            self.leave();
            match next {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.enter(name.clone());
            if map.contains_key(&name) {
                let message = format!("the name {} stands twice in one object: keep one", quote(&name));
                return Err(self.fault(Code::DuplicateKey, message));
            }
            let value = members.next_value_seed(inner)?;
            self.leave();
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits { bytes: 60, depth: 3, nodes: 6 };

    #[test]
    fn each_limit_and_rule_has_its_code_and_place() {
        for (text, code, pointer) in [
            ("", Code::Syntax, ""),
            ("{\"a\":1,}", Code::Syntax, ""),
            ("[1, 2", Code::Syntax, "/2"),
            ("1 2", Code::Syntax, ""),
            ("[1e999]", Code::Syntax, "/0"),
            ("\"\\ud800\"", Code::Syntax, ""),
            ("{\"a\":1,\"a\":1}", Code::DuplicateKey, "/a"),
            ("{\"a\":1,\"\\u0061\":1}", Code::DuplicateKey, "/a"),
            ("{\"x/y\":[{\"~\":0,\"~\":0}]}", Code::DuplicateKey, "/x~1y/0/~0"),
            ("[[[[]]]]", Code::TooDeep, "/0/0/0"),
            ("[1,2,3,4,5,6]", Code::TooMany, "/5"),
            (&" ".repeat(61), Code::TooLong, ""),
        ] {
            let problem = read(text.as_bytes(), SMALL).expect_err(text);
            assert_eq!((problem.code, problem.pointer.as_str()), (code, pointer), "{text}: {problem}");
        }
    }

    #[test]
    fn what_is_allowed_comes_back_as_it_was() {
        for text in ["null", "[1,-2,0.5,true]", "{\"a\":{\"b\":[\"\\u00e9\"]}}", "[1,2,3,4,5]", "[[[]]]"] {
            let ours = read(text.as_bytes(), SMALL).expect(text);
            assert_eq!(ours, serde_json::from_str::<Value>(text).expect(text));
        }
    }
}
