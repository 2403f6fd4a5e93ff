//! A node's whole state in one folder, and back (docs/adr/0028-backup-and-restore.md).
//!
//! A backup is made of a node that runs or is down, without stopping it: first the journal, then the embedded ledgers,
//! so that no ledger is behind what the journal saw of it. It holds the keys as they are, and is kept like them. A node
//! that is put back has forgotten what it did since: what had not ended then is only followed and closed
//! (`restored.rs`). The bearer token is left out; another is made.

mod error;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sofie_model::{Digest, Timestamp};

use crate::config::{Config, Name};
use crate::journal::Reader;
use crate::migrate;
use crate::restored;
use crate::runtime::journal_in;

pub use error::BackupError;

/// The list of a backup's files, written last: without it, it is none.
const INDEX: &str = "backup.json";
const FORM: &str = "sofie-backup-1";
const CONFIG: &str = "sofie.toml";
const JOURNAL: &str = "journal.sqlite";
const KEYS: &str = "keys";
const LEDGERS: &str = "ledgers";
/// The longest index that is read, in bytes.
const MAX_INDEX: u64 = 1024 * 1024;
/// What is copied at once, in bytes.
const CHUNK: usize = 1 << 16;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Which form the rest has.
    form: String,
    /// Whose: the node's name.
    pub node: String,
    /// The program that made it.
    pub version: String,
    /// When, in milliseconds since 1970.
    pub made_at: Timestamp,
    /// Transactions and contracts that had not ended.
    pub unfinished: usize,
    /// Every file besides this list.
    pub files: Vec<Held>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Relative, with `/`.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// Writes a backup of the node of `config`, which `config_file` holds, to the folder `into`, which must not be there
/// yet. The node may run.
///
/// # Errors
/// [`BackupError`]; then `into` is not there.
pub fn backup(
    config: &Config,
    config_file: &Path,
    into: &Path,
    now: Timestamp,
) -> Result<Index, BackupError> {
    if into.exists() {
        return Err(BackupError::Taken { folder: into.to_owned() });
    }
    let draft = Draft::beside(into)?;
    let mut files = Vec::new();
    let data = &config.node.data_dir;
    let journal = journal_in(data);
    if !journal.exists() {
        return Err(BackupError::Nothing { folder: data.clone() });
    }
    files.push(draft.take(&journal, JOURNAL)?);
    for file in listed(&data.join(LEDGERS))? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !passing(&name) {
            files.push(draft.take(&file, &format!("{LEDGERS}/{name}"))?);
        }
    }
    for party in &config.parties {
        files.push(draft.take(&party.key_file, &key_of(&party.name))?);
    }
    files.push(draft.take(config_file, CONFIG)?);
    let index = Index {
        form: FORM.into(),
        node: config.node.name.to_string(),
        version: env!("CARGO_PKG_VERSION").into(),
        made_at: now,
        unfinished: unfinished(&draft.0.join(JOURNAL))?,
        files,
    };
    let text = serde_json::to_vec_pretty(&index).expect("names and numbers are JSON");
    let list = draft.0.join(INDEX);
    write(&list, &text).map_err(|source| BackupError::io(&list, source))?;
    draft.appear(into)?;
    Ok(index)
}

/// Puts the backup `from` back as the node of `config`. Its `data_dir` must be empty; keys that are there already must
/// be the same. What had not ended is marked: `restored.rs`.
///
/// # Errors
/// [`BackupError`]; then nothing of the node is there but keys outside its `data_dir`.
pub fn restore(from: &Path, config: &Config) -> Result<Index, BackupError> {
    let index = index(from)?;
    for held in &index.files {
        held.check(from)?;
    }
    let data = &config.node.data_dir;
    if data.exists() && !listed(data)?.is_empty() {
        return Err(BackupError::Taken { folder: data.clone() });
    }
    let draft = Draft::beside(data)?;
    for held in index.files.iter().filter(|held| held.path == JOURNAL || held.path.starts_with(LEDGERS)) {
        draft.take_as_is(&from.join(&held.path), &held.path)?;
    }
    for party in &config.parties {
        let held = key_of(&party.name);
        if index.files.iter().all(|file| file.path != held) {
            return Err(BackupError::NoKey { party: party.name.clone(), folder: from.to_owned() });
        }
        match party.key_file.strip_prefix(data) {
            Ok(inside) => draft.take_as_is(&from.join(&held), &inside.to_string_lossy()).map(drop)?,
            Err(_) => put_key(&from.join(&held), &party.key_file)?,
        }
    }
    let journal = draft.0.join(JOURNAL);
    migrate::journal(&journal, config)?;
    restored::mark(&journal)?;
    draft.appear(data)?;
    Ok(index)
}

/// The configuration that a backup holds.
///
/// # Errors
/// [`BackupError`].
pub fn config_in(from: &Path) -> Result<String, BackupError> {
    let held = index(from)?.files.into_iter().find(|file| file.path == CONFIG);
    let held = held.ok_or_else(|| BackupError::odd(from, "holds no sofie.toml"))?;
    held.check(from)?;
    let file = from.join(CONFIG);
    fs::read_to_string(&file).map_err(|source| BackupError::io(&file, source))
}

