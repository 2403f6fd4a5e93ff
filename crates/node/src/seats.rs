//! The members of groups that this node runs (docs/adr/0024-members-over-http.md), and what they are asked at its door.
//!
//! A key votes in one process: its key file is locked while its member runs. A node that was put back from a backup does
//! not run a member by itself: the member may have voted since, and would contradict itself in good faith.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use sofie_ledgers::quorum::{self, Member, MemberConfig, NotTaken, Seated};
use sofie_model::{Digest, LedgerId, Txid, canonical};

use crate::api::{ApiError, ErrorKind};
use crate::clock;
use crate::config::{Config, LedgerKind, Name};
use crate::parties::Parties;

/// Why a member does not run.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// Its store.
    #[error("[[member]] of {ledger}: {source}")]
    Open {
        /// Of which group's ledger.
        ledger: LedgerId,
        /// What is wrong.
        source: quorum::OpenError,
    },
    /// Its key votes elsewhere.
    #[error(
        "[[member]] of {ledger}: the key file {path} of party {party} is in use by another node's member: one key votes in \
         one process, or the group may decide twice; stop that one"
    )]
    InUse {
        /// Of which group's ledger.
        ledger: LedgerId,
        /// Whose key.
        party: Name,
        /// The key file.
        path: PathBuf,
    },
    /// Its key file cannot be locked.
    #[error("[[member]] of {ledger}: the key file {path} cannot be locked")]
    Lock {
        /// Of which group's ledger.
        ledger: LedgerId,
        /// The key file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The node was put back from a backup.
    #[error(
        "[[member]] of {ledger}: this node was put back from a backup, and its member may have voted since: a member that \
         votes again from an old copy can make its group decide twice; remove the [[member]], or write restored = \
         \"{word}\" in it if it surely did not vote after the backup"
    )]
    Restored {
        /// Of which group's ledger.
        ledger: LedgerId,
        /// What the operator writes to have it run nevertheless.
        word: String,
    },
}

/// What a member is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeatCall {
    /// For a decision.
    Ask {
        /// Of the question.
        nonce: Digest,
        /// The request.
        body: Vec<u8>,
    },
    /// By another member.
    Bundle {
        /// What that one knows.
        body: Vec<u8>,
    },
    /// How a transaction stands.
    Word {
        /// The transaction.
        txid: Txid,
        /// Of the question.
        nonce: Digest,
    },
}

/// The members that run here, by their groups.
#[derive(Default)]
pub(crate) struct Seats {
    members: BTreeMap<Digest, Member>,
    keys: BTreeMap<PathBuf, File>,
}

/// The members of a group as its ledger's configuration lists them.
pub(crate) fn seated(members: &BTreeMap<Digest, url::Url>) -> Vec<Seated> {
    members.iter().map(|(key, url)| Seated { key: *key, url: url.clone() }).collect()
}

impl Seats {
    /// Opens and runs every configured member, with stores in `folder`.
    ///
    /// # Errors
    /// [`SeatError`] for the first that does not run.
    pub(crate) fn open(
        config: &Config,
        parties: &Parties,
        epoch: Option<Digest>,
        folder: &Path,
    ) -> Result<Self, SeatError> {
        let mut this = Self::default();
        for seat in &config.members {
            let ledger = || seat.ledger.clone();
            let word = epoch.map(word);
            if let Some(word) = word.filter(|word| seat.restored.as_ref() != Some(word)) {
                return Err(SeatError::Restored { ledger: ledger(), word });
            }
            let io = |source| SeatError::Lock { ledger: ledger(), path: folder.to_owned(), source };
            std::fs::create_dir_all(folder).map_err(io)?;
            this.lock(config, seat)?;
            let kind = config.ledgers.iter().find(|one| one.id == seat.ledger).map(|one| &one.kind);
            let Some(LedgerKind::Quorum { members }) = kind else { continue };
            let settings = MemberConfig {
                members: seated(members),
                path: folder.join(quorum::member_file(&seat.ledger)),
                pace: seat.pace,
            };
            let keys = parties.named(seat.party.as_str());
            let key = keys.expect("the configuration was checked to name a party").ed25519().clone();
            // Reads the whole store; nothing else runs yet.
            let member = tokio::task::block_in_place(|| Member::open(settings, key, clock::clock()));
            let member = member.map_err(|source| SeatError::Open { ledger: ledger(), source })?;
            tracing::info!(ledger = %seat.ledger, group = %member.group().id(), place = member.place(), "a member runs");
            this.members.insert(member.group().id(), member);
        }
        Ok(this)
    }

    fn lock(&mut self, config: &Config, seat: &crate::config::Seat) -> Result<(), SeatError> {
        let party = config.parties.iter().find(|party| party.name == seat.party);
        let Some(path) = party.map(|party| party.key_file.clone()) else { return Ok(()) };
        if self.keys.contains_key(&path) {
            return Ok(());
        }
        let ledger = seat.ledger.clone();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(source) => return Err(SeatError::Lock { ledger, path, source }),
        };
        match file.try_lock() {
            Ok(()) => {
                self.keys.insert(path, file);
                Ok(())
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(SeatError::InUse { ledger, party: seat.party.clone(), path })
            }
            Err(std::fs::TryLockError::Error(source)) => Err(SeatError::Lock { ledger, path, source }),
        }
    }

    /// What the member of `group` answers, in canonical CBOR.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when none runs here; [`ErrorKind::Invalid`], [`ErrorKind::Conflict`],
    /// [`ErrorKind::TooMany`], [`ErrorKind::Unavailable`] as [`NotTaken`] says.
    pub(crate) async fn answer(&self, group: Digest, call: SeatCall) -> Result<Vec<u8>, ApiError> {
        let member = self.members.get(&group).ok_or_else(|| {
            ApiError::new(
                ErrorKind::NotFound,
                "no such member",
                format!("no member of group {group} runs here"),
            )
            .next("correct the member's URL in the [[ledger]] of kind quorum, or start its node")
        })?;
        let answer = match call {
            SeatCall::Ask { nonce, body } => {
                member.ask(&body, nonce).await.map(|word| canonical::encode(&word))
            }
            SeatCall::Bundle { body } => member.hear(&body).await.map(|bundle| canonical::encode(&bundle)),
            SeatCall::Word { txid, nonce } => {
                member.tell(txid, nonce).await.map(|word| canonical::encode(&word))
            }
        };
        answer.map_err(|why| {
            let kind = match &why {
                NotTaken::Malformed(_) => ErrorKind::Invalid,
                NotTaken::Refused(_) => ErrorKind::Conflict,
                NotTaken::Busy(_) => ErrorKind::TooMany,
                NotTaken::Broken(_) => ErrorKind::Unavailable,
            };
            ApiError::new(kind, "the member does not take it", why.to_string())
        })
    }
}

/// Names one restore, and nothing of its secret: what allows a member after it allows none after the next.
fn word(epoch: Digest) -> String {
    hex::encode(&Digest::of("sofie.member.restored.v1", &[epoch.as_bytes()]).0[..6])
}
