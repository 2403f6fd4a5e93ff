//! A webhook can ask for every kind of record that the node makes: `KINDS` names them all, and no other.

use std::collections::BTreeSet;

use sofie_node::events::KINDS;

use super::tree;

/// What makes a note, and in the files that make many a closure of the same form.
const MAKERS: [&str; 3] = ["about(", "on_ledger(", "on("];

/// The kinds that stand as a maker's first or second argument. One that a variable holds is not seen.
fn told(source: &str) -> BTreeSet<&str> {
    let calls = |maker: &'static str| source.match_indices(maker);
    let whole = |(at, _): &(usize, &str)| !source[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let arguments = |(at, maker): (usize, &str)| &source[at + maker.len()..];
    MAKERS.into_iter().flat_map(calls).filter(whole).map(arguments).filter_map(kind).collect()
}

fn kind(arguments: &str) -> Option<&str> {
    let (before, rest) = arguments.split_once('"')?;
    let first = before.trim();
    // Nothing, or one whole argument and its comma.
    let subject = first.is_empty() || first.ends_with(',') && !first.contains([';', '{', '|']);
    let (word, _) = rest.split_once('"')?;
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    (subject && commas(first) <= 1 && is_word(word)).then_some(word)
}

/// Those between arguments.
fn commas(text: &str) -> usize {
    let mut depth = 0;
    text.bytes()
        .filter(|byte| {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            *byte == b',' && depth == 0
        })
        .count()
}

#[test]
fn a_kind_is_found_wherever_a_note_is_made() {
    let source = r#"Note::about(join::subject(&key), "joined", true, "x") about("told", true) on("seen", e)
        Note::on_ledger(id(a, b), "noted", e) Note::about(id, kind, true, "no") |kind| about("a b", c) action("lock", x)"#;
    assert_eq!(told(source), BTreeSet::from(["joined", "noted", "seen", "told"]));
}

#[test]
fn a_webhook_can_ask_for_every_kind_of_record() {
    let sources = tree::files_ending(&[".rs"]);
    let of_node =
        sources.iter().filter(|name| name.starts_with("crates/node/src/") && !name.contains("tests"));
    let texts: Vec<String> = of_node.map(|name| tree::read(name)).collect();
    let made: BTreeSet<&str> = texts.iter().flat_map(|text| told(text)).collect();
    assert!(made.len() > KINDS.len() / 2, "the notes are found");
    let missing: Vec<String> =
        made.iter().filter(|kind| !KINDS.contains(kind)).map(ToString::to_string).collect();
    tree::none(&missing, "KINDS of crates/node/src/events.rs lacks kinds that the node records:");
    let quoted = |kind: &&str| {
        texts.iter().any(|text| !text.contains("const KINDS") && text.contains(&format!("\"{kind}\"")))
    };
    let stale: Vec<String> = KINDS.iter().filter(|kind| !quoted(kind)).map(ToString::to_string).collect();
    tree::none(&stale, "KINDS of crates/node/src/events.rs names kinds that the node never records:");
    assert!(KINDS.is_sorted(), "they are in order");
}
