//! Peers that a story needs beside the program itself: found in `SOFIE_PEERS`, the user's cache or the PATH, else
//! installed into the cache at first use: anvil by npm, without running any script of the package's; bitcoind by apt,
//! unpacked and not installed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::commands::doctor::{find_peer, peers_cache};
use crate::failure::Failure;
use crate::output;

/// How long an installation may take.
const INSTALL: Duration = Duration::from_secs(300);
/// The same version as `cargo xtask peers` installs.
const ANVIL_VERSION: &str = "1.7.1";
/// What to do when it cannot be installed here.
const BY_HAND: &str =
    "install Node 20 or later, or put anvil on the PATH, or name its folder with SOFIE_PEERS";

/// The program anvil.
pub(crate) async fn anvil() -> Result<PathBuf, Failure> {
    if let Some(found) = find_peer("anvil") {
        return Ok(found);
    }
    let package = format!("@foundry-rs/anvil-{}", platform()?);
    let cache = peers_cache().ok_or_else(|| {
        Failure::lacking("install anvil", "this user has no cache folder", "set HOME or XDG_CACHE_HOME")
    })?;
    install(&package, ANVIL_VERSION, "bin/anvil", &cache.join("anvil")).await
}

/// Unpacks bitcoind into a folder of peers; `cargo xtask peers` runs the same one.
const BITCOIND: &str = include_str!("../../../../xtask/src/peers/bitcoind.sh");
/// What to do when bitcoind cannot be had here.
const BITCOIND_BY_HAND: &str =
    "install Bitcoin Core or Knots and put bitcoind on the PATH, or name its folder with SOFIE_PEERS";

/// The program bitcoind.
pub(crate) async fn bitcoind() -> Result<PathBuf, Failure> {
    if let Some(found) = find_peer("bitcoind") {
        return Ok(found);
    }
    let lacking = |why: String| Failure::lacking("install bitcoind", why, BITCOIND_BY_HAND);
    let cache = peers_cache().ok_or_else(|| lacking("this user has no cache folder".to_owned()))?;
    output::say(&format!("unpacking bitcoind into {}", cache.display()));
    let mut bash = Command::new("bash");
    bash.args(["-c", BITCOIND, "bitcoind.sh"]).arg(&cache).stdin(Stdio::null());
    ended("bash", &mut bash).await.map_err(lacking)?;
    find_peer("bitcoind").ok_or_else(|| lacking("it was unpacked, and yet it is not there".to_owned()))
}

/// As the packages call this machine.
fn platform() -> Result<String, Failure> {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    match (os, std::env::consts::ARCH) {
        ("linux" | "darwin", "x86_64") => Ok(format!("{os}-amd64")),
        ("linux" | "darwin", "aarch64") => Ok(format!("{os}-arm64")),
        (os, arch) => {
            Err(Failure::lacking("install anvil", format!("there is none for {os} on {arch}"), BY_HAND))
        }
    }
}

/// Installs `package` beside `link`, and makes `link` point at the file that it `holds`.
async fn install(package: &str, version: &str, holds: &str, link: &Path) -> Result<PathBuf, Failure> {
    let wanted = format!("{package}@{version}");
    let tried = format!("install {wanted}");
    let lacking = |why: String| Failure::lacking(&tried, why, BY_HAND);
    let cache = link.parent().unwrap_or(Path::new("."));
    let packages = cache.join("npm");
    std::fs::create_dir_all(&packages).map_err(|e| lacking(format!("{}: {e}", packages.display())))?;
    output::say(&format!("installing {wanted} into {}", cache.display()));
    // In a folder of its own that is renamed at the end: two stories at once do not meet half an installation.
    let fresh = tempfile::Builder::new().prefix(".new-").tempdir_in(&packages);
    let fresh = fresh.map_err(|e| lacking(e.to_string()))?;
    npm_install(fresh.path(), &wanted).await.map_err(lacking)?;
    let name = format!("{}-{version}", package.rsplit('/').next().unwrap_or(package));
    let home = packages.join(name);
    let held = home.join("node_modules").join(package).join(holds);
    if !held.is_file() {
        // What an earlier, unfinished installation left there is in the way.
        let _ = std::fs::remove_dir_all(&home);
        std::fs::rename(fresh.path(), &home)
            .or_else(|error| if held.is_file() { Ok(()) } else { Err(error) })
            .map_err(|e| lacking(format!("{}: {e}", home.display())))?;
    }
    if !held.is_file() {
        return Err(lacking(format!("the package holds no {holds}")));
    }
    point(link, &held).map_err(|e| lacking(format!("{}: {e}", link.display())))?;
    Ok(held)
}

async fn npm_install(folder: &Path, wanted: &str) -> Result<(), String> {
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact"])
        .arg("--prefix")
        .arg(folder)
        .arg(wanted)
        .current_dir(folder)
        .stdin(Stdio::null());
    ended("npm", &mut npm).await
}

/// Runs an installation to its end; what it said is the error.
async fn ended(name: &str, command: &mut Command) -> Result<(), String> {
    let output = command.kill_on_drop(true).output();
    let ended =
        tokio::time::timeout(INSTALL, output).await.map_err(|_| format!("{name} does not come to an end"))?;
    let output = ended.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => format!("there is no {name} on the PATH"),
        _ => format!("{name}: {e}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name} ended with {}: {}", output.status, said.trim()))
}

#[cfg(unix)]
fn point(link: &Path, target: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match std::os::unix::fs::symlink(target, link) {
        // Another story was faster.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
fn point(_: &Path, _: &Path) -> std::io::Result<()> {
    Ok(())
}
