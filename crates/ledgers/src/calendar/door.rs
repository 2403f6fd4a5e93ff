//! What the owner's node answers those who share its calendar (docs/specs/shared-calendar.md). Who may ask, and how much, is
//! its door's business; here is only what the log says.

use sofie_model::calendar::{Answer, Ask, Found, MAX_PROVEN, MAX_REASON, Request};
use sofie_model::proof::calendar::Checkpoint;

use super::log::Log;
use super::{Calendar, Standing, Wanted};
use crate::{Intent, Ledger as _, LedgerError};

/// Why a request gets no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnswered {
    /// It is not one.
    #[error("{0}")]
    Malformed(String),
    /// Not now. An entry may have been appended all the same.
    #[error("{0}: come later")]
    Busy(String),
}

impl Calendar {
    /// Answers a peer's request. What the log's rules are against is no error, but an answer that says so.
    ///
    /// # Errors
    /// [`NotAnswered`].
    pub async fn answer(&self, request: &Request) -> Result<Answer, NotAnswered> {
        let seen = request.seen;
        match &request.ask {
            Ask::Head => Ok(self.at_head(seen, Found::Nothing)),
            Ask::Find { intent } => self.find(seen, &intended(intent)?).await,
            Ask::Append { intent } => {
                let wanted = intended(intent)?;
                match self.append(&wanted).await {
                    Ok(()) => self.find(seen, &wanted).await,
                    Err(LedgerError::Refused { reason, .. }) => Ok(self.at_head(seen, refused(reason))),
                    Err(error) => Err(busy(&error)),
                }
            }
            Ask::Prove { indices } => {
                in_order(indices)?;
                // Places and sizes that the log does not have are answered by its head.
                if indices.last().is_some_and(|last| *last >= self.log().size()) {
                    return Ok(self.at_head(seen, Found::Nothing));
                }
                let proof = self.proven(indices).await.map_err(|error| busy(&error))?;
                Ok(self.at_head(seen, Found::Proof { proof }))
            }
            Ask::Consistency { old, size } => {
                let path = self.consistency(*old, *size);
                Ok(self.at_head(seen, path.map_or(Found::Nothing, |path| Found::Path { path })))
            }
        }
    }

    /// Whether `request` would add an entry to the log, and so take room.
    #[must_use]
    pub fn would_add(&self, request: &Request) -> bool {
        let Ask::Append { intent } = &request.ask else { return false };
        intended(intent).is_ok_and(|wanted| matches!(self.standing(&wanted), Standing::Nowhere))
    }

    async fn append(&self, wanted: &Wanted) -> Result<(), LedgerError> {
        wanted.fits(&self.profile).map_err(|reason| self.profile.refused(reason))?;
        self.submit(&wanted.to_intent()).await
    }

    async fn find(&self, seen: u64, wanted: &Wanted) -> Result<Answer, NotAnswered> {
        if let Err(reason) = wanted.fits(&self.profile) {
            return Ok(self.at_head(seen, refused(reason)));
        }
        let index = match self.standing(wanted) {
            Standing::At(index) => index,
            Standing::Never(reason) => return Ok(self.at_head(seen, refused(reason))),
            Standing::Nowhere => return Ok(self.at_head(seen, Found::Nothing)),
        };
        let needed = seen.min(self.log().size()).max(index + 1);
        let signed = match self.witnesses.is_empty() {
            true => None,
            false => Some(self.cosigned(needed).await.map_err(|error| busy(&error))?),
        };
        let log = self.log();
        let (head, cosigned) = match signed {
            Some(signed) => (signed.head.clone(), signed.by.clone()),
            None => (log.head(), Vec::new()),
        };
        let leaf = log.include(index, head.size);
        let leaf = leaf.ok_or_else(|| NotAnswered::Busy("no checkpoint covers the entry yet".into()))?;
        Ok(self.say(&log, &head, seen, Found::Stands { leaf, cosigned }))
    }

    /// Under the head as it is now.
    fn at_head(&self, seen: u64, found: Found) -> Answer {
        let log = self.log();
        self.say(&log, &log.head(), seen, found)
    }

    fn say(&self, log: &Log, head: &Checkpoint, seen: u64, found: Found) -> Answer {
        // One who has seen more than there is finds out by the size.
        let path = log.tree.consistency(seen, head.size).unwrap_or_default();
        let at = (self.clock)().max(log.last_time());
        Answer { checkpoint: head.sign(&self.key), path, at, found }
    }
}

fn intended(intent: &[u8]) -> Result<Wanted, NotAnswered> {
    let wanted = Wanted::from_intent(&Intent(intent.to_vec()));
    wanted.map_err(|why| NotAnswered::Malformed(format!("the intent: {why}")))
}

fn in_order(indices: &[u64]) -> Result<(), NotAnswered> {
    if indices.len() <= MAX_PROVEN && indices.is_sorted_by(|one, next| one < next) {
        return Ok(());
    }
    let what = format!("at most {MAX_PROVEN} places are expected, ascending, each once");
    Err(NotAnswered::Malformed(what))
}

fn refused(reason: String) -> Found {
    Found::Refused { reason: reason.chars().take(MAX_REASON / 4).collect() }
}

fn busy(error: &LedgerError) -> NotAnswered {
    NotAnswered::Busy(error.to_string())
}
