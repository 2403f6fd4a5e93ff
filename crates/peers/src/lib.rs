//! Peers: programs of other makers that the tests run beside the product. A test that needs one fails where it is
//! missing, with the command that brings it; only who sets `SOFIE_WITHOUT_PEERS=1` leaves such tests out, and is told so.
//!
//! Also what stands between such a program and a test: [`Port`], [`Proxy`].
//!
//! No room of the product may depend on this one. Left out: installing them (`xtask/src/peers.rs`).

mod acme;
mod anvil;
mod port;
pub mod proxy;
#[cfg(test)]
mod tests;

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};

pub use acme::Acme;
pub use anvil::Anvil;
pub use port::Port;
pub use proxy::{Faults, Proxy};

/// Set to `1`, tests leave out what needs a peer that is not here.
const WITHOUT: &str = "SOFIE_WITHOUT_PEERS";
/// Where Debian keeps programs that a user's `PATH` may lack.
const SYSTEM: &str = "/usr/sbin";
/// Where Debian keeps PostgreSQL's programs, in one folder a version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// The program at `path` below the folder of peers: that of `SOFIE_PEERS`, else `.peers` at the workspace's root. `None`
/// where it is missing and is to be left out.
///
/// # Panics
/// Where it is missing and is not to be left out.
#[must_use]
#[track_caller]
pub fn program(path: &str) -> Option<PathBuf> {
    needed(path, first(&folders(named()), path))
}

/// Where a program that a test runs, and that looks for peers by itself, is to look first: for its `SOFIE_PEERS`.
#[must_use]
pub fn folder() -> PathBuf {
    folders(named()).remove(0)
}

/// The program `name` of an installed Debian package. `None` and panics as with [`program`].
///
/// # Panics
/// Where it is missing and is not to be left out.
#[must_use]
#[track_caller]
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).chain([SYSTEM.into()]).collect();
    needed(name, first(&folders, name))
}

/// The folder of the newest PostgreSQL's programs. `None` and panics as with [`program`].
///
/// # Panics
/// Where it is missing and is not to be left out.
#[must_use]
#[track_caller]
pub fn postgresql() -> Option<PathBuf> {
    let versions = std::fs::read_dir(POSTGRESQL).into_iter().flatten().flatten();
    let programs = versions.map(|version| version.path().join("bin"));
    needed("PostgreSQL", programs.filter(|programs| programs.join("initdb").is_file()).max())
}

fn named() -> Option<PathBuf> {
    env::var_os("SOFIE_PEERS").map(PathBuf::from)
}

/// Where peers may be, the first first. A relative `SOFIE_PEERS` is meant from the workspace's root, as `cargo xtask` runs.
fn folders(named: Option<PathBuf>) -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).unwrap_or(here);
    named.into_iter().chain([".peers".into()]).map(|folder| root.join(folder)).collect()
}

fn first(folders: &[PathBuf], path: &str) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(path)).find(|program| program.is_file())
}

#[track_caller]
fn needed(what: &str, found: Option<PathBuf>) -> Option<PathBuf> {
    let without = env::var_os(WITHOUT).is_some_and(|word| word == "1");
    match (missing(what, without), found) {
        (_, Some(found)) => Some(found),
        (Ok(left_out), None) => {
            // Past the capture of the test harness: what was not tested must be seen.
            let _ = writeln!(std::io::stderr(), "{left_out}");
            None
        }
        (Err(wanted), None) => panic!("{wanted}"),
    }
}

/// What is said of a peer that is missing: that a test is left out, or, as an error, what to do.
fn missing(what: &str, without: bool) -> Result<String, String> {
    if without {
        return Ok(format!("LEFT OUT: no {what} here, and {WITHOUT}=1"));
    }
    Err(format!(
        "this test needs {what}: `cargo xtask peers install` brings it (into .peers, or the folder that SOFIE_PEERS \
         names); with {WITHOUT}=1 it is left out"
    ))
}
