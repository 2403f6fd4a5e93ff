//! The chain of records, and the part of it that a receipt shows.

use minicbor::{Decode, Encode};
use sofie_model::{Digest, Timestamp};

use crate::record::{Draft, MAX_DETAIL, MAX_NAME, Record, link};

/// Most links in an extract that is read. One of up to 120 records fits, whatever lies between them.
pub const MAX_LINKS: usize = 16 * 1024;
/// A longer stretch of records about others is left out of an extract, but for its end.
pub const MAX_HIDDEN: usize = 128;

/// The end of the chain: what the next record is linked to.
///
/// ```
/// use sofie_audit::{Chain, Draft, chain};
/// use sofie_model::{Digest, Timestamp};
/// let mut log = Chain::new();
/// let about = |ok| Draft::about(Digest::ZERO, "refused", ok, "the capability expired");
/// let records = [log.append(about(false), Timestamp::from_seconds(1)), log.append(about(true), Timestamp::from_seconds(2))];
/// assert_eq!(chain::verify(&records), Ok(log.clone()));
/// assert!(chain::verify(&records[1..]).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    next: u64,
    head: Digest,
    /// When the newest record was made.
    at: Timestamp,
}

/// A link that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit record {seq}: {why}")]
pub struct Broken {
    /// Which record.
    pub seq: u64,
    /// What is wrong with it.
    pub why: String,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// An empty chain.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: 0, head: Digest::ZERO, at: Timestamp::from_millis(0) }
    }

    /// Goes on after `newest`.
    #[must_use]
    pub fn after(newest: &Record) -> Self {
        Self { next: newest.seq.saturating_add(1), head: newest.hash(), at: newest.at }
    }

    /// Links one record. Store it before the next one is linked. Its time is `now`, but never before the newest one's: what
    /// is made at once may come in any order, and a clock may be set back.
    pub fn append(&mut self, draft: Draft, now: Timestamp) -> Record {
        let record = Record {
            seq: self.next,
            at: now.max(self.at),
            subject: draft.subject,
            kind: cut(&draft.kind, MAX_NAME),
            actor: cut(&draft.actor, MAX_NAME),
            ledger: draft.ledger,
            ok: draft.ok,
            detail: cut(&draft.detail, MAX_DETAIL),
            previous: self.head,
        };
        *self = Self::after(&record);
        record
    }

    /// How many records there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.next
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// The hash of the newest record; [`Digest::ZERO`] before the first.
    #[must_use]
    pub const fn head(&self) -> Digest {
        self.head
    }

    /// Whether `record` is the next one.
    fn take(&mut self, record: &Record) -> Result<(), Broken> {
        let broken = |why: &str| Err(Broken { seq: self.next, why: why.to_owned() });
        if record.seq != self.next {
            return broken(&format!("number {} stands in its place", record.seq));
        }
        if record.previous != self.head {
            return broken("it is not linked to the record before it");
        }
        *self = Self::after(record);
        Ok(())
    }
}

/// Checks a whole chain from its first record on.
///
/// # Errors
/// The first [`Broken`] link.
pub fn verify<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<Chain, Broken> {
    let mut chain = Chain::new();
    records.into_iter().try_for_each(|record| chain.take(record))?;
    Ok(chain)
}

