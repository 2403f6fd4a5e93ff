//! `cargo xtask contracts`: the sources are in `contracts/src/`, their compiled artefacts are committed in
//! `contracts/artifacts/`, so that `cargo build` needs no Node; `check` compiles again and compares byte for byte; `lint`
//! runs Slither over them and compares what it finds with `contracts/slither-accepted.json`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    peers,
    shell::{self, Done, Failure},
};

pub(crate) fn run(arguments: &[&str]) -> Done {
    match arguments {
        ["build"] => build(&artefacts()),
        ["check"] => check(),
        ["lint"] => lint(),
        other => Err(Failure::usage(format!("contracts build|check|lint, not {other:?}"))),
    }
}

/// The committed artefacts, which the ledgers embed.
fn artefacts() -> PathBuf {
    sources().join("artifacts")
}

fn sources() -> PathBuf {
    shell::root().join("contracts")
}

fn install_compiler() -> Done {
    peers::install_locked(&sources()).map_err(|failure| failure.during("installing the Solidity compiler"))
}

/// Static analysis: whatever is found and not accepted with a reason is a fault.
pub(crate) fn lint() -> Done {
    install_compiler()?;
    let slither = peers::slither().map_err(|failure| failure.during("installing Slither"))?;
    let mut lint = shell::command("node", &["lint.mjs"]);
    lint.arg(slither).current_dir(sources());
    shell::quietly(&mut lint).map(drop)
}

fn build(into: &Path) -> Done {
    install_compiler()?;
    let mut compiler = shell::command("node", &["compile.mjs"]);
    compiler.arg(into).current_dir(sources());
    shell::quietly(&mut compiler).map(drop)
}

/// Compiles beside the committed artefacts and compares them.
pub(crate) fn check() -> Done {
    let fresh = shell::root().join("target/contracts");
    match fs::remove_dir_all(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&fresh, &error)),
        _ => build(&fresh)?,
    }
    let differences = differences(&contents(&artefacts())?, &contents(&fresh)?);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Failure::found(format!(
        "contracts/artifacts is not what contracts/src compiles to:\n  {}\nrun `cargo xtask contracts build` and commit it",
        differences.join("\n  ")
    )))
}

type Files = BTreeMap<String, Vec<u8>>;

fn contents(folder: &Path) -> Result<Files, Failure> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder).map_err(|error| at(folder, &error))? {
        let path = entry.map_err(|error| at(folder, &error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(name, fs::read(&path).map_err(|error| at(&path, &error))?);
    }
    Ok(files)
}

/// One line for each file that is not the same on both sides.
fn differences(committed: &Files, compiled: &Files) -> Vec<String> {
    let names: BTreeSet<_> = committed.keys().chain(compiled.keys()).collect();
    let told = names.into_iter().filter_map(|name| match (committed.get(name), compiled.get(name)) {
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => Some(format!("{name}: {}", first_difference(old, new))),
        (Some(_), None) => Some(format!("{name}: nothing compiles to it")),
        _ => Some(format!("{name}: is not committed")),
    });
    told.collect()
}

/// The first line in which two texts differ, cut so that bytecode does not flood the terminal.
fn first_difference(old: &[u8], new: &[u8]) -> String {
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let (mut old, mut new) = (old.lines(), new.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (old.next(), new.next()) {
            (Some(old), Some(new)) if old == new => {}
            (None, None) => return "the line ends".into(),
            (old, new) => {
                let cut = |line: Option<&str>| -> String {
                    line.map_or("nothing".into(), |line| line.trim().chars().take(60).collect())
                };
                let column = common(old.unwrap_or_default(), new.unwrap_or_default());
                return format!("line {number}, column {column}: {} became {}", cut(old), cut(new));
            }
        }
    }
}

/// The first column, from 1, in which two lines differ.
fn common(old: &str, new: &str) -> usize {
    1 + old.bytes().zip(new.bytes()).take_while(|(one, other)| one == other).count()
}

fn at(path: &Path, error: &io::Error) -> Failure {
    Failure::found(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(name, text)| ((*name).into(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn every_kind_of_difference_is_told() {
        let committed = files(&[("A", "1\n2\n"), ("B", "x"), ("C", "same"), ("E", "1\n")]);
        let compiled = files(&[("A", "1\n3\n"), ("C", "same"), ("D", "y"), ("E", "1\n2\n")]);
        let expected = [
            "A: line 2, column 1: 2 became 3",
            "B: nothing compiles to it",
            "D: is not committed",
            "E: line 2, column 1: nothing became 2",
        ];
        assert_eq!(differences(&committed, &compiled), expected);
    }

    #[test]
    fn equal_files_differ_in_nothing() {
        let one = files(&[("A", "1")]);
        assert_eq!(differences(&one, &one.clone()), Vec::<String>::new());
    }
}
