//! The log's file: frames with checksums, written once and never changed (docs/adr/0006-calendar.md).
//!
//! A frame is `length ‖ sum(offset ‖ length) ‖ sum(payload) ‖ payload`. A crash leaves at most a last frame that is
//! not all there: it was never acknowledged, and is cut off. Anything else that does not add up is damage, and is
//! said, not mended: what was acknowledged must not vanish without a word.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode};
use sofie_model::{Digest, canonical, proof::calendar::Second};

use super::OpenError;

/// A longer frame is damage: a full batch of the longest leaves stays below.
pub(super) const MAX_FRAME: usize = 1 << 20;
const HEADER: usize = 16;

/// What the file holds, in order: one `Opened`, then batches and seconds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum Frame {
    #[n(0)]
    Opened {
        #[n(0)]
        version: u16,
        #[n(1)]
        key: Digest,
        #[n(2)]
        origin: String,
    },
    /// Leaves and the checkpoint that covers them. No payload ends in a zero byte: this one ends in a newline.
    #[n(1)]
    Batch {
        #[n(0)]
        leaves: Vec<minicbor::bytes::ByteVec>,
        #[n(1)]
        checkpoint: String,
    },
    #[n(2)]
    Second {
        #[n(0)]
        second: Second,
        /// Of the tree of seconds, with this one.
        #[n(1)]
        checkpoint: String,
    },
}

/// The file, open for appending and locked against other processes.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    length: u64,
}

/// Why an append did not happen.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Nothing of it is in the file; it may be tried again.
    Undone(io::Error),
    /// What the disk holds is unknown: the file must be opened anew.
    Broken(io::Error),
}

impl LogFile {
    /// Opens or creates the file and reads every frame; cuts a last one off that is not all there. A new file begins
    /// with `opening`.
    pub(super) fn open(
        path: &Path,
        opening: &Frame,
        mut each: impl FnMut(Frame) -> Result<(), String>,
    ) -> Result<Self, OpenError> {
        let io = |doing| move |source| OpenError::Io { path: path.to_owned(), doing, source };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        let length = file.metadata().map_err(io("measure"))?.len();
        if length == 0 {
            sync_folder(path).map_err(io("make durable the folder of"))?;
        }
        let mut reader = Reader { file: BufReader::new(&file), path: path.to_owned(), at: 0, length };
        while let Some(frame) = reader.next()? {
            let damaged = reader.at;
            each(frame).map_err(|why| OpenError::Damaged { path: path.to_owned(), offset: damaged, why })?;
        }
        let kept = reader.at;
        if kept == 0 && length > 0 && !is_torn_opening(&file, length, opening).map_err(io("read"))? {
            let why = "it is no calendar's file".to_owned();
            return Err(OpenError::Damaged { path: path.to_owned(), offset: 0, why });
        }
        if kept < length {
            tracing::warn!(path = %path.display(), kept, cut = length - kept, "a write that a crash cut short is cut off");
            file.set_len(kept).and_then(|()| file.sync_all()).map_err(io("cut"))?;
        }
        let mut this = Self { file, length: kept };
        if kept == 0 {
            this.append(std::slice::from_ref(opening)).map_err(|error| match error {
                WriteError::Undone(source) | WriteError::Broken(source) => io("write")(source),
            })?;
        }
        Ok(this)
    }

    /// Up to where frames stand.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Appends all frames in one durable write.
    pub(super) fn append(&mut self, frames: &[Frame]) -> Result<(), WriteError> {
        let bytes = encode(self.length, frames);
        if let Err(error) = self.file.write_all(&bytes) {
            // A full disk: what did get there is taken back, so that the next append starts where this one did.
            return match self.file.set_len(self.length).and_then(|()| self.file.sync_all()) {
                Ok(()) => Err(WriteError::Undone(error)),
                Err(worse) => Err(WriteError::Broken(worse)),
            };
        }
        // After a failed sync the kernel may have dropped the pages: nothing can be said of the file any more.
        self.file.sync_data().map_err(WriteError::Broken)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

fn encode(start: u64, frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        let payload = canonical::encode(frame);
        bytes.extend(header(start + bytes.len() as u64, &payload));
        bytes.extend(payload);
    }
    bytes
}

/// Whether a file without one whole frame is a log whose first write was cut short, and not somebody's letter.
fn is_torn_opening(mut file: &File, length: u64, opening: &Frame) -> io::Result<bool> {
    let expected = encode(0, std::slice::from_ref(opening));
    if length > expected.len() as u64 {
        return Ok(false);
    }
    let mut found = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(length).read_to_end(&mut found)?;
    Ok(expected.starts_with(&found) || found.iter().all(|byte| *byte == 0))
}

/// A new file's name is durable only when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

struct Reader<'f> {
    file: BufReader<&'f File>,
    path: PathBuf,
    at: u64,
    length: u64,
}

impl Reader<'_> {
    /// The next whole frame; nothing at the end, or before a last frame that is not all there.
    fn next(&mut self) -> Result<Option<Frame>, OpenError> {
        let rest = self.length - self.at;
        if rest < HEADER as u64 {
            return Ok(None);
        }
        let mut head = [0; HEADER];
        self.read(&mut head)?;
        let (fields, body_sum) = head.split_at(8);
        let length = u32::from_be_bytes([fields[0], fields[1], fields[2], fields[3]]) as usize;
        if fields[4..] != head_sum(self.at, length) || length > MAX_FRAME {
            // Some file systems lengthen the file before they write: a tail of zeroes was never acknowledged.
            if head == [0; HEADER] && self.rest_is_zero()? {
                return Ok(None);
            }
            return Err(self.damaged("the header of a frame is not what was written"));
        }
        if rest < (HEADER + length) as u64 {
            return Ok(None);
        }
        let mut payload = vec![0; length];
        self.read(&mut payload)?;
        if *body_sum != sum(&[&payload])[..] {
            let is_last = rest == (HEADER + length) as u64;
            if is_last && payload.last() == Some(&0) {
                return Ok(None);
            }
            return Err(self.damaged("a frame's checksum does not fit its content"));
        }
        let frame =
            canonical::decode(&payload, MAX_FRAME).map_err(|error| self.damaged(&error.to_string()))?;
        self.at += (HEADER + length) as u64;
        Ok(Some(frame))
    }

    fn rest_is_zero(&mut self) -> Result<bool, OpenError> {
        let mut chunk = [0; 4096];
        loop {
            let count = self.file.read(&mut chunk).map_err(|source| self.io(source))?;
            if count == 0 {
                return Ok(true);
            }
            if chunk[..count].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), OpenError> {
        self.file.read_exact(buffer).map_err(|source| self.io(source))
    }

    fn io(&self, source: io::Error) -> OpenError {
        OpenError::Io { path: self.path.clone(), doing: "read", source }
    }

    fn damaged(&self, why: &str) -> OpenError {
        OpenError::Damaged { path: self.path.clone(), offset: self.at, why: why.to_owned() }
    }
}

fn header(offset: u64, payload: &[u8]) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&(payload.len() as u32).to_be_bytes());
    bytes[4..8].copy_from_slice(&head_sum(offset, payload.len()));
    bytes[8..].copy_from_slice(&sum(&[payload]));
    bytes
}

fn head_sum(offset: u64, length: usize) -> [u8; 4] {
    let [a, b, c, d, ..] = sum(&[&offset.to_be_bytes(), &(length as u64).to_be_bytes()]);
    [a, b, c, d]
}

fn sum(parts: &[&[u8]]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = Digest::of("sofie.calendar.frame.v1", parts).0;
    [a, b, c, d, e, f, g, h]
}
