//! `cargo xtask console`: the page's sources are in `console/`, its built assets are committed in
//! `crates/node/console/`, so that `cargo build` needs no Node; `check` builds again and compares.

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
        ["build"] => build(&assets()),
        ["check"] => check(),
        ["test"] => test(),
        ["test", node] => against(node),
        other => Err(Failure::usage(format!("console build|check|test [NODE], not {other:?}"))),
    }
}

/// The committed assets, which the node embeds.
fn assets() -> PathBuf {
    shell::root().join("crates/node/console")
}

fn sources() -> PathBuf {
    shell::root().join("console")
}

fn build(into: &Path) -> Done {
    peers::install_locked(&sources())?;
    let npm = |script: &str| {
        let mut npm = shell::command("npm", &["--silent", "run", script]);
        npm.current_dir(sources()).env("SOFIE_CONSOLE_OUT", into);
        npm
    };
    shell::quietly(&mut npm("types"))?;
    shell::quietly(&mut npm("build")).map(drop)
}

/// Builds beside the committed assets and compares file by file.
pub(crate) fn check() -> Done {
    let fresh = shell::root().join("target/console");
    build(&fresh)?;
    let (committed, built) = (contents(&assets())?, contents(&fresh)?);
    let names: BTreeSet<_> = committed.keys().chain(built.keys()).collect();
    let stale: Vec<_> = names.into_iter().filter(|name| committed.get(*name) != built.get(*name)).collect();
    if stale.is_empty() {
        return Ok(());
    }
    Err(Failure::found(format!("crates/node/console is stale in {stale:?}: run `cargo xtask console build`")))
}

/// The page in Chromium, against the fixture server of `console/test`.
pub(crate) fn test() -> Done {
    peers::install_locked(&sources())?;
    let mut node = shell::command("node", &["--test", "--test-reporter=spec", "test/page.test.mjs"]);
    shell::run(node.current_dir(sources()))
}

/// The same assertions against a running node, by its address.
fn against(base: &str) -> Done {
    peers::install_locked(&sources())?;
    shell::run(shell::command("node", &["test/node.mjs", base]).current_dir(sources()))
}

/// Every file below `folder` with its bytes.
fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, Failure> {
    let mut found = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(place) = pending.pop() {
        for entry in fs::read_dir(&place).map_err(|error| at(&place, &error))? {
            let path = entry.map_err(|error| at(&place, &error))?.path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let bytes = fs::read(&path).map_err(|error| at(&path, &error))?;
                found.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned(), bytes);
            }
        }
    }
    Ok(found)
}

fn at(path: &Path, error: &io::Error) -> Failure {
    Failure::found(format!("{}: {error}", path.display()))
}
