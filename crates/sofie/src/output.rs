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
