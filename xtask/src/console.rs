//! `cargo xtask console`: the page's sources are in `console/`, its built assets are committed in
//! `crates/node/console/`, so that `cargo build` needs no Node; `check` builds again and compares.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
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
        ["real"] => on_real_nodes(),
        other => Err(Failure::usage(format!("console build|check|test [NODE]|real, not {other:?}"))),
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
    shell::run(&mut tests(&["test/page.test.mjs", "test/transactions.test.mjs"]))
}

/// Node.js and its own test runner on these files of `console`.
fn tests(files: &[&str]) -> Command {
    let mut node = shell::command("node", &["--test", "--test-reporter=spec"]);
    node.args(files).current_dir(sources());
    node
}

/// The page on real nodes: one with transactions of a user's own, and one that has just run the locker's story.
pub(crate) fn on_real_nodes() -> Done {
    peers::install_locked(&sources())?;
    let program = shell::sofie(&[])?;
    shell::run(tests(&["test/real.test.mjs"]).env("SOFIE_BIN", program.get_program()))?;
    on_a_story()
}

/// The same assertions on a real node that has just run the locker's story, and still holds it.
fn on_a_story() -> Done {
    let folder = shell::root().join("target/console-story");
    fs::create_dir_all(&folder).map_err(|error| at(&folder, &error))?;
    let mut story = shell::sofie(&["try", "locker", "--json", "--hold"])?;
    story.arg("--receipt-dir").arg(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut story =
        story.spawn().map_err(|error| Failure::lacks(format!("the story does not start: {error}")))?;
    let mut report = String::new();
    let told = story.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut report));
    let base = report.split("\"console\":\"").nth(1).and_then(|rest| rest.split("/console/").next());
    let tested = match (told, base) {
        (Some(Ok(_)), Some(base)) => against(base),
        _ => Err(Failure::found(format!("the story told no console: {report:?}"))),
    };
    // Its standard input ends: so does the story.
    drop(story.stdin.take());
    let ended = story.wait().map_err(|error| Failure::found(format!("the story is lost: {error}")))?;
    tested?;
    if ended.success() { Ok(()) } else { Err(Failure::found(format!("the story ended with {ended}"))) }
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
