//! The only file that prints: data to stdout, words for people to stderr.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the one place that the lint points to"
)]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::failure::Failure;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Prints one line of data.
pub(crate) fn line(text: &str) {
    // A reader who has gone (`| head`) wants no more.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints data as JSON, indented for a terminal.
pub(crate) fn json(value: &impl Serialize) {
    let text = if std::io::stdout().is_terminal() {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    line(&text.unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")));
}

/// Prints a table: columns as wide as their widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let print = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(padded.join("  ").trim_end());
    };
    print(head.to_vec());
    for row in rows {
        print(row.iter().map(String::as_str).collect());
    }
}

/// So many digits of a transaction's id are shown in a table; any unique beginning names it again.
const SHOWN: usize = 12;

/// The beginning of an id.
pub(crate) fn short_id(id: &impl ToString) -> String {
    id.to_string().chars().take(SHOWN).collect()
}

/// A text for people: each UUID in it loses its middle, so that a line fits. Data keeps it whole.
pub(crate) fn shorten(text: &str) -> String {
    let (mut short, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(UUID) {
        let from = at + UUID.len();
        short.push_str(&rest[..from]);
        rest = &rest[from..];
        if let Some(uuid) = rest.get(..UUID_LEN).filter(|uuid| is_uuid(uuid)) {
            short.push_str(&uuid[..8]);
            short.push('…');
            short.push_str(&uuid[UUID_LEN - 4..]);
            rest = &rest[UUID_LEN..];
        }
    }
    short + rest
}

/// What another company wrote, for a terminal: nothing in it steers it.
pub(crate) fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// RFC 9562, section 4: 8-4-4-4-12 hexadecimal digits.
const UUID: &str = "urn:uuid:";
const UUID_LEN: usize = 36;

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// Says something to the person at the terminal.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether a person looks at stderr.
pub(crate) fn person_is_there() -> bool {
    std::io::stderr().is_terminal() && std::io::stdin().is_terminal()
}

/// Says why the command failed, and gives its exit code.
pub(crate) fn fail(failure: &Failure) -> ExitCode {
    say(&format!("error: {}", failure.text));
    if !failure.next.is_empty() {
        say(&format!("next:  {}", failure.next));
    }
    ExitCode::from(failure.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_another_wrote_steers_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\r\u{9b}é"), "a\\u{1b}[2Jb\\r\\u{9b}é");
    }

    #[test]
    fn uuids_lose_their_middle_and_nothing_else() {
        let id = "urn:uuid:779921a6-485a-84fe-93af-a4b0ccf9eae2";
        for (text, short) in [
            (String::new(), String::new()),
            (id.to_owned(), "urn:uuid:779921a6…eae2".to_owned()),
            (
                format!("lock on {id}, {id}é"),
                "lock on urn:uuid:779921a6…eae2, urn:uuid:779921a6…eae2é".to_owned(),
            ),
            ("urn:uuid:779921a6".to_owned(), "urn:uuid:779921a6".to_owned()),
            ("urn:uuid:éééééééééééééééééé".to_owned(), "urn:uuid:éééééééééééééééééé".to_owned()),
        ] {
            assert_eq!(shorten(&text), short);
        }
    }
}
