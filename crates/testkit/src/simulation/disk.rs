//! A node's disk: the journal's own tables in memory, which outlive a crash, and a crash at any write.

use sofie_model::canonical;
use sofie_node::journal::{Entry, List, Sqlite, Store};
use sofie_transaction::Input;

use super::dice::Dice;
use super::life::{Life, Step};
use super::mutant::Mutant;
use super::scenario::Moment;

/// The longest time of one durable write, in milliseconds.
const SLOWEST_WRITE: u64 = 15;
/// A disk that answers early keeps so many lists in its cache.
const CACHE: usize = 4;

/// The store of one run.
pub(super) struct Disk {
    tables: Sqlite,
    life: Life,
    dice: Dice,
    /// Told to be durable, and not yet so: only a mutant's disk has any.
    cache: Vec<List>,
}

impl Disk {
    pub(super) fn new(tables: Sqlite, life: Life, dice: Dice) -> Self {
        Self { tables, life, dice, cache: Vec::new() }
    }

    /// The node must stop now: what it holds in memory is more than what it has kept.
    fn refuse(&self, what: &str) -> Result<(), String> {
        self.life.log(|| what.to_owned());
        if self.life.world.mutant == Some(Mutant::DeafToDisk) {
            return Ok(());
        }
        self.life.world.fail(&self.life);
        Err("the disk takes nothing, says the seed".into())
    }

    fn keep(&mut self, group: &[List]) -> Result<(), String> {
        match self.life.world.mutant {
            Some(Mutant::NoFsync) => {
                self.cache.extend_from_slice(group);
                let over = self.cache.len().saturating_sub(CACHE);
                let old: Vec<List> = self.cache.drain(..over).collect();
                self.tables.write(&old)
            }
            Some(Mutant::TornWrite) => {
                let each =
                    |list: &List| list.entries.iter().map(|e| (e.clone(), list.now)).collect::<Vec<_>>();
                group
                    .iter()
                    .flat_map(each)
                    .try_for_each(|(entry, now)| self.tables.write(&[List { entries: vec![entry], now }]))
            }
            _ => self.tables.write(group),
        }
    }
}

impl Store for Disk {
    async fn write(&mut self, group: &[List]) -> Result<(), String> {
        self.life.alive().await;
        if self.life.world.has_failed(&self.life) {
            let what = format!("node {} writes on after its disk has refused a write", self.life.node);
            self.life.world.violate("P4", what);
        }
        let crash = self.life.step(Step::Write);
        let takes = self.dice.between(1, SLOWEST_WRITE);
        self.life.takes(takes).await;
        if let Some(Moment::BeforeWrite(nth)) = crash {
            if self.life.world.mutant == Some(Mutant::TornWrite) {
                let halves = group.iter().map(|list| {
                    let half = list.entries.len().div_ceil(2);
                    List { entries: list.entries[..half].to_vec(), now: list.now }
                });
                self.tables.write(&halves.collect::<Vec<_>>())?;
            }
            self.life.die(&format!("dies before write {nth} is durable: {}", told(group))).await;
        }
        if let Some(Moment::RefusedWrite(nth)) = crash {
            return self.refuse(&format!("write {nth} is refused by the disk: {}", told(group)));
        }
        self.keep(group)?;
        self.life.log(|| format!("journal: {}", told(group)));
        for list in group {
            list.entries.iter().for_each(|entry| self.life.world.journaled(&self.life, entry, list.now));
        }
        if let Some(Moment::AfterWrite(nth)) = crash {
            self.life.die(&format!("dies after write {nth} is durable, before anyone is told")).await;
        }
        if let Some(Moment::UnsureWrite(nth)) = crash {
            return self.refuse(&format!("write {nth} is durable, and the disk says that it is not"));
        }
        Ok(())
    }
}

fn told(group: &[List]) -> String {
    let entries = group.iter().flat_map(|list| &list.entries).filter_map(tell);
    entries.collect::<Vec<_>>().join(", ")
}

fn tell(entry: &Entry) -> Option<String> {
    let short = |id: &sofie_model::Digest| id.to_string().chars().take(6).collect::<String>();
    Some(match entry {
        Entry::Begun { id, .. } => format!("begun {}", short(id)),
        Entry::Input { id, seq, input, .. } => format!("{} input {seq} {}", short(id), said(input)),
        Entry::Ended { id, .. } => format!("ended {}", short(id)),
        Entry::Reopened { id, .. } => format!("reopened {}", short(id)),
        Entry::Intent { id, task, ledger, .. } => format!("intent {} {task} on {ledger}", short(id)),
        Entry::Spent { id, task } => format!("{} spent {task}", short(id)),
        Entry::Audit { .. } => return None,
        Entry::Fact { group, key, .. } => format!("fact {group} {key}"),
    })
}

/// A journaled input in a few words.
fn said(bytes: &[u8]) -> String {
    match canonical::decode::<Input>(bytes, bytes.len()) {
        Ok(Input::Prepared(leg, _)) => format!("prepared {leg}"),
        Ok(Input::PrepareRefused(leg, why)) => format!("prepare-refused {leg}: {why}"),
        Ok(Input::Released(who, _)) => format!("released by participant {who}"),
        Ok(Input::Decided(evidence)) => format!("decided {}", super::words::fact_words(&evidence.fact)),
        Ok(Input::Closed(leg, evidence)) => {
            format!("closed {leg}: {}", super::words::fact_words(&evidence.fact))
        }
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("{error}"),
    }
}
