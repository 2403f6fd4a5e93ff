//! A proof under a root that was published: whoever holds that root from elsewhere, from a newspaper, need trust
//! neither the log's key nor who holds it now (docs/adr/0050-a-published-root-of-seconds.md).
//!
//! [`PublishedRoot`] is what is printed, [`Extension`] what leads there from an older proof: the log goes on to a
//! published second (RFC 6962, section 2.1.2), and that second stands in the tree whose root was printed (section
//! 2.1.1). Signatures play no part in it, so that a stolen key makes nothing true.
//!
//! Left out: anything about entries that are younger than the root, and what its operator did before it was printed.

use std::fmt;
use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minicbor::{Decode, Encode};

use super::checkpoint::{MAX_NOTE, is_origin};
use super::merkle::{self, MAX_PATH, is_consistent};
use super::{BadCheckpoint, Checkpoint, Leaf, LogProof, MAX_LEAF, Published, SECONDS, Second};
use crate::{Digest, canonical};

/// The extension's version.
pub const VERSION: u16 = 1;
/// A longer extension is refused unread: two paths of [`MAX_PATH`] digests and a checkpoint are shorter.
pub const MAX_EXTENSION: usize = 8 * 1024;

/// The root of a log's tree of seconds as it is printed: the three lines of its checkpoint (C2SP tlog-checkpoint), of
/// which the first ends in [`SECONDS`]. Lines of signatures may follow, and are not looked at: what counts is where the
/// reader has it from.
///
/// ```
/// use sofie_model::proof::calendar::PublishedRoot;
/// let text = "example.com/log/seconds\n12\nGy9Tg6e3Zx0pAW0mCDf9Ph+1QUq/9yPkd4pDfyUpDrA=\n";
/// let root: PublishedRoot = text.parse().unwrap();
/// assert_eq!((root.log.as_str(), root.size, root.to_string()), ("example.com/log", 12, text.to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedRoot {
    /// The log's name, without [`SECONDS`].
    pub log: String,
    /// How many seconds: at least one.
    pub size: u64,
    /// The RFC 6962 root of their tree.
    pub root: Digest,
}

/// Why a text is no published root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no published root: {0}")]
pub struct BadRoot(&'static str);

impl PublishedRoot {
    /// Of a log's tree of seconds; nothing for another log, and before the first second.
    #[must_use]
    pub fn of(seconds: &Checkpoint) -> Option<Self> {
        let log = seconds.origin.strip_suffix(SECONDS).filter(|log| is_origin(log))?.to_owned();
        (seconds.size > 0).then_some(Self { log, size: seconds.size, root: seconds.root })
    }
}

impl fmt::Display for PublishedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, size, root } = self;
        f.write_str(&Checkpoint { origin: format!("{log}{SECONDS}"), size: *size, root: *root }.text())
    }
}

impl FromStr for PublishedRoot {
    type Err = BadRoot;

    /// Copied by hand, a line may end in spaces, or as on Windows.
    fn from_str(text: &str) -> Result<Self, BadRoot> {
        if text.len() > MAX_NOTE {
            return Err(BadRoot("it is too long"));
        }
        let mut lines = text.lines().map(str::trim);
        let mut line = |why| lines.next().ok_or(BadRoot(why));
        let log = line("it has no line")?.strip_suffix(SECONDS).filter(|log| is_origin(log));
        let log = log.ok_or(BadRoot("its first line is no log's name that ends in /seconds"))?.to_owned();
        let written = line("it has one line, three are expected")?;
        let size = written.parse::<u64>().ok().filter(|size| *size > 0 && size.to_string() == written);
        let size = size.ok_or(BadRoot("its second line is no number of seconds"))?;
        let root = STANDARD.decode(line("it has two lines, three are expected")?).ok();
        let root = root.and_then(|bytes| bytes.try_into().ok()).map(Digest);
        let root = root.ok_or(BadRoot("its third line is no root hash in base64"))?;
        match lines.find(|line| !line.is_empty() && !line.starts_with('\u{2014}')) {
            Some(_) => Err(BadRoot("after its third line something else than signatures stands")),
            None => Ok(Self { log, size, root }),
        }
    }
}

