//! The chain on disk: SQLite in WAL mode with `synchronous=FULL`, one SQLite transaction a block. What was answered is
//! on the disk; after a crash the file holds whole blocks only.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::Decodable;
use revm::bytecode::Bytecode;
use revm::state::AccountInfo;
use rusqlite::{Connection, params};

use super::execute::Ran;
use super::world::{BLOCK_HASHES, Changes, World};
use crate::sqlite::{self, Fault, Identity};

/// What the file says that it is: "SEVM", with the schema below.
const IDENTITY: Identity = Identity { application: 0x5345_564d, version: 1, schema: SCHEMA };

/// The writer's page cache in KiB: keys are hashes, so that a block touches pages all over the file.
const CACHE_KIB: i64 = 65_536;
/// Pages in the write-ahead log before they are moved into the file: seldom, since each time waits for the disk twice.
const CHECKPOINT_PAGES: i64 = 8_000;

const SCHEMA: &str = "
    CREATE TABLE block (number INTEGER PRIMARY KEY, hash BLOB NOT NULL, header BLOB NOT NULL);
    CREATE TABLE tx (block INTEGER NOT NULL, place INTEGER NOT NULL, hash BLOB NOT NULL, sender BLOB NOT NULL,
        success INTEGER NOT NULL, envelope BLOB NOT NULL, receipt BLOB NOT NULL, PRIMARY KEY (block, place)) WITHOUT ROWID;
    CREATE UNIQUE INDEX tx_hash ON tx (hash);
    CREATE TABLE log (topic BLOB NOT NULL, contract BLOB NOT NULL, block INTEGER NOT NULL, place INTEGER NOT NULL,
        log INTEGER NOT NULL, PRIMARY KEY (topic, contract, block, place, log)) WITHOUT ROWID;
    CREATE TABLE account (address BLOB PRIMARY KEY, balance BLOB NOT NULL, nonce INTEGER NOT NULL,
        code_hash BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE slot (address BLOB NOT NULL, slot BLOB NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (address, slot)) WITHOUT ROWID;
    CREATE TABLE code (hash BLOB PRIMARY KEY, code BLOB NOT NULL);
";

/// Why an embedded chain could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another ledger of this one, has it open.
    #[error("chain file {} is in use: stop the node that runs on it, or name another file", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is not a chain of this program.
    #[error("{} is not a chain file of this version ({what}): name another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// It was a chain, and is damaged.
    #[error("chain file {} is damaged ({what}): restore it from a backup, or start a new chain in another file", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// Its first block is not the one that the configuration asks for.
    #[error("chain file {} began with block {got}, the configuration's chain id and balances make {expected}: restore them, or name another file", path.display())]
    OtherGenesis {
        /// The file.
        path: PathBuf,
        /// The configured genesis block's hash.
        expected: B256,
        /// The stored one's.
        got: B256,
    },
    /// The disk or the operating system refuses.
    #[error("chain file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

/// A new block, for the disk.
pub(super) struct NewBlock<'a> {
    pub(super) header: &'a Header,
    pub(super) hash: B256,
    pub(super) transactions: &'a [Ran],
    pub(super) changes: &'a Changes,
}

/// The one who writes.
pub(super) struct Store {
    path: PathBuf,
    connection: Connection,
    /// Locked as long as the store is open, so that no second process writes; holds the last block's number and hash,
    /// so that a chain which lost its end (SQLite drops what follows a damaged frame of its log) is noticed.
    beside: File,
}

