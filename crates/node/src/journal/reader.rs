//! Reads a journal: for replay, and for answers to questions. Every value is checked against its checksum.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, params};
use sofie_model::{Digest, Timestamp};

use super::{Intended, JournalError, Machine, Record, schema, seal};

/// Reads a journal, also one that another process is writing.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

/// A machine's row: id, sealed plan, whether it ended.
type Begun = (Vec<u8>, Vec<u8>, bool);

impl Reader {
    /// Opens the journal at `path` to read it.
    ///
    /// # Errors
    /// [`JournalError::Open`] when there is none; [`JournalError::Older`], [`JournalError::Newer`].
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let reader = Self::of_any_format(path)?;
        match schema::format(&reader.connection, path)? {
            // One that a node is just making.
            0 | schema::FORMAT => Ok(reader),
            found => Err(schema::other_format(path, found)),
        }
    }

    /// Opens the journal at `path`, whichever format it has: the tables are the same in all, what is in them may not be.
    ///
    /// # Errors
    /// [`JournalError::Open`] when there is none.
    pub(crate) fn of_any_format(path: &Path) -> Result<Self, JournalError> {
        Ok(Self::over(schema::open_to_read(path)?, path))
    }

    /// Reads by a connection that is open already.
    pub(super) fn over(connection: Connection, path: &Path) -> Self {
        Self { connection, path: path.to_owned() }
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Every machine of a kind, the oldest first; only the unfinished ones when `ended` is false.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn machines(&self, machine: Machine, ended: bool) -> Result<Vec<Record>, JournalError> {
        let sql = "SELECT id, plan, ended FROM machines WHERE kind = ?1 AND (ended = 0 OR ?2) ORDER BY rowid";
        let rows = self.rows(sql, params![machine as u8, ended], begun)?;
        rows.into_iter().map(|row| self.record(machine, row)).collect()
    }

    /// The places of unfinished machines of a kind in the journal and their ids, at most `limit` of them, the oldest first,
    /// after the place `after`.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn unfinished(
        &self,
        machine: Machine,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Digest)>, JournalError> {
        let sql = "SELECT rowid, id FROM machines WHERE kind = ?1 AND ended = 0 AND rowid > ?2 ORDER BY rowid LIMIT ?3";
        let rows: Vec<(i64, Vec<u8>)> =
            self.rows(sql, params![machine as u8, after, limit], |r| Ok((r.get(0)?, r.get(1)?)))?;
        rows.into_iter().map(|(place, id)| Ok((place, self.digest(&id)?))).collect()
    }

    /// Where a machine stands in the journal.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub fn place(&self, machine: Machine, id: Digest) -> Result<Option<i64>, JournalError> {
        let sql = "SELECT rowid FROM machines WHERE kind = ?1 AND id = ?2";
        Ok(self.rows(sql, params![machine as u8, id.as_bytes()], |r| r.get(0))?.pop())
    }

    /// The plan of a machine, without its inputs.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn begun(&self, machine: Machine, id: Digest) -> Result<Option<Record>, JournalError> {
        let sql = "SELECT id, plan, ended FROM machines WHERE kind = ?1 AND id = ?2";
        let row = self.rows(sql, params![machine as u8, id.as_bytes()], begun)?.pop();
        row.map(|row| self.plan(machine, row)).transpose()
    }

    /// The newest machines of a kind, at most `limit`, the newest first.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn newest(&self, machine: Machine, limit: u32) -> Result<Vec<Record>, JournalError> {
        let sql = "SELECT id, plan, ended FROM machines WHERE kind = ?1 ORDER BY rowid DESC LIMIT ?2";
        let rows = self.rows(sql, params![machine as u8, limit], begun)?;
        rows.into_iter().map(|row| self.record(machine, row)).collect()
    }

    /// One machine.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn machine(&self, machine: Machine, id: Digest) -> Result<Option<Record>, JournalError> {
        let sql = "SELECT id, plan, ended FROM machines WHERE kind = ?1 AND id = ?2";
        let row = self.rows(sql, params![machine as u8, id.as_bytes()], begun)?.pop();
        row.map(|row| self.record(machine, row)).transpose()
    }

    /// The intents of unfinished work, in the order in which they were fixed.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn intents(&self) -> Result<Vec<Intended>, JournalError> {
        self.intended("SELECT id, task, ledger, bytes FROM intents ORDER BY rowid", [])
    }

    /// The bytes that were fixed for one operation of an unfinished machine.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn intent(&self, id: Digest, task: &str) -> Result<Option<Vec<u8>>, JournalError> {
        let sql = "SELECT id, task, ledger, bytes FROM intents WHERE id = ?1 AND task = ?2";
        Ok(self.intended(sql, params![id.as_bytes(), task])?.pop().map(|intended| intended.bytes))
    }

    fn intended(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Intended>, JournalError> {
        let rows = self.rows(sql, params, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))?;
        let intended = |(id, task, ledger, sealed): (Vec<u8>, String, String, Vec<u8>)| {
            let place: [&[u8]; 4] = [b"intent", &id, task.as_bytes(), ledger.as_bytes()];
            let bytes = self.unseal(&place, sealed)?;
            Ok(Intended { id: self.digest(&id)?, task, ledger, bytes })
        };
        rows.into_iter().map(intended).collect()
    }

    /// All audit records, in order.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn audit(&self) -> Result<Vec<Vec<u8>>, JournalError> {
        self.records("SELECT seq, subject, record FROM audit ORDER BY seq", [])
    }

    /// The audit records from place `first` on, in order, at most `limit`.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn audit_from(&self, first: u64, limit: u32) -> Result<Vec<Vec<u8>>, JournalError> {
        let sql = "SELECT seq, subject, record FROM audit WHERE seq >= ?1 ORDER BY seq LIMIT ?2";
        self.records(sql, params![i64::try_from(first).unwrap_or(i64::MAX), limit])
    }

    /// The audit records about one subject, in order.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn audit_of(&self, subject: Digest) -> Result<Vec<Vec<u8>>, JournalError> {
        let sql = "SELECT seq, subject, record FROM audit WHERE subject = ?1 ORDER BY seq";
        self.records(sql, [subject.as_bytes()])
    }

    /// The newest audit record: the chain's head.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn audit_head(&self) -> Result<Option<Vec<u8>>, JournalError> {
        Ok(self.records("SELECT seq, subject, record FROM audit ORDER BY seq DESC LIMIT 1", [])?.pop())
    }

    /// The facts of a group, by key.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn facts(&self, group: &str) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        let sql = "SELECT key, value FROM facts WHERE grp = ?1 ORDER BY key";
        let rows: Vec<(String, Vec<u8>)> = self.rows(sql, [group], |r| Ok((r.get(0)?, r.get(1)?)))?;
        rows.into_iter()
            .map(|(key, value)| Ok((key.clone(), self.unseal_fact(group, &key, value)?)))
            .collect()
    }

    /// One fact of a group.
    ///
    /// # Errors
    /// [`JournalError::Read`], [`JournalError::Corrupt`].
    pub fn fact(&self, group: &str, key: &str) -> Result<Option<Vec<u8>>, JournalError> {
        let sql = "SELECT value FROM facts WHERE grp = ?1 AND key = ?2";
        let found = self.rows(sql, [group, key], |r| r.get(0))?.pop();
        found.map(|value| self.unseal_fact(group, key, value)).transpose()
    }

    /// When the journal was last written; the clock must not be behind it.
    ///
    /// # Errors
    /// [`JournalError::Read`].
    pub fn last_written(&self) -> Result<Option<Timestamp>, JournalError> {
        let newest: Option<i64> = self.rows("SELECT max(at) FROM inputs", [], |r| r.get(0))?.pop().flatten();
        Ok(newest.map(instant))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn plan(&self, machine: Machine, (id, plan, ended): Begun) -> Result<Record, JournalError> {
        let plan = self.unseal(&[b"begun", &[machine as u8], &id], plan)?;
        Ok(Record { id: self.digest(&id)?, plan, inputs: Vec::new(), ended, journal: self.path.clone() })
    }

    fn record(&self, machine: Machine, row: Begun) -> Result<Record, JournalError> {
        let kind = [machine as u8];
        let id = row.0.clone();
        let mut record = self.plan(machine, row)?;
        let sql = "SELECT seq, at, bytes FROM inputs WHERE kind = ?1 AND id = ?2 ORDER BY seq";
        let rows: Vec<(i64, i64, Vec<u8>)> =
            self.rows(sql, params![machine as u8, id], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
        record.inputs.reserve(rows.len());
        for (expected, (seq, at, sealed)) in (0..).zip(rows) {
            if seq != expected {
                return Err(self.corrupt(format!("input {expected} of {} is missing", hex::encode(&id))));
            }
            let place: [&[u8]; 5] = [b"input", &kind, &id, &seq.to_be_bytes(), &at.to_be_bytes()];
            record.inputs.push((self.unseal(&place, sealed)?, instant(at)));
        }
        Ok(record)
    }

    fn records(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Vec<u8>>, JournalError> {
        let rows: Vec<(i64, Vec<u8>, Vec<u8>)> =
            self.rows(sql, params, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
        let record = |(seq, subject, sealed): (i64, Vec<u8>, Vec<u8>)| {
            self.unseal(&[b"audit", &seq.to_be_bytes(), &subject], sealed)
        };
        rows.into_iter().map(record).collect()
    }

    fn unseal_fact(&self, group: &str, key: &str, sealed: Vec<u8>) -> Result<Vec<u8>, JournalError> {
        self.unseal(&[b"fact", group.as_bytes(), key.as_bytes()], sealed)
    }

    fn unseal(&self, place: &[&[u8]], sealed: Vec<u8>) -> Result<Vec<u8>, JournalError> {
        seal::open(place, sealed).ok_or_else(|| {
            let table = place.first().map(|name| String::from_utf8_lossy(name)).unwrap_or_default();
            self.corrupt(format!("the checksum of an entry of kind {table} does not hold"))
        })
    }

    fn digest(&self, bytes: &[u8]) -> Result<Digest, JournalError> {
        let bytes: [u8; 32] =
            bytes.try_into().map_err(|_| self.corrupt(format!("an id of {} bytes", bytes.len())))?;
        Ok(Digest(bytes))
    }

    fn corrupt(&self, what: String) -> JournalError {
        JournalError::Corrupt { path: self.path.clone(), what }
    }

    fn rows<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, JournalError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(params, read)?.collect())
            .map_err(|source| schema::read_failure(&self.path, source))
    }
}

fn begun(row: &Row<'_>) -> rusqlite::Result<Begun> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or_default())
}
