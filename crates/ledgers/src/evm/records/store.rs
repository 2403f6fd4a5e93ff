//! Entries and batches on the disk, and the one who writes them: what waits is written in one transaction under one sync, and
//! only then answered (group commit).
//!
//! Entries are numbered without a gap, and a batch is a range of those numbers: which entries it holds is fixed with the
//! batch itself, in one row.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::Receiver;

use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use sofie_model::proof::batch::Batch;
use sofie_model::proof::calendar::Entry;
use sofie_model::{Digest, LegId, Timestamp, Txid, canonical};
use tokio::sync::oneshot;

use crate::sqlite::{self, Fault, Identity};
use crate::{Intent, entry};

/// So many requests wait for the disk at most; more are told to come later.
pub(super) const MAX_QUEUE: usize = 4_096;
/// So many requests share one sync at most.
const MAX_GROUP: usize = 512;
/// So many entries wait for a batch at most, four full ones; more are told to come later.
pub const MAX_WAITING: u64 = 4 * 65_536;

/// What the file says that it is: "SREC".
const IDENTITY: Identity = Identity {
    application: 0x5352_4543,
    version: 1,
    schema: "
    CREATE TABLE chain (genesis BLOB NOT NULL);
    CREATE TABLE entry (number INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE, prepares BLOB, at INTEGER NOT NULL);
    CREATE INDEX entry_prepares ON entry (prepares) WHERE prepares IS NOT NULL;
    CREATE TABLE batch (number INTEGER PRIMARY KEY, entries_from INTEGER NOT NULL UNIQUE, count INTEGER NOT NULL,
        root BLOB NOT NULL, plan BLOB, first INTEGER, height INTEGER, at INTEGER);
    CREATE INDEX batch_first ON batch (first) WHERE first IS NOT NULL;
    CREATE INDEX batch_open ON batch (number) WHERE first IS NULL;
",
};
/// What the name of the file that is locked ends with.
const LOCK: &str = ".lock";

/// A batch as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) number: u64,
    /// The number of its first entry in this file.
    pub(super) from: u64,
    pub(super) count: u32,
    pub(super) root: Digest,
    /// The transaction that carries it, signed; `None` until there is one.
    pub(super) plan: Option<Intent>,
    /// Where it stands on the chain, finally.
    pub(super) stands: Option<Batch>,
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Write {
    /// An entry, taken at this time.
    Append(Entry, Timestamp),
    /// The next batch: so many of the entries that wait, under this root.
    Cut { count: u32, root: Digest },
    /// The transaction of a batch; `None`: it must be signed anew.
    Plan { batch: u64, intent: Option<Intent> },
    /// A batch is final.
    Stands { batch: u64, place: Batch },
}

/// Why it was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The rules are against it.
    Rules(String),
    /// It may be written later.
    Later(String),
}

pub(super) type Answer = std::result::Result<(), Refusal>;

pub(super) struct Request {
    pub(super) write: Write,
    pub(super) asker: oneshot::Sender<Answer>,
}

/// The one who writes. The file is locked as long as it lives.
pub(super) struct Writer {
    connection: Connection,
    _beside: File,
}

impl Writer {
    /// Opens or creates the file for the chain of this first block, and a second connection for the readers; answers whose it
    /// is.
    pub(super) fn open(
        path: &Path,
        genesis: Digest,
    ) -> std::result::Result<(Self, Connection, Digest), Fault> {
        let beside = sqlite::lock(path, LOCK)?;
        let mut connection = sqlite::connect(path)?;
        sqlite::identify(&mut connection, &IDENTITY)?;
        let reader = sqlite::connect(path)?;
        let own = belongs_to(&connection, genesis)?;
        Ok((Self { connection, _beside: beside }, reader, own))
    }