/// One step of an extract.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Link {
    /// A record about the extract's subject.
    #[n(0)]
    Shown(#[n(0)] Record),
    /// [`Record::body`] of a record about something else, which stays private.
    #[n(1)]
    Hidden(#[n(0)] Digest),
    /// More than [`MAX_HIDDEN`] records about others: how many, and the hash of the last. That nothing else lies
    /// between is the signer's word, until somebody shows the log.
    #[n(2)]
    Gap(#[n(0)] u64, #[n(1)] Digest),
}

/// The records about one subject, with what links them: between them, only the others' bodies' digests.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Extract {
    /// The number of the first link.
    #[n(0)]
    first: u64,
    /// What the first link is linked to.
    #[n(1)]
    before: Digest,
    /// From the first record about the subject to the last.
    #[n(2)]
    links: Vec<Link>,
}

impl Extract {
    /// Cuts a contiguous piece of the log down to what concerns `subject`.
    #[must_use]
    pub fn of(records: &[Record], subject: Digest) -> Self {
        let concerns = |record: &Record| record.subject == subject;
        let (Some(first), Some(last)) =
            (records.iter().position(concerns), records.iter().rposition(concerns))
        else {
            return Self { first: 0, before: Digest::ZERO, links: Vec::new() };
        };
        let mut links = Vec::new();
        for run in records[first..=last].chunk_by(|a, b| concerns(a) == concerns(b)) {
            match run {
                [one, ..] if concerns(one) => links.extend(run.iter().cloned().map(Link::Shown)),
                [.., end] if run.len() > MAX_HIDDEN => links.push(Link::Gap(run.len() as u64, end.hash())),
                _ => links.extend(run.iter().map(|other| Link::Hidden(other.body()))),
            }
        }
        Self { first: records[first].seq, before: records[first].previous, links }
    }

    /// The records that it shows, in order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.links.iter().filter_map(|link| match link {
            Link::Shown(record) => Some(record),
            Link::Hidden(_) | Link::Gap(..) => None,
        })
    }

    /// How many stretches were left out.
    #[must_use]
    pub fn gaps(&self) -> usize {
        self.links.iter().filter(|link| matches!(link, Link::Gap(..))).count()
    }

    /// How many links there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether it shows nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Follows the links. The answer is the hash of the last one, which the log's head grew from.
    ///
    /// # Errors
    /// The first [`Broken`] link.
    pub fn verify(&self, subject: Digest) -> Result<Digest, Broken> {
        let mut chain = Chain { next: self.first, head: self.before, at: Timestamp::default() };
        for step in &self.links {
            match step {
                Link::Shown(record) if record.subject != subject => {
                    return Err(Broken { seq: chain.next, why: "it is about something else".into() });
                }
                Link::Shown(record) => chain.take(record)?,
                Link::Hidden(body) => {
                    let head = link(&chain.head, body);
                    chain = Chain { next: chain.next.saturating_add(1), head, ..chain };
                }
                Link::Gap(count, head) => {
                    chain = Chain { next: chain.next.saturating_add(*count), head: *head, ..chain };
                }
            }
        }
        Ok(chain.head)
    }
}

