//! `sofie doctor`: what is missing on this machine, and how to mend it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use crate::output::{self, Format};

/// One thing that was looked for.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    ok: bool,
    /// Whether the main job works without it.
    needed: bool,
    found: String,
    mend: &'static str,
}

pub(crate) fn run(format: Format) -> ExitCode {
    let findings = [
        data_dir(),
        clock(),
        loopback(),
        peer("anvil", "cargo xtask peers install, or put anvil on the PATH"),
        peer("bitcoind", "cargo xtask peers install, or put bitcoind on the PATH"),
    ];
    match format {
        Format::Json => output::json(&findings),
        Format::Text => {
            for one in &findings {
                let mark = if one.ok {
                    "✓"
                } else if one.needed {
                    "✗"
                } else {
                    "-"
                };
                output::line(&format!("{mark} {:<12} {}", one.name, one.found));
                if !one.ok {
                    output::line(&format!("  {:<12} mend: {}", "", one.mend));
                }
            }
        }
    }
    if findings.iter().all(|one| one.ok || !one.needed) { ExitCode::SUCCESS } else { ExitCode::from(3) }
}

fn data_dir() -> Finding {
    let written = tempfile::tempfile().and_then(|mut file| std::io::Write::write_all(&mut file, &[0; 4096]));
    let found = match &written {
        Ok(()) => format!("{} can be written", std::env::temp_dir().display()),
        Err(error) => format!("{}: {error}", std::env::temp_dir().display()),
    };
    Finding { name: "disk", ok: written.is_ok(), needed: true, found, mend: "free some space, or set TMPDIR" }
}

/// 2026-01-01: this program is younger.
const YOUNGEST: u64 = 1_767_225_600;

fn clock() -> Finding {
    let now = sofie_node::clock::now();
    let ok = now.as_seconds() > YOUNGEST;
    let found = format!("the clock says {}", sofie_node::api::At(now));
    Finding { name: "clock", ok, needed: true, found, mend: "set the machine's clock" }
}

fn loopback() -> Finding {
    let bound = std::net::TcpListener::bind("127.0.0.1:0");
    let found = bound.as_ref().map_or_else(ToString::to_string, |_| "127.0.0.1 can be listened on".into());
    Finding {
        name: "loopback",
        ok: bound.is_ok(),
        needed: true,
        found,
        mend: "bring the loopback interface up",
    }
}

fn peer(name: &'static str, mend: &'static str) -> Finding {
    let file = find_peer(name);
    let found = file.as_ref().map_or_else(
        || "not there; only stories on real nodes need it".to_owned(),
        |file| file.display().to_string(),
    );
    Finding { name, ok: file.is_some(), needed: false, found, mend }
}

/// A peer's program: in `SOFIE_PEERS`, else in the user's cache, else on the PATH.
pub(crate) fn find_peer(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("SOFIE_PEERS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = named.into_iter().chain(peers_cache()).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Where peers are installed at first use.
pub(crate) fn peers_cache() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")));
    cache.map(|cache| cache.join("sofie/peers"))
}