/// What leads from a log as a proof knows it to a published root.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Extension {
    /// [`VERSION`].
    #[n(0)]
    pub version: u16,
    /// How many entries the proof's checkpoint covers.
    #[n(1)]
    pub size: u64,
    /// Their root.
    #[n(2)]
    pub root: Digest,
    /// RFC 6962 consistency proof from there to the log at the end of `second`.
    #[n(3)]
    pub goes_on: Vec<Digest>,
    /// The first published second that covers all of them.
    #[n(4)]
    pub second: Second,
    /// Its place in the tree of seconds.
    #[n(5)]
    pub index: u64,
    /// RFC 6962 audit path there.
    #[n(6)]
    pub path: Vec<Digest>,
    /// The signed checkpoint of the tree of seconds whose root is the published one.
    #[n(7)]
    pub checkpoint: String,
}

/// Why bytes are no extension.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadExtension {
    /// Not in the format.
    #[error(transparent)]
    Malformed(#[from] canonical::Error),
    /// Of a later version of the format.
    #[error("version {0} is unknown, {VERSION} is expected")]
    Version(u16),
    /// No tree has such a path.
    #[error("a path of more than {MAX_PATH} hashes")]
    Path,
}

/// Why a proof does not stand under a published root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUnder {
    /// One of the two checkpoints is none.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] BadCheckpoint),
    /// The root is of another log.
    #[error("it is a proof of log {got}, the published root is of {expected}")]
    Foreign {
        /// Whose proof.
        got: String,
        /// Whose root.
        expected: String,
    },
    /// It leads to the root of more or fewer seconds.
    #[error("the extension leads to the root of {got} seconds, published is that of {expected}")]
    Elsewhere {
        /// Of how many.
        got: u64,
        /// Of how many the published one is.
        expected: u64,
    },
    /// One key, two roots of as many seconds.
    #[error(
        "the log's key has signed {got} as the root of {seconds} seconds, published is {expected}: it shows two histories"
    )]
    Split {
        /// The root that was shown.
        got: Digest,
        /// Of so many seconds.
        seconds: u64,
        /// The published one.
        expected: Digest,
    },
    /// The log does not go on from the proof's checkpoint to the second.
    #[error("the log of {second} entries does not go on from the proof's {size}: it is of another history")]
    Fork {
        /// Where the proof ends.
        size: u64,
        /// The log's size at the second's end.
        second: u64,
    },
    /// The second is not in the tree.
    #[error("second {second} does not stand under the root of {seconds} seconds")]
    Second {
        /// Which one.
        second: u64,
        /// Of how many.
        seconds: u64,
    },
    /// Its second ends before an entry was taken.
    #[error("second {second} ends before an entry below it was taken")]
    Late {
        /// Which one.
        second: u64,
    },
    /// Nothing leads to the root.
    #[error(
        "the proof ends at {size} entries, and nothing leads from there to the root of {seconds} seconds"
    )]
    Nothing {
        /// Where the proof ends.
        size: u64,
        /// Of how many the root is.
        seconds: u64,
    },
}

/// How a proof stands under a published root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Under {
    /// The second, since the Unix epoch, at whose end the log held all that is proven, by its operator's clock.
    pub second: u64,
    /// Which extension led there; nothing where the proof's own path does.
    pub extension: Option<usize>,
}

