//! A small file that holds a secret: made whole or not at all, and read only if nobody else may.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// The largest secret file, in bytes.
const MAX_SECRET_FILE: u64 = 4096;

/// Why a secret file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The system refuses.
    #[error("{}: cannot be {verb}: {source}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// `read` or `made`.
        verb: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner have rights to it.
    #[error(
        "{0}: others may read or change it (mode {mode:o}); run chmod 600 {0}, and take it for stolen if others use \
         this machine", file.display()
    )]
    Exposed {
        /// Which file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is no plain file, or no small text.
    #[error("{}: {what}", file.display())]
    Odd {
        /// Which file.
        file: PathBuf,
        /// What is odd.
        what: String,
    },
}

/// The text, or `None` when there is no file.
pub(super) fn read(file: &Path) -> Result<Option<Zeroizing<String>>, SecretFileError> {
    let failed = |source| SecretFileError::Io { file: file.to_owned(), verb: "read", source };
    let odd = |what: String| SecretFileError::Odd { file: file.to_owned(), what };
    let opened = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    // Asked of the open file, so that it is this very file whose rights are judged.
    let metadata = opened.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(odd("is not a plain file".to_owned()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Exposed { file: file.to_owned(), mode });
    }
    if metadata.len() > MAX_SECRET_FILE {
        return Err(odd(format!("{} bytes; a secret file has at most {MAX_SECRET_FILE}", metadata.len())));
    }
    let room = usize::try_from(MAX_SECRET_FILE).expect("4096 fits");
    let mut text = Zeroizing::new(String::with_capacity(room));
    opened.take(MAX_SECRET_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Makes the file, and the folders above it. A file that is there already is left as it is, and an error.
pub(super) fn create(file: &Path, text: &str) -> Result<(), SecretFileError> {
    make(file, text).map_err(|source| SecretFileError::Io { file: file.to_owned(), verb: "made", source })
}

fn make(file: &Path, text: &str) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = folder.join(format!(".draft-{:016x}", getrandom::u64().map_err(io::Error::other)?));
    // A link never takes the place of an existing file, and the name appears with the whole content or not at all.
    let made = write(&draft, text).and_then(|()| fs::hard_link(&draft, file));
    let removed = fs::remove_file(&draft);
    made.and(removed)?;
    File::open(folder)?.sync_all()
}

fn write(draft: &Path, text: &str) -> io::Result<()> {
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten_and_no_draft_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/secret");
        create(&file, "one").unwrap();
        let error = create(&file, "two").unwrap_err().to_string();
        assert!(error.contains("cannot be made: File exists"), "{error}");
        assert_eq!(read(&file).unwrap().unwrap().as_str(), "one");
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn odd_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join("none")).unwrap().is_none());
        assert!(matches!(read(folder.path()), Err(SecretFileError::Odd { .. })));
        let file = folder.path().join("big");
        create(&file, &"x".repeat(5000)).unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(error.ends_with("5000 bytes; a secret file has at most 4096"), "{error}");
    }
}
