//! A node's data and configuration, from an older version's to this one's (docs/adr/0036-migration.md).
//!
//! In this order: the journal is changed in one SQLite transaction and read as a node would read it; a backup is made of what
//! is still on the disk; the transaction is committed; the configuration takes its file's place by one rename. A crash leaves
//! each part old or new, never between, and either goes with the other: the next run does what is left. The embedded
//! ledgers' stores have had one form each so far, and refuse another by name.

mod error;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sofie_model::Timestamp;
use sofie_transaction::State;

use crate::backup;
use crate::config::{Config, VERSION, Versioned};
use crate::contracts::{self, Driven};
use crate::drive::Machine;
use crate::events;
use crate::journal::{Entry, FORMAT, JournalError, Older, Reader};
use crate::peers::{held_proposals, proposals_of_form_1};
use crate::runtime::journal_in;
use crate::transactions;

pub use error::MigrateError;

/// From one format of the journal to the next.
struct Step {
    from: i64,
    changes: fn(&Reader, &Config) -> Result<Vec<Change>, JournalError>,
}

/// All of them, in order: the next one is an entry here.
const STEPS: [Step; 1] = [Step { from: 1, changes: proposals_of_form_1::changes }];

/// What a step does to one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// For a person.
    pub(crate) what: String,
    /// What is written in place of what was there.
    pub(crate) entries: Vec<Entry>,
}

/// How many backups that were made before a migration may lie beside a node.
const MAX_BACKUPS: u32 = 99;

/// What is brought to this version, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The journal's format; `None` where there is no journal yet.
    pub journal: Option<Moved>,
    /// The configuration's version.
    pub configuration: Moved,
    /// Where the node as it was is; `None` when nothing was changed.
    pub backup: Option<PathBuf>,
}

/// One part of a node, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// As it was.
    pub from: u64,
    /// As this program writes it.
    pub to: u64,
    /// What changes besides the number.
    pub changes: Vec<String>,
}

impl Moved {
    /// Whether there is anything to do.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        self.from != self.to
    }
}

impl Report {
    /// Whether there is anything to do.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.configuration.is_due() || self.journal.as_ref().is_some_and(Moved::is_due)
    }
}

/// Where a migration is; what is on the disk then is what a crash there would leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The journal is changed in an open transaction.
    Changed,
    /// The backup is there.
    BackedUp,
    /// The journal is the new one.
    Journaled,
    /// The new configuration is written beside the old one.
    Drafted,
    /// All is done.
    Done,
}

/// What [`migrate`] would do, tried out and taken back. The node must be down.
///
/// # Errors
/// [`MigrateError`].
pub fn check(config: &Config, config_file: &Path) -> Result<Report, MigrateError> {
    Migration::begin(config, config_file).map(|begun| begun.report)
}

/// Brings the node of `config`, which `config_file` holds, to this program's version. The node must be down. A backup is made
/// at `into`, or beside its `data_dir`. `at` is told each [`Point`] once it is reached.
///
/// # Errors
/// [`MigrateError`]; what was there is there still, or is already new: another run does the rest.
pub fn migrate(
    config: &Config,
    config_file: &Path,
    into: Option<&Path>,
    now: Timestamp,
    mut at: impl FnMut(Point),
) -> Result<Report, MigrateError> {
    let Migration { mut report, older, text } = Migration::begin(config, config_file)?;
    if !report.is_due() {
        return Ok(report);
    }
    at(Point::Changed);
    if report.journal.is_some() {
        let into = into.map_or_else(|| beside(&config.node.data_dir), |into| Ok(into.to_owned()))?;
        backup::backup(config, config_file, &into, now)?;
        report.backup = Some(into);
        at(Point::BackedUp);
    }
    if let Some(older) = older {
        older.commit()?;
        at(Point::Journaled);
    }
    if let Some(text) = text {
        replace(config_file, &text, || at(Point::Drafted))
            .map_err(|source| MigrateError::Unwritten { file: config_file.to_owned(), source })?;
    }
    at(Point::Done);
    Ok(report)
}

/// Brings a journal that no node has open to this program's format.
///
/// # Errors
/// [`JournalError`]: it is as it was.
pub(crate) fn journal(path: &Path, config: &Config) -> Result<(), JournalError> {
    match Older::open(path)? {
        Some(older) => change(&older, config).and_then(|_| older.commit()),
        None => Ok(()),
    }
}

