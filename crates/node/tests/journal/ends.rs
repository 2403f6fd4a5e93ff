//! The end of the process, or of the disk, at any moment: what was confirmed is there.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::*;

const WRITE: &str = "SOFIE_TEST_WRITE_INTO";
/// Writers in the child, each with a machine of its own.
const WRITERS: u8 = 4;

/// The child of the tests below: writes until it is killed or cannot, and prints what was confirmed.
#[tokio::test]
async fn child_that_writes() {
    let Some(path) = std::env::var_os(WRITE) else { return };
    let journal = Journal::open(Path::new(&path), None).unwrap();
    let writers = (0..WRITERS).map(|byte| {
        let journal = journal.clone();
        async move {
            journal.keep(vec![begun(byte)], at(1)).await.unwrap();
            for seq in 0.. {
                let filling = fact(&format!("{byte} {seq}"), &[byte; 8_000]);
                if let Err(error) = journal.keep(vec![input(byte, seq), filling], at(2)).await {
                    say(&format!("error {error}"));
                    return;
                }
                say(&format!("kept {byte} {seq}"));
            }
        }
    });
    futures::future::join_all(writers).await;
    say("stopped");
}

/// Past the test harness's own capture, and at once.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Starts the child under a shell that limits its files to so many blocks of 512 bytes; the signal that would end it is
/// ignored, as a full disk sends none.
fn child(path: &Path, blocks: &str) -> Child {
    let script =
        format!("trap '' 25; ulimit -f {blocks}; exec \"$0\" --exact ends::child_that_writes --nocapture");
    Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(WRITE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the child said of one machine: the last input that it knows to be kept.
fn confirmed(lines: &[String]) -> Vec<Option<u64>> {
    let mut last = vec![None; usize::from(WRITERS)];
    for line in lines.iter().filter_map(|line| line.strip_prefix("kept ")) {
        let (byte, seq) = line.split_once(' ').unwrap();
        last[byte.parse::<usize>().unwrap()] = Some(seq.parse().unwrap());
    }
    last
}

/// Everything that was confirmed is there, in whole lists and without gaps.
fn check(path: &Path, lines: &[String]) {
    drop(reopen(path));
    let held = held(path).unwrap();
    for (byte, last) in confirmed(lines).into_iter().enumerate() {
        let machine = held.machines.iter().find(|record| record.id.0[0] == u8::try_from(byte).unwrap());
        let inputs = machine.map_or(0, |record| record.inputs.len() as u64);
        assert!(last.is_none_or(|last| inputs > last), "writer {byte} was told {last:?}, {inputs} are there");
        let filled = held.facts.iter().filter(|(key, _)| key.starts_with(&format!("{byte} "))).count() as u64;
        assert_eq!(filled, inputs, "half a list of writer {byte}");
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let mut lines: Vec<String> = Vec::new();
    // Twice into different files, so that one kill hits the first checkpoint's time and the other does not.
    for (count, name) in [(9, "a.sqlite"), (150, "b.sqlite")] {
        let path = path.with_file_name(name);
        let mut child = child(&path, "unlimited");
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        lines.clear();
        while confirmed(&lines).iter().flatten().sum::<u64>() < count {
            lines.push(out.next().expect("the child writes on"));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.extend(out);
        // A line that was cut is no promise.
        lines.retain(|line| !line.starts_with("kept ") || line.split(' ').count() == 3);
        check(&path, &lines);
    }
}

#[test]
fn a_full_disk_is_told_with_the_file_and_the_next_step_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let mut child = child(&path, "6000");
    let out = BufReader::new(child.stdout.take().unwrap());
    let lines: Vec<String> = out.lines().map_while(Result::ok).collect();
    assert!(child.wait().unwrap().success(), "{lines:?}");
    assert!(confirmed(&lines).iter().flatten().sum::<u64>() > 20, "it wrote before the disk was full");
    let errors: Vec<_> = lines.iter().filter(|line| line.starts_with("error ")).collect();
    assert_eq!(errors.len(), usize::from(WRITERS), "every writer is told");
    let first = format!("error journal {}: could not be written (", path.display());
    assert!(errors.iter().any(|error| error.starts_with(&first)), "{errors:?}");
    for error in errors {
        assert!(error.contains(path.to_str().unwrap()) && error.contains("start again"), "{error}");
    }
    check(&path, &lines);
}

#[tokio::test]
async fn a_place_that_outlives_the_writer_is_told_that_the_journal_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let death = Box::new(|| std::panic::resume_unwind(Box::new("the end of the writer")));
    let pause = Pause { at: PauseAt::Write(1), reached: death };
    let journal = Journal::open(&folder.path().join("journal.sqlite"), Some(pause)).unwrap();
    let place = journal.reserve().await.unwrap();
    let killed = journal.keep(vec![begun(1)], at(1)).await.unwrap_err();
    assert!(matches!(killed, JournalError::Closed { .. }), "{killed}");
    // From here on the writer takes nothing more.
    let refused = journal.keep(vec![begun(2)], at(1)).await.unwrap_err();
    let late = place.queue(vec![begun(3)], at(1)).kept().await.unwrap_err();
    for error in [refused, late] {
        assert!(matches!(error, JournalError::Closed { .. }), "{error}");
    }
}
