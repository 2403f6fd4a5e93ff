//! Sources: no `unwrap` in the product, no file too long to read at a sitting, lints on in every crate, no `unsafe`.

use crate::{scan, tree};

/// A file longer than this is more than one room.
const MAX_LINES: usize = 600;

/// What product code does not call, and what to do instead.
const BANNED: &[(&str, &str)] = &[
    (".unwrap()", "return an error, or say with `expect` why it holds"),
    (".unwrap_err()", "return an error"),
    ("todo!(", "finish it"),
    ("unimplemented!(", "finish it"),
    ("panic!(", "return an error"),
    ("unsafe", "it is forbidden here"),
];

/// Sources that run only in tests although they are not under `#[cfg(test)]`: folders and files of these names.
const TEST_SOURCES: &[&str] =
    &["/tests/", "/benches/", "/tests.rs", "/conformance", "fuzz/", "crates/peers/"];

fn is_product(name: &str) -> bool {
    let inside = name.starts_with("crates/") || name.starts_with("xtask/");
    inside && !TEST_SOURCES.iter().any(|part| name.contains(part))
}

fn banned(name: &str, source: &str) -> Vec<String> {
    let code = scan::product(source);
    BANNED
        .iter()
        .flat_map(|(needle, instead)| {
            scan::lines_with(&code, needle).into_iter().map(move |line| (line, needle, instead))
        })
        .map(|(line, needle, instead)| format!("{name}:{line}: {needle} — {instead}"))
        .collect()
}

fn is_too_long(source: &str) -> bool {
    source.lines().count() > MAX_LINES
}

fn inherits_lints(manifest: &toml::Table) -> bool {
    manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool)
        == Some(true)
}

#[test]
fn product_code_neither_unwraps_nor_panics() {
    let sources = tree::files_ending(&[".rs"]);
    let found: Vec<String> = sources
        .iter()
        .filter(|name| is_product(name))
        .flat_map(|name| banned(name, &tree::read(name)))
        .collect();
    tree::none(&found, "product code fails by returning an error:");
}

#[test]
fn a_file_fits_a_sitting() {
    let long: Vec<String> = tree::files_ending(&[".rs", ".ts", ".tsx", ".sol", ".mjs", ".css"])
        .into_iter()
        .filter(|name| !name.starts_with("crates/node/console/"))
        .filter(|name| is_too_long(&tree::read(name)))
        .collect();
    tree::none(&long, &format!("longer than {MAX_LINES} lines; split it:"));
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let bare: Vec<String> = tree::manifests()
        .into_iter()
        .filter(|(_, manifest)| !inherits_lints(manifest))
        .map(|(name, _)| name)
        .collect();
    tree::none(&bare, "add `[lints]` with `workspace = true`:");
    let root: toml::Table = tree::read("Cargo.toml").parse().expect("the workspace's manifest is TOML");
    let lints = &root["workspace"]["lints"];
    assert_eq!(lints["rust"]["unsafe_code"].as_str(), Some("forbid"));
    assert_eq!(lints["rust"]["missing_docs"].as_str(), Some("warn"));
    assert_eq!(lints["clippy"]["unwrap_used"].as_str(), Some("warn"));
}

#[test]
fn every_source_file_opens_with_what_it_is() {
    let bare: Vec<String> = tree::files_ending(&[".rs"])
        .into_iter()
        .filter(|name| !tree::read(name).starts_with("//! "))
        .filter(|name| !name.starts_with("fuzz/") && !name.ends_with("/tests.rs"))
        .collect();
    tree::none(&bare, "the first line of a file says what it is (`//! …`):");
}

#[test]
fn offenders_are_found() {
    for (source, expected) in [
        ("fn a() { b.unwrap() }", 1),
        ("fn a() { b.unwrap_or(0) }", 0),
        ("fn a() { panic!(\"no\") }", 1),
        ("unsafe fn a() {}", 1),
        ("#![forbid(unsafe_code)]", 0),
        ("#[cfg(test)]\nmod tests { fn a() { b.unwrap() } }", 0),
    ] {
        assert_eq!(banned("x.rs", source).len(), expected, "{source}");
    }
    assert!(is_too_long(&"\n".repeat(MAX_LINES + 1)) && !is_too_long(&"\n".repeat(MAX_LINES)));
    assert!(is_product("crates/node/src/lib.rs") && !is_product("crates/node/tests/api.rs"));
    assert!(!inherits_lints(&toml::Table::new()));
}
