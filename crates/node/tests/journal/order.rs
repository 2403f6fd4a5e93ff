//! Atomicity and order.

use sofie_node::journal::{Journal, JournalError, Machine};

use super::*;

#[tokio::test]
async fn what_is_kept_comes_back_in_order_and_what_ended_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let journal = Journal::open(&path, None).unwrap();
    // The ids descend, so that no order by id could be taken for the order of begin.
    journal.keep(vec![begun(9), audit(0)], at(1)).await.unwrap();
    journal.keep(vec![begun(5)], at(2)).await.unwrap();
    for (seq, when) in [(0, 3), (1, 7), (2, 5)] {
        journal.keep(vec![input(5, seq), intent(5, &format!("prepare {seq}"))], at(when)).await.unwrap();
        journal.keep(vec![input(9, seq), audit(seq + 1)], at(when + 1)).await.unwrap();
    }
    journal.keep(vec![intent(5, "prepare 1"), fact("b", b"1"), fact("a", b"2")], at(9)).await.unwrap();
    journal.keep(vec![fact("b", b"")], at(9)).await.unwrap();
    let now = held(&path).unwrap();
    let ids: Vec<_> = now.unfinished.iter().map(|record| record.id).collect();
    assert_eq!(ids, [id(9), id(5)], "the oldest first");
    let inputs: Vec<_> =
        now.unfinished[1].inputs.iter().map(|(bytes, at)| (String::from_utf8_lossy(bytes), *at)).collect();
    let expected = [("input 0 of 5", 3), ("input 1 of 5", 7), ("input 2 of 5", 5)];
    assert_eq!(inputs, expected.map(|(text, when)| (text.into(), at(when))));
    let tasks: Vec<_> = now.intents.iter().map(|intent| intent.task.as_str()).collect();
    assert_eq!(
        tasks,
        ["prepare 0", "prepare 2", "prepare 1"],
        "a later intent of a task replaces the earlier"
    );
    assert_eq!((now.facts.clone(), now.audit.len()), (vec![("a".into(), b"2".into())], 4));
    assert_eq!(now.last, Some(at(8)));

    drop(journal);
    let journal = reopen(&path);
    assert_eq!(held(&path).unwrap(), now, "a restart changes nothing");
    journal.keep(vec![ended(5)], at(10)).await.unwrap();
    let after = held(&path).unwrap();
    assert_eq!((after.unfinished.len(), after.machines.len()), (1, 2));
    assert_eq!(after.intents, []);
    assert_eq!(journal.reader().unwrap().fact("test", "a").unwrap(), Some(b"2".into()));
    assert_eq!(journal.reader().unwrap().machine(Machine::Contract, id(5)).unwrap(), None);
}

#[tokio::test]
async fn intents_stay_while_any_machine_of_their_id_may_carry_one_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let journal = Journal::open(&path, None).unwrap();
    let contract = Entry::Begun { machine: Machine::Contract, id: id(1), plan: Vec::new() };
    journal.keep(vec![begun(1), contract, intent(1, "note"), intent(2, "note")], at(1)).await.unwrap();
    journal.keep(vec![ended(1)], at(1)).await.unwrap();
    assert_eq!(held(&path).unwrap().intents.len(), 2, "the contract still runs");
    journal.keep(vec![Entry::Ended { machine: Machine::Contract, id: id(1) }], at(1)).await.unwrap();
    assert_eq!(held(&path).unwrap().intents[0].id, id(2));
}

#[tokio::test]
async fn a_list_is_kept_whole_or_not_at_all_and_a_failed_write_closes_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let journal = Journal::open(&path, None).unwrap();
    journal.keep(vec![begun(1)], at(1)).await.unwrap();
    let before = held(&path).unwrap();
    // The second entry breaks a rule of the tables.
    let error = journal.keep(vec![fact("half", b"1"), begun(1)], at(2)).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, JournalError::Write { .. }), "{text}");
    assert!(text.contains(path.to_str().unwrap()) && text.contains("start again"), "{text}");
    assert_eq!(held(&path).unwrap(), before, "nothing of the list is there");
    let closed = journal.keep(vec![fact("later", b"1")], at(3)).await.unwrap_err();
    assert!(matches!(closed, JournalError::Closed { .. }), "{closed}");
    assert!(closed.to_string().contains(path.to_str().unwrap()), "{closed}");
    drop(journal);
    assert_eq!(held(&path).unwrap(), before);
    reopen(&path).keep(vec![fact("later", b"1")], at(3)).await.unwrap();
}

#[tokio::test]
async fn lists_of_many_writers_are_each_whole_and_in_the_order_of_their_queue() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let journal = Journal::open(&path, None).unwrap();
    let writers = (0..200_u8).map(|byte| {
        let journal = journal.clone();
        async move {
            let mut queued = Vec::new();
            for entries in [vec![begun(byte), intent(byte, "a")], vec![input(byte, 0)], vec![input(byte, 1)]]
            {
                queued.push(journal.queue(entries, at(1)).await.unwrap());
            }
            // The answers may come in any order; the writes do not.
            for one in queued.into_iter().rev() {
                one.kept().await.unwrap();
            }
        }
    });
    futures::future::join_all(writers).await;
    let held = held(&path).unwrap();
    assert_eq!((held.machines.len(), held.intents.len()), (200, 200));
    assert!(held.machines.iter().all(|record| record.inputs.len() == 2));
}
