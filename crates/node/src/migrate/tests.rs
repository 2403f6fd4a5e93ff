//! Journals as programs of format 1 wrote them, brought to this one's: nothing that was there is lost or says something else,
//! whatever the moment of a crash. `tests/fixtures/journal-1` tells where the fixture comes from.

use std::fs;
use std::path::Path;

use minicbor::Encode;
use proptest::prelude::*;
use rusqlite::Connection;
use sofie_audit::Chain;
use sofie_market::{Agreement, EvidenceRule};
use sofie_model::commitment::Salt;
use sofie_model::manifest::{DecisionSite, EscrowTerms, Participant};
use sofie_model::{
    Account, Class, Digest, Finality, Leg, LegId, Manifest, Rule, Span, Terms, Txid, Value, canonical,
};
use sofie_transaction::{Input, Plan};

use super::*;
use crate::auditor::Note;
use crate::backup::restore;
use crate::journal::{List, Machine as Kind, Sqlite};
use crate::offline::Offline;
use crate::parties::Parties;
use crate::peers::PROPOSALS;
use crate::peers::proposals_of_form_1 as form1;

const CONFIG: &str = r#"# The owner's own words stay.
[[party]]
name = "operator"

[[ledger]]
id = "calendar"
kind = "calendar"

[[peer]]
name = "mill"
url = "http://127.0.0.1:8421"
key = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"

[[webhook]]
name = "erp"
url = "http://127.0.0.1:9000/sofie"
key = "operator" # who signs
"#;

const POINTS: [Point; 5] = [Point::Changed, Point::BackedUp, Point::Journaled, Point::Drafted, Point::Done];

