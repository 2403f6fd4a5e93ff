//! Whether what a directory serves is what it has anchored, and whether it has dropped anything
//! (docs/adr/0054-one-root-for-a-directory.md). Whoever knows how a description is hashed brings the digests.

use serde::{Deserialize, Serialize};
use sofie_model::map::Entry;
use sofie_model::map::anchor::{Anchored, Standing, key};
use sofie_model::{Anchor, Digest, ThingId};

/// What became of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is served as it was anchored.
    Present,
    /// It is not served, and was not anchored.
    Absent,
    /// Another description of it was anchored.
    Forged,
    /// It is served, but was not anchored.
    Unanchored,
    /// It was anchored, but is not served.
    Dropped,
}

impl Verdict {
    /// Of what is served of one thing, and what is anchored of it.
    #[must_use]
    pub fn of(served: Option<Digest>, anchored: Option<Digest>) -> Self {
        match (served, anchored) {
            (Some(served), Some(anchored)) if served == anchored => Self::Present,
            (Some(_), Some(_)) => Self::Forged,
            (Some(_), None) => Self::Unanchored,
            (None, Some(_)) => Self::Dropped,
            (None, None) => Self::Absent,
        }
    }

    /// Whether it is as it should be.
    #[must_use]
    pub const fn is_true(self) -> bool {
        matches!(self, Self::Present | Self::Absent)
    }

    /// As it is printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Forged => "forged",
            Self::Unanchored => "not anchored",
            Self::Dropped => "dropped",
        }
    }
}

/// A thing of a list, or what is anchored of one that is not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Its id; nothing for one of which only the key is known.
    pub id: Option<ThingId>,
    /// Its key in the map.
    pub key: Digest,
    /// What became of it.
    pub verdict: Verdict,
}

/// Compares a whole list, each thing with its description's digest, with all that is anchored, in ascending order of the
/// keys. First those of the list, in its order, then what it lacks. Of a thing that is listed twice, each is compared.
///
/// ```
/// use sofie_audit::directory::{Verdict, compare};
/// use sofie_model::map::{Entry, anchor::key};
/// use sofie_model::{Digest, ThingId};
/// let (lamp, lock): (ThingId, ThingId) = ("urn:lamp".parse().unwrap(), "urn:lock".parse().unwrap());
/// let mut anchored = [&lamp, &lock].map(|id| Entry { key: key(id), value: Digest::ZERO });
/// anchored.sort();
/// let found = compare(&[(lamp, Digest([1; 32]))], &anchored);
/// let verdicts: Vec<_> = found.iter().map(|one| one.verdict).collect();
/// assert_eq!((verdicts, found[1].key), (vec![Verdict::Forged, Verdict::Dropped], key(&lock)));
/// ```
#[must_use]
pub fn compare(listed: &[(ThingId, Digest)], anchored: &[Entry]) -> Vec<Compared> {
    let value = |key: &Digest| {
        let at = anchored.binary_search_by_key(key, |entry| entry.key).ok()?;
        Some(anchored[at].value)
    };
    let mut found: Vec<Compared> = listed
        .iter()
        .map(|(id, digest)| {
            let key = key(id);
            Compared { id: Some(id.clone()), key, verdict: Verdict::of(Some(*digest), value(&key)) }
        })
        .collect();
    let mut keys: Vec<Digest> = found.iter().map(|one| one.key).collect();
    keys.sort_unstable();
    let lacks = anchored.iter().filter(|entry| keys.binary_search(&entry.key).is_err());
    found.extend(lacks.map(|entry| Compared { id: None, key: entry.key, verdict: Verdict::Dropped }));
    found
}

/// What a reader remembers of a directory, so that nobody shows it an older state, or another one under the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The directory's id.
    pub directory: ThingId,
    /// The name of the log that held the state.
    pub log: String,
    /// The log's key.
    pub key: Digest,
    /// The state's number.
    pub number: u64,
    /// The digest of the state, which the log's note commits to.
    pub state: Digest,
    /// The note's place in the log.
    pub index: u64,
    /// How many entries the log's checkpoint covered.
    pub size: u64,
    /// The log's root then.
    pub root: Digest,
}

/// Why a state contradicts what was seen before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Of another directory.
    #[error("it is of {got}, seen before was {expected}: is it the same node?")]
    OtherDirectory {
        /// Which.
        got: ThingId,
        /// Seen before.
        expected: ThingId,
    },
    /// On another log.
    #[error("it stands on the log {got}, seen before was {expected}")]
    OtherLog {
        /// Name and key.
        got: String,
        /// Seen before.
        expected: String,
    },
    /// An old state.
    #[error("state {got} is served, state {seen} was seen before: it is old")]
    Old {
        /// Its number.
        got: u64,
        /// The newest that was seen.
        seen: u64,
    },
    /// Two states of one number.
    #[error("two states with number {number} are shown")]
    Two {
        /// The number.
        number: u64,
    },
    /// The log was rewritten.
    #[error("the log that held {seen} entries is shown with {got}, or with another history")]
    Rewritten {
        /// How many now.
        got: u64,
        /// How many before.
        seen: u64,
    },
}

impl Seen {
    /// What to remember of a state; nothing where it stands on no log.
    #[must_use]
    pub fn of(anchored: &Anchored, standing: &Standing) -> Option<Self> {
        let Anchor::Calendar { origin, key, size, root, .. } = &standing.anchor else { return None };
        Some(Self {
            directory: anchored.state.directory.clone(),
            log: origin.clone(),
            key: *key,
            number: anchored.state.number,
            state: anchored.state.commitment(),
            index: standing.index,
            size: *size,
            root: *root,
        })
    }

    /// Whether `now` may follow on this. A proof may rest on an older checkpoint of the log than the one before, as long as
    /// it covers no less than what was seen of the directory.
    ///
    /// # Errors
    /// [`Contradiction`].
    pub fn goes_on(&self, now: &Self) -> Result<(), Contradiction> {
        if now.directory != self.directory {
            let (got, expected) = (now.directory.clone(), self.directory.clone());
            return Err(Contradiction::OtherDirectory { got, expected });
        }
        if (&now.log, now.key) != (&self.log, self.key) {
            let name = |seen: &Self| format!("{} with key {}", seen.log, seen.key);
            return Err(Contradiction::OtherLog { got: name(now), expected: name(self) });
        }
        if now.number < self.number {
            return Err(Contradiction::Old { got: now.number, seen: self.number });
        }
        if now.number == self.number && now.state != self.state {
            return Err(Contradiction::Two { number: now.number });
        }
        let turned = (now.number > self.number) != (now.index > self.index);
        if turned || (now.size == self.size && now.root != self.root) {
            return Err(Contradiction::Rewritten { got: now.size, seen: self.size });
        }
        Ok(())
    }
}
