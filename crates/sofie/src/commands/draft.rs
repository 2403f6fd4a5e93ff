//! A draft or an offer as a file: TOML or JSON of the same fields. What they mean is the node's to judge, and to refuse by
//! name.

use std::path::Path;

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::input;

/// The longest draft: the node's own default (`body_bytes`).
const MAX_DRAFT: usize = 64 * 1024;
/// The page that shows a whole draft.
pub(super) const TRANSACTION: &str = "docs/guide/inter-ledger.md";
/// The page that shows a whole offer.
pub(super) const OFFER: &str = "docs/guide/two-nodes.md";

/// Reads the file, of which `page` shows one; `key` goes before what it says of its own.
pub(super) fn read(file: &Path, key: Option<String>, page: &str) -> Result<Value, Failure> {
    let text = input::text(file, MAX_DRAFT, &format!("name one in TOML or JSON; {page} shows one"))?;
    let (tried, next) = (format!("read {}", file.display()), format!("{page} shows a whole one"));
    let mut draft = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|e| Failure::usage(&tried, e, &next))?
    } else {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            Failure::usage(&tried, e.to_string().trim_end().to_owned(), &next)
        })?;
        json(toml::Value::Table(table))
    };
    if let (Some(key), Some(draft)) = (key, draft.as_object_mut()) {
        draft.insert("idempotency_key".into(), key.into());
    }
    Ok(draft)
}

/// The same value as JSON. An instant is a text there.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(at) => at.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_and_json_are_the_same_draft() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let toml = "deadline = 2026-11-24T22:18:18Z\nrule = { at_least = 2 }\n[[legs]]\namount = \"1\"\n";
        let same =
            r#" {"deadline": "2026-11-24T22:18:18Z", "rule": {"at_least": 2}, "legs": [{"amount": "1"}]}"#;
        let read = |path: &Path| read(path, Some("mine".into()), TRANSACTION).unwrap();
        let draft = read(&file("a.toml", toml));
        assert_eq!(draft, read(&file("a.json", same)));
        assert_eq!(draft["idempotency_key"], "mine");
    }
}