    /// Runs until every sender is gone.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let rest = requests.try_iter().take(MAX_GROUP - 1);
            let (writes, askers): (Vec<_>, Vec<_>) =
                std::iter::once(first).chain(rest).map(|Request { write, asker }| (write, asker)).unzip();
            let answers = self.commit(&writes).unwrap_or_else(|error| {
                let why = format!("nothing was written: {error}; look after its disk");
                vec![Err(Refusal::Later(why)); writes.len()]
            });
            for (asker, answer) in askers.into_iter().zip(answers) {
                // Whoever went away asks for the status later.
                let _ = asker.send(answer);
            }
        }
    }

    fn commit(&mut self, writes: &[Write]) -> Result<Vec<Answer>> {
        let sql = self.connection.transaction()?;
        let answers = writes.iter().map(|write| carry_out(&sql, write)).collect::<Result<_>>()?;
        sql.commit()?;
        Ok(answers)
    }
}

/// The chain that a file belongs to, by its first block: a new one to this.
fn belongs_to(sql: &Connection, genesis: Digest) -> Result<Digest> {
    let new = "INSERT INTO chain SELECT ? WHERE NOT EXISTS (SELECT 1 FROM chain)";
    sql.execute(new, [genesis.as_bytes()])?;
    sql.query_row("SELECT genesis FROM chain", [], |row| row.get(0).map(Digest))
}

fn carry_out(sql: &Connection, write: &Write) -> Result<Answer> {
    match write {
        Write::Append(entry, at) => return append(sql, entry, *at),
        Write::Cut { count, root } => {
            let from = next_uncut(sql)?;
            let put = "INSERT INTO batch (entries_from, count, root) VALUES (?, ?, ?)";
            sql.prepare_cached(put)?.execute(params![from as i64, count, root.as_bytes()])?;
        }
        Write::Plan { batch, intent } => {
            let bytes = intent.as_ref().map(|intent| &intent.0);
            let put = "UPDATE batch SET plan = ? WHERE number = ?";
            sql.prepare_cached(put)?.execute(params![bytes, *batch as i64])?;
        }
        Write::Stands { batch, place } => {
            let (first, height, at) = (place.first as i64, place.height as i64, place.at.as_millis() as i64);
            let put = "UPDATE batch SET first = ?, height = ?, at = ? WHERE number = ?";
            sql.prepare_cached(put)?.execute(params![first, height, at, *batch as i64])?;
        }
    }
    Ok(Ok(()))
}

fn append(sql: &Connection, entry: &Entry, at: Timestamp) -> Result<Answer> {
    if number_of(sql, entry)?.is_some() {
        return Ok(Ok(()));
    }
    if let Some(why) = objection(sql, entry)? {
        return Ok(Err(Refusal::Rules(why)));
    }
    let number = next_number(sql)?;
    if number - next_uncut(sql)? >= MAX_WAITING {
        return Ok(Err(Refusal::Later(format!("{MAX_WAITING} records wait for a batch already"))));
    }
    let prepares = match entry {
        Entry::Prepared { txid, leg, .. } => Some(place(*txid, *leg)),
        _ => None,
    };
    let put = "INSERT INTO entry VALUES (?, ?, ?, ?)";
    let content = canonical::encode(entry);
    sql.prepare_cached(put)?.execute(params![number as i64, content, prepares, at.as_millis() as i64])?;
    Ok(Ok(()))
}

/// Why the rules do not let this in, if they do not.
pub(super) fn objection(sql: &Connection, entry: &Entry) -> Result<Option<String>> {
    let (txid, leg) = match entry {
        Entry::Prepared { txid, leg, .. } | Entry::Closed { txid, leg, .. } => (*txid, *leg),
        Entry::Note { .. } | Entry::Decided { .. } => return Ok(None),
    };
    let mut is_closed = false;
    for applied in [true, false] {
        is_closed |= number_of(sql, &Entry::Closed { txid, leg, applied })?.is_some();
    }
    let mut query = sql.prepare_cached("SELECT 1 FROM entry WHERE prepares = ? LIMIT 1")?;
    let is_prepared = query.exists([place(txid, leg)])?;
    Ok(entry::objection(entry, |_, _| is_closed, |_, _| is_prepared))
}

fn place(txid: Txid, leg: LegId) -> Vec<u8> {
    [txid.0.as_bytes().as_slice(), &leg.0.to_be_bytes()].concat()
}

