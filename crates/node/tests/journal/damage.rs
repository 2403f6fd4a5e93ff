//! A journal that is not as it was written, or cannot be.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::*;

/// A closed journal with something in every table; its one file holds all.
async fn written(folder: &Path) -> PathBuf {
    let path = folder.join("journal.sqlite");
    let journal = Journal::open(&path, None).unwrap();
    for byte in 0..8 {
        journal.keep(vec![begun(byte), intent(byte, "prepare 0"), audit(byte.into())], at(1)).await.unwrap();
        journal.keep(vec![input(byte, 0), fact(&byte.to_string(), &[byte; 30])], at(2)).await.unwrap();
        journal.keep(vec![input(byte, 1)], at(3)).await.unwrap();
    }
    journal.keep(vec![ended(3), ended(6)], at(4)).await.unwrap();
    drop(journal);
    drop(reopen(&path));
    while fs::exists(path.with_extension("sqlite-wal")).unwrap() {
        std::thread::yield_now();
    }
    path
}

/// Opens a copy with other bytes, as a node would, and reads all of it.
fn judged(folder: &Path, name: &str, bytes: &[u8]) -> Result<Held, String> {
    let path = folder.join(format!("{name}.sqlite"));
    fs::write(&path, bytes).unwrap();
    let result = Journal::open(&path, None).and_then(|_journal| held(&path));
    result
        .map(|mut held| {
            // The name of the copy is no difference.
            for record in held.machines.iter_mut().chain(&mut held.unfinished) {
                record.journal = folder.join("journal.sqlite");
            }
            held
        })
        .map_err(|error| {
            let text = error.to_string();
            assert!(
                text.contains(path.to_str().unwrap()) && text.contains(';'),
                "no file or next step: {text}"
            );
            text
        })
}

#[tokio::test]
async fn a_changed_byte_anywhere_is_told_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path()).await;
    let good = fs::read(&path).unwrap();
    let expected = held(&path).unwrap();
    assert_eq!((expected.machines.len(), expected.unfinished.len()), (8, 6));
    let scratch = folder.path().join("copies");
    let mut told = 0;
    // Every 23rd byte, which shares no factor with the size of a page: all kinds of places.
    for (index, place) in (0..good.len()).step_by(23).enumerate() {
        fs::create_dir(&scratch).unwrap();
        let mut bytes = good.clone();
        bytes[place] ^= if index % 2 == 0 { 0x01 } else { 0xff };
        match judged(&scratch, "flipped", &bytes) {
            Ok(mut held) => {
                for record in held.machines.iter_mut().chain(&mut held.unfinished) {
                    record.journal = path.clone();
                }
                assert!(held == expected, "a flip at byte {place} went unseen");
            }
            Err(_) => told += 1,
        }
        fs::remove_dir_all(&scratch).unwrap();
    }
    assert!(told > 50, "only {told} flips were told: did any hit something?");
}

#[tokio::test]
async fn a_file_that_is_cut_or_no_journal_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path()).await;
    let good = fs::read(&path).unwrap();
    for (name, length) in [("half", good.len() / 2), ("page", good.len() - 4096), ("head", 60), ("odd", 5000)]
    {
        let text = judged(folder.path(), name, &good[..length]).unwrap_err();
        assert!(text.contains("damaged") && text.contains("restore the last backup"), "{name}: {text}");
    }
    let text = judged(folder.path(), "text", b"this is no database, but long enough to be taken for one")
        .unwrap_err();
    assert!(text.contains("damaged (file is not a database)"), "{text}");
}

#[tokio::test]
async fn another_format_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path()).await;
    let mut bytes = fs::read(&path).unwrap();
    // The user version stands at offset 60 of an SQLite file, big-endian.
    bytes[60..64].copy_from_slice(&7_u32.to_be_bytes());
    let text = judged(folder.path(), "newer", &bytes).unwrap_err();
    assert!(
        text.ends_with("format 7, this program knows 2; start the newer program that wrote it"),
        "{text}"
    );
    bytes[60..64].copy_from_slice(&1_u32.to_be_bytes());
    let text = judged(folder.path(), "older", &bytes).unwrap_err();
    assert!(text.contains("format 1, this program writes 2; run `sofie migrate -c FILE`"), "{text}");
    bytes[60..64].copy_from_slice(&0_u32.to_be_bytes());
    let text = judged(folder.path(), "none", &bytes).unwrap_err();
    assert!(text.contains("says no format"), "{text}");
}

#[tokio::test]
async fn a_second_handle_is_refused_while_the_first_is_open_and_readers_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path()).await;
    let first = reopen(&path);
    let error = Journal::open(&path, None).unwrap_err();
    assert!(matches!(error, JournalError::Held { .. }), "{error}");
    assert!(error.to_string().contains("another process holds it; stop the other node"), "{error}");
    assert_eq!(held(&path).unwrap().machines.len(), 8);
    drop(first);
    reopen(&path);
}

#[test]
fn a_folder_that_is_missing_or_no_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for name in ["missing/journal.sqlite", "file/journal.sqlite"] {
        let path = folder.path().join(name);
        let error = Journal::open(&path, None).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(error.contains("check that the folder exists, that this user may write in it"), "{error}");
    }
    fs::create_dir(folder.path().join("journal.sqlite")).unwrap();
    let error = Journal::open(&folder.path().join("journal.sqlite"), None).unwrap_err();
    assert!(matches!(error, JournalError::Open { .. }), "{error}");
    assert!(Reader::open(&folder.path().join("nothing.sqlite")).is_err());
}

const READ_ONLY: &str = "SOFIE_TEST_READ_ONLY_FOLDER";

/// The child of the test below: does nothing by itself.
#[test]
fn child_in_a_read_only_folder() {
    let Some(folder) = std::env::var_os(READ_ONLY) else { return };
    let path = Path::new(&folder).join("journal.sqlite");
    println!("told: {}", Journal::open(&path, None).unwrap_err());
}

#[test]
fn a_folder_that_may_only_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).unwrap();
    // A copy of this program where everybody may run it: root may write everywhere, so the child is nobody.
    let program = folder.path().join("child");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for place in [folder.path(), &locked] {
        fs::set_permissions(place, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let mut child = Command::new(&program);
    child.args(["--exact", "damage::child_in_a_read_only_folder", "--nocapture"]).env(READ_ONLY, &locked);
    if fs::metadata(&locked).unwrap().uid() == 0 {
        child.uid(65_534).gid(65_534).current_dir("/");
    }
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("told: journal ") && text.contains("that this user may write in it"), "{output:?}");
    assert!(!text.contains("free some disk space"), "{text}");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fs::read_dir(&locked).unwrap().count(), 0, "nothing half-written");
}
