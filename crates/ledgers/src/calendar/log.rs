//! The log in memory: what is durable, indexed by content, with every proof of its past.

use std::collections::{HashMap, HashSet};

use sofie_model::{
    Digest, LegId, Manifest, Timestamp, Txid, canonical,
    proof::calendar::{
        Checkpoint, Entry, Extension, Included, Leaf, MAX_LEAF, Published, SECONDS, Second, decision,
        extension,
        merkle::{Tree, leaf_hash},
    },
};

use super::{NotExtended, file::Frame, wanted::Wanted};
use crate::entry;

/// A log with more entries takes no new ones: at about 300 bytes an entry this is as much as one process should hold.
pub(super) const MAX_ENTRIES: u64 = 1 << 22;

/// The version of the file that this code writes and reads.
const VERSION: u16 = 1;

#[derive(Debug)]
pub(super) struct Log {
    pub(super) origin: String,
    pub(super) key: Digest,
    pub(super) tree: Tree,
    pub(super) leaves: Vec<Leaf>,
    pub(super) seconds: Vec<Second>,
    seconds_tree: Tree,
    /// The first place of each entry.
    index: HashMap<Entry, u64>,
    prepared: HashSet<(Txid, LegId)>,
    /// The places of each transaction's decisions. There is one, unless the file is another's.
    decided: HashMap<Txid, Vec<u64>>,
    last_note: Option<String>,
    is_new: bool,
}