fn index(from: &Path) -> Result<Index, BackupError> {
    let file = from.join(INDEX);
    let opened = File::open(&file).map_err(|source| BackupError::io(&file, source))?;
    let mut text = String::new();
    opened.take(MAX_INDEX).read_to_string(&mut text).map_err(|source| BackupError::io(&file, source))?;
    let index: Index = serde_json::from_str(&text).map_err(|error| BackupError::odd(&file, error))?;
    if index.form != FORM {
        return Err(BackupError::odd(&file, format!("its form is not {FORM}; use the sofie that made it")));
    }
    match index.files.iter().find(|held| !inside(&held.path)) {
        Some(held) => Err(BackupError::odd(&file, format!("{:?} leads out of the backup", held.path))),
        None => Ok(index),
    }
}

/// Whether the path names something below the folder that it is taken from.
fn inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty() && parts.all(|part| matches!(part, std::path::Component::Normal(_)))
}

impl Held {
    fn check(&self, from: &Path) -> Result<(), BackupError> {
        let file = from.join(&self.path);
        let (bytes, sha256) = measure(&file).map_err(|source| BackupError::io(&file, source))?;
        if (bytes, sha256) == (self.bytes, self.sha256) {
            return Ok(());
        }
        Err(BackupError::odd(&file, "is not the file that was backed up: take another backup"))
    }
}

fn measure(file: &Path) -> io::Result<(u64, Digest)> {
    let (mut opened, mut hash, mut length) = (File::open(file)?, Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        match opened.read(&mut chunk)? {
            0 => return Ok((length, Digest(hash.finalize().into()))),
            read => {
                hash.update(&chunk[..read]);
                length += read as u64;
            }
        }
    }
}

/// A folder that is filled beside its place and takes it whole; gone when it is dropped before.
struct Draft(PathBuf);

impl Draft {
    fn beside(place: &Path) -> Result<Self, BackupError> {
        let failed = |source| BackupError::io(place, source);
        let name = place.file_name().ok_or_else(|| BackupError::odd(place, "is no name for a folder"))?;
        let draw = getrandom::u64().map_err(|e| failed(io::Error::other(e)))?;
        let draft = place.with_file_name(format!(".{}.draft-{draw:016x}", name.to_string_lossy()));
        DirBuilder::new().recursive(true).mode(0o700).create(&draft).map_err(failed)?;
        Ok(Self(draft))
    }

    /// Copies a file that its owner may be writing: SQLite's as of one moment, a log as far as it goes.
    fn take(&self, file: &Path, path: &str) -> Result<Held, BackupError> {
        if file.extension().is_some_and(|extension| extension == "sqlite") {
            let to = self.place(path)?;
            snapshot(file, &to).map_err(|source| BackupError::Sqlite { file: file.to_owned(), source })?;
            return held(&to, path);
        }
        self.take_as_is(file, path)
    }

    fn take_as_is(&self, file: &Path, path: &str) -> Result<Held, BackupError> {
        let to = self.place(path)?;
        copy(file, &to).map_err(|source| BackupError::io(file, source))?;
        held(&to, path)
    }

    fn place(&self, path: &str) -> Result<PathBuf, BackupError> {
        let to = self.0.join(path);
        let folder = to.parent().unwrap_or(&self.0);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| BackupError::io(folder, source))?;
        Ok(to)
    }

    /// All or nothing: an empty folder there gives way, any other stays.
    fn appear(self, place: &Path) -> Result<(), BackupError> {
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = [self.0.join(LEDGERS), self.0.join(KEYS), self.0.clone()].into_iter();
        let done = synced
            .filter(|folder| folder.is_dir())
            .try_for_each(|folder| File::open(folder)?.sync_all())
            .and_then(|()| fs::rename(&self.0, place))
            .and_then(|()| File::open(folder)?.sync_all());
        done.map_err(|source| BackupError::io(place, source))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already when it has taken its place.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn held(file: &Path, path: &str) -> Result<Held, BackupError> {
    let (bytes, sha256) = measure(file).map_err(|source| BackupError::io(file, source))?;
    Ok(Held { path: path.to_owned(), bytes, sha256 })
}

/// One consistent copy, also while another process writes (SQLite, `VACUUM INTO`).
fn snapshot(file: &Path, to: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
    let synced = File::open(to).and_then(|file| file.sync_all());
    synced.map_err(|_| rusqlite::Error::InvalidPath(to.to_owned()))
}

fn copy(file: &Path, to: &Path) -> io::Result<()> {
    let mut opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut File::open(file)?, &mut opened)?;
    opened.sync_all()
}

fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    opened.write_all(bytes)?;
    opened.sync_all()
}

/// A key file outside of `data_dir`: one that is there must be this one.
fn put_key(from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::io(to, source);
    if to.exists() {
        let same = measure(from).map_err(failed)? == measure(to).map_err(failed)?;
        return if same { Ok(()) } else { Err(BackupError::odd(to, "is another key: move it away first")) };
    }
    let folder = to.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    copy(from, to).map_err(failed)
}

fn key_of(party: &Name) -> String {
    format!("{KEYS}/{party}.key")
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let failed = |source| BackupError::io(folder, source);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>().map_err(failed)?;
    files.sort();
    Ok(files)
}

/// What a ledger keeps beside its file: it is made again. The note of an embedded chain's last block would be ahead of the copy.
fn passing(name: &str) -> bool {
    ["-wal", "-shm", "-journal", "-head", ".lock", ".draft"].iter().any(|end| name.ends_with(end))
}

fn unfinished(journal: &Path) -> Result<usize, BackupError> {
    Ok(restored::unfinished(&Reader::of_any_format(journal)?)?.len())
}