/// The variants of that time that are written as they are now.
#[derive(Encode)]
enum Stand {
    #[n(0)]
    Theirs(#[n(0)] Digest, #[n(1)] String),
    #[n(2)]
    Ours,
}

/// One thing that a journal holds.
#[derive(Debug, Clone)]
enum Held {
    Transaction { inputs: u8, ended: bool },
    Contract { ended: bool },
    Waiting,
    Ours,
    Declined { by: &'static str },
    Fact,
}

fn now() -> Timestamp {
    Timestamp::from_seconds(1_764_000_000)
}

fn manifest(nonce: u8, terms: Terms) -> Manifest {
    let class = if matches!(terms, Terms::Record(_)) { Class::Record } else { Class::Verifying };
    let ledger = || "calendar".parse().unwrap();
    let finality = Finality::Instant;
    Manifest {
        version: 1,
        legs: vec![Leg { ledger: ledger(), class, finality, required: true, terms, fee_limit: 0 }],
        rule: Rule::All,
        decision: DecisionSite {
            ledger: ledger(),
            chain_id: 7,
            contract: Account([0xdd; 20]),
            finality,
            fee_limit: 0,
        },
        deadline: now() + Span::from_seconds(60),
        grace: Span::ZERO,
        guard: Account::ZERO,
        participants: vec![Participant { account: Account([1; 20]), hashlock: Digest([2; 32]) }],
        nonce: Digest([nonce; 32]),
    }
}

fn plan(nonce: u8) -> Plan {
    let manifest = manifest(nonce, Terms::Record(Digest([5; 32])));
    Plan { manifest, acts_for: vec![0], decision_time: Span::ZERO, pivot: None }
}

fn contract(nonce: u8) -> contracts::Plan {
    let (renter, owner) = (Account([1; 20]), Account([3; 20]));
    let escrow = EscrowTerms {
        contract: Account([0xe5; 20]),
        payer: renter,
        payee: owner,
        amount: 5,
        evidence_key: Account([4; 20]),
        evidence_deadline: now() + Span::from_seconds(90),
        submission_window: Span::ZERO,
        dispute: None,
    };
    let evidence = EvidenceRule {
        thing: "urn:door:1".parse().unwrap(),
        property: "open".into(),
        equals: Value::Bool(true),
    };
    contracts::Plan {
        agreement: Agreement {
            thing: "urn:locker:1".parse().unwrap(),
            action: "lock".into(),
            input: String::new(),
            renter,
            owner,
            price: 5,
            not_before: now(),
            not_after: now() + Span::from_seconds(90),
            evidence,
            witnesses: None,
            penalty: None,
            dispute: None,
        },
        salt: Salt::new([6; 32]),
        manifest: manifest(nonce, Terms::Escrow(escrow)),
        record_ledger: None,
        opened_at: now(),
        part: None,
        offer: None,
    }
}

/// What a program of format 1 wrote for it, and what its audit log said.
fn written(nonce: u8, held: &Held) -> (Vec<Entry>, Option<Note>) {
    let plan = plan(nonce);
    let txid = plan.manifest.txid();
    let fact = |group, key, value| vec![Entry::Fact { group, key, value }];
    let proposal = |stand: Vec<u8>| {
        // An array of stand, plan and openings.
        let parts = [vec![0x83], stand, canonical::encode(&plan), vec![0x80]].concat();
        fact(PROPOSALS, txid.to_string(), parts)
    };
    match held {
        Held::Transaction { inputs, ended } => {
            let mut entries = begun(Kind::Transaction, txid, canonical::encode(&plan), *ended);
            let refused = |seq| Input::PrepareRefused(LegId(0), format!("no room ({seq})"));
            let input = |seq: u8| Entry::Input {
                machine: Kind::Transaction,
                id: txid.0,
                seq: seq.into(),
                input: canonical::encode(&refused(seq)),
            };
            entries.extend((0..*inputs).map(input));
            let (task, ledger, bytes) = ("prepare(0)".to_owned(), "calendar".to_owned(), vec![nonce; 40]);
            entries.push(Entry::Intent { id: txid.0, task, ledger, bytes });
            (entries, Some(Note::about(txid.0, "prepare-refused", false, "by calendar: no room")))
        }
        Held::Contract { ended } => {
            let plan = contract(nonce);
            let txid = plan.manifest.txid();
            let entries = begun(Kind::Contract, txid, canonical::encode(&plan), *ended);
            (entries, Some(Note::about(txid.0, "accepted", true, "lock on urn:locker:1")))
        }
        Held::Waiting => {
            let stand = canonical::encode(&Stand::Theirs(Digest([7; 32]), "over the limit".into()));
            let note = Note::about(txid.0, "proposed", true, "by peer mill: over the limit");
            (proposal(stand), Some(note))
        }
        Held::Ours => (proposal(canonical::encode(&Stand::Ours)), None),
        Held::Declined { by } => {
            let old = form1::Proposal { stand: form1::Stand::DeclinedHere, plan, openings: Vec::new() };
            let note = Note::about(txid.0, "declined", true, format!("to peer {by}, by the owner"));
            (fact(PROPOSALS, txid.to_string(), canonical::encode(&old)), Some(note))
        }
        Held::Fact => (fact("opening", format!("{txid} 0"), vec![nonce; 9]), None),
    }
}

fn begun(machine: Kind, txid: Txid, plan: Vec<u8>, ended: bool) -> Vec<Entry> {
    let begun = Entry::Begun { machine, id: txid.0, plan };
    [begun].into_iter().chain(ended.then_some(Entry::Ended { machine, id: txid.0 })).collect()
}

/// The journal that a program of format 1 would have left at `path`.
fn write(path: &Path, all: &[Held]) {
    let mut chain = Chain::new();
    let mut entries = Vec::new();
    for (nonce, held) in (1..).zip(all) {
        let (written, note) = written(nonce, held);
        entries.extend(written);
        entries.extend(note.map(|note| {
            let record = chain.append(note, now());
            Entry::Audit { seq: record.seq, subject: record.subject, record: record.to_bytes() }
        }));
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // The smallest pages, so that the fixture is small.
    Connection::open(path)
        .unwrap()
        .execute_batch("PRAGMA page_size = 512; CREATE TABLE t (x); DROP TABLE t")
        .unwrap();
    let mut journal = Sqlite::open(path).unwrap();
    journal.write(&[List { entries, now: now() }]).unwrap();
    drop(journal);
    // The tables have been the same ever since.
    Connection::open(path).unwrap().execute_batch("PRAGMA user_version = 1").unwrap();
}

/// Every row of a journal, each on a line that begins with its table, and the format.
fn dump(path: &Path) -> Vec<String> {
    let db = Connection::open(path).unwrap();
    let mut lines = vec![format!("format {}", schema_version(&db))];
    for (table, columns) in [
        ("machines", "quote(kind) || quote(id) || quote(plan) || quote(ended)"),
        ("inputs", "quote(kind) || quote(id) || quote(seq) || quote(at) || quote(bytes)"),
        ("intents", "quote(id) || quote(task) || quote(ledger) || quote(bytes)"),
        ("audit", "quote(seq) || quote(subject) || quote(record)"),
        ("facts", "quote(grp) || quote(key) || quote(value)"),
    ] {
        let sql = format!("SELECT {columns} AS line FROM {table} ORDER BY line");
        let mut rows = db.prepare(&sql).unwrap();
        let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
        lines.extend(rows.map(|row| format!("{table} {}", row.unwrap())));
    }
    lines
}

fn schema_version(db: &Connection) -> i64 {
    db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

struct Node {
    folder: tempfile::TempDir,
}

impl Node {
    fn of(all: &[Held]) -> Self {
        let node = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(node.file(), CONFIG).unwrap();
        Parties::load(&node.config()).unwrap();
        write(&node.journal(), all);
        node
    }

    /// What the disk shows now, under another name: a crash leaves as much.
    fn crashed(&self) -> Self {
        let node = Self { folder: tempfile::tempdir().unwrap() };
        copy(self.folder.path(), node.folder.path());
        node
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("sofie.toml")
    }

    fn config(&self) -> Config {
        Config::load(&self.file()).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("sofie-data")
    }

    fn journal(&self) -> PathBuf {
        journal_in(&self.data())
    }

    fn migrate(&self, at: impl FnMut(Point)) -> Result<Report, MigrateError> {
        migrate(&self.config(), &self.file(), None, now(), at)
    }

    /// Whether journal and configuration are this program's.
    fn is_new(&self) -> (bool, bool) {
        let journal = match Reader::open(&self.journal()) {
            Ok(_) => true,
            Err(JournalError::Older { found: 1, known: FORMAT, .. }) => false,
            Err(error) => panic!("{error}"),
        };
        (journal, self.config().outdated.is_empty())
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&from, &to);
        } else if !from.to_string_lossy().ends_with("-shm") {
            // What processes share in memory does not outlive them.
            fs::copy(&from, &to).unwrap();
        }
    }
}

const STORY: [Held; 8] = [
    Held::Transaction { inputs: 1, ended: true },
    Held::Transaction { inputs: 1, ended: false },
    Held::Contract { ended: true },
    Held::Waiting,
    Held::Ours,
    Held::Declined { by: "mill" },
    Held::Declined { by: "gone" },
    Held::Fact,
];

#[test]
fn the_steps_lead_from_the_first_format_to_this_one() {
    assert!(STEPS.iter().map(|step| step.from).eq(1..FORMAT));
}

/// `SOFIE_BLESS=1` writes it.
#[test]
fn the_fixture_is_what_that_time_s_encoder_writes() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal-1/journal.sqlite");
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("journal.sqlite");
    write(&made, &STORY);
    if std::env::var_os("SOFIE_BLESS").is_some() {
        fs::copy(&made, &kept).unwrap();
    }
    let read = folder.path().join("kept.sqlite");
    fs::copy(kept, &read).unwrap();
    assert_eq!(dump(&read), dump(&made));
}

#[test]
fn a_declined_proposal_says_whose_it_was_and_everything_else_stays() {
    let node = Node::of(&STORY);
    assert!(matches!(Offline::open(&node.data()), Err(JournalError::Older { .. })));
    let before = dump(&node.journal());
    let tried = check(&node.config(), &node.file()).unwrap();
    assert_eq!(dump(&node.journal()), before, "a check changes nothing");
    let report = node.migrate(|_| ()).unwrap();
    assert_eq!((&report.journal, &report.configuration), (&tried.journal, &tried.configuration));
    assert_eq!(report.journal.as_ref().unwrap().changes.len(), 2);

    let all = Offline::open(&node.data()).unwrap().transactions().unwrap();
    let shown = |nonce| {
        let id = plan(nonce).manifest.txid();
        let one = all.iter().find(|one| one.id == id).unwrap();
        let by = one.proposal.as_ref().and_then(|proposal| proposal.by.clone());
        (one.phase.clone(), by)
    };
    let key = node.config().peers[0].key;
    assert_eq!(shown(6), ("declined".into(), Some(hex::encode(key.as_bytes()))));
    assert_eq!(shown(7), ("declined".into(), Some(Digest::ZERO.to_string())));

    let text = fs::read_to_string(node.file()).unwrap();
    let renamed = CONFIG.replace("key = \"operator\" #", "party = \"operator\" #");
    assert_eq!(text, format!("version = {VERSION}\n{renamed}"));
    assert!(!node.migrate(|_| ()).unwrap().is_due(), "there is nothing left to do");
}

#[test]
fn a_crash_leaves_the_old_or_the_new_and_the_next_run_does_the_rest() {
    let node = Node::of(&STORY);
    let before = dump(&node.journal());
    let mut crashes = Vec::new();
    node.migrate(|point| crashes.push((point, node.crashed()))).unwrap();
    let (after, text) = (dump(&node.journal()), fs::read_to_string(node.file()).unwrap());
    assert!(crashes.iter().map(|(point, _)| *point).eq(POINTS));
    for (point, crashed) in crashes {
        let wanted = match point {
            Point::Changed | Point::BackedUp => (false, false),
            Point::Journaled | Point::Drafted => (true, false),
            Point::Done => (true, true),
        };
        assert_eq!(crashed.is_new(), wanted, "{point:?}");
        let held = dump(&crashed.journal());
        assert_eq!(held, if wanted.0 { after.clone() } else { before.clone() }, "{point:?}");
        crashed.migrate(|_| ()).unwrap();
        assert_eq!(dump(&crashed.journal()), after, "{point:?}");
        assert_eq!(fs::read_to_string(crashed.file()).unwrap(), text, "{point:?}");
    }
}

#[test]
fn the_backup_is_the_node_as_it_was_and_is_put_back_by_this_program() {
    let node = Node::of(&STORY);
    let before = dump(&node.journal());
    let report = node.migrate(|_| ()).unwrap();
    let backup = report.backup.unwrap();
    assert_eq!(backup, node.folder.path().join("sofie-data.before-2"));
    assert_eq!(dump(&backup.join("journal.sqlite")), before);
    assert_eq!(fs::read_to_string(backup.join("sofie.toml")).unwrap(), CONFIG);

    fs::remove_dir_all(node.data()).unwrap();
    restore(&backup, &node.config()).unwrap();
    assert!(node.is_new().0, "a restore brings it to this program's format");
    assert_eq!(Offline::open(&node.data()).unwrap().transactions().unwrap().len(), 2);
}

#[test]
fn what_no_step_can_read_or_a_node_holds_stays_as_it_is() {
    let node = Node::of(&STORY);
    let before = dump(&node.journal());
    let held = Older::open(&node.journal()).unwrap();
    assert!(matches!(node.migrate(|_| ()), Err(MigrateError::Journal(JournalError::Held { .. }))));
    drop(held);
    Connection::open(node.journal()).unwrap().execute_batch("PRAGMA user_version = 3").unwrap();
    let newer = node.migrate(|_| ());
    assert!(matches!(newer, Err(MigrateError::Journal(JournalError::Newer { found: 3, .. }))), "{newer:?}");
    Connection::open(node.journal()).unwrap().execute_batch("PRAGMA user_version = 1").unwrap();
    assert_eq!(dump(&node.journal()), before);

    // A manifest without fee limits, as before 25 November 2026: its txid is of other bytes than this program's.
    let strange = Entry::Begun { machine: Kind::Transaction, id: Digest([9; 32]), plan: vec![0x80] };
    let older = Older::open(&node.journal()).unwrap().unwrap();
    older.put(&strange).unwrap();
    let refused = change(&older, &node.config());
    assert!(matches!(refused, Err(JournalError::Foreign { .. })), "{refused:?}");
    drop(older);
    assert_eq!(dump(&node.journal()), before);
}

fn held() -> impl Strategy<Value = Held> {
    prop_oneof![
        (0u8..2, any::<bool>()).prop_map(|(inputs, ended)| Held::Transaction { inputs, ended }),
        any::<bool>().prop_map(|ended| Held::Contract { ended }),
        Just(Held::Waiting),
        Just(Held::Ours),
        prop::sample::select(vec!["mill", "gone"]).prop_map(|by| Held::Declined { by }),
        Just(Held::Fact),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_transactions_contracts_and_audit_log_say_is_the_same_before_and_after(
        all in prop::collection::vec(held(), 0..12),
    ) {
        let node = Node::of(&all);
        let declined = |held: &&Held| matches!(held, Held::Declined { .. });
        let said = || {
            let reader = Reader::of_any_format(&node.journal()).unwrap();
            let machines = [Kind::Transaction, Kind::Contract].map(|kind| reader.machines(kind, true).unwrap());
            (machines, reader.audit().unwrap(), reader.intents().unwrap(), reader.facts("opening").unwrap())
        };
        let (before, old) = (said(), dump(&node.journal()));
        node.migrate(|_| ()).unwrap();
        prop_assert_eq!(said(), before);
        let new = dump(&node.journal());
        prop_assert_eq!(new.len(), old.len());
        let changed = old.iter().zip(&new).filter(|(old, new)| old != new).count();
        prop_assert_eq!(changed, 1 + all.iter().filter(declined).count());
        Offline::open(&node.data()).unwrap().transactions().unwrap();
    }
}
