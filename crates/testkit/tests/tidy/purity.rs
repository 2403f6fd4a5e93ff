//! `model` and `transaction` do no I/O, read no clock and draw no randomness: their sources and manifests show it.

use crate::{scan, tree};

/// What gives a crate the outside world, a clock or chance.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::os",
    "SystemTime",
    "Instant::now",
    "tokio",
    "async_std",
    "rand",
    "getrandom",
    "OsRng",
    "ThreadRng",
    "thread_rng",
    "RandomState",
    "println!",
    "eprintln!",
    "dbg!",
    "async_trait",
];

/// What `model` may be built from: encodings, hashes, signatures and Ethereum's primitives.
const MODEL_DEPS: &[&str] = &[
    "alloy-consensus",
    "alloy-eips",
    "alloy-primitives",
    "alloy-rlp",
    "alloy-sol-types",
    "alloy-trie",
    "base64",
    "ed25519-dalek",
    "hex",
    "k256",
    "minicbor",
    "serde",
    "sha2",
    "thiserror",
];

/// What `transaction` may be built from.
const TRANSACTION_DEPS: &[&str] = &["minicbor", "serde", "sofie-model", "thiserror"];

fn impure(name: &str, source: &str) -> Vec<String> {
    let code = scan::product(source);
    IMPURE
        .iter()
        .flat_map(|needle| scan::lines_with(&code, needle).into_iter().map(move |line| (line, needle)))
        .map(|(line, needle)| format!("{name}:{line}: {needle}"))
        .collect()
}

/// Dependencies of `manifest` outside `whitelist`.
fn foreign<'a>(manifest: &'a toml::Table, whitelist: &[&str]) -> Vec<&'a str> {
    let tables = ["dependencies", "build-dependencies"].map(|table| manifest.get(table));
    let tables = tables.into_iter().flatten().filter_map(toml::Value::as_table);
    tables.flat_map(toml::Table::keys).map(String::as_str).filter(|name| !whitelist.contains(name)).collect()
}

#[test]
fn model_and_transaction_touch_no_file_no_net_no_clock_no_chance() {
    let sources = tree::files_ending(&[".rs"]);
    for room in ["model", "transaction"] {
        let folder = format!("crates/{room}/src/");
        let of_room: Vec<_> = sources.iter().filter(|name| name.starts_with(&folder)).collect();
        assert!(!of_room.is_empty(), "{folder} was not found");
        let found: Vec<String> = of_room.iter().flat_map(|name| impure(name, &tree::read(name))).collect();
        tree::none(&found, &format!("{room} takes the world as an argument; these lines reach for it:"));
    }
}

#[test]
fn model_and_transaction_depend_on_nothing_that_does_io() {
    for (room, whitelist) in [("model", MODEL_DEPS), ("transaction", TRANSACTION_DEPS)] {
        let manifest: toml::Table =
            tree::read(&format!("crates/{room}/Cargo.toml")).parse().expect("a manifest is TOML");
        let found = foreign(&manifest, whitelist);
        assert!(found.is_empty(), "{room} depends on {found:?}: add it to the whitelist only if it is pure");
    }
}

#[test]
fn an_impure_line_is_found() {
    for (line, expected) in [
        ("let now = std::time::SystemTime::now();", 1),
        ("use std::time::Duration;", 0),
        ("let now = Instant::now();", 1),
        ("Finality::Instant", 0),
        ("use std::{fs, net};", 0), // grouped imports are seen by what they are used for, below
        ("std::fs::read(path)", 1),
        ("let operand = 1; // rand", 0),
        ("rand::random()", 1),
        ("#[cfg(test)] mod tests { use std::fs; fn f() { std::fs::read(p); } }", 0),
    ] {
        assert_eq!(impure("x.rs", line).len(), expected, "{line}");
    }
    let manifest = "[dependencies]\ntokio='1'\nserde='1'".parse().expect("the case is TOML");
    assert_eq!(foreign(&manifest, TRANSACTION_DEPS), ["tokio"]);
}
