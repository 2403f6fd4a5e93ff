//! `cargo xtask peers`: what the tests need besides Rust, by package name and pinned version, installed once.
//!
//! npm packages go under `.peers/` at the workspace's root (or `$SOFIE_PEERS`) and run no install script; Debian
//! packages go into the system, except bitcoind, which only Debian unstable has: it is unpacked beside it. A peer that is
//! there already is left alone.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::shell::{self, Done, Failure};

/// An npm package that ships what a test runs, and where it is found afterwards.
struct NpmPeer {
    package: &'static str,
    version: &'static str,
    /// What the package must contain once it is there, relative to its own folder.
    holds: &'static str,
    /// A link to it, relative to the peers' folder.
    link: &'static str,
}

/// Changing a version here is all there is to an upgrade. What has sources of its own here is locked there ([`LOCKED`]).
const NPM: &[NpmPeer] = &[NpmPeer {
    package: "@foundry-rs/anvil-linux-amd64",
    version: "1.7.1",
    holds: "bin/anvil",
    link: "anvil",
}];

/// Debian packages, each with the program that tells whether it is there. Debian's release pins the version.
const DEBIAN: &[(&str, &str)] = &[
    ("mosquitto", "mosquitto"),
    ("mosquitto-clients", "mosquitto_pub"),
    ("libcoap3-bin", "coap-server-openssl"),
    ("chromium", "chromium"),
    // Debian keeps its programs off the path.
    ("postgresql-15", "/usr/lib/postgresql/15/bin/initdb"),
];

/// Python packages, pinned, in an environment of their own: nothing of it is seen by the system's Python.
struct PythonPeer {
    /// The environment's folder among the peers.
    home: &'static str,
    packages: &'static [&'static str],
    /// What pip is told besides.
    options: &'static [&'static str],
    /// What must be there once they are installed, relative to the environment.
    holds: &'static str,
}

/// A witness of logs that is not ours. It asks for a newer Python than Debian 12 has, and runs on that one all the same.
const WITNESS: PythonPeer = PythonPeer {
    home: "witness",
    packages: &["aics-witness==0.1.0", "aics-tlog==0.2.1"],
    options: &["--ignore-requires-python"],
    holds: "bin/aics-witness",
};

/// The static analysis of the contracts: [`crate::contracts`].
const SLITHER: PythonPeer = PythonPeer {
    home: "slither",
    packages: &["slither-analyzer==0.11.6", "crytic-compile==0.4.2"],
    options: &[],
    holds: "bin/slither",
};

/// A oneM2M CSE of another maker, a whole program.
const ACME: PythonPeer =
    PythonPeer { home: "acme", packages: &["acmecse==2026.5.3"], options: &[], holds: "bin/acmecse" };

/// All of them.
const PYTHON: [&PythonPeer; 3] = [&WITNESS, &SLITHER, &ACME];

/// Unpacks bitcoind into the folder of peers; `sofie` runs the same one at first use.
const BITCOIND: &str = include_str!("peers/bitcoind.sh");

/// A WoT servient of another maker. It is a library, so its own dependencies are locked here, and copied to the peers.
const NODE_WOT: LockedPeer = LockedPeer { lock: "xtask/src/peers/node-wot", home: "npm/node-wot" };

/// npm packages with all that they depend on, locked in a folder here and installed among the peers.
struct LockedPeer {
    /// Its `package.json` and lock file, relative to the workspace's root.
    lock: &'static str,
    /// Its folder among the peers.
    home: &'static str,
}

/// Folders with locked npm dependencies of their own: the Solidity compiler; the page's tools and its browser driver.
const LOCKED: &[&str] = &["contracts", "console"];

pub(crate) fn run(arguments: &[&str]) -> Done {
    match arguments {
        ["install"] => install(),
        ["ls"] => {
            list();
            Ok(())
        }
        other => Err(Failure::usage(format!("peers install|ls, not {other:?}"))),
    }
}

/// Where peers live, as an absolute path: tests run in other folders.
pub(crate) fn folder() -> PathBuf {
    let folder = env::var_os("SOFIE_PEERS").map_or_else(|| shell::root().join(".peers"), PathBuf::from);
    std::path::absolute(&folder).unwrap_or(folder)
}