/// The number of an entry in this file.
pub(super) fn number_of(sql: &Connection, entry: &Entry) -> Result<Option<u64>> {
    let mut query = sql.prepare_cached("SELECT number FROM entry WHERE content = ?")?;
    query.query_row([canonical::encode(entry)], |row| unsigned(row, 0)).optional()
}

/// The number that the next entry gets.
pub(super) fn next_number(sql: &Connection) -> Result<u64> {
    let mut query = sql.prepare_cached("SELECT coalesce(max(number) + 1, 0) FROM entry")?;
    query.query_row([], |row| unsigned(row, 0))
}

/// The number of the first entry that is in no batch.
pub(super) fn next_uncut(sql: &Connection) -> Result<u64> {
    let newest = "SELECT entries_from + count FROM batch ORDER BY number DESC LIMIT 1";
    let found = sql.prepare_cached(newest)?.query_row([], |row| unsigned(row, 0)).optional()?;
    Ok(found.unwrap_or(0))
}

/// When an entry was taken.
pub(super) fn taken_at(sql: &Connection, number: u64) -> Result<Timestamp> {
    let mut query = sql.prepare_cached("SELECT at FROM entry WHERE number = ?")?;
    query.query_row([number as i64], |row| unsigned(row, 0).map(Timestamp::from_millis))
}

/// The contents of `count` entries, in their order.
pub(super) fn contents(sql: &Connection, from: u64, count: u32) -> Result<Vec<Vec<u8>>> {
    let mut query =
        sql.prepare_cached("SELECT content FROM entry WHERE number >= ? ORDER BY number LIMIT ?")?;
    query.query_map(params![from as i64, count], |row| row.get(0))?.collect()
}

/// The batch that an entry is in.
pub(super) fn batch_of(sql: &Connection, number: u64) -> Result<Option<Kept>> {
    let mut query =
        sql.prepare_cached("SELECT * FROM batch WHERE entries_from <= ? ORDER BY entries_from DESC LIMIT 1")?;
    let found = query.query_row([number as i64], kept).optional()?;
    Ok(found.filter(|batch| number - batch.from < batch.count.into()))
}

/// The final batch that holds the chain's record of this number.
pub(super) fn batch_at(sql: &Connection, record: u64) -> Result<Option<Kept>> {
    let Ok(record) = i64::try_from(record) else { return Ok(None) };
    let mut query =
        sql.prepare_cached("SELECT * FROM batch WHERE first <= ? AND first + count > ? LIMIT 1")?;
    query.query_row([record, record], kept).optional()
}

/// The batches that are not final, oldest first.
pub(super) fn open_batches(sql: &Connection) -> Result<Vec<Kept>> {
    let mut query = sql.prepare_cached("SELECT * FROM batch WHERE first IS NULL ORDER BY number")?;
    query.query_map([], kept)?.collect()
}

