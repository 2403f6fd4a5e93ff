//! A journal with one unfinished transaction is backed up and put back: its secrets are of another epoch, and it is
//! marked.

use std::fs;
use std::path::Path;

use sofie_model::{Digest, Timestamp};

use super::{BackupError, backup, restore};
use crate::config::Config;
use crate::journal::{Entry, List, Machine, Reader, Sqlite};
use crate::parties::{Parties, preimage};
use crate::restored::Restored;
use crate::runtime::journal_in;

const UNFINISHED: Digest = Digest([7; 32]);
const ENDED: Digest = Digest([8; 32]);

fn config(folder: &Path) -> Config {
    let text = "[[party]]\nname = \"operator\"\n\n[[ledger]]\nid = \"calendar\"\nkind = \"calendar\"\n";
    let file = folder.join("sofie.toml");
    fs::create_dir_all(folder).unwrap();
    fs::write(&file, text).unwrap();
    Config::parse(text, &file).unwrap()
}

/// A node's folder, as its journal and keys are after a crash.
fn node(folder: &Path) -> Config {
    let config = config(folder);
    Parties::load(&config).unwrap();
    let begun = |id| Entry::Begun { machine: Machine::Transaction, id, plan: vec![1, 2, 3] };
    let ended = Entry::Ended { machine: Machine::Transaction, id: ENDED };
    let waiting = Entry::Fact { group: crate::peers::PROPOSALS, key: UNFINISHED.to_string(), value: vec![1] };
    let entries = vec![begun(UNFINISHED), begun(ENDED), ended, waiting];
    let mut journal = Sqlite::open(&journal_in(&config.node.data_dir)).unwrap();
    journal.write(&[List { entries, now: Timestamp::from_seconds(5) }]).unwrap();
    config
}

fn backed_up(folder: &Path) -> Config {
    let config = node(&folder.join("node"));
    let index =
        backup(&config, &folder.join("node/sofie.toml"), &folder.join("copy"), Timestamp::from_seconds(9));
    assert_eq!(index.unwrap().unfinished, 1);
    config
}

#[test]
fn what_had_not_ended_is_marked_and_every_secret_is_of_another_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let before = Parties::load(&backed_up(folder.path())).unwrap();
    let config = config(&folder.path().join("new"));
    restore(&folder.path().join("copy"), &config).unwrap();

    let reader = Reader::open(&journal_in(&config.node.data_dir)).unwrap();
    let restored = Restored::read(&reader).unwrap();
    assert!(restored.holds(UNFINISHED) && !restored.holds(ENDED));
    assert!(
        reader.facts(crate::peers::PROPOSALS).unwrap().is_empty(),
        "a proposal may have been agreed to since"
    );
    assert_eq!(reader.machines(Machine::Transaction, true).unwrap().len(), 2);

    let after = Parties::load_in(&config, restored.epoch()).unwrap();
    let (before, after) = (before.named("operator").unwrap(), after.named("operator").unwrap());
    assert_eq!(before.account(), after.account());
    assert_ne!(preimage(before, Digest([1; 32])), preimage(after, Digest([1; 32])));
}

#[test]
fn a_node_that_never_was_restored_marks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = node(folder.path());
    let restored = Restored::read(&Reader::open(&journal_in(&config.node.data_dir)).unwrap()).unwrap();
    assert!(!restored.holds(UNFINISHED) && restored.epoch().is_none());
}

#[test]
fn nothing_is_overwritten_and_what_was_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = backed_up(folder.path());
    let copy = folder.path().join("copy");
    assert!(matches!(restore(&copy, &config), Err(BackupError::Taken { .. })));
    let again = backup(&config, &folder.path().join("node/sofie.toml"), &copy, Timestamp::from_seconds(9));
    assert!(matches!(again, Err(BackupError::Taken { .. })));

    let list = copy.join("backup.json");
    let good = fs::read_to_string(&list).unwrap();
    let target = self::config(&folder.path().join("new"));
    for (from, to) in [("journal.sqlite", "../journal.sqlite"), ("sofie-backup-1", "sofie-backup-9")] {
        fs::write(&list, good.replacen(from, to, 1)).unwrap();
        assert!(matches!(restore(&copy, &target), Err(BackupError::Odd { .. })), "{to}");
    }
    fs::write(&list, good).unwrap();
    fs::write(copy.join("keys/operator.key"), "another").unwrap();
    assert!(matches!(restore(&copy, &target), Err(BackupError::Odd { .. })));
    assert!(!target.node.data_dir.exists(), "nothing half-restored is there");
}