/// Installs what is not there yet.
pub(crate) fn install() -> Done {
    let folder = folder();
    fs::create_dir_all(&folder).map_err(|error| at(&folder, &error))?;
    install_debian()?;
    for program in ["node", "npm"] {
        if shell::on_path(program).is_none() {
            return Err(Failure::lacks(format!("`{program}` is not on the path: install Node 20 or later")));
        }
    }
    for peer in NPM {
        install_npm(peer, &folder)?;
    }
    install_bitcoind(&folder)?;
    for peer in PYTHON {
        install_python(peer, &folder)?;
    }
    install_locked_peer(&NODE_WOT, &folder)?;
    for name in LOCKED {
        install_locked(&shell::root().join(name))?;
    }
    Ok(())
}

fn list() {
    let folder = folder();
    let state = |there: bool| if there { "there" } else { "missing" };
    for peer in NPM {
        println!("{:8} npm     {} {}", state(is_there(peer, &folder)), peer.package, peer.version);
    }
    for (package, program) in DEBIAN {
        println!("{:8} Debian  {package}", state(shell::on_path(program).is_some()));
    }
    for peer in PYTHON {
        println!("{:8} PyPI    {}", state(is_python_there(peer, &folder)), peer.packages[0]);
    }
    println!(
        "{:8} npm     {}/package-lock.json",
        state(is_locked_there(&folder.join(NODE_WOT.home))),
        NODE_WOT.lock
    );
    println!("{:8} Debian  bitcoin-knots", state(folder.join("bitcoind").is_file()));
    for name in LOCKED {
        let place = shell::root().join(name);
        if place.join("package-lock.json").is_file() {
            println!("{:8} npm     {name}/package-lock.json", state(is_locked_there(&place)));
        }
    }
}

fn install_debian() -> Done {
    let missing: Vec<&str> = DEBIAN
        .iter()
        .filter(|(_, program)| shell::on_path(program).is_none())
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if shell::on_path("apt-get").is_none() {
        return Err(Failure::lacks(format!("no apt-get here; install by hand: {}", missing.join(", "))));
    }
    if shell::quietly(&mut shell::command("id", &["-u"]))?.trim() != "0" {
        return Err(Failure::lacks(format!("only root may install; run this, then again: {line}")));
    }
    eprintln!("xtask: {line}");
    shell::quietly(apt().args(["-qq", "update"]))?;
    shell::quietly(apt().args(["-qq", "install", "-y", "--no-install-recommends"]).args(&missing))?;
    match DEBIAN.iter().find(|(_, program)| shell::on_path(program).is_none()) {
        None => Ok(()),
        Some((package, program)) => {
            Err(Failure::lacks(format!("{package} was installed, and yet `{program}` is not on the path")))
        }
    }
}

/// The analyser of contracts, installed now if it was not.
pub(crate) fn slither() -> Result<PathBuf, Failure> {
    install_python(&SLITHER, &folder())?;
    Ok(folder().join(SLITHER.home).join(SLITHER.holds))
}

fn is_python_there(peer: &PythonPeer, folder: &Path) -> bool {
    folder.join(peer.home).join(peer.holds).is_file()
}

fn install_python(peer: &PythonPeer, folder: &Path) -> Done {
    if is_python_there(peer, folder) {
        return Ok(());
    }
    let home = folder.join(peer.home);
    if shell::quietly(&mut shell::command("python3", &["-c", "import ensurepip, venv"])).is_err() {
        shell::quietly(apt().args(["-qq", "install", "-y", "--no-install-recommends", "python3-venv"]))?;
    }
    eprintln!("xtask: pip install {}", peer.packages.join(" "));
    let place = home.display().to_string();
    shell::quietly(&mut shell::command("python3", &["-m", "venv", "--clear", &place]))?;
    let pip = home.join("bin/pip").display().to_string();
    let quiet = ["install", "--quiet", "--disable-pip-version-check"];
    shell::quietly(shell::command(&pip, &quiet).args(peer.options).args(peer.packages)).map(drop)
}