impl Store {
    /// Opens or creates the file, and reads the state from it; `None` for a new one.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<World>), OpenError> {
        let beside = sqlite::lock(path, "-head").map_err(|error| refused(path, error))?;
        let fault = |error| fault(path, error);
        let mut connection = sqlite::connect(path).map_err(fault)?;
        let is_new = sqlite::identify(&mut connection, &IDENTITY).map_err(|error| refused(path, error))?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(fault)?;
        let pages = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        connection
            .pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, pages)
            .map_err(fault)?;
        let store = Self { path: path.into(), connection, beside };
        let world = if is_new { None } else { store.load()? };
        store.check_end(world.as_ref())?;
        Ok((store, world))
    }

    /// A second connection to the same file, for the readers.
    pub(super) fn reader(&self) -> Result<Connection, OpenError> {
        sqlite::connect(&self.path).map_err(|error| fault(&self.path, error))
    }

    /// Writes a block: all of it or nothing.
    pub(super) fn append(&mut self, block: &NewBlock<'_>) -> rusqlite::Result<()> {
        let sql = self.connection.transaction()?;
        let number = block.header.number as i64;
        sql.prepare_cached("INSERT INTO block VALUES (?, ?, ?)")?.execute(params![
            number,
            block.hash.as_slice(),
            alloy_rlp::encode(block.header)
        ])?;
        {
            let mut tx = sql.prepare_cached("INSERT INTO tx VALUES (?, ?, ?, ?, ?, ?, ?)")?;
            let mut log = sql.prepare_cached("INSERT INTO log VALUES (?, ?, ?, ?, ?)")?;
            for (place, ran) in (0_i64..).zip(block.transactions) {
                let signed = &ran.signed;
                tx.execute(params![
                    number,
                    place,
                    signed.hash.as_slice(),
                    signed.sender.as_slice(),
                    ran.success,
                    &signed.raw[..],
                    &ran.receipt[..]
                ])?;
                for (at, entry) in (0_i64..).zip(&ran.logs) {
                    if let Some(topic) = entry.topics().get(1) {
                        let contract = entry.address.as_slice();
                        log.execute(params![topic.as_slice(), contract, number, place, at])?;
                    }
                }
            }
        }
        write_state(&sql, block.changes)?;
        sql.commit()?;
        if let Err(error) = self.mark(block.header.number, block.hash) {
            tracing::warn!(%error, "the note of the last block is not written: a lost end may go unnoticed");
        }
        Ok(())
    }

    /// Notes the last block. Not synced: at worst the note is older than the chain.
    fn mark(&self, number: u64, hash: B256) -> std::io::Result<()> {
        let mut file = &self.beside;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[number.to_be_bytes().as_slice(), hash.as_slice()].concat())
    }

    fn check_end(&self, world: Option<&World>) -> Result<(), OpenError> {
        let mut note = [0; 40];
        let mut file = &self.beside;
        if file.seek(SeekFrom::Start(0)).and_then(|_| file.read_exact(&mut note)).is_err() {
            return Ok(()); // A file that was copied without its note.
        }
        let (number, hash) = note.split_at(8);
        let number = number.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let head = world.map_or(0, |world| world.head.number);
        let is_there = match (world, head.cmp(&number)) {
            (Some(world), std::cmp::Ordering::Equal) => world.head_hash() == hash,
            (Some(_), std::cmp::Ordering::Greater) => true,
            _ => false,
        };
        if is_there {
            return Ok(());
        }
        let what = format!("it ends with block {head}, but block {number} was written");
        Err(OpenError::Corrupt { path: self.path.clone(), what })
    }

    fn load(&self) -> Result<Option<World>, OpenError> {
        let fault = |error| fault(&self.path, error);
        let corrupt = |what: String| OpenError::Corrupt { path: self.path.clone(), what };
        let mut world = World::empty();
        let headers = self.newest_headers().map_err(fault)?;
        for (bytes, hash) in headers {
            let header = Header::decode(&mut &bytes[..]).map_err(|e| corrupt(format!("a header: {e}")))?;
            let fits = keccak256(&bytes) == hash
                && (world.hashes.is_empty()
                    || header.parent_hash == world.head_hash() && header.number == world.head.number + 1);
            if !fits {
                return Err(corrupt(format!("block {} does not follow its parent", header.number)));
            }
            world.head = header;
            world.remember(hash);
        }
        if world.hashes.is_empty() {
            return Ok(None);
        }
        let (head, hash) = (world.head.clone(), world.head_hash());
        world.hashes.pop_back();
        let state = self.state().map_err(fault)?;
        if let Some(hash) = state.code.iter().find(|(hash, code)| code.hash_slow() != **hash).map(|one| one.0)
        {
            return Err(corrupt(format!("code {hash}")));
        }
        let (sum, root) = world.state_digest(&state);
        if root != head.state_root {
            return Err(corrupt(format!("the state is not that of block {}", head.number)));
        }
        world.apply(state, sum, head, hash);
        Ok(Some(world))
    }

    fn newest_headers(&self) -> rusqlite::Result<Vec<(Vec<u8>, B256)>> {
        let mut query = self.connection.prepare(
            "SELECT header, hash FROM (SELECT * FROM block ORDER BY number DESC LIMIT ?) ORDER BY number",
        )?;
        let rows = query.query_map([BLOCK_HASHES as i64], |row| Ok((row.get(0)?, B256::new(row.get(1)?))))?;
        rows.collect()
    }

    fn state(&self) -> rusqlite::Result<Changes> {
        let mut state = Changes::default();
        let mut query = self.connection.prepare("SELECT address, balance, nonce, code_hash FROM account")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let info = AccountInfo {
                balance: U256::from_be_bytes::<32>(row.get(1)?),
                nonce: row.get::<_, i64>(2)? as u64,
                code_hash: B256::new(row.get(3)?),
                code: None,
                account_id: None,
            };
            state.accounts.insert(Address::new(row.get(0)?), Some(info));
        }
        let mut query = self.connection.prepare("SELECT address, slot, value FROM slot")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let place = (Address::new(row.get(0)?), U256::from_be_bytes::<32>(row.get(1)?));
            state.slots.insert(place, U256::from_be_bytes::<32>(row.get(2)?));
        }
        let mut query = self.connection.prepare("SELECT hash, code FROM code")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let code = Bytecode::new_raw(Bytes::from(row.get::<_, Vec<u8>>(1)?));
            state.code.insert(B256::new(row.get(0)?), code);
        }
        Ok(state)
    }
}

