//! `detection` of P5: how long until this node notices and acts, a restart included. The node measures how long its own
//! start takes, and keeps the longest: a journal that has grown makes the next transactions wait longer. Ledgers that
//! adopt what an earlier run intended do so while it serves already; it is part of the start, and counts from the next one
//! on. The very first start makes keys and contracts and is no restart; it is not counted.

use minicbor::{Decode, Encode};
use sofie_model::{Span, canonical};

use crate::journal::{Entry, JournalError, Reader};

/// The fact that holds the longest start.
const GROUP: &str = "budget";
const KEY: &str = "start";
/// The longest stored fact.
const MAX_BYTES: usize = 16;

/// How long a supervisor may take to notice that the process has ended and to start it again: systemd waits 100 ms
/// (`RestartSec`), Kubernetes and Docker begin with less than a second.
const SUPERVISOR: Span = Span::from_seconds(1);
/// A start is never taken for shorter than this, also before one was measured.
const SHORTEST: Span = Span::from_seconds(1);
/// The machine may be busier at the restart than it was at the start that was measured.
const BUSY: u64 = 2;

/// The longest start that was measured here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Budget {
    #[n(0)]
    longest: Span,
}

impl Budget {
    /// What the journal holds, and the restart that took `took`, if it was one; with the entry that keeps it, if it is
    /// news.
    ///
    /// # Errors
    /// [`JournalError`].
    pub(crate) fn measured(
        reader: &Reader,
        took: Option<Span>,
    ) -> Result<(Self, Option<Entry>), JournalError> {
        let corrupt =
            |e| JournalError::Corrupt { path: reader.path().to_owned(), what: format!("budget: {e}") };
        let kept: Option<Self> = reader
            .fact(GROUP, KEY)?
            .map(|bytes| canonical::decode(&bytes, MAX_BYTES).map_err(corrupt))
            .transpose()?;
        let longest = kept.map_or(Span::ZERO, |kept| kept.longest);
        let measured = Self { longest: took.unwrap_or(Span::ZERO).max(longest) };
        let news = (measured.longest > longest).then(|| measured.entry());
        Ok((measured, news))
    }

    fn entry(&self) -> Entry {
        Entry::Fact { group: GROUP, key: KEY.into(), value: canonical::encode(self) }
    }

    /// How long until this node notices and acts, whatever it was doing, polling its slowest ledger every `poll`.
    pub(crate) fn detection(&self, poll: Span) -> Span {
        SUPERVISOR + self.longest.max(SHORTEST) * BUSY + poll
    }
}

#[cfg(test)]
mod tests {
    use sofie_model::Timestamp;

    use super::*;
    use crate::journal::Journal;

    /// A node that starts again and again on one journal.
    #[tokio::test]
    async fn a_longer_start_lengthens_the_detection_of_every_later_one() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.sqlite"), None).unwrap();
        let seconds = Span::from_seconds;
        let poll = seconds(1);
        // The first start is no restart: nothing was written before.
        for (took, detection, is_news) in [
            (None, seconds(4), false),
            (Some(seconds(5)), seconds(12), true),
            (Some(seconds(2)), seconds(12), false),
            (Some(seconds(7)), seconds(16), true),
            (None, seconds(16), false),
        ] {
            let (budget, news) = Budget::measured(&journal.reader().unwrap(), took).unwrap();
            assert_eq!((budget.detection(poll), news.is_some()), (detection, is_news), "{took:?}");
            journal.keep(news.into_iter().collect(), Timestamp::from_seconds(1)).await.unwrap();
        }
        let damaged = Entry::Fact { group: GROUP, key: KEY.into(), value: vec![0xff] };
        journal.keep(vec![damaged], Timestamp::from_seconds(2)).await.unwrap();
        assert!(Budget::measured(&journal.reader().unwrap(), None).is_err());
    }

    #[test]
    fn the_longest_start_counts() {
        let seconds = Span::from_seconds;
        for (longest, poll, detection) in
            [(Span::ZERO, seconds(1), seconds(4)), (seconds(3), Span::ZERO, seconds(7))]
        {
            assert_eq!(Budget { longest }.detection(poll), detection);
        }
    }
}
