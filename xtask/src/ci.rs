//! `cargo xtask ci`: everything that must hold before a change lands, in the order in which it fails fastest.

use std::{process::Command, time::Instant};

use crate::{
    console, contracts, fuzz, peers,
    shell::{self, Done},
};

/// One step: its name and what it does.
type Step = (&'static str, fn() -> Done);

const STEPS: &[Step] = &[
    ("format", format),
    ("peers", peers::install),
    ("lints", lints),
    ("documentation", documentation),
    ("documented examples", doctests),
    ("dependencies", dependencies),
    ("contracts", contracts::check),
    ("static analysis of the contracts", contracts::lint),
    ("console assets", console::check),
    ("console in Chromium", console::test),
    ("console on real nodes", console::on_real_nodes),
    ("fuzz targets", fuzz::briefly),
    ("simulated worlds", simulation),
    ("tests", tests),
];

/// Says how long it has taken before each step, so that the last step's own summary is the last thing on the terminal.
pub(crate) fn run() -> Done {
    let began = Instant::now();
    for (name, step) in STEPS {
        eprintln!("xtask: [{:>4} s] {name}", began.elapsed().as_secs());
        step().map_err(|failure| failure.during(name))?;
    }
    Ok(())
}

/// A cargo whose tests find the peers, and leave none out.
fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = shell::cargo(arguments);
    cargo.env("SOFIE_PEERS", peers::folder()).env_remove("SOFIE_WITHOUT_PEERS");
    cargo
}

fn format() -> Done {
    shell::run(&mut cargo(&["fmt", "--all", "--check"]))
}

fn lints() -> Done {
    let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    shell::run(&mut cargo(&arguments))
}

fn documentation() -> Done {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    shell::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn doctests() -> Done {
    shell::run(&mut cargo(&["test", "--workspace", "--doc", "--locked"]))
}

/// Licences, bans and sources, where `cargo-deny` is installed; its advisories need a database from the network.
fn dependencies() -> Done {
    if shell::on_path("cargo-deny").is_none() {
        eprintln!("xtask: skipped, `cargo-deny` is not installed (cargo install cargo-deny --locked)");
        return Ok(());
    }
    shell::run(&mut cargo(&["deny", "--all-features", "check", "bans", "licenses", "sources"]))
}

/// Ten thousand worlds; the tests run every broken protocol.
fn simulation() -> Done {
    shell::run(&mut shell::sofie(&["simulate", "--seeds", "10000"])?)
}

/// The runner's own summary is the last thing on the terminal.
fn tests() -> Done {
    if shell::on_path("cargo-nextest").is_none() {
        eprintln!("xtask: cargo install cargo-nextest --locked");
        if let Err(failure) = shell::quietly(&mut cargo(&["install", "cargo-nextest", "--locked"])) {
            eprintln!("xtask: {failure}\nxtask: falling back to `cargo test`");
            return shell::run(&mut cargo(&["test", "--workspace", "--locked"]));
        }
    }
    // The profile runs what the quick loop leaves out: .config/nextest.toml.
    shell::run(&mut cargo(&[
        "nextest",
        "run",
        "--profile",
        "ci",
        "--workspace",
        "--locked",
        "--no-fail-fast",
    ]))
}