impl Log {
    pub(super) fn new(origin: String, key: Digest) -> Self {
        Self {
            origin,
            key,
            tree: Tree::default(),
            leaves: Vec::new(),
            seconds: Vec::new(),
            seconds_tree: Tree::default(),
            index: HashMap::new(),
            prepared: HashSet::new(),
            decided: HashMap::new(),
            last_note: None,
            is_new: true,
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub(super) fn find(&self, entry: &Entry) -> Option<(u64, &Leaf)> {
        self.place(*self.index.get(entry)?)
    }

    /// The first valid decision of `manifest`: a reader who reads it all takes the same one.
    pub(super) fn decision(&self, manifest: &Manifest) -> Option<(u64, &Leaf)> {
        let places = self.decided.get(&manifest.txid())?;
        places.iter().filter_map(|index| self.place(*index)).find(|(_, leaf)| is_valid(manifest, leaf))
    }

    fn place(&self, index: u64) -> Option<(u64, &Leaf)> {
        Some((index, self.leaves.get(usize::try_from(index).ok()?)?))
    }

    /// The log's clock: nothing will be recorded before it.
    pub(super) fn last_time(&self) -> Timestamp {
        self.leaves.last().map(|leaf| leaf.at).unwrap_or_default()
    }

    /// Why the log's rules do not let this in after `waiting` at the time `now`, if they do not.
    pub(super) fn objection(&self, wanted: &Wanted, waiting: &Waiting, now: Timestamp) -> Option<String> {
        let stands = |entry: &Entry| self.index.contains_key(entry) || waiting.entries.contains(entry);
        let is_closed =
            |txid, leg| [true, false].iter().any(|&applied| stands(&Entry::Closed { txid, leg, applied }));
        let is_prepared =
            |txid, leg| self.prepared.contains(&(txid, leg)) || waiting.prepared.contains(&(txid, leg));
        let is_decided = |txid| self.decided.contains_key(txid) || waiting.decided.contains(txid);
        if let Some(why) = entry::objection(&wanted.entry, is_closed, is_prepared) {
            return Some(why);
        }
        match &wanted.entry {
            Entry::Prepared { txid, .. } | Entry::Decided { txid, .. } if is_decided(txid) => {
                Some(format!("{txid} is decided"))
            }
            _ if self.size() + waiting.entries.len() as u64 >= MAX_ENTRIES => {
                Some(format!("the log is full with {MAX_ENTRIES} entries: open one with a new origin"))
            }
            Entry::Decided { decision, signatures, .. } => match &wanted.manifest {
                Some(manifest) => decision::check(manifest, decision, signatures, now).err(),
                None => Some("a decision without its manifest".into()),
            },
            _ => None,
        }
    }

    pub(super) fn append(&mut self, leaf: Leaf) {
        let index = self.size();
        self.tree.append(leaf_hash(&canonical::encode(&leaf)));
        self.index.entry(leaf.entry.clone()).or_insert(index);
        match &leaf.entry {
            Entry::Prepared { txid, leg, .. } => {
                self.prepared.insert((*txid, *leg));
            }
            Entry::Decided { txid, .. } => self.decided.entry(*txid).or_default().push(index),
            Entry::Closed { .. } | Entry::Note { .. } => {}
        }
        self.leaves.push(leaf);
    }

    pub(super) fn publish(&mut self, second: Second) {
        self.seconds_tree.append(leaf_hash(&canonical::encode(&second)));
        self.seconds.push(second);
    }

    /// The first frame of a new file.
    pub(super) fn opening(&self) -> Frame {
        Frame::Opened { version: VERSION, key: self.key, origin: self.origin.clone() }
    }

    /// Takes over a frame of the file, and checks all that it says against what came before.
    pub(super) fn replay(&mut self, frame: Frame) -> Result<(), Foreign> {
        match frame {
            Frame::Opened { version, key, origin } if self.is_new => {
                self.is_new = false;
                self.check_opening(version, key, origin)
            }
            _ if self.is_new => Err(Foreign::Damage("the file does not begin as a log does".into())),
            Frame::Opened { .. } => Err(Foreign::Damage("the log is opened twice".into())),
            Frame::Batch { leaves, checkpoint } => {
                for bytes in &leaves {
                    self.replay_leaf(bytes).map_err(Foreign::Damage)?;
                }
                self.check_note(self.head(), &checkpoint)?;
                self.last_note = Some(checkpoint);
                Ok(())
            }
            Frame::Second { second, checkpoint } => {
                if Some(second.root) != self.tree.root(second.size) {
                    return Err(Foreign::Damage("a second's root is not the log's".into()));
                }
                self.publish(second);
                self.check_note(self.seconds_head(), &checkpoint)
            }
        }
    }

    fn check_opening(&self, version: u16, key: Digest, origin: String) -> Result<(), Foreign> {
        if version != VERSION {
            return Err(Foreign::Damage(format!("version {version} is unknown, {VERSION} is expected")));
        }
        if origin != self.origin {
            return Err(Foreign::Origin(origin));
        }
        if key != self.key {
            return Err(Foreign::Key(key));
        }
        Ok(())
    }

    fn replay_leaf(&mut self, bytes: &[u8]) -> Result<(), String> {
        let leaf: Leaf = canonical::decode(bytes, MAX_LEAF).map_err(|error| error.to_string())?;
        if self.leaves.last().is_some_and(|last| last.at > leaf.at) {
            return Err("the log's clock goes back".into());
        }
        self.append(leaf);
        Ok(())
    }

    /// The text only: [`Self::check_signature`] looks at the last signature.
    fn check_note(&self, head: Checkpoint, note: &str) -> Result<(), Foreign> {
        if note.starts_with(&head.text()) {
            return Ok(());
        }
        Err(Foreign::Damage(format!("the {} leaves do not have the root that was signed", head.size)))
    }

    /// Whether our key signed the last checkpoint.
    pub(super) fn check_signature(&self) -> Result<(), String> {
        match &self.last_note {
            Some(note) => Checkpoint::verify(note, &self.key).map(drop).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    pub(super) fn head(&self) -> Checkpoint {
        let (size, root) = (self.tree.size(), self.tree.root(self.tree.size()));
        Checkpoint { origin: self.origin.clone(), size, root: root.unwrap_or_default() }
    }

    pub(super) fn seconds_head(&self) -> Checkpoint {
        let size = self.seconds_tree.size();
        self.seconds_at(size).expect("a tree has the root of its own size")
    }

    /// The tree of seconds when there were `size`.
    pub(super) fn seconds_at(&self, size: u64) -> Option<Checkpoint> {
        let root = self.seconds_tree.root(size)?;
        Some(Checkpoint { origin: format!("{}{SECONDS}", self.origin), size, root })
    }

    /// From the log of `size` entries to the root of so many seconds.
    pub(super) fn extension(
        &self,
        size: u64,
        root: Digest,
        seconds: u64,
        sign: impl FnOnce(&Checkpoint) -> String,
    ) -> Result<Extension, NotExtended> {
        if self.tree.root(size) != Some(root) {
            return Err(NotExtended::Foreign { size });
        }
        let head = self.seconds_at(seconds);
        let head =
            head.ok_or(NotExtended::Unpublished { asked: seconds, seconds: self.seconds.len() as u64 })?;
        let place = self.seconds.partition_point(|second| second.size < size);
        let (index, second) = (place as u64, self.seconds.get(place).copied());
        let found = second.and_then(|second| {
            let path = self.seconds_tree.inclusion(index, seconds)?;
            Some((second, path, self.tree.consistency(size, second.size)?))
        });
        let (second, path, goes_on) = found.ok_or(NotExtended::Younger { size, seconds })?;
        let (version, checkpoint) = (extension::VERSION, sign(&head));
        Ok(Extension { version, size, root, goes_on, second, index, path, checkpoint })
    }

    /// The leaf at `index`, and its path at `size`.
    pub(super) fn include(&self, index: u64, size: u64) -> Option<Included> {
        let leaf = canonical::encode(self.leaves.get(usize::try_from(index).ok()?)?);
        Some(Included { index, leaf, path: self.tree.inclusion(index, size)? })
    }

    /// The first second that covers `size` leaves, with its path; its checkpoint is still to be signed.
    pub(super) fn published(&self, size: u64) -> Option<(Second, Published)> {
        let place = self.seconds.partition_point(|second| second.size < size);
        let second = *self.seconds.get(place)?;
        let index = place as u64;
        let path = self.seconds_tree.inclusion(index, self.seconds_tree.size())?;
        let published = Published { second: second.second, index, path, checkpoint: String::new() };
        Some((second, published))
    }

    /// The second of the last leaf, when no published one covers it yet.
    pub(super) fn open_second(&self) -> Option<u64> {
        let covered = self.seconds.last().map_or(0, |second| second.size);
        self.leaves.last().filter(|_| covered < self.size()).map(|leaf| leaf.at.as_seconds())
    }
}

/// The entries of a batch that is not durable yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    entries: HashSet<Entry>,
    prepared: HashSet<(Txid, LegId)>,
    decided: HashSet<Txid>,
}

impl Waiting {
    pub(super) fn contains(&self, entry: &Entry) -> bool {
        self.entries.contains(entry)
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        match &entry {
            Entry::Prepared { txid, leg, .. } => {
                self.prepared.insert((*txid, *leg));
            }
            Entry::Decided { txid, .. } => {
                self.decided.insert(*txid);
            }
            Entry::Closed { .. } | Entry::Note { .. } => {}
        }
        self.entries.insert(entry);
    }
}

fn is_valid(manifest: &Manifest, leaf: &Leaf) -> bool {
    match &leaf.entry {
        Entry::Decided { decision, signatures, .. } => {
            decision::check(manifest, decision, signatures, leaf.at).is_ok()
        }
        _ => false,
    }
}

/// Why a file is not this log's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Foreign {
    Damage(String),
    Origin(String),
    Key(Digest),
}