/// What is to be done, not yet durable.
struct Migration {
    report: Report,
    older: Option<Older>,
    /// The configuration's new text, when it is another.
    text: Option<String>,
}

impl Migration {
    fn begin(config: &Config, config_file: &Path) -> Result<Self, MigrateError> {
        let (configuration, text) = configuration(config, config_file)?;
        let path = journal_in(&config.node.data_dir);
        let older = if path.exists() { Older::open(&path)? } else { None };
        let moved = |from: i64, changes| Moved { from: number(from), to: number(FORMAT), changes };
        let journal = match &older {
            Some(older) => Some(moved(older.format(), change(older, config)?)),
            None => path.exists().then(|| moved(FORMAT, Vec::new())),
        };
        Ok(Self { report: Report { journal, configuration, backup: None }, older, text })
    }
}

/// Takes every step, then reads the whole as a node would.
fn change(older: &Older, config: &Config) -> Result<Vec<String>, JournalError> {
    let mut told = Vec::new();
    for step in STEPS.iter().filter(|step| step.from >= older.format()) {
        for change in (step.changes)(older.reader(), config).map_err(foreign)? {
            change.entries.iter().try_for_each(|entry| older.put(entry))?;
            told.push(change.what);
        }
    }
    read(older.reader()).map_err(foreign)?;
    Ok(told)
}

/// In a journal of an older format, what does not decode is older still.
fn foreign(error: JournalError) -> JournalError {
    match error {
        JournalError::Corrupt { path, what } => JournalError::Foreign { path, what },
        error => error,
    }
}

/// Everything that a node reads of its journal at its start or when it is asked.
fn read(journal: &Reader) -> Result<(), JournalError> {
    for record in journal.machines(State::KIND, true)? {
        transactions::replay(&record)?;
    }
    for record in journal.machines(Driven::KIND, true)? {
        contracts::replay(&record)?;
    }
    held_proposals(journal)?;
    journal.intents()?;
    let mut next = 0;
    while let Some(last) = events::records(journal, next)?.pop() {
        next = last.seq + 1;
    }
    Ok(())
}

/// How the configuration changes, and its new text. That must say what the old one says.
fn configuration(config: &Config, file: &Path) -> Result<(Moved, Option<String>), MigrateError> {
    let text = Config::text(file)?;
    let odd = |what: String| MigrateError::Configuration { file: file.to_owned(), what };
    let versioned = Versioned::of(&text).map_err(|fault| odd(fault.message))?;
    let changes = versioned.outdated.iter().map(|fault| fault.shown(file)).collect();
    let moved = Moved { from: versioned.version, to: VERSION, changes };
    if !moved.is_due() {
        return Ok((moved, None));
    }
    let new = versioned.written();
    let same = Config { outdated: Vec::new(), ..config.clone() };
    if Config::parse(&new, file)? != same {
        return Err(odd(
            "its new text would not say the same; write version = 2 and the new names by hand".into()
        ));
    }
    Ok((moved, Some(new)))
}

/// A folder for the backup that is not there yet.
fn beside(data_dir: &Path) -> Result<PathBuf, MigrateError> {
    let name = data_dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = |number| match number {
        1 => data_dir.with_file_name(format!("{name}.before-{FORMAT}")),
        number => data_dir.with_file_name(format!("{name}.before-{FORMAT}-{number}")),
    };
    let free = (1..=MAX_BACKUPS).map(numbered).find(|folder| !folder.exists());
    free.ok_or_else(|| MigrateError::Backups { folder: data_dir.to_owned() })
}

/// The file has the new text or the old one, whatever happens; its rights and a link to it stay.
fn replace(file: &Path, text: &str, drafted: impl FnOnce()) -> io::Result<()> {
    let file = fs::canonicalize(file)?;
    let draft = file.with_extension("toml.new");
    let mut opened = File::create(&draft)?;
    opened.set_permissions(fs::metadata(&file)?.permissions())?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()?;
    drafted();
    fs::rename(&draft, &file)?;
    File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Formats are small and positive.
fn number(format: i64) -> u64 {
    u64::try_from(format).unwrap_or_default()
}