impl Extension {
    /// Reads a file or an answer.
    ///
    /// # Errors
    /// [`BadExtension`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadExtension> {
        let extension: Self = canonical::decode(bytes, MAX_EXTENSION)?;
        if extension.version != VERSION {
            return Err(BadExtension::Version(extension.version));
        }
        if extension.goes_on.len().max(extension.path.len()) > MAX_PATH {
            return Err(BadExtension::Path);
        }
        Ok(extension)
    }

    /// Its canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Whether it is for a proof that ends at this checkpoint.
    #[must_use]
    pub fn begins_at(&self, head: &Checkpoint) -> bool {
        (self.size, self.root) == (head.size, head.root)
    }

    /// That it leads from `head`, where it begins, to this root.
    fn verify(&self, head: &Checkpoint, key: &Digest, published: &PublishedRoot) -> Result<(), NotUnder> {
        same(&root_of(&self.checkpoint, key, &head.origin)?, published)?;
        let second = &self.second;
        if !is_consistent(self.size, second.size, self.root, second.root, &self.goes_on) {
            return Err(NotUnder::Fork { size: self.size, second: second.size });
        }
        let leaf = merkle::leaf_hash(&canonical::encode(second));
        if merkle::included_root(self.index, published.size, leaf, &self.path) != Some(published.root) {
            return Err(NotUnder::Second { second: second.second, seconds: published.size });
        }
        Ok(())
    }
}

impl LogProof {
    /// Whether all that it proves stands under `published`, by its own path or by one of these. As good as the proof:
    /// [`crate::Proof::verify`] it first.
    ///
    /// # Errors
    /// [`NotUnder`]: of the extension that is for this proof, where there is one.
    pub fn under(&self, published: &PublishedRoot, extensions: &[Extension]) -> Result<Under, NotUnder> {
        let head = self.head()?;
        if head.origin != published.log {
            return Err(NotUnder::Foreign { got: head.origin, expected: published.log.clone() });
        }
        let under = match self.published.as_ref().map(|own| own.under(&head, &self.key, published)) {
            Some(Ok(second)) => Under { second, extension: None },
            // Made when fewer or more seconds were published: that says nothing yet.
            None | Some(Err(NotUnder::Elsewhere { .. })) => {
                let nothing = NotUnder::Nothing { size: head.size, seconds: published.size };
                self.extended(&head, published, extensions, nothing)?
            }
            Some(Err(why)) => self.extended(&head, published, extensions, why)?,
        };
        if self.last_second().is_some_and(|last| last > under.second) {
            return Err(NotUnder::Late { second: under.second });
        }
        Ok(under)
    }

    fn extended(
        &self,
        head: &Checkpoint,
        published: &PublishedRoot,
        extensions: &[Extension],
        without: NotUnder,
    ) -> Result<Under, NotUnder> {
        let mut why = without;
        for (place, one) in extensions.iter().enumerate().filter(|(_, one)| one.begins_at(head)) {
            match one.verify(head, &self.key, published) {
                Ok(()) => return Ok(Under { second: one.second.second, extension: Some(place) }),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// When the log took the last of its entries, in seconds.
    fn last_second(&self) -> Option<u64> {
        let leaf = canonical::decode::<Leaf>(&self.leaves.last()?.leaf, MAX_LEAF).ok()?;
        Some(leaf.at.as_seconds())
    }
}

impl Published {
    /// Whether it leads to this root; the second that does.
    fn under(&self, head: &Checkpoint, key: &Digest, published: &PublishedRoot) -> Result<u64, NotUnder> {
        same(&root_of(&self.checkpoint, key, &head.origin)?, published)?;
        let second = Second { second: self.second, size: head.size, root: head.root };
        let leaf = merkle::leaf_hash(&canonical::encode(&second));
        if merkle::included_root(self.index, published.size, leaf, &self.path) != Some(published.root) {
            return Err(NotUnder::Second { second: self.second, seconds: published.size });
        }
        Ok(self.second)
    }
}

/// The root of the seconds of `log` that `key` has signed.
fn root_of(note: &str, key: &Digest, log: &str) -> Result<PublishedRoot, NotUnder> {
    let seconds = Checkpoint::verify(note, key)?;
    PublishedRoot::of(&seconds)
        .filter(|root| root.log == log)
        .ok_or_else(|| NotUnder::Foreign { got: log.to_owned(), expected: seconds.origin })
}

fn same(got: &PublishedRoot, published: &PublishedRoot) -> Result<(), NotUnder> {
    if got.size != published.size {
        return Err(NotUnder::Elsewhere { got: got.size, expected: published.size });
    }
    if got.root != published.root {
        return Err(NotUnder::Split { got: got.root, seconds: got.size, expected: published.root });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