fn cut(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::MAX_RECORD;

    fn log(subjects: &[u8]) -> Vec<Record> {
        let mut chain = Chain::new();
        let draft = |byte: u8| Draft::about(Digest([byte; 32]), "observed", byte != 0, "as it was");
        subjects
            .iter()
            .zip(1..)
            .map(|(byte, second)| chain.append(draft(*byte), Timestamp::from_seconds(second)))
            .collect()
    }

    #[test]
    fn a_record_is_read_back_and_only_in_one_form() {
        let record = &log(&[1])[0];
        assert_eq!(Record::from_bytes(&record.to_bytes()).as_ref(), Ok(record));
        assert!(Record::from_bytes(&[&record.to_bytes()[..], &[0]].concat()).is_err());
    }

    #[test]
    fn too_long_texts_are_cut() {
        let long = "é".repeat(5000);
        let record = Chain::new().append(
            Draft::about(Digest::ZERO, &long, true, long.as_str()).by(long.as_str()),
            Timestamp::default(),
        );
        assert_eq!(record.detail.chars().count(), MAX_DETAIL);
        assert_eq!((record.kind.chars().count(), record.actor.chars().count()), (MAX_NAME, MAX_NAME));
        assert!(record.to_bytes().len() < MAX_RECORD);
    }

    #[test]
    fn a_record_is_never_older_than_the_one_before_it() {
        let mut chain = Chain::new();
        let mut append = |millis| {
            let draft = Draft::about(Digest::ZERO, "observed", true, "as it was");
            chain.append(draft, Timestamp::from_millis(millis))
        };
        let records = [5, 4, 6].map(&mut append);
        assert_eq!(records.clone().map(|record| record.at.as_millis()), [5, 5, 6]);
        let mut reopened = Chain::after(&records[2]);
        let next = Draft::about(Digest::ZERO, "observed", true, "as it was");
        assert_eq!(reopened.append(next, Timestamp::from_millis(1)).at.as_millis(), 6);
    }

    #[test]
    fn every_change_of_the_log_is_noticed() {
        let records = log(&[1, 2, 1, 3]);
        assert_eq!(verify(&records).map(|chain| chain.len()), Ok(4));
        let changes: [fn(&mut Vec<Record>); 8] = [
            |r| drop(r.remove(0)),
            |r| drop(r.remove(1)),
            |r| r.swap(1, 2),
            |r| r.insert(1, r[1].clone()),
            |r| r[1].ok = !r[1].ok,
            |r| r[0].at = Timestamp::from_seconds(9),
            |r| r[2].detail.push('.'),
            |r| r[3].previous = Digest::ZERO,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut changed = records.clone();
            change(&mut changed);
            assert!(verify(&changed).is_err(), "change {index}");
        }
        assert_eq!(verify(&records[..3]).map(|chain| chain.len()), Ok(3), "its end is the head's to know");
    }

    #[test]
    fn a_busy_log_leaves_an_extract_small() {
        let mut subjects = vec![1; 3];
        subjects.extend(vec![2; 5000]);
        subjects.extend([1, 2, 1]);
        let records = log(&subjects);
        let extract = Extract::of(&records, Digest([1; 32]));
        assert_eq!((extract.len(), extract.gaps(), extract.records().count()), (7, 1, 5));
        assert_eq!(extract.verify(Digest([1; 32])), Ok(records[5005].hash()));
        let mut shorter = extract;
        shorter.links[3] = Link::Gap(4999, records[5002].hash());
        assert!(shorter.verify(Digest([1; 32])).is_err(), "the count must lead to the next number");
    }

    proptest! {
        /// An extract shows all of its subject, nothing of the others, and leads to the same hash as the log.
        #[test]
        fn an_extract_links_what_it_shows(subjects in proptest::collection::vec(0u8..3, 1..20)) {
            let records = log(&subjects);
            for byte in 0..3 {
                let subject = Digest([byte; 32]);
                let extract = Extract::of(&records, subject);
                prop_assert!(extract.records().eq(records.iter().filter(|record| record.subject == subject)));
                let last = records.iter().rfind(|record| record.subject == subject);
                let expected = last.map_or(Digest::ZERO, Record::hash);
                prop_assert_eq!(extract.verify(subject), Ok(expected));
                let hidden = extract.links.iter().filter(|link| matches!(link, Link::Hidden(_))).count();
                prop_assert_eq!(hidden + extract.records().count(), extract.len());
            }
        }

        /// No record of an extract can be changed, left away or moved.
        #[test]
        fn a_changed_extract_does_not_link(at in 0usize..5, kind in 0u8..4) {
            let records = log(&[1, 2, 1, 2, 1]);
            let subject = Digest([1; 32]);
            let mut extract = Extract::of(&records, subject);
            let head = extract.verify(subject);
            match (kind, &mut extract.links[at]) {
                (0, Link::Shown(record)) => record.ok = !record.ok,
                (0, Link::Hidden(body)) => body.0[0] ^= 1,
                (0, Link::Gap(..)) => unreachable!("the stretches are short"),
                (1, _) => drop(extract.links.remove(at)),
                (2, _) => extract.links.swap(at, (at + 1) % 5),
                _ => extract.first += 1,
            }
            prop_assert_ne!(extract.verify(subject), head);
        }
    }
}
