//! Reads the user's files, of which nothing is known: they may be missing, huge, a folder, a pipe, or a device without an end.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::failure::Failure;

/// Reads a file of at most `limit` bytes. `next` says what to name instead.
pub(crate) fn read(file: &Path, limit: usize, next: &str) -> Result<Vec<u8>, Failure> {
    let tried = format!("read {}", file.display());
    let unread = |e| Failure::usage(&tried, e, next);
    let opened = File::open(file).map_err(unread)?;
    let mut bytes = Vec::new();
    // The size is not asked for: a pipe has none, and a file's may change before it is read.
    opened.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() > limit {
        return Err(Failure::refused(&tried, format!("it has more than {limit} bytes"), next));
    }
    Ok(bytes)
}

/// Reads a text of at most `limit` bytes.
pub(crate) fn text(file: &Path, limit: usize, next: &str) -> Result<String, Failure> {
    let tried = format!("read {}", file.display());
    String::from_utf8(read(file, limit, next)?)
        .map_err(|e| Failure::usage(&tried, format!("it is not text: {}", e.utf8_error()), next))
}