fn kept(row: &Row<'_>) -> Result<Kept> {
    let (count, root) = (row.get(2)?, Digest(row.get(3)?));
    let stands = match row.get::<_, Option<i64>>(5)? {
        None => None,
        Some(first) => Some(Batch {
            root,
            count,
            first: first as u64,
            height: unsigned(row, 6)?,
            at: Timestamp::from_millis(unsigned(row, 7)?),
        }),
    };
    let plan = row.get::<_, Option<Vec<u8>>>(4)?.map(Intent);
    Ok(Kept { number: unsigned(row, 0)?, from: unsigned(row, 1)?, count, root, plan, stands })
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (tempfile::TempDir, Writer, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let (writer, reader, _) = Writer::open(&folder.path().join("batches"), Digest::ZERO).unwrap();
        (folder, writer, reader)
    }

    fn append(entry: &Entry) -> Write {
        Write::Append(entry.clone(), Timestamp::from_seconds(1))
    }

    fn cut(count: u32) -> Write {
        Write::Cut { count, root: Digest::ZERO }
    }

    #[test]
    fn what_is_written_together_is_judged_in_its_order() {
        let (_folder, mut writer, reader) = opened();
        let (txid, leg, commitment) = (Txid(Digest([1; 32])), LegId(3), Digest([2; 32]));
        let prepared = Entry::Prepared { txid, leg, commitment };
        let [applied, reverted] = [true, false].map(|applied| Entry::Closed { txid, leg, applied });
        let writes = [&applied, &prepared, &prepared, &applied].map(append);
        let answers = writer.commit(&writes).unwrap();
        assert!(matches!(&answers[0], Err(Refusal::Rules(why)) if why.contains("nothing is prepared")));
        assert_eq!(answers[1..], [Ok(()), Ok(()), Ok(())]);
        assert_eq!(next_number(&reader).unwrap(), 2, "the second prepare is the same entry");
        let late = Entry::Prepared { txid, leg, commitment: Digest([3; 32]) };
        let answers = writer.commit(&[append(&late), append(&reverted)]).unwrap();
        assert!(matches!(&answers[0], Err(Refusal::Rules(why)) if why.contains("closed")));
        assert_eq!(answers[1], Ok(()));
    }

    #[test]
    fn batches_are_ranges_without_a_gap_and_are_found_by_either_number() {
        let (_folder, mut writer, reader) = opened();
        let entry = |n| Entry::Note { topic: Digest([n; 32]), commitment: Digest::ZERO };
        let entries: Vec<_> = (0..5).map(|n| append(&entry(n))).collect();
        writer.commit(&entries).unwrap();
        writer.commit(&[cut(2), cut(1)]).unwrap();
        let open = open_batches(&reader).unwrap();
        assert_eq!(open.iter().map(|batch| (batch.from, batch.count)).collect::<Vec<_>>(), [(0, 2), (2, 1)]);
        let holding = |number| batch_of(&reader, number).unwrap().map(|batch| batch.from);
        assert_eq!([0, 1, 2, 3].map(holding), [Some(0), Some(0), Some(2), None]);
        let place =
            Batch { root: Digest::ZERO, count: 1, first: 70, height: 9, at: Timestamp::from_seconds(5) };
        let (batch, intent) = (open[1].number, Some(Intent(vec![7])));
        writer
            .commit(&[Write::Plan { batch, intent: intent.clone() }, Write::Stands { batch, place }])
            .unwrap();
        assert_eq!(open_batches(&reader).unwrap(), open[..1]);
        let found = batch_at(&reader, 70).unwrap().unwrap();
        assert_eq!((found.stands, found.plan), (Some(place), intent));
        assert!(batch_at(&reader, 71).unwrap().is_none() && batch_at(&reader, 69).unwrap().is_none());
        assert_eq!(contents(&reader, 3, 9).unwrap(), [3, 4].map(|n| canonical::encode(&entry(n))));
    }

    #[test]
    fn more_than_four_full_batches_do_not_wait() {
        let (_folder, mut writer, _reader) = opened();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
            INSERT INTO entry SELECT i, i, NULL, 0 FROM n";
        writer.connection.execute(fill, [MAX_WAITING as i64]).unwrap();
        let late = append(&Entry::Note { topic: Digest::ZERO, commitment: Digest::ZERO });
        let answers = writer.commit(std::slice::from_ref(&late)).unwrap();
        assert!(matches!(&answers[0], Err(Refusal::Later(why)) if why.contains("wait for a batch")));
        writer.commit(&[cut(1)]).unwrap();
        assert_eq!(writer.commit(&[late]).unwrap(), [Ok(())]);
    }

    #[test]
    fn one_writer_and_no_other_programs_file() {
        let (folder, _writer, _reader) = opened();
        let again = Writer::open(&folder.path().join("batches"), Digest::ZERO).err().unwrap();
        assert!(matches!(again, Fault::InUse), "{again:?}");
        let foreign = folder.path().join("foreign");
        Connection::open(&foreign).unwrap().execute("CREATE TABLE t (x)", []).unwrap();
        let error = Writer::open(&foreign, Digest::ZERO).err().unwrap();
        assert!(matches!(&error, Fault::Foreign(what) if what.contains("table t")), "{error:?}");
    }
}
