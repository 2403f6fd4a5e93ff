//! `cargo xtask fuzz`: every target of `fuzz/Cargo.toml`, for a short while and with a fixed seed.
//!
//! The build is instrumented by flags that the stable compiler takes, the same that `cargo-fuzz` sets, without its
//! address sanitizer: the product forbids `unsafe`. A crash leaves its input in `fuzz/artifacts/TARGET/`.

use std::{fs, path::PathBuf};

use crate::shell::{self, Done, Failure};

/// What libFuzzer needs to see which branches an input takes.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Given explicitly, so that build scripts and macros are not instrumented.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// How long each target runs unless the command says otherwise.
const SECONDS: &str = "5";

pub(crate) fn run(arguments: &[&str]) -> Done {
    match arguments {
        [] => all(SECONDS),
        ["--seconds", seconds] if seconds.parse::<u32>().is_ok() => all(seconds),
        ["--seconds", seconds, target] if seconds.parse::<u32>().is_ok() => {
            build()?;
            one(target, seconds)
        }
        other => Err(Failure::usage(format!("fuzz [--seconds N [TARGET]], not {other:?}"))),
    }
}

/// Every target, shortly: a parser that fails on what comes first to mind fails here.
pub(crate) fn briefly() -> Done {
    all(SECONDS)
}

fn all(seconds: &str) -> Done {
    build()?;
    targets()?.iter().try_for_each(|target| one(target, seconds))
}

fn folder() -> PathBuf {
    shell::root().join("fuzz")
}

/// The names of `fuzz/fuzz_targets/*.rs`.
fn targets() -> Result<Vec<String>, Failure> {
    let place = folder().join("fuzz_targets");
    let at = |error: std::io::Error| Failure::found(format!("{}: {error}", place.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(&place).map_err(at)? {
        let path = entry.map_err(at)?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Instrumented code lies apart from the rest, beside it where the caller keeps build results elsewhere.
fn built() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(kept) => shell::root().join(kept).join("fuzz"),
        None => folder().join("target"),
    }
}

/// Its lock file pins what it names; what a room has newly taken in is added, not refused.
fn build() -> Done {
    let mut cargo = shell::cargo(&["build", "--release", "--target", TRIPLE]);
    cargo.current_dir(folder()).env("RUSTFLAGS", INSTRUMENTED).env("CARGO_TARGET_DIR", built());
    shell::run(&mut cargo)
}

fn one(target: &str, seconds: &str) -> Done {
    let binary = built().join(TRIPLE).join("release").join(target);
    let corpus = folder().join("corpus").join(target);
    let artifacts = folder().join("artifacts").join(target);
    for place in [&corpus, &artifacts] {
        fs::create_dir_all(place).map_err(|error| Failure::found(format!("{}: {error}", place.display())))?;
    }
    let mut fuzzer = shell::command(binary, &["-seed=1", "-print_final_stats=1", "-timeout=10"]);
    fuzzer
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzzer.arg(&corpus);
    fuzzer.args(seeds(target));
    let told = shell::quietly_told(&mut fuzzer)
        .map_err(|failure| failure.during(&format!("fuzz target {target}, seed 1")))?;
    let runs = told.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    eprintln!("xtask: fuzz {target}: {} inputs", runs.map_or("?", str::trim));
    Ok(())
}

/// The folder with first inputs that the tree holds for a target, if it holds any.
fn seeds(target: &str) -> Option<PathBuf> {
    Some(folder().join("seeds").join(target)).filter(|place| place.is_dir())
}
