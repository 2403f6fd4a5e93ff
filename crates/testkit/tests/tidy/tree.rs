//! Where the workspace is and which files it tracks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.ancestors().nth(2).expect("this crate lies in crates/testkit").to_owned()
}

/// Every tracked file and every new one that git does not ignore, relative to the root, in order.
pub(crate) fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("the tidy tests need git to tell which files belong to the tree");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("file names of this tree are UTF-8");
    let mut files: Vec<String> =
        names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    files.retain(|name| root().join(name).is_file());
    files.sort();
    files.dedup();
    files
}

/// The tracked files that end in one of `endings`.
pub(crate) fn files_ending(endings: &[&str]) -> Vec<String> {
    files().into_iter().filter(|name| endings.iter().any(|ending| name.ends_with(ending))).collect()
}

/// A file of the tree; bytes that are not UTF-8 are replaced.
pub(crate) fn read(name: &str) -> String {
    let bytes = fs::read(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The manifests of the members, as (path, parsed).
pub(crate) fn manifests() -> Vec<(String, toml::Table)> {
    let names = files_ending(&["Cargo.toml"]);
    names
        .into_iter()
        .filter(|name| ["crates/", "examples/", "xtask/"].iter().any(|folder| name.starts_with(folder)))
        .map(|name| {
            let table = read(&name).parse().unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, table)
        })
        .collect()
}

/// Fails with one line an offence.
#[track_caller]
pub(crate) fn none(offences: &[String], rule: &str) {
    assert!(offences.is_empty(), "{rule}\n  {}", offences.join("\n  "));
}
