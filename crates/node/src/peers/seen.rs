//! Which signatures were used already: a replay is refused, also after a restart. Each nonce is kept, durably and before
//! its message is looked at, until its signature has ended; how many one peer can have kept is bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sofie_model::Timestamp;

use super::envelope::Genuine;
use crate::journal::{Entry, Journal, JournalError};

/// The most nonces that are remembered for one peer: within [`super::envelope::MAX_LIFETIME`] it may not say more.
pub const MAX_NONCES: usize = 4_096;

/// Facts of this group: key and nonce, with the end in milliseconds.
const GROUP: &str = "peer-nonce";

/// Why a genuine message is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Known {
    /// It was taken before.
    #[error("the message came before: its nonce is used")]
    Replayed,
    /// Its peer says too much.
    #[error("{MAX_NONCES} messages of this peer are remembered; more are taken once the oldest have ended")]
    TooMany,
    /// It cannot be remembered.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The nonces that still count, by key. Clones share them.
#[derive(Debug, Clone)]
pub struct Seen {
    journal: Journal,
    nonces: Arc<Mutex<BTreeMap<String, BTreeMap<String, Timestamp>>>>,
}

impl Seen {
    /// What the journal remembers.
    ///
    /// # Errors
    /// [`JournalError`], also when an entry is not what is written here.
    pub fn open(journal: Journal) -> Result<Self, JournalError> {
        let mut nonces: BTreeMap<String, BTreeMap<String, Timestamp>> = BTreeMap::new();
        for (name, value) in journal.reader()?.facts(GROUP)? {
            let entry = name.split_once(' ').zip(<[u8; 8]>::try_from(value).ok());
            let Some(((keyid, nonce), until)) = entry else {
                let what = format!("{GROUP} {name} is no nonce and its end");
                return Err(JournalError::Corrupt { path: journal.path().to_owned(), what });
            };
            let until = Timestamp::from_millis(u64::from_be_bytes(until));
            nonces.entry(keyid.into()).or_default().insert(nonce.into(), until);
        }
        Ok(Self { journal, nonces: Arc::new(Mutex::new(nonces)) })
    }

    /// Remembers a message's nonce. Once this returns `Ok`, no other call does for the same one.
    ///
    /// # Errors
    /// [`Known`]: the message must not be looked at.
    pub async fn take(&self, genuine: &Genuine, now: Timestamp) -> Result<(), Known> {
        let ended = self.remember(genuine, now)?;
        let forget = |nonce| fact(&genuine.keyid, nonce, Vec::new());
        let until = genuine.until.as_millis().to_be_bytes().to_vec();
        let mut entries: Vec<_> = ended.iter().map(forget).collect();
        entries.push(fact(&genuine.keyid, &genuine.nonce, until));
        Ok(self.journal.keep(entries, now).await?)
    }

    /// Takes the nonce in, and out those that have ended.
    fn remember(&self, genuine: &Genuine, now: Timestamp) -> Result<Vec<String>, Known> {
        let mut all = self.nonces.lock().expect("no holder of this lock panics");
        let nonces = all.entry(genuine.keyid.clone()).or_default();
        if nonces.contains_key(&genuine.nonce) {
            return Err(Known::Replayed);
        }
        let ended: Vec<_> =
            nonces.iter().filter(|(_, until)| **until <= now).map(|(nonce, _)| nonce.clone()).collect();
        if nonces.len() - ended.len() >= MAX_NONCES {
            return Err(Known::TooMany);
        }
        nonces.retain(|_, until| *until > now);
        nonces.insert(genuine.nonce.clone(), genuine.until);
        Ok(ended)
    }
}

fn fact(keyid: &str, nonce: &String, value: Vec<u8>) -> Entry {
    Entry::Fact { group: GROUP, key: format!("{keyid} {nonce}"), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn genuine(nonce: usize, until: u64) -> Genuine {
        let until = Timestamp::from_seconds(until);
        Genuine { keyid: "aa".into(), nonce: format!("{nonce:032x}"), until }
    }

    #[tokio::test]
    async fn a_replay_is_refused_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let now = Timestamp::from_seconds(10);
        let other = Genuine { keyid: "bb".into(), ..genuine(1, 20) };
        {
            let seen = Seen::open(Journal::open(&path, None).unwrap()).unwrap();
            seen.take(&genuine(1, 20), now).await.unwrap();
            assert!(matches!(seen.take(&genuine(1, 20), now).await, Err(Known::Replayed)));
            seen.take(&other, now).await.unwrap();
        }
        let journal = reopened(&path);
        let seen = Seen::open(journal.clone()).unwrap();
        assert!(matches!(seen.take(&genuine(1, 20), now).await, Err(Known::Replayed)));
        seen.take(&genuine(2, 40), Timestamp::from_seconds(20)).await.unwrap();
        let kept = journal.reader().unwrap().facts(GROUP).unwrap();
        assert_eq!(kept.len(), 2, "what has ended is forgotten, of this peer: {kept:?}");
    }

    /// The thread of the journal that was dropped lets its lock go in its own time.
    fn reopened(path: &std::path::Path) -> Journal {
        loop {
            match Journal::open(path, None) {
                Ok(journal) => return journal,
                Err(JournalError::Held { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[tokio::test]
    async fn a_flood_is_bounded_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.sqlite"), None).unwrap();
        let seen = Seen::open(journal).unwrap();
        let now = Timestamp::from_seconds(10);
        for nonce in 0..MAX_NONCES {
            seen.remember(&genuine(nonce, 20), now).unwrap();
        }
        assert!(matches!(seen.take(&genuine(MAX_NONCES, 20), now).await, Err(Known::TooMany)));
        let later = Timestamp::from_seconds(20);
        seen.take(&genuine(MAX_NONCES, 30), later).await.unwrap();
        assert_eq!(seen.nonces.lock().unwrap()["aa"].len(), 1);
    }
}