/// Waits for another package manager at work instead of failing.
fn apt() -> Command {
    let mut apt = shell::command("apt-get", &["-o", "DPkg::Lock::Timeout=300"]);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// Each npm peer has a folder of its own, so that one's upgrade does not touch another.
fn home(peer: &NpmPeer, folder: &Path) -> PathBuf {
    let short = peer.package.rsplit('/').next().unwrap_or(peer.package);
    folder.join("npm").join(format!("{short}-{}", peer.version))
}

fn held(peer: &NpmPeer, folder: &Path) -> PathBuf {
    home(peer, folder).join("node_modules").join(peer.package).join(peer.holds)
}

fn is_there(peer: &NpmPeer, folder: &Path) -> bool {
    let held = held(peer, folder);
    held.is_file() && fs::read_link(folder.join(peer.link)).is_ok_and(|target| folder.join(target) == held)
}

fn install_npm(peer: &NpmPeer, folder: &Path) -> Done {
    if is_there(peer, folder) {
        return Ok(());
    }
    let home = home(peer, folder);
    fs::create_dir_all(&home).map_err(|error| at(&home, &error))?;
    let wanted = format!("{}@{}", peer.package, peer.version);
    eprintln!("xtask: npm install {wanted}");
    let mut npm = npm(&home);
    shell::quietly(npm.args(["install", "--save-exact", &wanted]))?;
    let held = held(peer, folder);
    if !held.is_file() {
        return Err(Failure::found(format!("{wanted} came without {}", peer.holds)));
    }
    point(&folder.join(peer.link), &held, folder)
}

/// Any version will do: only the tests' own node is run, and apt checks whose it is.
fn install_bitcoind(folder: &Path) -> Done {
    if folder.join("bitcoind").is_file() {
        return Ok(());
    }
    eprintln!("xtask: bitcoind, from Debian unstable");
    let mut bash = shell::command("bash", &["-c", BITCOIND, "bitcoind.sh"]);
    shell::quietly(bash.arg(folder)).map(drop)
}

/// Makes `link` point at `target`, relative, so that the folder can move.
#[cfg(unix)]
fn point(link: &Path, target: &Path, folder: &Path) -> Done {
    let relative = target.strip_prefix(folder).unwrap_or(target);
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(link, &error)),
        _ => {}
    }
    std::os::unix::fs::symlink(relative, link).map_err(|error| at(link, &error))
}

#[cfg(not(unix))]
fn point(link: &Path, _: &Path, _: &Path) -> Done {
    Err(Failure::lacks(format!("{}: peers are installed on Linux only", link.display())))
}

/// Copies what is locked to the peers, and follows it there.
fn install_locked_peer(peer: &LockedPeer, folder: &Path) -> Done {
    let home = folder.join(peer.home);
    fs::create_dir_all(&home).map_err(|error| at(&home, &error))?;
    for file in ["package.json", "package-lock.json"] {
        let from = shell::root().join(peer.lock).join(file);
        fs::copy(&from, home.join(file)).map_err(|error| at(&from, &error))?;
    }
    install_locked(&home)
}

/// `npm ci` where a lock file asks for it and has not been followed yet.
pub(crate) fn install_locked(place: &Path) -> Done {
    if !place.join("package-lock.json").is_file() || is_locked_there(place) {
        return Ok(());
    }
    eprintln!("xtask: npm ci in {}/", place.file_name().unwrap_or_default().to_string_lossy());
    shell::quietly(npm(place).arg("ci"))?;
    let lock = place.join("package-lock.json");
    fs::copy(&lock, stamp(place)).map(drop).map_err(|error| at(&lock, &error))
}

/// A copy of the lock file that `node_modules` was made from.
fn stamp(place: &Path) -> PathBuf {
    place.join("node_modules/.installed-lock.json")
}

fn is_locked_there(place: &Path) -> bool {
    let read = |path: PathBuf| fs::read(path).ok();
    let followed = read(stamp(place));
    followed.is_some() && followed == read(place.join("package-lock.json"))
}

/// npm in `place`, without install scripts: no package runs code of its own here before a test asks it to.
fn npm(place: &Path) -> Command {
    let mut npm = shell::command("npm", &["--silent", "--no-audit", "--no-fund", "--ignore-scripts"]);
    npm.arg("--prefix").arg(place).current_dir(place);
    npm
}

fn at(path: &Path, error: &io::Error) -> Failure {
    Failure::found(format!("{}: {error}", path.display()))
}