fn write_state(sql: &Connection, changes: &Changes) -> rusqlite::Result<()> {
    let mut put = sql.prepare_cached("INSERT OR REPLACE INTO account VALUES (?, ?, ?, ?)")?;
    let mut remove = sql.prepare_cached("DELETE FROM account WHERE address = ?")?;
    for (address, after) in &changes.accounts {
        match after {
            Some(info) => put.execute(params![
                address.as_slice(),
                info.balance.to_be_bytes::<32>(),
                info.nonce as i64,
                info.code_hash.as_slice()
            ])?,
            None => remove.execute([address.as_slice()])?,
        };
    }
    let mut put = sql.prepare_cached("INSERT OR REPLACE INTO slot VALUES (?, ?, ?)")?;
    let mut clear = sql.prepare_cached("DELETE FROM slot WHERE address = ? AND slot = ?")?;
    for ((address, slot), value) in &changes.slots {
        let slot = slot.to_be_bytes::<32>();
        if value.is_zero() {
            clear.execute(params![address.as_slice(), slot])?;
        } else {
            put.execute(params![address.as_slice(), slot, value.to_be_bytes::<32>()])?;
        }
    }
    let mut put = sql.prepare_cached("INSERT OR REPLACE INTO code VALUES (?, ?)")?;
    for (hash, code) in &changes.code {
        put.execute(params![hash.as_slice(), &code.original_bytes()[..]])?;
    }
    Ok(())
}

fn fault(path: &Path, error: rusqlite::Error) -> OpenError {
    refused(path, error.into())
}

fn refused(path: &Path, fault: Fault) -> OpenError {
    let path = path.to_owned();
    match fault {
        Fault::InUse => OpenError::InUse { path },
        Fault::Foreign(what) => OpenError::Foreign { path, what },
        Fault::Corrupt(what) => OpenError::Corrupt { path, what },
        Fault::Io(source) => OpenError::Io { path, source: source.into() },
    }
}
