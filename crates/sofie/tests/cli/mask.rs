//! Hides what differs from run to run, and nothing else: the case's folder, ids, times, ports.

use std::path::Path;

use regex::Regex;

/// What is hidden, in this order.
#[derive(Debug)]
pub(crate) struct Mask {
    names: Vec<(String, String)>,
    patterns: Vec<(Regex, &'static str)>,
}

/// Ids that the case's world knows by name come before these.
const PATTERNS: [(&str, &str); 13] = [
    (r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:[PORT]"),
    (r"port \d{4,5}", "port [PORT]"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"),
    (r"\b1\d{12}\b", "[MILLIS]"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[UUID]"),
    (r"\b[0-9a-f]{8}…[0-9a-f]{4}\b", "[ID]"),
    // A log's verifier key.
    (r"\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}", "+[KEY]"),
    // What is left after fees: random hashes cost more or less gas by their zero bytes.
    (r"lack of funds \(\d+\)", "lack of funds ([LEFT])"),
    (r"(?m)^[0-9a-f]{12}\b", "[ID12]"),
    (r"0x[0-9a-f]{64}|\b[0-9a-f]{64}\b", "[HASH]"),
    (r"0x[0-9a-fA-F]{40}", "[ACCOUNT]"),
    (r"\d+(\.\d+)? (ms|s|min|h|d) (left|ago)", "[SPAN] $3"),
    (r#"(\[(\d{1,3},){31}\d{1,3}\])|"[0-9a-f]{130,}""#, "[BYTES]"),
];

impl Mask {
    pub(crate) fn new(dir: &Path) -> Self {
        let compiled = |(pattern, name)| (Regex::new(pattern).expect("the pattern is one"), name);
        let names = vec![(dir.display().to_string(), "[DIR]".to_owned())];
        Self { names, patterns: PATTERNS.map(compiled).to_vec() }
    }

    /// Hides a text that the case's world knows under a name.
    pub(crate) fn name(&mut self, text: String, name: &str) {
        self.names.push((text, format!("[{name}]")));
    }

    pub(crate) fn apply(&self, text: &str) -> String {
        let named =
            self.names.iter().fold(text.to_owned(), |text, (hidden, name)| text.replace(hidden, name));
        self.patterns
            .iter()
            .fold(named, |text, (pattern, name)| pattern.replace_all(&text, *name).into_owned())
    }
}
