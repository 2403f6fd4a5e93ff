//! The newest checkpoint that a reader has seen of another node's calendar, kept durably: whoever shows an older log, or
//! another one, contradicts its own signature, also after a restart of the reader.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sofie_model::calendar::{LogKey, Untrue};
use sofie_model::proof::calendar::Checkpoint;

/// A longer file is none of these.
const MAX_FILE: u64 = 4096;
/// The draft's name is longer by this. A backup leaves it out.
const DRAFT: &str = ".draft";

/// Why it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadSeen {
    /// The disk or the operating system.
    #[error("the newest checkpoint in {path} cannot be read")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Of another log, or no checkpoint.
    #[error(
        "{path} does not hold a checkpoint of the log that is pinned ({log}): {source}; if the pinned log is the right one, \
         put the file back from a backup, or remove it and with it the memory of what was seen"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// As the configuration pins it.
        log: LogKey,
        /// What is wrong.
        source: Box<Untrue>,
    },
}

/// A head that was seen, with the signature under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Newest {
    /// Empty before the first.
    pub(super) note: String,
    pub(super) head: Checkpoint,
}

/// Where it is kept.
pub(super) struct Seen {
    file: Arc<Mutex<Kept>>,
    pub(super) newest: Newest,
}

/// One write at a time, and none that is older: a caller that goes away leaves its write behind.
struct Kept {
    path: PathBuf,
    size: u64,
}

impl Seen {
    pub(super) fn open(path: PathBuf, log: &LogKey) -> Result<Self, BadSeen> {
        let note = match read(&path) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let newest = Newest { note: String::new(), head: log.beginning() };
                return Ok(Self::of(path, newest));
            }
            Err(source) => return Err(BadSeen::Io { path, source }),
        };
        match log.head(&note) {
            Ok(head) => Ok(Self::of(path, Newest { note, head })),
            Err(why) => Err(BadSeen::Foreign { path, log: log.clone(), source: Box::new(why) }),
        }
    }

    fn of(path: PathBuf, newest: Newest) -> Self {
        let kept = Kept { path, size: newest.head.size };
        Self { file: Arc::new(Mutex::new(kept)), newest }
    }

    /// Keeps it, if it is newer; durable once this returns `Ok`.
    pub(super) async fn advance(&mut self, newer: Newest) -> io::Result<()> {
        if newer.head.size <= self.newest.head.size {
            return Ok(());
        }
        let (file, note, size) = (Arc::clone(&self.file), newer.note.clone(), newer.head.size);
        let written = tokio::task::spawn_blocking(move || {
            // What a panicked write left is a draft.
            file.lock().unwrap_or_else(PoisonError::into_inner).keep(&note, size)
        });
        written.await.map_err(io::Error::other)??;
        self.newest = newer;
        Ok(())
    }
}

impl Kept {
    fn keep(&mut self, note: &str, size: u64) -> io::Result<()> {
        if size > self.size {
            write(&self.path, note)?;
            self.size = size;
        }
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut note = String::new();
    File::open(path)?.take(MAX_FILE).read_to_string(&mut note)?;
    Ok(note)
}

/// All or nothing: a crash leaves the one before.
fn write(path: &Path, note: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(DRAFT);
    let mut file = File::create(&draft)?;
    file.write_all(note.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
