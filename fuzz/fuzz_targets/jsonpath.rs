//! JSONPath: no text makes the reader panic, and what it reads is walked to its end within its budget.
#![no_main]

use serde_json::json;
use sofie_directory::jsonpath::JsonPath;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(query) = JsonPath::read(text) else { return };
    let things = [json!({"a": [1, 2.5, "x", {"b": null}], "b": {"a": "xy"}}), json!([[1], "a"])];
    let all: Vec<_> = things.iter().collect();
    let _ = query.find(&all);
});
